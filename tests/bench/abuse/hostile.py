"""A client that means no good, and what it measures: when the daemon has let go of it.

It goes on sending after it was answered, for a proxy that only says 408 and keeps the connection has cut
nobody: gone is what is answered with a reset, or what the kernel no longer takes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

__all__ = ["ABUSED", "GONE", "SECRET", "Hostile", "get", "head", "hostile", "hostiles"]

SECRET = "s3cr3t5f1a"
"""In no line of any log."""

CREDENTIALS = (
    f"Authorization: Bearer {SECRET}\r\nCookie: sid={SECRET}\r\n"
    f"Proxy-Authorization: Basic {SECRET}\r\nUser-Agent: evil\x9b\xe9\r\n"
).encode("latin-1")
"""What everybody here sends, with bytes that a terminal would obey."""

BETWEEN = 0.002
"""Seconds from one to the next: 500 a second is no crowd for a daemon, and for these processes of ours, who
share the machine with it, as much as they can do beside."""

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
ANYBODY = b"shop"
ABUSED = b"abused"
"""The Host of the target that the good client asks, too, and of the one that it does not."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


def head(line: bytes, host: bytes = ANYBODY) -> bytes:
    """The beginning of a head, with credentials in it."""
    return b"%b HTTP/1.1\r\nHost: %b\r\n%b" % (line, host, CREDENTIALS)


def get(path: str, host: bytes = ANYBODY) -> bytes:
    """A whole request."""
    return head(f"GET {path}".encode(), host) + b"\r\n"


@dataclass
class Hostile:
    """One of them.

    Attributes:
        heard: what came in.
        cut_at: when the daemon had let go of it, from its first byte on; None while it has not.
    """

    stream: trio.SocketStream
    began_at: float
    heard: bytearray = field(default_factory=bytearray)
    cut_at: float | None = None

    @property
    def statuses(self) -> list[int]:
        """Of the answers that came, in order."""
        return [int(status) for status in STATUS.findall(self.heard)]

    async def send(self, data: bytes) -> bool:
        """Whether it could; where not, it is cut."""
        try:
            await self.stream.send_all(data)
        except GONE:
            if self.cut_at is None:
                self.cut_at = trio.current_time() - self.began_at
        return self.cut_at is None

    async def drip(self, pause: float, byte: bytes = b"x") -> None:
        """Sends a byte now and then until it is cut."""
        while await self.send(byte):  # noqa: ASYNC110  (the time is what it is about)
            await trio.sleep(pause)

    async def listen(self) -> None:
        """Takes in what comes until the end; a reset cuts."""
        try:
            while data := await self.stream.receive_some():
                self.heard += data[: 65536 - len(self.heard)]
        except GONE:
            if self.cut_at is None:
                self.cut_at = trio.current_time() - self.began_at

    async def until_answered(self) -> bytes:
        """Takes in what comes until the daemon's side has ended, and gives it."""
        await self.listen()
        return bytes(self.heard)


@asynccontextmanager
async def hostile(port: int) -> AsyncIterator[Hostile]:
    """One that is connected."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        yield Hostile(stream, trio.current_time())
    finally:
        await trio.aclose_forcefully(stream)


async def hostiles(
    port: int,
    count: int,
    do: Callable[[Hostile, int], Awaitable[None]],
    between: float = BETWEEN,
) -> list[Hostile]:
    """So many, each with its number; returns when all are done."""
    found: list[Hostile] = []

    async def one(number: int) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        try:
            who = Hostile(stream, trio.current_time())
            found.append(who)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(who.listen)
                await do(who, number)
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)
            await trio.sleep(between)
    return found
