"""The good client: so many requests a second on a connection that is kept, and as many on new ones.

A process of its own, so that what an abuser costs is not counted as the daemon's. Each request has its
time, and its answer is late by what it took from then on: a door that stalls does not slow the client
down, which would hide the stall. Each answer must be the one to its request, to the last byte.

Orders: "take" gives what has happened since the last one; "end" begins no more, waits for what is under
way, and gives that, too.
"""

from __future__ import annotations

import json
import sys

import trio

__all__ = ["EACH_SECOND"]

EACH_SECOND = 20
"""Of either kind."""

GIVEN_UP_AFTER = 10.0


class GoodClient:
    """Sends until cancelled; what became of it lies in `times` and `errors` until it is taken."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self.times: list[float] = []
        self.errors: list[str] = []
        self._number = 0
        self.is_ending = False
        self.has_ended = trio.Event()

    async def run(self) -> None:
        """Both kinds, half a beat apart."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_asking)
            await trio.sleep(0.5 / EACH_SECOND)
            beat = trio.current_time()
            while not self.is_ending:
                nursery.start_soon(self._ask_anew, beat)
                beat += 1 / EACH_SECOND
                await trio.sleep_until(beat)
        self.has_ended.set()

    async def _keep_asking(self) -> None:
        stream: trio.SocketStream | None = None
        beat = trio.current_time()
        while not self.is_ending:
            try:
                stream = stream or await trio.open_tcp_stream(self._address, self._port)
                await self._ask(stream, beat, is_kept=True)
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, ValueError) as exc:
                self.errors.append(f"kept: {type(exc).__name__}: {exc}")
                if stream is not None:
                    await trio.aclose_forcefully(stream)
                stream = None
            beat += 1 / EACH_SECOND
            await trio.sleep_until(beat)
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _ask_anew(self, beat: float) -> None:
        try:
            with trio.fail_after(GIVEN_UP_AFTER):
                stream = await trio.open_tcp_stream(self._address, self._port)
            async with stream:
                await self._ask(stream, beat, is_kept=False)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, ValueError) as exc:
            self.errors.append(f"new: {type(exc).__name__}: {exc}")

    async def _ask(self, stream: trio.SocketStream, beat: float, *, is_kept: bool) -> None:
        self._number += 1
        content = f"good {self._number}\n".encode()
        close = "" if is_kept else "Connection: close\r\n"
        head = f"GET /good/{self._number} HTTP/1.1\r\nHost: shop\r\n{close}\r\n"
        with trio.fail_after(GIVEN_UP_AFTER):
            await stream.send_all(head.encode())
            answer = b""
            while not (answer.endswith(content) and b"\r\n\r\n" in answer):
                piece = await stream.receive_some()
                if not piece:
                    raise ValueError(f"ended with {answer[:200]!r}")
                answer += piece
        if not answer.startswith(b"HTTP/1.1 200 ") or answer.partition(b"\r\n\r\n")[2] != content:
            raise ValueError(f"heard {answer[:200]!r}")
        self.times.append(trio.current_time() - beat)

    def take(self) -> dict[str, list[object]]:
        """What has happened since the last time."""
        taken: dict[str, list[object]] = {"times": [*self.times], "errors": [*self.errors]}
        self.times.clear()
        self.errors.clear()
        return taken


async def main(address: str, port: int) -> None:
    """Obeys until standard input ends."""
    client = GoodClient(address, port)
    orders = trio.wrap_file(sys.stdin)
    print(json.dumps("ready"), flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.run)
        while line := await orders.readline():
            if line.strip() == "end":
                client.is_ending = True
                await client.has_ended.wait()
            print(json.dumps(client.take()), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
