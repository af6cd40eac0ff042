"""Bytes both ways between a client and a server, after 101 (RFC 9110, section 7.8).

Whether the server is dead cannot be told by silence here either: a WebSocket may be silent for hours.
An answer is owed from the client's last byte until the server's next one; for so long, and no longer,
the connection is watched like that of a request. A protocol that owes none there costs its server a
probe now and then, and both sides nothing else.

Each direction is a task of its own and ends by itself: a side that closes has its end passed on, and
may go on listening. An end that is no clean one ends both, and reaches the other side as a reset: half
a message must not look like a whole one.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import trio

from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.watch import Outstanding, Watch
from haclient.proxy.client_side import ClientSide
from haclient.types import Evidence

__all__ = ["Tunnel"]


class Tunnel:
    """One of them.

    Attributes:
        bytes_up, bytes_down: moved so far.
        dead: why its server is held dead, if it is.
        broken: how the server's side ended, where that was no clean end.
    """

    def __init__(self, side: ClientSide, connection: Connection, watch: Watch) -> None:
        self._side = side
        self._connection = connection
        self._watch = watch
        self._owed: Outstanding | None = None
        self.bytes_up = 0
        self.bytes_down = 0
        self.dead: Evidence | None = None
        self.broken = ""

    async def run(self, first: bytes) -> None:
        """Moves bytes until both sides have ended; `first` is what the server sent already."""
        self._side.is_passing_on = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._up, nursery.cancel_scope)
                # What came before any debt does not pay one.
                nursery.start_soon(self._down, nursery.cancel_scope, first)
        finally:
            self._settle()

    async def _up(self, scope: trio.CancelScope) -> None:
        side, connection = self._side, self._connection
        with _ending(scope):
            data = side.http.take_buffered()
            while data or (data := await self._from_client()):
                self.bytes_up += len(data)
                self._owe()
                with self._noting_break():
                    await connection.send(data)
                data = b""
            side.is_passing_on = False
            self._owe()  # its own end, at the least
            with self._noting_break():
                await self._pass_end_on()

    async def _from_client(self) -> bytes:
        while True:
            try:
                with self._passing_break_on():
                    return await self._side.transport.receive_some()
            except InterruptedReceive:
                continue  # a drain: a tunnel lasts until it is cut

    async def _pass_end_on(self) -> None:
        """A half-closed client still listens; TLS has no half that could be closed."""
        if self._connection.is_plain:
            await self._connection.transport.send_eof()
        else:
            raise trio.ClosedResourceError("the client closed its side")

    async def _down(self, scope: trio.CancelScope, first: bytes) -> None:
        with _ending(scope):
            if first:
                await self._to_client(first)
            while data := await self._from_server():
                self._settle()
                await self._to_client(data)
            await self._side.transport.send_eof()

    async def _to_client(self, data: bytes) -> None:
        """Not as a turn with a limit: who does not read a tunnel for a while may mean it."""
        self.bytes_down += len(data)
        with self._passing_break_on():
            await self._side.transport.send_all(data)

    async def _from_server(self) -> bytes:
        while True:
            try:
                with self._noting_break():
                    return bytes(await self._connection.stream.receive_some(65536))
            except InterruptedReceive:
                if self._owed is not None and self._owed.dead is not None:
                    self.dead = self._owed.dead
                    self._side.transport.reset()
                    raise trio.BrokenResourceError("the server is dead") from None

    @contextlib.contextmanager
    def _noting_break(self) -> Iterator[None]:
        """The server's side: where that breaks off, the client must not take it for an end."""
        try:
            yield
        except trio.BrokenResourceError as exc:
            self.broken = str(exc.__cause__ or exc) or "it broke off"
            self._side.transport.reset()
            raise

    @contextlib.contextmanager
    def _passing_break_on(self) -> Iterator[None]:
        """The client's side, likewise."""
        try:
            yield
        except trio.BrokenResourceError:
            self._connection.reset()
            raise

    def _owe(self) -> None:
        if self._owed is None:
            now = trio.current_time()
            self._owed = Outstanding(self._connection.transport, now, math.inf)
            self._watch.add(self._owed)

    def _settle(self) -> None:
        if self._owed is not None:
            self._watch.remove(self._owed)
            self._owed = None


@contextlib.contextmanager
def _ending(scope: trio.CancelScope) -> Iterator[None]:
    """An end that is no clean one is the other direction's end too."""
    try:
        yield
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        scope.cancel()
