"""Answers of haclient's own, as bytes."""

from __future__ import annotations

import json

import pytest

from haclient.errors import ConnectError, ConnectTimeoutError, QueueTimeoutError, ServerDiedError
from haclient.proxy.reply import content_size, problem, refusal, status_for
from haclient.types import (
    AttemptRecord,
    Endpoint,
    Evidence,
    EvidenceKind,
    Limit,
    Origin,
    Phase,
    Verdict,
)
from tests.proxy.answers import HeardAnswer, parse_answer

DEAD = AttemptRecord(
    number=1,
    origin=Origin("http", "a.test", 80),
    endpoint=Endpoint("10.0.0.1", 80),
    phase=Phase.WAITING,
    verdict=Verdict.DEAD,
    started_at=100.0,
    ended_at=102.5,
    evidence=Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5),
)
UNAVAILABLE = AttemptRecord(
    number=2,
    origin=Origin("http", "b.test", 80),
    endpoint=None,
    phase=Phase.CONNECTING,
    verdict=Verdict.REFUSED,
    started_at=102.5,
    ended_at=102.50004,
    detail="10.0.0.2:80 refused",
    status=503,
)


def parsed(data: bytes, method: str = "GET") -> HeardAnswer:
    answer, size = parse_answer(data, method, 0.0, is_end=False)
    assert answer is not None
    assert size == len(data)
    return answer


def test_a_refusal_ends_the_connection() -> None:
    data = refusal(414, 'too "long"', is_head=False, request_id="7")
    answer = parsed(data)
    assert content_size(data) == len(answer.content)
    assert answer.value("X-Request-Id") == "7"
    assert answer.is_last
    assert answer.proxy_status == ('haclient; error=http_request_error; details="too \\"long\\""')
    assert answer.problem == {
        "title": "URI Too Long",
        "status": 414,
        "detail": 'too "long"',
        "request_id": "7",
    }


@pytest.mark.parametrize(
    ("status", "phrase"),
    [(400, "Bad Request"), (413, "Content Too Large"), (414, "URI Too Long"), (599, "Error")],
)
def test_phrases_are_those_of_rfc_9110(status: int, phrase: str) -> None:
    """Python's own differ from version to version."""
    answer = refusal(status, "no", is_head=False, request_id="7")
    assert answer.startswith(b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode()))
    assert parsed(answer).problem["title"] == phrase


def test_a_refusal_of_head_has_no_content() -> None:
    answer = parsed(refusal(400, "no", is_head=True, request_id="7"), "HEAD")
    assert answer.content == b""
    assert int(answer.value("Content-Length")) > 0


def test_a_problem_tells_all() -> None:
    data = problem(
        502,
        "nobody\nanswered",
        error="connection_terminated",
        is_head=False,
        is_last=False,
        request_id="7",
        began_at=99.9,
        may_have_been_processed=True,
        attempts=(DEAD, UNAVAILABLE),
        next_hop="10.0.0.1:80",
    )
    answer = parsed(data)
    assert not answer.is_last
    assert answer.value("Retry-After") == ""
    assert answer.proxy_status == (
        'haclient; error=connection_terminated; next-hop="10.0.0.1:80"; details="nobody;answered"'
    )
    assert answer.problem == {
        "title": "Bad Gateway",
        "status": 502,
        "detail": "nobody\nanswered",
        "request_id": "7",
        "may_have_been_processed": True,
        "attempts": [
            {
                "number": 1,
                "endpoint": "10.0.0.1:80",
                "origin": "http://a.test",
                "phase": "waiting",
                "verdict": "dead",
                "evidence": "3 keep-alive probes unanswered, silent for 2.50 s",
                "start_ms": 100.0,
                "end_ms": 2600.0,
            },
            {
                "number": 2,
                "endpoint": None,
                "origin": "http://b.test",
                "phase": "connecting",
                "verdict": "refused",
                "evidence": "10.0.0.2:80 refused",
                "start_ms": 2600.0,
                "end_ms": 2600.0,
                "status": 503,
            },
        ],
    }
    assert json.loads(data.partition(b"\r\n\r\n")[2]) == answer.problem


def test_the_last_problem_says_so() -> None:
    data = problem(502, "no", error="x", is_head=False, is_last=True)
    assert parsed(data).is_last


def test_unavailable_says_when_to_come_again() -> None:
    data = problem(503, "no", error="x", is_head=False, is_last=False)
    assert parsed(data).value("Retry-After") == "1"


@pytest.mark.parametrize("detail", ["x" * 5000, "\r\nX-Injected: 1\r\n\r\n", "\x00\x7f", "ä€"])
def test_no_detail_breaks_the_head(detail: str) -> None:
    answer = parsed(problem(502, detail, error="x", is_head=False, is_last=False))
    assert answer.value("X-Injected") == ""
    assert len(answer.proxy_status) < 500
    assert answer.problem["detail"] == detail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectError, 502),
        (ConnectTimeoutError, 504),
        (QueueTimeoutError, 503),
        (ServerDiedError, 502),
    ],
)
def test_the_status_of_an_error(error: type[ConnectError], status: int) -> None:
    raised = error("x", stage=Phase.WAITING, may_have_been_processed=False, attempts=(DEAD,))
    assert status_for(raised) == status


@pytest.mark.parametrize(("limit", "status"), [(Limit.BUDGET, 503), (Limit.WINDOW, 504)])
def test_a_limit_of_ours_has_a_status_of_its_own(limit: Limit, status: int) -> None:
    raised = ServerDiedError("x", stage=Phase.WAITING, attempts=(DEAD,))
    raised.why_not_again, raised.limit = "whatever it is told as", limit
    assert status_for(raised) == status


@pytest.mark.parametrize("limit", Limit)
def test_the_words_of_a_limit_decide_nothing(limit: Limit) -> None:
    raised = ServerDiedError("x", stage=Phase.WAITING, attempts=(DEAD,))
    raised.why_not_again = limit.value
    assert status_for(raised) == 502
