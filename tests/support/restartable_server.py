"""A small application server that is restarted under load, and that says what it executed.

    python -m tests.support.restartable_server 127.0.0.2:8080 executed.log

Every request that was read whole is written to the log first, as one line "METHOD id", and answered after a
few milliseconds: a line twice is a request that ran twice, also where kill -9 came in between. SIGTERM is
honoured as a well-mannered server does: no new connection is lost, requests under way are answered with
"Connection: close", idle connections are closed, and the process ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import trio

from tests.support.origin import LineReader

__all__ = ["restartable_server"]

THINKS = 0.01
"""Seconds, so that there is something under way when it is killed."""


class Server:
    """One process's life."""

    def __init__(self, log: str) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._is_ending = False
        self._waiting: set[trio.CancelScope] = set()
        """Of connections on which nothing of a next request has come in."""

    async def serve(self, bind: str) -> None:
        """Until SIGTERM."""
        host, _, port = bind.rpartition(":")
        (listener,) = await trio.open_tcp_listeners(int(port), host=host, backlog=256)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accept, listener, nursery)
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                print(json.dumps(listener.socket.getsockname()[:2]), flush=True)
                async for _ in signals:
                    break
            # What the kernel has accepted is taken before the door is shut; then it is reset.
            self._is_ending = True
            await trio.sleep(0.02)
            await listener.aclose()
            for scope in self._waiting:
                scope.cancel()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            while True:
                nursery.start_soon(self._converse, await listener.accept())

    async def _converse(self, stream: trio.SocketStream) -> None:
        buffer = bytearray()
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                while await self._answer(stream, buffer):
                    pass

    async def _answer(self, stream: trio.SocketStream, buffer: bytearray) -> bool:
        """One request; whether there may be another one."""
        with trio.CancelScope() as waiting:
            self._waiting.add(waiting)
            more = bytes(buffer) or await stream.receive_some()
        self._waiting.discard(waiting)
        if waiting.cancelled_caught or not more:
            return False
        buffer[:] = more
        while (end := _whole(buffer)) is None:
            if not (more := await stream.receive_some()):
                return False
            buffer += more
        method, target, _ = bytes(buffer).split(b" ", 2)
        del buffer[:end]
        os.write(self._log, b"%b %b\n" % (method, target))
        await trio.sleep(THINKS)
        is_last = self._is_ending
        closing = b"Connection: close\r\n" if is_last else b""
        await stream.send_all(b"HTTP/1.1 200 OK\r\n%bContent-Length: 3\r\n\r\nok\n" % closing)
        return not is_last


def _whole(buffer: bytearray) -> int | None:
    """Where the first request in it ends; None if it is not all there."""
    head, blank, _ = bytes(buffer).partition(b"\r\n\r\n")
    if not blank:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    end = len(head) + 4 + length
    return end if end <= len(buffer) else None


@asynccontextmanager
async def restartable_server(bind: str, log: Path) -> AsyncIterator[tuple[trio.Process, str]]:
    """Runs one; the process, and its address and port. What is left of it at the end is killed."""
    command = [sys.executable, "-m", "tests.support.restartable_server", bind, str(log)]
    root = Path(__file__).parents[2]
    process = await trio.lowlevel.open_process(command, stdout=PIPE, cwd=root)
    assert process.stdout is not None
    try:
        with trio.fail_after(20):
            host, port = json.loads(await LineReader(process.stdout).read_line())
        yield process, f"{host}:{port}"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.aclose_forcefully(process.stdout)


if __name__ == "__main__":
    trio.run(Server(sys.argv[2]).serve, sys.argv[1])
