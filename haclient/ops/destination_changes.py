"""Notices when an address of a forward listener's destination fails, and when it answers again.

A destination is a target that a client has named. To look at each of them as at the targets of the file
(haclient.ops.changes) would be work twice a second for 256 of them, and lines of the log at a client's will: with
`"*:443"` allowed he has a thousand addresses to name at which nobody listens.

Ours: who is well is not looked at. Only the addresses that the engine remembers a failure of (haclient.core.health),
and those told before, are looked for among the destinations; while there is none this costs nothing. Each change is
an event, whose readers are bounded anyway; of each listener the log has one line each ten seconds, with the
number of those that had none. Metrics have no label for a destination, for the same reason.

An address that a target has, too, is told of there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from haclient.core.health import EndpointHealth
from haclient.ops.book import Book
from haclient.ops.health_change import IN_TROUBLE, HealthChange, change_of
from haclient.ops.log import Log
from haclient.ops.seldom import Seldom
from haclient.ops.status_build import known_endpoints
from haclient.proxy.gateway import Gateway
from haclient.types import Endpoint, Instant

__all__ = ["DestinationChanges"]

ONE_EACH = 10.0
"""Seconds between two lines of one listener."""

MOST_NAMED = 4
"""Destinations in one line and one event: a hundred names may lead to one address."""

WELL = ("ok", "untried")

Users = Mapping[Endpoint, tuple[tuple[str, ...], tuple[str, ...]]]
"""The listeners and the destinations that have an address."""


class DestinationChanges:
    """Compares with the look before."""

    def __init__(self, book: Book, log: Log) -> None:
        self._book = book
        self._log = log
        self._seldom = Seldom(ONE_EACH)
        self._states: dict[Endpoint, str] = {}
        """Of those that are not well."""
        self._told: set[Endpoint] = set()
        """Those that the log has a line of."""

    def look(
        self,
        gateway: Gateway,
        found: Mapping[Endpoint, EndpointHealth],
        elsewhere: Collection[Endpoint],
        now: Instant,
    ) -> None:
        """Tells what differs.

        Args:
            gateway: whose destinations.
            found: what the engine remembers of addresses.
            elsewhere: addresses that targets have.
            now: this moment.
        """
        wanted = (found.keys() | self._states.keys()).difference(elsewhere)
        before, self._states = self._states, {}
        for endpoint, (listeners, destinations) in users_of(gateway, wanted).items():
            health = found.get(endpoint)
            was, state = before.get(endpoint, "ok"), self._book.known.state(endpoint, health)
            if state not in WELL:
                self._states[endpoint] = state
            if state in (was, "untried"):
                continue
            why = self._book.known.why(endpoint) if state in IN_TROUBLE else ""
            change = change_of(
                endpoint,
                (was, state),
                health,
                now,
                why,
                listeners=listeners,
                destinations=destinations,
            )
            self._book.feed.publish("health", change)
            self._write(endpoint, change, now)
        self._told &= self._states.keys()

    def _write(self, endpoint: Endpoint, change: HealthChange, now: Instant) -> None:
        where = {
            "address": change.address,
            "listeners": ",".join(change.listeners),
            "destinations": ",".join(change.destinations),
        }
        if change.state == "ok" and endpoint in self._told:
            self._log.info("an address answers again", **where)
        elif change.state in IN_TROUBLE and change.was not in IN_TROUBLE:
            others = self._seldom.others(change.listeners[0], now)
            if others is not None:
                self._told.add(endpoint)
                self._log.warning(
                    f"an address is {change.state}",
                    **where,
                    why=change.why or None,
                    held_for=change.held_for,
                    others=others or None,
                )


def users_of(gateway: Gateway, wanted: Collection[Endpoint]) -> Users:
    """Who has which of these addresses."""
    found: dict[Endpoint, tuple[dict[str, None], dict[str, None]]] = {}
    for name, live in gateway.destinations() if wanted else ():
        for _, origin, endpoint in known_endpoints(live):
            if endpoint in wanted:
                listeners, destinations = found.setdefault(endpoint, ({}, {}))
                listeners[name] = None
                if len(destinations) < MOST_NAMED:
                    destinations[str(origin)] = None
    return {endpoint: (tuple(names), tuple(texts)) for endpoint, (names, texts) in found.items()}
