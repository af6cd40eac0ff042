"""What was answered for a host: how long it is believed, when it is asked for anew, what stands in for it.

The naive cache keeps the TTL that it was given, and forgets. A TTL of 0 (Consul's default) then means a
query for each request; one of a day means that a server that moved is not found until tomorrow; and
"no such name" with the SOA minimum of an hour means that a name that has just been added does not
exist until lunch. The request that comes when the TTL has just run out waits for the name servers;
and when they are down, every request fails although its servers are well. So:

    a TTL          is brought within limits; a denial has a lower one of its own
    in use         a host is asked for anew before its TTL has run out, so that nobody waits
    addresses      take the place of those before at once; who is gone is kept aside for a while,
                   for name servers that give another part of a long list each time
    a failure      changes nothing while there is a good answer, which serves on for `stale_for`
                   seconds after its end (RFC 8767); meanwhile the host is asked for ever less often
    a denial       after a good answer is doubted: see DENIAL_DOUBTED_FOR

    room           is for MAX_ENTRIES hosts, and the oldest gives way; but never one that `keep` named, nor a server of
                   such a service: whoever asks a forward proxy for many names pushes out no target's

Time and chance are arguments. Left out: counting hits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain

import msgspec

from haclient.core.lookup import Found, NotFound, Outcome, Reason
from haclient.types import Instant

__all__ = [
    "DENIAL_DOUBTED_FOR",
    "FORMER_FOR",
    "IN_USE_FOR",
    "MAX_ENTRIES",
    "MAX_FORMER",
    "MAX_NEGATIVE_TTL",
    "MAX_PARTIAL_TTL",
    "DnsCache",
    "Entry",
    "NameEvent",
    "StaleBegan",
    "StaleEnded",
    "Trouble",
]

MAX_ENTRIES = 1024
"""Hosts. A target has a few, so only a forward proxy comes near; an entry takes about 1 KiB. Where those to be
kept are more, which the configuration bounds, there is room for all of them and one other."""

MAX_NEGATIVE_TTL = 30.0
"""Seconds for which a host may be held not to exist. SOA minimums run to an hour and more, and a
host that has just been added must be found soon; CoreDNS as Kubernetes ships it caches for 30 s."""

MAX_PARTIAL_TTL = 5.0
"""Seconds for which an answer of one family may hide that the other gave none."""

REFRESH_AFTER, REFRESH_SPREAD = 0.8, 0.1
"""Shares of a TTL: a host in use is asked for anew between 80 and 90 % of it. unbound and BIND prefetch
at 90 %; the spread keeps a hundred sidecars that started together from asking together."""

LEAST_TTL_TO_REFRESH = 1.0
"""Seconds. Whoever sets min_ttl below that wants name servers asked for each request."""

IN_USE_FOR = 60.0
"""Seconds, or the TTL where that is longer, for which a host counts as in use after it was asked for. The
engine asks each second for what it has connections to."""

FIRST_RETRY, LAST_RETRY = 1.0, 30.0
"""Seconds until a lookup that failed is repeated, doubled each time. RFC 8767, section 5, has 30 s at
least for a resolver that serves thousands; the name servers of one machine can bear a sooner try, and
to find them well again soon is the point. In between by up to a tenth, either way."""

DENIAL_DOUBTED_FOR = 600.0
"""Seconds for which "no such name" or "no address", said of a host that had some, is held a mistake.

RFC 8767, section 4, has a denial take the place of what was known. It speaks of caches for all the world,
where a denial is news; here somebody has written the name into a configuration, and an abrupt denial is
how many an outage looks: a registry that lost its state, a zone that was loaded empty (Envoy's issue 2691;
HAProxy, too, keeps addresses for `hold nx`, 30 s). The old addresses can only help where there is no
other. Ten minutes outlast such an outage, and are less than the hour after which an address may be
somebody else's. Never longer than `stale_for`."""

FORMER_FOR = 30.0
"""Seconds for which addresses that are no longer in the answer may be gone back to. Name servers give a part
of a long list, another one each time (Envoy's issue 15457); HAProxy's documentation proposes 30 s for
`hold obsolete` in that case."""

MAX_FORMER = 64
"""Addresses; as many as one answer may have."""

DENIALS = frozenset({Reason.NO_SUCH_NAME, Reason.NO_ADDRESS})


class StaleBegan(msgspec.Struct, frozen=True):
    """An answer serves beyond its time; `error` is what the last lookup came to."""

    host: str
    error: str


class StaleEnded(msgspec.Struct, frozen=True):
    """It no longer does. With an `error` requests for the host fail from now on; else all is well."""

    host: str
    lasted: float
    error: str = ""


NameEvent = StaleBegan | StaleEnded


class Trouble(msgspec.Struct):
    """Lookups that came to nothing since the last good answer.

    Attributes:
        failures: in a row, of the name servers in force.
        denied_since: when the host was first denied.
        stale_since: when the answer was first given out beyond its time.
    """

    error: str = ""
    failures: int = 0
    denied_since: Instant | None = None
    stale_since: Instant | None = None


class Entry(msgspec.Struct, eq=False):
    """An outcome: when it came, when it is no longer to be believed, when it is to be asked for anew.

    Attributes:
        asked_at: when somebody last wanted it.
        former: addresses that are no longer in the answer, each with the end of its time.
        is_superseded: other name servers are in force than those that gave it.
    """

    outcome: Outcome
    stored_at: Instant
    expires_at: Instant
    refresh_at: Instant = math.inf
    asked_at: Instant = -math.inf
    former: dict[str, Instant] = msgspec.field(default_factory=dict)
    trouble: Trouble | None = None
    is_superseded: bool = False

    @property
    def is_failing(self) -> bool:
        """Whether the name servers are known not to answer for it."""
        return self.trouble is not None and self.trouble.failures > 0

    def former_at(self, now: Instant) -> tuple[str, ...]:
        """The addresses that may still be gone back to."""
        return tuple(address for address, until in self.former.items() if now < until)


class DnsCache:
    """Hosts and what was found. `min_ttl`, `max_ttl` and `stale_for` are in seconds."""

    def __init__(
        self,
        *,
        min_ttl: float = 1.0,
        max_ttl: float = 300.0,
        stale_for: float = 3600.0,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self.limit(min_ttl, max_ttl, stale_for)
        self._max_entries = max_entries
        self._entries: dict[str, Entry] = {}  # the oldest first
        self._kept: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<DnsCache {len(self)} hosts, TTL {self.min_ttl} to {self.max_ttl} s>"

    def limit(self, min_ttl: float, max_ttl: float, stale_for: float) -> None:
        """Sets other limits, for the answers to come; `stale_for` at once.

        Raises:
            ValueError: no TTL lies between the two.
        """
        if not 0 <= min_ttl <= max_ttl:
            raise ValueError(f"min_ttl {min_ttl} must be between 0 and max_ttl {max_ttl}")
        self.min_ttl = min_ttl
        self.max_ttl = max_ttl
        self.stale_for = stale_for

    def keep(self, hosts: Iterable[str]) -> None:
        """These hosts, and no others, give way to nobody from now on."""
        self._kept = frozenset(hosts)

    def kept(self) -> set[str]:
        """Who gives way to nobody: the hosts named, and the servers of those that are services."""
        entries = [self._entries[host] for host in self._kept if host in self._entries]
        return {*self._kept, *chain.from_iterable(map(_servers, entries))}

    # What is known

    def get(self, host: str, now: Instant) -> Entry | None:
        """What is known of `host`, unless it has expired. Somebody wants it: it is in use."""
        entry = self._entries.get(host)
        if entry is None:
            return None
        entry.asked_at = now
        return entry if now < entry.expires_at else None

    def stale(self, host: str, now: Instant) -> Entry | None:
        """The last good answer, if it may still be served."""
        entry = self._entries.get(host)
        return entry if entry is not None and self._may_serve(entry, now) else None

    def served_stale(self, host: str, now: Instant) -> tuple[NameEvent, ...]:
        """The answer, which has expired, is given out."""
        trouble = self._entries[host].trouble
        if trouble is None or trouble.stale_since is not None:
            return ()
        trouble.stale_since = now
        return (StaleBegan(host, trouble.error),)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Every host, good, denied or expired."""
        yield from self._entries.items()

    # When to ask

    def due(self, now: Instant) -> tuple[str, ...]:
        """The hosts in use that are to be looked up now."""
        return tuple(
            host
            for host, entry in self._entries.items()
            if entry.refresh_at <= now and _is_in_use(entry, now)
        )

    def wake_at(self, now: Instant) -> Instant:
        """When `due` is next to be asked."""
        later = (e.refresh_at for e in self._entries.values() if e.refresh_at > now)
        return min(later, default=math.inf)

    # What is learnt

    def learn(
        self, host: str, outcome: Outcome, now: Instant, chance: float = 0.5
    ) -> tuple[NameEvent, ...]:
        """A lookup is over.

        Args:
            host: what was asked for.
            outcome: what came of it.
            now: the present instant.
            chance: from [0, 1): where within its limits the next lookup lies.
        """
        if isinstance(outcome, Found):
            return self._renew(host, outcome, now, chance)
        entry = self._entries.get(host)
        ended: tuple[NameEvent, ...] = ()
        if entry is not None:
            if self._may_serve(entry, now) and not self._is_believed(entry, outcome, now):
                _note_failure(entry, str(outcome), now, chance)
                return ()
            ended = _ended(host, entry, now, str(outcome))
        self._deny(host, outcome, now)
        return ended

    def failed(self, host: str, error: str, now: Instant, chance: float = 0.5) -> None:
        """A lookup came to nothing, or takes too long: the last good answer is served meanwhile."""
        entry = self._entries.get(host)
        if entry is not None and self._may_serve(entry, now):
            _note_failure(entry, error, now, chance)

    def restore(self, host: str, addresses: tuple[str, ...], answered_at: Instant) -> None:
        """An answer of a time before this process: never fresh, and better than none."""
        if host not in self._entries:
            found = Found(addresses, 0.0, None, is_whole=True)
            self._insert(host, Entry(found, answered_at, answered_at, refresh_at=answered_at))

    def expire_all(self, now: Instant) -> None:
        """Other name servers are asked from now on: nothing is to be believed unasked."""
        for entry in self._entries.values():
            entry.expires_at = min(entry.expires_at, now)
            entry.is_superseded = True
            if isinstance(entry.outcome, Found):
                entry.refresh_at = now
            if entry.trouble is not None:
                entry.trouble.failures = 0

    def _renew(self, host: str, found: Found, now: Instant, chance: float) -> tuple[NameEvent, ...]:
        before = self._entries.pop(host, None)
        entry = Entry(found, now, now + self._ttl(found), asked_at=now)
        ended: tuple[NameEvent, ...] = ()
        if before is not None:
            entry.asked_at = before.asked_at
            entry.former = dict(_former(before, found.addresses, now))
            ended = _ended(host, before, now)
        ttl = entry.expires_at - now
        if ttl >= LEAST_TTL_TO_REFRESH:
            entry.refresh_at = now + ttl * (REFRESH_AFTER + REFRESH_SPREAD * chance)
        self._insert(host, entry)
        return ended

    def _deny(self, host: str, outcome: NotFound, now: Instant) -> None:
        """Keeps a denial for its time. A failure is not kept, and leaves a denial where it is."""
        entry = self._entries.get(host)
        if entry is not None and (outcome.ttl is not None or isinstance(entry.outcome, Found)):
            del self._entries[host]
        if outcome.ttl is not None:
            self._insert(host, Entry(outcome, now, now + self._ttl(outcome), asked_at=now))

    def _insert(self, host: str, entry: Entry) -> None:
        if len(self._entries) >= self._max_entries:
            kept = self.kept()
            oldest = next((each for each in self._entries if each not in kept), None)
            if oldest is not None:
                del self._entries[oldest]
        self._entries[host] = entry

    def _may_serve(self, entry: Entry, now: Instant) -> bool:
        """Whether it is a good answer that has not expired, or not for too long."""
        return isinstance(entry.outcome, Found) and now < entry.expires_at + self.stale_for

    def _is_believed(self, entry: Entry, outcome: NotFound, now: Instant) -> bool:
        """Whether a good answer gives way to this one."""
        if outcome.reason not in DENIALS:
            return False
        if entry.trouble is None:
            entry.trouble = Trouble()
        if entry.trouble.denied_since is None:
            entry.trouble.denied_since = now
        doubted_for = min(DENIAL_DOUBTED_FOR, self.stale_for)
        # Other name servers may well not know it: then it was a name of the network before.
        return entry.is_superseded or now - entry.trouble.denied_since >= doubted_for

    def _ttl(self, outcome: Outcome) -> float:
        """Within the limits; `outcome` has a TTL."""
        assert outcome.ttl is not None
        most = self.max_ttl
        if isinstance(outcome, NotFound):
            most = min(most, MAX_NEGATIVE_TTL)
        elif not outcome.is_whole:
            most = min(most, MAX_PARTIAL_TTL)
        return min(max(outcome.ttl, self.min_ttl), max(most, self.min_ttl))


def _servers(entry: Entry) -> Iterator[str]:
    """The names behind the records of a service (core.services); an address has no space in it."""
    texts = entry.outcome.addresses if isinstance(entry.outcome, Found) else ()
    return (text.rpartition(" ")[2] for text in texts if " " in text)


def _is_in_use(entry: Entry, now: Instant) -> bool:
    return now < entry.asked_at + max(IN_USE_FOR, entry.expires_at - entry.stored_at)


def _note_failure(entry: Entry, error: str, now: Instant, chance: float) -> None:
    trouble = entry.trouble = entry.trouble or Trouble()
    delay = min(LAST_RETRY, FIRST_RETRY * 2 ** min(trouble.failures, 10))
    trouble.failures += 1
    trouble.error = error
    entry.refresh_at = now + delay * (0.9 + 0.2 * chance)


def _ended(host: str, entry: Entry, now: Instant, error: str = "") -> tuple[NameEvent, ...]:
    """What is to be told, if it was told that the entry serves beyond its time."""
    if entry.trouble is None or entry.trouble.stale_since is None:
        return ()
    return (StaleEnded(host, now - entry.trouble.stale_since, error),)


def _former(before: Entry, addresses: Iterable[str], now: Instant) -> Iterator[tuple[str, Instant]]:
    """Those that are in the answer no more, the latest first, each with the end of its time."""
    if before.is_superseded or isinstance(before.outcome, NotFound):
        return
    present = set(addresses)
    left = before.outcome.addresses
    ends = dict.fromkeys(left, now + FORMER_FOR) | {
        address: before.former[address] for address in before.former_at(now) if address not in left
    }
    gone = [(address, until) for address, until in ends.items() if address not in present]
    yield from gone[:MAX_FORMER]
