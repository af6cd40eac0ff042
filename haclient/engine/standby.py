"""A connection to another server, kept ready while a request waits for its answer.

A resend needs a connection first: a round trip, and for https another one or two. The race for the first
connection has a runner-up that could be kept for that; but there is a race only where the pool had nothing,
and in a daemon it mostly has. So the standby is not taken from a race: a request that is outstanding for 0.2 s
asks for one, and a connect to whoever would be asked next begins in the background. The first suspicion
comes 0.25 s later at the earliest, and mostly after 1.1 s; then it is ready, unless the way there is very long.
Whom a quick answer serves pays nothing, and connects nowhere.

It is not among the pool's idle connections, which the next requests would take: with `order = "listed"` it
leads to a server that is second choice. It stays for later requests as long as an idle connection does, and
costs no packet meanwhile. One for each target; none for requests that are never sent again, none with an
affinity, whose order is each client's own.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import trio

from haclient import events
from haclient.core.balance import Candidate
from haclient.engine.connecting import connect_to_one
from haclient.engine.live import LiveTarget
from haclient.net import Transport
from haclient.net.connection import Connection
from haclient.net.tls import TlsFileError
from haclient.net.watch import Outstanding
from haclient.types import Endpoint, Instant

__all__ = ["Standby"]

LOOK_EVERY = 1.0
"""Seconds between two looks at whether it is wanted still."""

WANTED_AFTER = 0.2
"""Seconds. No suspicion comes before FIRST_LOOK (0.45 s), so a connect and a handshake over a round trip of
100 ms are done in time; most requests are answered before, and start nothing."""

PAUSE = 5.0
"""Seconds without a further try where nobody could be connected: as long as a first hold."""


class Standby:
    """One target's.

    Attributes:
        connection: the one that is ready; None while there is none.
    """

    def __init__(self, target: LiveTarget) -> None:
        self.connection: Connection | None = None
        self._target = target
        self._wanted_by: set[Outstanding] = set()
        self._wanted_at = self._not_before = -math.inf
        self._scope: trio.CancelScope | None = None

    def __repr__(self) -> str:
        return f"<Standby {self.connection}>"

    def entry(
        self,
        transport: Transport,
        now: Instant,
        backstop: float,
        attempt: int,
        observe: events.Observer | None,
    ) -> Outstanding:
        """For the watch, of a request that may be sent again."""
        return _Waiting(self, transport, now, backstop, attempt, observe)

    def wanted(self, by: Outstanding, now: Instant) -> None:
        """A request has been outstanding for a while."""
        self._wanted_by.add(by)
        self._wanted_at = now
        if self._scope is None and now >= self._not_before:
            self._scope = trio.CancelScope()
            self._target.engine.nursery.start_soon(self._run, by.transport.endpoint, self._scope)

    def take(self, avoid: Collection[Endpoint]) -> Connection | None:
        """The connection, leased and the caller's now; None where there is none that would do."""
        connection = self.connection
        if connection is None or connection.endpoint in avoid or not self._is_fit(connection):
            return None
        self.connection = None
        self._end()
        return connection

    def stop(self) -> None:
        """Closes the connection, and makes none any more."""
        self._not_before = math.inf
        self._end()

    def _end(self) -> None:
        if self._scope is not None:
            self._scope.cancel()
            self._scope = None

    async def _run(self, beside: Endpoint, scope: trio.CancelScope) -> None:
        with scope:
            connection = await self._connect(beside)
            if connection is not None:
                await self._keep(connection)
            elif self._scope is scope:
                self._not_before = trio.current_time() + PAUSE
        if self._scope is scope:
            self._scope = None

    async def _keep(self, connection: Connection) -> None:
        """Until it is taken, or of no use."""
        connection.exchanges = 1  # for whoever has it it is one from the pool
        self.connection = connection
        try:
            # A look now and then: whoever closes it need not tell.
            while self._is_wanted(trio.current_time()) and self._is_fit(connection):  # noqa: ASYNC110
                await trio.sleep(LOOK_EVERY)
        finally:
            if self.connection is connection:
                self.connection = None
                connection.close()
                self._target.pool.release(connection, reusable=False)

    async def _connect(self, beside: Endpoint) -> Connection | None:
        """To whoever would be asked next: the first tier that has another one who is fit."""
        target, now = self._target, trio.current_time()
        for rank in target.ranks:
            others = [
                Candidate(origin, endpoint)
                for origin in dict.fromkeys(rank)
                for endpoint in target.known.get(origin, ())
                if endpoint != beside and not target.is_held_down(endpoint, now)
            ]
            try:
                connection = await connect_to_one(target, others) if others else None
            except TlsFileError:
                return None  # a request that needs the file says so
            if connection is not None:
                return connection
        return None

    def _is_wanted(self, now: Instant) -> bool:
        watch = self._target.engine.watch
        self._wanted_by = {one for one in self._wanted_by if one in watch}
        if self._wanted_by:
            self._wanted_at = now
        return now <= self._wanted_at + self._target.spec.pool_idle_timeout

    def _is_fit(self, connection: Connection) -> bool:
        is_held_down = self._target.is_held_down(connection.endpoint, trio.current_time())
        return connection.is_reusable_now() and not is_held_down


class _Waiting(Outstanding):
    """One that asks for a standby whenever it is looked at, which is once more than others are."""

    __slots__ = ("_first_look", "_standby")

    def __init__(
        self,
        standby: Standby,
        transport: Transport,
        now: Instant,
        backstop: float,
        attempt: int,
        observe: events.Observer | None,
    ) -> None:
        super().__init__(transport, now, backstop, attempt, observe)
        self._standby = standby
        self._first_look = self.look_at
        self.look_at = min(self.look_at, now + WANTED_AFTER)

    def look(self, now: Instant) -> None:
        self._standby.wanted(self, now)
        if now < self._first_look:
            self.look_at = self._first_look
        else:
            super().look(now)
