"""Files that a running daemon reads: regular ones, and nothing else.

open(2) of a named pipe waits for somebody to write, and with it everything else in the process waits; a device may
have no end. Whoever can write the configuration can name one, or have one put in the place of a file that is named.
So a file is opened without waiting, and what is not regular is refused in one line.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

__all__ = ["NotRegularError", "open_regular", "read_regular", "require_regular"]

NOT_REGULAR = "it is no regular file"


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


def require_regular(path: str) -> None:
    """For whoever hands the path on to a library that would wait.

    Raises:
        OSError: there is nothing, it cannot be looked at, or it is no file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise NotRegularError
