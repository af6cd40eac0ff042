"""The watch on the mock clock, over a connection whose segments are a list of instants.

The kernel's side is scripted, so every time here is exact. What a real kernel does with it is in
tests/loopback/test_watch.py.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from haclient import events
from haclient.core.detector import TcpInfo
from haclient.net import Transport
from haclient.net.watch import Outstanding, Watch
from haclient.types import Endpoint, Evidence, EvidenceKind, Instant

ENDPOINT = Endpoint("192.0.2.1", 80)
FOREVER = 1e9


@dataclass
class ScriptedConnection:
    """A transport that is never read or written: only its kernel is asked.

    `segments` are the instants at which one comes in from the peer; `answers_after` the seconds in
    which it answers a probe, None where it does not.
    """

    segments: list[Instant] = field(default_factory=lambda: [0.0])
    answers_after: float | None = 0.0
    rtt: float = 0.0
    in_flight_until: Instant = 0.0
    retransmits: int = 0
    notsent_bytes: int = 0
    has_kernel: bool = True
    unread_from: Instant = math.inf
    unread_until: Instant = math.inf
    bytes_sent: int = 100
    bytes_received: int = 0
    endpoint: Endpoint = ENDPOINT
    local: Endpoint | None = None
    looks: list[Instant] = field(default_factory=list)
    probes: list[Instant] = field(default_factory=list)
    interrupts: list[Instant] = field(default_factory=list)
    stops: list[Instant] = field(default_factory=list)

    def snapshot(self) -> TcpInfo | None:
        now = trio.current_time()
        self.looks.append(now)
        if not self.has_kernel:
            return None
        came_in = [at for at in self.segments if at <= now]
        is_in_flight = now < self.in_flight_until
        return TcpInfo(
            unacked=int(is_in_flight),
            retransmits=self.retransmits if is_in_flight else 0,
            probes=0,
            segs_in=len(came_in),
            notsent_bytes=self.notsent_bytes,
            rtt=self.rtt,
            rttvar=0.0,
            last_received=now - max(came_in, default=0.0),
        )

    def probe(self) -> None:
        self.probes.append(trio.current_time())
        if self.answers_after is not None:
            self.segments.append(trio.current_time() + self.answers_after)

    def stop_probing(self) -> None:
        self.stops.append(trio.current_time())

    def interrupt(self) -> None:
        self.interrupts.append(trio.current_time())

    def forget_interrupt(self) -> None:
        raise NotImplementedError

    def is_quiet(self) -> bool:
        return not self.unread_from <= trio.current_time() < self.unread_until

    # A byte that moves, as the reader or sender of the connection would see it.

    def receive(self, count: int = 1) -> None:
        self.segments.append(trio.current_time())
        self.bytes_received += count

    def send(self, count: int = 1) -> None:
        """Handed to the kernel, and acknowledged a round trip later."""
        self.bytes_sent += count
        self.segments.append(trio.current_time() + self.rtt)
        self.in_flight_until = trio.current_time() + self.rtt

    # What the watch has no business with.

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("the watch sends nothing")

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError("the watch sends nothing")

    async def send_eof(self) -> None:
        raise AssertionError("the watch sends nothing")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError("the watch reads nothing")

    async def aclose(self) -> None:
        raise AssertionError("the watch closes nothing")

    def close(self) -> None:
        raise AssertionError("the watch closes nothing")


@asynccontextmanager
async def watching(
    also: Callable[[Instant], Instant] | None = None,
) -> AsyncIterator[Watch]:
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run, also)
        await trio.testing.wait_all_tasks_blocked()
        yield watch
        nursery.cancel_scope.cancel()


class WakeUps:
    """Rides along with every wake-up of the watch, and notes when."""

    def __init__(self) -> None:
        self.at: list[Instant] = []

    def __call__(self, now: Instant) -> Instant:
        self.at.append(now)
        return math.inf


def outstanding(
    transport: Transport, backstop: float = FOREVER, observe: events.Observer | None = None
) -> Outstanding:
    return Outstanding(transport, trio.current_time(), backstop, observe=observe)


def shown(evidence: Evidence | None) -> str:
    """The evidence in words; empty where there is none."""
    return str(evidence or "")


def about(*instants: float) -> object:
    """These instants, but for what is off by rounding."""
    return pytest.approx(list(instants), abs=1e-6)


Script = Callable[[ScriptedConnection], Awaitable[None]]


class TestWhenItLooks:
    async def test_at_a_server_that_thinks(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(answers_after=0.0)
        async with watching() as watch:
            watch.add(outstanding(connection))
            await trio.sleep(3.05)
        # First look; probe after a second of silence; its answer; and so on.
        assert connection.looks == about(0.45, 1.0, 1.1, 2.0, 2.1, 3.0)
        assert connection.probes == about(1.0, 2.0, 3.0)
        assert connection.interrupts == []

    async def test_not_at_all_at_one_that_answers_sooner(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection()
        async with watching() as watch:
            for _ in range(20):
                entry = outstanding(connection)
                watch.add(entry)
                assert len(watch) == 1
                await trio.sleep(0.3)
                watch.remove(entry)
                assert len(watch) == 0
        assert (connection.looks, connection.probes) == ([], [])

    async def test_an_empty_watch_sleeps(self, autojump_clock: MockClock) -> None:
        wake_ups = WakeUps()
        async with watching(wake_ups) as watch:
            entry = outstanding(ScriptedConnection())
            watch.add(entry)
            await trio.sleep(0.1)
            watch.remove(entry)
            await trio.sleep(3600)
        assert wake_ups.at == about(0.0, 0.45)

    async def test_one_wake_up_serves_all_that_are_due(self, autojump_clock: MockClock) -> None:
        wake_ups = WakeUps()
        connections = [ScriptedConnection() for _ in range(100)]
        async with watching(wake_ups) as watch:
            for connection in connections:
                watch.add(outstanding(connection))
            await trio.sleep(0.9)
        assert wake_ups.at == about(0.0, 0.45)
        assert [connection.looks for connection in connections] == [about(0.45)] * 100

    async def test_steady_traffic_wakes_it_once_in_a_while(self, autojump_clock: MockClock) -> None:
        """Each request would move the alarm; it goes off once for all that came meanwhile."""
        wake_ups = WakeUps()
        async with watching(wake_ups) as watch:
            for _ in range(1000):
                entry = outstanding(ScriptedConnection())
                watch.add(entry)
                await trio.sleep(0.01)
                watch.remove(entry)
        assert len(wake_ups.at) <= 10.0 / 0.45 + 2

    async def test_one_that_is_due_sooner_moves_the_alarm(self, autojump_clock: MockClock) -> None:
        later, sooner = ScriptedConnection(), ScriptedConnection(segments=[0.1])
        async with watching() as watch:
            watch.add(outstanding(later))
            await trio.sleep(0.1)
            watch.add(outstanding(sooner, backstop=0.05))
            await trio.sleep(0.8)
        assert sooner.looks[0] == pytest.approx(0.15)
        assert sooner.interrupts == about(0.15)
        assert later.looks == about(0.45)

    async def test_one_that_is_due_later_does_not_move_it(self, autojump_clock: MockClock) -> None:
        first, second = ScriptedConnection(), ScriptedConnection(segments=[0.3])
        async with watching() as watch:
            watch.add(outstanding(first))
            await trio.sleep(0.3)
            watch.add(outstanding(second))
            await trio.sleep(0.5)
        assert first.looks == about(0.45)
        assert second.looks == about(0.75)

    async def test_added_before_the_task_runs(self, autojump_clock: MockClock) -> None:
        connection, watch = ScriptedConnection(), Watch()
        watch.add(outstanding(connection))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        assert connection.looks == about(0.45)

    async def test_removed_it_is_not_looked_at_any_more(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(answers_after=None)
        async with watching() as watch:
            entry = outstanding(connection)
            watch.add(entry)
            await trio.sleep(1.05)
            watch.remove(entry)
            await trio.sleep(10)
            watch.remove(entry)  # once more does no harm
        assert connection.probes == about(1.0)
        assert connection.looks == about(0.45, 1.0)
        assert connection.stops == about(1.05, 11.05)
        assert entry.suspicion is None


class TestWhatRidesAlong:
    async def test_it_is_called_when_it_wants_to_be(self, autojump_clock: MockClock) -> None:
        called: list[Instant] = []

        def also(now: Instant) -> Instant:
            called.append(now)
            return now + 5.0

        async with watching(also):
            await trio.sleep(16)
        assert called == about(0.0, 5.0, 10.0, 15.0)

    async def test_a_request_that_comes_in_does_not_put_it_off(
        self, autojump_clock: MockClock
    ) -> None:
        called: list[Instant] = []

        def also(now: Instant) -> Instant:
            called.append(now)
            return now + 0.2 if len(called) == 1 else math.inf

        async with watching(also) as watch:
            await trio.sleep(0.1)
            watch.add(outstanding(ScriptedConnection()))
            await trio.sleep(0.2)
        assert called == about(0.0, 0.2)


class TestVerdicts:
    async def test_a_server_that_died_thinking(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(answers_after=None)
        told: list[events.Event] = []
        async with watching() as watch:
            entry = outstanding(connection, observe=told.append)
            watch.add(entry)
            await trio.sleep(1.3)
            suspicion = entry.suspicion
            await trio.sleep(10)
        assert shown(suspicion) == "1 keep-alive probes unanswered, silent for 1.10 s"
        assert shown(entry.dead) == "3 keep-alive probes unanswered, silent for 2.50 s"
        assert connection.probes == about(1.0, 1.5, 2.0)
        assert connection.interrupts == about(1.1, 2.5)
        assert [type(event) for event in told] == [
            events.Probed,
            events.Suspected,
            events.Probed,
            events.Probed,
            events.DeclaredDead,
        ]
        assert [event.at for event in told] == about(1.0, 1.1, 1.5, 2.0, 2.5)

    async def test_a_suspect_that_lives_is_cleared(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(answers_after=0.3)
        told: list[events.Event] = []
        async with watching() as watch:
            entry = outstanding(connection, observe=told.append)
            watch.add(entry)
            await trio.sleep(1.2)
            suspicion = entry.suspicion
            await trio.sleep(0.4)
        assert suspicion is not None
        assert shown(entry.suspicion) == shown(entry.dead) == ""
        assert connection.interrupts == about(1.1, 1.5)
        assert [type(event) for event in told] == [
            events.Probed,
            events.Suspected,
            events.Cleared,
        ]

    async def test_a_server_that_died_with_data_in_flight(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(in_flight_until=math.inf, retransmits=2)
        async with watching() as watch:
            entry = outstanding(connection)
            watch.add(entry)
            await trio.sleep(1.0)
        assert shown(entry.dead) == "2 retransmissions unanswered, silent for 0.55 s"
        assert connection.interrupts == about(0.45, 0.55)
        assert connection.probes == []  # keep-alive is inert with data in flight

    async def test_after_the_last_verdict_there_is_no_other_news(
        self, autojump_clock: MockClock
    ) -> None:
        connection = ScriptedConnection(answers_after=None)
        async with watching() as watch:
            entry = outstanding(connection, backstop=3.0)
            watch.add(entry)
            await trio.sleep(10)
        assert connection.interrupts == about(1.1, 2.5)
        assert not entry.is_overdue
        assert connection.looks[-1] == pytest.approx(2.5)


class TestBackstop:
    """Alive, and no byte either way for so long. Never too soon; and not late where it matters."""

    @staticmethod
    async def overdue_at(
        connection: ScriptedConnection, backstop: float, within: float, script: Script | None = None
    ) -> Instant:
        """When the reader was told; `script` runs beside."""
        async with watching() as watch:
            entry = outstanding(connection, backstop)
            entry.is_answered = True  # else its head were due
            watch.add(entry)
            async with trio.open_nursery() as nursery:
                if script is not None:
                    nursery.start_soon(script, connection)
                await trio.sleep(within)
                nursery.cancel_scope.cancel()
            assert entry.is_overdue is bool(connection.interrupts)
            assert len(connection.interrupts) <= 1
        return connection.interrupts[0] if connection.interrupts else math.inf

    @pytest.mark.parametrize("backstop", [0.2, 0.45, 0.7, 1.0, 5.0, 40.0])
    @pytest.mark.parametrize("rtt", [0.0, 0.1])
    async def test_counts_from_the_send(
        self, autojump_clock: MockClock, backstop: float, rtt: float
    ) -> None:
        connection = ScriptedConnection(segments=[rtt], rtt=rtt, in_flight_until=rtt)
        at = await self.overdue_at(connection, backstop, 60.0)
        assert at == pytest.approx(backstop)

    @pytest.mark.parametrize("last", [0.1, 0.3, 0.46, 0.9, 2.03, 3.5])
    async def test_counts_from_the_last_byte_received(
        self, autojump_clock: MockClock, last: float
    ) -> None:
        async def answer(connection: ScriptedConnection) -> None:
            await trio.sleep(last)
            connection.receive()

        at = await self.overdue_at(ScriptedConnection(), 5.0, 30.0, answer)
        assert at == pytest.approx(last + 5.0)

    @pytest.mark.parametrize("rtt", [0.0, 0.08])
    @pytest.mark.parametrize("last", [0.1, 0.3, 0.9, 2.03])
    async def test_counts_from_the_last_byte_sent(
        self, autojump_clock: MockClock, last: float, rtt: float
    ) -> None:
        async def upload(connection: ScriptedConnection) -> None:
            await trio.sleep(last)
            connection.send()

        connection = ScriptedConnection(segments=[rtt], rtt=rtt, in_flight_until=rtt)
        assert await self.overdue_at(connection, 5.0, 30.0, upload) == pytest.approx(last + 5.0)

    async def test_never_while_bytes_move(self, autojump_clock: MockClock) -> None:
        async def drip(connection: ScriptedConnection) -> None:
            while True:
                await trio.sleep(4.9)
                connection.receive()

        assert await self.overdue_at(ScriptedConnection(), 5.0, 60.0, drip) == math.inf

    async def test_never_while_an_upload_moves(self, autojump_clock: MockClock) -> None:
        async def upload(connection: ScriptedConnection) -> None:
            while True:
                await trio.sleep(0.9)
                connection.send()

        assert await self.overdue_at(ScriptedConnection(rtt=0.05), 1.0, 60.0, upload) == math.inf

    async def test_answers_to_probes_are_no_bytes(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(answers_after=0.02)
        assert await self.overdue_at(connection, 5.0, 30.0) == pytest.approx(5.0)
        assert len(connection.probes) >= 4

    async def test_a_window_that_stays_shut_counts(self, autojump_clock: MockClock) -> None:
        """The server is alive and does not read: not dead, but long enough."""
        connection = ScriptedConnection(notsent_bytes=10_000)
        assert await self.overdue_at(connection, 5.0, 30.0) == pytest.approx(5.0)

    async def test_it_is_not_the_server_who_is_slow_while_there_is_something_to_read(
        self, autojump_clock: MockClock
    ) -> None:
        """A client that takes its time: the answer waits in our kernel, its window shut."""
        connection = ScriptedConnection(segments=[0.0, 0.5], unread_from=0.5, unread_until=20.0)

        async def read_late(connection: ScriptedConnection) -> None:
            await trio.sleep(20.0)
            connection.bytes_received += 1000

        at = await self.overdue_at(connection, 5.0, 60.0, read_late)
        assert 25.0 <= at <= 26.0

    async def test_without_the_kernel_it_is_late_by_one_look_at_most(
        self, autojump_clock: MockClock
    ) -> None:
        async def answer(connection: ScriptedConnection) -> None:
            await trio.sleep(2.3)
            connection.receive()

        at = await self.overdue_at(ScriptedConnection(has_kernel=False), 5.0, 30.0, answer)
        assert 7.3 <= at <= 8.3

    async def test_a_byte_that_moves_after_all_takes_it_back(
        self, autojump_clock: MockClock
    ) -> None:
        """The reader may come upon the bytes first and the news second."""
        connection = ScriptedConnection()
        async with watching() as watch:
            entry = outstanding(connection, 5.0)
            watch.add(entry)
            seen: list[bool] = []
            await trio.sleep(5.5)
            seen.append(entry.is_overdue)
            connection.receive()
            for pause in (0.0, 4.9, 0.2):
                await trio.sleep(pause)
                seen.append(entry.is_overdue)
        assert seen == [True, False, False, True]
        assert connection.interrupts == about(5.0, 10.5)


class TestWithoutTheKernel:
    """No TCP_INFO: the kernel's own keep-alive judges, and has to be switched on once."""

    async def test_keepalive_goes_on_after_a_second_and_off_at_the_end(
        self, autojump_clock: MockClock
    ) -> None:
        connection = ScriptedConnection(has_kernel=False)
        async with watching() as watch:
            entry = outstanding(connection)
            watch.add(entry)
            await trio.sleep(5.0)
            assert connection.stops == []
            watch.remove(entry)
        assert connection.probes == about(1.0)
        assert connection.stops == about(5.0)
        assert (entry.suspicion, entry.dead) == (None, None)

    async def test_a_quick_exchange_has_none(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(has_kernel=False)
        async with watching() as watch:
            entry = outstanding(connection)
            watch.add(entry)
            await trio.sleep(0.95)
            watch.remove(entry)
        assert connection.probes == []


class TestDoubt:
    """Health requests there are not answered; who may have to do with it, and who has not."""

    UNANSWERED = Evidence(EvidenceKind.HEALTH_REQUESTS, 2, 4.0, "/health")

    async def test_a_request_that_waits_and_an_answer(self, autojump_clock: MockClock) -> None:
        told: list[events.Event] = []
        connection = ScriptedConnection()
        entry = outstanding(connection, observe=told.append)
        async with watching() as watch:
            watch.add(entry)
            await trio.sleep(8.0)
            watch.doubt(Endpoint("192.0.2.2", 80), 8.0, self.UNANSWERED, 4.0)
            assert shown(entry.suspicion) == ""
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)  # no news
            assert shown(entry.suspicion) == shown(self.UNANSWERED)
            assert connection.interrupts == [8.0]
            await trio.sleep(1.0)
            watch.clear_doubt(Endpoint("192.0.2.2", 80), 9.0)
            assert shown(entry.suspicion) == shown(self.UNANSWERED)
            watch.clear_doubt(ENDPOINT, 9.0)
            watch.clear_doubt(ENDPOINT, 9.0)
            assert shown(entry.suspicion) == ""
            assert connection.interrupts == [8.0, 9.0]
            assert entry in watch
            watch.remove(entry)
            assert entry not in watch
        doubts = [one for one in told if isinstance(one, events.Suspected | events.Cleared)]
        assert doubts == [
            events.Suspected(8.0, 1, ENDPOINT, self.UNANSWERED),
            events.Cleared(9.0, 1, ENDPOINT),
        ]

    @pytest.mark.parametrize(("at", "is_doubted"), [(2.0, True), (6.0, False)])
    async def test_an_answer_that_stands_still(
        self, autojump_clock: MockClock, at: float, is_doubted: bool
    ) -> None:
        """Its last byte came before the first health request that nobody answered, or after."""
        connection = ScriptedConnection()
        entry = outstanding(connection)
        async with watching() as watch:
            watch.add(entry)
            await trio.sleep(at)
            connection.receive()
            await trio.sleep(8.0 - at)
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)
            assert (entry.suspicion is not None) is is_doubted

    @pytest.mark.parametrize("delay", [0.0, 0.02, 0.042])
    async def test_an_acknowledgement_is_no_answer(
        self, autojump_clock: MockClock, delay: float
    ) -> None:
        """Sent just before the first health request that nobody answers; the kernel's delayed ACK comes after."""
        connection = ScriptedConnection()
        await trio.sleep(3.99)
        async with watching() as watch:
            entry = outstanding(connection)
            watch.add(entry)
            connection.bytes_sent += 100
            connection.segments.append(3.99 + delay)
            await trio.sleep_until(8.0)
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)
            assert shown(entry.suspicion) == shown(self.UNANSWERED)

    async def test_what_is_uploaded_is_no_answer(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection()
        entry = outstanding(connection)
        async with watching() as watch:
            watch.add(entry)
            await trio.sleep(6.0)
            connection.send()
            await trio.sleep(2.0)
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)
            assert shown(entry.suspicion) == shown(self.UNANSWERED)

    async def test_bytes_that_came_this_moment(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection()
        entry = outstanding(connection)
        async with watching() as watch:
            watch.add(entry)
            await trio.sleep(8.0)
            connection.receive()
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)
            assert shown(entry.suspicion) == ""

    async def test_bytes_that_nobody_has_read(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(unread_from=7.0)
        entry = outstanding(connection)
        async with watching() as watch:
            watch.add(entry)
            await trio.sleep(8.0)
            watch.doubt(ENDPOINT, 8.0, self.UNANSWERED, 4.0)
            assert shown(entry.suspicion) == ""

    @pytest.mark.parametrize("is_answered", [False, True])
    async def test_a_request_that_began_meanwhile(
        self, autojump_clock: MockClock, is_answered: bool
    ) -> None:
        await trio.sleep(6.0)
        entry = outstanding(ScriptedConnection())
        entry.is_answered = is_answered
        entry.doubt(6.1, self.UNANSWERED, 4.0)
        assert (entry.suspicion is None) is is_answered

    async def test_a_suspicion_of_the_detectors_is_its_own(self, autojump_clock: MockClock) -> None:
        connection = ScriptedConnection(answers_after=None)
        entry = outstanding(connection)
        async with watching() as watch:
            watch.add(entry)
            await trio.sleep(1.2)
            suspicion = entry.suspicion
            assert suspicion is not None
            watch.doubt(ENDPOINT, 1.2, self.UNANSWERED, 0.0)
            watch.clear_doubt(ENDPOINT, 1.2)
            assert entry.suspicion is suspicion
