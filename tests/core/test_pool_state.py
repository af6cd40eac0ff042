"""What the pool decides, one scenario at a time; every expectation is exact.

test_pool_state_machine.py asks whether any sequence can break it.
"""

from __future__ import annotations

import pytest

from haclient.core.places import Reserve
from haclient.core.pool_state import Action, Close, Lease, PoolSnapshot, PoolState, WakeAt
from haclient.types import Endpoint, Origin

KEY = Origin("http", "a.test", 80)
OTHER_KEY = (KEY, "client certificate 1")
A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)
NONE = None


def connect(pool: PoolState, connection_id: int, endpoint: Endpoint = A, key: object = KEY) -> None:
    """Takes a place and turns it into a leased connection."""
    assert pool.places.reserve(key, [endpoint]) == (endpoint,)
    pool.opened(connection_id, key, endpoint)


def kept(pool: PoolState, *connections: tuple[int, Endpoint, float]) -> None:
    """Connections released at their instants, in this order."""
    for connection_id, endpoint, _ in connections:
        connect(pool, connection_id, endpoint)
    for connection_id, _, at in connections:
        pool.released(connection_id, is_reusable=True, now=at)


def counts(pool: PoolState, endpoint: Endpoint = A) -> tuple[int, int, int]:
    """Leased, idle, reserved."""
    for c in pool.snapshot().endpoints:
        if c.endpoint == endpoint:
            return c.leased, c.idle, c.reserved
    return 0, 0, 0


# Leases


@pytest.mark.parametrize(
    ("avoid", "max_idle", "now", "expected"),
    [
        pytest.param(NONE, None, 3.0, 3, id="the most recently used comes first"),
        pytest.param({A}, None, 3.0, 2, id="an endpoint to avoid is passed over"),
        pytest.param({B}, None, 3.0, 3, id="one to avoid that is not the latest changes nothing"),
        pytest.param({A, B}, None, 3.0, None, id="nothing is left when all are to be avoided"),
        pytest.param(NONE, 1.5, 3.0, 3, id="one that is fresh enough will do"),
        pytest.param(NONE, 1.0, 3.0, None, id="one idle as long as max_idle is left for others"),
        pytest.param({A}, 1.5, 3.0, None, id="of what may be used the latest is too old"),
        pytest.param(NONE, 99.0, 17.0, None, id="max_idle does not lengthen the idle limit"),
        pytest.param(NONE, None, 16.999, 3, id="just inside the idle limit"),
        pytest.param(NONE, None, 17.0, None, id="at the idle limit it is never lent again"),
    ],
)
def test_lease_chooses(
    avoid: set[Endpoint] | None, max_idle: float | None, now: float, expected: int | None
) -> None:
    pool = PoolState(idle_timeout=15.0)
    kept(pool, (1, A, 0.0), (2, B, 1.0), (3, A, 2.0))
    assert pool.lease(KEY, avoid, now, max_idle) == expected


def test_what_is_passed_over_stays_in_its_order() -> None:
    pool = PoolState()
    kept(pool, (1, B, 0.0), (2, B, 1.0), (3, A, 2.0), (4, A, 3.0))
    assert pool.lease(KEY, {A}, 4.0) == 2
    assert [pool.lease(KEY, NONE, 4.0) for _ in range(4)] == [4, 3, 1, None]


def test_nothing_is_leased_from_an_empty_pool() -> None:
    assert PoolState().lease(KEY, NONE, 0.0) is None


def test_a_connection_skipped_as_too_old_stays_for_others() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0))
    assert pool.lease(KEY, NONE, 5.0, max_idle=1.0) is None
    assert pool.lease(KEY, NONE, 5.0) == 1


def test_a_leased_connection_is_not_leased_again() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0))
    assert pool.lease(KEY, NONE, 0.0) == 1
    assert pool.lease(KEY, NONE, 0.0) is None


def test_no_key_gets_the_connection_or_the_room_of_another() -> None:
    pool = PoolState(max_connections=1)
    kept(pool, (1, A, 0.0))
    assert pool.lease(OTHER_KEY, NONE, 0.0) is None
    assert pool.places.reserve(OTHER_KEY, [A]) == (A,)
    assert pool.places.reserve(OTHER_KEY, [A]) == ()
    assert pool.lease(KEY, NONE, 0.0) == 1


# Releases


@pytest.mark.parametrize(
    ("is_reusable", "expected", "idle"),
    [
        pytest.param(True, (WakeAt(25.0),), 1, id="a clean end keeps it, until the idle limit"),
        pytest.param(False, (Close(1),), 0, id="any other end closes it"),
    ],
)
def test_release_without_waiters(
    is_reusable: bool, expected: tuple[Action, ...], idle: int
) -> None:
    pool = PoolState(idle_timeout=15.0)
    connect(pool, 1)
    assert pool.released(1, is_reusable, now=10.0) == expected
    assert counts(pool) == (0, idle, 0)


def test_one_wake_up_is_under_way_at_a_time() -> None:
    pool = PoolState()
    connect(pool, 1)
    connect(pool, 2)
    assert pool.released(1, True, now=0.0) == (WakeAt(15.0),)
    assert pool.released(2, True, now=1.0) == ()


def test_an_idle_limit_of_nothing_keeps_nothing() -> None:
    pool = PoolState(idle_timeout=0.0)
    connect(pool, 1)
    assert pool.released(1, True, now=0.0) == (Close(1),)


def test_releasing_twice_is_a_mistake_that_is_told() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0))
    with pytest.raises(RuntimeError, match="connection 1 is released"):
        pool.released(1, True, now=0.0)


@pytest.mark.parametrize("is_reusable", [True, False])
def test_a_release_after_the_close_changes_nothing(is_reusable: bool) -> None:
    pool = PoolState()
    connect(pool, 1)
    assert pool.closed(1, now=0.0) == ()
    assert pool.released(1, is_reusable, now=0.0) == ()
    assert pool.closed(1, now=0.0) == ()
    assert pool.snapshot() == PoolSnapshot((), 0, False)


def test_a_connection_closed_while_idle_is_never_lent() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0), (2, A, 0.0))
    assert pool.closed(2, now=1.0) == ()
    assert pool.lease(KEY, NONE, 1.0) == 1
    assert pool.lease(KEY, NONE, 1.0) is None


# New connections


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("endpoint", [A, B])
def test_a_connection_without_a_reserved_place_is_a_mistake(
    key: object, endpoint: Endpoint
) -> None:
    pool = PoolState()
    connect(pool, 1, A)
    with pytest.raises(RuntimeError, match="no place is reserved"):
        pool.opened(2, key, endpoint)


def test_an_id_in_use_is_a_mistake() -> None:
    pool = PoolState()
    connect(pool, 1)
    pool.places.reserve(KEY, [A])
    with pytest.raises(RuntimeError, match="a connection 1 already"):
        pool.opened(1, KEY, A)
    assert counts(pool) == (1, 0, 1)


# Waiters


def full(*waiters: tuple[int, tuple[Endpoint, ...]], limit: int = 1) -> PoolState:
    """A and B at their limit, by connections 1 and 2, with waiters in this order."""
    pool = PoolState(max_connections=limit)
    connect(pool, 1, A)
    connect(pool, 2, B)
    for waiter_id, endpoints in waiters:
        assert pool.wait(KEY, waiter_id, endpoints) == ()
    return pool


def test_waiters_are_served_in_order() -> None:
    pool = full((10, (A,)), (11, (A, B)))
    assert pool.released(1, True, now=1.0) == (Lease(10, 1),)
    assert pool.released(1, True, now=2.0) == (Lease(11, 1),)
    assert pool.released(1, True, now=3.0) == (WakeAt(18.0),)
    assert pool.places.waiting == 0


def test_a_waiter_gets_nothing_of_an_endpoint_that_it_cannot_use() -> None:
    pool = full((10, (A,)), (11, (B,)))
    assert pool.released(2, True, now=1.0) == (Lease(11, 2),)
    assert pool.places.waiting == 1


def test_a_connection_that_no_waiter_can_use_is_kept() -> None:
    pool = full((10, (A,)))
    assert pool.released(2, True, now=0.0) == (WakeAt(15.0),)
    assert counts(pool, B) == (0, 1, 0)


def test_the_place_of_a_broken_connection_goes_to_the_first_waiter() -> None:
    pool = full((10, (A,)), (11, (A,)))
    assert pool.released(1, False, now=1.0) == (Close(1), Reserve(10, A))
    assert pool.places.unreserve(KEY, A, now=2.0) == (Reserve(11, A),)
    pool.opened(3, KEY, A)
    assert counts(pool) == (1, 0, 0)


def test_a_closed_connection_makes_room_for_a_waiter() -> None:
    pool = full((10, (A,)))
    assert pool.closed(1, now=1.0) == (Reserve(10, A),)
    assert counts(pool) == (0, 0, 1)


def test_a_waiter_past_its_deadline_is_passed_over() -> None:
    pool = full()
    assert pool.wait(KEY, 10, [A], deadline=2.0) == ()
    assert pool.wait(KEY, 11, [A]) == ()
    assert pool.released(1, True, now=2.0) == (Lease(11, 1),)
    assert pool.released(1, True, now=3.0) == (WakeAt(18.0),)
    assert pool.places.waiting == 1
    pool.places.cancel_wait(KEY, 10)
    assert pool.places.waiting == 0


def test_a_waiter_just_before_its_deadline_is_served() -> None:
    pool = full()
    pool.wait(KEY, 10, [A], deadline=2.0)
    assert pool.released(1, True, now=1.999) == (Lease(10, 1),)


def test_a_cancelled_waiter_is_not_served() -> None:
    pool = full((10, (A,)), (11, (A,)))
    pool.places.cancel_wait(KEY, 10)
    assert pool.released(1, True, now=0.0) == (Lease(11, 1),)


def test_cancelling_what_was_served_changes_nothing() -> None:
    pool = full((10, (A,)))
    pool.released(1, True, now=0.0)
    pool.places.cancel_wait(KEY, 10)
    pool.places.cancel_wait(OTHER_KEY, 10)
    assert counts(pool) == (1, 0, 0)


def test_a_waiter_that_outlives_every_connection_is_forgotten_when_it_goes() -> None:
    pool = full()
    pool.wait(KEY, 10, [A], deadline=1.0)
    pool.closed(1, now=2.0)
    pool.closed(2, now=2.0)
    assert pool.places.waiting == 1
    pool.places.cancel_wait(KEY, 10)
    assert repr(pool) == "<PoolState 0 leased, 0 idle, 0 reserved, 0 waiting>"
    pool.places.cancel_wait(KEY, 10)


@pytest.mark.parametrize(
    ("idle", "expected"),
    [
        pytest.param([1, 2], (Close(1), Reserve(10, A)), id="the longest idle is closed"),
        pytest.param([2, 1], (Close(2), Reserve(10, B)), id="on whichever endpoint it is"),
        pytest.param([2], (Close(2), Reserve(10, B)), id="none that is leased"),
        pytest.param([], (), id="without an idle one there is nothing to be had"),
    ],
)
def test_an_idle_connection_too_old_for_the_request_makes_room(
    idle: list[int], expected: tuple[Action, ...]
) -> None:
    pool = full()
    for connection_id in idle:
        pool.released(connection_id, True, now=0.0)
    assert pool.wait(KEY, 10, [A, B]) == expected
    assert pool.places.reserve(KEY, [A, B]) == (), "they are as full as before"
    for action in expected[1:]:
        assert isinstance(action, Reserve)
        pool.places.unreserve(KEY, action.endpoint, now=5.0)
        assert pool.places.reserve(KEY, [A, B]) == (action.endpoint,)


def test_whoever_waits_where_there_is_room_has_it_at_once() -> None:
    pool = full(limit=2)
    assert pool.wait(KEY, 10, [B, A]) == (Reserve(10, B),)
    assert PoolState().wait(KEY, 10, [A]) == (Reserve(10, A),)


def test_waiting_for_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        PoolState().wait(KEY, 10, [])


# The idle limit


def test_what_is_idle_too_long_is_closed_when_woken() -> None:
    pool = PoolState(idle_timeout=15.0)
    kept(pool, (1, A, 0.0), (2, B, 1.0), (3, A, 2.0))
    assert pool.woke(15.5) == (Close(1), WakeAt(16.0))
    assert pool.woke(17.0) == (Close(2), Close(3))
    assert pool.snapshot().endpoints == ()


def test_an_early_or_stale_wake_up_does_nothing() -> None:
    pool = PoolState()
    assert pool.woke(100.0) == ()
    kept(pool, (1, A, 0.0))
    assert pool.woke(14.999) == ()
    assert pool.woke(15.0) == (Close(1),)
    assert pool.woke(15.0) == ()


def test_a_wake_up_finds_the_connection_used_meanwhile() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0))
    pool.lease(KEY, NONE, 5.0)
    assert pool.released(1, True, now=6.0) == ()
    assert pool.woke(15.0) == (WakeAt(21.0),)
    pool.lease(KEY, NONE, 16.0)
    assert pool.woke(21.0) == ()
    assert pool.released(1, True, now=22.0) == (WakeAt(37.0),)


# Generations


def test_an_endpoint_proved_dead_loses_its_idle_connections_only() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0), (2, B, 0.0), (3, A, 0.0))
    assert pool.retire_endpoint(KEY, A) == (Close(1), Close(3))
    assert pool.lease(KEY, NONE, 1.0) == 2


def test_what_was_leased_before_is_closed_on_release() -> None:
    pool = PoolState()
    connect(pool, 1)
    assert pool.retire_endpoint(KEY, A) == ()
    connect(pool, 2)
    assert pool.released(1, True, now=0.0) == (Close(1),)
    assert pool.released(2, True, now=0.0) == (WakeAt(15.0),)


def test_a_retired_connection_is_handed_to_no_waiter() -> None:
    pool = full((10, (A,)))
    pool.retire_endpoint(KEY, A)
    assert pool.released(1, True, now=0.0) == (Close(1), Reserve(10, A))


def test_news_of_an_older_generation_change_nothing() -> None:
    pool = PoolState()
    connect(pool, 1)
    connect(pool, 2)
    assert pool.retire_endpoint(KEY, A, proof=1) == ()
    connect(pool, 3)
    pool.released(3, True, now=0.0)
    assert pool.retire_endpoint(KEY, A, proof=2) == ()
    assert pool.lease(KEY, NONE, 0.0) == 3
    assert pool.released(1, True, now=0.0) == (Close(1),)
    assert pool.released(2, True, now=0.0) == (Close(2),)


@pytest.mark.parametrize(
    ("key", "endpoint", "proof"),
    [
        pytest.param(OTHER_KEY, A, None, id="an unknown key"),
        pytest.param(KEY, Endpoint("10.0.0.9", 80), None, id="an unknown endpoint"),
        pytest.param(KEY, A, 99, id="a proof that is gone"),
        pytest.param(KEY, A, 2, id="a proof of another endpoint's death"),
    ],
)
def test_news_of_nobody_change_nothing(key: object, endpoint: Endpoint, proof: int | None) -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0), (2, B, 0.0))
    assert pool.retire_endpoint(key, endpoint, proof) == ()
    assert counts(pool, A) == (0, 1, 0)


# Drain


def test_drain_closes_what_is_idle_and_then_what_is_released() -> None:
    pool = PoolState()
    connect(pool, 1)
    kept(pool, (2, A, 0.0), (3, B, 0.0))
    assert pool.drain() == (Close(2), Close(3))
    assert pool.released(1, True, now=1.0) == (Close(1),)
    assert pool.woke(100.0) == ()
    assert pool.snapshot() == PoolSnapshot((), 0, True)


def test_shed_closes_what_is_idle_and_keeps_what_is_released() -> None:
    pool = PoolState()
    connect(pool, 1)
    kept(pool, (2, A, 0.0), (3, B, 0.0))
    assert pool.shed() == (Close(2), Close(3))
    pool.released(1, True, now=1.0)
    assert pool.lease(KEY, frozenset(), 2.0) == 1


def test_what_is_outstanding_goes_on_while_draining() -> None:
    pool = full((10, (A,)))
    pool.drain()
    assert repr(pool) == "<PoolState 2 leased, 0 idle, 0 reserved, 1 waiting, draining>"
    assert pool.released(1, True, now=0.0) == (Lease(10, 1),)
    assert pool.released(1, True, now=0.0) == (Close(1),)
    assert pool.places.reserve(KEY, [A]) == (A,)


# Construction


@pytest.mark.parametrize(
    ("max_connections", "idle_timeout", "told"),
    [
        (0, 15.0, "max_connections must be at least 1"),
        (1, -1.0, "idle_timeout must be at least 0"),
        (1, float("nan"), "idle_timeout must be at least 0"),
    ],
)
def test_limits_out_of_range_are_refused(
    max_connections: int, idle_timeout: float, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        PoolState(max_connections, idle_timeout)


def test_the_repr_counts() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0), (2, A, 0.0))
    pool.lease(KEY, NONE, 0.0)
    pool.places.reserve(KEY, [A, B])
    assert repr(pool) == "<PoolState 1 leased, 1 idle, 2 reserved, 0 waiting>"


# A request that has its own endpoint


@pytest.mark.parametrize(
    ("endpoint", "max_idle", "now", "expected"),
    [
        pytest.param(A, None, 4.0, 3, id="the most recently used of that endpoint"),
        pytest.param(B, None, 4.0, 4, id="whoever was used last of all"),
        pytest.param(A, 2.5, 4.0, 3, id="one that is fresh enough"),
        pytest.param(A, 2.0, 4.0, None, id="none as old as max_idle"),
        pytest.param(A, 0.0, 2.0, None, id="with 0 none at all, and be it released just now"),
        pytest.param(A, 99.0, 17.0, None, id="max_idle does not lengthen the idle limit"),
        pytest.param(Endpoint("10.0.0.3", 80), None, 4.0, None, id="none where none was opened"),
    ],
)
def test_lease_of_only_one_endpoint(
    endpoint: Endpoint, max_idle: float | None, now: float, expected: int | None
) -> None:
    pool = PoolState(idle_timeout=15.0)
    kept(pool, (1, A, 0.0), (2, B, 1.0), (3, A, 2.0), (4, B, 3.0))
    assert pool.lease(KEY, NONE, now, max_idle, endpoint) == expected


def test_what_is_leased_there_is_leased() -> None:
    pool = PoolState()
    kept(pool, (1, A, 0.0), (2, B, 1.0))
    assert pool.lease(KEY, NONE, 2.0, only=A) == 1
    assert pool.lease(KEY, NONE, 2.0, only=A) is None
    assert pool.lease(OTHER_KEY, NONE, 2.0, only=B) is None
    assert counts(pool) == (1, 0, 0)
    assert pool.lease(KEY, NONE, 2.0) == 2
