"""The driver of the race, against servers that do what a table says, at exact times.

A row is one server: its address, after how long its connect ends, and how; for https also after
how long its handshake ends, and how. After each scenario every connection that was opened and is
not the winner's must be closed.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from haclient import events
from haclient.core.detector import TcpInfo
from haclient.core.race import RaceSettings
from haclient.errors import CertificateError, ProxyError, TlsError
from haclient.net import Dialer, Transport
from haclient.net.racer import (
    Candidate,
    Establish,
    Opened,
    connect_failure,
    handshake_failure,
    race,
    words,
)
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Origin

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
        self.handshakes: dict[str, float] = {}
        self.transports: list[FakeTransport] = []
        self.events: list[events.Event] = []

    async def connect(self, endpoint: Endpoint) -> FakeTransport:
        row = self.rows[endpoint.address]
        assert row.address not in self.connects, "connected to twice"
        self.connects[row.address] = trio.current_time()
        await trio.sleep(row.connect_after)
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


STAGGERED = RaceSettings(connection_attempt_delay=0.25)
NARROW = RaceSettings(width=2)


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        pytest.param([], None, {}, id="nobody to race"),
        pytest.param([Row("::1", 0.3)], None, {"::1": ("WON", 0.3)}, id="one that connects"),
        pytest.param(
            [Row("::1", 0.3, REFUSED)], None, {"::1": ("REFUSED", 0.3)}, id="one that refuses"
        ),
        pytest.param(
            [Row("::1", SILENT)], None, {"::1": ("TIMED_OUT", 1.0)}, id="one that is silent"
        ),
        pytest.param(
            [Row("::1", 0.2), Row("::2", 0.1), Row("::3", SILENT)],
            None,
            {"::1": ("LOST", 0.1), "::2": ("WON", 0.1), "::3": ("LOST", 0.1)},
            id="the fastest wins and the others end at once",
        ),
        pytest.param(
            [Row("::1", SILENT), Row("::2", 0.1, REFUSED), Row("::3", 0.2, UNREACHABLE)],
            None,
            {"::1": ("TIMED_OUT", 1.0), "::2": ("REFUSED", 0.1), "::3": ("UNREACHABLE", 0.2)},
            id="a race that failed says of each one when and why",
        ),
        pytest.param(
            [Row("::1", 1.0), Row("::2", SILENT)],
            None,
            {"::1": ("WON", 1.0), "::2": ("LOST", 1.0)},
            id="whoever connects in the moment of the time-out is not timed out",
        ),
        pytest.param(
            [Row("::1", SILENT), Row("::2", SILENT), Row("::3", SILENT), Row("::4", 0.02)],
            NARROW,
            {
                "::1": ("LOST", 0.05 + 0.05 + 0.02),
                "::2": ("LOST", 0.05 + 0.05 + 0.02),
                "::3": ("LOST", 0.05 + 0.05 + 0.02),
                "::4": ("WON", 0.05 + 0.05 + 0.02),
            },
            id="beyond the width one starts each 50 ms",
        ),
        pytest.param(
            [Row("::1", SILENT), Row("::2", 0.01, REFUSED), Row("::3", 0.02)],
            NARROW,
            {"::1": ("LOST", 0.03), "::2": ("REFUSED", 0.01), "::3": ("WON", 0.03)},
            id="beyond the width a failure starts the next at once",
        ),
        pytest.param(
            [Row("::1", 0.05), Row("::2", 0.0, is_held_down=True)],
            None,
            {"::1": ("WON", 0.05)},
            id="one held down is not asked while another may still answer",
        ),
        pytest.param(
            [Row("::1", SILENT), Row("::2", 0.1, is_held_down=True)],
            None,
            {"::1": ("LOST", 0.05 + 0.1), "::2": ("WON", 0.05 + 0.1)},
            id="one held down is asked when the others are silent",
        ),
        pytest.param(
            [Row("::1", 0.6), Row("::2", 0.5), Row("::3", 0.05, REFUSED), Row("::4", 0.5)],
            STAGGERED,
            {
                "::1": ("WON", 0.6),
                "::2": ("LOST", 0.6),
                "::3": ("REFUSED", 0.55),
                "::4": ("LOST", 0.6),
            },
            id="with a delay the earlier ones are kept going, and a failure starts the next",
        ),
        pytest.param(
            [Row("::1", 0.2), Row("::2", 0.0)],
            STAGGERED,
            {"::1": ("WON", 0.2)},
            id="with a delay the second is not asked if the first is quick",
        ),
    ],
)
async def test_http(
    rows: list[Row],
    settings: RaceSettings | None,
    expected: dict[str, tuple[str, float]],
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers(rows)
    opened, attempts = await servers.race(settings)
    assert outcome(attempts) == expected
    assert trio.current_time() == max([at for _, at in expected.values()], default=0.0)
    if opened is not None:
        assert id(opened.stream) == id(opened.transport)
    assert servers.handshakes == {}


@pytest.mark.parametrize(
    ("rows", "handshakes", "expected"),
    [
        pytest.param(
            [Row("::1", 0.1, handshake_after=0.2)],
            {"::1": 0.1},
            {"::1": ("WON", 0.1 + 0.2)},
            id="one that is well",
        ),
        pytest.param(
            [Row("::1", 0.1, handshake_after=SILENT)],
            {"::1": 0.1},
            {"::1": ("TIMED_OUT", 1.1)},
            id="one that accepts and does nothing",
        ),
        pytest.param(
            [Row("::1", 0.1, handshake_after=0.1), Row("::2", 0.15), Row("::3", SILENT)],
            {"::1": 0.1},
            {"::1": ("WON", 0.2), "::2": ("LOST", 0.2), "::3": ("LOST", 0.2)},
            id="the second to connect is spared a handshake",
        ),
        pytest.param(
            [
                Row("::1", 0.1, handshake_after=0.1, handshake_error=EXPIRED),
                Row("::2", 0.15, handshake_after=0.1),
            ],
            {"::1": 0.1, "::2": 0.2},
            {"::1": ("CERTIFICATE", 0.2), "::2": ("WON", 0.2 + 0.1)},
            id="a failed handshake gives the next one its turn",
        ),
        pytest.param(
            [
                Row("::1", 0.0, handshake_after=SILENT),
                Row("::2", 0.1, handshake_after=SILENT),
                Row("::3", 0.2, handshake_after=0.1),
            ],
            {"::1": 0.0, "::2": 0.25, "::3": 0.5},
            {"::1": ("LOST", 0.6), "::2": ("LOST", 0.6), "::3": ("WON", 0.6)},
            id="a silent handshake holds the next one up for 250 ms",
        ),
        pytest.param(
            [
                Row("::1", 0.0, handshake_after=SILENT),
                Row("::2", 0.1, handshake_after=0.1, handshake_error=ProxyError("403")),
                Row("::3", 0.2, REFUSED),
            ],
            {"::1": 0.0, "::2": 0.25},
            {"::1": ("TIMED_OUT", 1.0), "::2": ("PROXY", 0.35), "::3": ("REFUSED", 0.2)},
            id="a race that failed says of each one when and why",
        ),
    ],
)
async def test_https(
    rows: list[Row],
    handshakes: dict[str, float],
    expected: dict[str, tuple[str, float]],
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers(rows, HTTPS)
    opened, attempts = await servers.race()
    assert outcome(attempts) == expected
    assert servers.handshakes == handshakes
    if opened is not None:
        assert isinstance(opened.stream, FakeStream)
        assert id(opened.stream.below) == id(opened.transport)


async def test_details_are_the_systems_own_words(autojump_clock: trio.testing.MockClock) -> None:
    servers = Servers(
        [
            Row("::1", 0.1, REFUSED),
            Row("::2", SILENT),
            Row("::3", 0.0, handshake_after=0.1, handshake_error=EXPIRED),
            Row("::4", 0.2, handshake_after=SILENT),
        ],
        HTTPS,
    )
    _, attempts = await servers.race()
    assert [one.detail for one in attempts] == [
        "Connection refused",
        "no connection within 1 s",
        "certificate has expired",
        "no handshake within 1 s",
    ]
    assert [one.connected_at for one in attempts] == [None, None, 0.0, 0.2]


async def test_nobody_watching_costs_no_events(autojump_clock: trio.testing.MockClock) -> None:
    servers = Servers([Row("::1", 0.1), Row("::2", 0.2)])
    opened, attempts = await race(
        servers.candidates,
        RaceSettings(),
        dialer=servers,
        establish=servers.establish,
        needs_handshake=lambda origin: False,
        observe=None,
        attempt=1,
    )
    servers.check(opened)
    assert outcome(attempts) == {"::1": ("WON", 0.1), "::2": ("LOST", 0.1)}


async def test_losers_are_closed_at_once_even_if_one_is_slow_to_let_go(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A handshake that takes its time to be cancelled holds up the return, not the closing."""
    servers = Servers([Row("::1", 0.0), Row("::2", 0.1), Row("::3", 0.2)], HTTPS)

    async def establish(transport: Transport, origin: Origin) -> FakeStream:
        if transport.endpoint.address == "::1":
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
        return await servers.establish(transport, origin)

    opened, _attempts = await race(
        servers.candidates,
        RaceSettings(),
        dialer=servers,
        establish=establish,
        needs_handshake=lambda origin: True,
        observe=None,
        attempt=1,
    )
    assert [transport.closed_at for transport in servers.transports] == [0.25, None, 0.25]
    assert opened is not None
    assert opened.usable_at == 0.25
    assert trio.current_time() == 5.0


async def test_a_connect_that_succeeds_when_it_is_abandoned_is_closed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers([Row("::1", 0.1), Row("::2", 0.2)])

    class Stubborn:
        async def connect(self, endpoint: Endpoint) -> FakeTransport:
            with trio.CancelScope(shield=True):
                await servers.connect(endpoint)
            return servers.transports[-1]

    opened, _attempts = await race(
        servers.candidates,
        RaceSettings(),
        dialer=Stubborn(),
        establish=servers.establish,
        needs_handshake=lambda origin: False,
        observe=None,
        attempt=1,
    )
    servers.check(opened)
    assert opened is not None
    assert opened.endpoint.address == "::1"
    assert [transport.closed_at for transport in servers.transports] == [None, 0.2]


async def fail_when_cancelled() -> None:
    """Turns a cancellation into an error of its own."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise REFUSED from None


@pytest.mark.parametrize("origin", [HTTP, HTTPS], ids=["connecting", "shaking hands"])
async def test_an_error_after_being_abandoned_is_no_news(
    origin: Origin, autojump_clock: trio.testing.MockClock
) -> None:
    servers = Servers([Row("::1", 0.0), Row("::2", SILENT)], origin)

    class Sulky:
        async def connect(self, endpoint: Endpoint) -> FakeTransport:
            transport = await servers.connect(endpoint)
            if origin is HTTP:
                servers.transports.remove(transport)
                await fail_when_cancelled()
            return transport

    async def establish(transport: Transport, origin: Origin) -> FakeStream:
        await fail_when_cancelled()
        raise AssertionError("unreachable")

    opened, attempts = await servers.race(dialer=Sulky(), establish=establish)
    assert opened is None
    assert outcome(attempts) == {"::1": ("TIMED_OUT", 1.0), "::2": ("TIMED_OUT", 1.0)}


@pytest.mark.parametrize("number", [1, 2], ids=["alone", "against another"])
async def test_a_connect_that_is_done_has_not_timed_out_however_late_we_notice(
    number: int, mock_clock: trio.testing.MockClock
) -> None:
    """Both become known at one moment, when this thread runs again after five seconds."""
    servers = Servers([Row("::1"), Row("::2")][:number])
    is_connected = trio.Event()

    class Slow:
        async def connect(self, endpoint: Endpoint) -> FakeTransport:
            if endpoint.address == "::2":
                await trio.sleep_forever()
            await is_connected.wait()
            return FakeTransport(endpoint)

    async def stall() -> None:
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(5.0)
        is_connected.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stall)
        opened, _attempts = await race(
            servers.candidates,
            RaceSettings(),
            dialer=Slow(),
            establish=servers.establish,
            needs_handshake=lambda origin: False,
            observe=None,
            attempt=1,
        )
    assert opened is not None
    assert opened.usable_at == 5.0


async def test_an_error_that_nobody_foresaw_closes_everything(
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers(
        [
            Row("::1", SILENT),
            Row("::2", 0.1, ZeroDivisionError()),
            Row("::3", 0.0, handshake_after=SILENT),
        ],
        HTTPS,
    )
    with pytest.raises(ExceptionGroup) as caught:
        await servers.race()
    assert caught.group_contains(ZeroDivisionError)


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope after so many steps of any task."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope = scope
        self.left = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()


SOME_OF_EVERYTHING = [
    Row("::1", 0.0, handshake_after=0.2, handshake_error=EXPIRED),
    Row("::2", 0.1, REFUSED),
    Row("::3", 0.15, handshake_after=0.5),
    Row("::4", 0.15, handshake_after=SILENT),
    Row("::5", SILENT),
    Row("::6", 0.7),
]


@pytest.mark.parametrize(
    ("rows", "origin"),
    [
        pytest.param([Row("::1", 0.1)], HTTP, id="one"),
        pytest.param([Row("::1", SILENT)], HTTP, id="one that is silent"),
        pytest.param([Row("::1", 0.2), Row("::2", 0.1), Row("::3", 0.1)], HTTP, id="http"),
        pytest.param(SOME_OF_EVERYTHING, HTTPS, id="https"),
        pytest.param(SOME_OF_EVERYTHING[:2] + SOME_OF_EVERYTHING[3:5], HTTPS, id="all fail"),
    ],
)
def test_cancelled_at_any_step_it_closes_everything(rows: list[Row], origin: Origin) -> None:
    async def cancelled_after(steps: int) -> bool:
        servers = Servers(rows, origin)
        scope = trio.CancelScope()
        instrument = CancelAtStep(scope, steps)
        trio.lowlevel.add_instrument(instrument)
        with scope:
            await servers.race()
        trio.lowlevel.remove_instrument(instrument)
        if scope.cancelled_caught:
            assert all(transport.closed_at is not None for transport in servers.transports)
        return scope.cancelled_caught

    def run(steps: int) -> bool:
        clock = trio.testing.MockClock(autojump_threshold=0)
        return trio.run(cancelled_after, steps, clock=clock)

    # Trio runs its tasks in a random order, so the number of steps varies a little.
    cancelled, finished, steps = 0, 0, 0
    while finished < 3:
        steps += 1
        was_cancelled = run(steps)
        cancelled += was_cancelled
        finished += not was_cancelled
    assert cancelled >= len(rows)


ticks = st.integers(0, 10).map(lambda count: count / 8)
errors = st.sampled_from([None, None, REFUSED, UNREACHABLE])
handshake_errors = st.sampled_from([None, None, EXPIRED, trio.BrokenResourceError()])
scripts = st.lists(
    st.tuples(
        ticks | st.just(SILENT), errors, ticks | st.just(SILENT), handshake_errors, st.booleans()
    ),
    max_size=6,
)


@given(
    scripts,
    st.sampled_from([HTTP, HTTPS]),
    st.sampled_from([0.0, 0.25]),
    st.integers(1, 4),
    st.none() | st.integers(0, 24).map(lambda count: count / 8),
)
def test_whatever_the_servers_do_everything_is_closed_and_accounted_for(
    script: list[tuple[float, Exception | None, float, Exception | None, bool]],
    origin: Origin,
    delay: float,
    width: int,
    cancel_after: float | None,
) -> None:
    rows = [Row(f"::{number}", *values) for number, values in enumerate(script, 1)]
    rows.sort(key=lambda row: row.is_held_down)

    async def main() -> None:
        servers = Servers(rows, origin)
        settings = RaceSettings(connection_attempt_delay=delay, width=width)
        with trio.move_on_after(math.inf if cancel_after is None else cancel_after):
            opened, attempts = await servers.race(settings)
            bound = len(rows) * (delay or settings.rest_delay) + 2 * settings.connect_timeout
            assert trio.current_time() <= bound
            if opened is None:
                assert len(attempts) == len(rows)
                assert all(one.failure not in {None, ConnectFailure.LOST} for one in attempts)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (errno.ECONNREFUSED, ConnectFailure.REFUSED),
        (errno.ECONNRESET, ConnectFailure.REFUSED),
        (errno.ENOENT, ConnectFailure.REFUSED),
        (errno.EHOSTUNREACH, ConnectFailure.UNREACHABLE),
        (errno.ENETUNREACH, ConnectFailure.UNREACHABLE),
        (errno.ETIMEDOUT, ConnectFailure.TIMED_OUT),
        (errno.EMFILE, ConnectFailure.LOCAL),
        (errno.ENFILE, ConnectFailure.LOCAL),
        (errno.EACCES, ConnectFailure.LOCAL),
        (errno.EAFNOSUPPORT, ConnectFailure.LOCAL),
        (errno.EADDRNOTAVAIL, ConnectFailure.LOCAL),
        (None, ConnectFailure.LOCAL),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else str(value),
)
def test_what_a_failed_connect_means(code: int | None, failure: ConnectFailure) -> None:
    assert connect_failure(OSError(code, "") if code else OSError("no number")) is failure


def broken_by(code: int) -> trio.BrokenResourceError:
    error = trio.BrokenResourceError("wrapped")
    error.__cause__ = OSError(code, "")
    return error


@pytest.mark.parametrize(
    ("error", "origin", "failure", "detail"),
    [
        pytest.param(EXPIRED, HTTPS, "CERTIFICATE", "certificate has expired", id="certificate"),
        pytest.param(TlsError("wrong version"), HTTPS, "TLS", "wrong version", id="TLS"),
        pytest.param(ProxyError("403"), HTTPS, "PROXY", "403", id="proxy"),
        pytest.param(
            broken_by(errno.ECONNRESET), HTTPS, "TLS", "Connection reset by peer", id="reset"
        ),
        pytest.param(
            OSError(errno.ECONNRESET, ""), HTTPS, "TLS", "Connection reset by peer", id="bare reset"
        ),
        pytest.param(
            broken_by(errno.ECONNRESET),
            HTTP,
            "PROXY",
            "Connection reset by peer",
            id="reset in a tunnel for a plain origin",
        ),
        pytest.param(
            broken_by(errno.EHOSTUNREACH), HTTPS, "UNREACHABLE", "No route to host", id="ICMP"
        ),
        pytest.param(
            broken_by(errno.ETIMEDOUT),
            HTTPS,
            "TIMED_OUT",
            "Connection timed out",
            id="the kernel's time-out",
        ),
        pytest.param(
            trio.BrokenResourceError("EOF"), HTTPS, "TLS", "EOF", id="broken for its own reason"
        ),
        pytest.param(
            trio.BrokenResourceError(), HTTPS, "TLS", "the connection broke", id="broken, no word"
        ),
    ],
)
def test_what_a_failed_handshake_means(
    error: Exception, origin: Origin, failure: str, detail: str
) -> None:
    assert handshake_failure(error, origin).name == failure
    assert words(error) == detail
