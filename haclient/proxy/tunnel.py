"""Bytes both ways between a client and a server: after 101 (RFC 9110, section 7.8), after CONNECT, in TCP mode.

Whether the server is dead cannot be told by silence here either: a WebSocket may be silent for hours.
An answer is owed from the client's last byte until the server's next one; for so long, and no longer,
the connection is watched like that of a request. A protocol that owes none there costs its server a
probe now and then, and both sides nothing else.

Each direction ends by itself: a side that closes has its end passed on, and may go on listening. An end
that is no clean one ends both, and reaches the other side as a reset: half a message must not look like
a whole one. The next piece is read when the last one was handed to the kernel, so memory holds one.

A server that ends a connection on which nothing was said yet has not served; whoever can dial another
one asks for that (`may_turn_away`), and is told then instead of the client.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Protocol

import trio

from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.transport import SocketTransport
from haclient.net.watch import Outstanding, Watch
from haclient.types import Evidence, Instant

__all__ = ["Tunnel", "TunnelClient"]


class TunnelClient(Protocol):
    """The client's side, as a tunnel needs it."""

    transport: SocketTransport
    is_passing_on: bool
    """What the client said is to reach its server, also where the client has left."""

    def take_buffered(self) -> bytes:
        """What it has said already, and nobody has passed on."""
        ...


class Tunnel:
    """One of them; `run` once.

    Args:
        client: the one side.
        connection: the other one.
        watch: looks after the server while an answer is owed.
        note_answer: called when the server is first heard of.
        may_turn_away: until when a server may end an untouched connection without the client noticing.

    Attributes:
        bytes_up, bytes_down: moved so far.
        dead: why its server is held dead, if it is.
        broken: how the server's side ended, where that was no clean end.
        is_turned_away: the server ended it untouched; the client knows nothing of that.
        unsent: what the client said, and no kernel has taken, where it was.
    """

    def __init__(
        self,
        client: TunnelClient,
        connection: Connection,
        watch: Watch,
        note_answer: Callable[[], None] | None = None,
        may_turn_away: Instant = -math.inf,
    ) -> None:
        self._client = client
        self._connection = connection
        self._watch = watch
        self._note_answer = note_answer
        self._may_turn_away = may_turn_away
        self._scope = trio.CancelScope()
        self._owed: Outstanding | None = None
        self._has_client_ended = False
        self.bytes_up = 0
        self.bytes_down = 0
        self.dead: Evidence | None = None
        self.broken = ""
        self.is_turned_away = False
        self.unsent = b""

    async def run(self, first: bytes = b"") -> None:
        """Moves bytes until both sides have ended; `first` is what the server sent already."""
        self._client.is_passing_on = True
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._up)
                # What came before any debt does not pay one.
                await self._down(first)
        finally:
            self._settle()

    # --- the client's bytes --------------------------------------------------------------------

    async def _up(self) -> None:
        client, connection = self._client, self._connection
        with self._ending():
            data = client.take_buffered()
            while data or (data := await self._from_client()):
                self.unsent = data
                if self.is_turned_away:
                    raise trio.ClosedResourceError("it is for another server")
                self._owe()
                with self._noting_break():
                    await connection.send(data)
                self.bytes_up += len(data)
                data = self.unsent = b""
            self._has_client_ended = True
            client.is_passing_on = False
            self._owe()  # its own end, at the least
            with self._noting_break():
                await self._pass_end_on()

    async def _from_client(self) -> bytes:
        while True:
            try:
                with self._passing_break_on():
                    return await self._client.transport.receive_some()
            except InterruptedReceive:
                continue  # a drain: a tunnel lasts until it is cut

    async def _pass_end_on(self) -> None:
        """A half-closed client still listens; TLS has no half that could be closed."""
        if self._connection.is_plain:
            await self._connection.transport.send_eof()
        else:
            raise trio.ClosedResourceError("the client closed its side")

    # --- the server's --------------------------------------------------------------------------

    async def _down(self, first: bytes) -> None:
        with self._ending():
            if first:
                await self._to_client(first)
            while data := await self._from_server():
                self._settle()
                if self._note_answer is not None:
                    self._note_answer()
                    self._note_answer = None
                await self._to_client(data)
            if self._turns_away():
                raise trio.ClosedResourceError("the server has not served")
            await self._client.transport.send_eof()

    async def _to_client(self, data: bytes) -> None:
        """Not as a turn with a limit: who does not read a tunnel for a while may mean it."""
        self.bytes_down += len(data)
        with self._passing_break_on():
            await self._client.transport.send_all(data)

    async def _from_server(self) -> bytes:
        while True:
            try:
                with self._noting_break():
                    return bytes(await self._connection.stream.receive_some(65536))
            except InterruptedReceive:
                if self._owed is not None and self._owed.dead is not None:
                    self.dead = self._owed.dead
                    self._client.transport.reset()
                    raise trio.BrokenResourceError("the server is dead") from None

    # --- ends ----------------------------------------------------------------------------------

    def _turns_away(self) -> bool:
        """Whether the server has ended before anything was said, and somebody else may be asked.

        A client that has ended gets what its server makes of that.
        """
        transport = self._connection.transport
        is_untouched = not (transport.bytes_sent or transport.bytes_received)
        if is_untouched and not self._has_client_ended:
            self.is_turned_away = trio.current_time() <= self._may_turn_away
        return self.is_turned_away

    @contextlib.contextmanager
    def _noting_break(self) -> Iterator[None]:
        """The server's side: where that breaks off, the client must not take it for an end."""
        try:
            yield
        except trio.BrokenResourceError as exc:
            self.broken = str(exc.__cause__ or exc) or "it broke off"
            if not self._turns_away():
                self._client.transport.reset()
            raise

    @contextlib.contextmanager
    def _passing_break_on(self) -> Iterator[None]:
        """The client's side, likewise."""
        try:
            yield
        except trio.BrokenResourceError:
            self._connection.reset()
            raise

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """An end that is no clean one is the other direction's end too."""
        try:
            yield
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()

    def _owe(self) -> None:
        if self._owed is None:
            now = trio.current_time()
            self._owed = Outstanding(self._connection.transport, now, math.inf)
            self._watch.add(self._owed)

    def _settle(self) -> None:
        if self._owed is not None:
            self._watch.remove(self._owed)
            self._owed = None
