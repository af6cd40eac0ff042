"""Some of the abuses of tests.bench.abuse, in small and at once, with a good client beside."""

from __future__ import annotations

import trio

from tests.bench.abuse.content import CONTENT
from tests.bench.abuse.crowds import CROWDS
from tests.bench.abuse.heads import HEADS
from tests.bench.abuse.run import measure
from tests.bench.abuse.stage import Abuse, Outcome, Stage
from tests.support.command import needs_command

pytestmark = needs_command

SMALL = 50
"""What a crowd of 500 is here."""

AT_ONCE = (
    "slow heads",
    "100 MB line",
    "endless chunk extension",
    "endless trailers",
    "disconnects in mid-request",
)

PROMPT = 1.0
"""Seconds: a bench has bounds on time, and a machine to itself."""


async def several_at_once(stage: Stage) -> Outcome:
    abuses = [one for one in (*HEADS, *CONTENT, *CROWDS) if one.name in AT_ONCE]
    assert len(abuses) == len(AT_ONCE)
    together = Outcome("")

    async def one(abuse: Abuse) -> None:
        outcome = await abuse.run(stage)
        if outcome.cut is not None:
            outcome.require(outcome.cut <= outcome.bound, f"cut after {outcome.cut:.1f} s")
        together.failures += [f"{abuse.name}: {failure}" for failure in outcome.failures]

    async with trio.open_nursery() as nursery:
        for abuse in abuses:
            nursery.start_soon(one, abuse)
    return together


async def test_several_at_once() -> None:
    abuse = Abuse("several at once", several_at_once)
    measured = await measure(abuse, crowd=SMALL, calm=1.0, log="json")
    assert [failure for failure in measured.failures if not failure.startswith("p99 ")] == []
    assert measured.good.p99 < PROMPT
    assert len(measured.good.times) > 100
