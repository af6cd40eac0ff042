"""Files that are written whole or not at all.

Whoever reads a file while it is written over sees half of it, and a crash in between leaves that half for good. So
the new content goes to a file beside it, which nobody else may read, is flushed to the disk, and takes the old one's
place by rename(2): who opens it gets the one or the other, after a power cut too.

Left out: a lock. Of two that write at once, the later one's content stays.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

__all__ = ["put_in_place"]


def put_in_place(path: str, content: bytes, prepare: Callable[[int], None] | None = None) -> None:
    """Makes `content` the content of the file at `path`.

    Args:
        path: of a file, or of none; a symbolic link there is replaced, not followed.
        content: all of it.
        prepare: is given the new file's descriptor before anything is in it: its mode is 0600, its owner we.

    Raises:
        OSError: the old file is as it was, unless the directory alone could not be flushed.
    """
    new = f"{path}.{os.getpid()}.new"
    try:
        _write_new(new, content, prepare)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    _flush_directory(os.path.dirname(path) or ".")


def _write_new(path: str, content: bytes, prepare: Callable[[int], None] | None) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a process with the same number that was killed in mid-writing
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        if prepare is not None:
            prepare(file.fileno())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_directory(path: str) -> None:
    """Else a power cut may undo the rename."""
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # a folder that we may write, and not read
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
