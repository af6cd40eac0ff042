"""One line in the log where clients wait at a door that is full; while it goes on, one a minute.

Naive answers: none, and the administrator looks for the slowness in servers that are not even asked; or one each
time, and a door at its limit fills the disk, for it may be full and free fifty times a second.
"""

from __future__ import annotations

from haclient.ops.log import Log
from haclient.ops.seldom import Seldom
from haclient.types import Instant

__all__ = ["FullDoorLog"]

ONE_EACH = 60.0
"""Seconds between two lines of one listener for one reason."""


class FullDoorLog:
    """Called each time that one has become full, and with this instant."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seldom = Seldom(ONE_EACH)

    def __call__(self, listener: str, why: str, now: Instant) -> None:
        """Tells it, or counts it."""
        others = self._seldom.others((listener, why), now)
        if others is None:
            return
        self._log.warning(
            "clients wait at a full door", listener=listener, why=why, others=others or None
        )
