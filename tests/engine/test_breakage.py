"""What an exception from a connection means."""

from __future__ import annotations

import errno
import os
import ssl

import pytest
import trio

from haclient.engine.breakage import end_of
from haclient.net.http1 import ConnectionLost, Endless, Garbled
from haclient.types import Evidence, EvidenceKind, Verdict

RESET = Evidence(EvidenceKind.RESET, 0, 0.0)
TIMED_OUT = Evidence(EvidenceKind.TIMED_OUT, 0, 0.0)
UNREACHABLE = Evidence(EvidenceKind.UNREACHABLE, 0, 0.0)


def system(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def alert(reason: str) -> ssl.SSLError:
    """As OpenSSL raises one."""
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("cause", "verdict", "words", "evidence"),
    [
        (system(errno.ECONNRESET), Verdict.CLOSED, "Connection reset by peer", RESET),
        (system(errno.EPIPE), Verdict.CLOSED, "Broken pipe", RESET),
        (system(errno.ETIMEDOUT), Verdict.DEAD, "Connection timed out", TIMED_OUT),
        (system(errno.EHOSTUNREACH), Verdict.DEAD, "No route to host", UNREACHABLE),
        (
            ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
            Verdict.CLOSED,
            "the connection ended without TLS's close_notify",
            None,
        ),
        (alert("DECRYPTION_FAILED"), Verdict.CLOSED, "decryption failed", None),
        (ValueError("odd"), Verdict.CLOSED, "the connection broke", None),
        (None, Verdict.CLOSED, "the connection broke", None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_broken_stream(
    cause: Exception | None, verdict: Verdict, words: str, evidence: Evidence | None
) -> None:
    broken = trio.BrokenResourceError()
    broken.__cause__ = cause
    assert end_of(broken) == (verdict, words, evidence)


@pytest.mark.parametrize(
    ("exc", "verdict"),
    [
        (trio.ClosedResourceError("the pool is closed"), Verdict.CLOSED),
        (ConnectionLost("the server closed the connection"), Verdict.CLOSED),
        (Garbled("no head"), Verdict.GARBLED),
        (Endless("a long head"), Verdict.GARBLED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_in_its_own_words(exc: Exception, verdict: Verdict) -> None:
    assert end_of(exc) == (verdict, str(exc), None)


def test_anything_else_is_not_the_connections() -> None:
    assert end_of(ValueError("two Host fields")) is None
