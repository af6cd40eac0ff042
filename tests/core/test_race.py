"""The race, step by step: an event with its instant, and exactly what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

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

PLAIN = Entrant()
SECURE = Entrant(needs_handshake=True)
HELD_DOWN = Entrant(is_held_down=True)

ALL_AT_ONCE = RaceSettings()
STAGGERED = RaceSettings(connection_attempt_delay=0.25)
NARROW = RaceSettings(width=2)
IMPATIENT = RaceSettings(connect_timeout=0.3)

LOST = ConnectFailure.LOST
TIMED_OUT = ConnectFailure.TIMED_OUT

Event = Callable[[Race], tuple[Action, ...]]
Script = Sequence[tuple[Event, tuple[Action, ...]]]


def begin(now: float) -> Event:
    return lambda race: race.begin(now)


def connected(index: int, now: float) -> Event:
    return lambda race: race.connected(index, now)


def connect_failed(index: int, now: float) -> Event:
    return lambda race: race.connect_failed(index, now)


def handshake_done(index: int, now: float) -> Event:
    return lambda race: race.handshake_done(index, now)


def handshake_failed(index: int, now: float) -> Event:
    return lambda race: race.handshake_failed(index, now)


def woke(now: float) -> Event:
    return lambda race: race.woke(now)


def play(entrants: Sequence[Entrant], settings: RaceSettings, script: Script) -> Race:
    race = Race(entrants, settings)
    for number, (event, expected) in enumerate(script, 1):
        assert event(race) == expected, f"step {number}"
    return race


@pytest.mark.parametrize(
    ("entrants", "settings", "script"),
    [
        pytest.param(
            [],
            ALL_AT_ONCE,
            [(begin(0.0), (AllFailed(),))],
            id="nobody to race is a race that failed",
        ),
        pytest.param(
            [PLAIN],
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), WakeAt(1.0))),
                (connected(0, 0.5), (Won(0),)),
            ],
            id="a single one wins by connecting",
        ),
        pytest.param(
            [PLAIN] * 3,
            ALL_AT_ONCE,
            [
                (begin(5.0), (StartConnect(0), StartConnect(1), StartConnect(2), WakeAt(6.0))),
                (connected(1, 5.2), (Abandon(0, LOST), Abandon(2, LOST), Won(1))),
            ],
            id="all start at once and the losers are abandoned as soon as one is connected",
        ),
        pytest.param(
            [PLAIN] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connect_failed(0, 0.1), ()),
                (connect_failed(1, 0.2), (AllFailed(),)),
            ],
            id="all refused is a race that failed",
        ),
        pytest.param(
            [PLAIN] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (woke(1.0), (Abandon(0, TIMED_OUT), Abandon(1, TIMED_OUT), AllFailed())),
            ],
            id="silence fails when connect_timeout has passed",
        ),
        pytest.param(
            [PLAIN] * 4,
            NARROW,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(0.05))),
                (woke(0.05), (StartConnect(2), WakeAt(0.1))),
                (woke(0.1), (StartConnect(3), WakeAt(1.0))),
            ],
            id="beyond the width one starts each 50 ms",
        ),
        pytest.param(
            [PLAIN] * 4,
            NARROW,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(0.05))),
                (connect_failed(1, 0.01), (StartConnect(2), WakeAt(0.01 + 0.05))),
                (woke(0.01 + 0.05), (StartConnect(3), WakeAt(1.0))),
            ],
            id="beyond the width a failure starts the next at once, and the 50 ms anew",
        ),
        pytest.param(
            [PLAIN, PLAIN, HELD_DOWN],
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(0.05))),
                (woke(0.05), (StartConnect(2), WakeAt(1.0))),
                (connected(2, 0.06), (Abandon(0, LOST), Abandon(1, LOST), Won(2))),
            ],
            id="one that is held down starts after the burst, and may win",
        ),
        pytest.param(
            [HELD_DOWN, HELD_DOWN],
            ALL_AT_ONCE,
            [(begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0)))],
            id="where all are held down all start at once",
        ),
        pytest.param(
            [PLAIN, HELD_DOWN],
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), WakeAt(0.05))),
                (connect_failed(0, 0.001), (StartConnect(1), WakeAt(0.001 + 1.0))),
            ],
            id="one that is held down starts at once when the others have failed",
        ),
        pytest.param(
            [PLAIN] * 3,
            STAGGERED,
            [
                (begin(0.0), (StartConnect(0), WakeAt(0.25))),
                (woke(0.25), (StartConnect(1), WakeAt(0.5))),
                (woke(0.5), (StartConnect(2), WakeAt(1.0))),
                (connected(0, 0.75), (Abandon(1, LOST), Abandon(2, LOST), Won(0))),
            ],
            id="with a delay one starts after another, and the earlier ones are kept going",
        ),
        pytest.param(
            [PLAIN] * 3,
            STAGGERED,
            [
                (begin(0.0), (StartConnect(0), WakeAt(0.25))),
                (connect_failed(0, 0.1), (StartConnect(1), WakeAt(0.1 + 0.25))),
                (woke(0.1 + 0.25), (StartConnect(2), WakeAt(0.1 + 1.0))),
            ],
            id="with a delay a failure starts the next at once, and the delay anew",
        ),
        pytest.param(
            [PLAIN] * 3,
            STAGGERED,
            [
                (begin(0.0), (StartConnect(0), WakeAt(0.25))),
                (woke(0.9), (StartConnect(1), WakeAt(0.9 + 0.25))),
                (woke(0.9 + 0.25), (StartConnect(2), WakeAt(1.0 + 0.65))),
            ],
            id="a late wake-up starts one, not all that it missed",
        ),
        pytest.param(
            [SECURE] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connected(1, 0.02), (StartHandshake(1),)),
                (connected(0, 0.03), (WakeAt(0.02 + 0.25),)),
                (handshake_done(1, 0.08), (Abandon(0, LOST), Won(1))),
            ],
            id="the first connected starts its handshake and the second is spared one",
        ),
        pytest.param(
            [SECURE] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connected(0, 0.0), (StartHandshake(0),)),
                (connected(1, 0.1), (WakeAt(0.25),)),
                (handshake_failed(0, 0.2), (StartHandshake(1), WakeAt(0.2 + 1.0))),
                (handshake_done(1, 0.3), (Won(1),)),
            ],
            id="a failed handshake gives the next one its turn at once",
        ),
        pytest.param(
            [SECURE] * 3,
            ALL_AT_ONCE,
            [
                (
                    begin(0.0),
                    (StartConnect(0), StartConnect(1), StartConnect(2), WakeAt(1.0)),
                ),
                (connected(0, 0.0), (StartHandshake(0),)),
                (connected(1, 0.0), (WakeAt(0.25),)),
                (connected(2, 0.0), ()),
                (woke(0.25), (StartHandshake(1), WakeAt(0.5))),
                (woke(0.5), (StartHandshake(2), WakeAt(1.0))),
                (woke(1.0), (Abandon(0, TIMED_OUT), WakeAt(1.25))),
                (woke(1.25), (Abandon(1, TIMED_OUT), WakeAt(1.5))),
                (woke(1.5), (Abandon(2, TIMED_OUT), AllFailed())),
            ],
            id="a silent handshake holds the next one up for 250 ms only, and has its own time-out",
        ),
        pytest.param(
            [SECURE] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connected(0, 0.0), (StartHandshake(0),)),
                (handshake_failed(0, 0.1), ()),
                (connected(1, 0.11), (StartHandshake(1), WakeAt(0.11 + 1.0))),
            ],
            id="after a failed handshake the next to connect waits for nobody",
        ),
        pytest.param(
            [SECURE] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connected(0, 0.0), (StartHandshake(0),)),
                (connected(1, 0.5), (StartHandshake(1),)),
            ],
            id="one that connects when 250 ms are over starts its handshake at once",
        ),
        pytest.param(
            [SECURE] * 3,
            IMPATIENT,
            [
                (
                    begin(0.0),
                    (StartConnect(0), StartConnect(1), StartConnect(2), WakeAt(0.3)),
                ),
                (connected(0, 0.1), (StartHandshake(0),)),
                (connected(1, 0.1), ()),
                (connected(2, 0.2), ()),
                (woke(0.3), (StartHandshake(1), StartHandshake(2), WakeAt(0.1 + 0.3))),
            ],
            id="nobody waits for a turn longer than connect_timeout after its start",
        ),
        pytest.param(
            [SECURE] * 3,
            RaceSettings(width=2, connect_timeout=0.2),
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(0.05))),
                (woke(0.05), (StartConnect(2), WakeAt(0.2))),
                (connected(0, 0.1), (StartHandshake(0),)),
                (connected(2, 0.15), ()),
                (connected(1, 0.16), ()),
                (woke(0.2), (StartHandshake(1), WakeAt(0.05 + 0.2))),
            ],
            id="whose time is up goes before one that has waited longer",
        ),
        pytest.param(
            [SECURE, PLAIN],
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connected(0, 0.01), (StartHandshake(0),)),
                (connected(1, 0.02), (Abandon(0, LOST), Won(1))),
            ],
            id="a plain one wins while another is in its handshake",
        ),
        pytest.param(
            [SECURE] * 2,
            STAGGERED,
            [
                (begin(0.0), (StartConnect(0), WakeAt(0.25))),
                (connected(0, 0.05), (StartHandshake(0),)),
                (handshake_failed(0, 0.1), (StartConnect(1), WakeAt(0.1 + 1.0))),
            ],
            id="with a delay a failed handshake starts the next connect at once",
        ),
        pytest.param(
            [PLAIN] * 2,
            ALL_AT_ONCE,
            [
                (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(1.0))),
                (connected(1, 7.0), (Abandon(0, LOST), Won(1))),
            ],
            id="a connect reported late is not taken for one that timed out",
        ),
    ],
)
def test_race_goes_by_the_table(
    entrants: Sequence[Entrant], settings: RaceSettings, script: Script
) -> None:
    play(entrants, settings, script)


def test_wake_ups_before_during_and_after_the_race_do_no_harm() -> None:
    race = Race([PLAIN] * 2, STAGGERED)
    assert race.woke(0.0) == ()
    assert race.begin(1.0) == (StartConnect(0), WakeAt(1.25))
    assert race.woke(1.1) == (WakeAt(1.25),)
    assert race.woke(0.5) == (WakeAt(1.25),)
    assert race.connected(0, 1.2) == (Won(0),)
    assert race.woke(99.0) == ()


@pytest.mark.parametrize(
    "report",
    [connected, connect_failed, handshake_done, handshake_failed],
    ids=lambda report: str(report.__name__),
)
def test_news_of_one_that_is_over_changes_nothing(report: Callable[[int, float], Event]) -> None:
    race = play(
        [PLAIN] * 3,
        NARROW,
        [
            (begin(0.0), (StartConnect(0), StartConnect(1), WakeAt(0.05))),
            (connect_failed(0, 0.0), (StartConnect(2), WakeAt(1.0))),
        ],
    )
    assert report(0, 0.1)(race) == ()
    assert race.connected(1, 0.2) == (Abandon(2, LOST), Won(1))
    assert report(2, 0.3)(race) == ()


@pytest.mark.parametrize(
    ("event", "says"),
    [
        pytest.param(connected(1, 0.1), "entrant 1 is not started, not connecting", id="no start"),
        pytest.param(connect_failed(1, 0.1), "entrant 1 is not started", id="no start, failed"),
        pytest.param(handshake_done(0, 0.1), "entrant 0 is connecting, not handshaking", id="done"),
        pytest.param(handshake_failed(0, 0.1), "entrant 0 is connecting", id="handshake failed"),
        pytest.param(begin(0.1), "begun already", id="begun twice"),
    ],
)
def test_a_report_of_what_was_not_asked_for_is_the_drivers_mistake(event: Event, says: str) -> None:
    race = play([PLAIN] * 2, STAGGERED, [(begin(0.0), (StartConnect(0), WakeAt(0.25)))])
    with pytest.raises(RuntimeError, match=says):
        event(race)


def test_a_race_that_failed_cannot_begin_again() -> None:
    race = Race([], ALL_AT_ONCE)
    race.begin(0.0)
    with pytest.raises(RuntimeError, match="begun already"):
        race.begin(1.0)


def test_a_width_of_nobody_is_turned_away() -> None:
    with pytest.raises(ValueError, match="width must be at least 1, not 0"):
        RaceSettings(width=0)


def test_repr_counts_the_entrants_by_state() -> None:
    race = Race([SECURE] * 3, NARROW)
    assert repr(race) == "<Race on: 3 not started>"
    race.begin(0.0)
    race.connected(0, 0.01)
    assert repr(race) == "<Race on: 1 not started, 1 connecting, 1 handshaking>"
    race.handshake_done(0, 0.02)
    assert repr(race) == "<Race over: 3 over>"
    assert race.is_over
    assert repr(Race([], NARROW)) == "<Race on: no entrants>"


def test_a_pause_of_our_own_is_held_against_nobody() -> None:
    race = Race([Entrant(needs_handshake=True)], RaceSettings(connect_timeout=1.0))
    race.begin(0.0)
    race.connected(0, 0.1)
    assert race.woke(5.1) == (WakeAt(5.35),), "4 s late: what came in is read first"
    assert race.woke(5.35) == (Abandon(0, ConnectFailure.TIMED_OUT), AllFailed())
