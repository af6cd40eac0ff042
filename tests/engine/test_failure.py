"""From the records of an exchange to the one error that names what happened and what to do."""

from __future__ import annotations

from haclient.errors import (
    NameTimeoutError,
)
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    ConnectionAttempt,
    Endpoint,
    Origin,
    Phase,
    Verdict,
)

ORIGIN = Origin("http", "a.test", 80)
A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)

SENT = AttemptRecord(
    number=1,
    origin=ORIGIN,
    endpoint=A,
    phase=Phase.WAITING,
    verdict=Verdict.CLOSED,
    started_at=10.0,
    ended_at=10.5,
    detail="Connection reset by peer",
    bytes_sent=100,
)
UNCONNECTED = AttemptRecord(1, ORIGIN, None, Phase.CONNECTING, Verdict.REFUSED, 10.0, 11.0)


class Unreached:
    """What is asked of a Reach that led nowhere."""

    def __init__(
        self, *attempts: ConnectionAttempt, errors: tuple[NameTimeoutError, ...] = ()
    ) -> None:
        self.attempts = list(attempts)
        self.errors = list(errors)


def failed(failure: ConnectFailure, endpoint: Endpoint = A, detail: str = "") -> ConnectionAttempt:
    return ConnectionAttempt(endpoint, 10.0, 10.25, failure=failure, detail=detail)
