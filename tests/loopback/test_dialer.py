"""One endpoint in, one connected transport out, and never a descriptor left behind.

That none is left is asserted for every test here by the fixture of tests/conftest.py, and once
more where it is the point, inside the run.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from haclient.net import Dialer
from haclient.net.blackhole import blackhole
from haclient.net.dialer import SocketDialer, address_of, connect, family_of
from haclient.net.sockopts import IP_RECVERR
from haclient.types import Endpoint
from tests.support.loopback import (
    accepted,
    endpoint_at,
    listening,
    needs_ipv6,
    open_descriptors,
)


@pytest.fixture(params=["127.0.0.1", pytest.param("::1", marks=needs_ipv6), "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    host = str(tmp_path / "server.sock") if request.param == "unix" else request.param
    with listening(host) as sock:
        yield sock


def refusing_endpoint() -> Endpoint:
    """A port that nobody listens on: it was free a moment ago."""
    with listening() as listener:
        return endpoint_at(listener)


class TestConnects:
    async def test_over_every_family_and_bytes_go_both_ways(self, listener: socket.socket) -> None:
        dialer: Dialer = SocketDialer()
        endpoint = endpoint_at(listener)
        transport = await dialer.connect(endpoint)
        with await accepted(listener) as server:
            await transport.send_all(b"ping")
            assert server.recv(10) == b"ping"
            server.send(b"pong")
            assert await transport.receive_some() == b"pong"
            assert transport.endpoint == endpoint
            transport.close()

    async def test_what_is_set_before_and_after(self) -> None:
        with listening() as listener:
            transport = await SocketDialer().connect(endpoint_at(listener))
            sock = transport._sock
            assert sock.getsockopt(socket.IPPROTO_IP, IP_RECVERR) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
            assert not sock.get_inheritable()
            assert not sock.getblocking()
            transport.close()

    async def test_a_unix_server_that_is_behind_with_accepting_is_waited_for(
        self, tmp_path: Path
    ) -> None:
        """The kernel says EAGAIN, where a TCP connect would wait (connect(2))."""
        dialer = SocketDialer()
        with listening(str(tmp_path / "busy.sock"), backlog=0) as listener:
            first = await dialer.connect(endpoint_at(listener))

            async def accept_later() -> None:
                await trio.sleep(0.05)
                (await accepted(listener)).close()

            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(accept_later)
                    (await dialer.connect(endpoint_at(listener))).close()
            finally:
                first.close()


class TestFails:
    async def test_refused_is_known_at_once(self) -> None:
        before = open_descriptors()
        started_at = trio.current_time()
        with pytest.raises(ConnectionRefusedError, match="Connection refused"):
            await SocketDialer().connect(refusing_endpoint())
        assert trio.current_time() - started_at < 0.5
        assert open_descriptors() == before

    async def test_a_unix_socket_that_nobody_listens_on_is_refused(self, tmp_path: Path) -> None:
        path = str(tmp_path / "stale.sock")
        with listening(path):
            pass
        with pytest.raises(ConnectionRefusedError):
            await SocketDialer().connect(Endpoint(path, 0))

    @pytest.mark.parametrize(
        ("endpoint", "words"),
        [
            (Endpoint("/no/such/server.sock", 0), "No such file"),
            (Endpoint("/" + "x" * 200, 0), "path too long"),
            (Endpoint("fe80::1%nowhere0", 80), "no interface"),
            (Endpoint("255.255.255.255", 80), "unreachable|denied"),
        ],
        ids=["no such Unix socket", "Unix path too long", "zone of no interface", "broadcast"],
    )
    async def test_what_cannot_be_is_an_error_of_the_system(
        self, endpoint: Endpoint, words: str
    ) -> None:
        before = open_descriptors()
        with pytest.raises(OSError, match=words):
            await SocketDialer().connect(endpoint)
        assert open_descriptors() == before

    async def test_a_connect_that_meets_itself_is_refused(self) -> None:
        """Where nobody listens on a port of the ephemeral range, the kernel may pick that very
        port as the source, and the two ends of one socket then agree (RFC 9293, section 3.5).
        """
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionRefusedError):
                await connect(sock, sock.getsockname())


class TestCancelled:
    async def test_in_the_middle_of_a_connect_that_nobody_answers(self) -> None:
        with listening() as listener:
            blackhole(listener)
            before = open_descriptors()
            with trio.move_on_after(0.1) as scope:
                await SocketDialer().connect(endpoint_at(listener))
            assert scope.cancelled_caught
            assert open_descriptors() == before

    async def test_while_a_unix_server_is_behind(self, tmp_path: Path) -> None:
        dialer = SocketDialer()
        with listening(str(tmp_path / "busy.sock"), backlog=0) as listener:
            first = await dialer.connect(endpoint_at(listener))
            try:
                before = open_descriptors()
                with trio.move_on_after(0.05) as scope:
                    await dialer.connect(endpoint_at(listener))
                assert scope.cancelled_caught
                assert open_descriptors() == before
            finally:
                first.close()

    async def test_before_it_began(self) -> None:
        with listening() as listener:
            before = open_descriptors()
            with trio.CancelScope() as scope:
                scope.cancel()
                await SocketDialer().connect(endpoint_at(listener))
            assert scope.cancelled_caught
            assert open_descriptors() == before
            with pytest.raises(BlockingIOError):
                listener.accept()  # nothing went out


class TestAddresses:
    @pytest.mark.parametrize(
        ("endpoint", "family", "address"),
        [
            (Endpoint("10.0.0.1", 80), socket.AF_INET, ("10.0.0.1", 80)),
            (Endpoint("2001:db8::1", 80), socket.AF_INET6, ("2001:db8::1", 80)),
            (Endpoint("fe80::1%7", 80), socket.AF_INET6, ("fe80::1", 80, 0, 7)),
            (Endpoint("/run/server.sock", 0), socket.AF_UNIX, "/run/server.sock"),
        ],
    )
    def test_as_the_socket_module_wants_them(
        self, endpoint: Endpoint, family: int, address: object
    ) -> None:
        assert family_of(endpoint) == family
        assert address_of(endpoint) == address

    def test_a_zone_by_name_becomes_its_number(self) -> None:
        number = socket.if_nametoindex("lo")
        assert address_of(Endpoint("fe80::1%lo", 80)) == ("fe80::1", 80, 0, number)
