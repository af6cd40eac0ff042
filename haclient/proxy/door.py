"""A listener in use: its settings, its routes, and who is inside.

A reload puts new settings here, and whoever reads the next request goes by them; a connection holds
its door, never the settings themselves.

A door that is full has many inside who want nothing. The naive door keeps them and lets newcomers wait:
a few hundred connections that say nothing then lock everybody out. Here whoever wants nothing makes way:
first those who have never said anything, then those who do not come to the end of a head (nobody has seen
any of it), then those who have asked nothing for a while, of each the longest waited for first. A client whose
request is on its way just then sees what it sees where a time-out crosses a request.
"""

from __future__ import annotations

import ssl
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from haclient.core.config import ListenerSettings
from haclient.core.routes import Routes
from haclient.types import Instant

if TYPE_CHECKING:
    from haclient.proxy.credentials import Guard

__all__ = ["Door", "Inside"]

SILENT_GRACE = 0.02
"""Seconds, where the process is short of descriptors: a client on the same machine connects to ask, and its
first byte comes within some milliseconds."""

SILENT_PATIENCE = 0.25
"""Seconds, where it is max_connections that is reached: to wait costs newcomers a place in the kernel's queue
and nothing else, and a program that opens 500 connections at once takes more than 20 ms for its first bytes
(measured: 100 of them were sent away)."""

HALF_HEAD_PATIENCE = 1.0
"""Seconds from the first byte of a head. A program hands its head over in one call, and on the same machine it comes
in one piece. On a network a packet of it may be lost: Linux sends it again after 0.2 s, and after 0.4 s more.
Who types by hand is slower, and loses by it where the door is full."""

IDLE_GRACE = 1.0
"""Seconds. A client that asks again so soon is no idle one: nginx spares connections that were used within
the last second, too, where it has none left."""


class Inside(Protocol):
    """A connection, as its door and the vigil see it."""

    @property
    def is_outstanding(self) -> bool:
        """Whether a request of it has not been answered yet."""
        ...

    def look(self, now: Instant) -> None:
        """Ends what has lasted too long."""
        ...

    def cancel(self) -> None:
        """Ends it now."""
        ...

    def make_way(self) -> bool:
        """Ends it if nothing of it is waited for by anybody; whether it does end."""
        ...


class Door:
    """What the connections of one listener share.

    Attributes:
        settings: in force from the next request on.
        inside: the connections that are open.
        accepted, requests: counted since the start.
        turned_away: who might not enter, by the value of their Reason; counted since the start.
        tls: what a client has to speak, if it has.
        guard: who asks each request for a user, if somebody does.
        being_told: those among them who have not left yet.
        is_paused: nothing is accepted, for lack of room or descriptors.
        is_draining: each connection ends after the request that it is at.
        address: what the socket is bound to, for a person.
    """

    def __init__(self, settings: ListenerSettings) -> None:
        self.inside: set[Inside] = set()
        self.accepted = 0
        self.requests = 0
        self.turned_away: Counter[str] = Counter()
        self.being_told: set[object] = set()
        self.is_paused = False
        self.is_draining = False
        self.tls: ssl.SSLContext | None = None
        self.guard: Guard | None = None
        self._silent: dict[Inside, Instant] = {}
        self._half: dict[Inside, Instant] = {}
        self._idle: dict[Inside, Instant] = {}
        self.address = str(settings.bind)
        self.apply(settings)

    def __repr__(self) -> str:
        return f"<Door {self.settings.name} at {self.address}, {len(self.inside)} inside>"

    def apply(self, settings: ListenerSettings) -> None:
        """Puts new settings in force."""
        self.settings = settings
        self.routes = Routes(settings.routes, settings.target)

    def begin_waiting(self, one: Inside, now: Instant, *, has_spoken: bool) -> None:
        """From now on it is waited for its request, the first one or another."""
        (self._idle if has_spoken else self._silent)[one] = now

    def note_half_head(self, one: Inside, began_at: Instant) -> None:
        """A part of its request's head is here, and it is waited for the rest."""
        if one not in self._half:
            self.end_waiting(one)
            self._half[one] = began_at

    def end_waiting(self, one: Inside) -> None:
        """A request of its is here, or it has ended."""
        self._silent.pop(one, None)
        self._half.pop(one, None)
        self._idle.pop(one, None)

    def make_room(self, now: Instant, *, is_urgent: bool = True) -> bool:
        """Lets one client go who wants nothing, or does not come to say what; whether there was one.

        Args:
            now: this instant.
            is_urgent: descriptors are short, and not places at this door.
        """
        grace = SILENT_GRACE if is_urgent else SILENT_PATIENCE
        return (
            self._let_go(self._silent, now - grace)
            or self._let_go(self._half, now - HALF_HEAD_PATIENCE)
            or self._let_go(self._idle, now - IDLE_GRACE)
        )

    def _let_go(self, waiting: dict[Inside, Instant], until: Instant) -> bool:
        # In the order in which they began to wait, the first one the longest ago.
        for one, since in waiting.items():
            if since > until:
                return False
            if one.make_way():
                del waiting[one]
                return True
        return False

    @property
    def outstanding(self) -> int:
        """Requests that have not been answered yet."""
        return sum(one.is_outstanding for one in self.inside)
