"""From the records of an exchange that failed to the one error that its caller gets.

The class is chosen by the attempt that came furthest towards an answer last; the message names it,
says what else was tried, why nothing more was, and what to do.
"""

from __future__ import annotations

from haclient.core.retry import GIVEN_UP, GiveUp
from haclient.engine.outcome import CallerFailed
from haclient.engine.reach import Reach
from haclient.errors import (
    BadRequestError,
    CertificateError,
    ConnectError,
    ConnectTimeoutError,
    DeadlineError,
    Error,
    LoopError,
    ProtocolError,
    ProxyCredentialsError,
    ProxyError,
    ResponseIncompleteError,
    ResponseTimeoutError,
    ServerDiedError,
    TlsError,
)
from haclient.types import AttemptRecord, ConnectFailure, ConnectionAttempt, Phase, Verdict

__all__ = ["deadline_error_for", "error_for"]

MOST_NAMED = 4
"""URLs of a target that a message names; its addresses follow in any case."""


def error_for(
    records: tuple[AttemptRecord, ...],
    why_not_again: GiveUp | None,
    reach: Reach | None,
    error: Exception | None,
    told: AttemptRecord | None = None,
) -> Exception:
    """Returns the error to raise.

    Args:
        records: every attempt, in order; at least one.
        why_not_again: nothing more was tried; None where nothing could be sent, which is reason enough.
        reach: the last attempt's way to a connection.
        error: the caller's own part that failed; returned itself, with the records added.
        told: the attempt to tell of; by default the one that tells most.
    """
    may = any(record.bytes_sent > 0 for record in records)
    stage = records[-1].phase
    if error is not None:
        if isinstance(error, CallerFailed):
            assert isinstance(error.__cause__, Exception)
            return error.__cause__
        if isinstance(error, Error):
            error.attempts, error.may_have_been_processed, error.stage = records, may, stage
            return error
        if isinstance(error, ValueError):
            # Of the head, before any of it was sent: core.framing says what is wrong.
            return BadRequestError(
                f"the request cannot be sent: {error}",
                stage=stage,
                may_have_been_processed=may,
                attempts=records,
            )
        return error
    told = told if told is not None else most_telling(records)
    # Without an error of the caller's own it is names that failed.
    if told.verdict in (Verdict.REFUSED, Verdict.FAILED):
        return _unconnected(records, reach, may, stage)
    assert why_not_again is not None
    message = f"{told.describe()}; {_may_words(may)}not tried again: {why_not_again.reason}"
    failed = _class_for(told)(
        message + _others(records, told),
        stage=told.phase,
        may_have_been_processed=may,
        attempts=records,
    )
    failed.why_not_again, failed.limit = why_not_again.reason, why_not_again.limit
    return failed


def deadline_error_for(records: tuple[AttemptRecord, ...], timeout: float) -> DeadlineError:
    """Returns the error to raise where the caller's time was up."""
    last = records[-1]
    return DeadlineError(
        f"no answer within the {timeout:.3g} s allowed: {last.describe()}",
        stage=last.phase,
        may_have_been_processed=any(record.bytes_sent > 0 for record in records),
        attempts=records,
    )


def most_telling(records: tuple[AttemptRecord, ...]) -> AttemptRecord:
    """The last attempt whose server failed it; or else that had one; or else the last one."""
    had_server = [record for record in records if record.endpoint is not None]
    failed = [record for record in had_server if record.verdict not in GIVEN_UP]
    return (failed or had_server or records)[-1]


def _class_for(record: AttemptRecord) -> type[Error]:
    match record.verdict:
        case Verdict.SLOW:
            return ResponseTimeoutError
        case Verdict.GARBLED:
            return ProtocolError
        case _ if record.phase is Phase.RECEIVING:
            return ResponseIncompleteError
        case _:
            return ServerDiedError


def _may_words(may: bool) -> str:
    return "a server may have executed the request; " if may else ""


def _others(records: tuple[AttemptRecord, ...], told: AttemptRecord) -> str:
    return "".join(
        f"\n  attempt {record.number}: {record.describe()}"
        for record in records
        if record is not told
    )


def _unconnected(
    records: tuple[AttemptRecord, ...], reach: Reach | None, may: bool, stage: Phase
) -> Error:
    """No address could be connected: names, refusals, time-outs or certificates."""
    attempts = reach.met.attempts if reach is not None else []
    if not attempts and reach is not None and reach.met.errors:
        first = reach.met.errors[0]
        first.attempts, first.stage, first.may_have_been_processed = records, stage, may
        return first
    # One that was asked again at last, having failed before, is told once.
    last = {one.endpoint: one for one in attempts if one.failure is not ConnectFailure.LOST}
    real = list(last.values())
    kinds = {one.failure for one in real}
    lines = "; ".join(_connect_words(one) for one in real) or "no address to connect to"
    kind, remedy = _connect_class(kinds)
    unresolved = "".join(f"; {error}" for error in (reach.met.errors if reach else ()))
    return kind(
        f"cannot connect to {_whom(records, reach)}{_through(reach)}: {lines}{unresolved}",
        remedy=remedy,
        stage=stage,
        may_have_been_processed=may,
        attempts=records,
    )


def _whom(records: tuple[AttemptRecord, ...], reach: Reach | None) -> str:
    """Every URL of the target, its backups too: all of them were asked."""
    if reach is None:
        return str(records[-1].origin)
    origins = dict.fromkeys(str(url.origin) for tier in reach.target.tiers for url in tier)
    named = list(origins)[:MOST_NAMED]
    more = f" and {len(origins) - len(named)} more" if len(origins) > len(named) else ""
    return ", ".join(named) + more


def _through(reach: Reach | None) -> str:
    """The addresses are the proxy's, where there is one."""
    proxy = reach.target.proxy if reach is not None else None
    return f" through the proxy {proxy.origin}" if proxy is not None else ""


def _connect_words(one: ConnectionAttempt) -> str:
    assert one.failure is not None
    # Of a door of our own nobody was asked.
    is_own = one.failure is ConnectFailure.OWN_DOOR
    took = "" if is_own else f" after {one.ended_at - one.started_at:.2f} s"
    detail = (
        f" ({one.detail})" if one.detail and one.failure is not ConnectFailure.TIMED_OUT else ""
    )
    return f"{one.endpoint} {one.failure.value}{took}{detail}"


def _connect_class(kinds: set[ConnectFailure | None]) -> tuple[type[Error], str]:
    """The failure that came furthest names the class; each has its remedy."""
    if ConnectFailure.CERTIFICATE in kinds:
        return CertificateError, "Check the certificate's names and dates, or name its CA"
    if ConnectFailure.TLS in kinds:
        return TlsError, "Check that the port speaks TLS"
    if ConnectFailure.PROXY in kinds:
        return ProxyError, "Check what the proxy allows, and whom it can reach"
    if ConnectFailure.PROXY_CREDENTIALS in kinds:
        return (
            ProxyCredentialsError,
            "Give the proxy's URL a user and a password that it knows (http://USER:PASSWORD@HOST:PORT)",
        )
    if ConnectFailure.NO_DESCRIPTOR in kinds:
        return (
            ConnectError,
            "Allow the process more descriptors (LimitNOFILE), or fewer connections",
        )
    if kinds == {ConnectFailure.OWN_DOOR}:
        return (
            LoopError,
            "Name the servers themselves, not a listener or the admin endpoint of this daemon",
        )
    if kinds == {ConnectFailure.TIMED_OUT}:
        return ConnectTimeoutError, "Check routes and firewalls, or that the host is up"
    return ConnectError, "Check that the server runs and listens there"
