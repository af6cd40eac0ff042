"""One line of a kind each few seconds, and how many had none: for lines that strangers can bring about at will."""

from __future__ import annotations

from collections.abc import Hashable

from haclient.types import Instant

__all__ = ["Seldom"]


class Seldom:
    """Keys are few, and never a client's to choose: a listener's name, say."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[Hashable, Instant] = {}
        self._unsaid: dict[Hashable, int] = {}

    def others(self, key: Hashable, now: Instant) -> int | None:
        """How many were not told since the last that was, if this one is to be; else None, and it is counted."""
        last = self._last.get(key)
        if last is not None and now - last < self._seconds:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return None
        self._last[key] = now
        return self._unsaid.pop(key, 0)
