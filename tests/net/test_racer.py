"""The driver of the race: tables of servers, and exactly what must come of each, and when."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing

from haclient.core.race import RaceSettings
from haclient.errors import ProxyCredentialsError, ProxyError, TlsError
from haclient.net import Transport
from haclient.net.racer import connect_failure, handshake_failure, race, words
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Origin
from tests.support.race_servers import (
    EXPIRED,
    HTTP,
    HTTPS,
    REFUSED,
    SILENT,
    UNREACHABLE,
    FakeStream,
    FakeTransport,
    Row,
    Servers,
    outcome,
)

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


async def test_a_connect_that_timed_out_is_given_up_while_the_race_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers([Row("::1", SILENT), Row("::2", SILENT)])
    await servers.race(STAGGERED)
    assert servers.let_go == {"::1": 1.0, "::2": 1.25}


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


async def fail_when_cancelled(error: Exception) -> None:
    """Turns a cancellation into an error of its own."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise error from None


@pytest.mark.parametrize(
    ("origin", "error"),
    [
        pytest.param(HTTP, REFUSED, id="connecting"),
        pytest.param(HTTPS, REFUSED, id="shaking hands"),
        pytest.param(HTTPS, trio.ClosedResourceError(), id="closed while shaking hands"),
    ],
)
async def test_an_error_after_being_abandoned_is_no_news(
    origin: Origin, error: Exception, autojump_clock: trio.testing.MockClock
) -> None:
    servers = Servers([Row("::1", 0.0), Row("::2", SILENT)], origin)

    class Sulky:
        async def connect(self, endpoint: Endpoint) -> FakeTransport:
            transport = await servers.connect(endpoint)
            if origin is HTTP:
                servers.transports.remove(transport)
                await fail_when_cancelled(error)
            return transport

    async def establish(transport: Transport, origin: Origin) -> FakeStream:
        await fail_when_cancelled(error)
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


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (errno.ECONNREFUSED, ConnectFailure.REFUSED),
        (errno.ECONNRESET, ConnectFailure.REFUSED),
        (errno.ENOENT, ConnectFailure.REFUSED),
        (errno.EHOSTUNREACH, ConnectFailure.UNREACHABLE),
        (errno.ENETUNREACH, ConnectFailure.UNREACHABLE),
        (errno.ETIMEDOUT, ConnectFailure.TIMED_OUT),
        (errno.EMFILE, ConnectFailure.NO_DESCRIPTOR),
        (errno.ENFILE, ConnectFailure.NO_DESCRIPTOR),
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
            ProxyCredentialsError("407"), HTTPS, "PROXY_CREDENTIALS", "407", id="its credentials"
        ),
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


class AtOnce:
    """A dialer whose connects all end in one moment, as the kernel tells of near servers."""

    def __init__(self) -> None:
        self.moment = trio.lowlevel.ParkingLot()

    async def connect(self, endpoint: Endpoint) -> Transport:
        await self.moment.park()
        if endpoint.address == "::1":
            return FakeTransport(endpoint)
        raise REFUSED if endpoint.address == "::2" else OSError(errno.EMFILE, "no room")


async def test_a_failure_in_the_moment_of_another_s_success_is_told_as_what_it_is() -> None:
    for _ in range(20):  # trio runs what is ready in any order
        servers = Servers([Row("::1"), Row("::2"), Row("::3")])
        dialer = AtOnce()
        found: list[ConnectionAttempt] = []

        async def run(servers: Servers, dialer: AtOnce, found: list[ConnectionAttempt]) -> None:
            opened, attempts = await race(
                servers.candidates,
                RaceSettings(),
                dialer=dialer,
                establish=servers.establish,
                needs_handshake=lambda origin: False,
                observe=None,
                attempt=1,
            )
            assert opened is not None
            found += attempts

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, servers, dialer, found)
            await trio.testing.wait_all_tasks_blocked()
            dialer.moment.unpark_all()
        assert [one.failure for one in found] == [
            None,
            ConnectFailure.REFUSED,
            ConnectFailure.NO_DESCRIPTOR,
        ]
