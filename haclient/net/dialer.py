"""One endpoint in, one connected transport out.

No time-out here: the racer decides when to give up and cancels. On any exit without a connection
the descriptor is closed.
"""

from __future__ import annotations

import errno
import os
import socket

import trio

from haclient.net.sockopts import prepare_connect, set_for_life
from haclient.net.transport import SocketTransport
from haclient.types import Endpoint

__all__ = ["SocketDialer"]

UNIX_BACKLOG_RETRY = 0.01
"""Seconds. A server behind with accepting is not a dead one: over TCP the kernel would ask again,
after a whole second; on the same machine that would be long."""


class SocketDialer:
    """Connects over TCP, or to a Unix socket."""

    async def connect(self, endpoint: Endpoint) -> SocketTransport:
        """Returns a connected transport, its options set for life.

        Raises:
            OSError: refused, unreachable, or not possible on this machine.
        """
        sock = socket.socket(family_of(endpoint), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            prepare_connect(sock)
            await connect(sock, address_of(endpoint))
            set_for_life(sock)
            return SocketTransport(sock, endpoint)
        except BaseException:
            trio.lowlevel.notify_closing(sock)
            sock.close()
            raise


def family_of(endpoint: Endpoint) -> socket.AddressFamily:
    """The address family that an endpoint is spoken to with."""
    if endpoint.is_unix:
        return socket.AF_UNIX
    return socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET


def address_of(endpoint: Endpoint) -> str | tuple[str, int] | tuple[str, int, int, int]:
    """The endpoint as the socket module wants it; a zone becomes its scope id (RFC 4007)."""
    if endpoint.is_unix:
        return endpoint.address
    address, _, zone = endpoint.address.partition("%")
    if not zone:
        return (address, endpoint.port)
    scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    return (address, endpoint.port, 0, scope)


async def connect(sock: socket.socket, address: object) -> None:
    """A non-blocking connect (connect(2), EINPROGRESS), cancellable."""
    await trio.lowlevel.checkpoint_if_cancelled()
    code = sock.connect_ex(address)  # type: ignore[arg-type]
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    elif code == errno.EAGAIN and sock.family == socket.AF_UNIX:
        code = await _connect_once_there_is_room(sock, address)
    else:
        await trio.lowlevel.cancel_shielded_checkpoint()
    if code == 0 and sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername():
        # Nobody listens on this port of our own, and the kernel picked it as the source: the
        # socket met itself (RFC 9293, section 3.5, simultaneous open). It would echo the request.
        code = errno.ECONNREFUSED
    if code:
        raise OSError(code, os.strerror(code))


async def _connect_once_there_is_room(sock: socket.socket, address: object) -> int:
    """A Unix socket whose backlog is full says EAGAIN, and there is nothing to wait on."""
    code = errno.EAGAIN
    while code == errno.EAGAIN:
        await trio.sleep(UNIX_BACKLOG_RETRY)
        code = sock.connect_ex(address)  # type: ignore[arg-type]
    return code
