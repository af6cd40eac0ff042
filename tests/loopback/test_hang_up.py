"""Whether a client has left, and how one is left with a reset; on Unix sockets too.

What both say over TCP is held against the simulation in tests/sim/test_sim_same_as_sockets.py.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import trio
import trio.testing

from haclient.net.transport import HangUp
from tests.support.loopback import eventually, needs_ipv6, reset, tcp_pair, transport_to, unix_pair

SocketPair = tuple[socket.socket, socket.socket]
Sockets = Callable[[], AbstractContextManager[SocketPair]]

EVERY_FAMILY = pytest.mark.parametrize(
    "sockets",
    [
        pytest.param(lambda: tcp_pair("127.0.0.1"), id="over IPv4"),
        pytest.param(lambda: tcp_pair("::1"), id="over IPv6", marks=needs_ipv6),
        pytest.param(unix_pair, id="over a Unix socket"),
    ],
)


@EVERY_FAMILY
async def test_who_is_there(sockets: Sockets) -> None:
    with sockets() as (client, server):
        transport = transport_to(server)
        assert transport.hang_up() is HangUp.NONE
        client.sendall(b"unread")
        await trio.sleep(0.01)
        assert transport.hang_up() is HangUp.NONE


@EVERY_FAMILY
async def test_who_closed_one_side(sockets: Sockets) -> None:
    with sockets() as (client, server):
        transport = transport_to(server)
        client.sendall(b"unread")
        client.shutdown(socket.SHUT_WR)
        await eventually(lambda: transport.hang_up() is HangUp.HALF, 5.0)
        assert await transport.receive_some() == b"unread"
        assert await transport.receive_some() == b""
        assert transport.hang_up() is HangUp.HALF


@EVERY_FAMILY
async def test_who_closed(sockets: Sockets) -> None:
    with sockets() as (client, server):
        transport = transport_to(server)
        client.sendall(b"unread")
        client.close()
        await eventually(lambda: transport.hang_up() is HangUp.GONE, 5.0)


@EVERY_FAMILY
async def test_who_reset(sockets: Sockets) -> None:
    with sockets() as (client, server):
        transport = transport_to(server)
        # There is no such thing on a Unix socket.
        wanted = HangUp.GONE if transport.endpoint.is_unix else HangUp.RESET
        reset(client)
        await eventually(lambda: transport.hang_up() is wanted, 5.0)


@EVERY_FAMILY
async def test_one_of_two_ends_of_our_own_making(sockets: Sockets) -> None:
    """Our own FIN is no sign of theirs."""
    with sockets() as (client, server):
        transport = transport_to(server)
        await transport.send_eof()
        assert transport.hang_up() is HangUp.NONE
        client.shutdown(socket.SHUT_WR)
        await eventually(lambda: transport.hang_up() is HangUp.GONE, 5.0)


async def test_a_look_takes_nothing_from_the_receiver() -> None:
    with tcp_pair("127.0.0.1") as (client, server):
        transport = transport_to(server)
        client.sendall(b"hello")
        client.close()
        await eventually(lambda: transport.hang_up() is HangUp.GONE, 5.0)
        assert await transport.receive_some() == b"hello"
        transport.close()
        assert transport.hang_up() is HangUp.GONE


async def test_a_reset_wakes_who_waits_and_may_be_repeated() -> None:
    with tcp_pair("127.0.0.1") as (client, server):
        transport = transport_to(server)

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await transport.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            transport.reset()
        transport.reset()
        transport.close()
        with pytest.raises(ConnectionResetError):
            client.recv(100)


async def test_a_close_is_no_reset() -> None:
    with tcp_pair("127.0.0.1") as (client, server):
        transport = transport_to(server)
        await transport.send_all(b"whole")
        transport.close()
        assert client.recv(100) == b"whole"
        assert client.recv(100) == b""


async def test_on_a_unix_socket_a_reset_is_a_close() -> None:
    """There is no such thing there: the client sees an end."""
    with unix_pair() as (client, server):
        transport = transport_to(server)
        await transport.send_all(b"half of it")
        transport.reset()
        assert client.recv(100) == b"half of it"
        assert client.recv(100) == b""
