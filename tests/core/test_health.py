"""What is remembered of an endpoint: the table of the module, row by row, and its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from haclient.core.health import (
    FIRST_HOLD,
    LONGEST_HOLD,
    MAX_ENDPOINTS,
    REMEMBERED_FOR,
    SUSPECT_HOLD,
    Condition,
    EndpointHealth,
    Health,
    counts_against,
    end_counts_against,
    end_words,
    hold_after,
    is_lost,
)
from haclient.types import ConnectFailure, Endpoint, Evidence, EvidenceKind, Verdict

ONE = Endpoint("192.0.2.1", 80)
OTHER = Endpoint("192.0.2.2", 80)

Report = Callable[[Health, float], None]


def fail(health: Health, now: float) -> None:
    health.report_failure(ONE, now, health.generation(ONE))


def suspect(health: Health, now: float) -> None:
    health.report_suspect(ONE, now, health.generation(ONE))


def succeed(health: Health, now: float) -> None:
    health.report_success(ONE, now, health.generation(ONE))


def condition(health: Health, now: float) -> tuple[Condition, float] | None:
    """The condition and when it ends; None where the endpoint is unknown."""
    found = health.snapshot(now)
    return (found[0].condition, found[0].until) if found else None


HELD_DOWN, ON_PROBATION = Condition.HELD_DOWN, Condition.ON_PROBATION
SUSPECT, RECOVERED = Condition.SUSPECT, Condition.RECOVERED


@pytest.mark.parametrize(
    ("history", "now", "expected"),
    [
        # (unknown)
        pytest.param([], 0, None, id="nothing is known at first"),
        pytest.param([(0, succeed)], 0, None, id="a success of an unknown one is no news"),
        pytest.param([(0, fail)], 0, (HELD_DOWN, 5), id="a failure holds down for 5 s"),
        pytest.param([(0, suspect)], 0, (SUSPECT, 2), id="a suspicion lasts 2 s"),
        # suspect
        pytest.param([(0, suspect)], 2, None, id="a suspicion passes by itself"),
        pytest.param([(0, suspect), (1, suspect)], 2, (SUSPECT, 3), id="it begins anew"),
        pytest.param([(0, suspect), (1, succeed)], 1, None, id="a sign of life takes it back"),
        pytest.param([(0, suspect), (1, fail)], 1, (HELD_DOWN, 6), id="a failure confirms it"),
        # held down
        pytest.param(
            [(0, fail), (1, fail)], 1, (HELD_DOWN, 6), id="failing then holds as long again"
        ),
        pytest.param(
            [(0, fail), (1, suspect)], 1, (HELD_DOWN, 5), id="suspicion adds nothing to it"
        ),
        pytest.param([(0, fail), (4, suspect)], 5, (SUSPECT, 6), id="but what is left of itself"),
        pytest.param([(0, fail), (1, succeed)], 1, (RECOVERED, 61), id="a success ends it"),
        pytest.param([(0, fail)], 5, (ON_PROBATION, 65), id="it is over after 5 s"),
        # on probation
        pytest.param([(0, fail), (5, fail)], 5, (HELD_DOWN, 15), id="failing again doubles it"),
        pytest.param(
            [(0, fail), (5, fail), (15, fail)], 15, (HELD_DOWN, 35), id="and doubles it again"
        ),
        pytest.param([(0, fail), (6, suspect)], 7, (SUSPECT, 8), id="probation may be suspect"),
        pytest.param(
            [(0, fail), (6, suspect)], 8, (ON_PROBATION, 65), id="and goes on when that is over"
        ),
        pytest.param([(0, fail), (6, succeed)], 6, (RECOVERED, 66), id="a success ends probation"),
        pytest.param([(0, fail)], 65, None, id="probation is over after 60 s"),
        pytest.param([(0, fail), (65, fail)], 65, (HELD_DOWN, 70), id="and then all begins anew"),
        pytest.param([(0, fail), (65, succeed)], 65, None, id="a success then finds nothing"),
        # recovered
        pytest.param(
            [(0, fail), (1, succeed), (2, fail)], 2, (HELD_DOWN, 7), id="recovered fails as unknown"
        ),
        pytest.param(
            [(0, fail), (1, succeed), (2, suspect)], 2, (SUSPECT, 4), id="recovered may be suspect"
        ),
        pytest.param(
            [(0, fail), (1, succeed), (2, suspect)],
            4,
            (RECOVERED, 61),
            id="and is recovered when that is over",
        ),
        pytest.param(
            [(0, fail), (1, succeed), (2, suspect), (3, succeed)],
            3,
            (RECOVERED, 63),
            id="or when it answers",
        ),
        pytest.param(
            [(0, fail), (1, succeed), (2, succeed)], 2, (RECOVERED, 61), id="no news for recovered"
        ),
        pytest.param([(0, fail), (1, succeed)], 61, None, id="recovered is forgotten after 60 s"),
        pytest.param(
            [(0, fail), (1, succeed), (60, suspect)],
            61,
            (SUSPECT, 62),
            id="but not while it is suspect",
        ),
    ],
)
def test_table(
    history: list[tuple[float, Report]], now: float, expected: tuple[Condition, float] | None
) -> None:
    health = Health()
    for at, report in history:
        report(health, at)
    assert condition(health, now) == expected
    asked_last = expected is not None and expected[0] in {HELD_DOWN, SUSPECT}
    assert health.is_held_down(ONE, now) is asked_last
    assert not health.is_held_down(OTHER, now)
    has_verdict = expected is not None and expected[0] is HELD_DOWN
    assert health.has_verdict(ONE, now) is has_verdict
    assert not health.has_verdict(OTHER, now)


def test_holds_double_up_to_a_minute_and_stay_there_however_long_it_goes_on() -> None:
    holds = [hold_after(failures) for failures in range(1, 8)]
    assert holds == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    assert (holds[0], holds[-1]) == (FIRST_HOLD, LONGEST_HOLD)
    assert hold_after(100_000) == LONGEST_HOLD


def test_requests_that_die_with_one_server_are_one_failure() -> None:
    health = Health()
    born = [health.generation(ONE) for _ in range(10)]
    for number, generation in enumerate(born):
        health.report_failure(ONE, number / 10, generation)
    assert health.snapshot(1.0) == (EndpointHealth(ONE, HELD_DOWN, 1, 1, until=5.0),)


@pytest.mark.parametrize("report", [Health.report_failure, Health.report_suspect])
def test_late_news_from_before_the_restart_does_not_hold_the_server_down_again(
    report: Callable[[Health, Endpoint, float, int], None],
) -> None:
    health = Health()
    before = health.generation(ONE)
    health.report_failure(ONE, 0.0, before)
    health.report_success(ONE, 1.0, health.generation(ONE))
    report(health, ONE, 2.0, before)
    assert condition(health, 2.0) == (RECOVERED, 61.0)


def test_an_answer_from_before_the_failure_does_not_clear_it() -> None:
    health = Health()
    before = health.generation(ONE)
    health.report_failure(ONE, 0.0, before)
    health.report_success(ONE, 0.1, before)
    assert health.is_held_down(ONE, 0.1)


def test_the_verdict_that_follows_a_suspicion_counts() -> None:
    health = Health()
    born = health.generation(ONE)
    health.report_suspect(ONE, 0.0, born)
    health.report_failure(ONE, 1.0, born)
    assert condition(health, 1.0) == (HELD_DOWN, 6.0)


def test_an_endpoint_that_was_forgotten_never_has_an_old_generation_again() -> None:
    health = Health()
    fail(health, 0.0)
    first = health.generation(ONE)
    health.report_failure(OTHER, 100.0, 0)  # makes room of what has expired
    assert (first, health.generation(ONE)) == (1, 0)
    fail(health, 100.0)
    assert health.generation(ONE) > first
    health.report_success(ONE, 100.1, first)
    assert health.is_held_down(ONE, 100.1)


def test_success_of_unknown_endpoints_leaves_no_trace() -> None:
    health = Health()
    health.report_success(ONE, 0.0, 0)
    assert repr(health) == "<Health remembers 0 endpoints>"


def test_memory_is_bounded_and_the_quietest_endpoint_is_forgotten() -> None:
    health = Health()
    endpoints = [Endpoint(f"192.0.2.{n % 256}", n) for n in range(MAX_ENDPOINTS + 1)]
    for now, endpoint in enumerate(endpoints[:-1]):
        health.report_failure(endpoint, now / 1000, 0)
    health.report_failure(endpoints[0], 4.5, health.generation(endpoints[0]))
    health.report_failure(endpoints[-1], 4.6, 0)
    assert repr(health) == f"<Health remembers {MAX_ENDPOINTS} endpoints>"
    assert health.generation(endpoints[1]) == 0
    assert health.is_held_down(endpoints[0], 4.7)
    assert health.is_held_down(endpoints[-1], 4.7)


@pytest.mark.parametrize("kept", [{ONE}, {ONE, OTHER}])
def test_who_is_kept_gives_way_to_nobody(kept: set[Endpoint]) -> None:
    health = Health()
    health.keep(lambda: kept)
    for endpoint in (ONE, OTHER, *(Endpoint("192.0.2.9", n) for n in range(MAX_ENDPOINTS))):
        health.report_failure(endpoint, 1.0, 0)
    assert repr(health) == f"<Health remembers {MAX_ENDPOINTS} endpoints>"
    assert health.is_held_down(ONE, 1.0)
    assert health.is_held_down(OTHER, 1.0) == (OTHER in kept)


def test_memory_is_bounded_where_all_are_kept() -> None:
    endpoints = [Endpoint("192.0.2.9", n) for n in range(MAX_ENDPOINTS + 1)]
    health = Health()
    health.keep(lambda: frozenset(endpoints))
    for endpoint in endpoints:
        health.report_failure(endpoint, 1.0, 0)
    assert repr(health) == f"<Health remembers {MAX_ENDPOINTS} endpoints>"
    assert not health.is_held_down(endpoints[0], 1.0)


def test_what_has_expired_makes_room_by_itself() -> None:
    health = Health()
    for number in range(10):
        health.report_failure(Endpoint("192.0.2.1", number), 0.0, 0)
    health.report_failure(OTHER, FIRST_HOLD + REMEMBERED_FOR, 0)
    assert repr(health) == "<Health remembers 1 endpoints>"


def test_snapshot_names_all_that_is_not_unknown_the_last_changed_last() -> None:
    health = Health()
    health.report_failure(OTHER, 0.0, 0)
    health.report_suspect(ONE, 1.0, 0)
    assert health.snapshot(1.0) == (
        EndpointHealth(OTHER, HELD_DOWN, failures=1, generation=1, until=FIRST_HOLD),
        EndpointHealth(ONE, SUSPECT, failures=0, generation=0, until=1.0 + SUSPECT_HOLD),
    )


def test_only_what_says_something_of_the_endpoint_counts_against_it() -> None:
    innocent = {failure for failure in ConnectFailure if not counts_against(failure)}
    assert innocent == {
        ConnectFailure.LOST,
        ConnectFailure.LOCAL,
        ConnectFailure.NO_DESCRIPTOR,
        ConnectFailure.OWN_DOOR,
        ConnectFailure.PROXY,
        ConnectFailure.PROXY_CREDENTIALS,
    }


PROBES = Evidence(EvidenceKind.KEEPALIVE_PROBES, 1, 1.1)
SILENT = Evidence(EvidenceKind.HEALTH_REQUESTS, 3, 6.0, "/health")


@pytest.mark.parametrize(
    ("verdict", "evidence", "lost", "counts_of_new", "counts_of_reused"),
    [
        pytest.param(Verdict.DEAD, PROBES, True, True, True, id="proved dead"),
        pytest.param(Verdict.DEAD, None, True, True, True, id="dead by the kernel's word"),
        pytest.param(Verdict.SUPERSEDED, PROBES, True, True, True, id="overtaken while suspect"),
        pytest.param(
            Verdict.SUPERSEDED, SILENT, False, False, False, id="health: it may be at work"
        ),
        pytest.param(Verdict.SUPERSEDED, None, False, False, False, id="overtaken, and well"),
        pytest.param(Verdict.CLOSED, None, False, True, False, id="closed, perhaps for its age"),
        pytest.param(Verdict.CANCELLED, PROBES, False, False, False, id="given up by the caller"),
        pytest.param(Verdict.SLOW, None, False, False, False, id="slow is alive"),
    ],
)
def test_what_an_end_says_of_the_server(
    verdict: Verdict,
    evidence: Evidence | None,
    lost: bool,
    counts_of_new: bool,
    counts_of_reused: bool,
) -> None:
    assert is_lost(verdict, evidence) is lost
    assert end_counts_against(verdict, evidence, is_reused=False) is counts_of_new
    assert end_counts_against(verdict, evidence, is_reused=True) is counts_of_reused


def test_what_has_expired_costs_nothing_any_more() -> None:
    assert not Health().has_entries
    health = Health()
    health.report_failure(Endpoint("10.0.0.1", 80), 0.0, 0)
    health.report_suspect(Endpoint("10.0.0.2", 80), 0.0, 0)
    health.expire(SUSPECT_HOLD)
    assert [one.endpoint.address for one in health.snapshot(SUSPECT_HOLD)] == ["10.0.0.1"]
    assert health.has_entries
    health.expire(FIRST_HOLD + REMEMBERED_FOR)
    assert health.snapshot(0.0) == ()


# --- A connect that was made to see (haclient.engine.trial) -------------------------------------


def connected(health: Health, now: float) -> None:
    health.report_connected(ONE, now, health.generation(ONE))


def test_a_trial_that_connects_ends_the_hold_and_forgets_nothing() -> None:
    health = Health()
    fail(health, 0)
    connected(health, 1)
    assert not health.is_held_down(ONE, 1)
    assert condition(health, 1) == (ON_PROBATION, 1 + REMEMBERED_FOR)
    assert health.failures(ONE) == 1
    fail(health, 2)
    assert condition(health, 2) == (HELD_DOWN, 12)
    assert health.failures(ONE) == 2


def test_a_trial_that_connects_ends_a_suspicion() -> None:
    health = Health()
    suspect(health, 0)
    connected(health, 1)
    assert not health.is_held_down(ONE, 1)


def test_a_trial_says_nothing_of_one_that_is_unknown_or_has_failed_since() -> None:
    health = Health()
    connected(health, 0)
    assert condition(health, 0) is None
    assert health.failures(ONE) == 0
    born_in = health.generation(ONE)
    fail(health, 1)
    health.report_connected(ONE, 2, born_in)
    assert condition(health, 2) == (HELD_DOWN, 6)
    connected(health, 7 + REMEMBERED_FOR)
    assert condition(health, 7 + REMEMBERED_FOR) is None


def test_why_stays_with_a_failure_until_the_next_one() -> None:
    health = Health()

    def why(now: float) -> list[str]:
        return [one.why for one in health.snapshot(now)]

    health.report_failure(ONE, 0.0, 0, "refused")
    assert why(0.0) == ["refused"]
    health.report_connected(ONE, 1.0, 1)
    health.report_suspect(ONE, 2.0, 1)
    assert why(2.0) == ["refused"]
    health.report_failure(ONE, 3.0, 1, "timed out")
    assert why(3.0) == ["timed out"]
    health.report_success(ONE, 4.0, 2)
    assert why(4.0) == [""]


@pytest.mark.parametrize(
    ("evidence", "detail", "words"),
    [(None, "", "dead"), (None, "reset", "dead: reset"), (PROBES, "reset", f"dead: {PROBES}")],
)
def test_an_end_in_words(evidence: Evidence | None, detail: str, words: str) -> None:
    assert end_words(Verdict.DEAD, evidence, detail) == words
