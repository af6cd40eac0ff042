"""The timeline, for the courses that an exchange can take: what a person reads, line by line."""

from __future__ import annotations

import io

import pytest

from haclient import events
from haclient.errors import ServerDiedError
from haclient.ops.style import Style
from haclient.ops.trace import Timeline, evidence_words, milliseconds
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

A, B, C = (Endpoint(f"10.0.0.{n}", 80) for n in (1, 2, 3))
ORIGIN = Origin("http", "orders.test", 80)
HEAD = b"GET /orders/7 HTTP/1.1\r\nHost: orders.test\r\nAuthorization: secret\r\n\r\n"
ONE_PROBE = Evidence(EvidenceKind.KEEPALIVE_PROBES, 1, 1.1)
THREE_PROBES = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)

T0 = 1000.0
"""The clock's value when the first event comes; the timeline counts from it."""

PLAIN = Style(is_coloured=False, is_unicode=True)


def record(
    number: int,
    verdict: Verdict,
    at: float,
    endpoint: Endpoint | None = A,
    phase: Phase = Phase.WAITING,
    detail: str = "",
    evidence: Evidence | None = None,
) -> events.AttemptEnded:
    attempt = AttemptRecord(
        number, ORIGIN, endpoint, phase, verdict, T0, T0 + at, detail=detail, evidence=evidence
    )
    return events.AttemptEnded(T0 + at, number, attempt)


def started(at: float, number: int = 1, reason: str = "") -> events.AttemptStarted:
    return events.AttemptStarted(T0 + at, number, (ORIGIN,), reason)


def connecting(at: float, endpoint: Endpoint, number: int = 1) -> events.ConnectionAttemptStarted:
    return events.ConnectionAttemptStarted(T0 + at, number, endpoint)


def connected(
    at: float, endpoint: Endpoint = A, number: int = 1, reused: bool = False, tls: str = ""
) -> events.Connected:
    return events.Connected(T0 + at, number, ORIGIN, endpoint, None, reused, tls)


def raced(
    at: float, endpoint: Endpoint, failure: ConnectFailure | None, detail: str = ""
) -> events.ConnectionAttemptEnded:
    return events.ConnectionAttemptEnded(T0 + at, 1, endpoint, failure, detail)


def sent(at: float, number: int = 1, endpoint: Endpoint = A) -> events.RequestSent:
    return events.RequestSent(T0 + at, number, endpoint, HEAD, len(HEAD))


def answered(
    at: float, number: int = 1, endpoint: Endpoint = A, reason: bytes = b"OK"
) -> events.ResponseStarted:
    return events.ResponseStarted(T0 + at, number, endpoint, 200, reason, b"1.1", ())


def ended(at: float, attempts: int = 1, error: Exception | None = None) -> events.ExchangeEnded:
    records = tuple(record(n + 1, Verdict.ANSWERED, at).record for n in range(attempts))
    return events.ExchangeEnded(T0 + at, records, error)


COURSES: dict[str, tuple[list[events.Event], list[str]]] = {
    "a race of three": (
        [
            started(0),
            events.NameResolved(T0, 1, "orders.test", (A, B, C), "dns", 30.0),
            connecting(0.001, A),
            connecting(0.001, B),
            connecting(0.001, C),
            raced(0.0014, B, ConnectFailure.REFUSED, "Connection refused"),
            raced(0.002, C, ConnectFailure.LOST),
            raced(0.002, A, None),
            connected(0.002),
            sent(0.003),
            answered(0.013),
            record(1, Verdict.ANSWERED, 0.014),
            ended(0.014),
        ],
        [
            "    0.000  1 · orders.test is 10.0.0.1, 10.0.0.2, 10.0.0.3 (dns, TTL 30 s)",
            "    0.001  1 · connecting to 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80",
            "    0.001  1 ✘ 10.0.0.2:80 refused after 0.4 ms (Connection refused)",
            "    0.002  1 ✔ 10.0.0.1:80 connected in 1 ms, ahead of 10.0.0.3:80",
            f"    0.003  1 → GET /orders/7 sent, {len(HEAD)} bytes",
            "    0.013  1 ← 200 OK after 10 ms",
            "    0.014    ✔ 200 from 10.0.0.1:80 after 14 ms",
        ],
    ),
    "a pooled connection, and TLS": (
        [started(0), connected(0, reused=True, tls="TLSv1.3 X"), answered(0.5), ended(0.5)],
        [
            "    0.000  1 ✔ 10.0.0.1:80: a pooled connection, TLSv1.3 X",
            "    0.500  1 ← 200 OK",
            "    0.500    ✔ 200 from 10.0.0.1:80 after 500 ms",
        ],
    ),
    "a literal address needs no line": (
        [
            started(0),
            events.NameResolved(T0, 1, "10.0.0.1", (A,), "literal", None),
            connecting(0, A),
            connected(0.1, tls="TLSv1.3 X"),
        ],
        [
            "    0.000  1 · connecting to 10.0.0.1:80",
            "    0.100  1 ✔ 10.0.0.1:80 connected in 100 ms, TLSv1.3 X",
        ],
    ),
    "a suspect, and a second try that answers first": (
        [
            started(0),
            connected(0, reused=True),
            sent(0),
            events.Probed(T0 + 1.0, 1, A, 1.0),
            events.Suspected(T0 + 1.1, 1, A, ONE_PROBE),
            started(1.1, 2, f"attempt 1 is suspect: {ONE_PROBE}"),
            connecting(1.1, B, 2),
            connected(1.101, B, 2),
            sent(1.101, 2, B),
            answered(1.111, 2, B),
            record(1, Verdict.SUPERSEDED, 1.111),
            record(2, Verdict.ANSWERED, 1.111, B),
            ended(1.111, 2),
        ],
        [
            "    0.000  1 ✔ 10.0.0.1:80: a pooled connection",
            f"    0.000  1 → GET /orders/7 sent, {len(HEAD)} bytes",
            "    1.000  1 … silent for 1.00 s: probe sent",
            "    1.100  1 ? suspect: 1 keep-alive probe unanswered, silent for 1.10 s",
            "    1.100  2 ↻ second try: attempt 1 is suspect",
            "    1.100  2 · connecting to 10.0.0.2:80",
            "    1.101  2 ✔ 10.0.0.2:80 connected in 1 ms",
            f"    1.101  2 → GET /orders/7 sent, {len(HEAD)} bytes",
            "    1.111  2 ← 200 OK after 10 ms",
            "    1.111  1 · given up: another answered",
            "    1.111    ✔ 200 from 10.0.0.2:80 after 1.11 s, "
            "1.11 s from the last sign of life of 10.0.0.1:80, 2 attempts",
        ],
    ),
    "a slow server that answers each probe, and one that does not": (
        [
            started(0),
            events.Probed(T0 + 1.0, 1, A, 1.0),
            events.Probed(T0 + 2.02, 1, A, 1.0),
            events.Probed(T0 + 2.52, 1, A, 1.5),
        ],
        [
            "    1.000  1 … silent for 1.00 s: probe sent",
            "    2.020  1 … alive, it answered the probe; silent for 1.00 s again: probe sent",
            "    2.520  1 … silent for 1.50 s: probe sent",
        ],
    ),
    "a suspect that is alive after all": (
        [
            started(0),
            events.Suspected(T0 + 1.1, 1, A, ONE_PROBE),
            events.Cleared(T0 + 1.2, 1, A),
            answered(2.0),
            ended(2.0),
        ],
        [
            "    1.100  1 ? suspect: 1 keep-alive probe unanswered, silent for 1.10 s",
            "    1.200  1 ✔ alive after all",
            "    2.000  1 ← 200 OK",
            "    2.000    ✔ 200 from 10.0.0.1:80 after 2.00 s",
        ],
    ),
    "two servers in trouble: the failover counts from the first; the suspect itself answers": (
        [
            started(0),
            events.Suspected(T0 + 1.1, 1, A, ONE_PROBE),
            record(2, Verdict.CLOSED, 1.5, B),
            answered(2.0),
            ended(2.0),
        ],
        [
            "    1.100  1 ? suspect: 1 keep-alive probe unanswered, silent for 1.10 s",
            "    1.500  2 ✘ 10.0.0.2:80 closed the connection while waiting",
            "    2.000  1 ← 200 OK",
            "    2.000    ✔ 200 from 10.0.0.1:80 after 2.00 s",
        ],
    ),
    "a dead server, told once, and an error": (
        [
            started(0),
            events.DeclaredDead(T0 + 2.5, 1, A, THREE_PROBES),
            record(1, Verdict.DEAD, 2.5, evidence=THREE_PROBES),
            ended(2.5, 1, ServerDiedError("dead")),
        ],
        [
            "    2.500  1 ✘ dead: 3 keep-alive probes unanswered, silent for 2.50 s",
            "    2.500    ✘ ServerDiedError after 2.50 s",
        ],
    ),
    "a dead server that the watch had no time to tell of": (
        [started(0), record(1, Verdict.DEAD, 1)],
        ["    1.000  1 ✘ 10.0.0.1:80 is dead"],
    ),
    "a server that closes, and another one": (
        [
            started(0),
            record(1, Verdict.CLOSED, 0.5, detail="Connection reset by peer"),
            started(0.5, 2, "attempt 1 ended: connection reset"),
            answered(0.6, 2, B),
            ended(0.6, 2),
        ],
        [
            "    0.500  1 ✘ 10.0.0.1:80 closed the connection while waiting "
            "(Connection reset by peer)",
            "    0.500  2 ↻ second try: attempt 1 ended",
            "    0.600  2 ← 200 OK",
            "    0.600    ✔ 200 from 10.0.0.2:80 after 600 ms, "
            "100 ms from the last sign of life of 10.0.0.1:80, 2 attempts",
        ],
    ),
    "nobody to connect to": (
        [
            started(0),
            record(1, Verdict.REFUSED, 0.1, None, Phase.CONNECTING),
            ended(0.1, 1, ServerDiedError("x")),
        ],
        [
            "    0.100  1 ✘ no address could be connected",
            "    0.100    ✘ ServerDiedError after 100 ms",
        ],
    ),
    "too slow, and no reason for the next try": (
        [started(0), record(1, Verdict.SLOW, 40.0), started(40.0, 2), started(40.0, 5)],
        [
            "   40.000  1 ✘ 10.0.0.1:80: slow while waiting",
            "   40.000  2 ↻ second try",
            "   40.000  5 ↻ 5th try",
        ],
    ),
    "a connect that was not begun here, and no answer without an error": (
        [
            started(0),
            raced(0.5, B, ConnectFailure.TIMED_OUT),
            connected(0.5),
            events.InterimReceived(T0 + 0.6, 1, 103, ()),
            ended(0.7),
        ],
        [
            "    0.500  1 ✘ 10.0.0.2:80 timed out after 0 ms",
            "    0.500  1 ✔ 10.0.0.1:80 connected in 0 ms",
            "    0.600  1 ← 103 (interim)",
            "    0.700    ✘ no answer after 700 ms",
        ],
    ),
    "a redirect: one clock for both exchanges, and nothing kept of the first": (
        [
            started(0),
            events.Suspected(T0 + 1.1, 1, B, ONE_PROBE),
            answered(1.2),
            ended(1.2),
            started(2.0),
            answered(2.5),
            ended(2.5),
        ],
        [
            "    1.100  1 ? suspect: 1 keep-alive probe unanswered, silent for 1.10 s",
            "    1.200  1 ← 200 OK",
            "    1.200    ✔ 200 from 10.0.0.1:80 after 1.20 s, "
            "1.20 s from the last sign of life of 10.0.0.2:80",
            "    2.500  1 ← 200 OK",
            "    2.500    ✔ 200 from 10.0.0.1:80 after 500 ms",
        ],
    ),
    "what a peer says cannot command the terminal": (
        [started(0), answered(0, reason=b"\x1b[2J")],
        ["    0.000  1 ← 200 \\x1b[2J"],
    ),
}


@pytest.mark.parametrize(("course", "lines"), COURSES.values(), ids=COURSES)
def test_course(course: list[events.Event], lines: list[str]) -> None:
    stream = io.StringIO()
    timeline = Timeline(stream, PLAIN)
    for event in course:
        timeline(event)
    assert stream.getvalue().splitlines() == lines


def test_credentials_are_not_shown() -> None:
    stream = io.StringIO()
    Timeline(stream, PLAIN)(sent(0))
    assert "secret" not in stream.getvalue()


def test_each_attempt_has_a_colour_of_its_own() -> None:
    stream = io.StringIO()
    timeline = Timeline(stream, Style(is_coloured=True))
    timeline(started(0, 2))
    timeline(started(0, 3))
    second, third = stream.getvalue().splitlines()
    assert "\x1b[1;35m2\x1b[0m" in second
    assert "\x1b[1;34m3\x1b[0m" in third


def test_ascii_has_other_signs() -> None:
    stream = io.StringIO()
    Timeline(stream, Style(is_unicode=False))(sent(0))
    assert stream.getvalue() == f"    0.000  1 > GET /orders/7 sent, {len(HEAD)} bytes\n"


def test_a_line_that_is_still_open_is_on_the_screen_already() -> None:
    stream = io.StringIO()
    timeline = Timeline(stream, PLAIN)
    timeline(connecting(0, A))
    assert stream.getvalue() == "    0.000  1 · connecting to 10.0.0.1:80"
    timeline(connecting(0, B))
    assert stream.getvalue() == "    0.000  1 · connecting to 10.0.0.1:80, 10.0.0.2:80"


def test_a_stream_that_cannot_be_written_to_harms_nothing() -> None:
    stream = io.StringIO()
    timeline = Timeline(stream, PLAIN)
    stream.close()
    timeline(sent(0))
    timeline(answered(1))


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (ONE_PROBE, "1 keep-alive probe unanswered, silent for 1.10 s"),
        (THREE_PROBES, "3 keep-alive probes unanswered, silent for 2.50 s"),
        (Evidence(EvidenceKind.RESET, 0, 0.0), "connection reset"),
        (
            Evidence(EvidenceKind.RETRANSMITS, 1, 0.5),
            "1 retransmission unanswered, silent for 0.50 s",
        ),
    ],
    ids=["one", "several", "none to count", "another kind"],
)
def test_evidence_is_said_in_the_singular_too(evidence: Evidence, words: str) -> None:
    assert evidence_words(evidence) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0, "0 ms"), (0.00042, "0.42 ms"), (0.0031, "3.1 ms"), (0.017, "17 ms"), (1.106, "1.11 s")],
)
def test_durations_have_the_digits_that_matter(seconds: float, words: str) -> None:
    assert milliseconds(seconds) == words
