"""Who gets which connection: leases, idle ones, places kept for a race, and waiters.

A connection costs a round trip or three, so it is kept after an exchange and lent to the next
one. The naive pool is a list: pop one, or connect; append it afterwards. It fails in five ways.
Without a limit, a slow server is met with ever more connections. A limit that counts only what is
connected is passed by a race, which opens several at once. A request that waits for room is
overtaken by one that has just come. A connection that sat idle may be closed by its server in
the very moment of its reuse, and then a request that may not be resent is lost. And after a server
died, its other idle connections are handed out one by one, each to fail in its turn.

Ours: for each endpoint of a group, leased + idle + reserved never pass the limit, and a race
reserves a place on an endpoint before it connects there. Room that comes free goes to the first
waiter that can use it, in the same call, so there is never any for a newcomer to snatch. The most
recently used idle connection is lent first: few stay warm, the rest age out. A request may say how
long is too long an idle time for it. An endpoint proved dead moves on to its next generation: what
was idle there is closed, what is leased closes on release, and a report that was born in an older
generation changes nothing.

Groups are independent: no key ever takes room, or a connection, from another one.

The hot path is `lease` and `released`, once for each request, and spends elegance: `lease` returns
a plain id where the other events return actions, leased connections are counted by nobody (they
are what is used and neither idle nor reserved), and the idle limit costs one ordered dict.

Left out: whether a connection is still open (the driver asks the kernel before it hands one out),
a least number of warm connections, and a limit over all endpoints.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet

import msgspec

from haclient.types import Endpoint, Instant

__all__ = [
    "Action",
    "Close",
    "EndpointCounts",
    "Lease",
    "PoolSnapshot",
    "PoolState",
    "Reserve",
    "WakeAt",
]

MAX_CONNECTIONS = 256
"""For each endpoint: between the 100 that aiohttp and httpx allow a whole client and Envoy's 1024."""

IDLE_TIMEOUT = 15.0
"""Seconds. aiohttp's; httpx has 5, nginx 60, Go 90. It is to lie below the server's own limit."""


class Close(msgspec.Struct, frozen=True):
    """Close this connection at once. Its place is free already: nothing is to be reported back."""

    connection_id: int


class Lease(msgspec.Struct, frozen=True):
    """The waiter has this connection; it is leased."""

    waiter_id: int
    connection_id: int


class Reserve(msgspec.Struct, frozen=True):
    """The waiter may connect to this endpoint; a place is reserved."""

    waiter_id: int
    endpoint: Endpoint


class WakeAt(msgspec.Struct, frozen=True):
    """Call `woke` at this instant. One is under way at a time; an early or late call is harmless."""

    instant: Instant


Action = Close | Lease | Reserve | WakeAt


class EndpointCounts(msgspec.Struct, frozen=True):
    """How the places of one endpoint are taken."""

    key: Hashable
    endpoint: Endpoint
    leased: int
    idle: int
    reserved: int


class PoolSnapshot(msgspec.Struct, frozen=True):
    """The pool at one moment, for status, metrics and tests."""

    endpoints: tuple[EndpointCounts, ...]
    waiting: int
    is_draining: bool


class _Places(msgspec.Struct, eq=False):
    """One endpoint of one group. `used` is leased + idle + reserved."""

    endpoint: Endpoint
    used: int = 0
    reserved: int = 0
    generation: int = 0


class _Waiter(msgspec.Struct, eq=False):
    endpoints: tuple[Endpoint, ...]
    deadline: Instant


class _Group(msgspec.Struct, eq=False):
    """Everything under one key. `idle` is a stack: the most recently released is last."""

    key: Hashable
    places: dict[Endpoint, _Places] = msgspec.field(default_factory=dict)
    idle: list[_Connection] = msgspec.field(default_factory=list)
    waiters: OrderedDict[int, _Waiter] = msgspec.field(default_factory=OrderedDict)


class _Connection(msgspec.Struct, eq=False):
    """Leased, or idle since an instant. It begins leased: somebody connected because of a need."""

    id: int
    group: _Group
    places: _Places
    generation: int
    is_leased: bool = True
    idle_since: Instant = -math.inf


class PoolState:
    """The connections of one client, by opaque key and endpoint.

    A key says what may be shared: an origin, and whatever else must be equal for two requests to
    ride on one connection (TLS settings, a proxy).

    Args:
        max_connections: places for each endpoint of each key, at least 1.
        idle_timeout: seconds after which an idle connection is closed; 0 keeps none.

    Raises:
        ValueError: a limit is out of range.
    """

    def __init__(
        self, max_connections: int = MAX_CONNECTIONS, idle_timeout: float = IDLE_TIMEOUT
    ) -> None:
        if max_connections < 1 or not idle_timeout >= 0:
            raise ValueError("max_connections must be at least 1, idle_timeout at least 0")
        self._max_connections = max_connections
        self._idle_timeout = idle_timeout
        self._keeps_idle = idle_timeout > 0
        self._is_draining = False
        self._groups: dict[Hashable, _Group] = {}
        self._connections: dict[int, _Connection] = {}
        self._by_age: dict[int, _Connection] = {}
        """All idle ones, the longest idle first."""
        self._wake_at: Instant | None = None
        self.waiting = 0
        """How many wait, over all keys (read only)."""

    # The hot path

    def lease(
        self,
        key: Hashable,
        avoid: AbstractSet[Endpoint],
        now: Instant,
        max_idle: float | None = None,
    ) -> int | None:
        """Takes the most recently used idle connection that is not to an endpoint to `avoid`.

        One that has been idle for `max_idle` seconds is left for others: for a request that may
        not be resent, since a server may be closing it just now (RFC 9112, section 9.5).

        Returns:
            The id of a connection that is now leased, or None.
        """
        group = self._groups.get(key)
        if group is None or not group.idle:
            return None
        idle = group.idle
        connection = idle[-1]
        if avoid and connection.places.endpoint in avoid:
            others = [c for c in idle if c.places.endpoint not in avoid]
            if not others:
                return None
            connection = others[-1]
        limit = self._idle_timeout
        if max_idle is not None and max_idle < limit:
            limit = max_idle
        # All others that would do are older still. The sum is the one that `woke` compares, so
        # that rounding cannot set the two at odds.
        if connection.idle_since + limit <= now:
            return None
        if avoid:
            idle.remove(connection)
        else:
            idle.pop()
        del self._by_age[connection.id]
        connection.is_leased = True
        return connection.id

    def lease_at(
        self, key: Hashable, endpoint: Endpoint, now: Instant, max_idle: float | None = None
    ) -> int | None:
        """As `lease`, of the connections to one endpoint: for a request that has its own."""
        group = self._groups.get(key)
        if group is None or endpoint not in group.places:
            return None
        idle = group.idle
        at = len(idle) - 1
        while at >= 0 and idle[at].places.endpoint != endpoint:
            at -= 1
        limit = self._idle_timeout if max_idle is None else min(max_idle, self._idle_timeout)
        if at < 0 or idle[at].idle_since + limit <= now:
            return None
        connection = idle.pop(at)
        del self._by_age[connection.id]
        connection.is_leased = True
        return connection.id

    def released(self, connection_id: int, is_reusable: bool, now: Instant) -> tuple[Action, ...]:
        """An exchange is over; the connection is kept, goes to a waiter, or is closed.

        One that is gone already changes nothing. `is_reusable` says that the exchange ended clean
        and neither side wants to close (RFC 9112, section 9.3).

        Raises:
            RuntimeError: the connection is idle, so somebody releases it twice.
        """
        connection = self._connections.get(connection_id)
        if connection is None:
            return ()
        if not connection.is_leased:
            raise RuntimeError(f"connection {connection_id} is released, but nobody has it")
        group = connection.group
        if not is_reusable or connection.generation != connection.places.generation:
            return (Close(connection_id), *self._free(connection, now))
        if group.waiters:
            waiter_id = self._next_waiter(group, connection.places.endpoint, now)
            if waiter_id is not None:
                return (Lease(waiter_id, connection_id),)
        if not self._keeps_idle:
            return (Close(connection_id), *self._free(connection, now))
        connection.is_leased = False
        connection.idle_since = now
        group.idle.append(connection)
        self._by_age[connection_id] = connection
        if self._wake_at is not None:
            return ()
        self._wake_at = now + self._idle_timeout
        return (WakeAt(self._wake_at),)

    # A race for a new connection

    def reserve(self, key: Hashable, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Reserves a place on each endpoint below its limit. No waiter wants one, or it had it.

        Returns:
            Those endpoints, in the order given, each to be ended by one `opened` or `unreserve`.
        """
        group = self._groups.get(key) or _Group(key)
        granted = tuple(e for e in dict.fromkeys(endpoints) if self._has_room(group, e))
        for endpoint in granted:
            self._reserve(group, endpoint)
        return granted

    def unreserve(self, key: Hashable, endpoint: Endpoint, now: Instant) -> tuple[Action, ...]:
        """A racer failed or lost: its place is free, or the next waiter's.

        Raises:
            RuntimeError: no place is reserved there.
        """
        group, places = self._reserved(key, endpoint)
        places.reserved -= 1
        return self._give_back(group, places, now)

    def opened(self, connection_id: int, key: Hashable, endpoint: Endpoint) -> None:
        """A racer won: its place is now that of a leased connection.

        It belongs to the endpoint's present generation, for it is the latest evidence there is.

        Raises:
            RuntimeError: no place is reserved there, or the id is in use.
        """
        group, places = self._reserved(key, endpoint)
        if connection_id in self._connections:
            raise RuntimeError(f"there is a connection {connection_id} already")
        places.reserved -= 1
        self._connections[connection_id] = _Connection(
            connection_id, group, places, places.generation
        )

    # Waiters

    def wait(
        self,
        key: Hashable,
        waiter_id: int,
        endpoints: Iterable[Endpoint],
        now: Instant,
        deadline: Instant = math.inf,
    ) -> tuple[Action, ...]:
        """Queues a request for the next connection to, or place on, one of its endpoints.

        For after `lease` and `reserve` had nothing. If an endpoint is full only because of an
        idle connection that `lease` would not give (too old for this request), the longest idle
        is closed for its place, which the waiter has at once: it would else wait for the limit.

        `endpoints` is what the request may be sent to, the best first. From `deadline` on the
        waiter is passed over; it stays until `cancel_wait`. Ids are never used twice.

        Raises:
            ValueError: there are no endpoints, so the wait would never end.
        """
        wanted = tuple(dict.fromkeys(endpoints))
        if not wanted:
            raise ValueError("a waiter needs at least one endpoint to wait for")
        group = self._groups.get(key) or _Group(key)
        closing: tuple[Action, ...] = ()
        endpoint = next((e for e in wanted if self._has_room(group, e)), None)
        if endpoint is None:
            oldest = next((c for c in group.idle if c.places.endpoint in wanted), None)
            if oldest is None:
                group.waiters[waiter_id] = _Waiter(wanted, deadline)
                self.waiting += 1
                return ()
            self._forget(oldest)
            oldest.places.used -= 1
            closing = (Close(oldest.id),)
            endpoint = oldest.places.endpoint
        self._reserve(group, endpoint)
        return (*closing, Reserve(waiter_id, endpoint))

    def cancel_wait(self, key: Hashable, waiter_id: int) -> None:
        """The waiter went away. One that was served already is not known here, and nothing changes."""
        group = self._groups.get(key)
        if group is not None and group.waiters.pop(waiter_id, None) is not None:
            self.waiting -= 1
            self._drop_if_empty(group)

    # The ends of a connection

    def closed(self, connection_id: int, now: Instant) -> tuple[Action, ...]:
        """The driver closed a connection, leased or idle. One that is gone changes nothing."""
        connection = self._connections.get(connection_id)
        return () if connection is None else self._free(connection, now)

    def woke(self, now: Instant) -> tuple[Action, ...]:
        """Closes what has been idle too long. Before the instant of `WakeAt` it does nothing."""
        if self._wake_at is None or now < self._wake_at:
            return ()
        expired = []
        for connection in self._by_age.values():
            if connection.idle_since + self._idle_timeout > now:
                break
            expired.append(connection)
        closing = self._close_idle(expired)
        oldest = next(iter(self._by_age.values()), None)
        if oldest is None:
            self._wake_at = None
            return closing
        self._wake_at = oldest.idle_since + self._idle_timeout
        return (*closing, WakeAt(self._wake_at))

    def shed(self) -> tuple[Action, ...]:
        """Closes all that is idle, for somebody needs the descriptors; what is released later is kept."""
        return self._close_idle(list(self._by_age.values()))

    def retire_endpoint(
        self, key: Hashable, endpoint: Endpoint, proof: int | None = None
    ) -> tuple[Action, ...]:
        """An endpoint was proved dead: closes what is idle there now, what is leased on release.

        `proof` is the connection that showed it. If that is of an older generation, or gone, the
        news is old, and nothing changes: somebody may have connected again since.
        """
        group = self._groups.get(key)
        places = group.places.get(endpoint) if group is not None else None
        if group is None or places is None:
            return ()
        if proof is not None:
            witness = self._connections.get(proof)
            if witness is None or witness.places is not places:
                return ()
            if witness.generation != places.generation:
                return ()
        places.generation += 1
        return self._close_idle([c for c in group.idle if c.places is places])

    def drain(self) -> tuple[Action, ...]:
        """Closes what is idle; from now on a released connection goes to a waiter or is closed.

        What is outstanding goes on, with its retries: `reserve` and `wait` work as before.
        """
        self._is_draining = True
        self._keeps_idle = False
        return self._close_idle(list(self._by_age.values()))

    def endpoints(self, key: Hashable) -> tuple[Endpoint, ...]:
        """Where a group has places in use."""
        group = self._groups.get(key)
        return () if group is None else tuple(group.places)

    def snapshot(self) -> PoolSnapshot:
        """The counts of every endpoint in use. O(everything): not for each request."""
        counts = []
        for group in self._groups.values():
            for places in group.places.values():
                idle = sum(c.places is places for c in group.idle)
                leased = places.used - idle - places.reserved
                counts.append(
                    EndpointCounts(group.key, places.endpoint, leased, idle, places.reserved)
                )
        return PoolSnapshot(tuple(counts), self.waiting, self._is_draining)

    def __repr__(self) -> str:
        idle, known = len(self._by_age), len(self._connections)
        reserved = sum(p.reserved for g in self._groups.values() for p in g.places.values())
        draining = ", draining" if self._is_draining else ""
        return (
            f"<PoolState {known - idle} leased, {idle} idle, {reserved} reserved,"
            f" {self.waiting} waiting{draining}>"
        )

    # Places

    def _has_room(self, group: _Group, endpoint: Endpoint) -> bool:
        places = group.places.get(endpoint)
        return places is None or places.used < self._max_connections

    def _reserve(self, group: _Group, endpoint: Endpoint) -> None:
        self._groups[group.key] = group
        places = group.places.setdefault(endpoint, _Places(endpoint))
        places.used += 1
        places.reserved += 1

    def _reserved(self, key: Hashable, endpoint: Endpoint) -> tuple[_Group, _Places]:
        group = self._groups.get(key)
        places = group.places.get(endpoint) if group is not None else None
        if group is None or places is None or not places.reserved:
            raise RuntimeError(f"no place is reserved on {endpoint}")
        return group, places

    def _next_waiter(self, group: _Group, endpoint: Endpoint, now: Instant) -> int | None:
        """Takes the first waiter that can use this endpoint out of the queue."""
        for waiter_id, waiter in group.waiters.items():
            if endpoint in waiter.endpoints and now < waiter.deadline:
                del group.waiters[waiter_id]
                self.waiting -= 1
                return waiter_id
        return None

    def _give_back(self, group: _Group, places: _Places, now: Instant) -> tuple[Action, ...]:
        """Frees one place, for the first waiter that can use it."""
        waiter_id = self._next_waiter(group, places.endpoint, now)
        if waiter_id is not None:
            places.reserved += 1
            return (Reserve(waiter_id, places.endpoint),)
        self._vacate(group, places)
        return ()

    def _vacate(self, group: _Group, places: _Places) -> None:
        """Frees one place. What is empty is forgotten, so that memory follows what is in use."""
        places.used -= 1
        if not places.used:
            del group.places[places.endpoint]
            self._drop_if_empty(group)

    def _drop_if_empty(self, group: _Group) -> None:
        if not group.places and not group.waiters:
            del self._groups[group.key]

    def _free(self, connection: _Connection, now: Instant) -> tuple[Action, ...]:
        self._forget(connection)
        return self._give_back(connection.group, connection.places, now)

    def _close_idle(self, connections: list[_Connection]) -> tuple[Action, ...]:
        """Closes idle ones. Where one was idle no waiter waits, so nobody is owed its place."""
        for connection in connections:
            self._forget(connection)
            self._vacate(connection.group, connection.places)
        return tuple(Close(connection.id) for connection in connections)

    def _forget(self, connection: _Connection) -> None:
        del self._connections[connection.id]
        if not connection.is_leased:
            connection.group.idle.remove(connection)
            del self._by_age[connection.id]
