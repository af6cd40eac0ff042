"""The decision after each turn of an exchange: by tables that are complete, and by whole courses."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haclient.core.idempotency import RequestFacts
from haclient.core.retry import LAST_WORD, Again, Decision, Failure, GiveUp, Relay, Retry, Wait
from haclient.types import Evidence, EvidenceKind, Limit, Verdict
from tests.core.counted_budget import CountedBudget

CASES = Path(__file__).parent / "cases" / "retry"
TABLES = {path.stem: tomllib.loads(path.read_text()) for path in sorted(CASES.glob("*.toml"))}

WINDOW = 4.0
STATUSES = frozenset({502, 503, 504})

LIMITS = {"the window is over": Limit.WINDOW, "the retry budget is spent": Limit.BUDGET}

Combination = dict[str, Any]


def facts_of(method: str) -> RequestFacts:
    name, _, key = method.partition(" with ")
    return RequestFacts(name, has_idempotency_key=bool(key))


def make(
    method: str = "GET", *, max_attempts: int = 3, copies: int = 9
) -> tuple[Retry, CountedBudget]:
    budget = CountedBudget(copies)
    retry = Retry(
        facts_of(method),
        window=WINDOW,
        max_attempts=max_attempts,
        failover_statuses=STATUSES,
        budget=budget,
    )
    return retry, budget


def silence(seconds: float, count: int = 1) -> Evidence:
    return Evidence(EvidenceKind.KEEPALIVE_PROBES, count, seconds)


def failure(
    verdict: Verdict, *, sent: int = 1, silent_for: float | None = None, elsewhere: bool = True
) -> Failure:
    return Failure(
        verdict,
        bytes_sent=sent,
        is_replayable=True,
        is_reused=False,
        is_elsewhere=elsewhere,
        evidence=None if silent_for is None else silence(silent_for, 3),
    )


# The tables


def combinations(table: dict[str, Any]) -> Iterator[Combination]:
    names = list(table["values"])
    for values in itertools.product(*table["values"].values()):
        yield dict(zip(names, values, strict=True))


def is_meant(case: dict[str, Any], combination: Combination) -> bool:
    return all(combination[key] in case[key] for key in combination if key in case)


@pytest.mark.parametrize("name", TABLES)
def test_each_combination_is_decided_by_exactly_one_case(name: str) -> None:
    table = TABLES[name]
    outcomes = {"again", "withdrawn", "gives_up", "waits", "relays"}
    for says, case in table["cases"].items():
        unknown = set(case) - set(table["values"]) - outcomes
        assert not unknown, f"{says}: {unknown}"
        for key in set(case) - outcomes:
            assert set(case[key]) <= set(table["values"][key]), f"{says}: {key}"
    for combination in combinations(table):
        says = [says for says, case in table["cases"].items() if is_meant(case, combination)]
        assert len(says) == 1, f"{combination}: {says}"


def decide_failed(retry: Retry, combination: Combination) -> tuple[int, Decision]:
    attempt = retry.started()
    failed = Failure(
        Verdict(combination["verdict"]),
        bytes_sent=combination["bytes_sent"],
        is_replayable=combination["replayable"],
        is_reused=combination["reused"],
        is_elsewhere=combination["elsewhere"],
    )
    return attempt, retry.failed(attempt, failed, now=10.0)


def decide_suspected(retry: Retry, combination: Combination) -> tuple[int, Decision]:
    """The window opens at 20.0, 1.1 s before the suspicion, or 2.85 s earlier."""
    attempt = retry.started()
    now = 21.1 if combination["window"] == "open" else 23.95
    if combination["beside"] != "nothing":
        other = retry.started()
        if combination["beside"] == "suspect":
            retry.suspected(
                other, silence(now - 20.0), now, is_replayable=False, is_elsewhere=False
            )
    evidence = silence(1.1 if combination["window"] == "open" else 3.95)
    return attempt, retry.suspected(
        attempt,
        evidence,
        now,
        is_replayable=combination["replayable"],
        is_elsewhere=combination["elsewhere"],
    )


def decide_answered(retry: Retry, combination: Combination) -> tuple[int, Decision]:
    now = 10.0
    if combination["earlier"] != "nothing":
        first = retry.started()
        unsent = failure(Verdict.DEAD, sent=0, silent_for=2.5)
        assert isinstance(retry.failed(first, unsent, now), Again)
        now += 30.0
    attempt = retry.started()
    if combination["beside"] != "nothing":
        other = retry.started()
        if combination["beside"] == "suspect":
            retry.suspected(other, silence(1.1), now, is_replayable=False, is_elsewhere=False)
    return attempt, retry.answered(
        attempt,
        combination["status"],
        now,
        is_replayable=combination["replayable"],
        is_elsewhere=combination["elsewhere"],
    )


DECIDE = {"failed": decide_failed, "suspected": decide_suspected, "answered": decide_answered}


def attempts_allowed(combination: Combination) -> int:
    """So that none is left, or one, when the decision is due."""
    before = (combination.get("beside", "nothing"), combination.get("earlier", "nothing"))
    started: int = 3 - before.count("nothing")
    if combination.get("attempts") == "none left":
        return started
    return 3 if "attempts" not in combination else started + 1


@pytest.mark.parametrize(
    ("table", "says"),
    [
        pytest.param(name, says, id=f"{name}: {says}")
        for name, table in TABLES.items()
        for says in table["cases"]
    ],
)
def test_what_is_decided(table: str, says: str) -> None:
    case = TABLES[table]["cases"][says]
    asks_budget = bool(case.get("withdrawn")) or case.get("budget") == ["spent"]
    for combination in combinations(TABLES[table]):
        if not is_meant(case, combination):
            continue
        for method in TABLES[table]["methods"][combination["method"]]:
            is_spent = combination["budget"] == "spent"
            retry, budget = make(
                method, max_attempts=attempts_allowed(combination), copies=0 if is_spent else 9
            )
            attempt, decision = DECIDE[table](retry, combination)
            told = {**combination, "method": facts_of(method).method, "attempt": attempt}
            assert decision == expected(case, told, retry), f"{method}: {combination}"
            assert budget.asked == asks_budget, f"{method}: {combination}"


def expected(case: dict[str, Any], told: dict[str, Any], retry: Retry) -> Decision:
    if "again" in case:
        return Again(case["again"].format(**told))
    if "gives_up" in case:
        reason = case["gives_up"].format(**told)
        return GiveUp(reason, LIMITS.get(reason))
    return Relay(told["attempt"]) if "relays" in case else Wait(retry.window_ends_at)


# Whole courses


def test_the_first_answer_is_relayed() -> None:
    retry, budget = make()
    assert retry.started() == 1
    assert retry.window_ends_at == math.inf
    assert retry.answered(1, 200, 0.1, is_replayable=True, is_elsewhere=True) == Relay(1)
    assert budget.asked == 0


def test_a_suspect_and_its_second_attempt_whoever_answers_first_is_relayed() -> None:
    retry, _ = make()
    retry.started()
    decision = retry.suspected(1, silence(1.1), 11.1, is_replayable=True, is_elsewhere=True)
    assert decision == Again(
        "attempt 1 is suspect: 1 keep-alive probes unanswered, silent for 1.10 s"
    )
    assert retry.started() == 2
    assert not retry.is_hopeless
    assert retry.cleared(1) == Wait(math.inf)
    assert retry.answered(1, 200, 11.4, is_replayable=True, is_elsewhere=True) == Relay(1)


def test_the_window_counts_from_the_last_sign_of_life() -> None:
    retry, _ = make("PUT")
    retry.started()
    decision = retry.suspected(1, silence(1.1), 11.1, is_replayable=True, is_elsewhere=True)
    assert decision == Wait(10.0 + WINDOW - LAST_WORD)
    assert retry.failed(1, failure(Verdict.DEAD, silent_for=2.5), 12.5) == Again(
        "attempt 1 ended: 3 keep-alive probes unanswered, silent for 2.50 s"
    )


def test_the_second_death_may_come_too_late() -> None:
    retry, _ = make("PUT")
    retry.started()
    retry.failed(1, failure(Verdict.DEAD, silent_for=2.5), 12.5)  # since 10.0
    retry.started()
    dead = failure(Verdict.DEAD, silent_for=2.5)
    assert retry.failed(2, dead, 15.1) == GiveUp("the window is over", Limit.WINDOW)  # since 12.6


@pytest.mark.parametrize(
    ("dies_at", "decision"),
    [
        pytest.param(
            13.94, GiveUp("the window is over", Limit.WINDOW), id="not within the first window"
        ),
        pytest.param(
            13.96,
            Again("attempt 2 ended: 3 keep-alive probes unanswered, silent for 2.50 s"),
            id="right after it",
        ),
        pytest.param(
            43.0,
            Again("attempt 2 ended: 3 keep-alive probes unanswered, silent for 2.50 s"),
            id="after half a minute of thinking",
        ),
    ],
)
def test_a_server_alive_past_the_window_opens_a_new_one(dies_at: float, decision: Decision) -> None:
    retry, _ = make("PUT")
    retry.started()
    retry.failed(1, failure(Verdict.DEAD, silent_for=2.5), 12.5)  # the window ends at 13.95
    retry.started()
    dead = failure(Verdict.DEAD, silent_for=2.5)
    assert retry.failed(2, dead, dies_at + 2.5) == decision


def test_a_connection_closed_without_a_word_opens_the_window_now() -> None:
    retry, _ = make()
    retry.started()
    assert isinstance(retry.failed(1, failure(Verdict.CLOSED), 10.0), Again)
    assert retry.window_ends_at == 10.0 + WINDOW - LAST_WORD


def test_refused_opens_no_window() -> None:
    retry, _ = make()
    retry.started()
    retry.failed(1, failure(Verdict.REFUSED, sent=0), 10.0)
    assert retry.window_ends_at == math.inf


def silence_at_connect(seconds: float) -> Failure:
    """Every address was asked and none said anything, not even no."""
    return Failure(
        Verdict.REFUSED,
        bytes_sent=0,
        is_replayable=False,
        is_reused=False,
        is_elsewhere=False,
        timed_out_after=seconds,
    )


NO_ROOM = GiveUp("every address was tried")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_where_every_address_was_silent_one_more_connect_is_tried(method: str) -> None:
    """Nothing was sent, so nothing runs twice, and nobody carries a copy."""
    retry, budget = make(method)
    retry.started()
    assert retry.failed(1, silence_at_connect(1.0), 11.0) == Again("attempt 1 ended: refused")
    assert retry.window_ends_at == 10.0 + WINDOW - LAST_WORD
    retry.started()
    assert retry.failed(2, silence_at_connect(1.0), 12.0) == Again("attempt 2 ended: refused")
    retry.started()
    assert retry.failed(3, silence_at_connect(1.0), 13.0) == NO_ROOM
    assert budget.asked == 0


def test_a_connect_that_could_not_end_within_the_window_is_not_tried() -> None:
    retry, _ = make(max_attempts=9)
    retry.started()
    assert retry.failed(1, silence_at_connect(2.0), 12.0) == NO_ROOM


def test_with_an_answer_held_a_silent_address_is_not_tried_again() -> None:
    retry, _ = make()
    retry.started()
    retry.answered(1, 503, 10.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    assert retry.failed(2, silence_at_connect(1.0), 11.0) == Relay(1)


def test_the_window_s_end_ends_what_is_suspect_only() -> None:
    retry, _ = make()
    retry.started()
    retry.suspected(1, silence(1.0), 11.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    assert retry.window_ended() == Wait(math.inf)  # the second one is not suspect: it is waited for
    retry.suspected(2, silence(1.0), 21.0, is_replayable=True, is_elsewhere=False)
    assert retry.is_hopeless
    assert retry.window_ends_at == 20.0 + WINDOW - LAST_WORD
    assert retry.window_ended() == GiveUp("the window is over", Limit.WINDOW)


def test_a_suspect_dies_beside_a_healthy_attempt_which_is_waited_for() -> None:
    retry, budget = make()
    retry.started()
    retry.suspected(1, silence(1.0), 11.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    dead = failure(Verdict.DEAD, silent_for=2.5)
    assert retry.failed(1, dead, 12.5) == Wait(10.0 + WINDOW - LAST_WORD)
    assert retry.answered(2, 200, 99.0, is_replayable=True, is_elsewhere=True) == Relay(2)
    assert budget.asked == 1


def test_the_second_attempt_fails_beside_a_suspect_and_a_third_is_made() -> None:
    retry, budget = make()
    retry.started()
    retry.suspected(1, silence(1.0), 11.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    assert retry.failed(2, failure(Verdict.CLOSED), 11.2) == Again("attempt 2 ended: closed")
    assert budget.asked == 1  # there are as many copies as before
    retry.started()
    # No attempt is left, and the suspect may still be alive.
    assert retry.failed(3, failure(Verdict.CLOSED), 11.3) == Wait(10.0 + WINDOW - LAST_WORD)
    dead = failure(Verdict.DEAD, silent_for=2.5)
    assert retry.failed(1, dead, 12.5) == GiveUp("3 attempts were made")


@pytest.mark.parametrize(
    "verdict", [Verdict.REFUSED, Verdict.CLOSED, Verdict.DEAD, Verdict.SLOW, Verdict.FAILED]
)
def test_a_held_answer_is_relayed_when_what_follows_fails(verdict: Verdict) -> None:
    retry, _ = make(max_attempts=2)
    retry.started()
    decision = retry.answered(1, 503, 10.0, is_replayable=True, is_elsewhere=True)
    assert decision == Again("attempt 1 was answered with 503")
    retry.started()
    assert retry.failed(2, failure(verdict, elsewhere=False), 11.0) == Relay(1)


@pytest.mark.parametrize(
    ("is_elsewhere", "decision"),
    [
        pytest.param(False, Relay(1), id="who is left has answered already"),
        pytest.param(True, Again("attempt 2 ended: dead"), id="a third server is there"),
    ],
)
def test_with_an_answer_held_the_same_server_is_not_asked_again(
    is_elsewhere: bool, decision: Decision
) -> None:
    retry, _ = make()
    retry.started()
    retry.answered(1, 503, 10.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    dead = failure(Verdict.DEAD, elsewhere=is_elsewhere)
    assert retry.failed(2, dead, 12.5) == decision


def test_a_held_answer_is_relayed_at_the_window_s_end() -> None:
    retry, _ = make()
    retry.started()
    retry.suspected(1, silence(1.0), 11.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    decision = retry.answered(2, 503, 11.2, is_replayable=True, is_elsewhere=True)
    assert decision == Wait(10.0 + WINDOW - LAST_WORD)
    assert retry.window_ended() == Relay(2)


def test_of_two_held_answers_the_later_is_relayed() -> None:
    retry, budget = make(copies=1)
    retry.started()
    retry.answered(1, 503, 10.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    assert retry.answered(2, 502, 11.0, is_replayable=True, is_elsewhere=True) == Relay(2)
    assert budget.asked == 2


# An answer that broke off


def relayed(max_attempts: int = 3) -> Retry:
    retry, _ = make(max_attempts=max_attempts)
    retry.started()
    retry.answered(1, 200, 10.0, is_replayable=True, is_elsewhere=True)
    return retry


def test_the_rest_of_an_answer_is_asked_for_under_the_rules_of_a_failure() -> None:
    again = relayed().broke_off(1, failure(Verdict.CLOSED), 50.0)
    assert again == Again("attempt 1 ended: closed")
    alone = relayed().broke_off(1, failure(Verdict.CLOSED, elsewhere=False), 50.0)
    assert alone == GiveUp("there is no other server")
    assert relayed(max_attempts=1).broke_off(1, failure(Verdict.DEAD), 50.0) == GiveUp(
        "1 attempts were made"
    )


def test_what_was_beside_the_answer_is_not_waited_for() -> None:
    """It was closed when the answer came, and may have been suspect, or not."""
    for suspect in (False, True):
        retry, _ = make()
        retry.started()
        retry.started()
        if suspect:
            retry.suspected(1, silence(1.0), 9.0, is_replayable=True, is_elsewhere=False)
        retry.answered(2, 200, 10.0, is_replayable=True, is_elsewhere=True)
        assert isinstance(retry.broke_off(2, failure(Verdict.CLOSED), 11.0), Again)
        assert retry.started() == 3
        assert retry.failed(3, failure(Verdict.CLOSED), 11.1) == GiveUp("3 attempts were made")


def test_an_answer_that_was_held_is_no_rest_of_another() -> None:
    retry, _ = make()
    retry.started()
    retry.answered(1, 503, 9.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    retry.answered(2, 200, 10.0, is_replayable=True, is_elsewhere=True)
    last = failure(Verdict.CLOSED, elsewhere=False)
    assert retry.broke_off(2, last, 11.0) == GiveUp("there is no other server")


def test_the_rest_has_a_window_of_its_own() -> None:
    """The trouble before the answer is over with it; the new one counts from the last sign of life."""
    retry, _ = make(max_attempts=9)
    retry.started()
    retry.failed(1, failure(Verdict.DEAD, silent_for=2.5), 12.5)
    retry.started()
    retry.answered(2, 200, 12.6, is_replayable=True, is_elsewhere=True)
    dead = failure(Verdict.DEAD, silent_for=2.5)
    assert isinstance(retry.broke_off(2, dead, 15.2), Again)
    assert retry.window_ends_at == 12.7 + WINDOW - LAST_WORD


def test_an_answer_that_is_not_the_rest_calls_for_another_server_within_the_budget() -> None:
    """Its server carries a copy; and whoever was asked beside it was closed."""
    retry, budget = make(max_attempts=9, copies=2)
    retry.started()
    retry.answered(1, 200, 10.0, is_replayable=True, is_elsewhere=True)
    retry.broke_off(1, failure(Verdict.CLOSED), 10.0)
    retry.started()
    retry.suspected(2, silence(1.0), 11.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    retry.answered(3, 200, 11.1, is_replayable=True, is_elsewhere=True)
    other = failure(Verdict.GARBLED)
    assert retry.refused(3, other, 11.1) == Again("attempt 3 ended: garbled")
    retry.started()
    assert retry.refused(4, other, 11.2) == GiveUp("the retry budget is spent", Limit.BUDGET)
    assert budget.asked == 3


@pytest.mark.parametrize(
    ("elsewhere", "attempts", "copies", "silent_for", "is_asked"),
    [
        pytest.param(True, 3, 1, 1.1, True, id="another server may have the rest"),
        pytest.param(False, 3, 1, 1.1, False, id="there is none"),
        pytest.param(True, 1, 1, 1.1, False, id="no attempt is left"),
        pytest.param(True, 3, 0, 1.1, False, id="the budget is spent"),
        pytest.param(True, 3, 1, 5.0, False, id="the window is over"),
    ],
)
def test_a_suspect_in_mid_response(
    elsewhere: bool, attempts: int, copies: int, silent_for: float, is_asked: bool
) -> None:
    retry, _ = make(max_attempts=attempts, copies=copies)
    retry.started()
    retry.answered(1, 200, 10.0, is_replayable=True, is_elsewhere=True)
    evidence = silence(silent_for)
    decision = retry.wavers(1, evidence, 51.1, is_elsewhere=elsewhere)
    window = 51.1 - silent_for + WINDOW - LAST_WORD
    assert decision == (Again(f"attempt 1 is suspect: {evidence}") if is_asked else Wait(window))
    assert retry.window_ends_at == window


def test_who_is_asked_beside_a_suspect_is_alone_to_the_machine() -> None:
    """The suspect is read on by others: its end is told by `broke_off`, or never."""
    retry, _ = make()
    retry.started()
    retry.answered(1, 200, 10.0, is_replayable=True, is_elsewhere=True)
    retry.wavers(1, silence(1.1), 51.1, is_elsewhere=True)
    retry.started()
    assert retry.failed(2, failure(Verdict.CLOSED, elsewhere=False), 51.2) == GiveUp(
        "there is no other server"
    )
    assert isinstance(retry.broke_off(1, failure(Verdict.DEAD, silent_for=2.5), 52.5), Again)


def test_which_answers_call_for_another() -> None:
    assert make("PUT")[0].calls_for_another(503)
    assert not make("PUT")[0].calls_for_another(500)
    assert not make("POST")[0].calls_for_another(503)
    assert make("POST with Idempotency-Key")[0].calls_for_another(503)


def test_repr_says_how_it_stands() -> None:
    retry, _ = make()
    retry.started()
    retry.suspected(1, silence(1.0), 11.0, is_replayable=True, is_elsewhere=True)
    retry.started()
    assert repr(retry) == "<Retry GET, attempt 2 of 3, outstanding [1, 2], suspect [1]>"


# An application that is silent, on a host that lives


def unanswered(seconds: float = 4.0) -> Evidence:
    return Evidence(EvidenceKind.HEALTH_REQUESTS, 2, seconds, "/health")


def doubt(retry: Retry, attempt: int, now: float = 20.0, *, elsewhere: bool = True) -> Decision:
    return retry.suspected(attempt, unanswered(), now, is_replayable=True, is_elsewhere=elsewhere)


@pytest.mark.parametrize(
    ("method", "elsewhere", "attempts", "copies", "is_asked"),
    [
        pytest.param("GET", True, 3, 1, True, id="a safe method"),
        pytest.param("PUT", True, 3, 1, False, id="an idempotent one"),
        pytest.param("POST", True, 3, 1, False, id="one that is neither"),
        pytest.param("POST with Idempotency-Key", True, 3, 1, False, id="a key"),
        pytest.param("GET", False, 3, 1, False, id="nobody else"),
        pytest.param("GET", True, 1, 1, False, id="no attempt left"),
        pytest.param("GET", True, 3, 0, False, id="the budget is spent"),
    ],
)
def test_doubt_asks_another_beside_and_opens_no_window(
    method: str, elsewhere: bool, attempts: int, copies: int, is_asked: bool
) -> None:
    retry, _ = make(method, max_attempts=attempts, copies=copies)
    retry.started()
    decision = doubt(retry, 1, elsewhere=elsewhere)
    assert decision == (
        Again(f"attempt 1 is suspect: {unanswered()}") if is_asked else Wait(math.inf)
    )
    assert retry.window_ends_at == math.inf


def test_who_is_in_doubt_is_not_given_up_with_the_window() -> None:
    retry, _ = make()
    retry.started()
    doubt(retry, 1)
    retry.started()
    assert retry.suspected(2, silence(1.1), 23.0, is_replayable=True, is_elsewhere=False) == Wait(
        23.0 - 1.1 + WINDOW - LAST_WORD
    )
    assert retry.window_ended() == Wait(math.inf)
    assert retry.answered(1, 200, 60.0, is_replayable=True, is_elsewhere=False) == Relay(1)


def test_a_second_one_that_fails_is_followed_by_a_third_and_then_the_first_is_waited_for() -> None:
    retry, _ = make()
    retry.started()
    doubt(retry, 1)
    retry.started()
    assert isinstance(retry.failed(2, failure(Verdict.CLOSED), 21.0), Again)
    retry.started()
    assert isinstance(retry.failed(3, failure(Verdict.CLOSED), 21.5), Wait)
    assert retry.answered(1, 200, 30.0, is_replayable=True, is_elsewhere=False) == Relay(1)


def test_one_that_was_in_doubt_and_is_heard_is_waited_for_alone() -> None:
    retry, _ = make()
    retry.started()
    doubt(retry, 1, elsewhere=False)
    assert retry.cleared(1) == Wait(math.inf)
    retry.started()
    assert retry.failed(2, failure(Verdict.CLOSED), 21.0) == Wait(25.0 - LAST_WORD)


def test_one_in_doubt_that_dies_is_dead() -> None:
    retry, _ = make("PUT")
    retry.started()
    doubt(retry, 1)
    assert isinstance(retry.failed(1, failure(Verdict.DEAD, silent_for=2.5), 25.0), Again)


def test_doubt_in_mid_response_opens_no_window() -> None:
    retry, _ = make()
    retry.started()
    retry.answered(1, 200, 10.0, is_replayable=True, is_elsewhere=True)
    evidence = unanswered(9.0)
    assert retry.wavers(1, evidence, 51.1, is_elsewhere=True) == Again(
        f"attempt 1 is suspect: {evidence}"
    )
    assert retry.window_ends_at == math.inf
