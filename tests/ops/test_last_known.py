"""What an address's state says, and when."""

from __future__ import annotations

import msgspec
import pytest

from haclient.core.health import MAX_ENDPOINTS, Health
from haclient.core.health_check import Opinion
from haclient.ops.last_known import LastKnown
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

A, B = Endpoint("127.0.0.2", 80), Endpoint("127.0.0.3", 80)
SILENT = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)
ATTEMPT = AttemptRecord(
    1, Origin("http", "a.internal", 80), A, Phase.WAITING, Verdict.ANSWERED, 1.0, 2.0
)


def test_nothing_is_known_of_who_was_not_tried() -> None:
    known = LastKnown()

    assert known.state(A, None) == "untried"
    assert known.state(A, None, is_connected=True) == "ok"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"verdict": Verdict.DEAD}, "failed"),
        ({"verdict": Verdict.CLOSED}, "failed"),
        ({"verdict": Verdict.CLOSED, "reused": True}, "untried"),
        ({"verdict": Verdict.SUPERSEDED, "evidence": SILENT}, "failed"),
        ({"verdict": Verdict.SUPERSEDED}, "untried"),
        ({"verdict": Verdict.CANCELLED}, "untried"),
        ({"verdict": Verdict.REFUSED, "endpoint": None}, "untried"),
    ],
)
def test_an_attempt(changes: dict[str, object], state: str) -> None:
    known = LastKnown()
    known.note_attempt(msgspec.structs.replace(ATTEMPT, **changes))

    assert known.state(A, None) == state


def test_why_it_failed() -> None:
    known = LastKnown()
    known.note_attempt(msgspec.structs.replace(ATTEMPT, verdict=Verdict.DEAD, evidence=SILENT))
    known.note(A, is_good=False)

    assert known.why(A) == "dead: 3 keep-alive probes unanswered, silent for 2.50 s"
    assert known.why(B) == ""
    known.note_attempt(ATTEMPT)
    assert known.why(A) == ""
    known.note_attempt(msgspec.structs.replace(ATTEMPT, verdict=Verdict.CLOSED))
    assert known.why(A) == "closed"


def test_a_race() -> None:
    known = LastKnown()
    connects = (
        ConnectionAttempt(A, 1.0, 1.1, 1.1, usable_at=1.1),
        ConnectionAttempt(B, 1.0, 1.1, failure=ConnectFailure.REFUSED),
        ConnectionAttempt(Endpoint("127.0.0.4", 80), 1.0, 1.1, failure=ConnectFailure.LOST),
    )
    race = msgspec.structs.replace(ATTEMPT, verdict=Verdict.CANCELLED, connection_attempts=connects)
    known.note_attempt(race)

    states = [known.state(one.endpoint, None) for one in connects]
    assert states == ["ok", "failed", "untried"]
    assert known.why(B) == "refused"


def test_the_end_of_a_hold_is_no_recovery() -> None:
    known, health = LastKnown(), Health()

    def state(now: float) -> str:
        found = {each.endpoint: each for each in health.snapshot(now)}
        return known.state(A, found.get(A))

    known.note(A, is_good=False)
    health.report_suspect(A, 99.0, 0)
    assert state(99.0) == "suspect"
    health.report_failure(A, 100.0, 0)
    assert state(100.0) == "held down"
    assert state(106.0) == "failed"
    assert state(1000.0) == "failed"
    health.report_success(A, 106.0, health.generation(A))
    known.note(A, is_good=True)
    assert state(106.0) == "ok"
    assert state(1000.0) == "ok"


def test_it_does_not_grow_without_end() -> None:
    known = LastKnown()
    for port in range(MAX_ENDPOINTS + 2):
        known.note(Endpoint("10.0.0.1", port), is_good=True)

    assert repr(known) == f"<LastKnown of {MAX_ENDPOINTS} addresses>"
    assert known.state(Endpoint("10.0.0.1", 1), None) == "untried"
    assert known.state(Endpoint("10.0.0.1", 2), None) == "ok"


def test_what_health_requests_say() -> None:
    known, health = LastKnown(), Health()
    known.note(A, is_good=True)
    assert known.state(A, None, opinion=Opinion.SILENT) == "suspect"
    assert known.state(A, None, opinion=Opinion.UNAVAILABLE) == "unavailable"
    health.report_failure(A, 100.0, 0)
    [held] = health.snapshot(100.0)
    assert known.state(A, held, opinion=Opinion.SILENT) == "held down"
    [over] = health.snapshot(110.0)
    assert known.state(A, over, opinion=Opinion.SILENT) == "suspect"


def test_who_was_overtaken_while_its_health_requests_were_silent_has_not_failed() -> None:
    known = LastKnown()
    known.note(A, is_good=True)
    evidence = Evidence(EvidenceKind.HEALTH_REQUESTS, 2, 4.0, "/health")
    overtaken = msgspec.structs.replace(ATTEMPT, verdict=Verdict.SUPERSEDED, evidence=evidence)
    known.note_attempt(overtaken)
    assert known.state(A, None) == "ok"


def test_a_connect_from_before_a_failure_is_no_news() -> None:
    """A client leaves a tunnel whose server was proved dead to another one meanwhile."""
    known = LastKnown()
    dead = msgspec.structs.replace(ATTEMPT, verdict=Verdict.DEAD, evidence=SILENT, ended_at=5.0)

    def left(usable_at: float) -> AttemptRecord:
        connect = ConnectionAttempt(A, usable_at, usable_at, usable_at, usable_at=usable_at)
        return msgspec.structs.replace(
            ATTEMPT, verdict=Verdict.CANCELLED, ended_at=9.0, connection_attempts=(connect,)
        )

    known.note_attempt(dead)
    known.note(A, is_good=False)  # as each look has it while the engine remembers
    known.note_attempt(left(usable_at=4.0))
    assert known.state(A, None) == "failed"
    assert known.why(A) == "dead: 3 keep-alive probes unanswered, silent for 2.50 s"
    known.note_attempt(left(usable_at=6.0))
    assert known.state(A, None) == "ok"


def test_a_failure_from_before_a_recovery_is_no_news() -> None:
    """A long download began with a refusal, and ends long after the server came back."""
    known = LastKnown()
    refused = ConnectionAttempt(A, 4.0, 4.0, failure=ConnectFailure.REFUSED)
    long = msgspec.structs.replace(
        ATTEMPT, endpoint=B, ended_at=900.0, connection_attempts=(refused,)
    )
    known.note(A, is_good=False, why="refused")
    known.note_attempt(msgspec.structs.replace(ATTEMPT, ended_at=6.0))
    known.note_attempt(long)
    assert known.state(A, None) == "ok"
    assert known.state(B, None) == "ok"
