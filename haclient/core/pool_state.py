"""Who gets which connection: leased ones, idle ones, and those that are closed.

A connection costs a round trip or three, so it is kept after an exchange and lent to the next
one. The naive pool is a list: pop one, or connect; append it afterwards. It fails in three ways.
It knows no limit (that is haclient.core.places, on which this rests, and whose groups hold the idle
connections). A connection that sat idle may be closed by its server in the very moment of its reuse,
and then a request that may not be resent is lost. And after a server died, its other idle connections
are handed out one by one, each to fail in its turn.

Ours: the most recently used idle connection is lent first: few stay warm, the rest age out. A
request may say how long is too long an idle time for it. A connection that is released goes to the
first waiter that can use it. An endpoint proved dead moves on to its next generation: what was idle
there is closed, what is leased closes on release, and a report that was born in an older generation
changes nothing.

No key ever gets a connection of another one.

The hot path is `lease` and `released`, once for each request, and spends elegance: `lease` returns
a plain id where the other events return actions, leased connections are counted by nobody (they
are what is used and neither idle nor reserved), and the idle limit costs one ordered dict.

Left out: whether a connection is still open (the driver asks the kernel before it hands one out),
and a least number of warm connections.
"""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Iterable

import msgspec

from haclient.core.places import MAX_CONNECTIONS, Connection, EndpointCounts, Places, Reserve
from haclient.types import Endpoint, Instant

__all__ = [
    "IDLE_TIMEOUT",
    "Action",
    "Close",
    "Lease",
    "PoolSnapshot",
    "PoolState",
    "WakeAt",
]

IDLE_TIMEOUT = 15.0
"""Seconds. aiohttp's; httpx has 5, nginx 60, Go 90. It is to lie below the server's own limit."""


class Close(msgspec.Struct, frozen=True):
    """Close this connection at once. Its place is free already: nothing is to be reported back."""

    connection_id: int


class Lease(msgspec.Struct, frozen=True):
    """The waiter has this connection; it is leased."""

    waiter_id: int
    connection_id: int


class WakeAt(msgspec.Struct, frozen=True):
    """Call `woke` at this instant. One is under way at a time; an early or late call is harmless."""

    instant: Instant


Action = Close | Lease | Reserve | WakeAt


class PoolSnapshot(msgspec.Struct, frozen=True):
    """The pool at one moment, for status, metrics and tests."""

    endpoints: tuple[EndpointCounts, ...]
    waiting: int
    is_draining: bool


class PoolState:
    """The connections of one client, by opaque key and endpoint.

    `places` takes what comes before a connection is open: `reserve`, `unreserve`, `cancel_wait`.

    Args:
        max_connections: places for each endpoint of each key, at least 1.
        idle_timeout: seconds after which an idle connection is closed; 0 keeps none.

    Raises:
        ValueError: a limit is out of range.
    """

    def __init__(
        self, max_connections: int = MAX_CONNECTIONS, idle_timeout: float = IDLE_TIMEOUT
    ) -> None:
        if not idle_timeout >= 0:
            raise ValueError("idle_timeout must be at least 0")
        self.places = Places(max_connections)
        self._groups = self.places.groups
        self._idle_timeout = idle_timeout
        self._keeps_idle = idle_timeout > 0
        self._is_draining = False
        self._connections: dict[int, Connection] = {}
        self._by_age: dict[int, Connection] = {}
        """All idle ones, the longest idle first."""
        self._wake_at: Instant | None = None

    # The hot path

    def lease(
        self,
        key: Hashable,
        avoid: Container[Endpoint] | None,
        now: Instant,
        max_idle: float | None = None,
        only: Endpoint | None = None,
    ) -> int | None:
        """Takes the most recently used idle connection that is not to an endpoint to `avoid`.

        One that has been idle for `max_idle` seconds is left for others: for a request that may
        not be resent, since a server may be closing it just now (RFC 9112, section 9.5). With
        `only` it is one to that endpoint, whatever is to be avoided.

        Returns:
            The id of a connection that is now leased, or None.
        """
        group = self._groups.get(key)
        if group is None:
            return None
        idle = group.idle
        at = len(idle) - 1
        if only is not None:
            while at >= 0 and idle[at].places.endpoint != only:
                at -= 1
        elif avoid is not None:
            while at >= 0 and idle[at].places.endpoint in avoid:
                at -= 1
        limit = self._idle_timeout
        if max_idle is not None and max_idle < limit:
            limit = max_idle
        # All others that would do are older still. The sum is the one that `woke` compares, so
        # that rounding cannot set the two at odds.
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
            waiter_id = self.places.next_waiter(group, connection.places.endpoint, now)
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

    # New connections

    def opened(self, connection_id: int, key: Hashable, endpoint: Endpoint) -> None:
        """A racer won: its place is now that of a leased connection.

        It belongs to the endpoint's present generation, for it is the latest evidence there is.

        Raises:
            RuntimeError: no place is reserved there, or the id is in use.
        """
        if connection_id in self._connections:
            raise RuntimeError(f"there is a connection {connection_id} already")
        group, places = self.places.take(key, endpoint)
        self._connections[connection_id] = Connection(
            connection_id, group, places, places.generation
        )

    def wait(
        self,
        key: Hashable,
        waiter_id: int,
        endpoints: Iterable[Endpoint],
        deadline: Instant = math.inf,
    ) -> tuple[Action, ...]:
        """Queues a request for the next connection to, or place on, one of its endpoints.

        For after `lease` and `reserve` had nothing. If an endpoint is full only because of an
        idle connection that `lease` would not give (too old for this request), the longest idle
        is closed for its place, which the waiter has at once: it would else wait for the limit.

        `endpoints` is what the request may be sent to, the best first. From `deadline` on the
        waiter is passed over; it stays until `places.cancel_wait`. Ids are never used twice.

        Raises:
            ValueError: there are no endpoints, so the wait would never end.
        """
        wanted = tuple(dict.fromkeys(endpoints))
        closing = self._make_room(key, wanted)
        return (*closing, *self.places.wait(key, waiter_id, wanted, deadline))

    def _make_room(self, key: Hashable, wanted: tuple[Endpoint, ...]) -> tuple[Action, ...]:
        group = self._groups.get(key)
        if group is None or any(self.places.has_room(group, e) for e in wanted):
            return ()
        oldest = next((c for c in group.idle if c.places.endpoint in wanted), None)
        return () if oldest is None else self._close_idle([oldest])

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

    def snapshot(self) -> PoolSnapshot:
        """The counts of every endpoint in use. O(everything): not for each request."""
        return PoolSnapshot(self.places.counts(), self.places.waiting, self._is_draining)

    def __repr__(self) -> str:
        idle, known = len(self._by_age), len(self._connections)
        draining = ", draining" if self._is_draining else ""
        return (
            f"<PoolState {known - idle} leased, {idle} idle, {self.places.reserved} reserved,"
            f" {self.places.waiting} waiting{draining}>"
        )

    # The end of one

    def _free(self, connection: Connection, now: Instant) -> tuple[Action, ...]:
        self._forget(connection)
        return self.places.give_back(connection.group, connection.places, now)

    def _close_idle(self, connections: list[Connection]) -> tuple[Action, ...]:
        """Closes idle ones. Where one was idle no waiter waits, so nobody is owed its place."""
        for connection in connections:
            self._forget(connection)
            self.places.vacate(connection.group, connection.places)
        return tuple(Close(connection.id) for connection in connections)

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection.id]
        if not connection.is_leased:
            connection.group.idle.remove(connection)
            del self._by_age[connection.id]
