"""Sockets of another network namespace, in this process.

A socket belongs for good to the namespace of the thread that made it, whoever uses it afterwards
(setns(2)). So a client inside a namespace needs no process there: one thread steps in, makes the
socket, and ends. Its instants are then those of the test itself, with no pipe in between.

    stream = await connect_in("haclient-test-1-1-client", ("127.0.0.1", 8080))

Needs root, as the namespace does. os.setns comes with Python 3.12; until then libc is asked.
"""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path
from threading import Thread

import trio

__all__ = ["connect_in", "socket_in"]

CLONE_NEWNET = 0x40000000
"""<sched.h>: the kind of namespace that setns(2) is to expect."""

_libc = ctypes.CDLL(None, use_errno=True)


def socket_in(namespace: str) -> socket.socket:
    """A TCP socket in a namespace that `ip netns` made."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            enter(namespace)
            made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        except OSError as error:
            made.append(error)

    # A thread of its own, that ends: none of a pool's, which would stay in there.
    thread = Thread(target=make)
    thread.start()
    thread.join()
    (one,) = made
    if isinstance(one, OSError):
        raise one
    return one


def enter(namespace: str) -> None:
    """Moves the calling thread into a namespace; it does not come back."""
    handle = os.open(Path("/run/netns", namespace), os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(handle)


async def connect_in(namespace: str, address: tuple[str, int]) -> trio.SocketStream:
    """Connects from within a namespace."""
    sock = trio.socket.from_stdlib_socket(socket_in(namespace))
    try:
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
