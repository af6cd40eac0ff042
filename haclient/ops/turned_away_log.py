"""One line in the log for whoever was turned away at a door; of a crowd, one line each ten seconds.

Whoever may not enter can try a thousand times a second. A line each would fill the disk, and hide the rest
of the log; none would leave the administrator with a program that "does not work".
"""

from __future__ import annotations

from haclient.ops.log import Log
from haclient.proxy.record import Reason, TurnedAway
from haclient.types import Instant

__all__ = ["TurnedAwayLog"]

ONE_EACH = 10.0
"""Seconds between two lines of one listener for one reason."""


class TurnedAwayLog:
    """Called with each and this instant; what had no line is counted in the next one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._last: dict[tuple[str, Reason], Instant] = {}
        self._unsaid: dict[tuple[str, Reason], int] = {}

    def __call__(self, one: TurnedAway, now: Instant) -> None:
        """Tells it, or counts it."""
        key = (one.listener, one.reason)
        last = self._last.get(key)
        if last is not None and now - last < ONE_EACH:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return
        self._last[key] = now
        self._log.warning(
            "turned away",
            listener=one.listener,
            client=one.client,
            why=one.detail,
            others=self._unsaid.pop(key, None),
            id=one.request_id or None,
        )
