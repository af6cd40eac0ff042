"""Answers of haclient's own: what went wrong, whose fault it was, and what was tried.

Each bears Proxy-Status (RFC 9209) for programs on the way and application/problem+json (RFC 9457) for
the client. Beyond that RFC's members there are `attempts`, and `may_have_been_processed`: for a request
that was not sent again because it is not idempotent, whether a server may have executed it.
"""

from __future__ import annotations

import http

import msgspec

from haclient.core.proxy_status import proxy_status
from haclient.errors import Error, ProxyStatus
from haclient.types import AttemptRecord, Instant, Limit

__all__ = ["content_size", "problem", "refusal", "status_for"]

RETRY_AFTER = 1
"""Seconds, with 503: a place in a queue, or a share of the budget, is had again within about that."""

STATUS_OF_LIMIT = {Limit.BUDGET: 503, Limit.WINDOW: 504}
"""What a caller would do next differs from what the last server's failure alone would tell him."""

FORBIDDEN = 403
"""With destination_ip_prohibited RFC 9209 recommends 502, by which a client would try again."""

PHRASES = {413: "Content Too Large", 414: "URI Too Long"}
"""RFC 9110, sections 15.5.14 and 15.5.15; http.HTTPStatus has these from Python 3.13 on."""


def refusal(
    status: int,
    reason: str,
    *,
    is_head: bool,
    request_id: str,
    error: ProxyStatus = ProxyStatus.HTTP_REQUEST_ERROR,
    challenge: bytes = b"",
) -> bytes:
    """Returns the whole answer to what is no request that could be served; the connection ends."""
    return _write(
        status,
        {
            "title": _phrase(status),
            "status": status,
            "detail": reason,
            "request_id": request_id,
        },
        proxy_status(error=error.token, details=reason),
        request_id,
        is_head=is_head,
        is_last=True,
        challenge=challenge,
    )


def problem(
    status: int,
    detail: str,
    *,
    error: str,
    is_head: bool,
    is_last: bool,
    request_id: str = "",
    began_at: Instant = 0.0,
    may_have_been_processed: bool = False,
    attempts: tuple[AttemptRecord, ...] = (),
    next_hop: str = "",
) -> bytes:
    """Returns the whole answer to a request that no server answered.

    Args:
        status: of the answer.
        detail: for a person.
        error: the error type of RFC 9209.
        is_head: the request was HEAD: the head alone.
        is_last: the connection ends behind it.
        request_id: by which the log knows the request.
        began_at: what the attempts' times count from.
        may_have_been_processed: whether a server may have executed the request.
        attempts: what was tried.
        next_hop: whom the last attempt talked to, if anybody.
    """
    content = {
        "title": _phrase(status),
        "status": status,
        "detail": detail,
        "request_id": request_id,
        "may_have_been_processed": may_have_been_processed,
        "attempts": [_attempt(one, began_at) for one in attempts],
    }
    told = detail.replace("\n", ";")
    status_field = proxy_status(error=error, next_hop=next_hop, details=told)
    return _write(status, content, status_field, request_id, is_head=is_head, is_last=is_last)


def status_for(error: Error) -> int:
    """The status for an error of the engine's (the interface's own list, then RFC 9209's).

    502 no server could be connected or the answer broke off, 503 no room or no budget, 504 time ran
    out.
    """
    if error.proxy_status is ProxyStatus.DESTINATION_IP_PROHIBITED:
        return FORBIDDEN
    if error.limit is not None:
        return STATUS_OF_LIMIT[error.limit]
    return error.proxy_status.status


def _attempt(record: AttemptRecord, began_at: Instant) -> dict[str, object]:
    told: dict[str, object] = {
        "number": record.number,
        "endpoint": str(record.endpoint) if record.endpoint else None,
        "origin": str(record.origin),
        "phase": record.phase.value,
        "verdict": record.verdict.value,
        "evidence": str(record.evidence) if record.evidence else record.detail,
        "start_ms": round((record.started_at - began_at) * 1000, 1),
        "end_ms": round((record.ended_at - began_at) * 1000, 1),
    }
    if record.status is not None:
        told["status"] = record.status
    return told


def content_size(answer: bytes) -> int:
    """Bytes of content in one of these answers."""
    return len(answer) - answer.index(b"\r\n\r\n") - 4


def _write(
    status: int,
    content: dict[str, object],
    status_field: bytes,
    request_id: str,
    *,
    is_head: bool,
    is_last: bool,
    challenge: bytes = b"",
) -> bytes:
    body = msgspec.json.encode(content) + b"\n"
    lines = [
        b"HTTP/1.1 %d %b" % (status, _phrase(status).encode("ascii")),
        b"Content-Type: application/problem+json",
        b"Content-Length: %d" % len(body),
        b"Proxy-Status: " + status_field,
    ]
    if challenge:
        lines.append(challenge)
    if request_id:
        lines.append(b"X-Request-Id: " + request_id.encode("ascii"))
    if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(b"Retry-After: %d" % RETRY_AFTER)
    if is_last:
        lines.append(b"Connection: close")
    return b"\r\n".join([*lines, b"", b"" if is_head else body])


def _phrase(status: int) -> str:
    if status in PHRASES:
        return PHRASES[status]
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
