"""Whether a client that has closed its side still wants its answer.

A FIN says "nothing more comes from me", not "I am gone": `nc`, some HTTP/1.0 clients and RFC 9112,
section 9.6, close their side and wait for the answer. A client that was killed, or gave up, sends the
same FIN. The naive server picks one reading: nginx takes every FIN for a farewell, and cuts half-closed
clients off; HAProxy by default takes none for one, and lets servers work for nobody.

But the client of a sidecar runs on the same machine, and the kernel knows: the socket of a process that is
gone, or has called close(), belongs to nobody (its inode is 0), that of a half-closed one to its process
(sock_diag(7), measured on Linux 6.18: state FIN_WAIT2 for both; 12 us a question, which is asked only
after a FIN). Where the client is on another machine, or in another network namespace, or the question is
not allowed, nobody knows: it is answered.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct

from haclient.core.names import is_loopback

__all__ = ["is_peer_orphaned"]

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR = 2
NLM_F_REQUEST = 1
"""linux/netlink.h, linux/sock_diag.h."""

ALL_STATES = NO_COOKIE = 0xFFFFFFFF

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI")
_ID = struct.Struct("!HH16s16s")
_COOKIE = struct.Struct("=III")
_ERROR = struct.Struct("=i")
_TAIL = struct.Struct("=IIIII")
"""Of struct inet_diag_msg: expires, rqueue, wqueue, uid, inode, behind 4 bytes and the socket's id."""

_TAIL_AT = _HEADER.size + 4 + _ID.size + _COOKIE.size


def is_peer_orphaned(sock: socket.socket) -> bool | None:
    """Whether the other end of a TCP connection belongs to no process any more.

    Returns None where that cannot be known: the peer is not on this machine, or the kernel does not
    say. Never raises.
    """
    try:
        peer, local = sock.getpeername(), sock.getsockname()
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or not _is_here(peer[0], local[0]):
            return None
        return _ask(sock.family, peer, local)
    except OSError:
        return None


def _is_here(peer: str, local: str) -> bool:
    """Only addresses that no other network namespace can have."""
    return peer == local or is_loopback(peer)


def _ask(family: int, peer: tuple[str, int], local: tuple[str, int]) -> bool | None:
    """Looks for the socket whose own end is `peer` and whose other end is `local`."""
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, ALL_STATES)
    body += _ID.pack(peer[1], local[1], _packed(family, peer[0]), _packed(family, local[0]))
    body += _COOKIE.pack(0, NO_COOKIE, NO_COOKIE)
    size = _HEADER.size + len(body)
    header = _HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with contextlib.closing(socket.socket(socket.AF_NETLINK, kind, NETLINK_SOCK_DIAG)) as netlink:
        netlink.send(header + body)
        # The kernel answers within the send.
        answer = netlink.recv(4096)
    if _HEADER.unpack_from(answer)[1] == NLMSG_ERROR:
        # No such socket any more: it was reset, or its FIN_WAIT2 has run out.
        return True if _ERROR.unpack_from(answer, _HEADER.size)[0] == -errno.ENOENT else None
    inode = _TAIL.unpack_from(answer, _TAIL_AT)[-1]
    return bool(inode == 0)


def _packed(family: int, address: str) -> bytes:
    return socket.inet_pton(family, address.partition("%")[0]).ljust(16, b"\0")
