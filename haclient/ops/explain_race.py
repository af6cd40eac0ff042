"""A race in which everybody may finish: what every address of a target would do, and who would serve.

The race of a request ends with its winner; the others are cut off, and nothing is learnt of them.
Here each address is connected to by a race of its own, all at the same time, up to the handshake,
and is closed without a request. Who would have won under the target's order is then asked of
core.race, with the durations that were just measured on a clock of paper.
"""

from __future__ import annotations

import heapq
import math
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, assert_never

import msgspec
import trio

from haclient.core.balance import Candidate
from haclient.core.race import (
    Abandon,
    Action,
    AllFailed,
    Entrant,
    Race,
    RaceSettings,
    StartConnect,
    StartHandshake,
    WakeAt,
    Won,
)
from haclient.core.url import Url
from haclient.errors import ResolveError
from haclient.net import Resolution, Resolver, Transport
from haclient.net.dialer import SocketDialer
from haclient.net.racer import race
from haclient.net.tls import describe_tls, start_tls
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Instant, Origin

__all__ = [
    "Certificate",
    "Name",
    "Tried",
    "connect_to_all",
    "read_certificate",
    "resolve_all",
    "who_wins",
]


class Name(msgspec.Struct, frozen=True):
    """A URL of the target, and its addresses; exactly one of `resolution` and `error` is set."""

    url: Url
    is_backup: bool
    took: float
    """Seconds."""
    resolution: Resolution | None = None
    error: ResolveError | None = None

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """None at all where the name gave no address."""
        return self.resolution.endpoints if self.resolution is not None else ()


class Certificate(msgspec.Struct, frozen=True):
    """What of a server's certificate a person asks for."""

    subject: str
    issuer: str
    expires_at: datetime

    @property
    def days_left(self) -> int:
        """Whole days until it expires."""
        return (self.expires_at - datetime.now(UTC)).days


class Tried(msgspec.Struct, frozen=True):
    """One address, and how far it could be connected."""

    origin: Origin
    endpoint: Endpoint
    attempt: ConnectionAttempt
    tls: str = ""
    certificate: Certificate | None = None
    rtt: float = 0.0
    """Seconds, as the kernel has it after the handshake; 0 where it does not say."""
    rttvar: float = 0.0

    @property
    def is_usable(self) -> bool:
        """Whether a request could have been sent."""
        return self.attempt.usable_at is not None

    @property
    def connect_time(self) -> float | None:
        """Seconds for TCP; None where it did not connect."""
        if self.attempt.connected_at is None:
            return None
        return self.attempt.connected_at - self.attempt.started_at

    @property
    def total_time(self) -> float:
        """Seconds to usable, or to the failure."""
        return self.attempt.ended_at - self.attempt.started_at


async def resolve_all(
    urls: Sequence[Url], backups: Sequence[Url], resolver: Resolver
) -> tuple[Name, ...]:
    """Resolves every URL's host, all at the same time; the result is in their order."""
    both = [*((url, False) for url in urls), *((url, True) for url in backups)]
    found: dict[int, Name] = {}

    async def resolve(number: int, url: Url, is_backup: bool) -> None:
        began_at = trio.current_time()
        resolution, error = None, None
        try:
            resolution = await resolver.resolve(url.origin.host, url.origin.port)
        except ResolveError as exc:
            error = exc
        took = trio.current_time() - began_at
        found[number] = Name(url, is_backup, took, resolution, error)

    async with trio.open_nursery() as nursery:
        for number, (url, is_backup) in enumerate(both):
            nursery.start_soon(resolve, number, url, is_backup)
    return tuple(found[number] for number in range(len(both)))


async def connect_to_all(
    candidates: Sequence[Candidate],
    contexts: Mapping[Origin, ssl.SSLContext],
    connect_timeout: float,
) -> tuple[Tried, ...]:
    """Connects to each, all at the same time, and closes again; the result is in their order.

    Args:
        candidates: whom to connect to.
        contexts: for the origins that are spoken to over TLS.
        connect_timeout: seconds for the connect, and again for the handshake.
    """
    found: dict[Candidate, Tried] = {}

    async def connect(candidate: Candidate) -> None:
        found[candidate] = await _connect(candidate, contexts, connect_timeout)

    async with trio.open_nursery() as nursery:
        for candidate in candidates:
            nursery.start_soon(connect, candidate)
    return tuple(found[candidate] for candidate in candidates)


async def _connect(
    candidate: Candidate, contexts: Mapping[Origin, ssl.SSLContext], connect_timeout: float
) -> Tried:
    async def establish(transport: Transport, origin: Origin) -> trio.abc.Stream:
        return await start_tls(transport, contexts[origin], origin.name.partition("%")[0])

    opened, (attempt,) = await race(
        [candidate],
        RaceSettings(connect_timeout=connect_timeout),
        dialer=SocketDialer(),
        establish=establish,
        needs_handshake=lambda origin: origin.is_secure,
        observe=None,
        attempt=1,
    )
    if opened is None:
        return Tried(candidate.origin, candidate.endpoint, attempt)
    try:
        info = opened.transport.snapshot()
        return Tried(
            candidate.origin,
            candidate.endpoint,
            attempt,
            describe_tls(opened.stream),
            _certificate(opened.stream),
            info.rtt if info is not None else 0.0,
            info.rttvar if info is not None else 0.0,
        )
    finally:
        opened.transport.close()


def _certificate(stream: trio.abc.Stream) -> Certificate | None:
    """None for plain HTTP, and for a certificate that was not verified: it is not taken apart then."""
    if not isinstance(stream, trio.SSLStream):
        return None
    shown: dict[str, Any] = stream.getpeercert() or {}
    if "notAfter" not in shown:
        return None
    return read_certificate(shown)


Attributes = Sequence[Sequence[tuple[str, str]]]
"""A distinguished name, as SSLSocket.getpeercert has it."""


def read_certificate(shown: Mapping[str, Any]) -> Certificate:
    """What a person asks for, from what SSLSocket.getpeercert gives.

    The subject may be empty (RFC 5280, section 4.1.2.6); the names that count are in
    subjectAltName then.
    """
    subject = _attributes(shown.get("subject", ()))
    issuer = _attributes(shown.get("issuer", ()))
    names = [name for _, name in shown.get("subjectAltName", ())]
    seconds = ssl.cert_time_to_seconds(shown["notAfter"])
    return Certificate(
        subject.get("commonName") or ", ".join(names) or "no name",
        issuer.get("commonName") or issuer.get("organizationName") or "no name",
        datetime.fromtimestamp(seconds, UTC),
    )


def _attributes(name: Attributes) -> dict[str, str]:
    return {key: value for part in name for key, value in part}


def who_wins(tried: Sequence[Tried], settings: RaceSettings) -> Tried | None:
    """Runs the race of core.race with the durations that were measured, in the order given.

    Returns:
        The winner, or None where everybody fails.
    """
    machine = Race([Entrant(one.origin.is_secure) for one in tried], settings)
    due: list[tuple[float, int, bool]] = []
    """When, who, and whether it is the handshake that ends then."""
    now, wake_at = 0.0, math.inf
    actions = machine.begin(now)
    while True:
        for action in actions:
            match action:
                case StartConnect(index):
                    heapq.heappush(due, (now + _connects_in(tried[index]), index, False))
                case StartHandshake(index):
                    heapq.heappush(due, (now + _shakes_hands_in(tried[index]), index, True))
                case Abandon():
                    pass  # the machine takes no news of it any more
                case Won(index):
                    return tried[index]
                case AllFailed():
                    return None
                case WakeAt(instant):
                    wake_at = instant
                case _:
                    assert_never(action)
        if due and due[0][0] <= wake_at:
            now, index, is_handshake = heapq.heappop(due)
            actions = _report(machine, index, tried[index], is_handshake, now)
        else:
            now = wake_at
            actions = machine.woke(now)


def _report(
    machine: Race, index: int, one: Tried, is_handshake: bool, now: Instant
) -> tuple[Action, ...]:
    if is_handshake:
        ended = machine.handshake_done if one.is_usable else machine.handshake_failed
    else:
        has_connected = one.connect_time is not None
        ended = machine.connected if has_connected else machine.connect_failed
    return ended(index, now)


def _connects_in(one: Tried) -> float:
    """Seconds; infinite where nobody answered, for the machine keeps that time itself."""
    if one.connect_time is not None:
        return one.connect_time
    return math.inf if one.attempt.failure is ConnectFailure.TIMED_OUT else one.total_time


def _shakes_hands_in(one: Tried) -> float:
    assert one.connect_time is not None
    if one.attempt.failure is ConnectFailure.TIMED_OUT:
        return math.inf
    return one.total_time - one.connect_time
