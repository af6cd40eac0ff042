"""One task at a time may send on a stream, plain or in TLS.

Two would mix their bytes in the middle of a message, and nobody would notice here. A lock would make the second
wait, and mix whole messages instead: that there are two is the mistake, and trio's contract for streams has it told.
"""

from __future__ import annotations

import trio

__all__ = ["OneAtATime"]


class OneAtATime:
    """Held by a task as long as it sends: the second is told so."""

    def __init__(self) -> None:
        self._is_held = False

    @property
    def is_held(self) -> bool:
        """Whether a task is sending."""
        return self._is_held

    def __enter__(self) -> None:
        if self._is_held:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._is_held = True

    def __exit__(self, *exc_info: object) -> None:
        self._is_held = False
