"""The attempts of an exchange, told also to a caller who does not wait for its end."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from haclient.core.idempotency import RequestFacts
from haclient.engine.attempt import Attempt
from haclient.engine.course import Course
from haclient.engine.exchange import exchange
from haclient.engine.outcome import Request
from haclient.engine.replay import as_content
from haclient.types import Verdict
from tests.engine.world import SILENT, TWO, A, B, World, world


def a_get() -> Request:
    return Request("GET", "/", (), as_content(None, 0), RequestFacts("GET"))


def endings(attempts: list[Attempt]) -> list[tuple[object, object]]:
    return [(one.record.endpoint, one.record.verdict) for one in attempts if one.record is not None]


async def cancelled_after(w: World, seconds: float) -> list[Attempt]:
    attempts: list[Attempt] = []
    live = w.client._live_for(TWO, TWO)
    with trio.move_on_after(seconds):
        await exchange(live, a_get(), attempts=attempts)
    return attempts


async def test_a_caller_that_leaves_knows_what_was_tried(autojump_clock: MockClock) -> None:
    async with world(SILENT) as w:
        w.b.script(SILENT)
        attempts = await cancelled_after(w, 1.5)
    assert endings(attempts) == [(A, Verdict.CANCELLED), (B, Verdict.CANCELLED)]


async def test_one_that_leaves_sooner(autojump_clock: MockClock) -> None:
    async with world(SILENT) as w:
        attempts = await cancelled_after(w, 0.5)
    assert endings(attempts) == [(A, Verdict.CANCELLED)]


async def test_the_end_is_told_once(autojump_clock: MockClock) -> None:
    async with world() as w:
        told: list[object] = []
        course = Course(w.client._live_for(TWO, TWO), a_get(), told.append)
        await course.run()
        course.close()
        course.tell_end(None)
        seen = len(told)
        course._attempts[0].abandon(Verdict.ANSWERED)
        assert course.records()[0].verdict is Verdict.ANSWERED
        assert len(told) == seen + 1  # the attempt's own end
