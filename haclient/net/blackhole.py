"""Makes a server's socket lose all that arrives there, without root and without a network.

To prove that a dead server is noticed, one has to die. Killing a process is not it: its kernel
closes the connections, and everybody knows at once. Pulling a cable, a firewall rule or a network
namespace need hands or root. But any process may attach a classic BPF program to its own socket
(SO_ATTACH_FILTER, socket(7)), and the kernel runs it on every segment before TCP sees it: a program
of one instruction, `ret 0`, loses them all, acknowledgements and probes too. To its peer the socket
is as dead as if the machine had lost its power. On a listening socket every SYN is lost.

The demonstration and `haclient doctor` use it on their own servers, the tests on theirs. It is never
put on a connection of haclient's own.

Left out: what the blackholed end sends still leaves. Its peer's acknowledgements are lost, so a
server that goes on talking is heard: keep it silent. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import sys
from typing import Protocol

__all__ = ["blackhole", "drop_content", "heal"]

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
"""asm-generic/socket.h; Python does not name them."""


class Filterable(Protocol):
    """A socket: Python's or trio's."""

    def setsockopt(self, level: int, optname: int, value: bytes, /) -> None:
        """As socket.socket."""
        ...


Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, operand: struct sock_filter (linux/filter.h)."""

DROP_EVERYTHING: tuple[Instruction, ...] = ((0x06, 0, 0, 0),)  # ret 0: keep no byte

# A TCP socket's filter sees the segment from its TCP header on. The header's length, in words of
# four bytes, is the high half of byte 12 (RFC 9293, section 3.1): a longer segment has content.
DROP_CONTENT: tuple[Instruction, ...] = (
    (0x30, 0, 0, 12),  # A = byte 12
    (0x54, 0, 0, 0xF0),  # A &= 0xf0
    (0x74, 0, 0, 2),  # A >>= 2: words to bytes
    (0x07, 0, 0, 0),  # X = A
    (0x80, 0, 0, 0),  # A = length of the segment
    (0x1D, 0, 1, 0),  # if A == X, the next one, else the one after it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
    (0x06, 0, 0, 0),  # keep nothing
)


def blackhole(sock: Filterable) -> None:
    """Loses every segment that arrives at a TCP socket; on a listening one, every SYN.

    Raises:
        OSError: not on this system.
    """
    attach(sock, DROP_EVERYTHING)


def drop_content(sock: Filterable) -> None:
    """Loses every segment that bears content; handshakes, acknowledgements and probes pass.

    For a listening socket: what it accepts inherits the filter, so that a connection comes about
    and its very first request is lost, before the accepted socket can be had to blackhole it.

    Raises:
        OSError: not on this system.
    """
    attach(sock, DROP_CONTENT)


def heal(sock: Filterable) -> None:
    """Takes the filter off, if there is one. Retransmissions then find their way.

    Raises:
        OSError: not on this system.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    with contextlib.suppress(FileNotFoundError):  # ENOENT: none is attached
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, struct.pack("i", 0))


def attach(sock: Filterable, program: tuple[Instruction, ...]) -> None:
    """Attaches a classic BPF program, in place of any other one; the kernel copies it."""
    if sys.platform != "linux":
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HP", len(program), ctypes.addressof(buffer))  # struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)
