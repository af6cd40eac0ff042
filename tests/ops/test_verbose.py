"""-v: a line or a head for every event, and no credentials among them."""

from __future__ import annotations

import io
from typing import get_args

import pytest

from haclient import events
from haclient.ops.verbose import Verbose
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

A, V6 = Endpoint("10.0.0.1", 80), Endpoint("2001:db8::1", 80)
ORIGIN = Origin("http", "h.test", 80)
PROBE = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)
HEAD = b"GET /p HTTP/1.1\r\nHost: h.test\r\n\r\n"
RECORD = AttemptRecord(1, ORIGIN, A, Phase.DONE, Verdict.ANSWERED, 0.0, 1.0)

SHOWN: dict[str, tuple[events.Event, str]] = {
    "a first attempt": (events.AttemptStarted(0.0, 1, (ORIGIN,)), ""),
    "another attempt": (
        events.AttemptStarted(0.0, 2, (ORIGIN,), "attempt 1 is suspect"),
        "* Attempt 2: attempt 1 is suspect\n",
    ),
    "a name": (
        events.NameResolved(0.0, 1, "h.test", (A, V6), "dns", 5.0),
        "* h.test: 10.0.0.1:80, [2001:db8::1]:80 (dns)\n",
    ),
    "an address": (events.NameResolved(0.0, 1, "10.0.0.1", (A,), "literal", None), ""),
    "a connect": (events.ConnectionAttemptStarted(0.0, 1, V6), "* Trying [2001:db8::1]:80...\n"),
    "a refusal": (
        events.ConnectionAttemptEnded(0.0, 1, A, ConnectFailure.REFUSED, "Connection refused"),
        "* 10.0.0.1:80: refused (Connection refused)\n",
    ),
    "a time-out": (
        events.ConnectionAttemptEnded(0.0, 1, A, ConnectFailure.TIMED_OUT),
        "* 10.0.0.1:80: timed out\n",
    ),
    "a race that was lost": (
        events.ConnectionAttemptEnded(0.0, 1, A, ConnectFailure.LOST, "another was faster"),
        "",
    ),
    "a race that was won": (events.ConnectionAttemptEnded(0.0, 1, A, None), ""),
    "a connection": (
        events.Connected(0.0, 1, ORIGIN, A, None, False),
        "* Connected to http://h.test (10.0.0.1:80)\n",
    ),
    "a connection with TLS": (
        events.Connected(0.0, 1, ORIGIN, A, None, False, "TLSv1.3 X"),
        "* Connected to http://h.test (10.0.0.1:80), TLSv1.3 X\n",
    ),
    "an old connection": (
        events.Connected(0.0, 1, ORIGIN, A, None, True),
        "* Re-using connection to http://h.test (10.0.0.1:80)\n",
    ),
    "a request": (
        events.RequestSent(0.0, 1, A, HEAD, 40),
        "> GET /p HTTP/1.1\n> Host: h.test\n> \n",
    ),
    "an answer": (
        events.ResponseStarted(0.0, 1, A, 200, b"OK", b"1.1", ((b"A", b"b"), (b"C", b""))),
        "< HTTP/1.1 200 OK\n< A: b\n< C:\n< \n",
    ),
    "a probe": (
        events.Probed(0.0, 1, A, 1.0),
        "* 10.0.0.1:80 silent for 1.00 s: TCP keep-alive probe sent\n",
    ),
    "a suspicion": (
        events.Suspected(0.0, 1, A, PROBE),
        "* 10.0.0.1:80 suspect: 3 keep-alive probes unanswered, silent for 2.50 s\n",
    ),
    "a suspicion taken back": (events.Cleared(0.0, 1, A), "* 10.0.0.1:80 is alive after all\n"),
    "a death": (
        events.DeclaredDead(0.0, 1, A, PROBE),
        "* 10.0.0.1:80 dead: 3 keep-alive probes unanswered, silent for 2.50 s\n",
    ),
    "the end of an attempt": (events.AttemptEnded(0.0, 1, RECORD), ""),
    "the end of an exchange": (events.ExchangeEnded(0.0, (RECORD,), None), ""),
}


def shown(*several: events.Event) -> str:
    stream = io.StringIO()
    verbose = Verbose(stream)
    for event in several:
        verbose(event)
    return stream.getvalue()


@pytest.mark.parametrize(("event", "lines"), SHOWN.values(), ids=SHOWN.keys())
def test_what_is_shown(event: events.Event, lines: str) -> None:
    assert shown(event) == lines


def test_every_event_has_a_case() -> None:
    kinds = {type(event) for event, _ in SHOWN.values()} | {events.InterimReceived}

    assert kinds == set(get_args(events.Event))


CONTINUE = events.InterimReceived(0.0, 1, 100, (), b"Continue")
SENT = events.RequestSent(0.0, 1, A, HEAD, 40)
ANSWER = events.ResponseStarted(0.0, 1, A, 204, b"", b"1.1", ())


def firsts(text: str) -> list[str]:
    """The first line of each head."""
    return [line for line in text.splitlines() if "HTTP/1.1" in line]


def test_an_interim_head_does_not_come_before_its_request() -> None:
    assert firsts(shown(CONTINUE, SENT, ANSWER)) == [
        "> GET /p HTTP/1.1",
        "< HTTP/1.1 100 Continue",
        "< HTTP/1.1 204 ",
    ]


def test_one_that_comes_after_it_is_shown_at_once() -> None:
    assert firsts(shown(SENT, CONTINUE)) == ["> GET /p HTTP/1.1", "< HTTP/1.1 100 Continue"]


def test_an_answer_in_the_midst_of_a_request_holds_nothing_back() -> None:
    assert firsts(shown(CONTINUE, ANSWER)) == ["< HTTP/1.1 100 Continue", "< HTTP/1.1 204 "]


def test_the_next_exchange_counts_its_attempts_anew() -> None:
    ended = events.ExchangeEnded(0.0, (), None)

    assert firsts(shown(SENT, ended, CONTINUE, SENT))[1:] == [
        "> GET /p HTTP/1.1",
        "< HTTP/1.1 100 Continue",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "Cookie",
        "Set-Cookie",
        "X-Api-Key",
        "ApiKey",
        "X-Auth-Token",
        "X-Secret",
        "X-Password",
    ],
)
def test_credentials_are_masked(name: str) -> None:
    head = f"GET / HTTP/1.1\r\nHost: h.test\r\n{name}: open sesame\r\nA: b\r\n\r\n".encode()

    text = shown(events.RequestSent(0.0, 1, A, head, 9))
    assert f"> {name}: (masked)\n> A: b\n" in text
    assert "sesame" not in text


@pytest.mark.parametrize("name", ["Idempotency-Key", "WWW-Authenticate", "Accept", "Keep-Alive"])
def test_other_fields_are_not(name: str) -> None:
    fields = ((name.encode(), b"cookie: token"),)

    assert f"< {name}: cookie: token\n" in shown(
        events.ResponseStarted(0.0, 1, A, 200, b"", b"1.1", fields)
    )


def test_a_terminal_is_not_told_what_to_do() -> None:
    fields = ((b"A", b"\x1b[31m\x9b"),)

    text = shown(events.ResponseStarted(0.0, 1, A, 200, b"\x07", b"1.1", fields))
    assert text == "< HTTP/1.1 200 \\x07\n< A: \\x1b[31m\\x9b\n< \n"


class Full(io.StringIO):
    """Takes so many lines and no more."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, text: str) -> int:
        if not self.room:
            raise BrokenPipeError
        self.room -= 1
        return super().write(text)


def test_a_stream_that_takes_nothing_more_is_left_alone() -> None:
    stream = Full(1)
    verbose = Verbose(stream)
    for _ in range(2):
        verbose(events.Cleared(0.0, 1, A))
    stream.room = 9
    verbose(events.Cleared(0.0, 1, A))

    assert stream.getvalue() == "* 10.0.0.1:80 is alive after all\n"
