"""The three servers of the demonstration, as their parent holds them.

Each is a child process. It is ended by the handle of the very process that was started, never by
name, and on every way out of `running`: the end of the show, an error, Ctrl-C. A parent that is
killed itself leaves nothing behind either, for the children end when their stdin does.
"""

from __future__ import annotations

import enum
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

import haclient
from haclient.types import Endpoint, Instant

__all__ = ["CannotPlay", "Condition", "Server", "free_port", "running"]

ORIGIN = "haclient.ops.demo_origin"

START_WITHIN = 10.0
"""Seconds for Python to start on a busy machine; it takes 0.1 otherwise."""


class CannotPlay(Exception):
    """This machine cannot show it; the message says why, and what would do."""


class Condition(enum.Enum):
    """How a server is."""

    STARTING = "starting"
    UP = "up"
    KILLED = "killed"
    BLACKHOLED = "blackholed"


class Server:
    """One child process, its faults, and what it executed.

    Attributes:
        ran: how often each request began to be executed ("POST 17"), over all lives of the server.
        faults: when it was killed or cut off, and when it was well again (None: not yet).
    """

    def __init__(self, endpoint: Endpoint, nursery: trio.Nursery) -> None:
        self.endpoint = endpoint
        self.condition = Condition.STARTING
        self.ran: Counter[str] = Counter()
        self.faults: list[tuple[Instant, Instant | None]] = []
        self._nursery = nursery
        self._process: trio.Process | None = None
        self._replies, self._read_reply = trio.open_memory_channel[str](10)
        self._news = trio.Event()
        self._is_read_out = trio.Event()

    @property
    def address(self) -> str:
        """Its IP address."""
        return self.endpoint.address

    async def start(self) -> None:
        """Starts the process; `listens` tells when it is there."""
        root = str(Path(haclient.__file__).parent.parent)
        path = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = process = await trio.lowlevel.open_process(
            [sys.executable, "-m", ORIGIN, self.address, f"{self.endpoint.port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Found also where the package is run from its source.
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        )
        self._is_read_out = trio.Event()
        assert process.stdout is not None
        self._nursery.start_soon(self._read, process.stdout, self._is_read_out)

    async def listens(self) -> None:
        """Waits until the process listens.

        Raises:
            CannotPlay: it does not.
        """
        with trio.move_on_after(START_WITHIN):
            reply = await self._read_reply.receive()
            if reply != "ready":
                raise CannotPlay(f"a server on {self.endpoint} cannot be started: {reply}")
            self._well()
            return
        raise CannotPlay(f"a server on {self.endpoint} did not start within {START_WITHIN:g} s")

    async def kill(self) -> None:
        """`kill -9`, and waits until all that it had written is read."""
        assert self._process is not None
        self.faults.append((trio.current_time(), None))
        self.condition = Condition.KILLED
        self._process.kill()
        await self._is_read_out.wait()
        await self.end()

    async def cut_off(self) -> None:
        """Blackholes it.

        Raises:
            CannotPlay: the kernel does not allow it.
        """
        self.faults.append((trio.current_time(), None))
        await self._order("blackhole")
        self.condition = Condition.BLACKHOLED

    async def heal(self) -> None:
        """Undoes `cut_off`."""
        await self._order("heal")
        self._well()

    async def executes(self, request: str) -> None:
        """Waits until it executes `request` ("GET 17")."""
        while not self.ran[request]:
            await self._news.wait()

    def was_well(self, since: Instant, until: Instant) -> bool:
        """Whether it had no fault at any time between two instants."""
        return all(
            (end is not None and end <= since) or begin >= until for begin, end in self.faults
        )

    async def end(self) -> None:
        """Ends the process, if it runs, and reaps it."""
        process = self._process
        if process is None:
            return
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()

    def _well(self) -> None:
        self.condition = Condition.UP
        if self.faults:
            self.faults[-1] = self.faults[-1][0], trio.current_time()

    async def _order(self, order: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{order}\n".encode())
        reply = await self._read_reply.receive()
        if reply != "done":
            raise CannotPlay(
                f"this kernel does not let a process {order} its own socket (SO_ATTACH_FILTER): "
                f"{reply}; 'haclient doctor' says more"
            )

    async def _read(self, stdout: trio.abc.ReceiveStream, is_over: trio.Event) -> None:
        rest = b""
        try:
            async for data in stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(line.decode())
        finally:
            is_over.set()

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "ran":
            self.ran[rest] += 1
            news, self._news = self._news, trio.Event()
            news.set()
        else:
            self._replies.send_nowait(rest if word == "failed" else word)


def free_port(addresses: Sequence[str]) -> int:
    """A port that is free on each of the addresses at this moment.

    Raises:
        CannotPlay: there is none, or the addresses are not this machine's.
    """
    for _ in range(20):
        with socket.socket() as first:
            try:
                first.bind((addresses[0], 0))
                port: int = first.getsockname()[1]
                for address in addresses[1:]:
                    with socket.socket() as other:
                        other.bind((address, port))
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            return port
    raise CannotPlay(
        f"no port is free on all of {', '.join(addresses)} ({reason}); "
        "the demo needs Linux, where all of 127.0.0.0/8 is the machine's own"
    )


@asynccontextmanager
async def running(addresses: Sequence[str], port: int) -> AsyncGenerator[tuple[Server, ...], None]:
    """The servers, started side by side, for as long as the block lasts.

    Raises:
        CannotPlay: one cannot be started.
    """
    async with trio.open_nursery() as nursery:
        servers = tuple(Server(Endpoint(address, port), nursery) for address in addresses)
        try:
            for server in servers:
                await server.start()
            for server in servers:
                await server.listens()
            yield servers
        finally:
            for server in servers:
                await server.end()
            nursery.cancel_scope.cancel()
