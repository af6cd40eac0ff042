"""The line of a request: all that was tried for it, and nothing of what is secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.config import LogSettings
from haclient.ops.access_log import AccessLog, access_line, access_members
from haclient.ops.log import Log
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    ConnectionAttempt,
    Endpoint,
    Evidence,
    EvidenceKind,
    Origin,
    Phase,
    Verdict,
)

ORIGIN = Origin("http", "orders.internal", 8080)

DIED = AttemptRecord(
    number=1,
    origin=ORIGIN,
    endpoint=Endpoint("10.0.0.2", 8080),
    phase=Phase.WAITING,
    verdict=Verdict.DEAD,
    started_at=100.0,
    ended_at=102.51,
    evidence=Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.51),
    bytes_sent=120,
)

ANSWERED = AttemptRecord(
    number=2,
    origin=ORIGIN,
    endpoint=Endpoint("10.0.0.3", 8080),
    phase=Phase.DONE,
    verdict=Verdict.ANSWERED,
    started_at=102.511,
    ended_at=102.514,
    status=200,
    reused=True,
    bytes_sent=120,
)

RECORD = ExchangeRecord(
    listener="orders",
    target="orders",
    client="127.0.0.1:50312",
    request_id="7f3a",
    method="GET",
    path="/v1/orders/7",
    host="orders.internal:8080",
    http_version="1.1",
    status=200,
    outcome=Outcome.ANSWERED,
    began_at=100.0,
    ended_at=102.515,
    head_at=102.514,
    response_bytes=512,
    attempts=(DIED, ANSWERED),
)


def having(**changes: Any) -> ExchangeRecord:
    return msgspec.structs.replace(RECORD, **changes)


def fields(line: str) -> dict[str, str]:
    """As a program would read the line."""
    found = re.findall(r' ([a-z_]+)=("(?:[^"\\]|\\.)*"|[^" ]+)', line)
    assert "access" + "".join(f" {key}={value}" for key, value in found) == line
    return {k: json.loads(v) if v.startswith('"') else v for k, v in found}


def test_the_whole_line() -> None:
    assert access_line(RECORD) == (
        'access client=127.0.0.1:50312 method=GET path="/v1/orders/7" host=orders.internal:8080'
        " status=200 outcome=answered ms=2515.0 head_ms=2514.0 sent=0 bytes=512"
        " listener=orders target=orders id=7f3a"
        ' attempts="1 10.0.0.2:8080 dead waiting 2510ms'
        " (3 keep-alive probes unanswered, silent for 2.51 s);"
        ' 2 10.0.0.3:8080 answered 200 3ms"'
    )


def test_a_tunnel() -> None:
    told = fields(
        access_line(
            having(
                method="TCP",
                path="",
                host="",
                status=0,
                outcome=Outcome.TUNNELLED,
                attempts=(msgspec.structs.replace(ANSWERED, number=1, status=None),),
                is_tcp=True,
            )
        )
    )
    assert (told["method"], told["path"], told["outcome"]) == ("TCP", "", "tunnelled")
    assert told["attempts"] == "1 10.0.0.3:8080 answered 3ms"


def test_a_request_that_no_server_was_asked_about() -> None:
    record = having(
        status=400,
        outcome=Outcome.OWN,
        attempts=(),
        target="",
        head_at=None,
        error="http_request_error",
        detail='the head is not "HTTP"',
    )
    told = fields(access_line(record))

    assert told["attempts"] == told["target"] == ""
    assert told["outcome"] == "own"
    assert told["error"] == "http_request_error"
    assert told["detail"] == 'the head is not "HTTP"'
    assert "head_ms" not in told


def test_an_attempt_without_a_connection() -> None:
    refused = msgspec.structs.replace(
        DIED,
        endpoint=None,
        phase=Phase.CONNECTING,
        verdict=Verdict.REFUSED,
        evidence=None,
        detail='connect: "refused"',
        ended_at=100.0004,
    )
    told = fields(access_line(having(attempts=(refused,))))

    assert told["attempts"] == (
        '1 http://orders.internal:8080 refused connecting 0ms (connect: "refused")'
    )


def test_an_answer_that_broke_off_has_its_status() -> None:
    broken = msgspec.structs.replace(
        ANSWERED, verdict=Verdict.CLOSED, phase=Phase.RECEIVING, status=206
    )
    told = fields(access_line(having(attempts=(broken,), outcome=Outcome.BROKEN_OFF)))

    assert told["attempts"] == "2 10.0.0.3:8080 closed 206 receiving 3ms"
    assert told["outcome"] == "broken_off"


def test_what_a_resend_lacked_is_told() -> None:
    replay = "more than replay_limit"
    died = msgspec.structs.replace(DIED, replay=replay)
    answered = msgspec.structs.replace(ANSWERED, replay=replay)
    resumed = msgspec.structs.replace(ANSWERED, detail="goes on at byte 700", status=206)
    told = fields(access_line(having(attempts=(died, answered, resumed))))["attempts"].split("; ")

    lost = "content cannot be sent again: more than replay_limit"
    assert told[0].endswith(f" (3 keep-alive probes unanswered, silent for 2.51 s, {lost})")
    assert told[1] == f"2 10.0.0.3:8080 answered 200 3ms ({lost})"
    assert told[2] == "2 10.0.0.3:8080 answered 206 3ms (goes on at byte 700)"
    assert [one["replay"] for one in access_members(having(attempts=(died,)))["attempts"]] == [
        replay
    ]


def connect(number: int, failure: ConnectFailure | None) -> ConnectionAttempt:
    return ConnectionAttempt(
        Endpoint(f"10.0.1.{number}", 80), 100.0, 100.001, failure=failure, detail="its words"
    )


def test_addresses_that_could_not_be_connected_are_told() -> None:
    race = (
        connect(1, ConnectFailure.REFUSED),
        connect(2, ConnectFailure.LOST),
        connect(3, ConnectFailure.TIMED_OUT),
        connect(4, None),
    )
    raced = msgspec.structs.replace(ANSWERED, connection_attempts=race)
    told = fields(access_line(having(attempts=(raced,))))["attempts"]

    assert told == "2 10.0.0.3:8080 answered 200 3ms (10.0.1.1:80 refused, 10.0.1.3:80 timed out)"
    (attempt,) = access_members(having(attempts=(raced,)))["attempts"]
    assert attempt["failed_connects"] == [
        {"endpoint": "10.0.1.1:80", "failure": "refused", "detail": "its words", "ms": 1.0},
        {"endpoint": "10.0.1.3:80", "failure": "timed out", "detail": "its words", "ms": 1.0},
    ]


def test_not_every_one_of_many_addresses_is_told() -> None:
    race = tuple(connect(number, ConnectFailure.REFUSED) for number in range(200))
    record = having(attempts=(msgspec.structs.replace(DIED, connection_attempts=race),))

    told = fields(access_line(record))["attempts"]
    assert "10.0.1.7:80 refused, 192 more failed to connect, 3 keep-alive probes" in told
    assert len(access_members(record)["attempts"][0]["failed_connects"]) == 8


SECRETS = having(
    path="http://user:hunter2@h/a?Access_Token=hunter2&api-key=hunter2;x=1",
    host="user:hunter2@h",
)


def test_no_credential_is_told() -> None:
    for line in (access_line(SECRETS), json.dumps(access_members(SECRETS))):
        assert "hunter2" not in line
        assert "http://***@h/a?Access_Token=***&api-key=***;x=1" in line


TEXTS = st.text(st.characters(codec=None), max_size=30)


@given(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
def test_no_client_writes_a_line_or_a_field_of_its_own(
    path: str, method: str, host: str, id_: str, detail: str
) -> None:
    record = having(path=path, method=method, host=host, request_id=id_, detail=detail)
    line = access_line(record)

    assert line.isprintable()
    names = [*("client", "method", "path", "host", "status", "outcome", "ms", "head_ms", "sent")]
    names += ["bytes", "listener", "target", "id", *(["detail"] if detail else []), "attempts"]
    assert list(fields(line)) == names


def test_what_is_too_long_is_cut() -> None:
    long = "x" * 30_000
    record = having(path=f"/{long}\x1b", host=long, request_id=long, method=long)

    assert len(access_line(record)) < 4 * 2100 + 500
    assert len(json.dumps(access_members(record))) < 4 * 2100 + 2000
    assert '…" host=' in access_line(record)


# --- through the log ------------------------------------------------------------------------------


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "stderr").open("w+b") as file:
        yield file


def written(stderr: IO[bytes], settings: LogSettings, record: ExchangeRecord) -> str:
    log = Log(settings, stderr, False, lambda: 1_795_780_800_123_456_789)
    AccessLog(log)(record)
    log.close()
    stderr.seek(0)
    return stderr.read().decode()


def test_a_line_of_text(stderr: IO[bytes]) -> None:
    line = written(stderr, LogSettings(), RECORD)

    assert line.startswith("2026-11-27T12:00:00.123Z info access client=127.0.0.1:50312 ")
    assert line.endswith('answered 200 3ms"\n')


def test_a_line_of_json(stderr: IO[bytes]) -> None:
    told = json.loads(written(stderr, LogSettings(format="json"), RECORD))

    attempts = told.pop("attempts")
    assert told == {
        "time": "2026-11-27T12:00:00.123Z",
        "level": "info",
        "message": "access",
        "client": "127.0.0.1:50312",
        "method": "GET",
        "path": "/v1/orders/7",
        "host": "orders.internal:8080",
        "http_version": "1.1",
        "status": 200,
        "outcome": "answered",
        "ms": 2515.0,
        "head_ms": 2514.0,
        "sent": 0,
        "bytes": 512,
        "listener": "orders",
        "target": "orders",
        "id": "7f3a",
        "error": "",
        "detail": "",
    }
    assert attempts[0] == {
        "number": 1,
        "origin": "http://orders.internal:8080",
        "endpoint": "10.0.0.2:8080",
        "verdict": "dead",
        "phase": "waiting",
        "status": None,
        "reused": False,
        "start_ms": 0.0,
        "end_ms": 2510.0,
        "bytes_sent": 120,
        "evidence": "3 keep-alive probes unanswered, silent for 2.51 s",
        "detail": "",
        "replay": "",
        "failed_connects": [],
    }
    assert [each["verdict"] for each in attempts] == ["dead", "answered"]


def test_json_tells_no_secret_and_no_control_character(stderr: IO[bytes]) -> None:
    record = msgspec.structs.replace(SECRETS, request_id='"\n\x7f\x9b\u202e\udcff')
    line = written(stderr, LogSettings(format="json"), record)

    assert line.rstrip("\n").isprintable()
    assert "hunter2" not in line
    assert json.loads(line)["host"] == "***@h"


@pytest.mark.parametrize(
    ("changes", "is_warning"),
    [
        ({"outcome": Outcome.OWN, "status": 502}, True),
        ({"outcome": Outcome.OWN, "status": 404}, False),
        ({"outcome": Outcome.ANSWERED, "status": 502}, False),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_that_nobody_could_serve_is_a_warning(
    form: Literal["text", "json"], changes: dict[str, Any], is_warning: bool, stderr: IO[bytes]
) -> None:
    line = written(stderr, LogSettings(format=form, level="warning"), having(**changes))
    assert ("access" in line) is ("warning" in line) is is_warning


def test_an_address_is_told_once() -> None:
    connects = tuple(
        ConnectionAttempt(Endpoint("10.0.0.2", port), 1.0, 2.0, failure=ConnectFailure.REFUSED)
        for port in (1, 2, 1)
    )
    refused = msgspec.structs.replace(
        DIED,
        verdict=Verdict.REFUSED,
        endpoint=None,
        evidence=None,
        phase=Phase.CONNECTING,
        detail="10.0.0.2:1 refused, 10.0.0.2:2 refused",
        connection_attempts=connects,
    )
    told = fields(access_line(having(attempts=(refused,))))["attempts"]
    assert told.endswith("(10.0.0.2:1 refused, 10.0.0.2:2 refused)")


@pytest.mark.parametrize("level", ["warning", "error"])
def test_it_is_a_line_of_the_level_info(level: str, stderr: IO[bytes]) -> None:
    assert written(stderr, LogSettings(level=level), RECORD) == ""
