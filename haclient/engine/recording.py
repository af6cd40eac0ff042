"""What is kept of an attempt, and what its observer is told of it.

Nothing here is on the way of a request that nobody watches: events are made for an observer only,
and a record when somebody asks for it.
"""

from __future__ import annotations

from typing import Protocol

import trio

from haclient import events
from haclient.engine.holding import Holding
from haclient.engine.live import LiveTarget
from haclient.engine.reach import Reach
from haclient.net.connection import Connection
from haclient.net.http1 import Head
from haclient.net.tls import describe_tls
from haclient.types import AttemptRecord, Endpoint, Evidence, Instant, Origin, Phase, Verdict

__all__ = [
    "connected",
    "interim_received",
    "phase_of",
    "record_of",
    "response_started",
    "where",
]


class Recorded(Protocol):
    """What a record needs of an attempt, which imports this module."""

    number: int
    target: LiveTarget
    reach: Reach | None
    started_at: Instant

    @property
    def holding(self) -> Holding | None:
        """Its connection, once it has one."""
        ...


def phase_of(attempt: Recorded) -> Phase:
    """How far it has come."""
    if attempt.holding is not None:
        return attempt.holding.phase
    return attempt.reach.met.phase if attempt.reach is not None else Phase.RESOLVING


def where(attempt: Recorded) -> Endpoint | Origin:
    """With whom it is; the first of those who may be asked, where it is with nobody yet."""
    if attempt.holding is not None:
        return attempt.holding.connection.endpoint
    return attempt.target.first_tier[0].origin


def record_of(
    attempt: Recorded,
    ended_at: Instant,
    verdict: Verdict,
    detail: str,
    evidence: Evidence | None,
    replay: str,
) -> AttemptRecord:
    """The whole result of an attempt that is over."""
    held, met = attempt.holding, attempt.reach.met if attempt.reach is not None else None
    connection = held.connection if held is not None else None
    own = None if held is None or held.is_reused else connection
    return AttemptRecord(
        number=attempt.number,
        origin=connection.origin if connection else attempt.target.first_tier[0].origin,
        endpoint=connection.endpoint if connection else None,
        phase=phase_of(attempt),
        verdict=verdict,
        started_at=attempt.started_at,
        ended_at=ended_at,
        detail=detail,
        evidence=evidence,
        status=held.status if held else None,
        reused=held is not None and held.is_reused,
        bytes_sent=held.bytes_sent if held else 0,
        resolved_at=met.resolved_at if met else None,
        connected_at=own.connected_at if own else None,
        usable_at=own.usable_at if own else None,
        sent_at=held.sent_at if held else None,
        first_byte_at=held.first_byte_at if held else None,
        local=connection.transport.local if connection else None,
        connection_attempts=tuple(met.attempts) if met else (),
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
