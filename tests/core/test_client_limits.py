"""What a client may keep us waiting for: what a look asks, and what its answer means."""

from __future__ import annotations

import math

import pytest

from haclient.core.client_limits import LEAVES_NOTICED_AFTER, ClientLimits, Look

ASKED_LATELY, ASKED_LONG_AGO = 10.0 - LEAVES_NOTICED_AFTER / 2, 10.0 - LEAVES_NOTICED_AFTER


@pytest.mark.parametrize(
    ("deadline", "is_turn", "asked_at", "is_draining", "expected"),
    [
        pytest.param(math.inf, False, None, False, None, id="nobody waits"),
        pytest.param(10.5, False, None, False, None, id="before its limit"),
        pytest.param(10.0, False, None, False, Look.EXPIRE, id="at its limit"),
        pytest.param(9.0, True, ASKED_LONG_AGO, True, Look.EXPIRE, id="a limit comes first"),
        pytest.param(math.inf, True, None, False, Look.SEE_MOVEMENT, id="a turn without a request"),
        pytest.param(math.inf, True, ASKED_LONG_AGO, True, Look.SEE_MOVEMENT, id="an upload"),
        pytest.param(math.inf, False, ASKED_LATELY, False, None, id="a quick request"),
        pytest.param(math.inf, False, ASKED_LONG_AGO, False, Look.SEE_CLIENT, id="a slow request"),
        pytest.param(math.inf, False, ASKED_LONG_AGO, True, Look.SEE_CLIENT, id="also in a drain"),
        pytest.param(75.0, False, None, True, Look.SEE_GRACE, id="a drain between two requests"),
    ],
)
def test_what_a_look_asks(
    deadline: float, is_turn: bool, asked_at: float | None, is_draining: bool, expected: Look | None
) -> None:
    limits = ClientLimits()
    limits.deadline = deadline
    if is_turn:
        limits.begin_turn(9.0)
    assert limits.look(10.0, asked_at, is_draining=is_draining) is expected


@pytest.mark.parametrize(
    ("asked_at", "is_draining", "expected"),
    [
        pytest.param(ASKED_LATELY, False, None, id="not for long"),
        pytest.param(ASKED_LONG_AGO, False, Look.SEE_CLIENT, id="for long"),
        pytest.param(ASKED_LATELY, True, Look.SEND_AWAY, id="in a drain"),
    ],
)
def test_what_a_look_asks_of_one_in_line(
    asked_at: float, is_draining: bool, expected: Look | None
) -> None:
    limits = ClientLimits()
    found = limits.look(10.0, asked_at, is_draining=is_draining, is_in_line=True)
    assert found is expected


def test_a_turn_lasts_until_all_have_ended_theirs() -> None:
    limits = ClientLimits()
    limits.begin_turn(0.0)
    limits.begin_turn(1.0)
    limits.end_turn()
    assert limits.look(2.0, None, is_draining=False) is Look.SEE_MOVEMENT
    assert str(limits) == "<ClientLimits until inf, 1 turns of the client's>"
    limits.end_turn()
    assert limits.look(2.0, None, is_draining=False) is None


def test_who_moves_a_byte_now_and_then_is_waited_for() -> None:
    limits = ClientLimits()
    limits.begin_turn(0.0)
    for now in range(0, 1000, 29):
        assert not limits.has_stalled(float(now), now + 1, 30.0)


def test_who_moves_none_has_stalled() -> None:
    limits = ClientLimits()
    limits.begin_turn(0.0)
    assert not limits.has_stalled(5.0, 100, 30.0)
    assert not limits.has_stalled(34.9, 100, 30.0)
    assert limits.has_stalled(35.0, 100, 30.0)


def test_patience_begins_anew_with_each_turn() -> None:
    limits = ClientLimits()
    limits.begin_turn(0.0)
    assert not limits.has_stalled(5.0, 100, 30.0)
    limits.end_turn()
    limits.begin_turn(500.0)
    assert not limits.has_stalled(529.9, 100, 30.0)
    assert limits.has_stalled(530.0, 100, 30.0)


def test_the_grace_counts_from_the_first_look_at_a_drain() -> None:
    limits = ClientLimits()
    assert not limits.is_grace_over(100.0, 0.5)
    assert not limits.is_grace_over(100.25, 0.5)
    assert limits.is_grace_over(100.5, 0.5)
