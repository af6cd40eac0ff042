"""A listener in use: its settings, its routes, and who is inside.

A reload puts new settings here, and whoever reads the next request goes by them; a connection holds
its door, never the settings themselves.
"""

from __future__ import annotations

from typing import Protocol

from haclient.core.config import ListenerSettings
from haclient.core.routes import Routes
from haclient.types import Instant

__all__ = ["Door", "Inside"]


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


class Door:
    """What the connections of one listener share.

    Attributes:
        settings: in force from the next request on.
        inside: the connections that are open.
        accepted, requests: counted since the start.
        is_paused: nothing is accepted, for lack of room or descriptors.
        is_draining: each connection ends after the request that it is at.
        address: what the socket is bound to, for a person.
    """

    def __init__(self, settings: ListenerSettings) -> None:
        self.inside: set[Inside] = set()
        self.accepted = 0
        self.requests = 0
        self.is_paused = False
        self.is_draining = False
        self.address = str(settings.bind)
        self.apply(settings)

    def __repr__(self) -> str:
        return f"<Door {self.settings.name} at {self.address}, {len(self.inside)} inside>"

    def apply(self, settings: ListenerSettings) -> None:
        """Puts new settings in force."""
        self.settings = settings
        self.routes = Routes(settings.routes, settings.target)

    @property
    def outstanding(self) -> int:
        """Requests that have not been answered yet."""
        return sum(one.is_outstanding for one in self.inside)
