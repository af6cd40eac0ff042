"""Whatever the servers do and whenever they do it, the race keeps its promises.

A small world plays the driver: it carries out each action, lets the connects and handshakes take
the time that Hypothesis drew for them, and calls `woke` at the alarm and at moments nobody asked
for.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from hypothesis import given
from hypothesis import strategies as st

from haclient.core.race import (
    Abandon,
    Action,
    AllFailed,
    Entrant,
    Race,
    RaceSettings,
    StartConnect,
    StartHandshake,
    WakeAt,
    Won,
)
from haclient.types import ConnectFailure

# Eighths of a second add up without rounding, so that the properties may compare exactly.
TICK = 0.125


@dataclass(frozen=True)
class Fate:
    """What becomes of one entrant; None is silence."""

    entrant: Entrant
    connect_after: float | None
    connect_succeeds: bool
    handshake_after: float | None
    handshake_succeeds: bool

    @property
    def is_good(self) -> bool:
        """Whether it becomes usable if it is let."""
        return self.connect_succeeds and (
            self.handshake_succeeds or not self.entrant.needs_handshake
        )


ticks = st.integers(0, 12).map(lambda count: count * TICK)
fates = st.builds(
    Fate,
    entrant=st.builds(Entrant, needs_handshake=st.booleans(), is_held_down=st.booleans()),
    connect_after=st.none() | ticks,
    connect_succeeds=st.booleans(),
    handshake_after=st.none() | ticks,
    handshake_succeeds=st.booleans(),
)
orders = st.lists(fates, max_size=12).map(
    lambda order: sorted(order, key=lambda fate: fate.entrant.is_held_down)
)
settings = st.builds(
    RaceSettings,
    connection_attempt_delay=st.sampled_from([0.0, TICK, 2 * TICK, 2.0]),
    width=st.integers(1, 5),
    connect_timeout=st.sampled_from([TICK, 8 * TICK, 16 * TICK]),
    handshake_delay=st.sampled_from([TICK, 2 * TICK, 2.0]),
    rest_delay=st.sampled_from([TICK, 2 * TICK]),
)
stray_wakes = st.lists(st.integers(0, 40).map(lambda count: count * TICK / 2), max_size=6)


class World:
    """Plays one race to its end and keeps a journal of every action with its instant."""

    def __init__(
        self, order: Sequence[Fate], settings: RaceSettings, stray: Sequence[float] = ()
    ) -> None:
        self.order = order
        self.settings = settings
        self.race = Race([fate.entrant for fate in order], settings)
        self.journal: list[tuple[float, Action]] = []
        self.failures: list[float] = []
        self.outcome: Won | AllFailed | None = None
        self.ended_at = 0.0
        self._agenda: list[tuple[float, bool, int, str, int]] = []
        self._numbers = itertools.count()
        for now in stray:
            self._plan(now, "woke", -1)
        self._play()

    def _plan(self, at: float, event: str, index: int) -> None:
        # At one and the same instant reports come before wake-ups, as the driver has it.
        entry = (at, event == "woke", next(self._numbers), event, index)
        heapq.heappush(self._agenda, entry)

    def _play(self) -> None:
        self._carry_out(0.0, self.race.begin(0.0))
        steps = 0
        while self._agenda and self.outcome is None:
            steps += 1
            assert steps < 1000, "the race does not end"
            now, _, _, event, index = heapq.heappop(self._agenda)
            if event == "woke":
                actions = self.race.woke(now)
            else:
                if event.endswith("failed") and not self._is_abandoned(index):
                    self.failures.append(now)
                actions = getattr(self.race, event)(index, now)
            self._carry_out(now, actions)
        for _, _, _, event, index in self._agenda:
            # The rest of the news comes too late, and changes nothing.
            late = self.race.woke(99.0) if index < 0 else getattr(self.race, event)(index, 99.0)
            assert late == ()

    def _is_abandoned(self, index: int) -> bool:
        return any(
            isinstance(action, Abandon) and action.index == index for _, action in self.journal
        )

    def _carry_out(self, now: float, actions: tuple[Action, ...]) -> None:
        for action in actions:
            assert self.outcome is None, "the outcome is the last action"
            self.journal.append((now, action))
            match action:
                case StartConnect(index):
                    fate = self.order[index]
                    if fate.connect_after is not None:
                        event = "connected" if fate.connect_succeeds else "connect_failed"
                        self._plan(now + fate.connect_after, event, index)
                case StartHandshake(index):
                    fate = self.order[index]
                    if fate.handshake_after is not None:
                        event = "handshake_done" if fate.handshake_succeeds else "handshake_failed"
                        self._plan(now + fate.handshake_after, event, index)
                case Abandon(_, failure):
                    if failure is ConnectFailure.TIMED_OUT:
                        self.failures.append(now)
                case WakeAt(instant):
                    self._plan(instant, "woke", -1)
                case Won() | AllFailed():
                    self.outcome = action
                    self.ended_at = now
                case _:
                    assert_never(action)

    def times(self, kind: type[StartConnect | StartHandshake]) -> dict[int, float]:
        """When each index was told to."""
        found = [(a.index, now) for now, a in self.journal if isinstance(a, kind)]
        assert len(found) == len(dict(found)), "nobody is told twice"
        return dict(found)

    def abandoned(self, failure: ConnectFailure) -> list[int]:
        return [
            action.index
            for _, action in self.journal
            if isinstance(action, Abandon) and action.failure is failure
        ]

    @property
    def gap(self) -> float:
        return self.settings.connection_attempt_delay or self.settings.rest_delay

    @property
    def fit(self) -> int:
        """How many are not held down, or everybody where all are."""
        return sum(not fate.entrant.is_held_down for fate in self.order) or len(self.order)

    @property
    def burst(self) -> int:
        if self.settings.connection_attempt_delay:
            return min(1, len(self.order))
        return min(self.fit, self.settings.width)


@given(orders, settings, stray_wakes)
def test_every_race_ends_and_whoever_started_is_accounted_for(
    order: list[Fate], settings: RaceSettings, stray: list[float]
) -> None:
    world = World(order, settings, stray)
    started = world.times(StartConnect)
    lost = world.abandoned(ConnectFailure.LOST)
    timed_out = world.abandoned(ConnectFailure.TIMED_OUT)
    assert len({*lost, *timed_out}) == len(lost) + len(timed_out), "nobody is abandoned twice"
    assert list(started) == list(range(len(started))), "the order is kept"
    match world.outcome:
        case Won(winner):
            assert winner in started
            assert order[winner].is_good
            assert len(world.failures) + len(lost) + 1 == len(started)
        case AllFailed():
            assert lost == []
            assert len(started) == len(order) == len(world.failures)
        case None:
            raise AssertionError("no outcome")


@given(orders, settings, stray_wakes)
def test_starts_keep_their_distance_unless_a_failure_came_between(
    order: list[Fate], settings: RaceSettings, stray: list[float]
) -> None:
    world = World(order, settings, stray)
    starts = sorted(world.times(StartConnect).values())
    assert starts[: world.burst] == [0.0] * min(world.burst, len(starts))
    credit = sorted(world.failures)
    for before, start in zip(starts[world.burst - 1 :], starts[world.burst :], strict=False):
        if start - before < world.gap:
            assert start in credit
            credit.remove(start)


@given(orders, settings, stray_wakes)
def test_no_connection_attempt_lasts_longer_than_twice_the_connect_timeout(
    order: list[Fate], settings: RaceSettings, stray: list[float]
) -> None:
    world = World(order, settings, stray)
    connects, handshakes = world.times(StartConnect), world.times(StartHandshake)
    for index, began_at in handshakes.items():
        assert began_at <= connects[index] + settings.connect_timeout
    last_start = max(len(order) - world.burst, 0) * world.gap
    assert world.ended_at <= last_start + 2 * settings.connect_timeout


@given(orders, settings, stray_wakes)
def test_handshakes_take_turns(
    order: list[Fate], settings: RaceSettings, stray: list[float]
) -> None:
    world = World(order, settings, stray)
    connects, handshakes = world.times(StartConnect), world.times(StartHandshake)
    assert all(order[index].entrant.needs_handshake for index in handshakes)
    began = sorted(handshakes.values())
    for before, (index, start) in zip(began, list(handshakes.items())[1:], strict=False):
        is_out_of_turn = start == connects[index] + settings.connect_timeout
        has_failed_since = any(before <= failure <= start for failure in world.failures)
        assert start - before >= settings.handshake_delay or is_out_of_turn or has_failed_since


@given(orders, settings)
def test_a_bad_address_never_delays_a_good_one(order: list[Fate], settings: RaceSettings) -> None:
    """A good one waits for its start and its turn, and for nothing that a bad one does."""
    world = World(order, settings)
    usable_at = [
        max(index + 1 - world.burst, 0) * world.gap
        + fate.connect_after
        # Everybody else may have a turn of its handshake first.
        + (
            fate.handshake_after + len(order) * settings.handshake_delay
            if fate.entrant.needs_handshake
            else 0.0
        )
        for index, fate in enumerate(order)
        if fate.is_good
        and fate.connect_after is not None
        and fate.handshake_after is not None
        and max(fate.connect_after, fate.handshake_after) < settings.connect_timeout
    ]
    if usable_at:
        assert isinstance(world.outcome, Won)
        assert world.ended_at <= min(usable_at)


@given(orders, settings, stray_wakes)
def test_a_stray_wake_up_changes_nothing(
    order: list[Fate], settings: RaceSettings, stray: list[float]
) -> None:
    def without_alarms(world: World) -> list[tuple[float, Action]]:
        return [entry for entry in world.journal if not isinstance(entry[1], WakeAt)]

    calm, disturbed = World(order, settings), World(order, settings, stray)
    assert disturbed.outcome == calm.outcome
    assert disturbed.ended_at == calm.ended_at
    assert sorted(without_alarms(disturbed), key=repr) == sorted(without_alarms(calm), key=repr)
