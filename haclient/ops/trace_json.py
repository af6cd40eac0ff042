"""`--trace-json FILE`: what happened on the way of a request, for a program.

A reader of haclient.events, beside the timeline of haclient.ops.trace. It writes one JSON object a
line for each event, flushed at once. Dumping the events' own fields would make every renaming in
haclient a broken script, so the names are written out here, and are a promise. All have `t`, seconds
since the trace began, and `event`; all but exchange_ended have `attempt`. Then, by event:

    attempt_started             origins, reason
    name_resolved               host, addresses, source, ttl (seconds or null)
    connection_attempt_started  address
    connection_attempt_ended    address, failure (null: it won), detail
    connected                   origin, address, local, reused, tls
    request_sent                address, method, target, bytes_sent
    probed                      address, silent_for
    suspected, declared_dead    address, evidence {kind, count, silent_for}
    cleared                     address
    interim_received            status
    response_started            address, status, reason, http_version
    attempt_ended               address, phase, verdict, status, reused, bytes_sent, started, ended,
                                detail, evidence
    exchange_ended              attempts, status, error (a class of haclient.errors), message

Addresses are "ip:port"; enumerations their names in small letters. Fields may be added.

Header fields are left out, for they bear credentials. A file that cannot be written to any more
(disk full) is given up in silence: a trace must not harm what it watches.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, TextIO, assert_never

import msgspec

from haclient import events
from haclient.types import AttemptRecord, Evidence, Instant, Verdict

__all__ = ["JsonLines", "as_json", "request_line"]


class JsonLines:
    """An observer that writes a JSON object for each event; see the module's docstring."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._began_at: Instant | None = None

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        if self._began_at is None:
            self._began_at = event.at
        if self._stream is None:
            return
        try:
            self._stream.write(msgspec.json.encode(as_json(event, self._began_at)).decode() + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


def as_json(event: events.Event, began_at: Instant) -> dict[str, Any]:
    """The event as the module's docstring has it; times count from `began_at`."""
    name, members = _members(event, began_at)
    head: dict[str, Any] = {"t": _seconds(event.at - began_at), "event": name}
    if not isinstance(event, events.ExchangeEnded):
        head["attempt"] = event.attempt
    return head | dict(members)


def _members(event: events.Event, began_at: Instant) -> tuple[str, Mapping[str, Any]]:
    match event:
        case events.AttemptStarted(origins=origins, reason=reason):
            return "attempt_started", {"origins": [str(each) for each in origins], "reason": reason}
        case events.NameResolved(host=host, endpoints=endpoints, source=source, ttl=ttl):
            found = {"host": host, "addresses": [endpoint.address for endpoint in endpoints]}
            return "name_resolved", found | {"source": source, "ttl": ttl}
        case events.ConnectionAttemptStarted(endpoint=endpoint):
            return "connection_attempt_started", {"address": str(endpoint)}
        case events.ConnectionAttemptEnded(endpoint=endpoint, failure=failure, detail=detail):
            ended = {"address": str(endpoint), "failure": _name(failure), "detail": detail}
            return "connection_attempt_ended", ended
        case events.Connected():
            return "connected", {
                "origin": str(event.origin),
                "address": str(event.endpoint),
                "local": str(event.local) if event.local is not None else None,
                "reused": event.reused,
                "tls": event.tls,
            }
        case events.RequestSent(endpoint=endpoint, head=head, bytes_sent=bytes_sent):
            method, target = request_line(head)
            return "request_sent", {
                "address": str(endpoint),
                "method": method,
                "target": target,
                "bytes_sent": bytes_sent,
            }
        case events.Probed(endpoint=endpoint, silent_for=silent_for):
            return "probed", {"address": str(endpoint), "silent_for": _seconds(silent_for)}
        case events.Suspected(endpoint=endpoint, evidence=evidence):
            return "suspected", {"address": str(endpoint), "evidence": _evidence(evidence)}
        case events.Cleared(endpoint=endpoint):
            return "cleared", {"address": str(endpoint)}
        case events.DeclaredDead(endpoint=endpoint, evidence=evidence):
            return "declared_dead", {"address": str(endpoint), "evidence": _evidence(evidence)}
        case events.InterimReceived(status=status):
            return "interim_received", {"status": status}
        case events.ResponseStarted():
            return "response_started", {
                "address": str(event.endpoint),
                "status": event.status,
                "reason": event.reason.decode("latin-1"),
                "http_version": event.http_version.decode("latin-1"),
            }
        case events.AttemptEnded(record=record):
            return "attempt_ended", _record(record, began_at)
        case events.ExchangeEnded(attempts=attempts, error=error):
            return "exchange_ended", {
                "attempts": len(attempts),
                "status": _final_status(attempts) if error is None else None,
                "error": type(error).__name__ if error is not None else None,
                "message": str(error) if error is not None else "",
            }
        case _:
            assert_never(event)


def _record(record: AttemptRecord, began_at: Instant) -> Mapping[str, Any]:
    return {
        "address": str(record.endpoint) if record.endpoint is not None else None,
        "phase": _name(record.phase),
        "verdict": _name(record.verdict),
        "status": record.status,
        "reused": record.reused,
        "bytes_sent": record.bytes_sent,
        "started": _seconds(record.started_at - began_at),
        "ended": _seconds(record.ended_at - began_at),
        "detail": record.detail,
        "evidence": _evidence(record.evidence) if record.evidence is not None else None,
    }


def _final_status(attempts: tuple[AttemptRecord, ...]) -> int | None:
    answered = [each.status for each in attempts if each.verdict is Verdict.ANSWERED]
    return answered[-1] if answered else None


def _evidence(evidence: Evidence) -> Mapping[str, Any]:
    return {
        "kind": _name(evidence.kind),
        "count": evidence.count,
        "silent_for": _seconds(evidence.silent_for),
    }


def _name(member: enum.Enum | None) -> str | None:
    return member.name.lower() if member is not None else None


def _seconds(value: float) -> float:
    """Whole microseconds: more digits say nothing."""
    return round(value, 6)


def request_line(head: bytes) -> tuple[str, str]:
    """Method and target of a request's head, without its fields."""
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    return method, rest.rpartition(" ")[0]
