"""What ended a connection, as a verdict, words and evidence."""

from __future__ import annotations

import ssl

import trio

from haclient.net.http1 import ConnectionLost, Garbled
from haclient.net.tls import tls_words
from haclient.types import Evidence, EvidenceKind, Verdict

__all__ = ["end_of"]


def end_of(exc: Exception) -> tuple[Verdict, str, Evidence | None] | None:
    """Returns what an exception from a connection means; None where it is not the connection's.

    A kernel that gave up waiting, or was told that there is no way there, has proved death by
    itself. When the last segment came it does not say, so the silence counts from now.
    """
    if isinstance(exc, trio.BrokenResourceError | trio.ClosedResourceError):
        evidence = _kernel_evidence(exc)
        is_dead = evidence is not None and evidence.kind is not EvidenceKind.RESET
        return (Verdict.DEAD if is_dead else Verdict.CLOSED), _words(exc), evidence
    if isinstance(exc, ConnectionLost):
        return Verdict.CLOSED, str(exc), None
    if isinstance(exc, Garbled):
        return Verdict.GARBLED, str(exc), None
    return None


def _words(exc: BaseException) -> str:
    """The system's own words, where trio wrapped them."""
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLEOFError):
        return "the connection ended without TLS's close_notify"
    if isinstance(cause, ssl.SSLError):
        return tls_words(cause)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(exc) or "the connection broke"


def _kernel_evidence(exc: BaseException) -> Evidence | None:
    """What the kernel itself gave up for."""
    cause = exc.__cause__
    if isinstance(cause, TimeoutError):
        return Evidence(EvidenceKind.TIMED_OUT, 0, 0.0)
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return Evidence(EvidenceKind.RESET, 0, 0.0)
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return Evidence(EvidenceKind.UNREACHABLE, 0, 0.0)
    return None
