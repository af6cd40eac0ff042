"""One line in the log for whoever was turned away at a door; of a crowd, one line each ten seconds.

Whoever may not enter can try a thousand times a second. A line each would fill the disk, and hide the rest
of the log; none would leave the administrator with a program that "does not work".
"""

from __future__ import annotations

from haclient.ops.log import Log
from haclient.ops.seldom import Seldom
from haclient.proxy.record import TurnedAway
from haclient.types import Instant

__all__ = ["TurnedAwayLog"]

ONE_EACH = 10.0
"""Seconds between two lines of one listener for one reason."""


class TurnedAwayLog:
    """Called with each and this instant; what had no line is counted in the next one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seldom = Seldom(ONE_EACH)

    def __call__(self, one: TurnedAway, now: Instant) -> None:
        """Tells it, or counts it."""
        others = self._seldom.others((one.listener, one.reason), now)
        if others is None:
            return
        self._log.warning(
            "turned away",
            listener=one.listener,
            client=one.client,
            why=one.detail,
            others=others or None,
            id=one.request_id or None,
        )
