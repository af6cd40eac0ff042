"""The kernel does what haclient.net.blackhole says; and the simulation does what the kernel does.

Real time and real sockets: each case takes less than three seconds.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import pytest
import trio

from haclient.core.detector import TcpInfo
from haclient.net.blackhole import blackhole, drop_content, heal
from haclient.net.sockopts import set_for_life, start_keepalive, tcp_info
from tests.sim.tcp import Connection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="classic BPF is Linux's")

SETTLED = 0.05
"""Seconds that loopback needs at most to carry a segment and its acknowledgement."""


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip(f"{address} is not to be had")
    with listener:
        listener.settimeout(5)
        yield listener


@contextmanager
def connected(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's and the server's end, with one round trip behind them."""
    client = dial(listener)
    server, _ = listener.accept()
    with client, server:
        client.sendall(b"?")
        assert server.recv(1) == b"?"
        server.sendall(b"!")
        assert client.recv(1) == b"!"
        yield client, server


def dial(listener: socket.socket) -> socket.socket:
    client = socket.create_connection(listener.getsockname()[:2], timeout=5)
    set_for_life(client)
    return client


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with listening(request.param) as sock:
        yield sock


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    with connected(listener) as ends:
        yield ends


def info_of(sock: socket.socket) -> TcpInfo:
    info = tcp_info(sock)
    assert info is not None
    return info


def is_readable(sock: socket.socket, seconds: float = SETTLED) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


async def test_data_stays_unacknowledged(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    blackhole(server)
    segs_in = info_of(client).segs_in
    client.sendall(b"lost")
    assert not is_readable(server)
    info = info_of(client)
    assert info.unacked == 1
    assert info.segs_in == segs_in


async def test_healed_it_is_delivered(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    blackhole(server)
    client.sendall(b"late")
    heal(server)
    assert is_readable(server, 2)
    assert server.recv(10) == b"late"
    await trio.sleep(SETTLED)
    assert info_of(client).unacked == 0


async def test_to_heal_what_is_well_does_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    heal(server)
    client.sendall(b"x")
    assert server.recv(1) == b"x"


async def test_syns_are_lost(listener: socket.socket) -> None:
    blackhole(listener)
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname()[:2], timeout=0.3)
    heal(listener)
    dial(listener).close()


async def test_the_very_first_request_can_be_lost(listener: socket.socket) -> None:
    drop_content(listener)
    with dial(listener) as client:
        client.sendall(b"lost")
        server, _ = listener.accept()
        with server:
            assert not is_readable(server)
            assert info_of(client).unacked == 1
            heal(server)
            assert is_readable(server, 2)


@pytest.mark.parametrize("is_cut", [False, True], ids=["alive", "blackholed"])
async def test_only_a_living_peer_answers_a_probe(
    pair: tuple[socket.socket, socket.socket], is_cut: bool
) -> None:
    client, server = pair
    if is_cut:
        blackhole(server)
    await trio.sleep(1.05)
    before = info_of(client)
    start_keepalive(client)
    await trio.sleep(SETTLED)
    after = info_of(client)
    assert after.segs_in - before.segs_in == (0 if is_cut else 1)
    assert after.probes == (1 if is_cut else 0)


class TestSimulation:
    """What the simulation's client would see in TCP_INFO at the same instants."""

    async def test_it_retransmits_as_this_kernel_does(self) -> None:
        with listening("127.0.0.1") as listener, connected(listener) as (client, server):
            blackhole(server)
            start = trio.current_time()
            client.sendall(b"x")
            samples = await sample(client, start, 1.9)

        def simulated(at: float) -> int:
            model = Connection(0.0)
            model.own_path.cut_until = inf
            model.client.write(b"x", 0.0)
            model.advance(at)
            return model.client.snapshot(at).retransmits

        check(simulated, [(begin, end, info.retransmits) for begin, end, info in samples])
        assert samples[-1][2].retransmits == 3

    async def test_it_probes_a_shut_window_as_this_kernel_does(self) -> None:
        """One probe of a living peer stays unanswered for most of a second: no sign of death."""
        with listening("127.0.0.1") as listener, connected(listener) as (client, _):
            client.setblocking(False)
            try:
                while True:
                    client.send(bytes(65536))
            except BlockingIOError:
                samples = await sample(client, trio.current_time(), 2.5)
        shut = [info.probes for _, _, info in samples if info.unacked == 0]
        assert changes(shut) == [0, 1, 0]

        model = Connection(0.0)
        for _ in range(2):
            model.client.write(bytes(65536), 0.0)
            model.advance(0.0)
        shown = []
        for now in (step / 100 for step in range(250)):
            model.advance(now)
            shown.append(model.client.snapshot(now).probes)
        assert changes(shown) == [0, 1, 0]


async def sample(
    sock: socket.socket, start: float, seconds: float
) -> list[tuple[float, float, TcpInfo]]:
    """TCP_INFO again and again, each with the instants just before and after it was read."""
    samples = []
    while (begin := trio.current_time() - start) < seconds:
        info = info_of(sock)
        samples.append((begin, trio.current_time() - start, info))
        await trio.sleep(0.01)
    return samples


def check(simulated: Callable[[float], int], samples: list[tuple[float, float, int]]) -> None:
    """Each count is the simulation's, give or take 50 ms: what the kernel's timers are late by."""
    for begin, end, count in samples:
        assert simulated(begin - 0.05) <= count <= simulated(end + 0.05), f"at {begin:.3f} s"


def changes(counts: list[int]) -> list[int]:
    """The counts in order, each run of equal ones once."""
    return [count for i, count in enumerate(counts) if i == 0 or counts[i - 1] != count]
