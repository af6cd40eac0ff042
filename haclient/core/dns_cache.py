"""What was answered for a host, for as long as it may be believed.

The naive cache keeps the TTL that it was given. A TTL of 0 (Consul's default) then means a query
for each request; one of a day means that a server that moved is not found until tomorrow; and
"no such name" with the SOA minimum of an hour means that a name that has just been added does not
exist until lunch. So every TTL is brought within limits, and a denial has a lower one of its own.

An answer that has expired is kept aside: `stale` gives it to whoever may use it while no name
server answers (RFC 8767). `get` never does. A denial takes the place of the last good answer, for
it is an answer too (RFC 8767, section 4); a failure is not put here at all.

Left out: refreshing an entry before it expires, counting hits.
"""

from __future__ import annotations

import msgspec

from haclient.core.lookup import Found, NotFound, Outcome
from haclient.types import Instant

__all__ = [
    "MAX_ENTRIES",
    "MAX_NEGATIVE_TTL",
    "MAX_PARTIAL_TTL",
    "DnsCache",
    "Entry",
]

MAX_ENTRIES = 1024
"""Hosts. A target has a few, so only a forward proxy comes near; an entry takes about 1 KiB."""

MAX_NEGATIVE_TTL = 30.0
"""Seconds for which a host may be held not to exist. SOA minimums run to an hour and more, and a
host that has just been added must be found soon; CoreDNS as Kubernetes ships it caches for 30 s."""

MAX_PARTIAL_TTL = 5.0
"""Seconds for which an answer of one family may hide that the other gave none."""


class Entry(msgspec.Struct, frozen=True):
    """An outcome, when it came, and when it is no longer to be believed."""

    outcome: Outcome
    stored_at: Instant
    expires_at: Instant


class DnsCache:
    """Hosts and what was found. `min_ttl` and `max_ttl` are in seconds."""

    def __init__(
        self, *, min_ttl: float = 1.0, max_ttl: float = 300.0, max_entries: int = MAX_ENTRIES
    ) -> None:
        if not 0 <= min_ttl <= max_ttl:
            raise ValueError(f"min_ttl {min_ttl} must be between 0 and max_ttl {max_ttl}")
        self.min_ttl = min_ttl
        self.max_ttl = max_ttl
        self._max_entries = max_entries
        self._entries: dict[str, Entry] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<DnsCache {len(self)} hosts, TTL {self.min_ttl} to {self.max_ttl} s>"

    def put(self, host: str, outcome: Outcome, now: Instant) -> Entry | None:
        """Keeps `outcome`; returns the entry, or None where it may not be kept."""
        ttl = self._ttl(outcome)
        if ttl is None:
            return None
        self._entries.pop(host, None)
        if len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        entry = self._entries[host] = Entry(outcome, now, now + ttl)
        return entry

    def get(self, host: str, now: Instant) -> Entry | None:
        """What is known of `host`, unless it has expired."""
        entry = self._entries.get(host)
        return entry if entry is not None and now < entry.expires_at else None

    def stale(self, host: str, now: Instant, stale_for: float) -> Entry | None:
        """The last good answer, if it expired not longer than `stale_for` seconds ago."""
        entry = self._entries.get(host)
        if entry is None or isinstance(entry.outcome, NotFound):
            return None
        return entry if now < entry.expires_at + stale_for else None

    def expire_all(self, now: Instant) -> None:
        """Other name servers are asked from now on: nothing is to be believed unasked."""
        for host, entry in self._entries.items():
            self._entries[host] = msgspec.structs.replace(
                entry, expires_at=min(entry.expires_at, now)
            )

    def _ttl(self, outcome: Outcome) -> float | None:
        if isinstance(outcome, Found):
            most = self.max_ttl if outcome.is_whole else min(self.max_ttl, MAX_PARTIAL_TTL)
            ttl = outcome.ttl
        elif outcome.ttl is None:
            return None
        else:
            most, ttl = min(self.max_ttl, MAX_NEGATIVE_TTL), outcome.ttl
        return min(max(ttl, self.min_ttl), max(most, self.min_ttl))
