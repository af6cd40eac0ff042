"""What is told of each exchange once it is over: the access log, the metrics and the events read it."""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec

from haclient.core.request_head import Refusal
from haclient.net.http1_server import RawHead
from haclient.types import AttemptRecord, Instant

__all__ = [
    "ExchangeRecord",
    "Outcome",
    "Reason",
    "Sink",
    "TurnedAway",
    "left_record",
    "refusal_record",
]


class Outcome(enum.Enum):
    """What the client got."""

    ANSWERED = "answered"
    """A server's response, whole."""
    OWN = "own"
    """A response of haclient's own: an error, or a request that no server was asked about."""
    BROKEN_OFF = "broken off"
    """A server's response broke off after part of it was sent; the client saw a broken transfer."""
    CLIENT_GONE = "client gone"
    """The client left, or stopped reading, before its answer was whole."""
    CUT = "cut"
    """Told to end, haclient waited for as long as it may, and ended it before the answer was whole."""
    TUNNELLED = "tunnelled"
    """Bytes both ways until one side ended: after 101, or in TCP mode."""
    TURNED_AWAY = "turned away"
    """TCP mode: no server could be connected, and the client's connection was reset."""


class ExchangeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a local client, or one connection in TCP mode, and all that came of it.

    Attributes:
        client: "127.0.0.1:50312", or "unix" where the client has no address.
        is_tcp: a connection in TCP mode: its method is "TCP", and it has no path, host, version and status.
        path: the request target as received; nothing in it is fit for a log before it is escaped.
        status: of the final response sent; 0 where none was.
        error: the RFC 9209 error type, empty where there is none.
        detail: for a person, one line.
        began_at: the first byte of the request was read. head_at: of the response head sent.
        request_bytes, response_bytes: content, as moved; of a tunnel, from the client and to it.
        attempts: every one, in order; empty where no server was asked.
    """

    listener: str
    target: str
    client: str
    request_id: str
    method: str
    path: str
    host: str
    http_version: str
    status: int
    outcome: Outcome
    began_at: Instant
    ended_at: Instant
    head_at: Instant | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    attempts: tuple[AttemptRecord, ...] = ()
    error: str = ""
    detail: str = ""
    is_tcp: bool = False


class Reason(enum.Enum):
    """What kept a client out before anything was asked of a server."""

    UID = "uid"
    """Its user is not among allow_uids."""
    TLS = "tls"
    """Its handshake came to nothing: no certificate, for one."""
    CREDENTIALS = "credentials"
    """A name or a password that is wrong, or another scheme than Basic; its request alone is turned away."""


class TurnedAway(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who might not enter.

    Attributes:
        client: as of an exchange.
        detail: for a person, one line.
        request_id: of the answer that he gets; empty where that is none of HTTP's, or the exchange has it.
    """

    listener: str
    client: str
    reason: Reason
    detail: str
    request_id: str = ""


Sink = Callable[[ExchangeRecord], None]


def refusal_record(
    listener: str,
    client: str,
    refused: Refusal,
    raw: RawHead | None,
    *,
    request_id: str,
    began_at: Instant,
    ended_at: Instant,
    response_bytes: int,
) -> ExchangeRecord:
    """Of what was no request that could be served: no server was asked, and none was chosen."""
    return ExchangeRecord(
        listener=listener,
        target="",
        client=client,
        request_id=request_id,
        method=raw.method.decode("latin-1") if raw else "",
        path=raw.target.decode("latin-1") if raw else "",
        host=refused.host,
        http_version=raw.http_version.decode("latin-1") if raw else "",
        status=refused.status,
        outcome=Outcome.OWN,
        began_at=began_at,
        ended_at=ended_at,
        head_at=ended_at,
        response_bytes=response_bytes,
        error=refused.error.token,
        detail=refused.reason,
    )


def left_record(
    listener: str,
    client: str,
    raw: RawHead,
    *,
    request_id: str,
    began_at: Instant,
    ended_at: Instant,
    detail: str,
) -> ExchangeRecord:
    """Of a request whose connection ended before it was known whether it would be served."""
    return ExchangeRecord(
        listener=listener,
        target="",
        client=client,
        request_id=request_id,
        method=raw.method.decode("latin-1"),
        path=raw.target.decode("latin-1"),
        host="",
        http_version=raw.http_version.decode("latin-1"),
        status=0,
        outcome=Outcome.CLIENT_GONE,
        began_at=began_at,
        ended_at=ended_at,
        detail=detail,
    )
