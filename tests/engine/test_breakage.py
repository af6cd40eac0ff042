"""What ended a connection: the exceptions of the net layer as verdicts."""

from __future__ import annotations

import errno
import ssl

import pytest
import trio

from haclient.engine.breakage import end_of
from haclient.net.http1 import ConnectionLost, Garbled
from haclient.types import EvidenceKind, Verdict


def broken(cause: BaseException | None) -> trio.BrokenResourceError:
    """As the transport and trio's TLS wrap it."""
    error = trio.BrokenResourceError("it broke")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "verdict", "words", "kind"),
    [
        pytest.param(None, Verdict.CLOSED, "it broke", None, id="nobody knows why"),
        pytest.param(
            ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
            Verdict.CLOSED,
            "Connection reset by peer",
            EvidenceKind.RESET,
            id="a reset is a sign of life of its host",
        ),
        pytest.param(
            TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
            Verdict.DEAD,
            "Connection timed out",
            EvidenceKind.TIMED_OUT,
            id="the kernel gave up waiting",
        ),
        pytest.param(
            OSError(errno.EHOSTUNREACH, "No route to host"),
            Verdict.DEAD,
            "No route to host",
            EvidenceKind.UNREACHABLE,
            id="the network says that there is no way there",
        ),
        pytest.param(
            ssl.SSLEOFError(),
            Verdict.CLOSED,
            "the connection ended without TLS's close_notify",
            None,
            id="TLS cut short",
        ),
    ],
)
def test_a_broken_connection(
    cause: BaseException | None, verdict: Verdict, words: str, kind: EvidenceKind | None
) -> None:
    end = end_of(broken(cause))
    assert end is not None
    assert end[:2] == (verdict, words)
    assert (end[2].kind if end[2] is not None else None) is kind


def test_ends_of_messages() -> None:
    assert end_of(ConnectionLost("gone")) == (Verdict.CLOSED, "gone", None)
    assert end_of(Garbled("no HTTP")) == (Verdict.GARBLED, "no HTTP", None)
    assert end_of(trio.ClosedResourceError("closed")) == (Verdict.CLOSED, "closed", None)


def test_what_is_not_the_connections_is_told_apart() -> None:
    assert end_of(ValueError("a field that cannot be sent")) is None
