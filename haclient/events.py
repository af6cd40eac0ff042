"""What happens on the way of a request, as values.

Engine and net emit these to one observer; the trace, the log, the metrics, the status page and
the tests are its readers. With no observer none is made, so the hot path pays nothing.
`at` is an instant on trio's clock; `attempt` the attempt's number within its exchange.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

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


class AttemptStarted(msgspec.Struct, frozen=True):
    """A try begins; `reason` says why, from the second one on."""

    at: Instant
    attempt: int
    origins: tuple[Origin, ...]
    reason: str = ""


class NameResolved(msgspec.Struct, frozen=True):
    """A name has its endpoints; `source` is as for `haclient.net.Resolution`."""

    at: Instant
    attempt: int
    host: str
    endpoints: tuple[Endpoint, ...]
    source: str
    ttl: float | None
    """Seconds; None where the answer does not age."""


class ConnectionAttemptStarted(msgspec.Struct, frozen=True):
    """A racer starts."""

    at: Instant
    attempt: int
    endpoint: Endpoint


class ConnectionAttemptEnded(msgspec.Struct, frozen=True):
    """A racer failed, lost, or (with `failure` None) won."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    failure: ConnectFailure | None
    detail: str = ""


class Connected(msgspec.Struct, frozen=True):
    """The attempt has its connection: a new one, or (`reused`) one from the pool."""

    at: Instant
    attempt: int
    origin: Origin
    endpoint: Endpoint
    local: Endpoint | None
    reused: bool
    tls: str = ""
    """TLS version and cipher, empty for plain."""


class RequestSent(msgspec.Struct, frozen=True):
    """The last byte of the request was handed to the kernel."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    head: bytes
    bytes_sent: int


class Probed(msgspec.Struct, frozen=True):
    """The connection was silent for a second and was asked for a sign of life."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    silent_for: float


class Suspected(msgspec.Struct, frozen=True):
    """The server gave no sign of life where a living one would have."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    evidence: Evidence


class Cleared(msgspec.Struct, frozen=True):
    """A suspect gave a sign of life."""

    at: Instant
    attempt: int
    endpoint: Endpoint


class DeclaredDead(msgspec.Struct, frozen=True):
    """The evidence is complete."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    evidence: Evidence


class InterimReceived(msgspec.Struct, frozen=True):
    """A 1xx response (RFC 9110, section 15.2)."""

    at: Instant
    attempt: int
    status: int
    fields: Fields
    reason: bytes = b""
    http_version: bytes = b"1.1"


class ResponseStarted(msgspec.Struct, frozen=True):
    """The head of the final response is here."""

    at: Instant
    attempt: int
    endpoint: Endpoint
    status: int
    reason: bytes
    http_version: bytes
    fields: Fields


class AttemptEnded(msgspec.Struct, frozen=True):
    """A try is over, with its whole record."""

    at: Instant
    attempt: int
    record: AttemptRecord


class ExchangeEnded(msgspec.Struct, frozen=True):
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
