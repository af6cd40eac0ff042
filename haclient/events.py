"""What happens on the way of a request, as values.

Engine and net emit these to one observer; the trace, the log, the metrics, the status page and
the tests are its readers. With no observer none is made, so the hot path pays nothing.
`at` is an instant on trio's clock; `attempt` the attempt's number within its exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    Endpoint,
    Evidence,
    Fields,
    Instant,
    Origin,
)

__all__ = [
    "AttemptEnded",
    "AttemptStarted",
    "Cleared",
    "Connected",
    "ConnectionAttemptEnded",
    "ConnectionAttemptStarted",
    "DeclaredDead",
    "Event",
    "ExchangeEnded",
    "InterimReceived",
    "NameResolved",
    "Observer",
    "Probed",
    "RequestSent",
    "ResponseStarted",
    "Suspected",
]


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A try begins; `reason` says why, from the second one on."""

    at: Instant
    attempt: int
    origins: tuple[Origin, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NameResolved:
    """A name has its endpoints; `source` is as for `haclient.net.Resolution`."""

    at: Instant
    attempt: int
    host: str
    endpoints: tuple[Endpoint, ...]
    source: str
    ttl: float | None
    """Seconds; None where the answer does not age."""


@dataclass(frozen=True, slots=True)
class ConnectionAttemptStarted:
    """A racer starts."""

    at: Instant
    attempt: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class ConnectionAttemptEnded:
    """A racer failed, lost, or (with `failure` None) won."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    failure: ConnectFailure | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """The attempt has its connection: a new one, or (`reused`) one from the pool."""

    at: Instant
    attempt: int
    origin: Origin
    endpoint: Endpoint
    local: Endpoint | None
    reused: bool
    tls: str = ""
    """TLS version and cipher, empty for plain."""


@dataclass(frozen=True, slots=True)
class RequestSent:
    """The last byte of the request was handed to the kernel."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    head: bytes
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class Probed:
    """The connection was silent for a second and was asked for a sign of life."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    silent_for: float


@dataclass(frozen=True, slots=True)
class Suspected:
    """The server gave no sign of life where a living one would have."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Cleared:
    """A suspect gave a sign of life."""

    at: Instant
    attempt: int
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class DeclaredDead:
    """The evidence is complete."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class InterimReceived:
    """A 1xx response (RFC 9110, section 15.2)."""

    at: Instant
    attempt: int
    status: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The head of the final response is here."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    status: int
    reason: bytes
    http_version: bytes
    fields: Fields


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """A try is over, with its whole record."""

    at: Instant
    attempt: int
    record: AttemptRecord


@dataclass(frozen=True, slots=True)
class ExchangeEnded:
    """The caller has its answer, or its error."""

    at: Instant
    attempts: tuple[AttemptRecord, ...]
    error: Exception | None


Event = (
    AttemptStarted
    | NameResolved
    | ConnectionAttemptStarted
    | ConnectionAttemptEnded
    | Connected
    | RequestSent
    | Probed
    | Suspected
    | Cleared
    | DeclaredDead
    | InterimReceived
    | ResponseStarted
    | AttemptEnded
    | ExchangeEnded
)

Observer = Callable[[Event], None]
