"""The engine's steps in the log: what is told, and what never is."""

from __future__ import annotations

from pathlib import Path

import pytest

from haclient import events
from haclient.core.config import LogSettings
from haclient.ops.log import Log
from haclient.ops.steps_log import StepsLog
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

HERE = Endpoint("127.0.0.1", 50001)
THERE = Endpoint("10.0.0.2", 8080)
ORIGIN = Origin("http", "a.test", 8080)
RECORD = AttemptRecord(1, ORIGIN, THERE, Phase.WAITING, Verdict.CLOSED, 1.0, 1.5, detail="FIN")


def line_of(tmp_path: Path, event: events.Event) -> str:
    path = tmp_path / "stderr"
    with path.open("wb") as stderr:
        log = Log(LogSettings(level="debug"), stderr, under_journal=True)
    StepsLog(log)(event)
    log.close()
    return path.read_text()


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            events.NameResolved(1.0, 1, "a.test", (THERE, HERE), "hosts", None),
            '<7>name resolved attempt=1 host=a.test endpoints="10.0.0.2:8080, 127.0.0.1:50001" source=hosts',
        ),
        (
            events.ConnectionAttemptEnded(
                1.0, 1, THERE, ConnectFailure.REFUSED, "Connection refused"
            ),
            "<7>connection attempt ended attempt=1 endpoint=10.0.0.2:8080 failure=refused "
            'detail="Connection refused"',
        ),
        (
            events.Probed(1.0, 2, THERE, 1.00049),
            "<7>probed attempt=2 endpoint=10.0.0.2:8080 silent_for=1.000",
        ),
        (
            events.DeclaredDead(1.0, 2, THERE, Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)),
            "<7>declared dead attempt=2 endpoint=10.0.0.2:8080 "
            'evidence="3 keep-alive probes unanswered, silent for 2.50 s"',
        ),
        (
            events.AttemptEnded(1.0, 1, RECORD),
            '<7>attempt ended attempt=1 what="10.0.0.2:8080: closed while waiting after 0.50 s (FIN)"',
        ),
    ],
)
def test_a_line_for_a_step(tmp_path: Path, event: events.Event, line: str) -> None:
    assert line_of(tmp_path, event) == line + "\n"


def test_no_head_is_told(tmp_path: Path) -> None:
    head = b"GET / HTTP/1.1\r\nAuthorization: Bearer secret\r\n\r\n"
    fields = ((b"Set-Cookie", b"secret"),)
    sent = line_of(tmp_path, events.RequestSent(1.0, 1, THERE, head, len(head)))
    begun = line_of(tmp_path, events.ResponseStarted(1.0, 1, THERE, 200, b"secret", b"1.1", fields))
    assert "bytes_sent=48" in sent
    assert "status=200" in begun
    assert "secret" not in sent + begun


def test_the_end_of_an_exchange_is_the_access_logs(tmp_path: Path) -> None:
    assert line_of(tmp_path, events.ExchangeEnded(1.0, (RECORD,), None)) == ""
