"""What a user can say of a target, as values with their defaults and limits.

No files here and no sockets: `ops.settings` reads the file, the library builds these directly.
Every default has its reason beside it; an option that nobody could choose correctly is a constant
in the module that needs it instead.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from haclient.core.affinity import NO_AFFINITY, Affinity, parse_affinity
from haclient.core.url import Url, parse_target_url
from haclient.types import Order

__all__ = [
    "RESPONSE_TIMEOUT",
    "HealthRequests",
    "HostHeader",
    "IdempotencyKey",
    "Order",
    "Target",
    "TlsSettings",
]

RESPONSE_TIMEOUT = 40.0
"""Seconds. The back-stop is the last resort behind evidence, so it may be long; past it a caller
that set nothing else has most likely given up (common client defaults are 5 to 60 s)."""


TLS_VERSIONS = ("1.2", "1.3")
"""What came before is broken (RFC 8996)."""


_PATH = re.compile(r'/[!"$-~]*')
"""With a query, and without a fragment, which is never sent."""


class IdempotencyKey(enum.Enum):
    """What an Idempotency-Key field means (draft-ietf-httpapi-idempotency-key-header)."""

    HONOUR = "honour"
    """A request that bears one may be resent, whatever its method."""
    GENERATE = "generate"
    """And one that is not idempotent and bears none is given one: its servers honour keys."""
    IGNORE = "ignore"


class HostHeader(enum.Enum):
    """Which Host field a server is sent (RFC 9110, section 7.2)."""

    ORIGIN = "origin"
    """The authority of the URL that is asked."""
    PRESERVE = "preserve"
    """The client's own."""


class TlsSettings(msgspec.Struct, frozen=True):
    """How a server proves who it is, and how we do.

    `ca_file` None is the system's trust; `server_name` None is the origin's host.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    verify: bool = True
    min_version: str = "1.2"

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ValueError: an unknown version, or a key without its certificate.
        """
        if self.min_version not in TLS_VERSIONS:
            raise ValueError(f'min_version must be "1.2" or "1.3", not "{self.min_version}"')
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file is of no use without cert_file")


class HealthRequests(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of the daemon's own that tell a hung process from a working one (haclient.core.health_check).

    Attributes:
        path: asked with GET, behind the path of a target's URL.
        interval: seconds between the beginnings of two of them; others send one each 2 s (HAProxy), 5 s
            (nginx Plus) and 10 s (Kubernetes).
        timeout: seconds from a connection to the answer. A server that has the processor to itself answers
            in milliseconds; 2 s are a long pause of a collector, and half the window.
        failures: in a row, until the endpoint is thought ill of. One may be lost to a pause.
        successes: in a row, until it is thought well of again.
    """

    path: str
    interval: float = 5.0
    timeout: float = 2.0
    failures: int = 2
    successes: int = 2

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            ValueError: the message names it.
        """
        if not _PATH.fullmatch(self.path):
            raise ValueError(f'path must begin with "/", as "/health", not {self.path!r}')
        _check_seconds(self, "interval", "timeout")
        _check_counts(self, "failures", "successes")


def _check_seconds(of: object, *names: str) -> None:
    for name in names:
        if not 0 < _number(of, name) < float("inf"):
            raise ValueError(f"{name} must be more than 0 seconds, not {getattr(of, name)}")


def _check_counts(of: object, *names: str) -> None:
    for name in names:
        if not _number(of, name) >= 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(of, name)}")


def _number(target: object, name: str) -> float:
    value: object = getattr(target, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return value


def as_urls(urls: object) -> tuple[Url, ...]:
    """Strings or Urls, one or many, as a tuple of Urls."""
    many = [urls] if isinstance(urls, str | Url) else urls
    if not isinstance(many, list | tuple):
        raise TypeError(f"urls must be a URL or a list of URLs, not {type(urls).__name__}")
    if not all(isinstance(url, str | Url) for url in many):
        raise TypeError(f"urls must be texts or Urls, not {urls!r}")
    return tuple(parse_target_url(url) if isinstance(url, str) else url for url in many)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A named service: the URLs that serve it, its backups, and what it promises.

    Times are seconds, sizes bytes. A path in a URL is put before the path of each request.

    Attributes:
        urls: every address of every URL is a candidate.
        backups: asked when no address of `urls` can answer.
        order: which address first.
        window: a dead server's idempotent request is on its way to another one within this.
        response_timeout: the back-stop for a server that is alive and silent.
        connect_timeout: for each connection attempt.
        connection_attempt_delay: 0 connects to all at once; 0.25 is RFC 8305, section 8.
        race_width: that many connects at once at the most, the rest one each 50 ms.
        max_attempts: tries of one request.
        failover_statuses: an idempotent request so answered asks another server.
        retry_budget: copies that a living server has to carry, as a share of requests.
        replay_limit: request content kept for a resend.
        resume: whether a GET that breaks off in mid-response goes on from another server.
        idempotency_key: what such a field means.
        affinity: what the daemon knows a client by, whose requests go to one server.
        host_header: which Host field a server is sent by the daemon.
        queue_timeout: how long a request waits for a place where every address is at its limit.
        max_connections: for each address.
        pool_idle_timeout: how long an unused connection is kept.
        standby: whether the daemon keeps a connection ready for a resend while a request is outstanding.
        health: requests of the daemon's own that tell a hung server; None sends none.
    """

    urls: tuple[Url, ...]
    backups: tuple[Url, ...] = ()
    order: Order = Order.FASTEST
    window: float = 4.0
    response_timeout: float = RESPONSE_TIMEOUT
    connect_timeout: float = 1.0
    connection_attempt_delay: float = 0.0
    race_width: int = 8
    max_attempts: int = 3
    failover_statuses: frozenset[int] = frozenset({502, 503, 504})
    retry_budget: float = 0.2
    replay_limit: int = 1 << 20
    resume: bool = True
    idempotency_key: IdempotencyKey = IdempotencyKey.HONOUR
    affinity: Affinity = NO_AFFINITY
    host_header: HostHeader = HostHeader.ORIGIN
    queue_timeout: float = 10.0
    max_connections: int = 256
    pool_idle_timeout: float = 15.0
    standby: bool = False
    health: HealthRequests | None = None
    tls: TlsSettings = msgspec.field(default_factory=TlsSettings)

    if TYPE_CHECKING:
        # What may be given is wider than what is kept.
        def __init__(
            self,
            *,
            urls: str | Url | Sequence[str | Url],
            backups: str | Url | Sequence[str | Url] = (),
            order: Order | str = ...,
            window: float = ...,
            response_timeout: float = ...,
            connect_timeout: float = ...,
            connection_attempt_delay: float = ...,
            race_width: int = ...,
            max_attempts: int = ...,
            failover_statuses: Iterable[int] = ...,
            retry_budget: float = ...,
            replay_limit: int = ...,
            resume: bool = ...,
            idempotency_key: IdempotencyKey | str = ...,
            affinity: Affinity | str = ...,
            host_header: HostHeader | str = ...,
            queue_timeout: float = ...,
            max_connections: int = ...,
            pool_idle_timeout: float = ...,
            standby: bool = ...,
            health: HealthRequests | None = ...,
            tls: TlsSettings = ...,
        ) -> None: ...

    @property
    def is_tcp(self) -> bool:
        """Whether its servers speak another protocol than HTTP: all of its URLs are tcp://."""
        return self.urls[0].origin.is_tcp

    def __post_init__(self) -> None:
        """Strings become values, and what cannot be is refused.

        Raises:
            haclient.errors.UrlError: a URL is malformed.
            ValueError: a number is out of its range; the message names it.
        """
        set_ = msgspec.structs.force_setattr
        set_(self, "urls", as_urls(self.urls))
        set_(self, "backups", as_urls(self.backups))
        set_(self, "order", Order(self.order))
        set_(self, "idempotency_key", IdempotencyKey(self.idempotency_key))
        set_(self, "host_header", HostHeader(self.host_header))
        if isinstance(self.affinity, str):
            set_(self, "affinity", parse_affinity(self.affinity))
        set_(self, "failover_statuses", frozenset(self.failover_statuses))
        if not self.urls:
            raise ValueError("urls must name at least one URL")
        if len({url.origin.is_tcp for url in (*self.urls, *self.backups)}) > 1:
            raise ValueError("urls and backups must all be tcp:// or none of them")
        if self.is_tcp and self.affinity.name:
            raise ValueError(
                'affinity must be "none" or "client" where the urls are tcp://: there are no cookies and fields'
            )
        _check_seconds(self, "window", "response_timeout", "connect_timeout", "queue_timeout")
        _check_counts(self, "race_width", "max_attempts", "max_connections")
        for name in (
            "connection_attempt_delay",
            "retry_budget",
            "replay_limit",
            "pool_idle_timeout",
        ):
            if not _number(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
