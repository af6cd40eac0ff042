"""Whatever health requests are answered, every request is, and what was thought of a server passes again."""

from __future__ import annotations

import itertools

import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.health_check import JITTER, Opinion
from haclient.core.spec import HealthRequests, Target
from haclient.engine.checks import Checks
from tests.engine.world import world
from tests.sim.origin import ReceivedRequest, Reply, SimOrigin

HEALTH = HealthRequests(path="/health", interval=5.0, timeout=2.0)
TARGET = Target(
    urls=["http://a.test/"], backups=["http://b.test/"], health=HEALTH, pool_idle_timeout=0.5
)

FIT_AGAIN_WITHIN = (1 + JITTER) * HEALTH.interval + HEALTH.successes * HEALTH.timeout

LASTS = 40.0
"""Seconds; eight health requests to each server, or more."""

NEVER = Reply(think=1e6)
ANSWERS = [Reply(200), Reply(404), Reply(500), Reply(503), NEVER]


def says_of_its_health(origin: SimOrigin, answers: list[Reply]) -> None:
    """These by turns; its users' requests it answers, after a second and a half."""
    turns = itertools.cycle(answers)

    def reply(request: ReceivedRequest) -> Reply:
        return next(turns) if request.target == b"/health" else Reply(think=1.5)

    origin.reply = reply


@given(
    of_a=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=6),
    of_b=st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=6),
    pause=st.sampled_from([0.0, 1.0, 7.0]),
    chance=st.floats(0, 1, exclude_max=True),
)
@example([Reply(503)], [Reply(503)], 0.0, 0.5)
@example([Reply(503)], [Reply(503)], 1.0, 0.5)  # with no idle connection at hand
@example([NEVER], [NEVER], 7.0, 0.5)
@example([Reply(503)], [NEVER], 7.0, 0.5)
def test_nobody_goes_unanswered_and_fitness_returns(
    of_a: list[Reply], of_b: list[Reply], pause: float, chance: float
) -> None:
    async def main() -> set[Opinion]:
        seen: set[Opinion] = set()
        async with world() as w:
            w.engine.chance = lambda: chance
            live = w.client._live_for(TARGET, TARGET)
            says_of_its_health(w.a, of_a)
            says_of_its_health(w.b, of_b)
            checks = Checks(live)
            checks.start()
            while trio.current_time() < LASTS:
                outcome = await w.ask("GET", target=TARGET)
                assert outcome.error is None
                seen |= set(live.unfit.values()) if len(live.unfit) == 2 else set()
                await trio.sleep(pause)
            w.a.reply = w.b.reply = Reply()
            await trio.sleep(FIT_AGAIN_WITHIN)
            assert live.unfit == {}
            assert (await w.ask("GET", target=TARGET)).server == "a"
            checks.stop()
        return seen

    both_unfit = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    if {*of_a, *of_b} == {Reply(503)}:
        assert both_unfit == {Opinion.UNAVAILABLE}
