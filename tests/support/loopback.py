"""Real sockets on loopback addresses, the ways to spoil them, and how to wait for the kernel.

Everything here is bounded: buffers are small, waits have an end, and a condition that does not
come about is a failed assertion with its own words.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from haclient.net.sockopts import set_for_life, tcp_info
from haclient.net.transport import SocketTransport
from haclient.types import Endpoint

__all__ = [
    "accepted",
    "clog",
    "connected",
    "endpoint_at",
    "eventually",
    "has_ipv6",
    "has_option",
    "listening",
    "needs_ipv6",
    "open_descriptors",
    "reset",
    "tcp_pair",
    "transport_to",
    "unix_pair",
]


def has_ipv6() -> bool:
    """Whether there is ::1."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this kernel has no address ::1")


@contextmanager
def listening(host: str = "127.0.0.1", backlog: int = 16) -> Iterator[socket.socket]:
    """A listening socket, not blocking; `host` may be the path of a Unix socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(socket.AF_UNIX if host.startswith("/") else family) as sock:
        sock.bind(host if host.startswith("/") else (host, 0))
        sock.listen(backlog)
        sock.setblocking(False)
        yield sock


def endpoint_at(listener: socket.socket) -> Endpoint:
    """Where to connect to."""
    name = listener.getsockname()
    return Endpoint(name, 0) if isinstance(name, str) else Endpoint(name[0], name[1])


async def accepted(listener: socket.socket) -> socket.socket:
    """The next connection, not blocking."""
    while True:
        with suppress(BlockingIOError):
            sock, _ = listener.accept()
            sock.setblocking(False)
            return sock
        await trio.lowlevel.wait_readable(listener)


@contextmanager
def tcp_pair(
    host: str = "127.0.0.1", receive_buffer: int | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connected pair: the client's end, its options set for life, and the server's."""
    with listening(host) as listener:
        if receive_buffer is not None:
            # What is accepted inherits it; only so does it bound the window from the start.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client = socket.socket(listener.family)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(listener.getsockname())
        server = _accept_now(listener)
    with client, server:
        client.setblocking(False)
        set_for_life(client)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there
        yield client, server


def _accept_now(listener: socket.socket) -> socket.socket:
    listener.setblocking(True)
    server, _ = listener.accept()
    server.setblocking(False)
    return server


@contextmanager
def unix_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """As `tcp_pair`, over a Unix socket."""
    client, server = socket.socketpair(socket.AF_UNIX)
    with client, server:
        client.setblocking(False)
        server.setblocking(False)
        yield client, server


def transport_to(sock: socket.socket) -> SocketTransport:
    """A transport on a connected socket; closing it closes the socket."""
    if sock.family == socket.AF_UNIX:
        return SocketTransport(sock, Endpoint("/run/peer.sock", 0))
    host, port, *_ = sock.getpeername()
    return SocketTransport(sock, Endpoint(host, port))


@contextmanager
def connected(
    sockets: Callable[[], AbstractContextManager[tuple[socket.socket, socket.socket]]] = tcp_pair,
) -> Iterator[tuple[SocketTransport, socket.socket]]:
    """A transport, and the plain socket of its peer."""
    with sockets() as (client, server):
        transport = transport_to(client)
        yield transport, server
        transport.close()


def reset(sock: socket.socket) -> None:
    """Closes with a reset, as a host does that lost its state: SO_LINGER with no time."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def clog(*socks: socket.socket) -> None:
    """Fills send buffers until the peers' windows are shut and nothing moves any more."""
    while sum(_fill(sock) for sock in socks):
        # An acknowledgement on its way, up to 40 ms late, still makes room.
        await eventually(lambda: not any(_is_in_flight(sock) for sock in socks), 2.0)


def _fill(sock: socket.socket) -> int:
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += sock.send(bytes(65536))
    return filled


def _is_in_flight(sock: socket.socket) -> bool:
    info = tcp_info(sock)
    return info is not None and info.unacked > 0


async def eventually(condition: Callable[[], bool], within: float, what: str = "") -> float:
    """Waits until `condition` holds; returns after how many seconds it did."""
    started_at = trio.current_time()
    while not condition():
        waited = trio.current_time() - started_at
        assert waited < within, f"did not come about within {within} s: {what or condition}"
        await trio.sleep(0.002)
    return trio.current_time() - started_at


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def has_option(level: int, option: int) -> bool:
    """Whether this kernel knows a TCP socket option."""
    with socket.socket() as sock:
        try:
            sock.getsockopt(level, option)
        except OSError:  # ENOPROTOOPT
            return False
    return True
