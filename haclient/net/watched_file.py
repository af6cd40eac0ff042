"""A small file that is read again when it changes.

Reading it for every request costs a system call or three on the hot path; reading it once misses
what DHCP or a VPN writes later. So its status is looked at once a second at the most, and its text
read only when that has changed. Both calls block the event loop, for some microseconds on a local
file; a thread would cost more. The inode is looked at because an atomic replacement within the
file system's clock tick may leave time and size as they were.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Generic, TypeVar

from haclient.regular_file import read_regular

__all__ = ["CHECK_INTERVAL", "WatchedFile"]

CHECK_INTERVAL = 1.0
"""Seconds for which a change may go unnoticed; as often as HAProxy polls its resolvers."""

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What `parse` makes of the file's text. A file that cannot be read is an empty one."""

    def __init__(self, path: str, parse: Callable[[str], T]) -> None:
        self.path = path
        self._parse = parse
        self._status: tuple[int, int, int] | None = None
        self._checked_at = -math.inf
        self._value = parse("")

    def __repr__(self) -> str:
        return f"<WatchedFile {self.path}>"

    def get(self, now: float) -> T:
        """The file's value, at most a second old; `now` in seconds on trio's clock."""
        if now - self._checked_at >= CHECK_INTERVAL:
            self._checked_at = now
            self.check()
        return self._value

    def check(self) -> T:
        """The file's value now."""
        status = self._stat()
        if status != self._status:
            self._status = status
            value = self._parse(self._read())
            if value != self._value:
                # Else the same object stays, so that the owner can tell by `is`.
                self._value = value
        return self._value

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> str:
        try:
            return read_regular(self.path).decode(errors="replace")
        except OSError:
            return ""
