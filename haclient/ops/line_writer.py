"""Lines to a descriptor that somebody else reads, or no longer does.

A daemon's stderr is a terminal, a file, a pipe to a container's collector or a socket to the journal.
The naive answer, stream.write(), blocks for as long as the reader sleeps, and with it every request
of a single-threaded daemon; and once the reader is gone it raises. So here nothing ever waits:

    socket (the journal)       send with MSG_DONTWAIT
    pipe, terminal             opened again through /proc, non-blocking: the flag belongs to the open
                               description, and to set it on one that is shared with a shell breaks
                               the shell
    file                       written; a disk is waited for
    one that cannot be opened  as much as poll says goes in at once

A line that does not fit is dropped and counted, and the next one that fits says how many were. A
line that went out in part is completed first: no two lines are ever mixed.

Left out: a buffer for bad times. What nobody reads need not be kept, and memory is for requests.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress

__all__ = ["LineWriter"]


class LineWriter:
    """Writes whole lines to a copy of `descriptor`.

    Args:
        descriptor: the caller's own; it is neither changed nor closed.
        notice: makes the line that says how many were dropped.

    Attributes:
        dropped: lines that could not be written, ever.
    """

    __slots__ = ("_close", "_notice", "_rest", "_send", "_untold", "dropped")

    def __init__(self, descriptor: int, notice: Callable[[int], bytes]) -> None:
        self.dropped = 0
        self._untold = 0
        self._rest = b""
        self._notice = notice
        self._send, self._close = _opened(descriptor)

    def write(self, line: bytes) -> bool:
        """Writes one line, its end included; returns whether it is on its way. Never raises."""
        if self._untold or self._rest:
            self._recover()
        if not self._rest and self._put(line):
            return True
        self.dropped += 1
        self._untold += 1
        return False

    def close(self) -> None:
        """No more is written."""
        with suppress(OSError):
            self._close()

    def _recover(self) -> None:
        """Completes the line that was begun, then tells what was dropped."""
        rest, self._rest = self._rest, b""
        if rest and not self._put(rest):
            self._rest = rest
        if self._untold and not self._rest and self._put(self._notice(self._untold)):
            self._untold = 0

    def _put(self, line: bytes) -> bool:
        """Whether at least its beginning was taken; `_rest` is what was not."""
        try:
            self._rest = line[self._send(line) :]
        except OSError:  # EAGAIN, EPIPE, ENOSPC, EIO of a terminal that was hung up
            return False
        return True


def _opened(descriptor: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """How to write to it without waiting, and how to close what was opened for that."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        sock = socket.socket(fileno=os.dup(descriptor))
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        return lambda line: sock.send(line, flags), sock.close
    copy = -1
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        # Not for a file: opened again it would be written from its beginning.
        with suppress(OSError):
            how = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            copy = os.open(f"/proc/self/fd/{descriptor}", how)
        if copy < 0:
            return _asked_before(os.dup(descriptor))
    else:
        copy = os.dup(descriptor)
    return lambda line: os.write(copy, line), lambda: os.close(copy)


def _asked_before(copy: int) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """Writes as much as goes in at once, through a description that would wait.

    A pipe of another user's (`sudo -u haclient ... 2>&1 | logger`) cannot be opened again. One that
    poll(2) calls writable takes PIPE_BUF bytes without waiting (pipe(7)); so does a terminal, mostly.
    """
    poll = select.poll()
    poll.register(copy, select.POLLOUT)

    def write(line: bytes) -> int:
        if not poll.poll(0):
            raise BlockingIOError
        return os.write(copy, line[: select.PIPE_BUF])

    return write, lambda: os.close(copy)
