"""Telling the service manager how the daemon is: sd_notify(3).

A service of Type=notify counts as started when it says so, and with WatchdogSec it is killed and
restarted when it no longer says anything. The naive answer is libsystemd or a package for it; the
protocol is one datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names.

A datagram that cannot be sent is lost without a word: whoever is not there, or does not read, must
not stop a daemon that serves. The socket never blocks.

Left out: passing descriptors (FDSTORE), BARRIER, and vsock addresses, which only a whole virtual
machine has for a parent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping

__all__ = ["Notifier", "watchdog_interval"]


class Notifier:
    """The way to the service manager, or to nobody.

    Args:
        address: NOTIFY_SOCKET's value: a path, or "@" and a name without one; "" where there is none.
    """

    __slots__ = ("_address", "_socket")

    def __init__(self, address: str) -> None:
        self._socket: socket.socket | None = None
        # Any other kind is of no use to us, nor is being told so to the one who started us.
        if address[:1] in {"/", "@"}:
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """Takes NOTIFY_SOCKET out of the environment: a child's word must not pass for ours."""
        return cls(environ.pop("NOTIFY_SOCKET", ""))

    def ready(self, status: str = "") -> bool:
        """The start, or a reload, is over; `status` is a line for `systemctl status`."""
        return self._send("READY=1", _status(status))

    def reloading(self) -> bool:
        """A reload begins; `ready` ends it."""
        # The manager compares it with the moment of its own order (Type=notify-reload).
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, within: float = 0.0, status: str = "") -> bool:
        """The end begins.

        Args:
            within: seconds it may take, beyond which the manager may kill; 0: its own TimeoutStopSec.
            status: as for `ready`.
        """
        extend = f"EXTEND_TIMEOUT_USEC={round(within * 1e6)}" if within else ""
        return self._send("STOPPING=1", extend, _status(status))

    def watchdog(self) -> bool:
        """Still here; within the interval of `watchdog_interval`."""
        return self._send("WATCHDOG=1")

    def close(self) -> None:
        """No more is said."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> bool:
        """Returns whether the datagram was handed over."""
        if self._socket is None:
            return False
        datagram = "\n".join(each for each in assignments if each).encode("utf-8", "replace")
        try:
            self._socket.sendto(datagram, self._address)
        except (OSError, ValueError):  # a path that no socket can have is a ValueError
            return False
        return True


def watchdog_interval(
    environ: Mapping[str, str] = os.environ, pid: int | None = None
) -> float | None:
    """Seconds between two signs of life; None where nobody waits for them.

    Half of what the manager allows, as sd_watchdog_enabled(3) advises: one that comes late is not
    yet one too few.
    """
    usec = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", "")
    if not (usec.isascii() and usec.isdigit()) or int(usec) == 0:
        return None
    if meant and meant != str(os.getpid() if pid is None else pid):
        return None
    return int(usec) / 2e6


def _status(text: str) -> str:
    # A line end would begin an assignment of its own.
    return f"STATUS={' '.join(text.split())}" if text else ""
