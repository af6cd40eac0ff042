"""Who is better than the server in use, and when it is tried out."""

from __future__ import annotations

import pytest

from haclient.core.balance import Candidate
from haclient.core.trial import MOST_REMEMBERED, Trials, better
from haclient.types import Endpoint, Origin

A, B, C = (Origin("http", f"{name}.test", 80) for name in "abc")
A1, A2, B1, C1 = (Endpoint(f"192.0.2.{n}", 80) for n in (1, 2, 11, 21))
KNOWN = {A: (A1, A2), B: (B1,), C: (C1,)}


@pytest.mark.parametrize(
    ("tiers", "used", "is_listed", "expected"),
    [
        pytest.param([[A, B]], B, False, [], id="of equals nobody is better"),
        pytest.param([[A, B]], B, True, [A1, A2], id="listed: the URLs before"),
        pytest.param([[A, B]], A, True, [], id="the first one has nobody before it"),
        pytest.param([[A, B], [C]], C, False, [A1, A2, B1], id="the whole tier before a backup"),
        pytest.param([[A], [B, C]], C, True, [A1, A2, B1], id="tiers, and then URLs"),
        pytest.param([[A], [B, C]], C, False, [A1, A2], id="not its equals in its own tier"),
        pytest.param([[Origin("http", "new.test", 80)], [C]], C, True, [], id="no address known"),
        pytest.param([[A]], B, False, [A1, A2], id="one that is no longer of the target"),
    ],
)
def test_better(
    tiers: list[list[Origin]], used: Origin, is_listed: bool, expected: list[Endpoint]
) -> None:
    found = better(tiers, KNOWN, used, is_listed=is_listed)
    assert [one.endpoint for one in found] == expected


ONE = [Candidate(A, A1)]


def none(_: Endpoint) -> int:
    return 0


def times(trials: Trials, failures: int, until: float) -> list[float]:
    """When trials start that end at once, where somebody asks ten times a second."""
    found = []
    for now in (n / 10 for n in range(int(until * 10))):
        if trials.due(ONE, lambda _: failures, now):
            found.append(now)
            trials.ended(A1)
    return found


def test_who_has_just_failed_has_a_second_first() -> None:
    assert times(Trials(), 1, 4.5) == [1.0, 2.0, 3.0, 4.0]


def test_who_was_only_out_of_use_is_tried_as_often() -> None:
    assert times(Trials(), 0, 2.5) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("failures", "pause"), [(2, 2.0), (3, 4.0), (4, 8.0), (5, 12.0), (50, 12.0)]
)
def test_each_failure_doubles_the_pause_to_a_fifth_of_the_longest_hold(
    failures: int, pause: float
) -> None:
    assert times(Trials(), failures, 3 * pause + 1) == [pause, 2 * pause, 3 * pause]


def test_each_endpoint_has_its_own_time() -> None:
    trials = Trials()
    assert trials.due(ONE, none, 0.0) == []
    both = [Candidate(A, A1), Candidate(A, A2)]
    assert trials.due(both, none, 1.0) == ONE
    trials.ended(A1)
    assert trials.due(both, none, 2.0) == both


def test_one_at_a_time_and_the_next_as_soon_as_it_ends() -> None:
    trials = Trials()
    assert trials.due(ONE, none, 0.0) == []
    assert trials.due(ONE, none, 1.0) == ONE
    assert trials.due(ONE, none, 2.5) == []
    trials.ended(A1)
    assert trials.due(ONE, none, 2.6) == ONE


def test_what_was_due_long_ago_begins_anew() -> None:
    trials = Trials()
    trials.due(ONE, none, 0.0)
    assert trials.due(ONE, none, 60.9) == ONE
    trials.ended(A1)
    assert trials.due(ONE, none, 200.0) == []
    assert trials.due(ONE, none, 201.0) == ONE


def test_addresses_that_came_and_went_are_forgotten() -> None:
    trials = Trials()
    for number in range(MOST_REMEMBERED + 100):
        passing = Endpoint(f"198.51.{number // 256}.{number % 256}", 80)
        trials.due([Candidate(A, passing)], none, number * 1.0)
    assert repr(trials) == "<Trials of 160 endpoints>"
