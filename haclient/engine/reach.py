"""Whom to ask for a connection, and whom only when nobody else can be had: names, tiers, what is put off.

Every address of the URLs is a candidate; if none can be connected, every address of the backups is; and if all
that is left are addresses that this exchange has already met in trouble, those, last. Nothing has been sent
yet, so every request, whatever its method, may go through all of this.

A tier whose every address is held down is asked after the others. The naive order would cost each
request connect_timeout for as long as the first tier is down and says nothing.

An idle connection to one of the URLs was asked for before this (haclient.engine.leasing); how those who are
asked are connected is in haclient.engine.connecting.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from haclient import events
from haclient.core.balance import Candidate, arrange, by_level, order_among
from haclient.core.met import Met
from haclient.core.url import Url
from haclient.engine.connecting import Connecting
from haclient.engine.live import LiveTarget
from haclient.errors import ForbiddenAddressError, ResolveError
from haclient.net import Resolution
from haclient.net.connection import Connection
from haclient.types import Endpoint, Instant, Order, Origin, Phase

__all__ = ["Reach"]


class Reach:
    """The way to one connection.

    Args:
        target: whose.
        attempt: the number of the attempt that it is for.
        observe: told of names and connects.
        drawn: whose turn it is, where requests are spread: the first to be asked.
        order: in which candidates are asked; the target's by default.

    Attributes:
        met: what was met on it; after `connection` returned None it says why.
        put_off: tiers whose addresses are held down: asked when nobody else can be connected.
        former: addresses that left the answers a moment ago: better than nobody, for a name server may
            give a part of its list, another one each time.
    """

    def __init__(
        self,
        target: LiveTarget,
        attempt: int,
        observe: events.Observer | None,
        *,
        drawn: Endpoint | None = None,
        order: Order | None = None,
    ) -> None:
        self.target = target
        self.met = Met()
        self.put_off: list[list[Candidate]] = []
        self.former: list[Candidate] = []
        self._attempt = attempt
        self._observe = observe
        self._drawn = drawn
        self._order = target.spec.order if order is None else order
        self._connecting = Connecting(target, attempt, observe, self.met, self._order)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of attempt {self._attempt}, {self.met.phase.value}>"

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
        if standby is not None and self._attempt > 1:
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
                connection = await self._connecting.to_one_of(candidates)
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

    async def ask(self, candidates: list[Candidate]) -> Connection | None:
        """A new connection to one of these; whoever meets trouble while it is waited for is put off."""
        return await self._connecting.to_one_of(candidates, self._is_put_off)

    def _is_put_off(self, one: Candidate) -> bool:
        is_put_off = self._is_held_down(one.endpoint, trio.current_time())
        if is_put_off:
            self.put_off.append([one])
        return is_put_off

    def _is_held_down(self, endpoint: Endpoint, now: Instant) -> bool:
        return self.target.is_held_down(endpoint, now)

    async def _candidates(self, tier: tuple[Url, ...]) -> list[list[Candidate]]:
        """Every address of every URL, level after level, in the order in which they are to be tried."""
        found = await self.learn(tier)
        levels = {origin: answer.levels for origin, answer in found.items()}
        return [self._arranged(pairs) for pairs in by_level([url.origin for url in tier], levels)]

    async def learn(self, tier: tuple[Url, ...]) -> dict[Origin, Resolution]:
        """Looks up the names of a tier; the target knows what they gave."""
        self.met.phase = Phase.RESOLVING
        found: dict[Origin, Resolution] = {}
        if len(tier) == 1:
            await self._resolve(tier[0].origin, found)
        else:
            async with trio.open_nursery() as nursery:
                for url in tier:
                    nursery.start_soon(self._resolve, url.origin, found)
        self.met.resolved_at = trio.current_time()
        return found

    def _arranged(self, pairs: list[tuple[Origin, Endpoint]]) -> list[Candidate]:
        now, engine = trio.current_time(), self.target.engine
        arranged = arrange(
            pairs,
            order=order_among((origin for origin, _ in pairs), self._order),
            is_held_down=lambda endpoint: self._is_held_down(endpoint, now),
            chance=engine.chance,
        )
        if self._drawn is not None:
            arranged.sort(key=lambda one: one.endpoint != self._drawn)
        return arranged

    async def _resolve(self, origin: Origin, found: dict[Origin, Resolution]) -> None:
        at = self.target.asked_at(origin)
        try:
            answer = await self.target.engine.resolver.resolve(at.host, at.port)
        except ResolveError as exc:
            self.target.know_nowhere(origin)
            self.met.errors.append(exc)
            return
        answer, why = self.target.admitted(origin, answer)
        if why and not answer.endpoints:
            self.target.know_nowhere(origin)
            self.met.errors.append(ForbiddenAddressError(why))
            return
        found[origin] = answer
        self.target.know(origin, answer)
        self.former += [Candidate(origin, endpoint) for endpoint in answer.former]
        if self._observe is not None:
            self._observe(
                events.NameResolved(
                    trio.current_time(),
                    self._attempt,
                    at.host,
                    answer.endpoints,
                    answer.source,
                    answer.ttl,
                )
            )
