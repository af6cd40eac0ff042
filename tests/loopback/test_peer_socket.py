"""Whose the other end of a connection is, asked of the kernel."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio

from haclient.net.peer_socket import is_peer_orphaned
from tests.support.loopback import needs_ipv6, reset, tcp_pair, unix_pair


@contextlib.contextmanager
def mapped_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """An IPv4 client of a listener that takes both families."""
    with socket.socket(socket.AF_INET6) as listener, socket.socket() as client:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", 0))
        listener.listen()
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        accepted, _ = listener.accept()
        with accepted:
            yield client, accepted


PAIRS = pytest.mark.parametrize(
    "pair",
    [
        pytest.param(lambda: tcp_pair("127.0.0.1"), id="IPv4"),
        pytest.param(lambda: tcp_pair("::1"), id="IPv6", marks=needs_ipv6),
        pytest.param(mapped_pair, id="IPv4 in IPv6", marks=needs_ipv6),
    ],
)


async def becomes_orphaned(sock: socket.socket) -> None:
    with trio.fail_after(5):
        while is_peer_orphaned(sock) is not True:  # noqa: ASYNC110  (the kernel tells nobody)
            await trio.sleep(0.001)


@PAIRS
async def test_who_is_there_and_who_half_closed(pair: type) -> None:
    with pair() as (client, server):
        assert is_peer_orphaned(server) is False
        assert is_peer_orphaned(client) is False
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        assert is_peer_orphaned(server) is False


@PAIRS
async def test_who_closed(pair: type) -> None:
    with pair() as (client, server):
        client.close()
        await becomes_orphaned(server)


@PAIRS
async def test_who_closed_behind_what_nobody_reads(pair: type) -> None:
    """Its FIN has not come, and will not for long."""
    with pair() as (client, server):
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(1 << 20))
        client.close()
        await becomes_orphaned(server)


@PAIRS
async def test_who_reset(pair: type) -> None:
    with pair() as (client, server):
        reset(client)
        # No such socket any more; or the own end is gone as well, and nothing can be asked.
        assert is_peer_orphaned(server) in (True, None)


CHILD = """
import os, socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
if sys.argv[2] == "half":
    sock.shutdown(socket.SHUT_WR)
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def child_and_us(state: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Another process, and our end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-c", CHILD, str(listener.getsockname()[1]), state]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            accepted, _ = listener.accept()
            with accepted:
                yield child, accepted
            child.kill()


@pytest.mark.parametrize("state", ["open", "half"])
async def test_a_process_that_is_killed(state: str) -> None:
    with child_and_us(state) as (child, ours):
        assert is_peer_orphaned(ours) is False
        child.kill()
        await becomes_orphaned(ours)


async def test_where_it_cannot_be_known() -> None:
    with unix_pair() as (_, server):
        assert is_peer_orphaned(server) is None
    with socket.socket() as alone:
        assert is_peer_orphaned(alone) is None
    with tcp_pair("127.0.0.1") as (_, server):
        server.close()
        assert is_peer_orphaned(server) is None
