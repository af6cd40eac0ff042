"""Bytes both ways between a client and a server: after 101 (RFC 9110, section 7.8), after CONNECT, in TCP mode.

Whether the server is dead cannot be told by silence here either: a WebSocket may be silent for hours.
An answer is owed from the client's last byte until the server's next one; for so long, and no longer,
the connection is watched like that of a request. A protocol that owes none there costs its server a
probe now and then, and both sides nothing else.

Each direction ends by itself: a side that closes has its end passed on, and may go on listening. An end
that is no clean one ends both, and reaches the other side as a reset: half a message must not look like
a whole one. The next piece is read when the last one was handed to the kernel, so memory holds one.

The naive tunnel is two tasks that wait for ever, a third of what it costs in memory. Here one that rests has
its client's task alone, which waits for both sockets (haclient.net.parking), and passes a small piece on by
itself. Where that would have to wait, for a piece is large or a peer does not read, and at every end, the two
directions become tasks, until nothing has been said for a while. Where nobody can park (TLS) they stay.
Bulk goes through a pipe, without being copied (haclient.net.pipes).

A server that ends a connection on which nothing was said yet has not served; whoever can dial another
one asks for that (`may_turn_away`), and is told then instead of the client.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, TypeVar, cast

import trio

from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.transport import ClientTransport, SocketTransport
from haclient.net.watch import Outstanding
from haclient.proxy.gateway import Gateway
from haclient.types import Evidence, Instant

__all__ = ["QUIET_AFTER", "Tunnel", "TunnelClient"]

QUIET_AFTER = 1.0
"""Seconds without a byte, until two tasks are one again. To begin them anew costs 0.1 ms, which nobody
notices who comes once a second."""

LARGE = 65536
"""Bytes that one receive gives at the most: there is likely more."""

Direction = Callable[[], Awaitable[None]]

Heard = TypeVar("Heard")


class Resting(Exception):
    """A direction leaves, for nothing is said."""


class TunnelClient(Protocol):
    """The client's side, as a tunnel needs it."""

    transport: ClientTransport
    is_passing_on: bool
    """What the client said is to reach its server, also where the client has left."""
    tunnel: Tunnel | None
    """While there is one; whoever looks after the client looks at it too."""

    def take_buffered(self) -> bytes:
        """What it has said already, and nobody has passed on."""
        ...


class Tunnel:
    """One of them; `run` once.

    Args:
        client: the one side.
        connection: the other one.
        gateway: its watch, parking and pipes.
        note_answer: called when the server is first heard of.
        may_turn_away: until when a server may end an untouched connection without the client noticing.

    Attributes:
        bytes_up, bytes_down: moved so far.
        dead: why its server is held dead, if it is.
        broken: how the server's side ended, where that was no clean end.
        is_turned_away: the server ended it untouched; the client knows nothing of that.
        unsent: what the client said, and no kernel has taken.
    """

    __slots__ = (
        "_client",
        "_connection",
        "_first",
        "_has_client_ended",
        "_is_resting",
        "_left",
        "_may_turn_away",
        "_moved",
        "_note_answer",
        "_nursery",
        "_open_down",
        "_open_up",
        "_owed",
        "_parking",
        "_pipes",
        "_quiet_since",
        "_sending",
        "_watch",
        "broken",
        "bytes_down",
        "bytes_up",
        "dead",
        "is_turned_away",
        "unsent",
    )

    def __init__(
        self,
        client: TunnelClient,
        connection: Connection,
        gateway: Gateway,
        note_answer: Callable[[], None] | None = None,
        may_turn_away: Instant = -math.inf,
    ) -> None:
        self._client = client
        self._connection = connection
        self._watch = gateway.engine.watch
        self._note_answer = note_answer
        self._may_turn_away = may_turn_away
        # Within TLS, on either side, there is nothing to be parked, and nothing that could be spliced.
        is_plain = connection.is_plain and hasattr(client.transport, "splice_in")
        self._parking = gateway.parking if is_plain and gateway.parking.is_possible else None
        self._pipes = gateway.pipes if is_plain else None
        self._nursery: trio.Nursery | None = None
        self._open_up = self._open_down = True
        self._left: list[Direction] = []
        self._is_resting = False
        self._sending = 0
        self._moved = 0
        self._quiet_since: Instant = 0.0
        self._owed: Outstanding | None = None
        self._has_client_ended = False
        self._first = b""
        self.unsent = b""
        self.bytes_up = 0
        self.bytes_down = 0
        self.dead: Evidence | None = None
        self.broken = ""
        self.is_turned_away = False

    async def run(self, first: bytes = b"") -> None:
        """Moves bytes until both sides have ended; `first` is what the server sent already."""
        client = self._client
        client.is_passing_on, client.tunnel = True, self
        # What came before any debt does not pay one.
        self._first, self.unsent = first, client.take_buffered()
        try:
            while self._open_up or self._open_down:
                if self._has_to_be_moved or not await self._pass_a_piece():
                    await self._move()
        finally:
            client.tunnel = None
            self._settle()
            self._cut()

    @property
    def _has_to_be_moved(self) -> bool:
        return bool(self._parking is None or self._first or self.unsent)

    def _cut(self) -> None:
        """Cancelled in its midst (a drain, a client that left): neither side is to take that for an end."""
        if self._open_up:
            self._connection.reset()
        if self._open_down:
            self._client.transport.reset()

    # --- one task ------------------------------------------------------------------------------

    async def _pass_a_piece(self) -> bool:
        """Waits until something is said, and passes it on if that can be done at once.

        Returns False where the directions are to look after it: nothing was lost then.
        """
        ours, theirs = self._plain_client, self._plain
        assert self._parking is not None
        if not self._open_up:
            await self._parking.until_readable(theirs)
            return False
        if not self._open_down:
            await self._parking.until_readable(ours)
            return False
        spoke = await self._parking.until_readable(ours, theirs)
        if spoke is None:
            return False
        try:
            return self._pass_up_now() if spoke is ours else self._pass_down_now()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False  # it is said again to whoever asks again

    def _pass_up_now(self) -> bool:
        data = self._plain_client.receive_now()
        if not data:
            return data is None
        self.unsent = data
        self._owe()
        sent = self._connection.send_now(data)
        self.bytes_up += sent
        self.unsent = data[sent:]
        return not self.unsent and len(data) < LARGE

    def _pass_down_now(self) -> bool:
        transport = self._plain
        data = transport.receive_now()
        if not data:
            return data is None
        self._note_heard()
        self._first = data
        sent = self._client.transport.send_now(data)
        self.bytes_down += sent
        self._first = data[sent:]
        return not self._first and len(data) < LARGE

    # --- two tasks -----------------------------------------------------------------------------

    async def _move(self) -> None:
        """Until both directions have ended, or nothing is said any more."""
        self._is_resting = False
        self._left.clear()
        self._quiet_since = trio.current_time()
        async with trio.open_nursery() as self._nursery:
            if self._open_up:
                self._nursery.start_soon(self._up)
            if self._open_down:
                self._nursery.start_soon(self._down)
        self._nursery = None

    def look(self, now: Instant) -> None:
        """Lets the directions rest, if nothing has been said for a while; called now and then.

        Ends it where its server is dead and nobody hears of that, for the client does not read.
        """
        if self._sending and self._is_dead():
            self._open_up = self._open_down = False
            assert self._nursery is not None
            self._nursery.cancel_scope.cancel()
            return
        if self._parking is None or self._nursery is None or self._is_resting:
            return
        moved = self.bytes_up + self.bytes_down
        if moved != self._moved or self._sending or self._owed is not None:
            self._moved, self._quiet_since = moved, now
        elif now - self._quiet_since >= QUIET_AFTER:
            # Each that is open waits for a byte; one that comes in this moment is received all the same.
            self._is_resting = True
            self._client.transport.interrupt()
            self._connection.transport.interrupt()

    @property
    def is_held_up(self) -> bool:
        """Whether a peer does not read just now: who sends to it may leave unnoticed."""
        return self._sending > 0

    def _stay(self) -> None:
        """Something was said while the directions were about to rest: who left comes back."""
        if self._is_resting and self._nursery is not None:
            self._is_resting = False
            for direction in self._left:
                self._nursery.start_soon(direction)
            self._left.clear()

    async def _up(self) -> None:
        transport = self._client.transport
        with self._ending(self._up):
            is_bulk = False
            while True:
                if is_bulk:
                    await self._from_client(self._plain_client.until_readable)
                    is_bulk = await self._splice_up()
                    continue
                if not self.unsent:
                    self.unsent = await self._from_client(transport.receive_some)
                if not self.unsent:
                    break
                is_bulk = self._pipes is not None and len(self.unsent) >= LARGE
                await self._send_up()
            self._has_client_ended = True
            self._client.is_passing_on = False
            self._owe()  # its own end, at the least
            with self._noting_break():
                await self._pass_end_on()
            self._open_up = False

    async def _from_client(self, call: Callable[[], Awaitable[Heard]]) -> Heard:
        while True:
            try:
                with self._passing_break_on():
                    heard = await call()
            except InterruptedReceive:
                if self._is_resting:
                    raise Resting from None
                continue  # a drain: a tunnel lasts until it is cut
            self._stay()
            return heard

    async def _send_up(self) -> None:
        if self.is_turned_away:
            raise trio.ClosedResourceError("it is for another server")
        self._owe()
        data = self.unsent
        with self._noting_break(), self._being_sent():
            await self._connection.send(data)
        self.bytes_up += len(data)
        self.unsent = b""

    async def _pass_end_on(self) -> None:
        """A half-closed client still listens; TLS has no half that could be closed."""
        if self._connection.is_plain:
            await self._connection.transport.send_eof()
        else:
            raise trio.ClosedResourceError("the client closed its side")

    async def _down(self) -> None:
        stream, transport = self._connection.stream, self._plain
        with self._ending(self._down):
            is_bulk = False
            while True:
                if is_bulk:
                    await self._from_server(transport.until_readable)
                    is_bulk = await self._splice_down()
                    continue
                if not self._first:
                    self._first = bytes(await self._from_server(stream.receive_some))
                    if not self._first:
                        break
                    self._note_heard()
                is_bulk = self._pipes is not None and len(self._first) >= LARGE
                await self._send_down()
            if self._turns_away():
                raise trio.ClosedResourceError("the server has not served")
            await self._client.transport.send_eof()
            self._open_down = False

    @property
    def _plain(self) -> SocketTransport:
        """The server's, where it is spoken to without TLS, by the dialer that this machine has."""
        return cast("SocketTransport", self._connection.transport)

    @property
    def _plain_client(self) -> SocketTransport:
        """The client's, where it is spoken to without TLS."""
        return cast("SocketTransport", self._client.transport)

    async def _from_server(self, call: Callable[[], Awaitable[Heard]]) -> Heard:
        while True:
            try:
                with self._noting_break():
                    heard = await call()
            except InterruptedReceive:
                if self._is_dead():
                    raise trio.BrokenResourceError("the server is dead") from None
                if self._is_resting:
                    raise Resting from None
                continue
            self._stay()
            return heard

    async def _send_down(self) -> None:
        """Not as a turn with a limit: who does not read a tunnel for a while may mean it."""
        data, self._first = self._first, b""
        self.bytes_down += len(data)
        with self._passing_break_on(), self._being_sent():
            await self._client.transport.send_all(data)

    # --- bulk ----------------------------------------------------------------------------------

    async def _splice_up(self) -> bool:
        """What is there now; whether it was much."""
        assert self._pipes is not None
        if (pipe := self._pipes.take()) is None:
            return False
        try:
            with self._passing_break_on():
                moved = self._plain_client.splice_in(pipe) or 0
            if moved:
                self._owe()
                with self._noting_break(), self._being_sent():
                    await self._plain.splice_out(pipe)
                self.bytes_up += moved
            return moved >= LARGE
        finally:
            self._pipes.give_back(pipe)

    async def _splice_down(self) -> bool:
        assert self._pipes is not None
        if (pipe := self._pipes.take()) is None:
            return False
        try:
            with self._noting_break():
                moved = self._plain.splice_in(pipe) or 0
            if moved:
                self._note_heard()
                self.bytes_down += moved
                with self._passing_break_on(), self._being_sent():
                    await self._plain_client.splice_out(pipe)
            return moved >= LARGE
        finally:
            self._pipes.give_back(pipe)

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
    def _ending(self, direction: Direction) -> Iterator[None]:
        """An end that is no clean one is the other direction's end too."""
        try:
            yield
        except Resting:
            self._left.append(direction)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._open_up = self._open_down = False
            assert self._nursery is not None
            self._nursery.cancel_scope.cancel()

    @contextlib.contextmanager
    def _being_sent(self) -> Iterator[None]:
        """Not quiet: a peer that does not read makes one direction wait."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1

    def _is_dead(self) -> bool:
        """Whether the watch has a verdict; then the client is told."""
        if self._owed is None or self._owed.dead is None:
            return False
        self.dead = self._owed.dead
        self._client.transport.reset()
        return True

    # --- debts ---------------------------------------------------------------------------------

    def _owe(self) -> None:
        if self._owed is None:
            now = trio.current_time()
            self._owed = Outstanding(self._connection.transport, now, math.inf)
            self._watch.add(self._owed)

    def _note_heard(self) -> None:
        """The server has spoken; to a client that has said all it owes its end until that comes."""
        if not self._has_client_ended:
            self._settle()
        if self._note_answer is not None:
            self._note_answer()
            self._note_answer = None

    def _settle(self) -> None:
        if self._owed is not None:
            self._watch.remove(self._owed)
            self._owed = None
