"""The JSON lines: names that scripts rely on, for every event."""

from __future__ import annotations

import io
import json
from typing import Any, get_args

import pytest

from haclient import events
from haclient.errors import ServerDiedError
from haclient.ops.trace_json import JsonLines, as_json, request_line
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    Endpoint,
    Evidence,
    EvidenceKind,
    Origin,
    Phase,
    Verdict,
)

A = Endpoint("10.0.0.1", 80)
V6 = Endpoint("::1", 80)
ORIGIN = Origin("http", "orders.test", 8080)
HEAD = b"GET /orders/7?a=b HTTP/1.1\r\nHost: orders.test\r\nCookie: secret\r\n\r\n"
EVIDENCE = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5000001)
EVIDENCE_JSON = {"kind": "keepalive_probes", "count": 3, "silent_for": 2.5}

T0 = 500.0
AT = T0 + 1.25

ANSWERED = AttemptRecord(
    2, ORIGIN, A, Phase.DONE, Verdict.ANSWERED, T0, AT, status=200, bytes_sent=9
)
DIED = AttemptRecord(
    1, ORIGIN, None, Phase.WAITING, Verdict.DEAD, T0, AT, detail="gone", evidence=EVIDENCE
)

EVENTS: dict[str, tuple[events.Event, dict[str, Any]]] = {
    "attempt_started": (
        events.AttemptStarted(AT, 2, (ORIGIN,), "attempt 1 ended"),
        {"attempt": 2, "origins": ["http://orders.test:8080"], "reason": "attempt 1 ended"},
    ),
    "name_resolved": (
        events.NameResolved(AT, 1, "orders.test", (A, V6), "dns", None),
        {
            "attempt": 1,
            "host": "orders.test",
            "addresses": ["10.0.0.1", "::1"],
            "source": "dns",
            "ttl": None,
        },
    ),
    "connection_attempt_started": (
        events.ConnectionAttemptStarted(AT, 1, V6),
        {"attempt": 1, "address": "[::1]:80"},
    ),
    "connection_attempt_ended": (
        events.ConnectionAttemptEnded(AT, 1, A, ConnectFailure.TIMED_OUT, "no connection"),
        {
            "attempt": 1,
            "address": "10.0.0.1:80",
            "failure": "timed_out",
            "detail": "no connection",
        },
    ),
    "connected": (
        events.Connected(AT, 1, ORIGIN, A, Endpoint("10.0.0.9", 5), True, "TLSv1.3"),
        {
            "attempt": 1,
            "origin": "http://orders.test:8080",
            "address": "10.0.0.1:80",
            "local": "10.0.0.9:5",
            "reused": True,
            "tls": "TLSv1.3",
        },
    ),
    "request_sent": (
        events.RequestSent(AT, 1, A, HEAD, 120),
        {
            "attempt": 1,
            "address": "10.0.0.1:80",
            "method": "GET",
            "target": "/orders/7?a=b",
            "bytes_sent": 120,
        },
    ),
    "probed": (
        events.Probed(AT, 1, A, 1.0),
        {"attempt": 1, "address": "10.0.0.1:80", "silent_for": 1.0},
    ),
    "suspected": (
        events.Suspected(AT, 1, A, EVIDENCE),
        {"attempt": 1, "address": "10.0.0.1:80", "evidence": EVIDENCE_JSON},
    ),
    "cleared": (events.Cleared(AT, 1, A), {"attempt": 1, "address": "10.0.0.1:80"}),
    "declared_dead": (
        events.DeclaredDead(AT, 1, A, EVIDENCE),
        {"attempt": 1, "address": "10.0.0.1:80", "evidence": EVIDENCE_JSON},
    ),
    "interim_received": (events.InterimReceived(AT, 1, 103, ()), {"attempt": 1, "status": 103}),
    "response_started": (
        events.ResponseStarted(AT, 1, A, 200, b"OK", b"1.1", ((b"Set-Cookie", b"secret"),)),
        {
            "attempt": 1,
            "address": "10.0.0.1:80",
            "status": 200,
            "reason": "OK",
            "http_version": "1.1",
        },
    ),
    "attempt_ended": (
        events.AttemptEnded(AT, 1, DIED),
        {
            "attempt": 1,
            "address": None,
            "phase": "waiting",
            "verdict": "dead",
            "status": None,
            "reused": False,
            "bytes_sent": 0,
            "started": 0.0,
            "ended": 1.25,
            "detail": "gone",
            "evidence": EVIDENCE_JSON,
        },
    ),
    "exchange_ended": (
        events.ExchangeEnded(AT, (DIED, ANSWERED), None),
        {"attempts": 2, "status": 200, "error": None, "message": ""},
    ),
}


@pytest.mark.parametrize(("name", "case"), EVENTS.items(), ids=EVENTS)
def test_event(name: str, case: tuple[events.Event, dict[str, Any]]) -> None:
    event, members = case
    assert as_json(event, T0) == {"t": 1.25, "event": name} | members


def test_every_event_has_its_line_in_the_table() -> None:
    assert {type(event) for event, _ in EVENTS.values()} == set(get_args(events.Event))


def test_a_connection_that_won_has_no_failure_and_one_without_a_name_no_local_end() -> None:
    won = as_json(events.ConnectionAttemptEnded(AT, 1, A, None), T0)
    assert won["failure"] is None
    assert as_json(events.Connected(AT, 1, ORIGIN, A, None, False), T0)["local"] is None


def test_an_attempt_that_answered_has_an_address_and_no_evidence() -> None:
    line = as_json(events.AttemptEnded(AT, 2, ANSWERED), T0)
    assert (line["address"], line["status"], line["evidence"]) == ("10.0.0.1:80", 200, None)


def test_an_error_is_named_and_has_no_status() -> None:
    line = as_json(events.ExchangeEnded(AT, (DIED,), ServerDiedError("it died")), T0)
    assert (line["error"], line["message"], line["status"]) == ("ServerDiedError", "it died", None)


def test_an_exchange_without_an_answer_has_no_status() -> None:
    assert as_json(events.ExchangeEnded(AT, (DIED,), None), T0)["status"] is None


def test_header_fields_are_in_no_line() -> None:
    for event, _ in EVENTS.values():
        assert "secret" not in json.dumps(as_json(event, T0))


def test_one_object_a_line_and_time_from_the_first_event() -> None:
    stream = io.StringIO()
    write = JsonLines(stream)
    write(events.Probed(T0, 1, A, 1.0))
    write(events.Cleared(T0 + 0.5, 1, A))
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["t"] for line in lines] == [0.0, 0.5]


def test_a_file_that_cannot_be_written_to_harms_nothing() -> None:
    stream = io.StringIO()
    write = JsonLines(stream)
    stream.close()
    write(events.Cleared(T0, 1, A))
    write(events.Cleared(T0, 1, A))


def test_a_request_line_without_a_version_is_still_read() -> None:
    assert request_line(b"OPTIONS * HTTP/1.1\r\n\r\n") == ("OPTIONS", "*")
