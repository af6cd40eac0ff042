"""Pipes for bytes that nobody has to look at: from a socket into a pipe, and on into another socket.

splice(2) moves references to the kernel's own pages, where receive and send copy each byte twice. The pipe in
between holds what the other socket did not take yet. It is taken for one turn (what is there, in and out) and
given back empty, so a few pipes serve many tunnels, and one that rests has none.

Whoever gets none copies: there are MOST of them in use at once, and a process that is short of descriptors
makes no further one. A pipe that something is left in is closed: what it holds is nobody else's.

Left out: systems without splice(2), and what is within TLS.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

__all__ = ["Pipe", "Pipes"]

PIPE_BYTES = 1 << 20
"""What an unprivileged process may make of a pipe (fs.pipe-max-size). With 64 KiB, the default, a turn moves a
fourth of what a receive buffer holds at full speed, and costs as many calls more."""

MOST = 32
"""In use at once: half of what an unprivileged user may have of them at that size (fs.pipe-user-pages-soft:
64 MiB). More are made smaller by the kernel, down to two pages."""

KEPT = 4
"""Idle ones, two descriptors each. To make one takes 20 us."""

F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)


class Pipe:
    """One of them.

    Attributes:
        into, out: its descriptors.
        held: bytes in it.
    """

    __slots__ = ("held", "into", "out", "size")

    def __init__(self) -> None:
        self.out, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        self.size = 65536
        with contextlib.suppress(OSError):  # EPERM: the user has too many already
            self.size = fcntl.fcntl(self.into, F_SETPIPE_SZ, PIPE_BYTES)

    def __repr__(self) -> str:
        return f"<Pipe of {self.size} bytes, {self.held} in it>"

    def take_in(self, source: int) -> int | None:
        """Moves in what a socket has; None where it has nothing, 0 at its end. The pipe must be empty.

        Raises:
            OSError: as recv(2).
        """
        try:
            moved = os.splice(source, self.into, self.size, flags=os.SPLICE_F_NONBLOCK)
        except (BlockingIOError, InterruptedError):
            return None
        self.held += moved
        return moved

    def give_out(self, destination: int) -> int:
        """Moves out what a socket takes at once; returns how much.

        Raises:
            OSError: as send(2).
        """
        try:
            moved = os.splice(self.out, destination, self.held, flags=os.SPLICE_F_NONBLOCK)
        except (BlockingIOError, InterruptedError):
            return 0
        self.held -= moved
        return moved

    def close(self) -> None:
        """What is in it is lost."""
        os.close(self.into)
        os.close(self.out)


class Pipes:
    """One process's."""

    is_possible = hasattr(os, "splice") and hasattr(os, "pipe2")

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self.in_use = 0

    def __repr__(self) -> str:
        return f"<Pipes: {self.in_use} in use, {len(self._idle)} idle>"

    def take(self) -> Pipe | None:
        """An empty one, the caller's until `give_back`; None where there is none to be had."""
        if self.in_use >= MOST or not self.is_possible:
            return None
        if self._idle:
            pipe = self._idle.pop()
        else:
            try:
                pipe = Pipe()
            except OSError:
                return None
        self.in_use += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Whatever is left in it is lost."""
        self.in_use -= 1
        if pipe.held or len(self._idle) >= KEPT:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Closes the idle ones: somebody needs the descriptors more, or it is the end."""
        while self._idle:
            self._idle.pop().close()
