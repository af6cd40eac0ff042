"""The values that every layer shares: who is asked, and what came of each try.

All are frozen: an event, a log line and an error may hold one for as long as they like.
Instants are floats of seconds on the caller's monotonic clock, durations floats of seconds,
sizes integers of bytes.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = [
    "AttemptRecord",
    "ConnectFailure",
    "ConnectionAttempt",
    "Endpoint",
    "Evidence",
    "EvidenceKind",
    "Fields",
    "Instant",
    "Limit",
    "Order",
    "Origin",
    "Phase",
    "Verdict",
]

Instant = float
"""Seconds on a monotonic clock (trio's); only differences mean anything."""

Fields = tuple[tuple[bytes, bytes], ...]
"""Header or trailer fields in their order, letter case kept (RFC 9110, section 5)."""

DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """Scheme, host and port: what a server is authoritative for (RFC 9110, section 4.3.1).

    `host` is lower case, without the brackets of an IPv6 literal. With `port` 0 it is a service,
    "_orders._tcp.example", whose servers and ports are what its SRV records say (RFC 2782).
    """

    scheme: str
    host: str
    port: int

    @property
    def is_secure(self) -> bool:
        """Whether the origin is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def is_tcp(self) -> bool:
        """Whether it speaks a protocol that is not ours to know, over TCP as it is."""
        return self.scheme == "tcp"

    @property
    def is_service(self) -> bool:
        """Whether servers and ports are to be looked up."""
        return not self.port

    @property
    def name(self) -> str:
        """What a server is known by: of a service its domain (RFC 6125, section 6.2.1)."""
        return self.host if self.port else self.host.split(".", 2)[2]

    @property
    def authority(self) -> str:
        """What the Host field says: the port only where it is not the scheme's own (RFC 9110 7.2)."""
        if not self.port:
            return self.name
        # A zone means something on this machine alone and is not sent (RFC 6874, section 3).
        host = f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host
        return host if DEFAULT_PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"

    def __str__(self) -> str:
        if not self.port:
            return f"srv+{self.scheme}://{self.host}"
        return f"{self.scheme}://{self.authority}"


class Endpoint(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """One address and port of an origin, or the path of a Unix socket.

    `address` is an IP literal without brackets (an IPv6 one may bear a zone), or an absolute path,
    with `port` 0 then.
    """

    address: str
    port: int

    @property
    def is_unix(self) -> bool:
        """Whether this is the path of a Unix socket."""
        return self.address.startswith("/")

    @property
    def is_ipv6(self) -> bool:
        """Whether the address is an IPv6 literal."""
        return ":" in self.address and not self.is_unix

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.address}"
        return f"[{self.address}]:{self.port}" if self.is_ipv6 else f"{self.address}:{self.port}"


class ConnectFailure(enum.Enum):
    """Why a connection attempt did not become usable."""

    REFUSED = "refused"
    """Somebody answered: nothing listens there (RST, or no such Unix socket)."""
    UNREACHABLE = "unreachable"
    """The network said that there is no way there (ICMP, or no route)."""
    TIMED_OUT = "timed out"
    """Nobody answered within connect_timeout."""
    TLS = "TLS handshake failed"
    CERTIFICATE = "certificate not accepted"
    PROXY = "refused by the proxy"
    """A forward proxy answered CONNECT with something other than 2xx."""
    PROXY_CREDENTIALS = "not let in by the proxy"
    """It answered with 407."""
    LOCAL = "not possible on this machine"
    """No permission, no such address family."""
    NO_DESCRIPTOR = "no descriptor left"
    """Of this process, or the machine (EMFILE, ENFILE): nobody was asked."""
    OWN_DOOR = "would be a loop"
    """A listener of this very process is there: nobody was asked."""
    LOST = "another was faster"
    """Closed in good order, because a sibling won the race."""


class ConnectionAttempt(msgspec.Struct, frozen=True):
    """One racer and its whole result.

    Instants are absolute. `connected_at` is None where TCP did not connect; `usable_at` is None
    where the race was lost or the attempt failed. Exactly one of `failure` and `usable_at` is set
    once the attempt is over.
    """

    endpoint: Endpoint
    started_at: Instant
    ended_at: Instant
    connected_at: Instant | None = None
    usable_at: Instant | None = None
    failure: ConnectFailure | None = None
    detail: str = ""
    """What the system said, in its own words ("Connection refused", "certificate has expired")."""


class Order(enum.Enum):
    """Which address is asked first; the values are those of the configuration file."""

    FASTEST = "fastest"
    """All of them race; the first to be usable serves."""
    LISTED = "listed"
    """URLs in their order, addresses in the answer's."""
    SHUFFLED = "shuffled"
    """Drawn for each request, to spread the load."""


class Phase(enum.Enum):
    """How far an attempt came."""

    RESOLVING = "resolving"
    QUEUED = "queued"
    """Waiting for a connection, every address being at its limit."""
    CONNECTING = "connecting"
    """TCP connect and, for https, the TLS handshake."""
    SENDING = "sending"
    """Bytes of the request are not all handed to the kernel, or not all acknowledged."""
    WAITING = "waiting"
    """The request is with the server; no byte of the response has come."""
    RECEIVING = "receiving"
    DONE = "done"


class Verdict(enum.Enum):
    """How an attempt ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """No address could be connected; nothing was sent."""
    CLOSED = "closed"
    """The server, or its host, closed or reset the connection before the response was whole."""
    DEAD = "dead"
    """The watch proved that nobody is there any more; see the evidence."""
    SLOW = "slow"
    """Alive, and silent for longer than response_timeout."""
    GARBLED = "garbled"
    """What came back is not HTTP/1.1."""
    SUPERSEDED = "superseded"
    """Suspect, and another attempt answered first."""
    CANCELLED = "cancelled"
    """The caller went away, or the deadline passed."""
    FAILED = "failed"
    """The request's own content could not be read, or names could not be resolved."""


class Limit(enum.Enum):
    """What of ours kept a request from one more attempt, that a server might have answered."""

    BUDGET = "the retry budget is spent"
    WINDOW = "the window is over"


class EvidenceKind(enum.Enum):
    """What the kernel showed (design: telling dead from slow)."""

    RETRANSMITS = "retransmissions unanswered"
    KEEPALIVE_PROBES = "keep-alive probes unanswered"
    WINDOW_PROBES = "window probes unanswered"
    RESET = "connection reset"
    UNREACHABLE = "reported unreachable"
    TIMED_OUT = "kernel timed the connection out"
    HEALTH_REQUESTS = "health requests unanswered"
    """The application is silent, and its host lives: reason for suspicion, never for death."""


class Evidence(msgspec.Struct, frozen=True):
    """Why a server is held suspect or dead.

    `count` of what `kind` names; `silent_for` seconds since the last segment came in, or since the
    request began to go out, where that was later; of health requests to `path`, since the first of them
    began.
    """

    kind: EvidenceKind
    count: int
    silent_for: float
    path: str = ""

    @property
    def is_of_health(self) -> bool:
        """Whether health requests showed it: of its host, and the path there, it says nothing bad."""
        return self.kind is EvidenceKind.HEALTH_REQUESTS

    def __str__(self) -> str:
        if self.is_of_health:
            requests = "health request" if self.count == 1 else "health requests"
            return f"application silent: {self.count} {requests} to {self.path} unanswered for {self.silent_for:.1f} s"
        if self.count:
            return f"{self.count} {self.kind.value}, silent for {self.silent_for:.2f} s"
        return self.kind.value


class AttemptRecord(msgspec.Struct, frozen=True):
    """One try of a request on one connection, and its whole result.

    `number` counts from 1 within the exchange. `endpoint` is None where no connection came about;
    `connection_attempts` then says what each address answered. Instants are absolute.
    `bytes_sent` counts what was handed to the kernel for this request, before TLS.
    """

    number: int
    origin: Origin
    endpoint: Endpoint | None
    phase: Phase
    verdict: Verdict
    started_at: Instant
    ended_at: Instant
    detail: str = ""
    evidence: Evidence | None = None
    status: int | None = None
    reused: bool = False
    """Whether the connection had carried an exchange before."""
    bytes_sent: int = 0
    resolved_at: Instant | None = None
    connected_at: Instant | None = None
    usable_at: Instant | None = None
    sent_at: Instant | None = None
    first_byte_at: Instant | None = None
    local: Endpoint | None = None
    connection_attempts: tuple[ConnectionAttempt, ...] = ()
    replay: str = ""
    """Why the request's content could not have been sent again at its end; empty where it could."""

    def describe(self) -> str:
        """One line for a person: where, how far, how it ended, and why."""
        where = str(self.endpoint) if self.endpoint is not None else str(self.origin)
        took = f"after {self.ended_at - self.started_at:.2f} s"
        if self.verdict is Verdict.ANSWERED:
            why = f" ({self.detail})" if self.detail else ""
            status = "" if self.status is None else f" with {self.status}"
            return f"{where}: answered{status} {took}{why}"
        why = f" ({self.evidence})" if self.evidence else f" ({self.detail})" if self.detail else ""
        lost = f"; its content cannot be sent again: {self.replay}" if self.replay else ""
        return f"{where}: {self.verdict.value} while {self.phase.value} {took}{why}{lost}"
