"""The progress bar, for a person who waits longer than a second.

On stderr, only where that is a terminal and the content goes elsewhere, so that bar and content do
not mix; rich is imported when the second is over and not before, for most requests are done by then.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar"]

SHOWN_AFTER = 1.0
"""Seconds; what takes longer shows a bar."""

UPDATED_EVERY = 0.1
"""Seconds; rich draws ten times a second."""


class Bar:
    """A bar over the bytes of one transfer.

    Args:
        label: what is transferred, for a person.
        started_at: an instant on trio's clock.
        is_eager: show it from the start (-#).
    """

    def __init__(self, label: str, started_at: float, *, is_eager: bool = False) -> None:
        self._label = label
        self._show_at = started_at if is_eager else started_at + SHOWN_AFTER
        self._update_at = self._show_at
        self._done = 0
        self._total: int | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    @staticmethod
    def fits(*, to_terminal: bool) -> bool:
        """Whether there is somebody to see it, and nothing that it would mix with."""
        return sys.stderr.isatty() and not to_terminal

    async def show_in_time(self) -> None:
        """Shows it when it is due, also where the server has said nothing yet."""
        await trio.sleep_until(self._show_at)
        self._show()

    def move(self, now: float, done: int, total: int | None) -> None:
        """So many bytes of so many (None: nobody knows) are there."""
        self._done, self._total = done, total
        is_due = now >= self._update_at or (done == total and self._progress is not None)
        if is_due:
            self._update_at = now + UPDATED_EVERY
            self._show()

    def _show(self) -> None:
        if self._progress is None:
            self._progress = _started()
        if self._task is None:
            self._task = self._progress.add_task(
                self._label, completed=self._done, total=self._total
            )
        else:
            self._progress.update(self._task, completed=self._done, total=self._total)

    def close(self) -> None:
        """Leaves the last state on the screen."""
        if self._progress is not None:
            self._progress.stop()


def _started() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    progress = Progress(
        # A file's name is not markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    progress.start()
    return progress
