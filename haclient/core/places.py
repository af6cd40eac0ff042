"""How many connections an endpoint may have, and whose turn it is for the next one.

Without a limit, a slow server is met with ever more connections. The naive limit counts what is
connected. It is passed by a race, which opens several at once; and a request that waits for room is
overtaken by one that has just come.

Ours: for each endpoint of a group, leased + idle + reserved never pass the limit, and a race
reserves a place on an endpoint before it connects there. Room that comes free goes to the first
waiter that can use it, in the same call, so there is never any for a newcomer to snatch.

A group is what one key may share: an origin, and whatever else must be equal for two requests to
ride on one connection (TLS settings, a proxy). Groups are independent: no key ever takes room from
another one.

A connection that is opened keeps the place that was reserved for it, leased or idle, until it is
given back. Which connection that is, and when it ends, is for haclient.core.pool_state to say. Both work on
the same groups: places and waiters change here, and a group's idle connections, which are only counted here,
change there. A dict of its own for those would be one more look-up a request, and one more thing to forget.

Left out: a limit over all endpoints, and keeping a waiter's deadline: its caller cancels.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable

import msgspec

from haclient.types import Endpoint, Instant

__all__ = [
    "MAX_CONNECTIONS",
    "Connection",
    "EndpointCounts",
    "EndpointPlaces",
    "Group",
    "Places",
    "Reserve",
]

MAX_CONNECTIONS = 256
"""For each endpoint: between the 100 that aiohttp and httpx allow a whole client and Envoy's 1024."""


class Reserve(msgspec.Struct, frozen=True):
    """The waiter may connect to this endpoint; a place is reserved."""

    waiter_id: int
    endpoint: Endpoint


class EndpointCounts(msgspec.Struct, frozen=True):
    """How the places of one endpoint are taken."""

    key: Hashable
    endpoint: Endpoint
    leased: int
    idle: int
    reserved: int


class EndpointPlaces(msgspec.Struct, eq=False):
    """One endpoint of one group. `used` is leased + idle + reserved."""

    endpoint: Endpoint
    used: int = 0
    reserved: int = 0
    generation: int = 0


class _Waiter(msgspec.Struct, eq=False):
    endpoints: tuple[Endpoint, ...]
    deadline: Instant


class Group(msgspec.Struct, eq=False):
    """Everything under one key. `idle`, the pool state's own, is a stack: the most recently released is last."""

    key: Hashable
    places: dict[Endpoint, EndpointPlaces] = msgspec.field(default_factory=dict)
    idle: list[Connection] = msgspec.field(default_factory=list)
    waiters: OrderedDict[int, _Waiter] = msgspec.field(default_factory=OrderedDict)


class Connection(msgspec.Struct, eq=False):
    """Leased, or idle since an instant. It begins leased: somebody connected because of a need."""

    id: int
    group: Group
    places: EndpointPlaces
    generation: int
    is_leased: bool = True
    idle_since: Instant = -math.inf


class Places:
    """The places of every endpoint of every key, and who waits for one.

    Args:
        max_connections: places for each endpoint of each key, at least 1.

    Attributes:
        groups: by key, those in use: they come and go here alone.
        waiting: how many wait, over all keys (read only).

    Raises:
        ValueError: the limit is out of range.
    """

    __slots__ = ("_max_connections", "groups", "waiting")

    def __init__(self, max_connections: int = MAX_CONNECTIONS) -> None:
        if max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        self._max_connections = max_connections
        self.groups: dict[Hashable, Group] = {}
        self.waiting = 0

    def __repr__(self) -> str:
        return f"<Places {self.reserved} reserved, {self.waiting} waiting>"

    # A race for a new connection

    def reserve(self, key: Hashable, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Reserves a place on each endpoint below its limit. No waiter wants one, or it had it.

        Returns:
            Those endpoints, in the order given, each to be ended by one `take` or `unreserve`.
        """
        group = self.groups.get(key) or Group(key)
        granted = tuple(e for e in dict.fromkeys(endpoints) if self.has_room(group, e))
        for endpoint in granted:
            self._reserve(group, endpoint)
        return granted

    def unreserve(self, key: Hashable, endpoint: Endpoint, now: Instant) -> tuple[Reserve, ...]:
        """A racer failed or lost: its place is free, or the next waiter's.

        Raises:
            RuntimeError: no place is reserved there.
        """
        group, places = self.take(key, endpoint)
        return self.give_back(group, places, now)

    def take(self, key: Hashable, endpoint: Endpoint) -> tuple[Group, EndpointPlaces]:
        """A racer won: its place is a connection's now, and is given back by `give_back` or `vacate`.

        Raises:
            RuntimeError: no place is reserved there.
        """
        group = self.groups.get(key)
        places = group.places.get(endpoint) if group is not None else None
        if group is None or places is None or not places.reserved:
            raise RuntimeError(f"no place is reserved on {endpoint}")
        places.reserved -= 1
        return group, places

    def _reserve(self, group: Group, endpoint: Endpoint) -> None:
        self.groups[group.key] = group
        places = group.places.setdefault(endpoint, EndpointPlaces(endpoint))
        places.used += 1
        places.reserved += 1

    # Waiters

    def wait(
        self,
        key: Hashable,
        waiter_id: int,
        endpoints: tuple[Endpoint, ...],
        deadline: Instant = math.inf,
    ) -> tuple[Reserve, ...]:
        """Queues a request for the next place on, or connection to, one of its endpoints.

        Where there is room already it has that at once. The rest is said at `PoolState.wait`.

        Raises:
            ValueError: there are no endpoints, so the wait would never end.
        """
        if not endpoints:
            raise ValueError("a waiter needs at least one endpoint to wait for")
        group = self.groups.get(key) or Group(key)
        endpoint = next((e for e in endpoints if self.has_room(group, e)), None)
        if endpoint is None:
            group.waiters[waiter_id] = _Waiter(endpoints, deadline)
            self.waiting += 1
            return ()
        self._reserve(group, endpoint)
        return (Reserve(waiter_id, endpoint),)

    def cancel_wait(self, key: Hashable, waiter_id: int) -> None:
        """The waiter went away. One that was served already is not known here, and nothing changes."""
        group = self.groups.get(key)
        if group is not None and group.waiters.pop(waiter_id, None) is not None:
            self.waiting -= 1
            self._drop_if_empty(group)

    def next_waiter(self, group: Group, endpoint: Endpoint, now: Instant) -> int | None:
        """Takes the first waiter that can use this endpoint out of the queue."""
        for waiter_id, waiter in group.waiters.items():
            if endpoint in waiter.endpoints and now < waiter.deadline:
                del group.waiters[waiter_id]
                self.waiting -= 1
                return waiter_id
        return None

    # The end of a place

    def give_back(self, group: Group, places: EndpointPlaces, now: Instant) -> tuple[Reserve, ...]:
        """Frees one place, for the first waiter that can use it."""
        waiter_id = self.next_waiter(group, places.endpoint, now)
        if waiter_id is not None:
            places.reserved += 1
            return (Reserve(waiter_id, places.endpoint),)
        self.vacate(group, places)
        return ()

    def vacate(self, group: Group, places: EndpointPlaces) -> None:
        """Frees one place. What is empty is forgotten, so that memory follows what is in use."""
        places.used -= 1
        if not places.used:
            del group.places[places.endpoint]
            self._drop_if_empty(group)

    def _drop_if_empty(self, group: Group) -> None:
        if not group.places and not group.waiters:
            del self.groups[group.key]

    # How things stand

    def has_room(self, group: Group, endpoint: Endpoint) -> bool:
        """Whether the endpoint is below its limit."""
        places = group.places.get(endpoint)
        return places is None or places.used < self._max_connections

    def endpoints(self, key: Hashable) -> tuple[Endpoint, ...]:
        """Where a group has places in use."""
        group = self.groups.get(key)
        return () if group is None else tuple(group.places)

    @property
    def reserved(self) -> int:
        """Places reserved, over all keys."""
        return sum(p.reserved for g in self.groups.values() for p in g.places.values())

    def counts(self) -> tuple[EndpointCounts, ...]:
        """Of every endpoint in use. O(everything): not for each request."""
        counts = []
        for group in self.groups.values():
            for places in group.places.values():
                idle = sum(c.places is places for c in group.idle)
                leased = places.used - idle - places.reserved
                counts.append(
                    EndpointCounts(group.key, places.endpoint, leased, idle, places.reserved)
                )
        return tuple(counts)
