"""A client's socket, and what the client may keep us waiting for.

Each wait has its limit: for the next request, for a head once it has begun, for a byte to move where it
is the client's turn to send or to take one. The naive answer is a timer or a cancel scope for each.
Here a connection only says what it waits for; `vigil` comes by four times a second, calls `look`, and
that wakes or ends whoever is past the limit. So a limit is kept a quarter of a second late, and costs
the common request a few assignments and two entries in the door's dictionaries.

A client that leaves while its request is with a server, or waits in line for one, is found by the same look:
the task of its connection is cancelled, and with it what was asked of servers. A client that only closed its side, and
still reads, is answered: see net.peer_socket.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Protocol, assert_never

import trio

from haclient.core.client_limits import ClientLimits, Look
from haclient.net import InterruptedReceive
from haclient.net.http1_server import BadRequest, RawHead, ServerHttp1
from haclient.net.transport import ClientTransport, HangUp
from haclient.proxy.door import Door
from haclient.proxy.tunnel import Tunnel
from haclient.types import Instant

__all__ = ["ClientSide", "Served", "identity_of", "name_of"]

LINGER = 2.0
"""Seconds for which what a client still sends is read and dropped behind a last answer: closing on
unread bytes is a reset, which can overtake that answer (RFC 9112, section 9.6)."""

LINGER_BYTES = 1 << 20
"""What a client may have sent before it came to read that answer: the buffers of both kernels."""

REQUEST_TIMEOUT = 408

UNREAD = "the client took nothing of what was sent to it for too long"


class Served(Protocol):
    """The request that is being served."""

    began_at: Instant

    def note_client_gone(self, why: str, *, is_cut: bool = False) -> None:
        """The connection is about to be ended for this reason; `is_cut`: by us, in a drain."""
        ...


def identity_of(transport: ClientTransport) -> str:
    """Who is behind a connection: the address without the port; on a Unix socket the user."""
    endpoint = transport.endpoint
    return f"uid:{transport.peer_uid()}" if endpoint.is_unix else endpoint.address


def name_of(transport: ClientTransport) -> str:
    """Whose connection it is, for a person."""
    endpoint = transport.endpoint
    return "unix" if endpoint.is_unix else str(endpoint)


class ClientSide:
    """See the module's docstring.

    Attributes:
        began_at: when the first byte of the request at hand was read.
        client: whose it is, for a person.
        scope: of the connection's task.
        served: the request under way, if one is.
        has_expired: a limit has passed; whoever was woken looks here.
        is_making_way: another client needs the place, and gets it.
        is_passing_on: what the client said is to reach its server, also where the client has left.
        tunnel: while there is one.
    """

    __slots__ = (
        "_has_sent",
        "_idle_grace",
        "_limits",
        "_line",
        "began_at",
        "client",
        "door",
        "has_expired",
        "http",
        "is_making_way",
        "is_passing_on",
        "scope",
        "served",
        "transport",
        "tunnel",
    )

    def __init__(self, door: Door, transport: ClientTransport, idle_grace: float) -> None:
        self.door = door
        self.transport = transport
        self.client = name_of(transport)
        self.http = ServerHttp1(transport, door.settings.max_head)
        self.scope = trio.CancelScope()
        self.began_at: Instant = 0.0
        self.served: Served | None = None
        self.has_expired = False
        self.is_making_way = False
        self.is_passing_on = False
        self.tunnel: Tunnel | None = None
        self._idle_grace = idle_grace
        self._has_sent: trio.Event | None = None
        self._limits = ClientLimits()
        self._line: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<ClientSide {self.client} at {self.door.settings.name}>"

    @property
    def is_outstanding(self) -> bool:
        """Whether a request has not been answered yet."""
        return self.served is not None

    @property
    def identity(self) -> str:
        """Whose connection it is."""
        return identity_of(self.transport)

    # --- the next head -----------------------------------------------------------------------

    async def next_head(self) -> RawHead | None:
        """The next request's head, or None where there is none to come.

        Raises:
            BadRequest: it is none, or took too long.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        """
        http = self.http
        if http.has_begun:
            # What was sent ahead waited for its turn here, and nobody for it.
            self.began_at = trio.current_time()
            if (head := http.buffered_head()) is not None:
                return head
        self._begin_waiting()
        try:
            while await self._receive():
                head = http.buffered_head()
                if head is not None:
                    self.take_back_expiry()
                    return head
                self._go_on_waiting()
            return None
        finally:
            self._limits.deadline = math.inf
            self.door.end_waiting(self)

    def _begin_waiting(self) -> None:
        now, door = trio.current_time(), self.door
        if self.http.has_begun:
            self._limits.deadline = now + door.settings.header_timeout
            door.note_half_head(self, now)
        else:
            self._limits.deadline = now + door.settings.idle_timeout
            door.begin_waiting(self, now, has_spoken=self.transport.bytes_received > 0)

    async def _receive(self) -> bool:
        had_begun = self.http.has_begun
        try:
            is_more = await self.http.receive()
        except InterruptedReceive:
            return self._is_woken_for_nothing()
        if is_more and not had_begun:
            self.take_back_expiry()
            self.began_at = trio.current_time()
            self._limits.deadline = self.began_at + self.door.settings.header_timeout
        return is_more

    def _go_on_waiting(self) -> None:
        """For the rest of a head. Bytes that come in the moment in which its limit passes take back nothing."""
        if self.has_expired:
            self.transport.forget_interrupt()
            self._is_woken_for_nothing()
        self.door.note_half_head(self, self.began_at)

    def _is_woken_for_nothing(self) -> bool:
        if self.has_expired and self.http.has_begun:
            why = f"no whole head within {self.door.settings.header_timeout:g} s"
            if self.is_making_way:
                why = "no whole head in time, and others wait for the place"
            raise BadRequest(REQUEST_TIMEOUT, why, is_head=self.http.asks_for_head)
        return not self.has_expired

    def take_back_expiry(self) -> None:
        """Bytes came in the moment in which a limit passed: they came."""
        if self.has_expired:
            self.has_expired = self.is_making_way = False
            self.transport.forget_interrupt()

    @contextlib.contextmanager
    def in_line(self) -> Iterator[None]:
        """While it waits for others, before anything is asked for it: it makes way, and a drain breaks it off."""
        self.door.begin_waiting(self, trio.current_time(), has_spoken=True)
        self._line = trio.CancelScope()
        try:
            with self._line:
                yield
        finally:
            self._line = None
            self.door.end_waiting(self)

    # --- sending -----------------------------------------------------------------------------

    async def send(self, data: bytes) -> None:
        """Hands `data` to the kernel; without a checkpoint where it takes all at once.

        Two tasks may want to say something: who reads the content says "100 Continue" when an answer
        may come at the same moment. The second waits for the first, for their bytes must not mix.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the client is gone, or stalls.
        """
        while self._has_sent is not None:
            await self._has_sent.wait()
        sent = self.transport.send_now(data)
        if sent == len(data):
            return
        if self.is_making_way:
            # It has not even taken what it was sent before, and would stay as long as it likes.
            raise trio.BrokenResourceError("it took no word of why it had to make way")
        self.begin_clients_turn()
        self._has_sent = has_sent = trio.Event()
        try:
            await self.transport.send_all(memoryview(data)[sent:])
        finally:
            self._has_sent = None
            has_sent.set()
            self.end_clients_turn()

    def take_buffered(self) -> bytes:
        """What came behind the last request, of whatever protocol it is."""
        return self.http.take_buffered()

    def begin_clients_turn(self) -> None:
        """From here on a byte must move now and then, for it is the client who is waited for."""
        self._limits.begin_turn(trio.current_time())

    def end_clients_turn(self) -> None:
        """It is somebody else's turn again."""
        self._limits.end_turn()

    async def linger(self) -> None:
        """Sends a FIN, and reads for a while what the client has under way, unless others need its place."""
        await self.transport.send_eof()
        left = LINGER_BYTES
        self.door.begin_waiting(self, trio.current_time(), has_spoken=True)
        try:
            with trio.move_on_after(LINGER):
                while left > 0 and not self.is_making_way:
                    try:
                        data = await self.transport.receive_some()
                    except InterruptedReceive:
                        continue
                    if not data:
                        return
                    left -= len(data)
        finally:
            self.door.end_waiting(self)

    # --- what the vigil calls ----------------------------------------------------------------

    def look(self, now: Instant) -> None:
        """Ends what has lasted too long, and the work for a client that has left."""
        served = self.served
        if self.tunnel is not None:
            self.tunnel.look(now)
        line = self._line
        asked_at = served.began_at if served is not None else self.began_at if line else None
        is_draining, is_in_line = self.door.is_draining, line is not None
        match self._limits.look(now, asked_at, is_draining=is_draining, is_in_line=is_in_line):
            case None:
                pass
            case Look.EXPIRE:
                self._expire()
            case Look.SEE_MOVEMENT:
                self._look_for_movement(now)
            case Look.SEE_GRACE:
                self._look_while_draining(now)
            case Look.SEE_CLIENT:
                if self._has_left():
                    self.end("the client left before its answer was whole")
            case Look.SEND_AWAY:
                if line is not None:
                    line.cancel()
            case never:
                assert_never(never)

    def _has_left(self) -> bool:
        hang_up = self.transport.hang_up()
        return hang_up is HangUp.RESET or (hang_up is HangUp.GONE and not self.is_passing_on)

    def _look_for_movement(self, now: Instant) -> None:
        """No byte either way for body_timeout, though it is the client's turn: long enough."""
        transport = self.transport
        moved = transport.bytes_received + transport.bytes_sent - transport.unacknowledged()
        if not self._limits.has_stalled(now, moved, self.door.settings.body_timeout):
            return
        if self._has_sent is None:
            self._expire()
            return
        # Whatever it is, a hint or an answer: it must not look whole, and a sender is woken by
        # nothing but the end.
        if self.served is not None:
            self.served.note_client_gone(UNREAD)
        self.transport.reset()

    def _look_while_draining(self, now: Instant) -> None:
        """Between two requests: one that is just on its way is still answered."""
        if self._limits.is_grace_over(now, self._idle_grace) and not self.http.has_begun:
            self._expire()

    def _expire(self) -> None:
        self.has_expired = True
        self.transport.interrupt()

    def make_way(self) -> bool:
        """Another client needs the place: ends, but where a request is just coming in, or may be."""
        if self._line is not None:
            self.scope.cancel()
            return True
        if not self.http.has_begun and not self.transport.is_quiet():
            return False
        self.is_making_way = True
        self._expire()
        return True

    def end(self, why: str, *, is_cut: bool = False) -> None:
        """Ends the connection and whatever is outstanding on it, now."""
        if self.served is not None:
            self.served.note_client_gone(why, is_cut=is_cut)
        self.scope.cancel()

    def cancel(self) -> None:
        """The drain has lasted long enough."""
        self.end("haclient was told to end", is_cut=True)
