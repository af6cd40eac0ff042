"""Each effect does what its name says, at the byte that its step names."""

from __future__ import annotations

import contextlib

import pytest
import trio
from trio.testing import MockClock

from tests.sim.effects import (
    AfterContentBytes,
    AfterHeadBytes,
    AfterRequest,
    AfterRequestBytes,
    AfterResponse,
    Blackhole,
    BlackholeConnect,
    Effect,
    Fault,
    Fin,
    Garbage,
    HalfOpen,
    Kill,
    OnConnect,
    Refuse,
    Reset,
    SlowDrip,
    Stall,
    Step,
    every_fault,
)
from tests.sim.origin import Framing, Reply, SimOrigin
from tests.sim.stream import SimStream
from tests.sim.test_sim_origin import GET, connect, read_response, serving

HEAD_BYTES = len(b"HTTP/1.1 200 OK\r\nX-Origin: a\r\nContent-Length: 10\r\n\r\n")


async def until(seconds: float, stream: SimStream) -> tuple[bytes, str]:
    """What comes until an instant, and how it ends: open, fin or reset."""
    data = b""
    with trio.move_on_at(seconds):
        try:
            while piece := await stream.receive_some():
                data += piece
        except trio.BrokenResourceError:
            return data, "reset"
        return data, "fin"
    return data, "open"


async def suffering(origin: SimOrigin, *faults: Fault) -> SimStream:
    """Sends a GET to an origin that suffers, and answers with ten bytes."""
    origin.reply = Reply(content=b"0123456789")
    origin.script(*faults)
    stream = await connect(origin)
    await stream.send_all(GET)
    return stream


class TestConnect:
    async def test_refuse(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            origin.script(Fault(Refuse(), OnConnect(), times=2, skip=1))
            await connect(origin)
            for _ in range(2):
                with pytest.raises(ConnectionRefusedError):
                    await connect(origin)
            await connect(origin)

    async def test_one_lost_syn_costs_a_second(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            origin.script(Fault(BlackholeConnect(), OnConnect()))
            await connect(origin)
            assert trio.current_time() == 1.0

    async def test_all_syns_lost(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            origin.script(Fault(BlackholeConnect(), OnConnect(), times=None))
            with pytest.raises(TimeoutError):
                await connect(origin)

    async def test_blackhole_leaves_the_request_unacknowledged(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Blackhole(), OnConnect()))
            assert await until(1.0, stream) == (b"", "open")
            info = stream.snapshot()
            assert info is not None
            assert (info.unacked, info.retransmits) == (1, 2)
        assert not origin.executed

    async def test_a_stalling_application_has_a_living_kernel(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Stall(4.0), OnConnect()))
            await trio.sleep(2)
            stream.probe()
            info = stream.snapshot()
            assert info is not None
            assert (info.unacked, info.probes, info.last_received) == (0, 0, 0.0)
            await read_response(stream)
            assert trio.current_time() == 4.0

    def test_refusals_are_for_connects(self) -> None:
        with pytest.raises(ValueError, match="only happen on connect"):
            Fault(Refuse(), AfterRequest())


class TestRequest:
    @pytest.mark.parametrize("count", [0, 1, 10, len(GET) - 1])
    async def test_blackhole_takes_exactly_so_many_bytes(
        self, autojump_clock: MockClock, count: int
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Blackhole(), AfterRequestBytes(count)))
            assert await until(2.0, stream) == (b"", "open")
            info = stream.snapshot()
            assert info is not None
            assert (info.unacked, info.retransmits) == (1, 3)
            assert stream.end.una == count
            origin.network.heal(origin.endpoint)
            await read_response(stream)
        assert len(origin.executed) == 1

    @pytest.mark.parametrize(
        ("effect", "ends"),
        [(Reset(), "reset"), (HalfOpen(), "open"), (Kill(), "reset"), (Fin(), "fin")],
        ids=str,
    )
    async def test_connection_effects(
        self, autojump_clock: MockClock, effect: Effect, ends: str
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(effect, AfterRequestBytes(len(GET))))
            assert await until(5.0, stream) == (b"", ends)
        assert not origin.executed

    async def test_more_of_the_request_after_fin_meets_a_reset(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            origin.script(Fault(Fin(), AfterRequestBytes(10)))
            stream = await connect(origin)
            await stream.send_all(GET[:10])
            assert await stream.receive_some() == b""
            await stream.send_all(GET[10:])
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")

    async def test_a_half_open_connection_answers_a_probe_with_reset(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(HalfOpen(), AfterRequest()))
            assert await until(5.0, stream) == (b"", "open")
            stream.probe()
            assert await until(6.0, stream) == (b"", "reset")
            assert trio.current_time() == 5.0
        assert len(origin.executed) == 1

    async def test_an_upload_that_stalls_shuts_the_window(self, autojump_clock: MockClock) -> None:
        content = bytes(1_000_000)
        async with serving() as origin:
            origin.script(Fault(Stall(3.0), AfterRequestBytes(1000)))
            stream = await connect(origin)
            head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, head + content)
                await trio.sleep(1.0)
                info = stream.snapshot()
                assert info is not None
                assert (info.unacked, info.notsent_bytes > 0) == (0, True)
                await read_response(stream)
            assert trio.current_time() == 3.0
        assert origin.executed[0].content == content

    async def test_a_slow_reader(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(SlowDrip(20.0), AfterRequestBytes(len(GET) - 4)))
            await trio.sleep(0.15)
            assert not origin.executed
            await trio.sleep(0.1)
            assert len(origin.executed) == 1
            assert not (await until(1.0, stream))[0].endswith(b"9")

    async def test_the_second_request_of_a_connection(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Reset(), AfterRequestBytes(5), skip=1))
            await read_response(stream)
            await stream.send_all(GET)
            assert await until(1.0, stream) == (b"", "reset")
        assert len(origin.executed) == 1
        assert len(origin.partial) == 1

    async def test_bytes_count_from_the_requests_own_first_one(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Reset(), AfterRequestBytes(20), skip=1))
            await read_response(stream)
            await stream.send_all(GET[:19])
            assert await until(1.0, stream) == (b"", "open")
            await stream.send_all(GET[19:])
            assert await until(2.0, stream) == (b"", "reset")

    async def test_every_request_of_a_connection(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Stall(1.0), AfterRequestBytes(10), times=None))
            await read_response(stream)
            await stream.send_all(GET)
            await read_response(stream)
            assert trio.current_time() == 2.0


class TestResponse:
    async def test_blackhole_while_thinking(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Blackhole(), AfterRequest()))
            assert await until(5.0, stream) == (b"", "open")
            info = stream.snapshot()
            assert info is not None
            assert (info.unacked, info.last_received) == (0, 5.0)
        assert len(origin.executed) == 1

    async def test_a_moment_of_blackhole_loses_nothing(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Blackhole(1.5), AfterRequest()))
            _, _, content = await read_response(stream)
            assert content == b"0123456789"
            assert trio.current_time() == pytest.approx(1.67)

    async def test_blackhole_is_the_endpoints_or_the_connections(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            stream = await suffering(
                origin, Fault(Blackhole(spares_others=True), AfterContentBytes(4))
            )
            data, how = await until(1.0, stream)
            assert (data[-4:], how) == (b"0123", "open")
            other = await suffering(origin, Fault(Blackhole(), AfterContentBytes(4)))
            assert (await until(2.0, other))[0].endswith(b"0123")
            with trio.move_on_after(0.5) as scope:
                await connect(origin)
            assert scope.cancelled_caught

    @pytest.mark.parametrize(
        ("step", "arrived"),
        [
            (AfterRequest(), 0),
            (AfterHeadBytes(0), 0),
            (AfterHeadBytes(10), 10),
            (AfterHeadBytes(9999), HEAD_BYTES),
            (AfterContentBytes(0), HEAD_BYTES),
            (AfterContentBytes(3), HEAD_BYTES + 3),
            (AfterContentBytes(9999), HEAD_BYTES + 10),
            (AfterResponse(), HEAD_BYTES + 10),
        ],
        ids=str,
    )
    @pytest.mark.parametrize(
        ("effect", "ends"),
        [
            (Reset(), "reset"),
            (Fin(), "fin"),
            (Kill(), "fin"),
            (HalfOpen(), "open"),
            (Blackhole(), "open"),
        ],
        ids=str,
    )
    async def test_connection_effects(
        self, autojump_clock: MockClock, effect: Effect, ends: str, step: Step, arrived: int
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(effect, step))
            data, how = await until(5.0, stream)
            assert (len(data), how) == (arrived, ends)

    async def test_a_chunked_response_misses_its_last_chunk(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Fin(), AfterContentBytes(10)))
            origin.reply = Reply(content=b"0123456789", framing=Framing.CHUNKED)
            data, how = await until(1.0, stream)
            assert (data[-15:], how) == (b"\na\r\n0123456789\r\n"[-15:], "fin")

    async def test_slow_drip(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(SlowDrip(2.0), AfterContentBytes(0)))
            _, _, content = await read_response(stream)
            assert content == b"0123456789"
            assert trio.current_time() == 4.5  # the first byte at once, then two a second

    async def test_a_drip_ends_with_its_response(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(SlowDrip(2.0), AfterContentBytes(0)))
            await read_response(stream)
            await trio.sleep_until(10.0)
            await stream.send_all(GET)
            await read_response(stream)
            assert trio.current_time() == 10.0

    async def test_garbage_instead_of_a_response(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Garbage(b"\0\1"), AfterHeadBytes(0)))
            assert await until(3.0, stream) == (b"\0\1", "open")
            await stream.aclose()


class TestIdle:
    async def test_after_some_time_in_the_pool(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Fin(), AfterResponse(2.0)))
            await read_response(stream)
            await trio.sleep(1.9)
            assert stream.is_quiet()
            await trio.sleep(0.2)
            assert not stream.is_quiet()

    async def test_not_where_the_next_request_comes_first(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Fin(), AfterResponse(2.0)))
            for _ in range(2):
                await read_response(stream)
                await trio.sleep(1.9)
                await stream.send_all(GET)
            await read_response(stream)
        assert len(origin.executed) == 3

    async def test_stray_bytes(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            stream = await suffering(origin, Fault(Garbage(), AfterResponse(0.05)))
            await read_response(stream)
            await trio.sleep(0.1)
            assert not stream.is_quiet()
            await stream.aclose()

    async def test_a_request_may_cross_the_fin(self, autojump_clock: MockClock) -> None:
        """The classic trap: the client sends before it can know, and meets RST."""
        async with serving() as origin:
            origin.network.path(origin.endpoint).delay = 0.1
            stream = await suffering(origin, Fault(Fin(), AfterResponse()))
            content = b""
            while not content.endswith(b"9"):
                content += await stream.receive_some()
            await stream.send_all(GET)
            assert await stream.receive_some() == b""
            await trio.sleep(0.2)
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(GET)
        assert len(origin.executed) == 1


class TestCounting:
    async def test_faults_are_for_so_many_requests(self, autojump_clock: MockClock) -> None:
        async with serving() as origin:
            origin.script(Fault(Reset(), AfterRequest(), times=2, skip=1))
            ends = []
            for _ in range(4):
                stream = await connect(origin)
                await stream.send_all(GET)
                ends.append((await until(trio.current_time() + 1, stream))[1])
        assert ends == ["open", "reset", "reset", "open"]

    async def test_a_connection_without_a_request_uses_none_up(
        self, autojump_clock: MockClock
    ) -> None:
        async with serving() as origin:
            origin.script(Fault(Reset(), AfterRequestBytes(0)))
            unused = await connect(origin)
            stream = await connect(origin)
            await stream.send_all(GET)
            assert (await until(1.0, stream))[1] == "reset"
            await unused.send_all(GET)
            await read_response(unused)


class TestEveryFault:
    def test_each_has_a_name_of_its_own(self) -> None:
        faults = every_fault()
        assert len({str(fault) for fault in faults}) == len(faults) == 72

    @pytest.mark.parametrize("fault", every_fault(), ids=str)
    async def test_it_happens_once_and_the_next_request_is_served(
        self, autojump_clock: MockClock, fault: Fault
    ) -> None:
        async with serving() as origin:
            origin.reply = Reply(content=b"0123456789")
            origin.script(fault)
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                async with await connect(origin) as stream:
                    await stream.send_all(GET)
                    await until(60.0, stream)
            origin.network.heal(origin.endpoint)
            stream = await connect(origin)
            await stream.send_all(GET)
            assert (await read_response(stream))[2] == b"0123456789"
