"""The pool's driver: does it carry out what the machine decides, and clean up when cancelled?

What is decided has its tests in tests/core/test_places.py and test_pool_state.py.
"""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from haclient.core.places import EndpointCounts
from haclient.core.pool_state import PoolSnapshot
from haclient.net.pool import Pool
from haclient.types import Endpoint, Origin

Clock = trio.testing.MockClock

KEY = Origin("http", "a.test", 80)
A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)


class Plug:
    """A connection that a test can break. `open` counts those that are."""

    open = 0

    def __init__(self, endpoint: Endpoint = A) -> None:
        self.endpoint = endpoint
        self.is_quiet = True
        self.is_closed = False
        self.questions = 0
        Plug.open += 1

    def is_reusable_now(self) -> bool:
        self.questions += 1
        return self.is_quiet and not self.is_closed

    def close(self) -> None:
        if not self.is_closed:
            Plug.open -= 1
        self.is_closed = True


@pytest.fixture(autouse=True)
def _no_plug_is_open() -> None:
    Plug.open = 0


@pytest.fixture
def pool() -> Pool[Plug]:
    return Pool(max_connections=2, idle_timeout=15.0)


def connect(pool: Pool[Plug], endpoint: Endpoint = A) -> Plug:
    assert pool.reserve(KEY, [endpoint]) == (endpoint,)
    plug = Plug(endpoint)
    pool.opened(KEY, plug)
    return plug


def used(pool: Pool[Plug]) -> dict[Endpoint, tuple[int, int, int]]:
    """Leased, idle, reserved."""
    return {c.endpoint: (c.leased, c.idle, c.reserved) for c in pool.snapshot().endpoints}


# Lease and release


async def test_a_released_connection_is_lent_again(pool: Pool[Plug]) -> None:
    plug = connect(pool)
    assert pool.try_lease(KEY) is None
    pool.release(plug, reusable=True)
    assert pool.try_lease(KEY, avoid={A}) is None
    assert pool.try_lease(KEY) is plug
    assert plug.questions == 1
    assert not plug.is_closed


async def test_a_broken_exchange_closes_its_connection_at_once(pool: Pool[Plug]) -> None:
    plug = connect(pool)
    pool.release(plug, reusable=False)
    assert plug.is_closed
    assert pool.try_lease(KEY) is None
    assert used(pool) == {}


async def test_what_is_not_fit_any_more_is_closed_and_the_next_is_lent(pool: Pool[Plug]) -> None:
    older, newer = connect(pool), connect(pool)
    pool.release(older, reusable=True)
    pool.release(newer, reusable=True)
    newer.is_quiet = False
    assert pool.try_lease(KEY) is older
    assert newer.is_closed
    assert used(pool) == {A: (1, 0, 0)}


async def test_with_none_fit_the_answer_is_none(pool: Pool[Plug]) -> None:
    plugs = [connect(pool), connect(pool)]
    for plug in plugs:
        pool.release(plug, reusable=True)
        plug.is_quiet = False
    assert pool.try_lease(KEY) is None
    assert [plug.is_closed for plug in plugs] == [True, True]


async def test_for_only_one_endpoint_no_other_is_lent_or_asked(pool: Pool[Plug]) -> None:
    older, newer, elsewhere = connect(pool), connect(pool), connect(pool, B)
    for plug in (older, newer, elsewhere):
        pool.release(plug, reusable=True)
    newer.is_quiet = False
    assert pool.try_lease(KEY, only=A) is older
    assert newer.is_closed
    assert pool.try_lease(KEY, only=A) is None
    assert elsewhere.questions == 0
    assert used(pool) == {A: (1, 0, 0), B: (0, 1, 0)}


async def test_one_idle_too_long_for_a_request_is_neither_asked_nor_closed(
    pool: Pool[Plug],
    autojump_clock: Clock,
) -> None:
    plug = connect(pool)
    pool.release(plug, reusable=True)
    await trio.sleep(2.0)
    assert pool.try_lease(KEY, max_idle=1.0) is None
    assert plug.questions == 0
    assert pool.try_lease(KEY) is plug


async def test_releasing_twice_is_told(pool: Pool[Plug]) -> None:
    plug = connect(pool)
    pool.release(plug, reusable=True)
    with pytest.raises(RuntimeError, match="nobody has it"):
        pool.release(plug, reusable=True)


async def test_releasing_what_is_closed_already_keeps_it_out(pool: Pool[Plug]) -> None:
    plug = connect(pool)
    pool.release(plug, reusable=False)
    pool.release(plug, reusable=True)
    assert pool.try_lease(KEY) is None


async def test_a_stranger_is_closed_on_release(pool: Pool[Plug]) -> None:
    stranger = Plug()
    pool.release(stranger, reusable=True)
    assert stranger.is_closed
    assert pool.try_lease(KEY) is None


async def test_a_connection_without_a_reservation_is_not_taken_in(pool: Pool[Plug]) -> None:
    with pytest.raises(RuntimeError, match="no place is reserved"):
        pool.opened(KEY, Plug())
    assert used(pool) == {}


# Waiting


class Waiter:
    """A task that waits for room, and what it got when."""

    def __init__(self, pool: Pool[Plug], *endpoints: Endpoint, deadline: float = math.inf) -> None:
        self.pool = pool
        self.endpoints = endpoints
        self.deadline = deadline
        self.got: Plug | Endpoint | None = None
        self.at: float | None = None
        self.scope = trio.CancelScope()
        self.is_closed_out = False

    async def run(self) -> None:
        with self.scope:
            try:
                self.got = await self.pool.wait_for_room(KEY, self.endpoints, self.deadline)
            except trio.ClosedResourceError:
                self.is_closed_out = True
            self.at = trio.current_time()


async def start(nursery: trio.Nursery, *waiters: Waiter) -> None:
    for waiter in waiters:
        nursery.start_soon(waiter.run)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_released_connection_goes_to_whoever_waits_longest(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    plug, _ = connect(pool), connect(pool)
    first, second = Waiter(pool, A), Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, first, second)
        await trio.sleep(1.0)
        pool.release(plug, reusable=True)
        await trio.sleep(1.0)
        assert (first.got, first.at, second.got) == (plug, 1.0, None)
        pool.release(plug, reusable=True)
    assert second.got is plug
    assert used(pool) == {A: (2, 0, 0)}


async def test_a_waiter_is_handed_no_connection_that_went_bad(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    plug, _ = connect(pool), connect(pool)
    waiter = Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, waiter)
        plug.is_quiet = False
        pool.release(plug, reusable=True)
    assert waiter.got == A
    assert plug.is_closed
    assert used(pool) == {A: (1, 0, 1)}


async def test_room_that_a_racer_gives_back_goes_to_the_waiter(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    connect(pool)
    pool.reserve(KEY, [A])
    waiter = Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, waiter)
        pool.unreserve(KEY, A)
    assert waiter.got == A


async def test_a_stale_idle_connection_makes_room_for_a_request_that_cannot_use_it(
    pool: Pool[Plug],
    autojump_clock: Clock,
) -> None:
    connect(pool)
    plug = connect(pool)
    pool.release(plug, reusable=True)
    await trio.sleep(5.0)
    assert pool.try_lease(KEY, max_idle=1.0) is None
    assert pool.reserve(KEY, [A]) == ()
    assert await pool.wait_for_room(KEY, [A]) == A
    assert plug.is_closed


async def test_a_cancelled_waiter_is_out_of_the_queue(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    plug, _ = connect(pool), connect(pool)
    first, second = Waiter(pool, A), Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, first, second)
        first.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        pool.release(plug, reusable=True)
    assert (first.got, second.got) == (None, plug)
    assert pool.snapshot().waiting == 0


async def test_whoever_is_cancelled_with_a_place_in_hand_gives_it_back(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    waiter = Waiter(pool, A)
    waiter.scope.cancel()
    await waiter.run()
    assert waiter.got is None
    assert used(pool) == {}


async def test_a_connection_handed_over_in_the_moment_of_the_cancellation_is_not_lost(
    pool: Pool[Plug],
    autojump_clock: Clock,
) -> None:
    plug, _ = connect(pool), connect(pool)
    waiter = Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, waiter)
        pool.release(plug, reusable=True)
        waiter.scope.cancel()
    assert waiter.got is plug
    assert used(pool) == {A: (2, 0, 0)}


async def test_a_waiter_past_its_deadline_is_passed_over(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    plug, _ = connect(pool), connect(pool)
    late, patient = Waiter(pool, A, deadline=1.0), Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, late, patient)
        await trio.sleep(1.0)
        pool.release(plug, reusable=True)
        await trio.testing.wait_all_tasks_blocked()
        late.scope.cancel()
    assert (late.got, patient.got) == (None, plug)


async def test_waiting_for_nothing_is_told(pool: Pool[Plug]) -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        await pool.wait_for_room(KEY, [])
    pool.close_all()


async def test_forty_requests_share_four_places_in_the_order_of_their_coming(
    pool: Pool[Plug],
    autojump_clock: Clock,
) -> None:
    served: list[int] = []

    async def request(number: int) -> None:
        plug = pool.try_lease(KEY)
        if plug is None:
            granted = pool.reserve(KEY, [A, B])
            for spare in granted[1:]:
                pool.unreserve(KEY, spare)
            found = granted[0] if granted else await pool.wait_for_room(KEY, [A, B])
            if isinstance(found, Endpoint):
                plug = Plug(found)
                pool.opened(KEY, plug)
            else:
                plug = found
        served.append(number)
        assert Plug.open <= 4
        # No two end together: trio shuffles tasks that wake in one pass.
        await trio.sleep(1.0 + number / 64)
        pool.release(plug, reusable=number % 5 != 0)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(request, number)
            await trio.testing.wait_all_tasks_blocked()
    assert served == list(range(40))
    assert all(leased == reserved == 0 for leased, _, reserved in used(pool).values())


# The idle limit


async def test_the_sweep_closes_what_is_idle_too_long(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    older, newer = connect(pool), connect(pool)
    pool.release(older, reusable=True)
    await trio.sleep(1.0)
    pool.release(newer, reusable=True)
    assert pool.sweep(trio.current_time()) == 15.0
    assert pool.sweep(15.0) == 16.0
    assert (older.is_closed, newer.is_closed) == (True, False)
    assert pool.sweep(16.0) == 31.0
    assert newer.is_closed


async def test_a_caller_that_keeps_to_the_sweeps_instants_misses_nothing(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    async def watch() -> None:
        for _ in range(100):
            await trio.sleep_until(pool.sweep(trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        for pause in (3.0, 20.0, 14.0, 0.5):
            await trio.sleep(pause)
            plug = connect(pool)
            pool.release(plug, reusable=True)
            await trio.sleep(14.9)
            assert not plug.is_closed
            await trio.sleep(0.2)
            assert plug.is_closed
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("comes_by", ["miss", "release"])
async def test_without_any_sweep_whoever_comes_by_keeps_the_idle_limit(
    pool: Pool[Plug], autojump_clock: Clock, comes_by: str
) -> None:
    plug, other = connect(pool), connect(pool)
    pool.release(plug, reusable=True)
    await trio.sleep(15.0)
    if comes_by == "miss":
        assert pool.try_lease(KEY) is None
    else:
        pool.release(other, reusable=True)
        assert not other.is_closed
    assert plug.is_closed


async def test_where_a_group_has_connections(pool: Pool[Plug]) -> None:
    seen = [(pool.has_connections, pool.endpoints(KEY))]
    plug = connect(pool)
    seen.append((pool.has_connections, pool.endpoints(KEY)))
    pool.release(plug, reusable=False)
    seen.append((pool.has_connections, pool.endpoints(KEY)))
    assert seen == [(False, ()), (True, (A,)), (False, ())]


async def test_a_pool_that_keeps_nothing_asks_for_no_sweep(
    autojump_clock: Clock,
) -> None:
    pool: Pool[Plug] = Pool(idle_timeout=0.0)
    plug = connect(pool)
    pool.release(plug, reusable=True)
    assert plug.is_closed
    assert pool.sweep(trio.current_time()) == math.inf


# Ends


async def test_a_dead_endpoint_loses_its_connections(pool: Pool[Plug]) -> None:
    idle, leased, elsewhere = connect(pool), connect(pool), connect(pool, B)
    pool.release(idle, reusable=True)
    pool.release(elsewhere, reusable=True)
    pool.retire_endpoint(KEY, A)
    assert (idle.is_closed, leased.is_closed, elsewhere.is_closed) == (True, False, False)
    pool.release(leased, reusable=True)
    assert leased.is_closed


async def test_old_news_of_a_death_closes_nothing(pool: Pool[Plug]) -> None:
    first, second = connect(pool), connect(pool)
    pool.retire_endpoint(KEY, A, proof=first)
    pool.release(first, reusable=False)
    fresh = connect(pool)
    pool.release(fresh, reusable=True)
    pool.retire_endpoint(KEY, A, proof=second)
    pool.retire_endpoint(KEY, A, proof=first)
    assert not fresh.is_closed


async def test_drain_keeps_nothing_and_lets_the_rest_go_on(pool: Pool[Plug]) -> None:
    idle, leased = connect(pool), connect(pool)
    pool.release(idle, reusable=True)
    pool.drain()
    assert idle.is_closed
    assert not leased.is_closed
    retried = connect(pool)
    pool.release(leased, reusable=True)
    pool.release(retried, reusable=True)
    assert pool.snapshot() == PoolSnapshot((), 0, True)
    assert Plug.open == 0


async def test_close_all_leaves_nothing_open_and_nobody_waiting(
    pool: Pool[Plug], autojump_clock: Clock
) -> None:
    leased, _, idle = connect(pool), connect(pool), connect(pool, B)
    pool.release(idle, reusable=True)
    waiter = Waiter(pool, A)
    async with trio.open_nursery() as nursery:
        await start(nursery, waiter)
        pool.close_all()
    assert waiter.is_closed_out
    assert Plug.open == 0
    pool.release(leased, reusable=True)
    assert pool.try_lease(KEY) is None
    assert (
        repr(pool) == "<Pool closed, <PoolState 0 leased, 0 idle, 0 reserved, 0 waiting, draining>>"
    )


async def test_a_race_that_ends_after_close_all_leaves_nothing_open(pool: Pool[Plug]) -> None:
    assert pool.reserve(KEY, [A, B]) == (A, B)
    pool.close_all()
    winner = Plug(A)
    pool.opened(KEY, winner)
    pool.unreserve(KEY, B)
    assert winner.is_closed
    assert used(pool) == {}


async def test_a_closed_pool_gives_nothing(pool: Pool[Plug]) -> None:
    pool.close_all()
    assert pool.reserve(KEY, [A]) == ()
    with pytest.raises(trio.ClosedResourceError):
        await pool.wait_for_room(KEY, [A])


async def test_the_snapshot_and_the_repr_count(pool: Pool[Plug]) -> None:
    connect(pool)
    pool.reserve(KEY, [B])
    assert pool.snapshot() == PoolSnapshot(
        (EndpointCounts(KEY, A, 1, 0, 0), EndpointCounts(KEY, B, 0, 0, 1)), 0, False
    )
    assert repr(pool) == "<Pool <PoolState 1 leased, 0 idle, 1 reserved, 0 waiting>>"
