"""A server that holds thousands of requests until it is told to answer, as a process.

    async with holding_server("127.0.0.2:0") as server:
        await server.order("count")        # how many are held
        await server.order("answer")       # those, and from now on every one at once

tests.support.origin does what a server can do, for a handful of connections; this one only waits, in
one thread and without parsing, so that its own cost does not stand in the figures of what is before it.
Orders: count · answer · blackhole (haclient.net.blackhole, with the listening socket) · arrivals
(when each request came, on the clock that all processes of this machine have in common).
"""

from __future__ import annotations

import io
import json
import selectors
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE
from time import monotonic  # noqa: TID251  (one clock for two processes)
from typing import Any

import trio

from haclient.net.blackhole import blackhole
from haclient.types import Endpoint
from tests.support.origin import LineReader

__all__ = ["HoldingServer", "holding_server"]

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"
BACKLOG = 4096


class Server:
    """One thread, one selector."""

    def __init__(self, bind: str) -> None:
        host, _, port = bind.rpartition(":")
        self.listener = socket.create_server((host, int(port)), backlog=BACKLOG)
        self.listener.setblocking(False)
        self.arrivals: list[float] = []
        self.held: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._answers_at_once = False
        self._is_dead = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ, self._accept)
        orders = io.FileIO(sys.stdin.fileno(), closefd=False)
        self._selector.register(orders, selectors.EVENT_READ, self._obey)

    def run(self) -> None:
        """Until standard input ends."""
        while True:
            for key, _ in self._selector.select():
                if key.data(key.fileobj) is False:
                    return

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(sock)
                self._selector.register(sock, selectors.EVENT_READ, self._receive)

    def _receive(self, sock: socket.socket) -> None:
        data = b""
        with suppress(ConnectionError):
            data = sock.recv(65536)
        if not data:
            self._close(sock)
        elif data.endswith(b"\r\n\r\n"):
            self.arrivals.append(monotonic())
            self.held.add(sock)
            if self._answers_at_once:
                self._answer()

    def _close(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        self.held.discard(sock)
        self._open.discard(sock)
        sock.close()

    def _answer(self) -> None:
        for sock in () if self._is_dead else self.held:
            with suppress(ConnectionError):
                sock.sendall(ANSWER)
        self.held.clear()

    def _obey(self, orders: Any) -> bool:
        line = orders.readline().strip()
        answer: object = True
        match line:
            case b"":
                return False
            case b"count":
                answer = len(self.held)
            case b"arrivals":
                answer = self.arrivals
            case b"answer":
                self._answers_at_once = True
                self._answer()
            case b"blackhole":
                self._is_dead = True
                for sock in [*self._open, self.listener]:
                    blackhole(sock)
        print(json.dumps(answer), flush=True)
        return True


class HoldingServer:
    """The parent's side."""

    def __init__(self, process: trio.Process, endpoint: Endpoint, reader: LineReader) -> None:
        self.endpoint = endpoint
        self.url = f"http://{endpoint}"
        self._process = process
        self._reader = reader

    async def order(self, word: str) -> Any:
        """Says it and gives what is answered."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(word.encode() + b"\n")
        return json.loads(await self._reader.read_line())


@asynccontextmanager
async def holding_server(bind: str = "127.0.0.1:0") -> AsyncIterator[HoldingServer]:
    """Runs one as a child; at the end it is killed and waited for."""
    command = [sys.executable, "-m", "tests.support.holding_server", bind]
    root = Path(__file__).parents[2]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, cwd=root)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        reader = LineReader(process.stdout)
        with trio.fail_after(10):
            host, port = json.loads(await reader.read_line())
        yield HoldingServer(process, Endpoint(host, port), reader)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)


if __name__ == "__main__":
    server = Server(sys.argv[1])
    print(json.dumps(server.listener.getsockname()[:2]), flush=True)
    server.run()
