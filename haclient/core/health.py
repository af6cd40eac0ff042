"""Remembers of each endpoint what its last requests and connects went through.

A server that has just refused a connection will most likely refuse the next one too, and one that
was proved dead costs every request that meets it a second or two. The naive answer, a list of bad
addresses, does harm in three ways: nothing takes a name off the list again, so a restarted server
stays idle; a report that comes late, of a connection from before the restart, puts it on the list
again; and when all are on it there is nobody left to ask.

Ours: an endpoint that failed is *held down* for 5 s, and twice as long each time that it fails
again when that is over; held down means asked last, never not at all (haclient.core.balance,
haclient.core.race). Every state expires by itself. One success clears it. And every report bears
the generation that the endpoint had when the attempt began: each failure that counts makes a new
generation, and a report that bears an older one changes nothing. So ten requests that die with one
server count as one failure, and the last of them to be noticed cannot hold down the server that
has come back meanwhile.

    state          failure                suspect        success     time passes
    (unknown)      held down, 5 s         suspect, 2 s   (unknown)
    suspect        held down, 5 s         suspect, 2 s   (unknown)   (unknown) when 2 s are over
    held down      held down, as long     held down      recovered   on probation when it is over
                   again from now
    on probation   held down, doubled,    suspect, 2 s   recovered   (unknown) when 60 s are over
                   60 s at the most
    recovered      held down, 5 s         suspect, 2 s   recovered   (unknown) when 60 s are over

A failure in the middle of a hold does not double it. It happens where every endpoint is held down
and all are asked all the same; if it did, a few seconds of steady requests during an outage would
take every hold to its limit, and the servers that come back second would get nothing for a minute.

A connect that was made only to see (haclient.engine.trial) ends a hold or a suspicion, and puts the
endpoint on probation: it connects, but whether it answers is yet to be seen.

Suspicion makes no new generation, for the verdict that follows it comes from the same attempt. It
adds to the state that the endpoint has, and when it is over that state is seen again. Recovered
differs from unknown only in its generation.

An unknown endpoint costs one look into a dict, and all is well with most of them.

Left out: health requests (haclient.core.health_check), outlier statistics, and any way to keep an
endpoint from being asked.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Container

import msgspec

from haclient.types import ConnectFailure, Endpoint, Evidence, Instant, Verdict

__all__ = [
    "FIRST_HOLD",
    "LONGEST_HOLD",
    "MAX_ENDPOINTS",
    "REMEMBERED_FOR",
    "SUSPECT_HOLD",
    "Condition",
    "EndpointHealth",
    "Health",
    "counts_against",
    "end_counts_against",
    "end_words",
    "hold_after",
    "is_lost",
]

FIRST_HOLD = 5.0
"""Seconds that a first failure holds an endpoint down. A restart takes about that long, and the
price of a wrong guess is small: the endpoint is asked last for 5 s (nginx: 10 s and not at all)."""

LONGEST_HOLD = 60.0
"""Seconds at the most: a server that comes back has its share of the load within a minute. Envoy
goes to 300 s, but ejects; whom we hold down is still asked when the others fail."""

_MAX_DOUBLINGS = 4
"""5, 10, 20, 40, and the fourth goes past LONGEST_HOLD."""

REMEMBERED_FOR = 60.0
"""Seconds after a hold or a recovery within which a failure still counts as the next one, and a
report from before is still known to be stale. The longest hold again, so that an endpoint that
fails as soon as it is asked climbs to that hold and stays there."""

SUSPECT_HOLD = 2.0
"""Seconds. On a near path the detector has its verdict no later than 1.4 s after its suspicion
(2.5 s and 1.1 s after the last segment)."""

MAX_ENDPOINTS = 4096
"""Endpoints kept in mind, about 1.4 MiB. Beyond that the one that was quiet for longest is
forgotten, but for those of `keep`: a forward proxy is asked for any number of addresses, and whoever
asks it for many that fail is not to undo what is known of the targets."""

_HELD_AGAINST = frozenset(
    {
        ConnectFailure.REFUSED,
        ConnectFailure.UNREACHABLE,
        ConnectFailure.TIMED_OUT,
        ConnectFailure.TLS,
        ConnectFailure.CERTIFICATE,
    }
)


def counts_against(failure: ConnectFailure) -> bool:
    """Whether a failed connection attempt says something of its endpoint.

    LOST says that another was faster, LOCAL and NO_DESCRIPTOR that this machine lacks something, OWN_DOOR
    that nobody was asked, PROXY that a proxy is well and has no way to the origin.
    """
    return failure in _HELD_AGAINST


def is_lost(verdict: Verdict, evidence: Evidence | None) -> bool:
    """Whether the server was dead when its connection ended: by proof, or overtaken while it was suspect.

    Nobody watches one to its end whom another one overtook. Health requests that were not answered are no
    sign of it: the host lives, and may be at work.
    """
    is_suspect = evidence is not None and not evidence.is_of_health
    return verdict is Verdict.DEAD or (verdict is Verdict.SUPERSEDED and is_suspect)


def end_counts_against(verdict: Verdict, evidence: Evidence | None, *, is_reused: bool) -> bool:
    """Whether the end of a connection that was in use says something of its endpoint.

    One that has served before may have been closed for its age; that is no fault.
    """
    return is_lost(verdict, evidence) or (verdict is Verdict.CLOSED and not is_reused)


def end_words(verdict: Verdict, evidence: Evidence | None, detail: str) -> str:
    """Such an end, as the log and the status page tell why an address failed."""
    return f"{verdict.value}: {evidence or detail}".rstrip(": ")


class Condition(enum.Enum):
    """The rows of the table; an unknown endpoint has none."""

    SUSPECT = "suspect"
    HELD_DOWN = "held down"
    ON_PROBATION = "on probation"
    RECOVERED = "recovered"


class EndpointHealth(msgspec.Struct, frozen=True):
    """What is remembered of one endpoint at one instant, for the status page and the log."""

    endpoint: Endpoint
    condition: Condition
    failures: int
    """Holds in a row; a failure in the middle of one is not counted again."""
    generation: int
    until: Instant
    """When the condition passes if nothing is reported."""
    why: str = ""
    """Its last failure in words, whoever met it."""


class _Entry(msgspec.Struct, frozen=True):
    """One endpoint that is not unknown."""

    generation: int = 0
    failures: int = 0
    held_until: Instant = 0.0
    suspect_until: Instant = 0.0
    forget_at: Instant = 0.0
    why: str = ""


class Health:
    """What one client remembers. Instants are seconds on the driver's monotonic clock."""

    __slots__ = ("_entries", "_kept", "_newest_generation")

    def __init__(self) -> None:
        self._entries: OrderedDict[Endpoint, _Entry] = OrderedDict()
        """The one that changed last stands last."""
        self._kept: Callable[[], Container[Endpoint]] = frozenset
        self._newest_generation = 0
        # One count for all endpoints: an endpoint that was forgotten and fails again must not
        # come by a generation that it had before.

    def __repr__(self) -> str:
        return f"<Health remembers {len(self._entries)} endpoints>"

    def keep(self, kept: Callable[[], Container[Endpoint]]) -> None:
        """Those that `kept` names give way to none but each other. It is asked where there is no room, and seldom."""
        self._kept = kept

    @property
    def has_entries(self) -> bool:
        """Whether anything is remembered at all: the hot path asks no more than this."""
        return bool(self._entries)

    def expire(self, now: Instant) -> None:
        """Forgets what has expired; called now and then, so that all being well is cheap again."""
        expired = [one for one, entry in self._entries.items() if now >= entry.forget_at]
        for endpoint in expired:
            del self._entries[endpoint]

    def generation(self, endpoint: Endpoint) -> int:
        """What an attempt that begins now has to bear in its reports; 0 where nothing is known."""
        entry = self._entries.get(endpoint)
        return 0 if entry is None else entry.generation

    def is_held_down(self, endpoint: Endpoint, now: Instant) -> bool:
        """Whether the endpoint is to be asked last: it is held down, or suspect."""
        entry = self._entries.get(endpoint)
        return entry is not None and (now < entry.held_until or now < entry.suspect_until)

    def has_verdict(self, endpoint: Endpoint, now: Instant) -> bool:
        """Whether the endpoint failed and is held down for it; suspicion is not enough."""
        entry = self._entries.get(endpoint)
        return entry is not None and now < entry.held_until

    def report_success(self, endpoint: Endpoint, now: Instant, generation: int) -> None:
        """The endpoint answered, or gave a sign of life after it was suspect."""
        entry = self._entries.get(endpoint)
        if entry is None or generation < entry.generation:
            return
        if entry.generation == 0 or now >= entry.forget_at:
            del self._entries[endpoint]
        elif entry.failures or now < entry.suspect_until:
            recovered = _Entry(entry.generation, forget_at=now + REMEMBERED_FOR)
            self._remember(endpoint, recovered, now)

    def report_connected(self, endpoint: Endpoint, now: Instant, generation: int) -> None:
        """A connect succeeded that was made to see: its hold is over, its failures still count."""
        entry = self._entries.get(endpoint)
        if entry is None or generation < entry.generation or now >= entry.forget_at:
            return
        over = msgspec.structs.replace(
            entry,
            held_until=min(now, entry.held_until),
            suspect_until=min(now, entry.suspect_until),
            forget_at=now + REMEMBERED_FOR,
        )
        self._remember(endpoint, over, now)

    def failures(self, endpoint: Endpoint) -> int:
        """Holds in a row, the last one over or not; 0 where nothing is known."""
        entry = self._entries.get(endpoint)
        return 0 if entry is None else entry.failures

    def report_failure(
        self, endpoint: Endpoint, now: Instant, generation: int, why: str = ""
    ) -> None:
        """A connect failed (see `counts_against`), or an exchange died with its connection."""
        entry = self._known(endpoint, now)
        if generation < entry.generation:
            return
        self._newest_generation += 1
        failures = entry.failures if now < entry.held_until else entry.failures + 1
        hold = hold_after(failures)
        failed = _Entry(
            generation=self._newest_generation,
            failures=failures,
            held_until=now + hold,
            forget_at=now + hold + REMEMBERED_FOR,
            why=why,
        )
        self._remember(endpoint, failed, now)

    def report_suspect(self, endpoint: Endpoint, now: Instant, generation: int) -> None:
        """The endpoint gave no sign of life where a living one would have; a verdict follows."""
        entry = self._known(endpoint, now)
        if generation < entry.generation:
            return
        until = now + SUSPECT_HOLD
        suspect = msgspec.structs.replace(
            entry, suspect_until=until, forget_at=max(entry.forget_at, until)
        )
        self._remember(endpoint, suspect, now)

    def snapshot(self, now: Instant) -> tuple[EndpointHealth, ...]:
        """Every endpoint that is not unknown, the one that changed last at the end."""
        return tuple(
            _describe(endpoint, entry, now)
            for endpoint, entry in self._entries.items()
            if now < entry.forget_at
        )

    def _known(self, endpoint: Endpoint, now: Instant) -> _Entry:
        entry = self._entries.get(endpoint)
        return _Entry() if entry is None or now >= entry.forget_at else entry

    def _remember(self, endpoint: Endpoint, entry: _Entry, now: Instant) -> None:
        """Puts the entry last, and makes room at the front, where the expired ones gather."""
        self._entries[endpoint] = entry
        self._entries.move_to_end(endpoint)
        while self._oldest_expired(now):
            self._entries.popitem(last=False)
        if len(self._entries) > MAX_ENDPOINTS:
            kept = self._kept()
            oldest = next(iter(self._entries))
            del self._entries[next((one for one in self._entries if one not in kept), oldest)]

    def _oldest_expired(self, now: Instant) -> bool:
        return now >= next(iter(self._entries.values())).forget_at


def hold_after(failures: int) -> float:
    """Seconds that the endpoint is held down after so many failures in a row, at least one."""
    # 2**failures would pass the range of a float within a day of failing each minute.
    return min(FIRST_HOLD * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), LONGEST_HOLD)


def _describe(endpoint: Endpoint, entry: _Entry, now: Instant) -> EndpointHealth:
    if now < entry.held_until:
        condition, until = Condition.HELD_DOWN, entry.held_until
    elif now < entry.suspect_until:
        condition, until = Condition.SUSPECT, entry.suspect_until
    else:
        condition = Condition.ON_PROBATION if entry.failures else Condition.RECOVERED
        until = entry.forget_at
    return EndpointHealth(endpoint, condition, entry.failures, entry.generation, until, entry.why)
