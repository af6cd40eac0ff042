"""What follows from health requests, result by result, at exact times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.health_check import (
    Clear,
    HealthCheck,
    Opinion,
    Result,
    Suspect,
    result_of,
)
from haclient.core.spec import HealthRequests
from haclient.types import Evidence, EvidenceKind

OK, REJECTED, UNAVAILABLE = Result.OK, Result.REJECTED, Result.UNAVAILABLE
SILENT, BROKEN, NOT_CONNECTED = Result.SILENT, Result.BROKEN, Result.NOT_CONNECTED

SETTINGS = HealthRequests(path="/health")

MIDDLE = 0.5
"""Of chance: an interval is as long as it says."""


class Course:
    """A machine, and a clock that goes on as the results come."""

    def __init__(self, settings: HealthRequests = SETTINGS) -> None:
        self.check = HealthCheck(settings, 0.0, MIDDLE)
        self.settings = settings
        self.now = 0.0

    def begin(self) -> None:
        self.now = self.check.due_at
        self.check.began(self.now)

    def end(self, result: Result, chance: float = MIDDLE) -> tuple[object, ...]:
        """Of the one under way: silence takes the timeout, all else nothing."""
        self.now += self.settings.timeout if result is SILENT else 0.0
        return self.check.ended(result, self.now, chance)

    def run(self, *results: Result) -> list[tuple[object, ...]]:
        told = []
        for result in results:
            self.begin()
            told.append(self.end(result))
        return told

    def thinks(self) -> Opinion:
        return self.check.opinion


def suspect(count: int, lasted: float, since: float) -> Suspect:
    return Suspect(Evidence(EvidenceKind.HEALTH_REQUESTS, count, lasted, "/health"), since)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, OK),
        (204, OK),
        (302, OK),
        (399, OK),
        (400, REJECTED),
        (404, REJECTED),
        (499, REJECTED),
        (500, UNAVAILABLE),
        (503, UNAVAILABLE),
        (999, UNAVAILABLE),
    ],
)
def test_what_a_status_says(status: int, result: Result) -> None:
    assert result_of(status) is result


def test_it_is_well_after_as_many_good_ones_in_a_row_as_make_it_fit() -> None:
    course = Course()
    seen = []
    for result in (OK, REJECTED, NOT_CONNECTED, UNAVAILABLE, OK, OK):
        course.run(result)
        seen.append(course.check.is_well)
    assert seen == [False, True, True, False, False, True]


def test_what_failed_between_two_good_ones_makes_them_no_row() -> None:
    course = Course()
    course.run(OK)
    for generation, is_well in ((1, False), (1, True), (2, False), (2, True)):
        course.now = course.check.due_at
        course.check.began(course.now, generation)
        course.end(OK)
        assert course.check.is_well is is_well


def test_how_far_a_row_has_come() -> None:
    course = Course()
    assert course.check.progress is None
    seen: list[tuple[int, int] | None] = []
    for result in (OK, OK, UNAVAILABLE, UNAVAILABLE, OK, SILENT, SILENT):
        course.run(result)
        seen.append(course.check.progress)
    assert seen == [(1, 2), None, (1, 2), None, (1, 2), (1, 2), None]


def test_the_first_one_is_somewhere_within_the_interval() -> None:
    assert HealthCheck(SETTINGS, 10.0, 0.0).due_at == 10.0
    assert HealthCheck(SETTINGS, 10.0, 0.5).due_at == 12.5


def test_all_is_well() -> None:
    course = Course()
    assert course.run(OK, REJECTED, OK) == [(), (), ()]
    assert course.thinks() is Opinion.FIT
    assert course.check.due_at == 2.5 + 3 * 5.0


def test_the_interval_is_jittered_by_a_tenth() -> None:
    course = Course()
    course.begin()
    course.end(OK, chance=0.0)
    assert course.check.due_at == pytest.approx(2.5 + 4.5)
    course.begin()
    course.end(OK, chance=1.0)
    assert course.check.due_at == pytest.approx(2.5 + 4.5 + 5.5)


def test_two_silences_in_a_row_make_a_suspect_and_each_further_one_says_so_again() -> None:
    course = Course()
    # The second follows at once; from then on as usual.
    assert course.run(SILENT, SILENT, SILENT) == [
        (),
        (suspect(2, 4.0, 2.5),),
        (suspect(3, 9.0, 4.5),),
    ]
    assert course.thinks() is Opinion.SILENT
    assert course.now == 2.5 + 2.0 + 5.0 + 2.0


def test_whoever_has_waited_during_as_many_as_it_takes_may_be_with_a_hung_process() -> None:
    """`since` moves on: no byte that came during the first of them is a sign of life for ever."""
    course = Course(HealthRequests(path="/health", failures=3))
    began = []
    for count in range(1, 7):
        course.begin()
        began.append(course.now)
        told = course.end(SILENT)
        expected = [suspect(count, course.now - began[0], began[-3])] if count >= 3 else []
        assert list(told) == expected


@pytest.mark.parametrize("result", [OK, REJECTED])
def test_an_answer_ends_the_suspicion_and_the_second_the_opinion(result: Result) -> None:
    course = Course()
    course.run(SILENT, SILENT)
    assert course.run(result) == [(Clear(),)]
    assert course.thinks() is Opinion.SILENT
    answered_at = course.now
    assert course.run(result) == [()]
    assert course.now == answered_at + 2.0  # sooner than the interval
    assert course.thinks() is Opinion.FIT


def test_a_silence_between_answers_is_none() -> None:
    course = Course()
    assert course.run(SILENT, OK, SILENT, OK) == [(), (), (), ()]
    assert course.thinks() is Opinion.FIT


@pytest.mark.parametrize("result", [UNAVAILABLE, BROKEN])
def test_two_refusals_in_a_row_are_heeded_and_suspect_nobody(result: Result) -> None:
    course = Course()
    assert course.run(result) == [()]
    assert course.thinks() is Opinion.FIT
    assert course.run(result) == [()]
    assert course.thinks() is Opinion.UNAVAILABLE
    course.run(OK)
    assert course.thinks() is Opinion.UNAVAILABLE
    course.run(OK)
    assert course.thinks() is Opinion.FIT


def test_silence_and_refusal_by_turns_are_no_silence() -> None:
    course = Course()
    assert course.run(UNAVAILABLE, SILENT) == [(), ()]
    assert course.thinks() is Opinion.UNAVAILABLE
    course.run(UNAVAILABLE, SILENT)
    assert course.thinks() is Opinion.UNAVAILABLE


def test_a_silent_one_that_refuses_is_heard() -> None:
    course = Course()
    course.run(SILENT, SILENT)
    assert course.run(UNAVAILABLE) == [(Clear(),)]
    assert course.thinks() is Opinion.UNAVAILABLE


@pytest.mark.parametrize("before", [(SILENT, SILENT), (UNAVAILABLE, UNAVAILABLE)])
def test_silence_on_the_way_back_is_found_out_as_soon_as_at_first(
    before: tuple[Result, Result],
) -> None:
    """Requests may be outstanding there: its own clients', or everybody's where nobody else is."""
    course = Course()
    course.run(*before, OK)
    answered_at = course.now
    began_at = course.check.due_at
    assert course.run(SILENT, SILENT)[-1] == (suspect(2, 4.0, began_at),)
    assert began_at == answered_at + 2.0
    assert course.now == began_at + 2 * 2.0


def test_a_refusal_on_the_way_back_is_one() -> None:
    course = Course()
    course.run(SILENT, SILENT, OK, UNAVAILABLE)
    assert course.thinks() is Opinion.SILENT
    course.run(UNAVAILABLE)
    assert course.thinks() is Opinion.UNAVAILABLE


def test_a_connect_that_failed_says_nothing_of_the_application() -> None:
    course = Course()
    assert course.run(SILENT, NOT_CONNECTED, SILENT) == [(), (), (suspect(2, 6.0, 2.5),)]
    assert course.run(NOT_CONNECTED) == [()]
    assert course.thinks() is Opinion.SILENT


def test_who_answers_a_request_is_not_silent() -> None:
    course = Course()
    course.run(SILENT, SILENT)
    assert course.check.heard(course.now) == (Clear(),)
    assert course.thinks() is Opinion.FIT
    assert course.check.heard(course.now) == ()
    assert course.run(SILENT) == [()]
    assert course.thinks() is Opinion.FIT


def test_an_answer_before_the_second_silence_breaks_the_row() -> None:
    course = Course()
    course.run(SILENT)
    course.check.heard(course.now - 1.0)
    assert course.run(SILENT) == [()]
    assert course.thinks() is Opinion.FIT


def test_a_health_request_during_which_one_was_answered_waited_its_turn() -> None:
    course = Course()
    course.run(SILENT)
    course.begin()
    course.check.heard(course.now + 1.0)
    assert course.end(SILENT) == ()
    assert course.thinks() is Opinion.FIT
    # And it is no reason to ask again sooner.
    assert course.check.due_at == course.now - 2.0 + 5.0


def test_answers_to_requests_do_not_gainsay_a_refusal() -> None:
    course = Course()
    course.run(UNAVAILABLE, UNAVAILABLE)
    assert course.check.heard(course.now) == ()
    assert course.thinks() is Opinion.UNAVAILABLE


def test_a_slow_interval_never_makes_two_at_a_time() -> None:
    course = Course(HealthRequests(path="/", interval=1.0, timeout=3.0))
    course.begin()
    course.end(SILENT)
    assert course.check.due_at == course.now


def test_one_failure_and_one_success_are_enough_where_it_says_so() -> None:
    course = Course(HealthRequests(path="/health", failures=1, successes=1))
    assert course.run(SILENT, OK) == [(suspect(1, 2.0, 2.5),), (Clear(),)]
    assert course.thinks() is Opinion.FIT


def test_the_evidence_in_words() -> None:
    one = Evidence(EvidenceKind.HEALTH_REQUESTS, 1, 2.04, "/health")
    two = Evidence(EvidenceKind.HEALTH_REQUESTS, 2, 4.0, "/health")
    assert one.is_of_health
    assert str(one) == "application silent: 1 health request to /health unanswered for 2.0 s"
    assert str(two) == "application silent: 2 health requests to /health unanswered for 4.0 s"


def test_its_repr() -> None:
    course = Course()
    course.run(SILENT)
    assert repr(course.check) == "<HealthCheck fit, 1 bad, 0 good>"


@given(
    st.lists(st.sampled_from([*Result, "heard"]), max_size=30),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_suspicion_is_only_of_the_silent_and_every_opinion_ends(
    steps: list[Result | str], failures: int, successes: int
) -> None:
    course = Course(HealthRequests(path="/", failures=failures, successes=successes))
    silent: list[float] = []  # when those in a row began
    heard_at = -1.0
    for step in steps:
        if isinstance(step, Result):
            course.begin()
            if step is SILENT and heard_at < course.now:
                silent.append(course.now)
            elif step not in (SILENT, NOT_CONNECTED):
                silent.clear()
            for one in course.end(step):
                if isinstance(one, Suspect):
                    assert course.thinks() is Opinion.SILENT
                    assert one.evidence.count >= failures
                    assert one.since == silent[-failures]
                    assert silent[0] + one.evidence.silent_for == pytest.approx(course.now)
        else:
            heard_at = course.now
            silent.clear()
            course.check.heard(heard_at)
            assert course.thinks() is not Opinion.SILENT
        assert course.check.due_at >= course.now
    course.run(*[OK] * successes)
    assert course.thinks() is Opinion.FIT
