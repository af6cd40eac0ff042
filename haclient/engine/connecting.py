"""From addresses to a connection: room at each, the race among those that have it, the queue for the others.

The naive race takes every address there is, and a server at its limit of connections is pushed past it by
whoever cannot have one of those that it has. Ours reserves a place on each address before it is asked, and gives
back those of the losers. Addresses without room are waited for, first come first served, once those that have
it could not be connected; a connection that somebody has done with serves as well as a place.

Whom to ask, and whom before whom, is haclient.engine.reach's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import trio

from haclient import events
from haclient.core.balance import Candidate, connection_attempt_delay, order_among
from haclient.core.health import counts_against
from haclient.core.met import Met
from haclient.core.race import RaceSettings
from haclient.engine.live import LiveTarget
from haclient.errors import QueueTimeoutError
from haclient.net import Transport
from haclient.net.connection import Connection
from haclient.net.proxy_tunnel import open_tunnel
from haclient.net.racer import Opened, race
from haclient.net.tls import start_tls
from haclient.types import ConnectFailure, Endpoint, Instant, Order, Origin, Phase

__all__ = ["Connecting", "connect_to_one", "establish"]

SHORT_OF_DESCRIPTORS_PAUSE = 0.05
"""Seconds between two races while there is no descriptor: a request elsewhere ends in less, mostly."""


async def connect_to_one(target: LiveTarget, candidates: list[Candidate]) -> Connection | None:
    """A new connection to one of these, if any has room and can be connected; on nobody's request."""
    return await Connecting(target, 0, None, Met(), target.spec.order).to_one_with_room(candidates)


async def establish(target: LiveTarget, transport: Transport, origin: Origin) -> trio.abc.Stream:
    """What makes a connected transport usable for https: TLS, perhaps through a tunnel."""
    if target.proxy is not None:
        await open_tunnel(transport, origin, target.proxy)
    name = target.spec.tls.server_name or origin.name.partition("%")[0]
    return await start_tls(transport, target.tls_context(), name)


class Connecting(msgspec.Struct, eq=False):
    """The connects of one attempt.

    Attributes:
        met: told of each.
        order: in which candidates stand.
        queued_for: seconds, in all, in front of addresses at their limit.
    """

    target: LiveTarget
    attempt: int
    observe: events.Observer | None
    met: Met
    order: Order
    queued_for: float = 0.0

    async def to_one_of(
        self, candidates: list[Candidate], is_put_off: Callable[[Candidate], bool] | None = None
    ) -> Connection | None:
        """Races among those that have room, then among those that had none, until all were asked.

        Args:
            candidates: in their order.
            is_put_off: of one that was waited for, whether it is not to be asked any more.

        Raises:
            QueueTimeoutError: addresses were at their limit for longer than queue_timeout.
        """
        self._load_trust(candidates)
        # An origin may stand in two tiers, or twice in one; a place on it is reserved once.
        left = list({(one.origin, one.endpoint): one for one in candidates}.values())
        while left:
            runners = self._with_room(left)
            if not runners:
                self.met.phase = Phase.QUEUED
                granted = await self._wait_for_room(left)
                if isinstance(granted, Connection):
                    return granted
                runners = [granted]
                if is_put_off is not None and is_put_off(granted):
                    # Whoever had this place met its end there: no use to queue for the same.
                    self._give_back([granted])
                    left = [one for one in left if one not in runners]
                    continue
            left = [one for one in left if one not in runners]
            if (connection := await self._race_as_often_as_needed(runners)) is not None:
                return connection
        return None

    async def to_one_with_room(self, candidates: list[Candidate]) -> Connection | None:
        """One race, without a wait for anybody."""
        self._load_trust(candidates)
        runners = self._with_room(candidates)
        return await self._race_among(runners) if runners else None

    def _load_trust(self, candidates: list[Candidate]) -> None:
        """Before anything is reserved: a file that cannot be used is not any address's fault."""
        if any(one.origin.is_secure for one in candidates):
            self.target.tls_context()

    async def _race_as_often_as_needed(self, runners: list[Candidate]) -> Connection | None:
        """One race; more of them, with one racer at a time, while this process is out of descriptors.

        What is idle in the pools is closed for it. Others end meanwhile and leave theirs.
        """
        until = trio.current_time() + self.target.spec.connect_timeout
        before = len(self.met.attempts)
        connection = await self._race_among(runners)
        while (
            connection is None
            and any(
                one.failure is ConnectFailure.NO_DESCRIPTOR for one in self.met.attempts[before:]
            )
            and trio.current_time() < until
        ):
            self.target.engine.shed_idle()
            await trio.sleep(SHORT_OF_DESCRIPTORS_PAUSE)
            if again := self._with_room(runners):
                del self.met.attempts[before:]
                connection = await self._race_among(again, width=1)
        return connection

    async def _race_among(
        self, runners: list[Candidate], width: int | None = None
    ) -> Connection | None:
        """One race; a place is reserved on each of their addresses."""
        target, health = self.target, self.target.engine.health
        self.met.phase = Phase.CONNECTING
        generations = {one.endpoint: health.generation(one.endpoint) for one in runners}
        opened = None
        try:
            opened, attempts = await race(
                runners,
                self._settings(runners, width),
                dialer=target.engine.dialer,
                establish=partial(establish, target),
                needs_handshake=lambda origin: origin.is_secure,
                observe=self.observe,
                attempt=self.attempt,
            )
        finally:
            for one in runners:
                if opened is None or (one.origin, one.endpoint) != (opened.origin, opened.endpoint):
                    target.pool.unreserve(target.key(one.origin), one.endpoint)
        self.met.attempts += attempts
        now = trio.current_time()
        for tried in attempts:
            if tried.failure is not None and counts_against(tried.failure):
                generation, why = generations[tried.endpoint], tried.failure.value
                health.report_failure(tried.endpoint, now, generation, why)
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

    def _settings(self, runners: list[Candidate], width: int | None) -> RaceSettings:
        spec = self.target.spec
        order = order_among((one.origin for one in runners), self.order)
        return RaceSettings(
            connection_attempt_delay=connection_attempt_delay(order, spec.connection_attempt_delay),
            width=width or spec.race_width,
            connect_timeout=spec.connect_timeout,
        )
