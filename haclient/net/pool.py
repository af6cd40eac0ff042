"""Persistent connections, lent from one exchange to the next.

The naive driver of a pool is `async with pool.connection()`: a task switch, a scope and a lock on
the way of every request, and a `finally` that puts the connection back also when the exchange was
cancelled, so that the next request reads the answer to this one. Here a hit is one synchronous
call, `try_lease`, and the end another, `release`, which is told whether the exchange ended clean.
Anything else closes the connection, at once and always.

Nothing is decided in this file: `haclient.core.places` and `haclient.core.pool_state` say what to do.
What is done here is to ask the kernel, before a connection is lent again, whether it is still open and
quiet: a server may have closed it, or have sent what nobody asked for (RFC 9112, sections 9.2 and 9.5).

The hot path is `try_lease` and `release`; it makes no task, timer, scope or event. The idle limit
is kept by whoever comes by: a miss, a release, and `sweep`, which the shared watch calls.

Left out: noticing at once that a server closed an idle connection. It would take a system call or
a registration for each one; it is noticed at the next lease, or goes with the idle limit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Hashable, Iterable
from typing import Generic, Protocol, TypeVar, assert_never

import msgspec
import trio

from haclient.core.places import MAX_CONNECTIONS, Reserve
from haclient.core.pool_state import (
    IDLE_TIMEOUT,
    Action,
    Close,
    Lease,
    PoolSnapshot,
    PoolState,
    WakeAt,
)
from haclient.types import Endpoint, Instant

__all__ = ["Pool", "PooledConnection"]


class PooledConnection(Protocol):
    """What the pool needs of a connection. It is hashed by identity, for each release."""

    @property
    def endpoint(self) -> Endpoint:
        """Where it is connected to."""
        ...

    def is_reusable_now(self) -> bool:
        """Whether it is open, with no EOF, no reset and no stray byte; one system call."""
        ...

    def close(self) -> None:
        """Closes at once. Never raises; a second call does nothing."""
        ...


ConnectionT = TypeVar("ConnectionT", bound=PooledConnection)


class _Waiter(msgspec.Struct, Generic[ConnectionT], eq=False):
    key: Hashable
    event: trio.Event = msgspec.field(default_factory=trio.Event)
    granted: ConnectionT | Endpoint | None = None


class Pool(Generic[ConnectionT]):
    """The connections of one client.

    A request calls `try_lease`; on None `reserve`, and races to the endpoints that it got, ending
    each with `opened` or `unreserve`; if it got none, `wait_for_room`. Whatever connection it has
    had goes back by one `release`.

    Args:
        max_connections: for each endpoint of each key.
        idle_timeout: seconds after which an idle connection is closed; 0 keeps none.

    Raises:
        ValueError: a limit is out of range.
    """

    def __init__(
        self, max_connections: int = MAX_CONNECTIONS, idle_timeout: float = IDLE_TIMEOUT
    ) -> None:
        self._state = PoolState(max_connections, idle_timeout)
        self._places = self._state.places
        self._idle_timeout = idle_timeout
        self._connections: dict[int, ConnectionT] = {}
        self._ids: dict[ConnectionT, int] = {}
        self._waiters: dict[int, _Waiter[ConnectionT]] = {}
        self._numbers = itertools.count(1)
        self._wake_at = math.inf
        self._is_closed = False

    def __repr__(self) -> str:
        closed = "closed, " if self._is_closed else ""
        return f"<Pool {closed}{self._state!r}>"

    # The hot path

    def try_lease(
        self,
        key: Hashable,
        avoid: Container[Endpoint] | None = None,
        max_idle: float | None = None,
        only: Endpoint | None = None,
    ) -> ConnectionT | None:
        """Takes an idle connection that is still open and quiet, the most recently used first.

        Args:
            key: what may share a connection, an origin for one.
            avoid: endpoints that this request is not to be sent to; None, the common case, is nobody.
            max_idle: seconds; one that has been idle as long is left for others. For a request
                that may not be resent.
            only: the endpoint that the request is for, if it has its own.

        Returns:
            A connection that is the caller's until `release`, or None.
        """
        now = trio.current_time()
        state = self._state
        while (connection_id := state.lease(key, avoid, now, max_idle, only)) is not None:
            connection = self._connections[connection_id]
            if connection.is_reusable_now():
                return connection
            self._close(connection_id)
            self._run(state.closed(connection_id, now))
        if now >= self._wake_at:
            self.sweep(now)
        return None

    def release(self, connection: ConnectionT, reusable: bool) -> None:
        """Gives a connection back; no checkpoint.

        Args:
            connection: from `try_lease`, `wait_for_room`, or given to `opened`.
            reusable: whether the exchange ended clean: the request sent to its end, the response read
                to its end, neither side wanting to close (RFC 9112, section 9.3). False closes
                the connection, here and now; so does a cancelled or broken exchange.

        Raises:
            RuntimeError: it is idle: somebody released it before.
        """
        connection_id = self._ids.get(connection)
        if connection_id is None:
            connection.close()
            return
        now = trio.current_time()
        state = self._state
        if reusable and self._places.waiting:
            # It may be lent on within this very call, so it is asked now.
            reusable = connection.is_reusable_now()
        actions = state.released(connection_id, reusable, now)
        if actions:
            self._run(actions)
        if now >= self._wake_at:
            self.sweep(now)

    # New connections

    def reserve(self, key: Hashable, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Reserves one place on each endpoint that is below its limit.

        Returns:
            Those, in the order given; each is to be ended by one `opened` or `unreserve`. Empty:
            `wait_for_room`.
        """
        return () if self._is_closed else self._places.reserve(key, endpoints)

    def unreserve(self, key: Hashable, endpoint: Endpoint) -> None:
        """A racer failed or lost.

        Raises:
            RuntimeError: no place is reserved there.
        """
        self._run(self._places.unreserve(key, endpoint, trio.current_time()))

    def opened(self, key: Hashable, connection: ConnectionT) -> None:
        """A racer won: the connection takes the place reserved on its endpoint, and is leased.

        Raises:
            RuntimeError: no place is reserved there. The connection is not the pool's then.
        """
        connection_id = next(self._numbers)
        self._state.opened(connection_id, key, connection.endpoint)
        self._connections[connection_id] = connection
        self._ids[connection] = connection_id
        if self._is_closed:
            self.release(connection, reusable=False)

    async def wait_for_room(
        self, key: Hashable, endpoints: Iterable[Endpoint], deadline: Instant = math.inf
    ) -> ConnectionT | Endpoint:
        """Waits, first come first served, until one of the endpoints has something to give.

        Nothing here keeps the deadline: the caller cancels. If it is cancelled with something in
        hand, that goes to the next waiter.

        Args:
            key: as in `try_lease`.
            endpoints: what the request may be sent to, the best first; at least one.
            deadline: from then on the request is passed over, for it would not use what it got.

        Returns:
            A connection, the caller's until `release`; or an endpoint with a place reserved on it.

        Raises:
            trio.ClosedResourceError: the pool is closed.
            ValueError: there are no endpoints.
        """
        if self._is_closed:
            raise trio.ClosedResourceError("the pool is closed")
        waiter_id = next(self._numbers)
        waiter: _Waiter[ConnectionT] = _Waiter(key)
        actions = self._state.wait(key, waiter_id, endpoints, deadline)
        self._waiters[waiter_id] = waiter
        self._run(actions)
        try:
            await waiter.event.wait()
        except BaseException:
            self._abandon(waiter_id, waiter)
            raise
        if waiter.granted is None:
            raise trio.ClosedResourceError("the pool was closed meanwhile")
        return waiter.granted

    def _abandon(self, waiter_id: int, waiter: _Waiter[ConnectionT]) -> None:
        """A waiter was cancelled: perhaps after it was served, and before it could run."""
        granted = waiter.granted
        if granted is None:
            self._waiters.pop(waiter_id, None)
            self._places.cancel_wait(waiter.key, waiter_id)
        elif isinstance(granted, Endpoint):
            self.unreserve(waiter.key, granted)
        else:
            # Trio cancels no task that was woken already; an interrupt may still come between.
            # Nothing was sent on the connection, so it is as clean as it came.
            self.release(granted, reusable=True)

    # Maintenance

    def sweep(self, now: Instant) -> Instant:
        """Closes what has been idle too long.

        Returns:
            The instant of the next call. What is released until then expires no earlier, so one
            caller that keeps to it misses nothing; `math.inf` where nothing is ever kept idle.
        """
        if now >= self._wake_at:
            self._wake_at = math.inf
            self._run(self._state.woke(now))
        return min(self._wake_at, now + (self._idle_timeout or math.inf))

    def retire_endpoint(
        self, key: Hashable, endpoint: Endpoint, proof: ConnectionT | None = None
    ) -> None:
        """An endpoint was proved dead: closes its idle connections now, leased ones on release.

        Args:
            key: the group.
            endpoint: the one that is dead.
            proof: the connection that showed it, before it is released. News from a connection
                older than the last retirement, or gone, change nothing.
        """
        if proof is None:
            self._run(self._state.retire_endpoint(key, endpoint))
        elif proof in self._ids:
            self._run(self._state.retire_endpoint(key, endpoint, self._ids[proof]))

    @property
    def has_connections(self) -> bool:
        """Whether there is any, leased or idle."""
        return bool(self._connections)

    def endpoints(self, key: Hashable) -> tuple[Endpoint, ...]:
        """Where a group has connections, or is about to."""
        return self._places.endpoints(key)

    def shed(self) -> None:
        """Closes what is idle now: somebody needs the descriptors more."""
        self._run(self._state.shed())

    def drain(self) -> None:
        """Closes what is idle; from now on nothing is kept. What is outstanding goes on."""
        self._run(self._state.drain())

    def close_all(self) -> None:
        """Closes every connection, leased or not; whoever waits gets trio.ClosedResourceError."""
        self._is_closed = True
        waiters, self._waiters = self._waiters, {}
        for waiter_id, waiter in waiters.items():
            self._places.cancel_wait(waiter.key, waiter_id)
            waiter.event.set()
        self.drain()
        now = trio.current_time()
        for connection_id in tuple(self._connections):
            self._close(connection_id)
            self._run(self._state.closed(connection_id, now))

    def snapshot(self) -> PoolSnapshot:
        """The counts of every endpoint in use, for status and metrics."""
        return self._state.snapshot()

    # Actions

    def _run(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Close(connection_id):
                    self._close(connection_id)
                case Lease(waiter_id, connection_id):
                    self._grant(waiter_id, self._connections[connection_id])
                case Reserve(waiter_id, endpoint):
                    self._grant(waiter_id, endpoint)
                case WakeAt(instant):
                    self._wake_at = instant
                case _:
                    assert_never(action)

    def _grant(self, waiter_id: int, granted: ConnectionT | Endpoint) -> None:
        waiter = self._waiters.pop(waiter_id)
        waiter.granted = granted
        waiter.event.set()

    def _close(self, connection_id: int) -> None:
        connection = self._connections.pop(connection_id)
        del self._ids[connection]
        connection.close()
