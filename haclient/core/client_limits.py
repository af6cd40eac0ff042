"""What a client may keep us waiting for, and what a look at it now and then has to ask.

The naive answer is a timer for each wait. Here a connection only says what it waits for, and somebody comes
by four times a second: most looks ask nothing. What they may have to ask costs a call to the kernel (whether
a byte has moved, whether the client is still there), so they are asked for that alone, and only when it can
matter. One wait comes before the other: a limit that has passed is passed, whatever else is the matter; a
client whose turn it is may leave unnoticed for as long as bytes move, for the next one tells.

Left out: what becomes of the client (haclient.proxy.client_side), and how long each limit is (settings).
"""

from __future__ import annotations

import enum
import math

from haclient.types import Instant

__all__ = ["LEAVES_NOTICED_AFTER", "ClientLimits", "Look"]

LEAVES_NOTICED_AFTER = 0.25
"""Seconds. A request that is answered sooner costs no look at its client; a second is promised."""


class Look(enum.Enum):
    """What is to be done at a look, where it is anything."""

    EXPIRE = "the limit has passed"
    SEE_MOVEMENT = "it is the client's turn: see whether a byte has moved"
    SEE_GRACE = "nothing is asked, and the door drains: see whether its grace is over"
    SEE_CLIENT = "its request is with a server, or waits for others': see whether it is still there"
    SEND_AWAY = "its request waits for others', and the door drains"


class ClientLimits:
    """Of one connection.

    Attributes:
        deadline: when its limit passes; infinity while it has none.
    """

    __slots__ = ("_grace_until", "_moved", "_moved_at", "_turns", "deadline")

    def __init__(self) -> None:
        self.deadline: Instant = math.inf
        self._turns = 0
        self._moved = 0
        self._moved_at: Instant = 0.0
        self._grace_until: Instant = math.inf

    def __repr__(self) -> str:
        return f"<ClientLimits until {self.deadline:g}, {self._turns} turns of the client's>"

    def begin_turn(self, now: Instant) -> None:
        """From here on a byte must move now and then, for it is the client who is waited for."""
        self._turns += 1
        self._moved_at = now

    def end_turn(self) -> None:
        """It is somebody else's turn again, unless two waited for the client."""
        self._turns -= 1

    def look(
        self,
        now: Instant,
        asked_at: Instant | None,
        *,
        is_draining: bool,
        is_in_line: bool = False,
    ) -> Look | None:
        """What a look at this instant has to do; None, for most of them.

        Args:
            now: this instant.
            asked_at: when the request that is being served began; None between two.
            is_draining: its door takes no further requests.
            is_in_line: that request waits for its turn, and no server has been asked yet.
        """
        if now >= self.deadline:
            return Look.EXPIRE
        if self._turns:
            return Look.SEE_MOVEMENT
        if asked_at is None:
            return Look.SEE_GRACE if is_draining else None
        if is_in_line and is_draining:
            return Look.SEND_AWAY
        return Look.SEE_CLIENT if now - asked_at >= LEAVES_NOTICED_AFTER else None

    def has_stalled(self, now: Instant, moved: int, patience: float) -> bool:
        """Whether no byte has moved for so long; `moved`, all that ever did."""
        if moved != self._moved:
            self._moved, self._moved_at = moved, now
            return False
        return now - self._moved_at >= patience

    def is_grace_over(self, now: Instant, grace: float) -> bool:
        """Whether the door has drained for so long; counted from the first time this is asked."""
        if self._grace_until == math.inf:
            self._grace_until = now + grace
            return False
        return now >= self._grace_until
