"""The access log: one line a request, with every attempt in it.

The usual access log has the status that the client got, and of a failover nothing: that the answer
took 2.5 s because 10.0.0.2 was dead is in another file, if anywhere, under another key. Here the
whole history stands in the request's own line, so that grep for an address or a verdict finds the
requests that it cost something.

    access client=127.0.0.1:50312 method=GET path="/v1/orders/7" host=orders.internal:8080 status=200
    outcome=answered ms=1112.9 head_ms=1112.4 sent=0 bytes=512 listener=orders target=orders
    id=7f3a… attempts="1 10.0.0.2:8080 dead waiting 1108ms (1 keep-alive probes unanswered, silent for
    1.11 s); 2 10.0.0.3:8080 answered 200 4ms"

`error` (the type of RFC 9209) and `detail` stand in it where there are any. In JSON the attempts are
a list of objects; times are milliseconds in both. Never a field of a head, so no credentials; the
path is masked (log_text).

Performance: tests/bench/log_cost.py. A line for each request makes this a part of the hot path, hence
the one long f-string, and texts that come back (addresses, names) are escaped once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from haclient.ops.log import Level, Log
from haclient.ops.log_text import masked, quoted, value
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import AttemptRecord, ConnectFailure, ConnectionAttempt, Phase, Verdict

__all__ = ["AccessLog", "access_line", "access_members"]

OUTCOMES = {each: each.name.lower() for each in Outcome}
PHASES = {each: each.value for each in Phase}
FAILURES: dict[ConnectFailure | None, str] = {each: each.value for each in ConnectFailure}
VERDICTS = {each: each.value for each in Verdict}
"""Enum's own attributes are slow to ask for."""

SERVER_ERROR = 500
"""From here on an answer of our own says that no server could serve: somebody should look at it."""

MOST_CONNECTS = 8
"""Addresses of one attempt that are named; as many as race at once by default."""

LONGEST = 2048
"""Characters of what a client chose freely. A head may have 32 KiB, each byte of them six in a log once
it is escaped; the journal cuts a line at 48 KiB (journald.conf, LineMax), into two."""

_named = lru_cache(1024)(value)
"""Names of the configuration; nothing that a client chose, for it would be kept."""
_shown = lru_cache(4096)(str)


class AccessLog:
    """Writes a line for each exchange that is over; call it with the record."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, record: ExchangeRecord) -> None:
        """As a Sink; never raises."""
        log = self._log
        level = Level.INFO
        if (
            record.outcome is Outcome.OWN and record.status >= SERVER_ERROR
        ) or record.outcome is Outcome.TURNED_AWAY:
            level = Level.WARNING
        if not log.is_on(level):
            return
        if log.is_json:
            log.json_line(level, access_members(record))
        else:
            log.text_line(level, access_line(record))


def access_line(record: ExchangeRecord) -> str:
    """The line for a person, without its stamp."""
    began_at, head_at = record.began_at, record.head_at
    head = "" if head_at is None else f" head_ms={(head_at - began_at) * 1000:.1f}"
    trouble = _trouble(record) if record.error or record.detail else ""
    return (
        f"access client={value(record.client)} method={value(_clipped(record.method))}"
        f" path={quoted(_clipped(masked(record.path)))} host={value(_clipped(masked(record.host)))}"
        f" status={record.status} outcome={OUTCOMES[record.outcome]}"
        f" ms={(record.ended_at - began_at) * 1000:.1f}{head}"
        f" sent={record.request_bytes} bytes={record.response_bytes}"
        f" listener={_named(record.listener)} target={_named(record.target)}"
        f" id={value(_clipped(record.request_id))}{trouble}"
        f" attempts={quoted('; '.join([_attempt(each) for each in record.attempts]))}"
    )


def access_members(record: ExchangeRecord) -> dict[str, Any]:
    """The same for a program; `log` adds time and level."""
    began_at, head_at = record.began_at, record.head_at
    return {
        "message": "access",
        "client": record.client,
        "method": _clipped(record.method),
        "path": _clipped(masked(record.path)),
        "host": _clipped(masked(record.host)),
        "http_version": record.http_version,
        "status": record.status,
        "outcome": OUTCOMES[record.outcome],
        "ms": _milliseconds(began_at, record.ended_at),
        "head_ms": None if head_at is None else _milliseconds(began_at, head_at),
        "sent": record.request_bytes,
        "bytes": record.response_bytes,
        "listener": record.listener,
        "target": record.target,
        "id": _clipped(record.request_id),
        "error": record.error,
        "detail": record.detail,
        "attempts": [_attempt_members(each, began_at) for each in record.attempts],
    }


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _trouble(record: ExchangeRecord) -> str:
    error = f" error={value(record.error)}" if record.error else ""
    return error + (f" detail={quoted(record.detail)}" if record.detail else "")


def _attempt(attempt: AttemptRecord) -> str:
    """`2 10.0.0.3:8080 answered 200 4ms`; escaped by whoever puts it into a line."""
    where = _shown(attempt.endpoint if attempt.endpoint is not None else attempt.origin)
    took = f"{(attempt.ended_at - attempt.started_at) * 1000:.0f}ms"
    why = ""
    if attempt.connection_attempts or attempt.evidence or attempt.detail or attempt.replay:
        why = _why(attempt)
    if attempt.verdict is Verdict.ANSWERED:
        answered = "answered" if attempt.status is None else f"answered {attempt.status}"
        return f"{attempt.number} {where} {answered} {took}{why}"
    status = "" if attempt.status is None else f" {attempt.status}"
    return (
        f"{attempt.number} {where} {VERDICTS[attempt.verdict]}{status} {PHASES[attempt.phase]}"
        f" {took}{why}"
    )


def _why(attempt: AttemptRecord) -> str:
    """In brackets: addresses that could not be connected, evidence or detail, what a resend lacked."""
    failed = _failed(attempt)
    parts = [f"{_shown(one.endpoint)} {FAILURES[one.failure]}" for one in failed[:MOST_CONNECTS]]
    if len(failed) > MOST_CONNECTS:
        parts.append(f"{len(failed) - MOST_CONNECTS} more failed to connect")
    why = str(attempt.evidence) if attempt.evidence is not None else attempt.detail
    if attempt.verdict is Verdict.REFUSED and failed:
        why = ""  # it says the same of each address
    lost = f"content cannot be sent again: {attempt.replay}" if attempt.replay else ""
    parts += [part for part in (why, lost) if part]
    return f" ({', '.join(parts)})" if parts else ""


def _failed(attempt: AttemptRecord) -> list[ConnectionAttempt]:
    # Who was merely slower than another has not failed.
    harmless = (None, ConnectFailure.LOST)
    # One that was asked again at last, having failed before, is told once.
    last = {one.endpoint: one for one in attempt.connection_attempts}
    return [one for one in last.values() if one.failure not in harmless]


def _attempt_members(attempt: AttemptRecord, began_at: float) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "origin": _shown(attempt.origin),
        "endpoint": None if attempt.endpoint is None else _shown(attempt.endpoint),
        "verdict": VERDICTS[attempt.verdict],
        "phase": PHASES[attempt.phase],
        "status": attempt.status,
        "reused": attempt.reused,
        "start_ms": _milliseconds(began_at, attempt.started_at),
        "end_ms": _milliseconds(began_at, attempt.ended_at),
        "bytes_sent": attempt.bytes_sent,
        "evidence": None if attempt.evidence is None else str(attempt.evidence),
        "detail": attempt.detail,
        "replay": attempt.replay,
        "failed_connects": [
            {
                "endpoint": _shown(one.endpoint),
                "failure": FAILURES[one.failure],
                "detail": one.detail,
                "ms": _milliseconds(one.started_at, one.ended_at),
            }
            for one in _failed(attempt)[:MOST_CONNECTS]
        ],
    }


def _milliseconds(began_at: float, ended_at: float) -> float:
    return round((ended_at - began_at) * 1000, 1)
