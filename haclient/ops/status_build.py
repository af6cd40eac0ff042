"""Looks at the data plane as it is now, and puts what it sees into a StatusReport.

Whoever asks gets one moment: nothing in here awaits. It reads more of the doors and of the engine than
others may; what it needs of them that they do not offer is gathered here, so that they need not know of
a status page.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import msgspec
import trio

from haclient._version import __version__
from haclient.core.config import Mode
from haclient.core.health import Condition, EndpointHealth
from haclient.core.names import ip_literal
from haclient.core.places import EndpointCounts
from haclient.engine.live import Engine, LiveTarget
from haclient.net import NameReport
from haclient.ops.book import Book, Tally
from haclient.ops.control import Control
from haclient.ops.last_known import LastKnown
from haclient.ops.status_report import (
    DestinationReport,
    DnsReport,
    EndpointReport,
    ListenerReport,
    StatusReport,
    TargetReport,
)
from haclient.proxy.client_side import ClientSide
from haclient.proxy.connect import Connect
from haclient.proxy.door import Door, Inside
from haclient.proxy.gateway import Gateway
from haclient.proxy.service import Service
from haclient.proxy.sidecar import Sidecar
from haclient.proxy.tcp import TcpSide
from haclient.types import Endpoint, Instant, Origin

__all__ = [
    "Connections",
    "build_status",
    "doors_of",
    "health_told",
    "known_endpoints",
    "names_in_use",
    "outstanding_by_target",
    "stale_served",
    "states_of",
]


@runtime_checkable
class TellsNames(Protocol):
    """A resolver that tells what it was asked."""

    @property
    def stale_served(self) -> int:
        """Answers given beyond their time (RFC 8767)."""
        ...

    def report(self, now: Instant) -> tuple[NameReport, ...]:
        """A line for each name."""
        ...


class Connections:
    """The counts of every pool, looked up once."""

    def __init__(self, engine: Engine) -> None:
        self._of = {
            (id(pool), counts.key, counts.endpoint): counts
            for pool in engine.pools.values()
            for counts in pool.snapshot().endpoints
        }

    def of(self, live: LiveTarget, origin: Origin, endpoint: Endpoint) -> EndpointCounts | None:
        """Those of one address of a target; targets with the same limits and origin share them."""
        return self._of.get((id(live.pool), live.key(origin), endpoint))

    def totals(self) -> tuple[int, int, int]:
        """Idle, leased, and connecting."""
        every = self._of.values()
        return (
            sum(each.idle for each in every),
            sum(each.leased for each in every),
            sum(each.reserved for each in every),
        )


class _Seen(msgspec.Struct, frozen=True, eq=False):
    """What one report looks up once, for all the addresses in it."""

    now: Instant
    health: Mapping[Endpoint, EndpointHealth]
    connections: Connections
    known: LastKnown


def build_status(control: Control, book: Book, wall_now: float) -> StatusReport:
    """All of it. `wall_now` is Unix time."""
    sidecar = control.sidecar
    doors = doors_of(sidecar)
    engine, now = sidecar.gateway.engine, trio.current_time()
    seen = _Seen(
        now=now,
        health={each.endpoint: each for each in engine.health.snapshot(now)},
        connections=Connections(engine),
        known=book.known,
    )
    return StatusReport(
        version=__version__,
        pid=os.getpid(),
        state="draining" if sidecar.is_draining or not control.is_ready else "running",
        started_at=control.started_at,
        uptime=max(0.0, wall_now - control.started_at),
        config_file=control.config_file,
        generation=control.generation,
        listeners=tuple(map(_listener, doors)),
        targets=tuple(_targets(sidecar, book, seen)),
        outstanding=sum(door.outstanding for door in doors),
        replay_bytes=sidecar.gateway.ledger.held,
        last_failovers=tuple(reversed(book.last_failovers)),
        dns=_names(engine, now),
        destinations=tuple(_destinations(sidecar.gateway, seen)),
    )


def doors_of(sidecar: Sidecar) -> list[Door]:
    """Those that are open, or have somebody inside."""
    return [door for door in sidecar.doors if door.inside or not door.is_draining]


def names_in_use(sidecar: Sidecar) -> tuple[set[str], set[str]]:
    """The listeners and the targets by which requests are counted; the empty one is of those without a target."""
    doors = [door.settings for door in doors_of(sidecar)]
    # A forward listener's destinations are counted under its own name.
    forward = [door.name for door in doors if door.mode is Mode.FORWARD]
    return {door.name for door in doors}, {"", *sidecar.gateway.targets, *forward}


def outstanding_by_target(doors: list[Door]) -> Counter[str]:
    """Requests that have not been answered yet, and tunnels, by the name of their target."""
    return Counter(
        target for door in doors for inside in door.inside if (target := _target_of(inside))
    )


def _target_of(inside: Inside) -> str:
    """Of what is outstanding; empty where nothing is."""
    if isinstance(inside, TcpSide):
        return inside.target
    if isinstance(inside, ClientSide) and isinstance(inside.served, Service | Connect):
        return inside.served.target
    return ""


def stale_served(engine: Engine) -> int:
    """How often a name was answered beyond its time."""
    resolver = engine.resolver
    return resolver.stale_served if isinstance(resolver, TellsNames) else 0


def known_endpoints(live: LiveTarget) -> Iterator[tuple[int, Origin, Endpoint]]:
    """Tier, origin and address of each; a literal is known before anybody asks for it."""
    for tier, urls in enumerate(live.tiers):
        for origin in dict.fromkeys(url.origin for url in urls):
            endpoints = live.known.get(origin)
            if endpoints is None:
                literal = ip_literal(origin.host)
                endpoints = () if literal is None else (Endpoint(literal, origin.port),)
            for endpoint in endpoints:
                yield tier, origin, endpoint


def states_of(
    live: LiveTarget,
    health: Mapping[Endpoint, EndpointHealth],
    connections: Connections,
    known: LastKnown,
) -> Iterator[tuple[Endpoint, str]]:
    """Each known address of a target, and what is thought of it (haclient.ops.last_known)."""
    for _, origin, endpoint in known_endpoints(live):
        counts = connections.of(live, origin, endpoint)
        yield endpoint, _state(live, endpoint, health.get(endpoint), counts, known)


def health_told(live: LiveTarget, endpoint: Endpoint) -> str:
    """What came of the last health request there, and whether it takes more of the like; empty where there was none."""
    checked = None if live.checks is None else live.checks.by_endpoint.get(endpoint)
    if checked is None or checked.told is None:
        return ""
    detail, progress = checked.told.detail, checked.check.progress
    return detail if progress is None else f"{detail} ({progress[0]} of {progress[1]} in a row)"


def _state(
    live: LiveTarget,
    endpoint: Endpoint,
    health: EndpointHealth | None,
    counts: EndpointCounts | None,
    known: LastKnown,
) -> str:
    is_connected = counts is not None and counts.idle + counts.leased > 0
    opinion = live.unfit.get(endpoint)
    return known.state(endpoint, health, is_connected=is_connected, opinion=opinion)


def _names(engine: Engine, now: Instant) -> tuple[DnsReport, ...]:
    resolver = engine.resolver
    if not isinstance(resolver, TellsNames):
        return ()
    return tuple(
        DnsReport(
            name=one.name,
            addresses=one.addresses,
            source=one.source,
            ttl=round(one.ttl, 3),
            is_stale=one.is_stale,
            error=one.error,
        )
        for one in resolver.report(now)
    )


def _listener(door: Door) -> ListenerReport:
    return ListenerReport(
        name=door.settings.name,
        bind=door.address,
        connections=len(door.inside),
        outstanding=door.outstanding,
        requests=door.requests,
        limit=door.settings.max_connections,
        is_paused=door.is_paused,
    )


def _targets(sidecar: Sidecar, book: Book, seen: _Seen) -> Iterator[TargetReport]:
    outstanding = outstanding_by_target(sidecar.doors)
    requests: Counter[str] = Counter()
    for (_, target), row in book.rows.items():
        requests[target] += row.requests
    for name, live in sidecar.gateway.targets.items():
        tally = book.tallies.get(name) or Tally()
        yield TargetReport(
            name=name,
            requests=requests[name],
            failovers=sum(tally.failovers.counts),
            outstanding=outstanding[name],
            budget_remaining=live.budget.remaining_ratio(seen.now),
            resent=tally.resent,
            endpoints=tuple(_endpoints(live, seen)),
        )


def _destinations(gateway: Gateway, seen: _Seen) -> Iterator[DestinationReport]:
    for name, live in gateway.destinations():
        endpoints = tuple(_endpoints(live, seen))
        if endpoints:
            yield DestinationReport(
                listener=name, origin=str(live.spec.urls[0].origin), endpoints=endpoints
            )


def _endpoints(live: LiveTarget, seen: _Seen) -> Iterator[EndpointReport]:
    for tier, origin, endpoint in known_endpoints(live):
        known = seen.health.get(endpoint)
        counts = seen.connections.of(live, origin, endpoint)
        is_held = known is not None and known.condition is Condition.HELD_DOWN
        yield EndpointReport(
            address=str(endpoint),
            origin=str(origin),
            tier=tier,
            state=_state(live, endpoint, known, counts, seen.known),
            held_for=round(known.until - seen.now, 3) if known is not None and is_held else None,
            failures=0 if known is None else known.failures,
            idle=0 if counts is None else counts.idle,
            leased=0 if counts is None else counts.leased,
            health=health_told(live, endpoint),
            source="literal" if ip_literal(origin.host) is not None else "",
        )
