"""Wherever a race is cancelled and whatever the servers do, nothing is left open."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.race import RaceSettings
from haclient.types import ConnectFailure, Origin
from tests.support.race_servers import (
    EXPIRED,
    HTTP,
    HTTPS,
    REFUSED,
    SILENT,
    UNREACHABLE,
    Row,
    Servers,
)


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope after so many steps of any task."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope = scope
        self.left = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


SOME_OF_EVERYTHING = [
    Row("::1", 0.0, handshake_after=0.2, handshake_error=EXPIRED),
    Row("::2", 0.1, REFUSED),
    Row("::3", 0.15, handshake_after=0.5),
    Row("::4", 0.15, handshake_after=SILENT),
    Row("::5", SILENT),
    Row("::6", 0.7),
]


@pytest.mark.parametrize(
    ("rows", "origin"),
    [
        pytest.param([Row("::1", 0.1)], HTTP, id="one"),
        pytest.param([Row("::1", SILENT)], HTTP, id="one that is silent"),
        pytest.param([Row("::1", 0.2), Row("::2", 0.1), Row("::3", 0.1)], HTTP, id="http"),
        pytest.param(SOME_OF_EVERYTHING, HTTPS, id="https"),
        pytest.param(SOME_OF_EVERYTHING[:2] + SOME_OF_EVERYTHING[3:5], HTTPS, id="all fail"),
    ],
)
def test_cancelled_at_any_step_it_closes_everything(rows: list[Row], origin: Origin) -> None:
    async def cancelled_after(steps: int) -> bool:
        servers = Servers(rows, origin)
        scope = trio.CancelScope()
        instrument = CancelAtStep(scope, steps)
        trio.lowlevel.add_instrument(instrument)
        with scope:
            await servers.race()
        trio.lowlevel.remove_instrument(instrument)
        if scope.cancelled_caught:
            assert all(transport.closed_at is not None for transport in servers.transports)
        return scope.cancelled_caught

    def run(steps: int) -> bool:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(cancelled_after, steps, clock=clock)

    # Trio runs its tasks in a random order, so the number of steps varies a little.
    cancelled, finished, steps = 0, 0, 0
    while finished < 3:
        steps += 1
        was_cancelled = run(steps)
        cancelled += was_cancelled
        finished += not was_cancelled
    assert cancelled >= len(rows)


ticks = st.integers(0, 10).map(lambda count: count / 8)
errors = st.sampled_from([None, None, REFUSED, UNREACHABLE])
handshake_errors = st.sampled_from([None, None, EXPIRED, trio.BrokenResourceError()])
scripts = st.lists(
    st.tuples(
        ticks | st.just(SILENT), errors, ticks | st.just(SILENT), handshake_errors, st.booleans()
    ),
    max_size=6,
)


@given(
    scripts,
    st.sampled_from([HTTP, HTTPS]),
    st.sampled_from([0.0, 0.25]),
    st.integers(1, 4),
    st.none() | st.integers(0, 24).map(lambda count: count / 8),
)
def test_whatever_the_servers_do_everything_is_closed_and_accounted_for(
    script: list[tuple[float, Exception | None, float, Exception | None, bool]],
    origin: Origin,
    delay: float,
    width: int,
    cancel_after: float | None,
) -> None:
    rows = [Row(f"::{number}", *values) for number, values in enumerate(script, 1)]
    rows.sort(key=lambda row: row.is_held_down)

    async def main() -> None:
        servers = Servers(rows, origin)
        settings = RaceSettings(connection_attempt_delay=delay, width=width)
        with trio.move_on_after(math.inf if cancel_after is None else cancel_after):
            opened, attempts = await servers.race(settings)
            bound = len(rows) * (delay or settings.rest_delay) + 2 * settings.connect_timeout
            assert trio.current_time() <= bound
            if opened is None:
                assert len(attempts) == len(rows)
                assert all(one.failure not in {None, ConnectFailure.LOST} for one in attempts)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
