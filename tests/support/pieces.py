"""A stream that comes in the pieces that a test gives, and a reader of one whole answer to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import trio
import trio.abc

from haclient.core.framing import write_request_head
from haclient.net import InterruptedReceive
from haclient.net.http1 import ConnectionLost, Garbled, Http1
from haclient.types import Fields

__all__ = ["NEWS", "Pieces", "Reading", "byte_by_byte", "interruptible", "read", "read_every_way"]

NEWS = None
"""A piece that is none: the watch has news."""


class Pieces(trio.abc.ReceiveStream):
    """What comes in, cut as given; then the end."""

    def __init__(self, pieces: Iterable[bytes | None]) -> None:
        self._pieces = iter(pieces)
        self._rest = b""
        self.bytes_taken = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self._rest:
            piece = next(self._pieces, b"")
            if piece is NEWS:
                raise InterruptedReceive
            self._rest = piece
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:] if max_bytes else b""
        self.bytes_taken += len(data)
        return data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class Reading:
    """All that can be said of the answer to one request."""

    heads: list[tuple[int, bytes, bytes, Fields]] = field(default_factory=list)
    content: bytes = b""
    trailers: Fields = ()
    error: str = ""
    """The name of the exception that ended it."""
    is_ready_again: bool = False

    @property
    def statuses(self) -> list[int]:
        return [status for status, *_ in self.heads]


async def read(pieces: Iterable[bytes | None], method: str = "GET", close: bool = False) -> Reading:
    """Sends a request and reads its answer, going on after each interrupt."""
    http1 = Http1(Pieces(pieces))
    fields: Fields = ((b"Connection", b"close"),) if close else ()
    http1.begin(write_request_head(method, "/", fields, "orders.test", 0))
    http1.end_of_request()
    reading = Reading()
    try:
        async for _ in interruptible(http1, reading):
            pass
    except (ConnectionLost, Garbled) as exc:
        reading.error = type(exc).__name__
    reading.is_ready_again = http1.start_next()
    return reading


async def interruptible(http1: Http1, reading: Reading) -> AsyncIterator[None]:
    while not reading.heads or reading.heads[-1][0] < 200:
        try:
            head = await http1.read_head()
        except InterruptedReceive:
            yield
            continue
        reading.heads.append((head.status, head.reason, head.http_version, head.fields))
    while True:
        try:
            data = await http1.read_content()
        except InterruptedReceive:
            yield
            continue
        if not data:
            reading.trailers = http1.trailers
            return
        reading.content += data


def byte_by_byte(wire: bytes) -> list[bytes]:
    return [wire[at : at + 1] for at in range(len(wire))]


async def read_every_way(wire: bytes, method: str = "GET", close: bool = False) -> Reading:
    """At once, byte by byte, and with news before every byte; they must agree."""
    reading = await read([wire], method, close)
    single = byte_by_byte(wire)
    assert await read(single, method, close) == reading
    with_news = [piece for byte in single for piece in (NEWS, byte)]
    assert await read([*with_news, NEWS], method, close) == reading
    return reading
