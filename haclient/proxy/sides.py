"""The two sides of a tunnel: what each said that nobody has passed on yet, what is owed, and how each ended.

An answer is owed from the client's last byte until the server's next one; for so long, and no longer,
the server's connection is watched like that of a request. A protocol that owes none there costs its server a
probe now and then, and both sides nothing else.

A side that breaks off must not look as if it had ended: whoever speaks to it does so within `of_client` or
`of_server`, and the other side is reset then. But a server that ends a connection on which nothing was said
yet has not served; whoever can dial another one asks for that (`may_turn_away`), and is told then instead
of the client.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, cast

import trio

from haclient.core.tunnel_end import TunnelEnd, judge_end
from haclient.net.connection import Connection
from haclient.net.transport import ClientTransport, HangUp, SocketTransport
from haclient.net.watch import Outstanding, Watch
from haclient.types import Evidence, Instant

if TYPE_CHECKING:
    from haclient.proxy.tunnel import Tunnel

__all__ = ["Sides", "TunnelClient"]


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


class Sides:
    """Those of one tunnel.

    Args:
        client: the one side.
        connection: the other one.
        watch: looks after it while it owes an answer.
        note_answer: called when the server is first heard of.
        may_turn_away: until when a server may end an untouched connection without the client noticing.

    Attributes:
        unsent_up, unsent_down: what the client said, what the server said, and no kernel has taken.
        is_open_up, is_open_down: more may come from the client, from the server.
        bytes_up, bytes_down: moved so far.
        dead: why the server is held dead, if it is.
        broken: how the server's side ended, where that was no clean end.
        is_turned_away: the server ended it untouched; the client knows nothing of that.
        is_unanswered: the server was the first to end, and owed an answer.
    """

    __slots__ = (
        "_has_client_ended",
        "_may_turn_away",
        "_note_answer",
        "_owed",
        "_watch",
        "broken",
        "bytes_down",
        "bytes_up",
        "client",
        "connection",
        "dead",
        "is_open_down",
        "is_open_up",
        "is_turned_away",
        "is_unanswered",
        "unsent_down",
        "unsent_up",
    )

    def __init__(
        self,
        client: TunnelClient,
        connection: Connection,
        watch: Watch,
        note_answer: Callable[[], None] | None = None,
        may_turn_away: Instant = -math.inf,
    ) -> None:
        self.client = client
        self.connection = connection
        self._watch = watch
        self._note_answer = note_answer
        self._may_turn_away = may_turn_away
        self._owed: Outstanding | None = None
        self._has_client_ended = False
        self.unsent_up = b""
        self.unsent_down = b""
        self.is_open_up = self.is_open_down = True
        self.bytes_up = 0
        self.bytes_down = 0
        self.dead: Evidence | None = None
        self.broken = ""
        self.is_turned_away = False
        self.is_unanswered = False

    @property
    def is_plain(self) -> bool:
        """Whether neither of them speaks TLS: within it there is nothing to be parked or spliced."""
        return self.connection.is_plain and hasattr(self.client.transport, "splice_in")

    @property
    def plain_client(self) -> SocketTransport:
        """The client's, where it is spoken to without TLS."""
        return cast("SocketTransport", self.client.transport)

    @property
    def plain_server(self) -> SocketTransport:
        """The server's, where it is spoken to without TLS, by the dialer that this machine has."""
        return cast("SocketTransport", self.connection.transport)

    # --- debts ---------------------------------------------------------------------------------

    @property
    def is_owed(self) -> bool:
        """Whether the server is watched, for it owes an answer."""
        return self._owed is not None

    def owe(self) -> None:
        """The client has spoken."""
        if self._owed is None:
            now = trio.current_time()
            self._owed = Outstanding(self.connection.transport, now, math.inf)
            self._watch.add(self._owed)

    def note_heard(self) -> None:
        """The server has spoken; to a client that has said all it owes its end until that comes."""
        if not self._has_client_ended:
            self.settle()
        if self._note_answer is not None:
            self._note_answer()
            self._note_answer = None

    def note_client_ended(self) -> None:
        """The client has said all; its server owes its own end, at the least."""
        self._has_client_ended = True
        self.client.is_passing_on = False
        self.owe()

    def note_server_ended(self) -> None:
        """The server has said all; a client that ended in the same moment has no answer to wait for."""
        if self.is_owed and not self._has_client_ended:
            self.is_unanswered = self.client.transport.hang_up() is HangUp.NONE

    def settle(self) -> None:
        """Nothing is owed any more."""
        if self._owed is not None:
            self._watch.remove(self._owed)
            self._owed = None

    def is_dead(self) -> bool:
        """Whether the watch has a verdict; then the client is told."""
        if self._owed is None or self._owed.dead is None:
            return False
        self.dead = self._owed.dead
        self.client.transport.reset()
        return True

    # --- ends ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def of_server(self) -> Iterator[None]:
        """Where the server breaks off, the client must not take it for an end."""
        try:
            yield
        except trio.BrokenResourceError as exc:
            self.broken = str(exc.__cause__ or exc) or "it broke off"
            if not self.turns_away():
                self.client.transport.reset()
            raise

    @contextlib.contextmanager
    def of_client(self) -> Iterator[None]:
        """The client's side, likewise."""
        try:
            yield
        except trio.BrokenResourceError:
            self.connection.reset()
            raise

    def turns_away(self) -> bool:
        """Whether the server has ended before anything was said, and somebody else may be asked.

        A client that has ended gets what its server makes of that.
        """
        transport = self.connection.transport
        is_untouched = not (transport.bytes_sent or transport.bytes_received)
        if is_untouched and not self._has_client_ended:
            self.is_turned_away = trio.current_time() <= self._may_turn_away
        return self.is_turned_away

    def cut(self) -> None:
        """Cancelled in its midst (a drain, a client that left): neither side is to take that for an end."""
        if self.is_open_up:
            self.connection.reset()
        if self.is_open_down:
            self.client.transport.reset()

    def end(self) -> TunnelEnd:
        """What it came to."""
        return judge_end(
            self.bytes_up,
            self.bytes_down,
            self.dead,
            self.broken,
            is_unanswered=self.is_unanswered,
        )
