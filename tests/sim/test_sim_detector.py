"""The detector on the simulated kernel reaches the verdicts that were measured on the real one.

This is what the simulation is for: neither side knows of the other, and the instants come out.
"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.detector import Clear, DeclareDead, Detector, Probe, Suspect
from haclient.types import EvidenceKind
from tests.sim.effects import AfterRequest, AfterRequestBytes, Blackhole, Fault, Stall
from tests.sim.origin import Reply, SimOrigin
from tests.sim.stream import SimStream
from tests.sim.test_sim_origin import GET, connect, serving

Seen = list[tuple[float, str, EvidenceKind | None]]


async def watch(stream: SimStream, until: float) -> Seen:
    """Drives a detector as the watch does; returns its news."""
    detector = Detector(trio.current_time())
    seen: Seen = []
    while not detector.is_dead and detector.look_at < until:
        await trio.sleep_until(detector.look_at)
        info = stream.snapshot()
        assert info is not None
        now = trio.current_time()
        for action in detector.look(now, info):
            match action:
                case Probe():
                    stream.probe()
                case Suspect(evidence) | DeclareDead(evidence):
                    seen.append((round(now, 2), type(action).__name__, evidence.kind))
                case Clear():
                    seen.append((round(now, 2), "Clear", None))
    return seen


async def watched(origin: SimOrigin, *faults: Fault) -> Seen:
    origin.script(*faults)
    stream = await connect(origin)
    await stream.send_all(GET)
    return await watch(stream, 20.0)


async def test_dead_while_thinking(autojump_clock: MockClock) -> None:
    kind = EvidenceKind.KEEPALIVE_PROBES
    async with serving() as origin:
        seen = await watched(origin, Fault(Blackhole(), AfterRequest()))
        assert seen == [(1.1, "Suspect", kind), (2.5, "DeclareDead", kind)]


async def test_dead_before_the_acknowledgement(autojump_clock: MockClock) -> None:
    kind = EvidenceKind.RETRANSMITS
    async with serving() as origin:
        seen = await watched(origin, Fault(Blackhole(), AfterRequestBytes(0)))
        assert [(what, why) for _, what, why in seen] == [("Suspect", kind), ("DeclareDead", kind)]
        assert 0.41 <= seen[0][0] <= 0.56
        assert 0.95 <= seen[1][0] <= 1.1


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.2], ids=["no delay", "50 ms", "200 ms"])
async def test_alive_and_slow(autojump_clock: MockClock, delay: float) -> None:
    async with serving() as origin:
        origin.network.path(origin.endpoint).delay = delay
        origin.reply = Reply(think=100.0)
        assert await watched(origin) == []


async def test_alive_with_a_hung_application(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        assert await watched(origin, Fault(Stall(100.0), AfterRequestBytes(1))) == []


async def test_cut_off_for_a_moment(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        origin.reply = Reply(think=100.0)
        seen = await watched(origin, Fault(Blackhole(1.3), AfterRequest()))
        assert [what for _, what, _ in seen] == ["Suspect", "Clear"]


async def test_an_upload_that_is_not_read_is_never_dead(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        origin.script(Fault(Stall(100.0), AfterRequestBytes(100)))
        stream = await connect(origin)
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, head + bytes(1_000_000))
            seen = await watch(stream, 20.0)
            nursery.cancel_scope.cancel()
        assert "DeclareDead" not in [what for _, what, _ in seen]


async def test_dead_while_its_window_is_shut(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        origin.script(Fault(Stall(100.0), AfterRequestBytes(100)))
        stream = await connect(origin)
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, head + bytes(1_000_000))
            await trio.sleep(0.1)
            origin.network.blackhole(origin.endpoint)
            seen = await watch(stream, 20.0)
            nursery.cancel_scope.cancel()
        assert seen[-1][1:] == ("DeclareDead", EvidenceKind.WINDOW_PROBES)
        assert seen[-1][0] < 2.5
