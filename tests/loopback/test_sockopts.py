"""The options that are set, read back from the kernel, and what the kernel then does."""

from __future__ import annotations

import resource
import socket
import struct
from time import perf_counter

import pytest
import trio

from haclient.net import sockopts
from haclient.net.blackhole import blackhole
from haclient.net.sockopts import (
    IP_RECVERR,
    IPV6_RECVERR,
    TCP_RTO_MAX_MS,
    leave_to_kernel,
    prepare_connect,
    set_for_life,
    start_keepalive,
    stop_keepalive,
    tcp_info,
    tcp_info_works,
)
from tests.support.loopback import (
    clog,
    eventually,
    has_option,
    needs_ipv6,
    open_descriptors,
    tcp_pair,
    unix_pair,
)

TCP_USER_TIMEOUT = 18

FIELDS = (
    ("retransmits", 2, "BB"),
    ("unacked", 24, "I"),
    ("last_data_recv", 52, "II"),
    ("rtt", 68, "II"),
    ("segs_in", 140, "II"),
)
"""Name, offset in struct tcp_info, and kind, of the first of each run that is read."""


def tcp_option(sock: socket.socket, option: int) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, option)


def is_keepalive_on(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))


def segments_in(sock: socket.socket) -> int:
    info = tcp_info(sock)
    assert info is not None
    return info.segs_in


class TestOptionsReadBack:
    @pytest.mark.parametrize(
        ("family", "level", "option"),
        [
            pytest.param(socket.AF_INET, socket.IPPROTO_IP, IP_RECVERR, id="IPv4: IP_RECVERR"),
            pytest.param(
                socket.AF_INET6,
                socket.IPPROTO_IPV6,
                IPV6_RECVERR,
                id="IPv6: IPV6_RECVERR",
                marks=needs_ipv6,
            ),
        ],
    )
    def test_unreachable_is_made_a_hard_error_before_connect(
        self, family: int, level: int, option: int
    ) -> None:
        with socket.socket(family) as sock:
            assert sock.getsockopt(level, option) == 0
            prepare_connect(sock)
            assert sock.getsockopt(level, option) == 1

    @pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
    def test_what_is_set_for_life(self, host: str) -> None:
        with tcp_pair(host) as (client, _server):
            set_for_life(client)
            assert tcp_option(client, socket.TCP_NODELAY) == 1
            assert tcp_option(client, socket.TCP_KEEPINTVL) == 1
            assert tcp_option(client, socket.TCP_KEEPCNT) == 10
            assert tcp_option(client, TCP_USER_TIMEOUT) == 0
            assert not is_keepalive_on(client)

    @pytest.mark.skipif(
        not has_option(socket.IPPROTO_TCP, TCP_RTO_MAX_MS),
        reason="this kernel has no TCP_RTO_MAX_MS (Linux 6.15)",
    )
    def test_the_back_off_is_capped_at_a_second_where_the_kernel_can(self) -> None:
        with tcp_pair() as (client, server):
            assert tcp_option(client, TCP_RTO_MAX_MS) == 1000
            assert tcp_option(server, TCP_RTO_MAX_MS) > 1000  # the kernel's own, so ours was set

    def test_keepalive_goes_on_and_off(self) -> None:
        with tcp_pair() as (client, _server):
            start_keepalive(client, idle=3)
            assert is_keepalive_on(client)
            assert tcp_option(client, socket.TCP_KEEPIDLE) == 3
            stop_keepalive(client)
            assert not is_keepalive_on(client)

    def test_the_kernel_that_judges_counts_two_probes_and_only_then(self) -> None:
        with tcp_pair() as (client, _server):
            set_for_life(client)
            leave_to_kernel(client)
            assert is_keepalive_on(client)
            assert tcp_option(client, socket.TCP_KEEPIDLE) == 1
            assert tcp_option(client, socket.TCP_KEEPINTVL) == 1
            assert tcp_option(client, socket.TCP_KEEPCNT) == 2
            stop_keepalive(client)
            assert not is_keepalive_on(client)
            assert tcp_option(client, socket.TCP_KEEPCNT) == 10, "the next verdict is ours again"

    def test_a_unix_socket_has_nothing_to_set_and_nothing_to_tell(self) -> None:
        with unix_pair() as (client, _server):
            prepare_connect(client)
            set_for_life(client)
            assert tcp_info(client) is None

    def test_a_closed_socket_has_nothing_to_tell(self) -> None:
        with tcp_pair() as (client, _server):
            client.close()
            assert tcp_info(client) is None


class TestTcpInfo:
    def test_every_segment_of_the_peer_is_counted(self) -> None:
        with tcp_pair() as (client, server):
            before = segments_in(client)
            for _ in range(5):
                server.send(b"!")
                client.recv(1)
            assert segments_in(client) == before + 5

    def test_round_trip_time_is_in_seconds(self) -> None:
        began_at = perf_counter()
        with tcp_pair() as (client, server):
            client.send(b"?")
            server.recv(1)
            server.send(b"!")
            client.recv(1)
            info = tcp_info(client)
            assert info is not None
            all_of_it = perf_counter() - began_at
            assert 0 < info.rtt < all_of_it
            assert 0 < info.rttvar < all_of_it
            assert (info.unacked, info.retransmits, info.probes) == (0, 0, 0)

    async def test_what_nobody_acknowledges_is_in_flight_and_then_retransmitted(self) -> None:
        with tcp_pair() as (client, server):
            blackhole(server)
            client.send(b"a")
            client.send(b"b")
            info = tcp_info(client)
            assert info is not None
            assert (info.unacked, info.retransmits, info.notsent_bytes) == (2, 0, 0)

            def retransmits() -> int:
                now = tcp_info(client)
                assert now is not None
                return now.retransmits

            await eventually(lambda: retransmits() >= 1, 5)
            still = tcp_info(client)
            assert still is not None
            assert still.unacked >= 1  # a retransmission may join two small ones
            assert still.segs_in == info.segs_in

    async def test_what_a_peer_does_not_read_is_held_back_and_the_window_is_probed(self) -> None:
        with tcp_pair(receive_buffer=4096) as (client, _server):
            await clog(client)
            info = tcp_info(client)
            assert info is not None
            assert info.unacked == 0
            assert info.notsent_bytes > 65536
            assert info.last_received < 1
            # It lives: it answers the kernel's window probes, and each answer is counted.
            await eventually(lambda: segments_in(client) > info.segs_in, 5)

    async def test_silence_is_counted_from_the_last_segment(self) -> None:
        with tcp_pair() as (client, server):
            server.send(b"!")
            await trio.sleep(0.3)
            silent = tcp_info(client)
            server.send(b"!")
            heard = tcp_info(client)
            assert silent is not None
            assert heard is not None
            assert 0.28 <= silent.last_received < 1.5
            assert heard.last_received < 0.1

    async def test_an_acknowledgement_ends_the_silence_too(self) -> None:
        with tcp_pair() as (client, server):
            await trio.sleep(0.2)
            client.send(b"?")
            server.recv(1)
            await eventually(lambda: silence(client) < 0.1, 1, "the delayed acknowledgement")


def unanswered(sock: socket.socket) -> int:
    info = tcp_info(sock)
    assert info is not None
    return info.probes


def silence(sock: socket.socket) -> float:
    info = tcp_info(sock)
    assert info is not None
    return info.last_received


class TestTcpInfoWorks:
    def test_the_offsets_fit_this_kernel(self) -> None:
        assert tcp_info_works()

    @pytest.mark.parametrize("by", [-8, -4, 4, 8], ids=lambda by: f"shifted by {by} bytes")
    @pytest.mark.parametrize("first", range(5), ids=lambda first: f"from {FIELDS[first][0]} on")
    def test_fields_that_are_elsewhere_are_found_out(
        self, first: int, by: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A struct in which a field is missing, or one more stands, before some other."""
        layout = shifted_layout(first, by)
        monkeypatch.setattr(sockopts, "_COUNTS", layout)
        monkeypatch.setattr(sockopts, "TCP_INFO_BYTES", layout.size)
        assert not asked_anew()

    def test_the_shifting_is_sound(self) -> None:
        assert shifted_layout(0, 0).format == sockopts._COUNTS.format

    def test_a_kernel_that_tells_less_is_found_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sockopts, "TCP_INFO_BYTES", 4096)  # more than any kernel has
        assert not asked_anew()

    def test_a_process_out_of_descriptors_is_asked_again_later(self) -> None:
        """Else one bad moment would leave it without the detector for the rest of its life."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = open_descriptors()
        forget_the_answer()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free - 1, limits[1]))
        try:
            is_known_without_descriptors = tcp_info_works()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not is_known_without_descriptors
        assert tcp_info_works()


def shifted_layout(first: int, by: int) -> struct.Struct:
    """The layout that is read, with the runs from `first` on moved; none before the start."""
    text, at = "=", 0
    for index, (_, offset, kind) in enumerate(FIELDS):
        start = max(offset + (by if index >= first else 0), at)
        text += f"{start - at}x{kind}"
        at = start + struct.calcsize("=" + kind)
    return struct.Struct(text)


def forget_the_answer() -> None:
    sockopts._offsets_fit.cache_clear()


def asked_anew() -> bool:
    forget_the_answer()
    try:
        return tcp_info_works()
    finally:
        forget_the_answer()


class TestProbes:
    """What core.detector builds on, at the price of real seconds; side by side."""

    async def test_when_a_probe_leaves(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.probe_leaves_at_once_after_a_second_of_silence)
            nursery.start_soon(self.no_probe_leaves_before_a_second_of_silence)
            nursery.start_soon(self.a_dead_peer_answers_none)
            nursery.start_soon(self.without_keepalive_an_idle_connection_costs_no_packet)

    async def probe_leaves_at_once_after_a_second_of_silence(self) -> None:
        with tcp_pair() as (client, _server):
            await eventually(lambda: silence(client) >= 1.0, 10)
            before = segments_in(client)
            start_keepalive(client)
            await eventually(lambda: segments_in(client) > before, 0.3, "the answer")
            stop_keepalive(client)

    async def no_probe_leaves_before_a_second_of_silence(self) -> None:
        with tcp_pair() as (client, server):
            await trio.sleep(0.5)
            server.send(b"!")
            silent_since = trio.current_time()
            before = segments_in(client)
            await trio.sleep(0.2)
            start_keepalive(client)
            await eventually(lambda: segments_in(client) > before, 10)
            assert 0.95 <= trio.current_time() - silent_since <= 2.0
            stop_keepalive(client)

    async def a_dead_peer_answers_none(self) -> None:
        with tcp_pair() as (client, server):
            blackhole(server)
            await eventually(lambda: silence(client) >= 1.0, 10)
            before = segments_in(client)
            start_keepalive(client)
            await eventually(lambda: unanswered(client) == 1, 0.3, "the first probe")
            await trio.sleep(0.5)
            # The kernel's own would come a second after the first. Set again it sends one at once:
            # this is how the watch goes on asking.
            start_keepalive(client)
            await eventually(lambda: unanswered(client) == 2, 0.3, "the second probe")
            assert segments_in(client) == before

    async def without_keepalive_an_idle_connection_costs_no_packet(self) -> None:
        with tcp_pair() as (client, server):
            start_keepalive(client)
            stop_keepalive(client)
            before = segments_in(client), segments_in(server)
            await trio.sleep(2.0)
            assert (segments_in(client), segments_in(server)) == before
