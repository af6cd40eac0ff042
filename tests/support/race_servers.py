"""Servers for a race: each does what its row says, at exact times on the mock clock.

A row is one server: its address, after how long its connect ends, and how; for https also after
how long its handshake ends, and how. Whatever the scenario, every connection that was opened and
is not the winner's must be closed, and the records, the events and what the servers saw must tell
the same story: `Servers.race` checks that each time.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from haclient import events
from haclient.core.detector import TcpInfo
from haclient.core.race import RaceSettings
from haclient.errors import CertificateError
from haclient.net import Dialer, Transport
from haclient.net.racer import Candidate, Establish, Opened, race
from haclient.types import ConnectionAttempt, Endpoint, Origin

HTTP = Origin("http", "orders.example", 80)
HTTPS = Origin("https", "orders.example", 443)
SILENT = math.inf

REFUSED = OSError(errno.ECONNREFUSED, "refused")
UNREACHABLE = OSError(errno.EHOSTUNREACH, "unreachable")
EXPIRED = CertificateError("certificate has expired")


@dataclass(frozen=True)
class Row:
    """One server; None where what it does succeeds."""

    address: str
    connect_after: float = 0.0
    connect_error: Exception | None = None
    handshake_after: float = 0.0
    handshake_error: Exception | None = None
    is_held_down: bool = False


class FakeTransport(trio.abc.HalfCloseableStream):
    """A connection that is good for being closed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.local: Endpoint | None = None
        self.bytes_sent = 0
        self.bytes_received = 0
        self.closed_at: float | None = None

    def close(self) -> None:
        assert self.closed_at is None, "closed twice"
        self.closed_at = trio.current_time()

    async def aclose(self) -> None:
        raise NotImplementedError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise NotImplementedError

    def interrupt(self) -> None:
        raise NotImplementedError

    def forget_interrupt(self) -> None:
        raise NotImplementedError

    def is_quiet(self) -> bool:
        raise NotImplementedError

    def snapshot(self) -> TcpInfo | None:
        raise NotImplementedError

    def probe(self) -> None:
        raise NotImplementedError

    def stop_probing(self) -> None:
        raise NotImplementedError


class FakeStream(trio.abc.Stream):
    """What a handshake makes of a transport."""

    def __init__(self, below: FakeTransport) -> None:
        self.below = below

    async def aclose(self) -> None:
        raise NotImplementedError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise NotImplementedError

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise NotImplementedError


class Servers:
    """The servers of one scenario: a Dialer, an Establish, and what they saw."""

    def __init__(self, rows: Sequence[Row], origin: Origin = HTTP) -> None:
        self.origin = origin
        self.rows = {row.address: row for row in rows}
        self.candidates = [
            Candidate(origin, Endpoint(row.address, origin.port), row.is_held_down) for row in rows
        ]
        self.connects: dict[str, float] = {}
        self.let_go: dict[str, float] = {}
        """When the connect of each was over, also if it was cancelled."""
        self.handshakes: dict[str, float] = {}
        self.transports: list[FakeTransport] = []
        self.events: list[events.Event] = []

    async def connect(self, endpoint: Endpoint) -> FakeTransport:
        row = self.rows[endpoint.address]
        assert row.address not in self.connects, "connected to twice"
        self.connects[row.address] = trio.current_time()
        try:
            await trio.sleep(row.connect_after)
        finally:
            self.let_go[row.address] = trio.current_time()
        if row.connect_error is not None:
            raise row.connect_error
        self.transports.append(FakeTransport(endpoint))
        return self.transports[-1]

    async def establish(self, transport: Transport, origin: Origin) -> FakeStream:
        assert isinstance(transport, FakeTransport)
        assert origin == self.origin
        row = self.rows[transport.endpoint.address]
        self.handshakes[row.address] = trio.current_time()
        await trio.sleep(row.handshake_after)
        if row.handshake_error is not None:
            raise row.handshake_error
        return FakeStream(transport)

    async def race(
        self,
        settings: RaceSettings | None = None,
        *,
        dialer: Dialer | None = None,
        establish: Establish | None = None,
    ) -> tuple[Opened | None, tuple[ConnectionAttempt, ...]]:
        opened = None
        try:
            opened, attempts = await race(
                self.candidates,
                settings or RaceSettings(),
                dialer=dialer or self,
                establish=establish or self.establish,
                needs_handshake=lambda origin: origin.is_secure,
                observe=self.events.append,
                attempt=7,
            )
        finally:
            self.check(opened)
        self.check_records(opened, attempts)
        return opened, attempts

    def check(self, opened: Opened | None) -> None:
        """Everything that is not the winner is closed."""
        winner = opened.transport if opened is not None else None
        for transport in self.transports:
            assert (transport.closed_at is None) is (transport is winner)
            if transport.closed_at is not None:
                assert transport.closed_at <= trio.current_time()

    def check_records(self, opened: Opened | None, attempts: tuple[ConnectionAttempt, ...]) -> None:
        """Whoever was started has one record, the events say the same, and one at most won."""
        assert {one.endpoint.address: one.started_at for one in attempts} == self.connects
        started = [e for e in self.events if isinstance(e, events.ConnectionAttemptStarted)]
        ended = [e for e in self.events if isinstance(e, events.ConnectionAttemptEnded)]
        assert [(e.at, e.attempt, e.endpoint) for e in started] == [
            (one.started_at, 7, one.endpoint) for one in attempts
        ]
        assert {(e.at, e.attempt, e.endpoint, e.failure, e.detail) for e in ended} == {
            (one.ended_at, 7, one.endpoint, one.failure, one.detail) for one in attempts
        }
        assert len(ended) == len(attempts)
        won = [one for one in attempts if one.failure is None]
        if opened is None:
            assert won == []
        else:
            assert [(one.endpoint, one.connected_at, one.usable_at) for one in won] == [
                (opened.endpoint, opened.connected_at, opened.usable_at)
            ]
            assert won[0].ended_at == opened.usable_at == trio.current_time()
            assert opened.origin == self.origin


def outcome(attempts: tuple[ConnectionAttempt, ...]) -> dict[str, tuple[str, float]]:
    """By address, in the order of the starts: how it ended and when."""
    return {
        one.endpoint.address: (one.failure.name if one.failure else "WON", one.ended_at)
        for one in attempts
    }
