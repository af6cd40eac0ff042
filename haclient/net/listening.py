"""Listening sockets, and what is to be said when one cannot be had."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import weakref
from typing import assert_never

from haclient.core.config import Bind, InheritedBind, TcpBind, UnixBind
from haclient.net.transport import SocketTransport
from haclient.types import Endpoint

__all__ = [
    "BACKLOG",
    "BindError",
    "Inherited",
    "accept",
    "change_mode",
    "listen_on",
    "place_of",
    "stop_listening",
]

BACKLOG = 4096
"""Connections that the kernel keeps for us; it takes net.core.somaxconn (4096 since Linux 5.4) at the
most. While a listener is at its limit they wait here."""


Inherited = dict[str, list[socket.socket]]
"""What the service manager handed over, by name."""


_places: weakref.WeakKeyDictionary[socket.socket, tuple[int, int]] = weakref.WeakKeyDictionary()
"""Device and inode of each Unix socket's path, as it was bound."""


class BindError(Exception):
    """An address cannot be listened on; the message says which, why, and what to do."""


def listen_on(bind: Bind, inherited: Inherited, mode: int | None = None) -> socket.socket:
    """Returns a listening socket, not blocking.

    Args:
        bind: where.
        inherited: the sockets that the service manager handed over, by name; what is used is taken out.
        mode: of a Unix socket that is made; None: the umask decides.

    Raises:
        BindError: in one line.
    """
    match bind:
        case TcpBind():
            sock = _listen_tcp(bind)
        case UnixBind(path):
            sock = _listen_unix(path, mode)
        case InheritedBind(name):
            sock = _take_inherited(name, inherited)
        case _:
            assert_never(bind)
    sock.setblocking(False)
    return sock


def _take_inherited(name: str, inherited: Inherited) -> socket.socket:
    sockets = inherited.get(name, [])
    if not sockets:
        raise BindError(
            f"no socket named {name!r} was inherited: set FileDescriptorName={name} in the "
            "socket unit, and start the service through it"
        )
    if len(sockets) > 1:
        raise BindError(
            f"{len(sockets)} inherited sockets are named {name!r}: give each a socket unit, and a "
            "FileDescriptorName, of its own"
        )
    return inherited.pop(name)[0]


def _listen_tcp(bind: TcpBind) -> socket.socket:
    is_ipv6 = ":" in bind.address
    sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        # A restarted daemon must not wait until the connections of the last one are forgotten.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((bind.address, bind.port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise BindError(_why_not(str(bind), exc)) from exc
    return sock


def _listen_unix(path: str, mode: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear_stale(path)
        sock.bind(path)
        _places[sock] = _place(path)
        if mode is not None:
            _set_mode(path, mode)  # before anybody can connect
        sock.listen(BACKLOG)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise BindError(_why_not(f"unix:{path}", exc)) from exc
        raise
    return sock


def change_mode(sock: socket.socket, path: str, mode: int) -> int:
    """Gives the path of a listening socket another mode, if it is still ours; returns the one it had.

    Raises:
        BindError: in one line.
    """
    try:
        before = stat.S_IMODE(os.stat(path).st_mode)
        if _places.get(sock) == _place(path):
            _set_mode(path, mode)
    except FileNotFoundError:
        return mode  # somebody has removed it, and nobody can connect to it any more
    except OSError as exc:
        raise BindError(_why_not(f"unix:{path}", exc)) from exc
    return before


def _set_mode(path: str, mode: int) -> None:
    """Of what is at `path` itself: a link that somebody has put there must not lead to another file."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def _clear_stale(path: str) -> None:
    """A daemon that was killed leaves its socket behind; one that runs still answers on it."""
    if os.path.islink(path) and not os.path.exists(path):
        raise BindError(
            f"cannot listen on unix:{path}: a symbolic link is there, and leads to nothing; remove it, or "
            "choose another bind"
        )
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise BindError(
                f"cannot listen on unix:{path}: something that is no socket is there; remove it, or "
                "choose another bind"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def _why_not(where: str, exc: OSError) -> str:
    remedies = {
        errno.EADDRINUSE: "another process listens there; end it, or choose another bind",
        errno.EACCES: "no permission; choose a port from 1024 on, a folder that is ours, or "
        "inherit the socket (systemd:NAME)",
        errno.EADDRNOTAVAIL: "no interface of this machine has that address",
        errno.ENOENT: "the folder does not exist; make it (RuntimeDirectory= in a unit)",
    }
    remedy = remedies.get(exc.errno or 0, "choose another bind")
    return f"cannot listen on {where}: {exc.strerror or exc}: {remedy}"


def stop_listening(sock: socket.socket, bind: Bind) -> None:
    """Closes a listening socket; one with a path of our own making takes that with it.

    Only if it is still ours: who removed it and made another there is listening at it now.
    """
    ours = _places.pop(sock, None)
    sock.close()
    if isinstance(bind, UnixBind) and ours is not None:
        with contextlib.suppress(OSError):
            if _place(bind.path) == ours:
                os.unlink(bind.path)


def _place(path: str) -> tuple[int, int]:
    """What a path leads to, whatever its name."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def place_of(sock: socket.socket) -> TcpBind | UnixBind:
    """What a listening socket is bound to, whoever bound it."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        return TcpBind(name[0], name[1])
    return UnixBind(str(name))


def accept(sock: socket.socket) -> SocketTransport:
    """Returns the next connection.

    Raises:
        BlockingIOError: there is none.
        OSError: as accept(2): no descriptors, for one.
    """
    connection, name = sock.accept()
    connection.setblocking(False)
    if connection.family == socket.AF_UNIX:
        return SocketTransport(connection, Endpoint("/", 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketTransport(connection, Endpoint(name[0], name[1]))
