"""The stream on real sockets: trio's own stream checks, and what it does beyond them."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import pytest
import trio
import trio.testing
from trio.testing import check_half_closeable_stream, check_two_way_stream

from haclient.net import InterruptedReceive
from haclient.net.socket_stream import endpoint_of
from haclient.net.transport import SocketTransport
from haclient.types import Endpoint
from tests.support.loopback import (
    clog,
    connected,
    needs_ipv6,
    reset,
    tcp_pair,
    transport_to,
    unix_pair,
)

Pair = tuple[SocketTransport, SocketTransport]
SocketPair = tuple[socket.socket, socket.socket]


def over_ipv6() -> AbstractContextManager[SocketPair]:
    return tcp_pair("::1")


EVERY_FAMILY = pytest.mark.parametrize(
    "sockets",
    [
        pytest.param(tcp_pair, id="over IPv4"),
        pytest.param(over_ipv6, id="over IPv6", marks=needs_ipv6),
        pytest.param(unix_pair, id="over a Unix socket"),
    ],
)


async def drained(sock: socket.socket) -> int:
    """Reads until the end; returns how many bytes there were."""
    total = 0
    while True:
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not data:
            return total
        total += len(data)


class TestStreamContract:
    @pytest.mark.parametrize(
        ("check", "sockets"),
        [
            pytest.param(check_half_closeable_stream, tcp_pair, id="half-closeable, over IPv4"),
            pytest.param(check_half_closeable_stream, unix_pair, id="half-closeable, over Unix"),
            pytest.param(check_two_way_stream, over_ipv6, id="two-way, IPv6", marks=needs_ipv6),
        ],
    )
    async def test_trio_finds_nothing_wrong(
        self,
        check: Callable[..., Awaitable[None]],
        sockets: Callable[[], AbstractContextManager[SocketPair]],
    ) -> None:
        made: list[SocketTransport] = []

        async def make() -> Pair:
            # The transports own their sockets, and trio's check closes them.
            with sockets() as (left, right):
                pair = transport_to(left.dup()), transport_to(right.dup())
            made.extend(pair)
            return pair

        async def make_clogged() -> Pair:
            pair = await make()
            await clog(*(one._sock for one in pair))
            return pair

        try:
            await check(make, make_clogged)
        finally:
            for one in made:
                one.close()


class TestInterrupt:
    async def test_a_receiver_that_waits_is_woken_and_may_go_on(self) -> None:
        with connected() as (transport, peer):
            heard: list[bytes | str] = []

            async def receive() -> None:
                for _ in range(3):
                    try:
                        heard.append(await transport.receive_some())
                    except InterruptedReceive:
                        heard.append("news")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()
                await trio.testing.wait_all_tasks_blocked()
                peer.send(b"answer")
            assert heard == ["news", "news", b"answer"]

    async def test_bytes_that_have_come_in_are_returned_first(self) -> None:
        with connected() as (transport, peer):
            peer.send(b"answer")
            transport.interrupt()
            assert await transport.receive_some(3) == b"ans"
            assert await transport.receive_some(3) == b"wer"
            with pytest.raises(InterruptedReceive):
                await transport.receive_some(3)

    async def test_bytes_that_come_in_with_the_news_are_returned_first(self) -> None:
        with connected() as (transport, peer):
            heard: list[bytes] = []

            async def receive() -> None:
                heard.append(await transport.receive_some())
                with pytest.raises(InterruptedReceive):
                    await transport.receive_some()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                peer.send(b"answer")
                transport.interrupt()
            assert heard == [b"answer"]

    async def test_the_end_is_returned_first(self) -> None:
        with connected() as (transport, peer):
            peer.close()
            transport.interrupt()
            assert await transport.receive_some() == b""

    async def test_news_while_nobody_waits_is_kept_for_the_next_who_would(self) -> None:
        with connected() as (transport, peer):
            transport.interrupt()
            transport.interrupt()
            with pytest.raises(InterruptedReceive):
                await transport.receive_some()
            peer.send(b"x")
            assert await transport.receive_some() == b"x"  # told once

    async def test_news_outlasts_a_receive_that_is_cancelled(self) -> None:
        with connected() as (transport, _peer):
            transport.interrupt()
            with trio.CancelScope() as scope:
                scope.cancel()
                await transport.receive_some()
            assert scope.cancelled_caught
            with pytest.raises(InterruptedReceive):
                await transport.receive_some()

    async def test_news_after_a_full_buffer_is_told_as_well(self) -> None:
        """The other way in: after a full piece it reads before it waits."""
        with connected() as (transport, peer):
            peer.send(b"abc")
            assert await transport.receive_some(3) == b"abc"
            transport.interrupt()
            with pytest.raises(InterruptedReceive):
                await transport.receive_some(3)

    async def test_a_sender_that_waits_is_not_disturbed(self) -> None:
        with connected() as (transport, peer):
            await clog(transport._sock)
            sent_before = transport.bytes_sent
            got: list[int] = []

            async def receive() -> None:
                with pytest.raises(InterruptedReceive):
                    await transport.receive_some()

            async def send() -> None:
                await transport.send_all(bytes(100_000))
                await transport.send_eof()

            async def drain() -> None:
                got.append(await drained(peer))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()
                await trio.testing.wait_all_tasks_blocked()
                assert transport.bytes_sent < sent_before + 100_000
                nursery.start_soon(drain)
            assert transport.bytes_sent == sent_before + 100_000
            assert got[0] >= 100_000

    async def test_news_for_a_closed_one_is_nothing(self) -> None:
        with connected() as (transport, _peer):
            transport.close()
            transport.interrupt()
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive_some()


class TestClose:
    async def test_it_wakes_whoever_waits_and_they_are_told_so(self) -> None:
        with connected() as (transport, _peer):
            await clog(transport._sock)
            told: list[str] = []

            async def receive() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await transport.receive_some()
                told.append("receiver")

            async def send() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await transport.send_all(bytes(100_000))
                told.append("sender")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                transport.interrupt()  # news that is overtaken by the close
                transport.close()
            assert sorted(told) == ["receiver", "sender"]

    async def test_nothing_works_afterwards_and_nothing_breaks(self) -> None:
        with connected() as (transport, _peer):
            transport.close()
            transport.close()
            with pytest.raises(trio.ClosedResourceError):
                transport.send_now(b"x")
            with pytest.raises(trio.ClosedResourceError):
                await transport.send_eof()
            assert not transport.is_quiet()
            assert "closed" in repr(transport)


class TestCounting:
    async def test_both_ways(self) -> None:
        with connected() as (transport, peer):
            assert transport.send_now(b"abc") == 3
            await transport.send_all(b"defg")
            await transport.send_all(b"")
            peer.send(b"hello")
            await transport.receive_some()
            assert (transport.bytes_sent, transport.bytes_received) == (7, 5)
            assert peer.recv(100) == b"abcdefg"

    async def test_a_send_that_is_cancelled_counts_what_went_out(self) -> None:
        with connected() as (transport, peer):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(transport.send_all, bytes(50_000_000))
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert 0 < transport.bytes_sent < 50_000_000
            await transport.send_eof()
            assert await drained(peer) == transport.bytes_sent

    async def test_a_send_that_breaks_counts_what_went_out(self) -> None:
        with connected() as (transport, peer):
            got = 0

            async def send() -> None:
                with pytest.raises(trio.BrokenResourceError, match="Connection reset by peer"):
                    await transport.send_all(bytes(50_000_000))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                await trio.testing.wait_all_tasks_blocked()
                handed_over = transport.bytes_sent
                got += len(peer.recv(1000))
                reset(peer)
            assert got == 1000
            assert 0 < handed_over < 50_000_000
            assert transport.bytes_sent == handed_over

    async def test_a_send_to_a_peer_that_is_gone_counts_nothing(self) -> None:
        with connected() as (transport, peer):
            reset(peer)
            with pytest.raises(trio.BrokenResourceError, match="Connection reset by peer"):
                await transport.send_all(b"x" * 1000)
            with pytest.raises(trio.BrokenResourceError, match="Broken pipe"):
                transport.send_now(b"x" * 1000)
            assert transport.bytes_sent == 0

    async def test_send_now_hands_over_what_fits_and_says_how_much(self) -> None:
        with connected() as (transport, _peer):
            total = 0
            while sent := transport.send_now(bytes(1 << 20)):
                total += sent
            assert transport.bytes_sent == total > 0


class TestErrors:
    async def test_a_reset_is_broken_and_the_cause_is_kept(self) -> None:
        """The engine tells from the cause what the kernel gave up for."""
        with connected() as (transport, peer):
            reset(peer)
            with pytest.raises(trio.BrokenResourceError, match="Connection reset by peer") as info:
                await transport.receive_some()
            assert isinstance(info.value.__cause__, ConnectionResetError)

    @pytest.mark.parametrize("told_by", ["send_all", "send_now", "send_eof"])
    async def test_a_reset_that_the_sender_was_told_of_is_no_end_for_the_receiver(
        self, told_by: str
    ) -> None:
        """Linux tells it once; content that ends with the connection would then look whole."""
        with connected() as (transport, peer):
            peer.send(b"part of it")
            assert await transport.receive_some() == b"part of it"
            reset(peer)
            with pytest.raises(trio.BrokenResourceError):
                await self.sends(transport, told_by)
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError) as raised:
                    await transport.receive_some()
                assert isinstance(raised.value.__cause__, OSError)

    @staticmethod
    async def sends(transport: SocketTransport, by: str) -> None:
        match by:
            case "send_all":
                await transport.send_all(b"more")
            case "send_now":
                transport.send_now(b"more")
            case "send_eof":
                await transport.send_eof()

    async def test_nor_for_whoever_asks_without_waiting(self) -> None:
        with connected() as (transport, peer):
            reset(peer)
            with pytest.raises(trio.BrokenResourceError):
                transport.send_now(b"more")
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError):
                    transport.receive_now()

    async def test_what_came_before_a_half_close_is_read_first(self) -> None:
        with connected() as (transport, peer):
            peer.send(b"last words")
            peer.shutdown(socket.SHUT_WR)
            assert await transport.receive_some() == b"last words"
            assert await transport.receive_some() == b""
            await transport.send_all(b"still heard")
            assert peer.recv(100) == b"still heard"

    async def test_end_of_sending_after_a_reset_is_broken(self) -> None:
        with connected() as (transport, peer):
            reset(peer)
            with pytest.raises(trio.BrokenResourceError):
                await transport.send_eof()


class TestIsQuiet:
    @EVERY_FAMILY
    async def test_an_idle_connection_is_fit_for_reuse(
        self, sockets: Callable[[], AbstractContextManager[SocketPair]]
    ) -> None:
        with connected(sockets) as (transport, peer):
            assert transport.is_quiet()
            peer.send(b"answer")
            await transport.receive_some()
            assert transport.is_quiet()

    @pytest.mark.parametrize("spoil", ["end", "reset", "stray byte", "half close"])
    @EVERY_FAMILY
    async def test_it_is_not_after(
        self, sockets: Callable[[], AbstractContextManager[SocketPair]], spoil: str
    ) -> None:
        with connected(sockets) as (transport, peer):
            match spoil:
                case "end":
                    peer.close()
                case "reset":
                    reset(peer)
                case "stray byte":
                    peer.send(b"x")
                case "half close":
                    peer.shutdown(socket.SHUT_WR)
            assert not transport.is_quiet()

    async def test_it_is_not_after_its_descriptor_became_anothers(self) -> None:
        with connected() as (transport, _peer):
            number = transport._sock.fileno()
            transport.close()
            with tcp_pair() as (client, server):
                assert number in (client.fileno(), server.fileno())
                assert not transport.is_quiet()

    async def test_a_full_send_buffer_is_no_reason(self) -> None:
        with connected() as (transport, _peer):
            await clog(transport._sock)
            assert transport.is_quiet()


class TestEnds:
    def test_both_ends_are_known(self) -> None:
        with tcp_pair() as (client, server):
            transport = transport_to(client)
            host, port = client.getsockname()
            assert transport.local == Endpoint(host, port) == transport_to(server).endpoint
            assert (
                repr(transport) == f"<SocketTransport {host}:{port} -> {transport.endpoint}, open>"
            )

    def test_a_unix_socket_has_no_own_end(self) -> None:
        with unix_pair() as (client, _server):
            assert endpoint_of(client) is None

    def test_a_closed_socket_has_none_either(self) -> None:
        sock = socket.socket()
        sock.close()
        assert endpoint_of(sock) is None
