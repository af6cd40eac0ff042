"""Which idle connection a request gets, and when it gets none."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.engine.leasing import MAX_IDLE_NOT_RESENDABLE
from haclient.errors import NameNotFoundError
from tests.engine.world import ONE, TWO, A, B, World, world
from tests.sim.dns import Answer
from tests.sim.origin import Reply

SHUFFLED = Target(urls=TWO.urls, order="shuffled")


async def connections_after(w: World, method: str, target: Target = TWO) -> int:
    """How many there have been, once one more request was answered."""
    assert (await w.ask(method, target=target)).error is None
    return len(w.network.connections)


@pytest.mark.parametrize(
    ("method", "idle_for", "connections"),
    [
        ("GET", 14.0, 1),
        ("GET", 15.1, 2),
        ("PUT", 14.0, 1),
        ("POST", MAX_IDLE_NOT_RESENDABLE - 0.1, 1),
        ("POST", MAX_IDLE_NOT_RESENDABLE + 0.1, 2),
    ],
)
async def test_how_long_it_may_have_been_idle(
    autojump_clock: MockClock, method: str, idle_for: float, connections: int
) -> None:
    async with world() as w:
        assert await connections_after(w, "GET") == 1
        await trio.sleep(idle_for)
        assert await connections_after(w, method) == connections


async def test_none_to_a_server_in_trouble(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert (await w.ask("GET", target=TWO)).server == "a"
        w.engine.health.report_suspect(A, trio.current_time(), 0)
        assert (await w.ask("GET", target=TWO)).server == "b"
        await trio.sleep(2)
        # It was kept for when the suspicion is over.
        assert (await w.ask("GET", target=TWO)).server == "a"
        assert len(w.network.connections) == 2


async def test_only_whose_turn_it_is(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.engine.chance = lambda: 0.0
        assert (await w.ask("GET", target=SHUFFLED)).server == "b"  # by the first permutation
        assert (await w.ask("GET", target=SHUFFLED)).server == "a"  # by the first draw
        w.engine.chance = lambda: 0.9
        assert (await w.ask("GET", target=SHUFFLED)).server == "b"
        assert len(w.network.connections) == 2


async def test_whose_turn_it_would_be_is_not_drawn_while_it_is_in_trouble(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.engine.chance = lambda: 0.9
        assert await connections_after(w, "GET", SHUFFLED) == 1
        w.engine.health.report_failure(B, trio.current_time(), 0)
        for _ in range(3):
            assert (await w.ask("GET", target=SHUFFLED)).server == "a"


@pytest.mark.parametrize(("idle_for", "is_reused"), [(0.9, True), (1.0, False)])
async def test_what_may_not_be_resent_rides_only_on_one_that_was_just_in_use(
    autojump_clock: MockClock, idle_for: float, is_reused: bool
) -> None:
    async with world() as w:
        await w.ask("GET", target=ONE)
        await trio.sleep(idle_for)
        assert (await w.ask("POST", target=ONE)).records[0].reused == is_reused


async def test_idle_ones_to_a_server_in_trouble_are_not_lent(autojump_clock: MockClock) -> None:
    """It is suspect: whether it is dead, another request has to wait for, and this one not."""
    async with world() as w:
        w.a.reply = Reply(think=0.1)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(w.request, "GET", "http://ab.test/")
        w.network.blackhole(A)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.request, "PUT", "http://ab.test/")
            await trio.sleep(0.6)
            outcome = await w.request("GET", "http://ab.test/")
        assert outcome.server == "b"
        assert outcome.took == pytest.approx(0.002)


async def test_another_targets_idle_ones_to_a_server_in_trouble_are_not_lent_either(
    autojump_clock: MockClock,
) -> None:
    """Two targets at the same addresses share connections; the second has not asked any name yet."""
    first, second = (Target(urls=["http://ab.test/"], max_attempts=n) for n in (2, 3))
    async with world() as w:
        assert (await w.ask("GET", target=first)).server == "a"
        w.engine.health.report_suspect(A, trio.current_time(), 0)
        assert (await w.ask("GET", target=second)).server == "b"


async def test_a_name_that_is_gone_has_no_turn_any_more(autojump_clock: MockClock) -> None:
    """Its turn would be one for a new connection to somebody else, each time."""
    async with world() as w:
        w.engine.chance = lambda: 0.9
        assert await connections_after(w, "GET", SHUFFLED) == 1
        assert (await w.ask("GET", target=SHUFFLED)).server == "b"
        w.resolver.script("a.test", Answer(error=NameNotFoundError("there is no a.test")))
        live = w.client._live_for(SHUFFLED, SHUFFLED)
        live.pool.retire_endpoint(live.first_keys[0], A)
        w.engine.chance = lambda: 0.0
        # Only now somebody asks for the name.
        connections = await connections_after(w, "GET", SHUFFLED)
        for _ in range(3):
            assert await connections_after(w, "GET", SHUFFLED) == connections
