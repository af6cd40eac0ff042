"""Who judges the soak is judged here: each promise, broken on paper, must be found broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bench.soak.content import content_of, digest
from tests.bench.soak.history import Ended, History, Sent
from tests.bench.soak.servers import Fault, SoakServer
from tests.bench.soak.wire import judge

NOTHING, SOME = digest(b""), digest(b"some")

GET = Sent("1", "one-shot", "GET", up_hash=NOTHING, ended=Ended.OK, status=200, origin="a")
POST = replace(GET, method="POST", up_hash=SOME)
FAILED: dict[str, Any] = {"ended": Ended.STATUS, "status": 502, "origin": ""}

DONE: dict[str, Any] = {"what": "done", "id": "1", "method": "GET", "hash": NOTHING, "bytes": 0}
RAN: list[dict[str, Any]] = [{"what": "begun", "id": "1", "method": "GET"}, DONE]
POSTED = [RAN[0], DONE | {"hash": SOME}]


@pytest.fixture
def servers(tmp_path: Path) -> list[SoakServer]:
    return [SoakServer(name, "127.0.0.1", tmp_path / name) for name in ("a", "b")]


def judged(
    servers: list[SoakServer],
    sent: Sent,
    *journals: list[dict[str, Any]],
    lines: int = 1,
    attempts: int = 1,
    outcome: str = "answered",
) -> list[str]:
    """What is wrong with one request, by what the servers and the daemon wrote down of it."""
    nothing: list[dict[str, Any]] = []
    for server, journal in zip(servers, [*journals, nothing], strict=False):
        server.journal.write_text("".join(json.dumps(line) + "\n" for line in journal))
    asked = [{"endpoint": server.bind} for server in servers[: len(journals)]]
    tried = (asked * attempts)[:attempts] or [{"endpoint": ""}]
    line = {"message": "access", "level": "info", "id": "1", "outcome": outcome, "attempts": tried}
    history = History(servers, [sent])
    history.read([json.dumps(line)] * lines)
    return [violation.what for violation in history.violations()]


def test_what_is_in_order(servers: list[SoakServer]) -> None:
    assert judged(servers, GET, RAN) == []
    assert judged(servers, POST, POSTED) == []
    # A GET may run twice, and the server that failed is not the one that is named.
    assert judged(servers, replace(GET, origin="b"), RAN, RAN, attempts=2) == []


def test_ok_means_executed_by_the_one_that_is_named(servers: list[SoakServer]) -> None:
    assert judged(servers, GET, [RAN[0]]) == ["ok, and 'a' never executed it"]
    assert judged(servers, replace(GET, origin="b"), RAN) == ["ok, and 'b' never executed it"]


def test_the_access_log_has_it_once(servers: list[SoakServer]) -> None:
    assert judged(servers, GET, RAN, lines=0) == ["ok, without its line in the access log"]
    assert "more than one line in the access log" in judged(servers, GET, RAN, lines=2)
    wrong = judged(servers, GET, RAN, outcome="broken_off")
    assert wrong == ["ok, and the access log says otherwise"]


def test_a_post_reaches_one_server(servers: list[SoakServer]) -> None:
    twice = judged(servers, POST, POSTED, [POSTED[0]], attempts=2)
    assert twice == ["a POST reached 2 servers"]
    assert judged(servers, POST, POSTED + POSTED) == ["a POST reached 2 servers"]
    assert judged(servers, replace(POST, has_key=True), POSTED, POSTED, attempts=2) == []


def test_content_is_that_which_was_sent(servers: list[SoakServer]) -> None:
    assert judged(servers, POST, RAN) == ["executed with other content than was sent"]
    cut = replace(POST, is_truncated=True, ended=Ended.LEFT)
    assert judged(servers, cut, POSTED) == ["executed, though its content was never whole"]
    assert judged(servers, cut, [POSTED[0]]) == []


def test_attempts_are_bounded(servers: list[SoakServer]) -> None:
    assert judged(servers, GET, RAN, attempts=4) == ["4 attempts"]


@pytest.mark.parametrize("ended", [Ended.WRONG, Ended.STUCK])
def test_wrong_and_stuck_have_no_excuse(ended: Ended, servers: list[SoakServer]) -> None:
    servers[0].faults.append(Fault("kill", 0.0, 1.0))
    assert judged(servers, replace(GET, ended=ended), RAN) == [ended.value]


@pytest.mark.parametrize(
    ("change", "is_excused"),
    [
        ({"method": "POST", "up_hash": SOME}, True),
        ({"method": "POST", "up_hash": SOME, "has_key": True}, False),
        ({}, False),
        ({"method": "PUT", "up_hash": SOME, "is_streamed": True}, True),
        ({"ended": Ended.BROKEN}, True),
        ({"ended": Ended.BROKEN, "etag": "strong"}, False),
        ({"ended": Ended.BROKEN, "etag": "strong", "framing": "close"}, True),
    ],
)
def test_a_failure_needs_an_excuse(
    change: dict[str, Any], is_excused: bool, servers: list[SoakServer]
) -> None:
    """That its server was struck is one only for what could not be sent again."""
    sent = replace(GET, began_at=10.0, ended_at=11.0, **{**FAILED, **change})
    journal = POSTED if sent.up_hash == SOME else RAN
    status = sent.status if sent.ended is Ended.STATUS else 502
    without = [f"failed without need ({sent.ended.value} {status})"]

    assert judged(servers, sent, journal) == without
    servers[1].faults.append(Fault("kill", 10.2, 10.4))
    assert judged(servers, sent, journal) == without, "another server was"
    servers[0].faults.append(Fault("kill", 5.0, 6.0))
    assert judged(servers, sent, journal) == without, "it was long before"
    servers[0].faults.append(Fault("kill", 10.9, 12.0))
    assert judged(servers, sent, journal) == ([] if is_excused else without)


def test_three_attempts_are_all_there_are(servers: list[SoakServer]) -> None:
    """Where the server of each was struck; not where one of them was well."""
    sent = replace(GET, began_at=10.0, ended_at=11.0, **FAILED)
    for server, is_excused in zip(servers, [False, True], strict=True):
        server.faults.append(Fault("kill", 10.5, 12.0))
        found = judged(servers, sent, RAN, RAN, attempts=3)
        assert found == ([] if is_excused else ["failed without need (status 502)"])
    assert judged(servers, sent, RAN, RAN, attempts=2) == ["failed without need (status 502)"]


@pytest.mark.parametrize(
    ("change", "content", "ended"),
    [
        ({}, content_of("1:a", 100), Ended.OK),
        ({"etag": "strong"}, content_of("1", 100), Ended.OK),
        ({"etag": "strong", "first_byte": 60, "status": 206}, content_of("1", 100)[60:], Ended.OK),
        ({"method": "HEAD"}, b"", Ended.OK),
        # Of another server; too short; a mixture of two; a part that nobody asked for.
        ({}, content_of("1:b", 100), Ended.WRONG),
        ({}, content_of("1:a", 100)[:99], Ended.WRONG),
        ({}, content_of("1:a", 100)[:50] + content_of("1:b", 100)[50:], Ended.WRONG),
        ({"etag": "strong", "status": 206}, content_of("1", 100), Ended.WRONG),
        ({"etag": "strong", "first_byte": 60}, content_of("1", 100)[60:], Ended.WRONG),
        ({"framing": "close"}, content_of("1:a", 100)[:50], Ended.BROKEN),
        ({"framing": "close"}, content_of("1:b", 100)[:50], Ended.WRONG),
        ({"status": 503}, b"busy", Ended.STATUS),
    ],
)
def test_each_byte_of_an_answer_counts(
    change: dict[str, Any], content: bytes, ended: Ended
) -> None:
    assert judge(replace(GET, down_bytes=100, **change), content) is ended
