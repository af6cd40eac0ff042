"""What all connections of a process share: the engine, the targets, and who is told of each exchange.

A gateway is RFC 9110's word (section 3.7) for a proxy that answers in a server's place.
"""

from __future__ import annotations

from collections.abc import Callable

from haclient.engine.live import Engine, LiveTarget
from haclient.engine.replay import ReplayLedger
from haclient.events import Observer
from haclient.proxy.record import ExchangeRecord, TurnedAway

__all__ = ["Gateway"]

IDLE_GRACE = 0.5
"""Seconds that a connection without a request has left once its door drains. A request that was on its
way when the drain began is still answered: a client on the same machine needs milliseconds."""


class Gateway:
    """One process's.

    Attributes:
        targets: by name; a reload replaces the dictionary, never what is in it.
        ledger: of the request content that is kept for resends.
        tell: called with each exchange that is over.
        tell_fault: called with an exception that nobody expected; it has ended one connection.
        tell_turned_away: called with whoever might not enter.
        observe: told each step of the engine's; None, the daemon's way, makes no event at all.
    """

    def __init__(
        self,
        engine: Engine,
        ledger: ReplayLedger,
        tell: Callable[[ExchangeRecord], None],
        tell_fault: Callable[[Exception], None],
    ) -> None:
        self.engine = engine
        self.ledger = ledger
        self.tell = tell
        self.tell_fault = tell_fault
        self.tell_turned_away: Callable[[TurnedAway], None] = ignore
        self.observe: Observer | None = None
        self.targets: dict[str, LiveTarget] = {}
        self.idle_grace = IDLE_GRACE


def ignore(turned_away: TurnedAway) -> None:
    """For whoever keeps no log."""
