"""Listening sockets that the service manager opened: sd_listen_fds(3).

With them a restart refuses nobody (the kernel queues connects while the daemon is away), and the
daemon binds port 80 without any privilege. The naive answer takes descriptor 3 and hopes. A socket
that does not listen, a datagram socket or a file shows only at the first accept(2), in a loop that
then spins; so each is checked here, where the start can still be stopped with one line.

The names come from FileDescriptorName= of the socket unit (its own name by default); several
sockets may share one. Other programs that hand over sockets in this way (systemd-socket-activate,
s6, podman) do so by the same three variables.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import ExitCode

__all__ = ["FIRST_DESCRIPTOR", "inherited_sockets"]

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""

NAMELESS = "unknown"
"""What sd_listen_fds_with_names(3) calls them all where LISTEN_FDNAMES is not set."""

MOST = 1024
"""No number of sockets is reasonable beyond it; it bounds what a wrong LISTEN_FDS makes us try."""

VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets(
    environ: MutableMapping[str, str] = os.environ, pid: int | None = None
) -> dict[str, list[socket.socket]]:
    """Returns the sockets by name, in their order; none that were meant for another process.

    The variables are taken out of the environment and close-on-exec is set: a child inherits
    neither. The second call thus returns none.

    Raises:
        CommandError: exit 78; what was passed is no listening stream socket, or not what was said.
    """
    meant, number, names = (environ.pop(name, None) for name in VARIABLES)
    if meant != str(os.getpid() if pid is None else pid) or number is None:
        return {}
    count = _count(number)
    found: dict[str, list[socket.socket]] = {}
    try:
        for offset, name in enumerate(_names(names, count)):
            found.setdefault(name, []).append(_listening(FIRST_DESCRIPTOR + offset, name))
    except BaseException:
        for sockets in found.values():
            for each in sockets:
                each.close()
        raise
    return found


def _count(number: str) -> int:
    if not (number.isascii() and number.isdigit()) or int(number) > MOST:
        raise _wrong(f"LISTEN_FDS={number!r} is no number of sockets")
    return int(number)


def _names(names: str | None, count: int) -> list[str]:
    if names is None:
        return [NAMELESS] * count
    listed = names.split(":")
    if count == 0 or len(listed) != count:
        if count == 0 and not names:
            return []
        raise _wrong(f"LISTEN_FDNAMES={names!r} does not name {count} sockets")
    return listed


def _listening(descriptor: int, name: str) -> socket.socket:
    """The descriptor as a socket, if it is one that accepts connections."""
    where = f"descriptor {descriptor} ({name!r})"
    try:
        made = socket.socket(fileno=descriptor)  # family and type are the kernel's word
    except OSError as error:
        raise _wrong(f"{where} is no socket: {error.strerror}") from None
    made.set_inheritable(False)
    kind = _kind(made)
    if kind:
        made.close()
        raise _wrong(f"{where} is {kind}")
    return made


def _kind(made: socket.socket) -> str:
    """What it is, where it is not what is wanted."""
    if made.family not in {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}:
        return f"a socket of another family ({made.family})"
    if made.type != socket.SOCK_STREAM:
        return "no stream socket"
    if not made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "a socket that does not listen"
    return ""


def _wrong(message: str) -> CommandError:
    remedy = "pass stream sockets that listen (ListenStream= and Accept=no in the socket unit)"
    return CommandError(f"inherited sockets: {message}; {remedy}", ExitCode.CONFIGURATION)
