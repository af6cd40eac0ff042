"""Files that a running daemon reads: regular ones, and nothing else.

open(2) of a named pipe waits for somebody to write, and with it everything else in the process waits; a device may
have no end. Whoever can write the configuration can name one, or have one put in the place of a file that is named.
So a file is opened without waiting, and what is not regular is refused in one line.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["MAX_PEM_BYTES", "NotRegularError", "held_regular", "open_regular", "read_regular"]

NOT_REGULAR = "it is no regular file"

MAX_PEM_BYTES = 4 << 20
"""Of a certificate, key or CA file. A system's bundle of authorities has 220 KiB; a second of the event loop is
200 MiB (measured), and everybody waits for it."""


class NotRegularError(OSError):
    """A pipe, a device, a socket or a folder is there."""

    def __init__(self) -> None:
        super().__init__(NOT_REGULAR)


def open_regular(path: str, flags: int = 0) -> BinaryIO:
    """Opens a file for reading; `flags` as os.open, beside those that it needs.

    Raises:
        OSError: it cannot be opened, or is no file.
    """
    all_flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags
    file = open(path, "rb", opener=lambda at, _: os.open(at, all_flags))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegularError
    return file


def read_regular(path: str, most: int = -1) -> bytes:
    """The first bytes of a file, `most` of them; all where that is negative.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    with open_regular(path) as file:
        return file.read(most)


@contextlib.contextmanager
def held_regular(path: str, most: int) -> Iterator[str]:
    """A path to the file that is at `path` now, for a library that opens by path, and that would wait.

    What is put in its place meanwhile, a pipe for one, is not looked at: open(2) of /proc/self/fd/N is of
    the file that is open as N (proc(5)). Where there is no /proc it is the same path again.

    Raises:
        OSError: it cannot be opened, or is no file.
        ValueError: it has more than `most` bytes.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise ValueError(f"it has more than {most >> 20} MiB")
        opened = f"/proc/self/fd/{file.fileno()}"
        yield opened if os.path.exists(opened) else path
