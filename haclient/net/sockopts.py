"""Socket options, and the kernel's view of a connection.

Python's `socket` names only some of the options, and reads TCP_INFO as raw bytes. The numbers and
offsets here are those of Linux (uapi/linux/in.h, tcp.h); struct tcp_info only ever grows at its
end. `tcp_info_works` asks the running kernel once whether the offsets hold, on a loopback
connection whose counters are known; where they do not hold, or on another system, there is no
snapshot and the kernel's own keep-alive stands in.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import sys

from haclient.core.detector import TcpInfo
from haclient.core.keepalive import (
    KERNEL_ALONE_KEEPCNT,
    KERNEL_KEEPCNT,
    KERNEL_KEEPINTVL,
    RTO_MAX_MS,
)

__all__ = [
    "leave_to_kernel",
    "prepare_connect",
    "set_for_life",
    "start_keepalive",
    "stop_keepalive",
    "tcp_info",
    "tcp_info_works",
]

IP_RECVERR = 11
IPV6_RECVERR = 25
TCP_RTO_MAX_MS = 44
"""Linux 6.15 on: caps the retransmission and window-probe back-off of one connection."""

TCP_INFO_BYTES = 148
"""Up to and including tcpi_notsent_bytes, which Linux 4.6 added."""
ESTABLISHED = 1

# retransmits u8 at 2, probes u8 at 3; unacked u32 at 24; last_data_recv and last_ack_recv u32 ms at
# 52; rtt and rttvar u32 us at 68; segs_in u32 at 140; notsent_bytes u32 at 144.
_COUNTS = struct.Struct("=2xBB20xI24xII8xII64xII")

HAS_TCP_INFO = sys.platform == "linux" and hasattr(socket, "TCP_INFO")


def prepare_connect(sock: socket.socket) -> None:
    """Before connect: an ICMP "unreachable" is to be an error at once, not a hint (ip(7))."""
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def set_for_life(sock: socket.socket) -> None:
    """Once connected: what holds for the connection's whole life. SO_KEEPALIVE stays off."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_KEEPINTVL"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KERNEL_KEEPINTVL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KERNEL_KEEPCNT)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # ENOPROTOOPT before Linux 6.15
            sock.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, RTO_MAX_MS)


def start_keepalive(sock: socket.socket, idle: int = 1) -> None:
    """Switches keep-alive on; a probe leaves at once if nothing came in for `idle` seconds.

    The order matters: TCP_KEEPIDLE set on a socket whose SO_KEEPALIVE is on already re-arms the
    timer with the silence so far counted in; the other way round the first probe leaves `idle`
    seconds later (measured, Linux 6.18). Set again, it sends the next probe.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)


def leave_to_kernel(sock: socket.socket) -> None:
    """As `start_keepalive`, once, where nobody can look: the kernel counts the probes and judges.

    Setting it again would send a probe of its own, which counts as unanswered like the others.
    """
    if hasattr(socket, "TCP_KEEPCNT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KERNEL_ALONE_KEEPCNT)
    start_keepalive(sock)


def stop_keepalive(sock: socket.socket) -> None:
    """Switches keep-alive off: no probe leaves any more, and the next time the count is ours again.

    For a kernel that judged once, while the process was out of descriptors (`tcp_info_works`), may be
    asked from then on.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
    if hasattr(socket, "TCP_KEEPCNT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KERNEL_KEEPCNT)


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Returns the kernel's view, or None where the socket has none or the layout is unknown."""
    if not HAS_TCP_INFO:
        return None
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return None
    if len(raw) < TCP_INFO_BYTES:
        return None
    (retransmits, probes, unacked, last_data, last_ack, rtt, rttvar, segs_in, notsent) = (
        _COUNTS.unpack(raw)
    )
    return TcpInfo(
        unacked=unacked,
        retransmits=retransmits,
        probes=probes,
        segs_in=segs_in,
        notsent_bytes=notsent,
        rtt=rtt / 1e6,
        rttvar=rttvar / 1e6,
        last_received=min(last_data, last_ack) / 1e3,
    )


def tcp_info_works() -> bool:
    """Whether the offsets fit the running kernel, found out on a loopback connection.

    Three exchanges of one byte must be seen in tcpi_segs_in, an unread flood in
    tcpi_notsent_bytes and nothing there before it, and quiet in tcpi_unacked. Takes about a
    millisecond, once a process, and only when a request has been outstanding for longer than a
    moment. A process that is out of descriptors just now is told no, and asked again later.
    """
    try:
        return HAS_TCP_INFO and _offsets_fit()
    except OSError:
        return False


@functools.cache
def _offsets_fit() -> bool:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            return _counts_add_up(client, server)


def _counts_add_up(client: socket.socket, server: socket.socket) -> bool:
    before = tcp_info(client)
    for _ in range(3):
        client.sendall(b"?")
        server.recv(1)
        server.sendall(b"!")
        client.recv(1)
    after = tcp_info(client)
    client.setblocking(False)
    flood = b"\0" * 65536
    with contextlib.suppress(BlockingIOError):
        for _ in range(1024):  # 64 MiB: more than any socket buffer that Linux gives by default
            client.send(flood)
    full = tcp_info(client)
    if before is None or after is None or full is None:
        return False
    return (
        3 <= after.segs_in - before.segs_in <= 12
        and after.notsent_bytes == 0  # a layout shifted by one field has a segment count there
        and after.unacked == 0
        and after.retransmits == 0
        and 0 < after.rtt < 1
        and after.last_received < 60
        and full.notsent_bytes > 0
    )
