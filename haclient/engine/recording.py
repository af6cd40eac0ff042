"""What is kept of an attempt, and what its observer is told of it.

Nothing here is on the way of a request that nobody watches: events are made for an observer only,
and a record when somebody asks for it.
"""

from __future__ import annotations

from typing import Protocol

import trio

from haclient import events
from haclient.engine.live import LiveTarget
from haclient.engine.reach import Reach
from haclient.net.connection import Connection
from haclient.net.http1 import Head
from haclient.net.tls import describe_tls
from haclient.types import AttemptRecord, Evidence, Instant, Phase, Verdict

__all__ = ["connected", "interim_received", "record_of", "response_started"]


class Recorded(Protocol):
    """What a record needs of an attempt, which imports this module."""

    number: int
    target: LiveTarget
    connection: Connection | None
    reach: Reach | None
    phase: Phase
    head: Head | None
    reused: bool
    started_at: Instant
    sent_at: Instant | None
    first_byte_at: Instant | None

    @property
    def bytes_sent(self) -> int:
        """Of the request, handed to the kernel."""
        ...


def record_of(
    attempt: Recorded,
    ended_at: Instant,
    verdict: Verdict,
    detail: str,
    evidence: Evidence | None,
    replay: str,
) -> AttemptRecord:
    """The whole result of an attempt that is over."""
    connection, reach = attempt.connection, attempt.reach
    own = None if attempt.reused else connection
    return AttemptRecord(
        number=attempt.number,
        origin=connection.origin if connection else attempt.target.first_tier[0].origin,
        endpoint=connection.endpoint if connection else None,
        phase=attempt.phase,
        verdict=verdict,
        started_at=attempt.started_at,
        ended_at=ended_at,
        detail=detail,
        evidence=evidence,
        status=attempt.head.status if attempt.head else None,
        reused=attempt.reused,
        bytes_sent=attempt.bytes_sent,
        resolved_at=reach.met.resolved_at if reach else None,
        connected_at=own.connected_at if own else None,
        usable_at=own.usable_at if own else None,
        sent_at=attempt.sent_at,
        first_byte_at=attempt.first_byte_at,
        local=connection.transport.local if connection else None,
        connection_attempts=tuple(reach.met.attempts) if reach else (),
        replay=replay,
    )


def connected(number: int, connection: Connection, *, reused: bool) -> events.Connected:
    """The attempt has this connection."""
    return events.Connected(
        trio.current_time(),
        number,
        connection.origin,
        connection.endpoint,
        connection.transport.local,
        reused,
        "" if connection.is_plain else describe_tls(connection.stream),
    )


def interim_received(number: int, head: Head) -> events.InterimReceived:
    """A 1xx head came."""
    return events.InterimReceived(
        trio.current_time(), number, head.status, head.fields, head.reason, head.http_version
    )


def response_started(
    now: Instant, number: int, connection: Connection, head: Head
) -> events.ResponseStarted:
    """The head of the final response is here."""
    return events.ResponseStarted(
        now,
        number,
        connection.endpoint,
        head.status,
        head.reason,
        head.http_version,
        head.fields,
    )
