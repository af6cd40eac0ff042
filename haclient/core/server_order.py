"""In which order the name servers are asked.

The files' order is the administrator's, and it may matter: the first one may know names that the
second does not. But to begin with a dead server costs a time-out for every lookup. So whoever
answered instead of the first is asked first for a while, and then the listed order is tried again:
a dead name server costs one lookup in `PREFERENCE_LASTS` its time-out, not each.

Left out: spreading the load, asking several at once, measuring who is fastest.
"""

from __future__ import annotations

from haclient.types import Endpoint, Instant

__all__ = ["PREFERENCE_LASTS", "SILENCE_COUNTS_AFTER", "ServerOrder"]

PREFERENCE_LASTS = 30.0
"""Seconds. Long enough to make a dead server cheap; short enough that a name which only the first
server knows is missed for no longer than a denial is remembered (dns_cache)."""

SILENCE_COUNTS_AFTER = 1.0
"""Seconds of silence after which a lookup that its caller gave up counts against the server. Without
this, callers with less patience than the time-out would begin with the dead server for ever."""


class ServerOrder:
    """Remembers which server to begin with."""

    def __init__(self) -> None:
        self._preferred: Endpoint | None = None
        self._until: Instant = 0.0

    def __repr__(self) -> str:
        return f"<ServerOrder preferred={self._preferred}>"

    def order(self, listed: tuple[Endpoint, ...], now: Instant) -> tuple[Endpoint, ...]:
        """The servers in the order in which to ask them now."""
        if self._preferred not in listed or now >= self._until:
            return listed
        return tuple(sorted(listed, key=lambda server: server != self._preferred))

    def answered(self, server: Endpoint | None, asked: tuple[Endpoint, ...], now: Instant) -> None:
        """`server` answered; `asked` is the order it was found in. None: nobody did."""
        if server is not None and server != asked[0]:
            self._prefer(server, now)

    def was_silent(
        self, servers: frozenset[Endpoint], asked: tuple[Endpoint, ...], now: Instant
    ) -> None:
        """A lookup was given up while `servers` had said nothing for a while."""
        others = [server for server in asked if server not in servers]
        if others and asked[0] in servers:
            self._prefer(others[0], now)

    def _prefer(self, server: Endpoint, now: Instant) -> None:
        self._preferred = server
        self._until = now + PREFERENCE_LASTS
