"""A better server that was out of use is tried out; what a dead one costs whom."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.types import Order, Verdict
from tests.engine.oracle import Outcome
from tests.engine.world import BACKED_UP, TWO, A, World, world
from tests.sim.origin import Reply

LISTED = Target(urls=["http://a.test/", "http://b.test/"], order=Order.LISTED)


async def servers_over(w: World, target: Target, seconds: int) -> list[str]:
    """Who answers, ten times a second."""
    seen = []
    for _ in range(seconds * 10):
        outcome = await w.ask("GET", target=target)
        assert outcome.error is None
        assert outcome.took < 0.3
        seen.append(outcome.server)
        await trio.sleep(0.1)
    return seen


@pytest.mark.parametrize("target", [LISTED, BACKED_UP], ids=["listed", "backups"])
async def test_it_serves_again_a_second_after_its_return(
    target: Target, autojump_clock: MockClock
) -> None:
    async with world() as w:
        w.network.refuse(A)
        assert set(await servers_over(w, target, 10)) == {"b"}
        w.network.heal(A)
        seen = await servers_over(w, target, 2)
        assert seen[-1] == "a"
        assert seen.index("a") <= 11


async def test_while_it_is_dead_no_request_waits_for_it(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.network.blackhole(A)
        assert (await w.ask("GET", target=LISTED)).server == "b"
        # None longer than 0.3 s: servers_over looks.
        assert set(await servers_over(w, LISTED, 60)) == {"b"}


@pytest.mark.parametrize(("every", "who_wait"), [(1.0, 1), (4.0, 1), (15.0, 3), (30.0, 4)])
async def test_after_pauses_longer_than_its_hold_some_wait_for_it(
    every: float, who_wait: int, autojump_clock: MockClock
) -> None:
    """As long as the connect time-out each, and the first ones only: its hold doubles up to a minute."""
    async with world() as w:
        w.network.blackhole(A)
        took = []
        for _ in range(12):
            took.append(round((await w.ask("GET", target=BACKED_UP)).took, 2))
            await trio.sleep(every)
        assert took == [1.0] * who_wait + [0.0] * (12 - who_wait)


async def test_where_the_order_is_no_preference_nobody_is_tried_out(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.network.refuse(A)
        assert (await w.ask("GET", target=TWO)).server == "b"
        w.network.heal(A)
        assert set(await servers_over(w, TWO, 10)) == {"b"}


@pytest.mark.parametrize("healed_at", [n / 10 for n in range(30, 42)])
async def test_a_blackholed_server_serves_again_soon_whenever_it_heals(
    healed_at: float, autojump_clock: MockClock
) -> None:
    """Also where a trial was under way just then, that has lost its SYN and fails a moment later."""
    async with world() as w:
        w.network.blackhole(A)
        assert (await w.ask("GET", target=BACKED_UP)).server == "b"
        await servers_over_until(w, healed_at)
        w.network.heal(A)
        seen = await servers_over(w, BACKED_UP, 2)
        assert seen.index("a") <= 11
        assert set(seen[seen.index("a") :]) == {"a"}


async def servers_over_until(w: World, instant: float) -> None:
    while trio.current_time() < instant:
        assert (await w.ask("GET", target=BACKED_UP)).server == "b"
        await trio.sleep(0.1)


async def test_what_is_outstanding_at_the_backup_stays_there(autojump_clock: MockClock) -> None:
    """Failback is for new requests: what was sent before is waited for, and not asked of the better server."""
    async with world() as w:
        w.network.refuse(A)
        w.b.reply = lambda request: Reply(think=8.0 if request.target == b"/slow" else 0.0)
        slow: list[Outcome] = []

        async def ask_for_slow(method: str) -> None:
            slow.append(await w.request(method, "/slow", target=BACKED_UP))

        async with trio.open_nursery() as nursery:
            for method in ("GET", "PUT", "POST"):
                nursery.start_soon(ask_for_slow, method)
            seen = []
            for _ in range(40):
                await trio.sleep(0.1)
                seen.append((await w.request("GET", target=BACKED_UP)).server)
                if len(seen) == 20:
                    w.network.heal(A)
            assert set(seen[:20]) == {"b"}
            assert seen[-1] == "a"
            assert slow == []
        for outcome in slow:
            assert outcome.took == pytest.approx(8.0, abs=0.01)
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert w.runs(outcome.number) == ["b"]
        assert (await w.ask("GET", "/slow", target=BACKED_UP)).server == "a"
