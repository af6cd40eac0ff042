"""TCP connections over IPv4 as the kernel has them (/proc/net/tcp), whoever holds them.

[row] = rows(remote=("127.0.0.2", 8080))
assert row.timer is Timer.KEEP_ALIVE
"""

from __future__ import annotations

import enum
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Row", "Timer", "rows"]

Address = tuple[str, int]

ESTABLISHED = "01"


class Timer(enum.IntEnum):
    """What the kernel is going to do for a connection next (get_tcp4_sock of Linux)."""

    NONE = 0
    RETRANSMISSION = 1
    KEEP_ALIVE = 2
    TIME_WAIT = 3
    WINDOW_PROBE = 4


@dataclass(frozen=True)
class Row:
    """One end of an established connection."""

    local: Address
    remote: Address
    timer: Timer


def rows(remote: Address) -> list[Row]:
    """The ends here whose other end is `remote`."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, other, state, _, timer, *_ = line.split()
        if state == ESTABLISHED and _address(other) == remote:
            kind = Timer(int(timer.partition(":")[0], 16))
            found.append(Row(_address(local), remote, kind))
    return found


def _address(text: str) -> Address:
    """Of "0100007F:1F90": the address four bytes as a number of this processor."""
    host, _, port = text.partition(":")
    return socket.inet_ntoa(int(host, 16).to_bytes(4, sys.byteorder)), int(port, 16)
