"""The kernel does what haclient.net.blackhole says; and the simulation does what the kernel does.

Real time and real sockets: each case takes at most three seconds.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from haclient.core.detector import TcpInfo
from haclient.net.blackhole import blackhole, drop_content, heal
from haclient.net.sockopts import set_for_life, start_keepalive, tcp_info
from tests.sim.tcp import Connection

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="classic BPF is Linux's")

SETTLED = 0.05
"""Seconds that loopback needs at most to carry a segment and its acknowledgement."""


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        sock = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"{request.param} is not to be had")
    with sock:
        sock.settimeout(5)
        yield sock


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
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


def info_of(sock: socket.socket) -> TcpInfo:
    info = tcp_info(sock)
    assert info is not None
    return info


def is_readable(sock: socket.socket, seconds: float = 0.0) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


def test_data_stays_unacknowledged(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    blackhole(server)
    segs_in = info_of(client).segs_in
    client.sendall(b"lost")
    assert not is_readable(server, SETTLED)
    info = info_of(client)
    assert info.unacked == 1
    assert info.segs_in == segs_in


def test_healed_it_is_delivered(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    blackhole(server)
    client.sendall(b"late")
    heal(server)
    assert is_readable(server, 2)
    assert server.recv(10) == b"late"
    time.sleep(SETTLED)
    assert info_of(client).unacked == 0


def test_to_heal_what_is_well_does_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    heal(server)
    client.sendall(b"x")
    assert server.recv(1) == b"x"


def test_syns_are_lost(listener: socket.socket) -> None:
    blackhole(listener)
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname()[:2], timeout=0.3)
    heal(listener)
    dial(listener).close()


def test_the_very_first_request_can_be_lost(listener: socket.socket) -> None:
    drop_content(listener)
    with dial(listener) as client:
        client.sendall(b"lost")
        server, _ = listener.accept()
        with server:
            assert not is_readable(server, SETTLED)
            assert info_of(client).unacked == 1
            heal(server)
            assert is_readable(server, 2)


@pytest.mark.parametrize("is_cut", [False, True], ids=["alive", "blackholed"])
def test_only_a_living_peer_answers_a_probe(
    pair: tuple[socket.socket, socket.socket], is_cut: bool
) -> None:
    client, server = pair
    if is_cut:
        blackhole(server)
    time.sleep(1.05)
    before = info_of(client)
    start_keepalive(client)
    time.sleep(SETTLED)
    after = info_of(client)
    assert after.segs_in - before.segs_in == (0 if is_cut else 1)
    assert after.probes == (1 if is_cut else 0)


def test_the_simulation_retransmits_as_this_kernel_does(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    simulated = Connection(0.0)
    simulated.own_path.cut_until = float("inf")
    simulated.client.write(b"x", 0.0)
    blackhole(server)
    start = time.monotonic()
    client.sendall(b"x")
    seen: dict[int, float] = {}
    while (now := time.monotonic() - start) < 1.9:
        seen.setdefault(info_of(client).retransmits, now)
        time.sleep(0.005)
    for count in (1, 2, 3):
        simulated.advance(seen[count] + 0.05)
        assert simulated.client.snapshot(seen[count]).retransmits == count
        early = Connection(0.0)
        early.own_path.cut_until = float("inf")
        early.client.write(b"x", 0.0)
        early.advance(seen[count] - 0.1)
        assert early.client.snapshot(seen[count]).retransmits == count - 1


def test_the_simulation_probes_a_shut_window_as_this_kernel_does(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """One probe of a living peer stays unanswered for most of a second: no sign of death."""
    client, _ = pair
    client.setblocking(False)
    try:
        while True:
            client.send(bytes(65536))
    except BlockingIOError:
        pass
    shown: list[int] = []
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        info = info_of(client)
        if info.unacked == 0 and (not shown or shown[-1] != info.probes):
            shown.append(info.probes)
        time.sleep(0.005)
    simulated = Connection(0.0)
    for _ in range(2):
        simulated.client.write(bytes(65536), 0.0)
        simulated.advance(0.0)
    model: list[int] = []
    for step in range(250):
        simulated.advance(step / 100)
        probes = simulated.client.snapshot(step / 100).probes
        if not model or model[-1] != probes:
            model.append(probes)
    assert shown == model == [0, 1, 0]
