"""What a transport tells of its peer beyond the bytes: from the kernel, on real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from haclient.net import Transport
from haclient.net.blackhole import blackhole
from haclient.net.sockopts import tcp_info_works
from tests.support.loopback import (
    connected,
    eventually,
    needs_ipv6,
    tcp_pair,
    transport_to,
    unix_pair,
)


async def test_it_is_what_the_layers_above_ask_for() -> None:
    with connected() as (transport, _peer):
        asked_for: Transport = transport
        assert asked_for is transport


class TestSignsOfLife:
    @pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
    async def test_a_snapshot_shows_what_the_kernel_saw(self, host: str) -> None:
        assert tcp_info_works()
        with tcp_pair(host) as (client, server):
            transport = transport_to(client)
            before = transport.snapshot()
            server.send(b"x")
            after = transport.snapshot()
            blackhole(server)
            transport.send_now(b"y")
            lost = transport.snapshot()
            assert before is not None
            assert after is not None
            assert lost is not None
            assert after.segs_in == before.segs_in + 1
            assert (after.unacked, lost.unacked) == (0, 1)

    async def test_a_unix_socket_has_none_and_is_not_probed(self) -> None:
        with connected(unix_pair) as (transport, _peer):
            assert transport.snapshot() is None
            transport.probe()
            assert transport._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
            transport.stop_probing()

    async def test_probing_is_on_from_the_first_probe_until_it_is_stopped(self) -> None:
        with connected() as (transport, _peer):

            def is_on() -> bool:
                sock = transport._sock
                return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

            transport.stop_probing()
            assert not is_on()
            transport.probe()
            transport.probe()
            assert is_on()
            transport.stop_probing()
            assert not is_on()

    async def test_a_living_peer_is_seen_through_the_transport(self) -> None:
        with connected() as (transport, _peer):

            def seen() -> tuple[int, float]:
                info = transport.snapshot()
                assert info is not None
                return info.segs_in, info.last_received

            await eventually(lambda: seen()[1] >= 1.0, 10)
            before = seen()[0]
            transport.probe()
            await eventually(lambda: seen()[0] > before, 0.3, "the answer to the probe")
            transport.stop_probing()

    async def test_of_a_closed_one_nothing_is_known(self) -> None:
        with connected() as (transport, _peer):
            transport.close()
            assert transport.snapshot() is None
            transport.probe()
            transport.stop_probing()
            assert transport.unacknowledged() == 0


async def test_who_connected_to_a_unix_socket() -> None:
    with connected(unix_pair) as (transport, _):
        assert transport.peer_uid() == os.getuid()
        transport.close()
        assert transport.peer_uid() is None
