"""Which request would be sent again, in which case: the table as core.retry decides it."""

from __future__ import annotations

import pytest

from haclient.core.spec import Target
from haclient.ops.explain_resend import METHODS, Case, Resend, resends

TARGET = Target(urls="http://orders.test/")

NOT_SENT, SUSPECT, DEAD, CLOSED, UNAVAILABLE, TOO_SLOW = Case

SAFE = {NOT_SENT, SUSPECT, DEAD, CLOSED, UNAVAILABLE, TOO_SLOW}
IDEMPOTENT = SAFE - {SUSPECT}
NEITHER = {NOT_SENT}

ELSEWHERE = {
    "GET": SAFE,
    "HEAD": SAFE,
    "OPTIONS": SAFE,
    "PUT": IDEMPOTENT,
    "DELETE": IDEMPOTENT,
    "POST": NEITHER,
    "PATCH": NEITHER,
    "POST with Idempotency-Key": IDEMPOTENT,
}


def by_name(target: Target = TARGET, *, is_elsewhere: bool = True) -> dict[str, Resend]:
    return {each.name: each for each in resends(target, is_elsewhere=is_elsewhere)}


def cases(resend: Resend) -> set[Case]:
    return {case for case, is_resent in resend.cases.items() if is_resent}


@pytest.mark.parametrize(("name", "expected"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_with_another_address(name: str, expected: set[Case]) -> None:
    assert cases(by_name()[name]) == expected


def test_every_method_has_a_line_and_a_post_with_a_key_another() -> None:
    assert tuple(by_name()) == (*METHODS, "POST with Idempotency-Key")


def test_a_target_that_generates_keys_resends_whatever_lacks_one() -> None:
    table = by_name(Target(urls=TARGET.urls, idempotency_key="generate"))
    assert cases(table["POST"]) == cases(table["PATCH"]) == IDEMPOTENT
    assert cases(table["GET"]) == SAFE


def test_a_target_that_ignores_keys_resends_no_post() -> None:
    table = by_name(Target(urls=TARGET.urls, idempotency_key="ignore"))
    assert cases(table["POST with Idempotency-Key"]) == NEITHER
    assert cases(table["PUT"]) == IDEMPOTENT


def test_without_another_address_a_request_goes_there_again_only_where_that_can_help() -> None:
    table = by_name(is_elsewhere=False)
    assert cases(table["GET"]) == {NOT_SENT, DEAD}
    assert cases(table["POST"]) == {NOT_SENT}


def test_the_reason_is_that_of_the_decision() -> None:
    table = by_name()
    assert table["POST"].why_not == "POST is not idempotent"
    assert table["GET"].why_not == ""
    assert table["POST with Idempotency-Key"].why_not == ""


def test_a_single_attempt_is_all_there_is() -> None:
    table = by_name(Target(urls="http://orders.test/", max_attempts=1))
    assert cases(table["GET"]) == set()
    assert table["GET"].why_not == "1 attempts were made"


def test_a_target_without_failover_statuses_takes_the_answer_as_it_is() -> None:
    target = Target(urls="http://orders.test/", failover_statuses=frozenset())
    assert UNAVAILABLE not in cases(by_name(target)["GET"])
