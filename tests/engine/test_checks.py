"""Who is asked of health, how many at a time, and what is forgotten.

What follows for requests is in tests/proxy/test_hung_servers.py.
"""

from __future__ import annotations

import trio
from trio.testing import MockClock

from haclient.core.health import Condition
from haclient.core.health_check import HealthCheck, Opinion, Result
from haclient.core.spec import HealthRequests, Target
from haclient.engine.checks import Checked, Checks
from haclient.engine.live import LiveTarget
from haclient.types import Endpoint
from tests.engine.world import A, B, World, world
from tests.sim.network import SimListener
from tests.sim.origin import Reply

HEALTH = HealthRequests(path="/health", interval=5.0, timeout=2.0)


def checked(w: World, target: Target, known: tuple[Endpoint, ...]) -> tuple[LiveTarget, Checks]:
    """A target in use, for a connection is reserved; chance is a half."""
    w.engine.chance = lambda: 0.5
    live = LiveTarget(target, w.engine)
    origin = target.urls[0].origin
    live.known[origin] = known
    assert live.pool.reserve(live.key(origin), [A]) == (A,)
    checks = Checks(live)
    checks.start()
    return live, checks


def release(live: LiveTarget) -> None:
    live.pool.unreserve(live.key(live.spec.urls[0].origin), A)


async def test_no_more_than_the_race_is_wide_at_a_time(autojump_clock: MockClock) -> None:
    """Twelve addresses that accept and say nothing."""
    many = tuple(Endpoint(f"10.9.0.{number}", 80) for number in range(1, 13))
    target = Target(urls=["http://a.test/"], race_width=4, health=HEALTH)
    async with world() as w:
        listeners = [w.network.listen(one) for one in many]
        live, checks = checked(w, target, many)
        for _ in range(300):
            await trio.sleep(0.1)
            assert len(w.network.open_streams()) <= 4
        assert all(isinstance(one, SimListener) for one in listeners)
        # Each address is asked in its turn, though each turn takes longer than the interval.
        asked = {client.endpoint for client, _ in w.network.connections}
        assert asked >= set(many)
        assert checks.counts[Result.SILENT] >= 4 * 12
        assert set(live.unfit.values()) == {Opinion.SILENT}
        checks.stop()
        assert live.unfit == {}
        release(live)


async def test_more_than_the_race_is_wide_are_found_out_in_their_turns(
    autojump_clock: MockClock,
) -> None:
    """Twelve that hang, four at a time: each of their time-outs counts three times (docs/health.md)."""
    many = tuple(Endpoint(f"10.9.0.{number}", 80) for number in range(1, 13))
    target = Target(urls=["http://a.test/"], race_width=4, health=HEALTH)
    async with world() as w:
        for one in many:
            w.network.listen(one)
        live, checks = checked(w, target, many)
        await trio.sleep(2.5 + 2 * 2.0 * 3 - 0.1)
        assert 0 < len(live.unfit) < len(many)
        await trio.sleep(0.2)
        assert live.unfit == dict.fromkeys(many, Opinion.SILENT)
        checks.stop()
        release(live)


async def test_an_address_that_is_gone_is_asked_no_more_and_forgotten(
    autojump_clock: MockClock,
) -> None:
    target = Target(urls=["http://ab.test/"], health=HEALTH)
    async with world() as w:
        w.b.reply = Reply(503)
        live, checks = checked(w, target, (A, B))
        await trio.sleep(11.0)
        assert live.unfit == {B: Opinion.UNAVAILABLE}
        assert repr(checks) == "<Checks of /health at 2 addresses>"
        live.known[target.urls[0].origin] = (A,)
        await trio.sleep(1.5)
        assert live.unfit == {}
        count = len(w.b.executed)
        await trio.sleep(20.0)
        assert len(w.b.executed) == count
        checks.stop()
        release(live)


async def test_an_answer_at_an_address_that_nobody_asks_is_nothing(
    autojump_clock: MockClock,
) -> None:
    target = Target(urls=["http://a.test/"], health=HEALTH)
    async with world() as w:
        live, checks = checked(w, target, (A,))
        await trio.sleep(0.5)
        checks.heard(B)
        checks.heard(A)
        assert live.unfit == {}
        assert set(checks.by_endpoint) == {A}
        checks.stop()
        checks.stop()
        release(live)


async def test_a_health_request_that_ends_when_its_address_is_gone_is_not_heeded(
    autojump_clock: MockClock,
) -> None:
    """Its answer and the look at the addresses may fall on one instant."""
    health = HealthRequests(path="/", failures=1)
    target = Target(urls=["http://a.test/"], health=health)
    async with world() as w:
        w.a.reply = Reply(503)
        checks = Checks(LiveTarget(target, w.engine))
        check = HealthCheck(health, 0.0, 0.5)
        gone = Checked(target.urls[0].origin, A, check, trio.CancelScope())
        await checks._ask(gone)
        assert len(w.a.executed) == 1
        assert gone.told is None
        assert checks.counts == {}
        assert check.opinion is Opinion.FIT


async def test_as_many_good_ones_as_make_it_fit_end_what_a_failure_began(
    autojump_clock: MockClock,
) -> None:
    """Refused, and back, and no request goes there: it would have failed for ever to those who look."""
    target = Target(urls=["http://a.test/"], health=HEALTH)
    async with world() as w:
        live, checks = checked(w, target, (A,))
        health = w.engine.health

        def condition() -> Condition:
            [one] = health.snapshot(trio.current_time())
            return one.condition

        health.report_failure(A, trio.current_time(), 0)
        await trio.sleep(1.0 + 2.5 + 0.1)
        assert condition() is Condition.ON_PROBATION
        # As a request would have it that meets the server's second end before it is asked again.
        health.report_failure(A, trio.current_time(), health.generation(A))
        await trio.sleep(5.0)
        assert (
            condition() is Condition.ON_PROBATION
        )  # one before the end, one behind it: not in a row
        await trio.sleep(5.0)
        assert condition() is Condition.RECOVERED
        checks.stop()
        release(live)


async def test_a_good_one_from_before_a_failure_ends_nothing(autojump_clock: MockClock) -> None:
    """Its answer comes late, and was asked for before the server died."""
    target = Target(urls=["http://a.test/"], health=HEALTH)
    async with world() as w:
        w.a.reply = Reply(think=1.0)
        live, checks = checked(w, target, (A,))
        health = w.engine.health
        await trio.sleep(1.0 + 2.5 + 5.0 + 0.5)  # in the midst of the second one
        health.report_failure(A, trio.current_time(), health.generation(A))
        await trio.sleep(1.0)
        assert checks.counts[Result.OK] == 2
        assert health.has_verdict(A, trio.current_time())
        checks.stop()
        release(live)


async def test_why_a_failed_connect_holds_an_address_down(autojump_clock: MockClock) -> None:
    """No request has met it: nobody else could say so."""
    target = Target(urls=["http://a.test/"], health=HEALTH)
    async with world() as w:
        w.network.kill(A)
        live, checks = checked(w, target, (A,))
        await trio.sleep(1.0 + 2.5 + 0.1)
        [held] = w.engine.health.snapshot(trio.current_time())
        assert (held.condition, held.why) == (
            Condition.HELD_DOWN,
            "health request: Connection refused",
        )
        checks.stop()
        release(live)
