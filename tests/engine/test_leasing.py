"""Which idle connection a request gets, and when it gets none."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.engine.leasing import MAX_IDLE_NOT_RESENDABLE
from tests.engine.world import TWO, A, B, World, world

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
