"""What all connections of a process share: the engine, the targets, and who is told of each exchange.

A gateway is RFC 9110's word (section 3.7) for a proxy that answers in a server's place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from haclient.core.config import Config, ListenerSettings
from haclient.core.spec import Target
from haclient.engine.live import Engine, LiveTarget
from haclient.engine.replay import ReplayLedger
from haclient.events import Observer
from haclient.net.parking import Parking
from haclient.net.pipes import Pipes
from haclient.proxy.destinations import Destinations
from haclient.proxy.door import Door
from haclient.proxy.record import ExchangeRecord, Reason, TurnedAway
from haclient.types import Endpoint

__all__ = ["Gateway"]

IDLE_GRACE = 0.5
"""Seconds that a connection without a request has left once its door drains. A request that was on its
way when the drain began is still answered: a client on the same machine needs milliseconds."""


class Gateway:
    """One process's.

    Attributes:
        targets: by name; a reload replaces the dictionary, never what is in it.
        defaults: for destinations of forward listeners, which no target names.
        ledger: of the request content that is kept for resends.
        parking: where tunnels rest.
        pipes: for what they have to move in bulk.
        tell: called with each exchange that is over.
        tell_fault: called with an exception that nobody expected; it has ended one connection.
        tell_turned_away: called with whoever might not enter.
        tell_full: called with a door where clients wait for a place from now on, and why.
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
        self.parking = Parking(engine.nursery)
        self.pipes = Pipes()
        self.tell = tell
        self.tell_fault = tell_fault
        self.tell_turned_away: Callable[[TurnedAway], None] = ignore
        self.tell_full: Callable[[Door, str], None] = ignore
        self.observe: Observer | None = None
        self.targets: dict[str, LiveTarget] = {}
        self.defaults: Target = Config(targets={}).defaults
        self.idle_grace = IDLE_GRACE
        self._destinations: dict[str, Destinations] = {}

    def destinations_of(self, settings: ListenerSettings) -> Destinations:
        """Those of a forward listener; new ones where a reload has changed what they go by."""
        found = self._destinations.get(settings.name)
        if found is not None and found.allow is settings.allow and found.defaults is self.defaults:
            return found
        if found is None or (found.allow, found.defaults) != (settings.allow, self.defaults):
            found = Destinations(self.engine, self.defaults, settings.allow)
            self._destinations[settings.name] = found
        found.allow, found.defaults = settings.allow, self.defaults
        return found

    def destinations(self) -> Iterator[tuple[str, LiveTarget]]:
        """Whom forward listeners were asked for lately, each with its listener's name."""
        for name, each in self._destinations.items():
            for live in each:
                yield name, live

    def addresses_of_targets(self) -> set[Endpoint]:
        """All that are known of the targets that are configured."""
        return {
            endpoint
            for live in self.targets.values()
            for endpoints in live.known.values()
            for endpoint in endpoints
        }

    def note_turned_away(
        self, door: Door, client: str, reason: Reason, detail: str, request_id: str = ""
    ) -> None:
        """Counts and tells that somebody might not enter."""
        door.turned_away[reason.value] += 1
        self.tell_turned_away(
            TurnedAway(
                listener=door.settings.name,
                client=client,
                reason=reason,
                detail=detail,
                request_id=request_id,
            )
        )

    def forget_other_destinations(self, listeners: Collection[str]) -> None:
        """Drops those of listeners that are no more."""
        kept = {name: each for name, each in self._destinations.items() if name in listeners}
        self._destinations = kept


def ignore(*what: object) -> None:
    """For whoever keeps no log."""
