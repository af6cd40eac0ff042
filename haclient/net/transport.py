"""A stream on a socket that can be asked for signs of life.

The stream (haclient.net.socket_stream) says what has come in. When nothing does, the kernel knows more than
that: whether the peer acknowledges what it was sent, whether it has closed or reset the connection behind bytes
that nobody has read yet, and which user it is. Each question is one or two system calls, reads nothing, and
changes nothing; the probe alone sends something.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import select
import socket
import struct
import termios
from typing import Protocol

from haclient.core.detector import TcpInfo
from haclient.net.peer_socket import is_peer_orphaned
from haclient.net.socket_stream import SocketStream
from haclient.net.sockopts import (
    leave_to_kernel,
    start_keepalive,
    stop_keepalive,
    tcp_info,
    tcp_info_works,
)
from haclient.types import Endpoint

__all__ = ["ClientTransport", "HangUp", "SocketTransport"]

RESET_FLAG, OVER_FLAG = select.POLLERR, select.POLLHUP
"""A reset; both directions ended. poll(2) reports these unasked."""


_COUNT = struct.Struct("i")
"""What SIOCOUTQ gives (tcp(7), unix(7)); termios calls it TIOCOUTQ."""


_UCRED = struct.Struct("iII")
"""What SO_PEERCRED gives: process, user, group."""


class HangUp(enum.Enum):
    """What became of the one who connected to us."""

    NONE = "there"
    HALF = "closed its side, and may wait for an answer"
    GONE = "gone"
    """What it said before may not have been read yet."""
    RESET = "gone, and what it said is void"


class ClientTransport(Protocol):
    """What a door needs of a client's connection, plain or in TLS; each call as SocketTransport's."""

    @property
    def endpoint(self) -> Endpoint: ...  # noqa: D102
    @property
    def bytes_sent(self) -> int: ...  # noqa: D102
    @property
    def bytes_received(self) -> int: ...  # noqa: D102
    def send_now(self, data: bytes) -> int: ...  # noqa: D102
    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...  # noqa: D102
    async def send_eof(self) -> None: ...  # noqa: D102
    async def receive_some(self, max_bytes: int | None = None) -> bytes: ...  # noqa: D102
    def interrupt(self) -> None: ...  # noqa: D102
    def forget_interrupt(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def reset(self) -> None: ...  # noqa: D102
    def is_quiet(self) -> bool: ...  # noqa: D102
    def unacknowledged(self) -> int: ...  # noqa: D102
    def hang_up(self) -> HangUp: ...  # noqa: D102
    def peer_uid(self) -> int | None: ...  # noqa: D102


class SocketTransport(SocketStream):
    """See haclient.net.Transport for the contract."""

    __slots__ = ("_is_probing",)

    def __init__(self, sock: socket.socket, endpoint: Endpoint) -> None:
        super().__init__(sock, endpoint)
        self._is_probing = False

    def unacknowledged(self) -> int:
        """Bytes handed to the kernel that the peer has not acknowledged (on a Unix socket: not read).

        What was handed over says little of a slow peer: a full send buffer of 4 MiB takes more only once
        a third of it is free, and that may be a minute in which the peer never paused.
        """
        if self._is_closed:
            return 0
        try:
            (count,) = _COUNT.unpack(fcntl.ioctl(self._sock, termios.TIOCOUTQ, bytes(_COUNT.size)))
        except OSError:
            return 0
        return int(count)

    def peer_uid(self) -> int | None:
        """Of a Unix socket: the user who connected (unix(7)); None where the system does not say."""
        try:
            credentials = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except (OSError, AttributeError):
            return None
        return int(_UCRED.unpack(credentials)[1])

    def hang_up(self) -> HangUp:
        """Whether the peer has left; one system call, two more where there is cause for doubt."""
        if self._is_closed:
            return HangUp.GONE
        poll = select.poll()
        # What came in and is not wanted yet may keep a FIN waiting behind it.
        poll.register(self._sock, select.POLLRDHUP | select.POLLIN)
        events = poll.poll(0)
        if not events:
            return HangUp.NONE
        flags = events[0][1]
        if flags & RESET_FLAG:
            return HangUp.RESET
        if flags & OVER_FLAG or is_peer_orphaned(self._sock):
            return HangUp.GONE
        return HangUp.HALF if flags & select.POLLRDHUP else HangUp.NONE

    def reset(self) -> None:
        """Closes with a reset, so that what was sent cannot be taken for whole."""
        if not self._is_closed:
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close()

    def snapshot(self) -> TcpInfo | None:
        """The kernel's view; None on Unix sockets, once closed, and where it cannot be read."""
        if self._is_closed or self.endpoint.is_unix or not tcp_info_works():
            return None
        return tcp_info(self._sock)

    def probe(self) -> None:
        """Sends a TCP keep-alive probe now, if nothing has come in for a second."""
        if not self._is_closed and not self.endpoint.is_unix:
            self._is_probing = True
            if tcp_info_works():
                start_keepalive(self._sock)
            else:
                leave_to_kernel(self._sock)

    def stop_probing(self) -> None:
        """Switches TCP keep-alive off, if `probe` switched it on."""
        if self._is_probing:
            self._is_probing = False
            if not self._is_closed:
                stop_keepalive(self._sock)
