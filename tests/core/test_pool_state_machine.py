"""Can any sequence of events break the pool? A small, slow model keeps its own account.

The model is a flat list of connections and one of waiters, without groups, counters or
generations: a connection is marked `is_doomed` when its endpoint is retired. It works out the whole
answer to each event, and the pool's must be equal, action for action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from haclient.core.places import Reserve
from haclient.core.pool_state import Action, Close, Lease, PoolState, WakeAt
from haclient.types import Endpoint

LIMIT = 3
IDLE_TIMEOUT = 4.0
ENDPOINTS = tuple(Endpoint(f"10.0.0.{n}", 80) for n in (1, 2))

# Few of each, so that a short sequence comes to something.
keys = st.sampled_from(["one", "one", "one", "two"])
endpoints = st.sampled_from(ENDPOINTS)
several_endpoints = st.lists(endpoints, min_size=1, max_size=4).map(tuple)
picks = st.integers(min_value=0, max_value=99)


@dataclass
class Held:
    """A connection of the model. `idle_since` is None while it is leased."""

    id: int
    key: str
    endpoint: Endpoint
    idle_since: float | None = None
    is_doomed: bool = False


@dataclass
class Waiting:
    id: int
    key: str
    endpoints: tuple[Endpoint, ...]
    deadline: float


class PoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = PoolState(LIMIT, IDLE_TIMEOUT)
        self.now = 0.0
        self.last_id = 0
        self.is_draining = False
        self.connections: list[Held] = []
        self.reserved: list[tuple[str, Endpoint]] = []
        self.waiters: list[Waiting] = []
        self.wake_at: float | None = None
        self.steps = 0

    # The model's account

    def new_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def used(self, key: str, endpoint: Endpoint) -> int:
        held = sum((c.key, c.endpoint) == (key, endpoint) for c in self.connections)
        return held + self.reserved.count((key, endpoint))

    def idle(self) -> list[Held]:
        """The longest idle first; among equals the order of release, which the list is in."""
        return [c for c in self.connections if c.idle_since is not None]

    def leased(self) -> list[Held]:
        return [c for c in self.connections if c.idle_since is None]

    def take_waiter(self, key: str, endpoint: Endpoint) -> Waiting | None:
        for waiter in self.waiters:
            if waiter.key == key and endpoint in waiter.endpoints and self.now < waiter.deadline:
                self.waiters.remove(waiter)
                return waiter
        return None

    def freed(self, key: str, endpoint: Endpoint) -> tuple[Action, ...]:
        waiter = self.take_waiter(key, endpoint)
        if waiter is None:
            return ()
        self.reserved.append((key, endpoint))
        return (Reserve(waiter.id, endpoint),)

    def expect(self, actual: tuple[Action, ...], *expected: Action) -> None:
        """Equal, but for the wake-up, which is looked at by itself."""
        for action in actual:
            if isinstance(action, WakeAt):
                assert action.instant > self.now
                self.wake_at = action.instant
        assert tuple(a for a in actual if not isinstance(a, WakeAt)) == expected

    # Events

    @initialize(kept=st.integers(0, 2 * LIMIT))
    def begin(self, kept: int) -> None:
        """Every place of one key is taken, so that not every run begins with connecting."""
        for endpoint in ENDPOINTS * LIMIT:
            self.connect("one", endpoint)
        for _ in range(kept):
            self.release(0, is_reusable=True)
            self.now += 0.25

    @rule(key=keys, endpoint=endpoints)
    def connect(self, key: str, endpoint: Endpoint) -> None:
        self.reserve(key, (endpoint,))
        if (key, endpoint) in self.reserved:
            self.open(self.reserved.index((key, endpoint)))

    @rule(seconds=st.sampled_from([0.25, 1.0, 3.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        key=keys,
        avoid=st.frozensets(endpoints, max_size=2),
        max_idle=st.none() | st.sampled_from([0.0, 1.0, 9.0]),
    )
    def lease(self, key: str, avoid: frozenset[Endpoint], max_idle: float | None) -> None:
        limit = min(IDLE_TIMEOUT, math.inf if max_idle is None else max_idle)
        fit = [
            c
            for c in self.idle()
            if c.key == key
            and c.endpoint not in avoid
            and c.idle_since is not None
            and self.now - c.idle_since < limit
        ]
        expected = fit[-1] if fit else None
        actual = self.pool.lease(key, avoid, self.now, max_idle)
        assert actual == (expected.id if expected else None)
        if expected:
            expected.idle_since = None

    @rule(
        key=keys,
        endpoint=endpoints,
        max_idle=st.none() | st.sampled_from([0.0, 1.0, 9.0]),
    )
    def lease_only(self, key: str, endpoint: Endpoint, max_idle: float | None) -> None:
        limit = min(IDLE_TIMEOUT, math.inf if max_idle is None else max_idle)
        there = [c for c in self.idle() if c.key == key and c.endpoint == endpoint]
        fit = [c for c in there if c.idle_since is not None and self.now - c.idle_since < limit]
        expected = fit[-1] if fit else None
        actual = self.pool.lease(key, frozenset(ENDPOINTS), self.now, max_idle, endpoint)
        assert actual == (expected.id if expected else None)
        if expected:
            expected.idle_since = None

    @rule(key=keys, wanted=several_endpoints)
    def reserve(self, key: str, wanted: tuple[Endpoint, ...]) -> None:
        expected = tuple(e for e in dict.fromkeys(wanted) if self.used(key, e) < LIMIT)
        assert self.pool.places.reserve(key, wanted) == expected
        self.reserved.extend((key, e) for e in expected)

    @precondition(lambda self: self.reserved)
    @rule(pick=picks)
    def open(self, pick: int) -> None:
        key, endpoint = self.reserved.pop(pick % len(self.reserved))
        held = Held(self.new_id(), key, endpoint)
        self.pool.opened(held.id, key, endpoint)
        self.connections.append(held)

    @precondition(lambda self: self.reserved)
    @rule(pick=picks)
    def unreserve(self, pick: int) -> None:
        key, endpoint = self.reserved.pop(pick % len(self.reserved))
        self.expect(self.pool.places.unreserve(key, endpoint, self.now), *self.freed(key, endpoint))

    @precondition(lambda self: self.leased())
    @rule(pick=picks)
    def release_in_good_order(self, pick: int) -> None:
        self.release(pick, is_reusable=True)

    @precondition(lambda self: self.leased())
    @rule(pick=picks, is_reusable=st.booleans())
    def release(self, pick: int, is_reusable: bool) -> None:
        held = self.leased()[pick % len(self.leased())]
        actual = self.pool.released(held.id, is_reusable, self.now)
        self.connections.remove(held)
        may_go_on = is_reusable and not held.is_doomed
        waiter = self.take_waiter(held.key, held.endpoint) if may_go_on else None
        if waiter is not None:
            self.connections.append(held)
            self.expect(actual, Lease(waiter.id, held.id))
        elif may_go_on and not self.is_draining:
            held.idle_since = self.now
            self.connections.append(held)
            self.expect(actual)
        else:
            self.expect(actual, Close(held.id), *self.freed(held.key, held.endpoint))

    @precondition(lambda self: self.connections)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        held = self.connections.pop(pick % len(self.connections))
        self.expect(self.pool.closed(held.id, self.now), *self.freed(held.key, held.endpoint))

    @rule(key=keys, wanted=several_endpoints, patience=st.sampled_from([0.0, 1.0, 5.0, math.inf]))
    def wait(self, key: str, wanted: tuple[Endpoint, ...], patience: float) -> None:
        waiter = Waiting(self.new_id(), key, wanted, self.now + patience)
        actual = self.pool.wait(key, waiter.id, wanted, waiter.deadline)
        with_room = [e for e in wanted if self.used(key, e) < LIMIT]
        in_the_way = [c for c in self.idle() if c.key == key and c.endpoint in wanted]
        if with_room:
            self.reserved.append((key, with_room[0]))
            self.expect(actual, Reserve(waiter.id, with_room[0]))
        elif in_the_way:
            oldest = in_the_way[0]
            self.connections.remove(oldest)
            self.reserved.append((key, oldest.endpoint))
            self.expect(actual, Close(oldest.id), Reserve(waiter.id, oldest.endpoint))
        else:
            self.waiters.append(waiter)
            self.expect(actual)

    @precondition(lambda self: self.waiters)
    @rule(pick=picks)
    def cancel_wait(self, pick: int) -> None:
        waiter = self.waiters.pop(pick % len(self.waiters))
        self.pool.places.cancel_wait(waiter.key, waiter.id)

    @rule()
    def wake(self) -> None:
        is_due = self.wake_at is not None and self.now >= self.wake_at
        if is_due:
            self.wake_at = None
        actual = self.pool.woke(self.now)
        expired = [
            c
            for c in self.idle()
            if is_due and c.idle_since is not None and self.now - c.idle_since >= IDLE_TIMEOUT
        ]
        for held in expired:
            self.connections.remove(held)
        self.expect(actual, *(Close(c.id) for c in expired))

    @rule(key=keys, endpoint=endpoints, pick=picks, has_proof=st.booleans())
    def retire(self, key: str, endpoint: Endpoint, pick: int, has_proof: bool) -> None:
        """By any connection as a proof, also one to elsewhere or (id 0) one that is gone."""
        there = [c for c in self.connections if (c.key, c.endpoint) == (key, endpoint)]
        witness = self.connections[pick % len(self.connections)] if self.connections else None
        proof = (witness.id if witness else 0) if has_proof else None
        actual = self.pool.retire_endpoint(key, endpoint, proof)
        closed: list[Held] = []
        if not has_proof or (witness is not None and witness in there and not witness.is_doomed):
            closed = [c for c in self.idle() if c in there]
            for held in there:
                held.is_doomed = True
            for held in closed:
                self.connections.remove(held)
        self.expect(actual, *(Close(c.id) for c in closed))

    @rule()
    def late_reports(self) -> None:
        """Of a connection and a waiter that are gone: nothing changes."""
        gone = self.new_id()
        assert self.pool.released(gone, is_reusable=True, now=self.now) == ()
        assert self.pool.closed(gone, self.now) == ()
        for key in ("one", "two"):
            self.pool.places.cancel_wait(key, gone)

    @precondition(lambda self: not self.is_draining and self.steps > 40)
    @rule()
    def drain(self) -> None:
        self.is_draining = True
        closed = self.idle()
        self.expect(self.pool.drain(), *(Close(c.id) for c in closed))
        for held in closed:
            self.connections.remove(held)

    # What must hold at every step

    @invariant()
    def the_counts_are_the_models_and_within_the_limit(self) -> None:
        self.steps += 1
        snapshot = self.pool.snapshot()
        for c in snapshot.endpoints:
            there = [h for h in self.connections if (h.key, h.endpoint) == (c.key, c.endpoint)]
            idle = sum(h.idle_since is not None for h in there)
            assert isinstance(c.key, str)
            reserved = self.reserved.count((c.key, c.endpoint))
            assert (c.leased, c.idle, c.reserved) == (len(there) - idle, idle, reserved)
            assert 0 < c.leased + c.idle + c.reserved <= LIMIT
        listed = {(c.key, c.endpoint) for c in snapshot.endpoints}
        assert listed == {(h.key, h.endpoint) for h in self.connections} | set(self.reserved)
        assert snapshot.waiting == self.pool.places.waiting == len(self.waiters)

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        for waiter in self.waiters:
            if self.now < waiter.deadline:
                assert all(self.used(waiter.key, e) == LIMIT for e in waiter.endpoints)
                assert not [
                    c for c in self.idle() if c.key == waiter.key and c.endpoint in waiter.endpoints
                ]

    @invariant()
    def after_drain_nothing_is_idle(self) -> None:
        assert not (self.is_draining and self.idle())

    @invariant()
    def what_is_idle_has_a_wake_up_in_time(self) -> None:
        for held in self.idle():
            assert held.idle_since is not None
            assert self.wake_at is not None
            assert self.wake_at <= held.idle_since + IDLE_TIMEOUT


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=2 * settings().max_examples, stateful_step_count=80, deadline=None
)
