"""What the daemon's admin endpoint answers, as values: the daemon fills them, the commands show them.

Instants here are Unix time, for whoever reads them has another clock; durations are seconds. Members
may be added; the meaning of one never changes.

`haclient status` reads them without this module: msgspec takes 20 ms to import, which is more than
all else that the command does (see status.py).
"""

from __future__ import annotations

import msgspec

__all__ = [
    "DestinationReport",
    "DnsReport",
    "EndpointReport",
    "FailoverReport",
    "ListenerReport",
    "OrderReport",
    "StatusReport",
    "TargetReport",
]


class EndpointReport(msgspec.Struct, frozen=True, kw_only=True):
    """One address of a target, and what is thought of it.

    Attributes:
        address: "10.0.0.2:8080", "[::1]:8080" or "unix:/path".
        origin: whose address it is, as "http://orders.internal:8080".
        tier: 0 for the URLs, 1 for the backups.
        state: "ok", "untried", "suspect", "unavailable", "failed" or "held down" (see last_known.py).
        held_for: seconds until it is asked again, where it is held down.
        failures: in a row, up to now.
        idle, leased: connections to it.
        health: what came of the last health request; empty where there was none.
        source: "literal" where it stands in the URL; empty where a name led to it (`dns` says whence).
    """

    address: str
    origin: str
    tier: int = 0
    state: str = "untried"
    held_for: float | None = None
    failures: int = 0
    idle: int = 0
    leased: int = 0
    health: str = ""
    source: str = ""


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """One target since the daemon began.

    Attributes:
        failovers: requests that were answered by a later attempt than the first.
        budget_remaining: of the retry budget, from 0.0 to 1.0.
        resent: attempts beyond the first.
    """

    name: str
    requests: int = 0
    failovers: int = 0
    outstanding: int = 0
    budget_remaining: float = 1.0
    resent: int = 0
    endpoints: tuple[EndpointReport, ...] = ()


class DestinationReport(msgspec.Struct, frozen=True, kw_only=True):
    """One of those that a forward listener was asked for lately.

    Attributes:
        listener: its name.
        origin: as "http://files.internal"; "tcp://files.internal:443" for CONNECT.
    """

    listener: str
    origin: str
    endpoints: tuple[EndpointReport, ...] = ()


class ListenerReport(msgspec.Struct, frozen=True, kw_only=True):
    """One local door.

    Attributes:
        connections: open now.
        limit: as many may be; then an idle one makes way, or accepting pauses.
        is_paused: whether it does.
    """

    name: str
    bind: str
    connections: int = 0
    outstanding: int = 0
    requests: int = 0
    limit: int = 0
    is_paused: bool = False


class FailoverReport(msgspec.Struct, frozen=True, kw_only=True, rename={"source": "from"}):
    """One request that went from a server to another.

    Attributes:
        at: when it was answered, or given up (Unix time).
        path: escaped and with its secrets masked, as in the access log.
        source: the address that failed; "from" in JSON.
        to: the address that answered; empty where none did.
        verdict, evidence: of the attempt that failed.
        seconds: from the start of the first attempt to that of the last.
    """

    at: float
    target: str
    method: str
    path: str
    source: str
    to: str
    verdict: str
    evidence: str = ""
    seconds: float = 0.0


class DnsReport(msgspec.Struct, frozen=True, kw_only=True):
    """One name that was looked up.

    Attributes:
        ttl: seconds that the answer holds still; negative where it has run out.
        is_stale: whether it serves beyond that, for the name servers are silent (RFC 8767).
        error: of the last look-up, empty where it went well.
    """

    name: str
    addresses: tuple[str, ...] = ()
    source: str = ""
    ttl: float | None = None
    is_stale: bool = False
    error: str = ""


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """All of `GET /status`.

    Attributes:
        state: "running" or "draining".
        generation: how often a configuration was loaded, the one at the start included.
        replay_bytes: request content that is kept for resends now.
        last_failovers: the youngest first.
        destinations: those with a known address, of each listener the 256 that were asked for last at the most.
    """

    version: str
    pid: int
    state: str
    started_at: float
    uptime: float
    config_file: str
    generation: int
    listeners: tuple[ListenerReport, ...] = ()
    targets: tuple[TargetReport, ...] = ()
    outstanding: int = 0
    replay_bytes: int = 0
    last_failovers: tuple[FailoverReport, ...] = ()
    dns: tuple[DnsReport, ...] = ()
    destinations: tuple[DestinationReport, ...] = ()


class OrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /reload`, `POST /drain` and `GET /readyz`.

    Attributes:
        is_done: whether it was carried out (for readyz: whether the daemon is ready). The status
            is 200 then; 409 for a refused reload, 503 for a daemon that is not ready.
        lines: for a person: what changed, or each thing that was wrong.
        generation: of the configuration in force.
    """

    is_done: bool
    lines: tuple[str, ...] = ()
    generation: int = 0
