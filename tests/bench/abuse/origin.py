"""A server that plays along: what it does stands in the path of each request.

    /good/N             one line, "good N"
    /slow/S             the same, after S seconds
    /large/N            N bytes
    /sink               reads the content, then answers
    /stuck/N            never reads the content, never answers
    /interim            1xx for ever; /interim/S one each S seconds
    /drip               a head that goes on for ever, a byte each half second
    /more               an answer, and in the same breath the beginning of another one
    /later              an answer, and 20 ms later the beginning of another one
    /status/N           this status
    /warm?at=T&end=E    answers at an instant; the connection ends so (fin, rst) at the instant of `ends`,
                        or as the next request arrives (crossing-fin, crossing-rst)

Instants are those of CLOCK_MONOTONIC, which all processes of a machine have in common. Orders: "counts"
gives how often each path was read whole (without its query), "open" how many connections are open.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from time import monotonic  # noqa: TID251  (one clock for three processes)
from urllib.parse import parse_qsl

import trio

__all__ = ["Conversation"]

BACKLOG = 4096
PIECE = b"x" * 65536
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Evil: 1\r\n\r\nevil\n"
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Server:
    """What all connections share."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, to its end."""
        self.open += 1
        try:
            await Conversation(self, stream).run()
        except GONE:
            pass
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)


class Conversation:
    """One connection."""

    def __init__(self, server: Server, stream: trio.SocketStream) -> None:
        self._server = server
        self._stream = stream
        self._buffer = bytearray()
        self._ends_at = float("inf")
        self._end = ""

    async def run(self) -> None:
        """One request after another."""
        while (head := await self._head_or_end()) is not None:
            target, fields = parse(head)
            path, _, query = target.partition("?")
            if path.startswith("/stuck"):
                await trio.sleep_forever()
            await self._read_content(fields)
            self._server.counts[path] += 1
            await self._answer(path, dict(parse_qsl(query)))

    async def _head_or_end(self) -> bytes | None:
        if self._end.startswith("crossing"):
            await trio.lowlevel.wait_readable(self._stream.socket)
            await self._leave()
            return None
        with trio.move_on_after(max(0.0, self._ends_at - monotonic())):
            return await self._head()
        await self._leave()
        return None

    async def _leave(self) -> None:
        """As a server that ends an idle connection: in good order, or with a reset."""
        if self._end.endswith("rst"):
            reset = struct.pack("ii", 1, 0)
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        elif self._end.startswith("crossing"):
            await self._stream.receive_some()  # close on unread bytes would be a reset
        await trio.aclose_forcefully(self._stream)

    async def _head(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            data = await self._stream.receive_some()
            if not data:
                return None
            self._buffer += data
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    async def _read_content(self, fields: dict[str, str]) -> None:
        if fields.get("transfer-encoding") == "chunked":
            while not self._buffer.endswith(b"0\r\n\r\n"):
                await self._more()
            self._buffer.clear()
            return
        left = int(fields.get("content-length", "0"))
        while len(self._buffer) < left:
            left -= len(self._buffer)
            self._buffer.clear()
            await self._more()
        del self._buffer[:left]

    async def _more(self) -> None:
        data = await self._stream.receive_some()
        if not data:
            raise trio.BrokenResourceError
        self._buffer += data

    # --- answers ---------------------------------------------------------------------------------

    async def _answer(self, path: str, query: dict[str, str]) -> None:
        what, _, argument = path[1:].partition("/")
        match what:
            case "slow":
                await trio.sleep(float(argument.partition("/")[0]))
            case "large":
                await self._send_large(int(argument))
                return
            case "interim":
                await self._send_interim(float(argument or "0"))
            case "drip":
                await self._drip()
            case "status":
                status = int(argument.partition("/")[0])
                await self._send(b"no\n", status)
                return
            case "warm":
                await trio.sleep(max(0.0, float(query["at"]) - monotonic()))
                self._ends_at, self._end = float(query["ends"]), query["end"]
        await self._send(f"{path[1:].replace('/', ' ')}\n".encode(), more=EVIL * (what == "more"))
        if what == "later":
            await trio.sleep(0.02)
            await self._stream.send_all(EVIL)

    async def _send(self, content: bytes, status: int = 200, more: bytes = b"") -> None:
        head = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (status, len(content))
        await self._stream.send_all(head + content + more)

    async def _send_large(self, size: int) -> None:
        await self._stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size > 0:
            await self._stream.send_all(PIECE[:size])
            size -= len(PIECE)

    async def _send_interim(self, pause: float) -> None:
        while True:
            await self._stream.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await trio.sleep(pause)

    async def _drip(self) -> None:
        await self._stream.send_all(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while True:
            await self._stream.send_all(b"x")
            await trio.sleep(0.5)


def parse(head: bytes) -> tuple[str, dict[str, str]]:
    """The target, and the fields by their lowered names: whoever sends to us writes them well."""
    line, *lines = head.decode("latin-1").split("\r\n")
    fields = [field.partition(":") for field in lines]
    return line.split(" ")[1], {name.lower(): value.strip() for name, _, value in fields}


async def main(binds: Sequence[str]) -> None:
    """Serves at each address until standard input ends."""
    server = Server()
    listeners: list[trio.SocketListener] = []
    for bind in binds:
        host, _, port = bind.rpartition(":")
        listeners += await trio.open_tcp_listeners(int(port), host=host, backlog=BACKLOG)
    orders = trio.wrap_file(sys.stdin)
    addresses = [listener.socket.getsockname() for listener in listeners]
    print(json.dumps([f"http://{host}:{port}" for host, port in addresses]), flush=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        while line := await orders.readline():
            told = dict(server.counts) if line.strip() == "counts" else server.open
            print(json.dumps(told), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1:])
