"""From a target to a connection: the pool, then names, order and race, tier after tier.

A pooled connection serves at once and is the common case. Otherwise every address of the URLs is
a candidate; if none can be connected, every address of the backups is; and if all that is left are
addresses that this exchange has already met in trouble, those, last. Nothing has been sent yet, so
every request, whatever its method, may go through all of this.

A tier whose every address is held down is asked after the others. The naive order would cost each
request connect_timeout for as long as the first tier is down and says nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

import msgspec
import trio

from haclient import events
from haclient.core.balance import Candidate, arrange, connection_attempt_delay
from haclient.core.health import counts_against
from haclient.core.race import RaceSettings
from haclient.core.url import Url
from haclient.engine.live import LiveTarget
from haclient.errors import ForbiddenAddressError, QueueTimeoutError, ResolveError
from haclient.net import Resolution, Transport
from haclient.net.connection import Connection
from haclient.net.proxy_tunnel import open_tunnel
from haclient.net.racer import Opened, race
from haclient.net.tls import start_tls
from haclient.types import (
    ConnectFailure,
    ConnectionAttempt,
    Endpoint,
    Instant,
    Order,
    Origin,
    Phase,
)

__all__ = ["Reach"]


SHORT_OF_DESCRIPTORS_PAUSE = 0.05
"""Seconds between two races while there is no descriptor: a request elsewhere ends in less, mostly."""


class Reach(msgspec.Struct, eq=False):
    """The way to one connection, and what was met on it.

    After `connection()` returned None, `attempts` and `errors` say why.
    """

    target: LiveTarget
    attempt: int
    observe: events.Observer | None
    phase: Phase = Phase.RESOLVING
    resolved_at: Instant | None = None
    attempts: list[ConnectionAttempt] = msgspec.field(default_factory=list)
    errors: list[ResolveError] = msgspec.field(default_factory=list)
    put_off: list[list[Candidate]] = msgspec.field(default_factory=list)
    """Tiers whose addresses are held down: asked when nobody else can be connected."""
    former: list[Candidate] = msgspec.field(default_factory=list)
    """Addresses that left the answers a moment ago: better than nobody, for a name server may give a part
    of its list, another one each time."""
    queued_for: float = 0.0
    """Seconds, in all, in front of addresses at their limit."""
    drawn: Endpoint | None = None
    """Whose turn it is, where requests are spread: the first to be asked."""
    is_sticky: bool = False
    """Whether the candidates stand in one client's own order (haclient.engine.sticky)."""

    async def connection(
        self, avoid: set[Endpoint], *, max_idle: float | None = None, may_return: bool = True
    ) -> Connection | None:
        """Returns a connection, or None where no address of any tier could be connected.

        Args:
            avoid: addresses that this exchange has met in trouble.
            max_idle: as for Pool.try_lease.
            may_return: whether those are asked again where nobody else can be connected.

        Raises:
            QueueTimeoutError: addresses were at their limit for longer than queue_timeout.
        """
        standby = self.target.standby
        if standby is not None and self.attempt > 1:
            ready = standby.take(avoid)
            if ready is not None:
                return ready
        in_trouble: list[Candidate] = []
        for number, tier in enumerate(self.target.tiers):
            # Idle connections to the URLs were asked for before this.
            origins = [url.origin for url in tier]
            if number and (pooled := self._pooled(origins, avoid, max_idle)) is not None:
                return pooled
            for candidates in await self._candidates(tier):
                fresh = [one for one in candidates if one.endpoint not in avoid]
                in_trouble += [one for one in candidates if one.endpoint in avoid]
                if all(one.is_held_down for one in fresh):
                    self.put_off.append(fresh)
                elif (connection := await self.ask(fresh)) is not None:
                    return connection
        self.put_off.append([one for one in self.former if one.endpoint not in avoid])
        in_trouble += [one for one in self.former if one.endpoint in avoid]
        return await self.last_resort(in_trouble if may_return else [], avoid, max_idle)

    async def last_resort(
        self, in_trouble: list[Candidate], avoid: set[Endpoint], max_idle: float | None
    ) -> Connection | None:
        """Those who failed others a moment ago, and then those who failed this exchange."""
        for candidates in (*self.put_off, in_trouble):
            origins = dict.fromkeys(one.origin for one in candidates)
            connection = self._pooled(origins, avoid, max_idle)
            if connection is None and candidates:
                connection = await self.ask(candidates, is_last_resort=True)
            if connection is not None:
                return connection
        return None

    def _pooled(
        self, origins: Iterable[Origin], avoid: set[Endpoint], max_idle: float | None
    ) -> Connection | None:
        """An idle connection to one of these."""
        for origin in origins:
            connection = self.target.pool.try_lease(self.target.key(origin), avoid, max_idle)
            if connection is not None:
                return connection
        return None

    async def trial(self, *candidates: Candidate) -> Connection | None:
        """A new connection to one of these, if any has room and can be connected."""
        if any(one.origin.is_secure for one in candidates):
            self.target.tls_context()
        runners = self._with_room(list(candidates))
        return await self._race_among(runners) if runners else None

    def describe(self) -> str:
        """Of each address, how its last connect ended; and what became of names that gave none."""
        last = {one.endpoint: one.failure for one in self.attempts if one.failure is not None}
        told = [f"{endpoint} {failure.value}" for endpoint, failure in last.items()]
        return ", ".join([*told, *dict.fromkeys(map(str, self.errors))])

    @property
    def has_only_names_failed(self) -> bool:
        """Whether nobody was asked, for no name gave an address."""
        return bool(self.errors) and not self.attempts

    def silent_for(self, now: Instant) -> float | None:
        """Seconds since the first connect, where every address was silent; None where one was not."""
        if {one.failure for one in self.attempts} != {ConnectFailure.TIMED_OUT}:
            return None
        # Not since the attempt began: it may have queued for a place, and nobody was silent to it.
        return now - min(one.started_at for one in self.attempts)

    def refused(self) -> set[Endpoint]:
        """The addresses that could not be connected; asking them again at once is no use."""
        return {
            one.endpoint
            for one in self.attempts
            if one.failure is not None and counts_against(one.failure)
        }

    async def _candidates(self, tier: tuple[Url, ...]) -> list[list[Candidate]]:
        """Every address of every URL, in the order in which they are to be tried.

        The priorities of a service come one after another, the first one together with plain URLs.
        """
        found = await self.learn(tier)
        depth = max((len(answer.levels) for answer in found.values()), default=1)
        return [
            self._arranged(
                [
                    (origin, endpoint)
                    for origin, answer in ((url.origin, found.get(url.origin)) for url in tier)
                    if answer is not None and level < len(answer.levels)
                    for endpoint in answer.levels[level]
                ]
            )
            for level in range(depth)
        ]

    async def learn(self, tier: tuple[Url, ...]) -> dict[Origin, Resolution]:
        """Looks up the names of a tier; the target knows what they gave."""
        self.phase = Phase.RESOLVING
        found: dict[Origin, Resolution] = {}
        if len(tier) == 1:
            await self._resolve(tier[0].origin, found)
        else:
            async with trio.open_nursery() as nursery:
                for url in tier:
                    nursery.start_soon(self._resolve, url.origin, found)
        self.resolved_at = trio.current_time()
        return found

    def _arranged(self, pairs: list[tuple[Origin, Endpoint]]) -> list[Candidate]:
        target, now = self.target, trio.current_time()
        arranged = arrange(
            pairs,
            order=self._order(origin for origin, _ in pairs),
            is_held_down=lambda endpoint: target.is_held_down(endpoint, now),
            chance=target.engine.chance,
        )
        if self.drawn is not None:
            arranged.sort(key=lambda one: one.endpoint != self.drawn)
        return arranged

    def _order(self, origins: Iterable[Origin]) -> Order:
        """The target's; a service's own is drawn already, by weight, and a client's is its own."""
        if self.is_sticky:
            return Order.LISTED
        return Order.LISTED if any(one.is_service for one in origins) else self.target.spec.order

    async def _resolve(self, origin: Origin, found: dict[Origin, Resolution]) -> None:
        at = self.target.asked_at(origin)
        try:
            answer = await self.target.engine.resolver.resolve(at.host, at.port)
        except ResolveError as exc:
            self.target.know_nowhere(origin)
            self.errors.append(exc)
            return
        answer, why = self.target.admitted(origin, answer)
        if why and not answer.endpoints:
            self.target.known[origin] = ()
            self.errors.append(ForbiddenAddressError(why))
            return
        found[origin] = answer
        self.target.know(origin, answer)
        self.former += [Candidate(origin, endpoint) for endpoint in answer.former]
        if self.observe is not None:
            self.observe(
                events.NameResolved(
                    trio.current_time(),
                    self.attempt,
                    at.host,
                    answer.endpoints,
                    answer.source,
                    answer.ttl,
                )
            )

    async def ask(
        self, candidates: list[Candidate], *, is_last_resort: bool = False
    ) -> Connection | None:
        """Races among those that have room, then among those that had none, until all were asked."""
        if any(one.origin.is_secure for one in candidates):
            # Before anything is reserved: a file that cannot be used is not any address's fault.
            self.target.tls_context()
        # An origin may stand in two tiers, or twice in one; a place on it is reserved once.
        left = list({(one.origin, one.endpoint): one for one in candidates}.values())
        while left:
            runners = self._with_room(left)
            if not runners:
                self.phase = Phase.QUEUED
                granted = await self._wait_for_room(left)
                if isinstance(granted, Connection):
                    return granted
                runners = [granted]
                left_out = [one for one in left if one not in runners]
                if not is_last_resort and self._is_held_down(granted):
                    # Whoever had this place met its end there: no use to queue for the same.
                    self.target.pool.unreserve(self.target.key(granted.origin), granted.endpoint)
                    self.put_off.append(runners)
                    left = left_out
                    continue
            left = [one for one in left if one not in runners]
            if (connection := await self._race_as_often_as_needed(runners)) is not None:
                return connection
        return None

    def _is_held_down(self, one: Candidate) -> bool:
        target, now = self.target, trio.current_time()
        if self.is_sticky:
            return target.has_verdict(one.endpoint, now)
        return target.is_held_down(one.endpoint, now)

    async def _race_as_often_as_needed(self, runners: list[Candidate]) -> Connection | None:
        """One race; more of them, with one racer at a time, while this process is out of descriptors.

        What is idle in the pools is closed for it. Others end meanwhile and leave theirs.
        """
        until = trio.current_time() + self.target.spec.connect_timeout
        before = len(self.attempts)
        connection = await self._race_among(runners)
        while (
            connection is None
            and any(one.failure is ConnectFailure.NO_DESCRIPTOR for one in self.attempts[before:])
            and trio.current_time() < until
        ):
            self.target.engine.shed_idle()
            await trio.sleep(SHORT_OF_DESCRIPTORS_PAUSE)
            if again := self._with_room(runners):
                del self.attempts[before:]
                connection = await self._race_among(again, width=1)
        return connection

    async def _race_among(
        self, runners: list[Candidate], width: int | None = None
    ) -> Connection | None:
        """One race; a place is reserved on each of their addresses."""
        target, health = self.target, self.target.engine.health
        self.phase = Phase.CONNECTING
        generations = {one.endpoint: health.generation(one.endpoint) for one in runners}
        opened = None
        try:
            opened, attempts = await race(
                runners,
                self._settings(self._order(one.origin for one in runners), width),
                dialer=target.engine.dialer,
                establish=self.establish,
                needs_handshake=lambda origin: origin.is_secure,
                observe=self.observe,
                attempt=self.attempt,
            )
        finally:
            for one in runners:
                if opened is None or (one.origin, one.endpoint) != (opened.origin, opened.endpoint):
                    target.pool.unreserve(target.key(one.origin), one.endpoint)
        self.attempts += attempts
        now = trio.current_time()
        for tried in attempts:
            if tried.failure is not None and counts_against(tried.failure):
                health.report_failure(tried.endpoint, now, generations[tried.endpoint])
        return self._as_connection(opened) if opened is not None else None

    async def _wait_for_room(self, candidates: list[Candidate]) -> Candidate | Connection:
        """Waits its turn, for as long as the target allows in all."""
        began_at = trio.current_time()
        deadline = began_at + self.target.spec.queue_timeout - self.queued_for
        with trio.CancelScope(deadline=deadline):
            granted = await self._first_room(candidates, deadline)
            self.queued_for += trio.current_time() - began_at
            return granted
        spec = self.target.spec
        raise QueueTimeoutError(
            f"no connection to {', '.join(dict.fromkeys(str(one.origin) for one in candidates))} "
            f"became free within {spec.queue_timeout:g} s: {len(candidates)} addresses are at "
            f"their limit of {spec.max_connections} connections",
            remedy="Raise max_connections, or add servers",
        )

    async def _first_room(
        self, candidates: list[Candidate], deadline: Instant
    ) -> Candidate | Connection:
        """Waits until any address has room, or a connection to spare, whichever origin's it is."""
        pool, key = self.target.pool, self.target.key
        by_origin: dict[Origin, list[Candidate]] = {}
        for one in candidates:
            by_origin.setdefault(one.origin, []).append(one)
        got: list[Candidate | Connection] = []
        closed: list[trio.ClosedResourceError] = []

        async def wait(origin: Origin, ours: list[Candidate], scope: trio.CancelScope) -> None:
            endpoints = [one.endpoint for one in ours]
            try:
                granted = await pool.wait_for_room(key(origin), endpoints, deadline)
            except trio.ClosedResourceError as exc:
                closed.append(exc)
                return
            if isinstance(granted, Connection):
                got.append(granted)
            else:
                got.append(next(one for one in ours if one.endpoint == granted))
            scope.cancel()

        if len(by_origin) == 1:
            for origin, ours in by_origin.items():
                await wait(origin, ours, trio.CancelScope())
        else:
            try:
                async with trio.open_nursery() as nursery:
                    for origin, ours in by_origin.items():
                        nursery.start_soon(wait, origin, ours, nursery.cancel_scope)
            except BaseException:
                # The caller may be cancelled with something in hand already.
                self._give_back(got)
                raise
        if not got:
            raise closed[0]
        # Two at the same moment: the second one is for somebody else.
        self._give_back(got[1:])
        return got[0]

    def _give_back(self, spares: list[Candidate | Connection]) -> None:
        for spare in spares:
            if isinstance(spare, Connection):
                self.target.pool.release(spare, reusable=True)
            else:
                self.target.pool.unreserve(self.target.key(spare.origin), spare.endpoint)

    def _with_room(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those whose address is below its limit; a place is reserved on each."""
        by_origin: dict[Origin, list[Endpoint]] = {}
        for one in candidates:
            by_origin.setdefault(one.origin, []).append(one.endpoint)
        pool, key = self.target.pool, self.target.key
        reserved = {
            (origin, endpoint)
            for origin, endpoints in by_origin.items()
            for endpoint in pool.reserve(key(origin), endpoints)
        }
        return [one for one in candidates if (one.origin, one.endpoint) in reserved]

    def _as_connection(self, opened: Opened) -> Connection:
        connection = Connection(
            self.target.key(opened.origin),
            opened.origin,
            opened.transport,
            opened.stream,
            opened.connected_at,
            opened.usable_at,
        )
        connection.proxy = self.target.proxy
        self.target.pool.opened(connection.key, connection)
        return connection

    def _settings(self, order: Order, width: int | None) -> RaceSettings:
        spec = self.target.spec
        return RaceSettings(
            connection_attempt_delay=connection_attempt_delay(order, spec.connection_attempt_delay),
            width=width or spec.race_width,
            connect_timeout=spec.connect_timeout,
        )

    async def establish(self, transport: Transport, origin: Origin) -> trio.abc.Stream:
        """What makes a connected transport usable for https: TLS, perhaps through a tunnel."""
        if self.target.proxy is not None:
            await open_tunnel(transport, origin, self.target.proxy)
        context: ssl.SSLContext = self.target.tls_context()
        name = self.target.spec.tls.server_name or origin.name.partition("%")[0]
        return await start_tls(transport, context, name)
