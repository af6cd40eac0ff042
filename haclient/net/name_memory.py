"""What is known of names, and the lookups that keep it so: drives core.dns_cache.

While `run` runs, lookups are tasks of its own: a name in use is looked up before its TTL has run out,
and a lookup outlives the request that asked for it. Without `run` (one request of the command) no task
outlives its caller: a lookup runs in the task of whoever asks first, and ends with it; one of those that
wait begins a new one. Either way a thousand requests for one name are one lookup.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import NoReturn

import trio

from haclient.core.dns_cache import DnsCache, Entry, NameEvent
from haclient.core.lookup import Found, NotFound, Outcome
from haclient.core.names import ResolvConf, describe_nameserver
from haclient.core.saved_names import SavedName
from haclient.net import NameReport
from haclient.net.name_lookup import Exchange, NameServers
from haclient.net.state_file import StateFile, StateFileTrouble
from haclient.types import Instant

__all__ = ["CLIENT_RESPONSE_TIMER", "Flight", "NameMemory", "ResolverEvent"]

CLIENT_RESPONSE_TIMER = 1.8
"""Seconds for which a lookup is waited for where an old answer is at hand (RFC 8767, section 5). They
count from its start: whoever comes when it has been under way for that long waits no more."""

UNKNOWN_AGAIN_AFTER = 30.0
"""Seconds between two lookups, without anybody waiting, of a name of which nothing is known."""

MAX_UNKNOWN = 1024
"""Such names. Only those of targets in use are looked up so."""

ResolverEvent = NameEvent | StateFileTrouble


class Flight:
    """A lookup under way: whoever asks for the same name waits for it.

    Attributes:
        outcome: None while it is under way, and where it was cancelled.
        expires_at: when the outcome is not to be believed any more.
        fault: of ours; nobody expected it.
    """

    def __init__(self, name: str, conf: ResolvConf, started_at: Instant) -> None:
        self.name = name
        self.conf = conf
        self.started_at = started_at
        self.landed = trio.Event()
        self.outcome: Outcome | None = None
        self.expires_at: Instant = started_at
        self.fault: Exception | None = None


class NameMemory:
    """Names are as core.names.to_ascii gives them.

    Args:
        conf: what resolv.conf says at an instant; the same object as long as it is the same.
        cache: what is known, at first nothing.
        exchange: stands in for the network in tests.
        tell: see haclient.net.resolver.
        chance: gives a number in [0, 1).
    """

    def __init__(
        self,
        conf: Callable[[Instant], ResolvConf],
        cache: DnsCache,
        *,
        exchange: Exchange | None = None,
        tell: Callable[[ResolverEvent], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.cache = cache
        self.stale_served = 0
        self._read_conf = conf
        self._conf: ResolvConf | None = None
        self._servers = NameServers(exchange)
        self._flights: dict[str, Flight] = {}
        self._tell = tell
        self._chance = chance
        self._state: StateFile | None = None
        self._nursery: trio.Nursery | None = None
        self._alarm = trio.CancelScope()
        self._unknown: dict[str, Instant] = {}

    def report(self, now: Instant) -> tuple[NameReport, ...]:
        """A line for each name."""
        return tuple(_report(name, entry, now) for name, entry in self.cache.entries())

    # --- what is at hand ---------------------------------------------------------------------

    def get(self, name: str, now: Instant) -> Entry | None:
        """What is known of `name` and may be believed unasked. No checkpoint; the name is in use.

        An answer that runs out while it is being refreshed is good until CLIENT_RESPONSE_TIMER: nobody
        waits because a name server takes longer than what was left of a short TTL.
        """
        self._heed_conf(now)
        entry = self.cache.get(name, now)
        if entry is None:
            return self._being_refreshed(name, now)
        if now >= entry.refresh_at:
            self._look_up_beside(name)
        return entry

    def _being_refreshed(self, name: str, now: Instant) -> Entry | None:
        flight, entry = self._flights.get(name), self.cache.stale(name, now)
        if flight is None or entry is None or flight.started_at >= entry.expires_at:
            return None
        return entry if now < flight.started_at + CLIENT_RESPONSE_TIMER else None

    def peek(self, name: str, now: Instant) -> Entry | None:
        """As `get`; an old answer will do. What is unknown is looked up, without anybody waiting."""
        entry = self.get(name, now) or self.cache.stale(name, now)
        if entry is None:
            self._look_up_unknown(name, now)
        elif now >= entry.refresh_at:
            self._look_up_beside(name)
        return entry

    def stale(self, name: str, now: Instant) -> Entry | None:
        """An old answer, if the name servers are known to fail: to be given out at once."""
        entry = self.cache.stale(name, now)
        if entry is None or not entry.is_failing:
            return None
        if now >= entry.refresh_at:
            if self._nursery is None:
                return None  # it is this caller's turn to try
            self._look_up_beside(name)
        self.stale_served += 1
        for event in self.cache.served_stale(name, now):
            self._tell_one(event)
        return entry

    # --- lookups -----------------------------------------------------------------------------

    async def look_up(self, name: str) -> Flight | None:
        """Waits for a lookup of `name`, begun now or under way.

        Returns:
            What came of it. None where there is an old answer to be asked for: the lookup took too
            long, or came to nothing; or where the lookup was somebody else's, who was cancelled.

        Raises:
            Exception: a fault of ours.
        """
        old = self.cache.stale(name, trio.current_time())
        flight = self._flights.get(name)
        is_ours = flight is None and self._nursery is None
        if flight is None:
            flight = self._take_off(name)
        limit = math.inf if old is None else flight.started_at + CLIENT_RESPONSE_TIMER
        with trio.move_on_at(limit) as waiting:
            await (self._fly(flight) if is_ours else flight.landed.wait())
        if flight.fault is not None:
            raise flight.fault
        if waiting.cancelled_caught:
            self._give_up(name)
        if flight.outcome is None:
            return None
        is_good = isinstance(flight.outcome, Found)
        return flight if is_good or self.cache.stale(name, trio.current_time()) is None else None

    def _give_up(self, name: str) -> None:
        """Whoever asks while this lookup goes on gets the old answer at once."""
        now = trio.current_time()
        old = self.cache.stale(name, now)
        # Once, however many waited.
        if old is not None and (not old.is_failing or now >= old.refresh_at):
            self._note_failure(name, f"no answer within {CLIENT_RESPONSE_TIMER} s")

    def _look_up_beside(self, name: str) -> None:
        """Without anybody waiting, while `run` runs."""
        if self._nursery is not None and name not in self._flights:
            self._take_off(name)

    def _look_up_unknown(self, name: str, now: Instant) -> None:
        if now >= self._unknown.get(name, -math.inf):
            if len(self._unknown) >= MAX_UNKNOWN:
                self._unknown.clear()
            self._unknown[name] = now + UNKNOWN_AGAIN_AFTER
            self._look_up_beside(name)

    def _take_off(self, name: str) -> Flight:
        now = trio.current_time()
        flight = self._flights[name] = Flight(name, self._heed_conf(now), now)
        if self._nursery is not None:
            self._nursery.start_soon(self._fly_alone, flight)
        return flight

    async def _fly_alone(self, flight: Flight) -> None:
        try:
            await self._fly(flight)
        except Exception as exc:
            # Whoever waits meets it; where nobody does, it is a lookup that failed.
            flight.fault = exc
            self._note_failure(flight.name, repr(exc))

    async def _fly(self, flight: Flight) -> None:
        try:
            flight.outcome = await self._servers.look_up(flight.name, flight.conf)
            flight.expires_at = trio.current_time()
            if flight.conf is self._conf:  # else other servers are in force by now: not to be kept
                self._learn(flight, flight.outcome)
        finally:
            if self._flights.get(flight.name) is flight:
                del self._flights[flight.name]
            flight.landed.set()

    def _learn(self, flight: Flight, outcome: Outcome) -> None:
        name, now = flight.name, trio.current_time()
        before = self.cache.stale(name, now)
        events = self.cache.learn(name, outcome, now, self._chance())
        self._alarm.deadline = self.cache.wake_at(now)
        if isinstance(outcome, Found):
            entry = self.cache.stale(name, now)
            if entry is not None:
                flight.expires_at = entry.expires_at
            if self._state is not None:
                self._state.changed(now, is_urgent=_addresses(before) != set(outcome.addresses))
        for event in events:
            self._tell_one(event)

    def _note_failure(self, name: str, error: str) -> None:
        now = trio.current_time()
        self.cache.failed(name, error, now, self._chance())
        self._alarm.deadline = self.cache.wake_at(now)

    def _heed_conf(self, now: Instant) -> ResolvConf:
        conf = self._read_conf(now)
        if conf is not self._conf:
            # Other servers may know other names (a VPN came up): nothing is believed unasked.
            if self._conf is not None:
                self.cache.expire_all(now)
            self._conf = conf
            self._flights = {}
            self._alarm.deadline = now
        return conf

    # --- upkeep ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keeps names in use fresh, and the state file up to date, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                try:
                    self._begin_keeping()
                    await self._refresh_what_is_due()
                finally:
                    self._nursery = None
        finally:
            if self._state is not None:
                self._state.stop()

    async def _refresh_what_is_due(self) -> NoReturn:
        while True:
            now = trio.current_time()
            self._heed_conf(now)
            for name in self.cache.due(now):
                self._look_up_beside(name)
            with trio.CancelScope(deadline=self.cache.wake_at(now)) as self._alarm:
                await trio.sleep_forever()

    def use_state_file(self, path: str | None) -> None:
        """What is known is kept there from now on; what was there is taken up."""
        old = self._state
        if path == (None if old is None else old.path):
            return
        self._state = None if path is None else StateFile(path, self._saved_names, self._tell_one)
        if self._nursery is not None:
            if old is not None:
                old.stop()
            self._begin_keeping()

    def _begin_keeping(self) -> None:
        if self._state is None or self._nursery is None:
            return
        now, wall_now = trio.current_time(), self._state.wall_clock()
        for name, saved in self._state.read(self.cache.stale_for).items():
            self.cache.restore(name, saved.addresses, now - max(0.0, wall_now - saved.at))
        self._nursery.start_soon(self._state.keep)

    def _saved_names(self, wall_now: float) -> dict[str, SavedName]:
        """Those to be kept first: where the file is full, they are in it."""
        now, kept = trio.current_time(), self.cache.kept()
        by_rank = sorted(self.cache.entries(), key=lambda each: each[0] not in kept)
        return {
            name: SavedName(entry.outcome.addresses, max(0.0, wall_now - (now - entry.stored_at)))
            for name, entry in by_rank
            if isinstance(entry.outcome, Found) and self.cache.stale(name, now) is not None
        }

    def _tell_one(self, event: ResolverEvent) -> None:
        if self._tell is not None:
            self._tell(event)


def _addresses(entry: Entry | None) -> set[str]:
    if entry is None or isinstance(entry.outcome, NotFound):
        return set()
    return set(entry.outcome.addresses)


def _report(name: str, entry: Entry, now: Instant) -> NameReport:
    outcome, trouble = entry.outcome, entry.trouble
    error = str(outcome) if isinstance(outcome, NotFound) else ""
    if trouble is not None and trouble.failures:
        error = trouble.error
    server = outcome.server
    return NameReport(
        name=name,
        addresses=outcome.addresses if isinstance(outcome, Found) else (),
        source="state file" if server is None else f"dns {describe_nameserver(server)}",
        ttl=entry.expires_at - now,
        is_stale=trouble is not None and trouble.stale_since is not None,
        error=error,
    )
