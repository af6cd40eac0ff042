"""The file in which the last good answers outlive a restart.

Who can write it decides where requests go, so it is of use only to somebody who could do that anyway:

    read       only a regular file of our own user's that nobody else may write; not through a symbolic
               link. Any other is left alone, and neither read nor written, with one warning.
    checked    by core.saved_names. What does not pass is set aside under another name, and said; a single
               name that does not is left out, and said.
    written    whole or not at all (haclient.whole_file), mode 0600. In a thread, for flushing takes as
               long as the disk takes; at the end by the caller itself.
    how often  a new address after a second, ten seconds after the last writing at the least; an answer that is
               merely confirmed within a minute, for it changes nothing but its age

Left out: a lock. Two processes with one file take turns, and each writes what it knows.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

import msgspec
import trio

from haclient.core.saved_names import MAX_BYTES, SavedName, read_saved_names, saved_names_text
from haclient.regular_file import NotRegularError, open_regular
from haclient.whole_file import put_in_place

__all__ = ["StateFile", "StateFileTrouble"]

SOON, AT_LEAST, LATER = 1.0, 10.0, 60.0
"""Seconds: names that come together go into one file; how far apart writings are; see above."""

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

Names = Callable[[float], Mapping[str, SavedName]]
"""Takes Unix time."""


class StateFileTrouble(msgspec.Struct, frozen=True):
    """Something about the file that its owner should know."""

    path: str
    detail: str


def _wall_clock() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)


class StateFile:
    """One file. Nothing here raises for what the file or the disk does: `tell` is called.

    Args:
        path: of the file; its directory must be there.
        names: what is to be written.
        tell: called with what goes wrong, once for each time that it begins to.
        wall_clock: Unix time.
    """

    def __init__(
        self,
        path: str,
        names: Names,
        tell: Callable[[StateFileTrouble], None],
        wall_clock: Callable[[], float] = _wall_clock,
    ) -> None:
        self.path = path
        self.wall_clock = wall_clock
        self._names = names
        self._tell = tell
        self._is_refused = False
        self._is_failing = False
        self._is_writing = False
        self._due_at = math.inf
        self._written_at = -math.inf
        self._alarm = trio.CancelScope()
        self._life = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<StateFile {self.path}>"

    # Reading

    def read(self, max_age: float) -> dict[str, SavedName]:
        """What was saved, without what is older than `max_age` seconds; empty where there is nothing."""
        try:
            text = self._read_checked()
        except FileNotFoundError:
            return {}
        except NotRegularError:
            self._refuse("it is not a regular file")
            return {}
        except OSError as error:
            self._refuse(f"it cannot be read: {_words(error)}")
            return {}
        if text is None:
            return {}
        try:
            names, faults = read_saved_names(text, self.wall_clock(), max_age)
        except ValueError as error:
            self._set_aside(str(error))
            return {}
        if faults:
            detail = f"{len(faults)} of its names left out: {faults[0]}"
            self._tell(StateFileTrouble(self.path, detail))
        return names

    def _read_checked(self) -> bytes | None:
        with open_regular(self.path, os.O_NOFOLLOW) as file:
            if why := _why_refused(os.fstat(file.fileno())):
                self._refuse(why)
                return None
            return file.read(MAX_BYTES)

    def _refuse(self, why: str) -> None:
        self._is_refused = True
        self._tell(
            StateFileTrouble(self.path, f"{why}; it is not used: remove it, or name another one")
        )

    def _set_aside(self, why: str) -> None:
        aside = f"{self.path}.bad"
        try:
            os.replace(self.path, aside)
        except OSError as error:
            self._refuse(f"it cannot be understood ({why}) nor set aside: {_words(error)}")
            return
        self._tell(
            StateFileTrouble(self.path, f"it cannot be understood ({why}); it is now {aside}")
        )

    # Writing

    def changed(self, now: float, *, is_urgent: bool) -> None:
        """There is something to write; `now` on trio's clock."""
        at_the_earliest = self._written_at + (AT_LEAST if is_urgent else LATER)
        self._due_at = min(self._due_at, max(now + SOON, at_the_earliest))
        self._alarm.deadline = self._due_at

    async def keep(self) -> None:
        """Writes when it is time to, until `stop` or cancelled."""
        with self._life:
            await self._keep()

    async def _keep(self) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=self._due_at) as self._alarm:
                await trio.sleep_forever()
            self._due_at, self._written_at = math.inf, trio.current_time()
            if self._is_refused:
                continue
            text = self._text()
            self._is_writing = True
            try:
                error = await trio.to_thread.run_sync(_written, self.path, text)
            finally:
                self._is_writing = False
            self._note_written(error)

    def stop(self) -> None:
        """No more is written after this: what is new is, now."""
        self._life.cancel()
        is_wanted = self._due_at != math.inf and not self._is_refused and not self._is_writing
        self._due_at = math.inf
        if is_wanted:
            self._note_written(_written(self.path, self._text()))

    def _text(self) -> bytes:
        return saved_names_text(self._names(self.wall_clock()))

    def _note_written(self, error: str) -> None:
        if error and not self._is_failing:
            self._tell(StateFileTrouble(self.path, f"it cannot be written: {error}"))
        self._is_failing = bool(error)


def _why_refused(found: os.stat_result) -> str:
    """Why such a file is not to be trusted; empty if it is."""
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}, and this is user {os.geteuid()}"
    if found.st_mode & WRITABLE_BY_OTHERS:
        return f"others may write it (mode {stat.S_IMODE(found.st_mode):04o})"
    if found.st_size > MAX_BYTES:
        return f"it has {found.st_size} bytes, and {MAX_BYTES} are the most"
    return ""


def _written(path: str, content: bytes) -> str:
    """Returns what went wrong; empty if nothing did."""
    try:
        put_in_place(path, content)
    except OSError as error:
        return _words(error)
    return ""


def _words(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
