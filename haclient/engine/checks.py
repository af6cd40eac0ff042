"""Sends a target's health requests, and carries out what follows from them.

haclient.core.health_check decides, one machine for each address. Here is one task for the target, which
follows its addresses, and one for each of them, which asks, waits, asks again: so no health request ever
begins before the one before it has ended, and no more than `race_width` are under way at a time.

Only a target in use is asked: from its first connection on, until a minute after its last one was closed.
Then what was thought of its servers is forgotten, for nobody looks any more. A target without `health` has
none of this, and no task.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import assert_never

import msgspec
import trio

from haclient.core.health import counts_against
from haclient.core.health_check import Action, Clear, HealthCheck, Opinion, Result, Suspect
from haclient.engine.health_request import Told, ask_health
from haclient.engine.live import LiveTarget
from haclient.types import Endpoint, Instant, Origin

__all__ = ["Checked", "Checks"]

FOLLOW_EVERY = 1.0
"""Seconds between two looks at who is to be asked: addresses change no sooner (names: TTL 1 s at the least)."""

IN_USE_FOR = 60.0
"""Seconds after a target's last connection: longer than the pauses of a client that is still there."""

SAYS_WELL = frozenset({Result.OK, Result.REJECTED})


class Checked(msgspec.Struct, eq=False):
    """One address under health requests; `told` is the last one's result, None before the first."""

    origin: Origin
    endpoint: Endpoint
    check: HealthCheck
    scope: trio.CancelScope
    told: Told | None = None


class Checks:
    """The health requests of one target.

    Attributes:
        by_endpoint: whom they go to at present.
        counts: by result, since the target began.
    """

    def __init__(self, target: LiveTarget, counts: Counter[Result] | None = None) -> None:
        assert target.spec.health is not None
        self.by_endpoint: dict[Endpoint, Checked] = {}
        self.counts: Counter[Result] = Counter() if counts is None else counts
        self._target = target
        self._settings = target.spec.health
        self._scope = trio.CancelScope()
        self._room = trio.CapacityLimiter(target.spec.race_width)
        self._in_use_until = -math.inf

    def __repr__(self) -> str:
        return f"<Checks of {self._settings.path} at {len(self.by_endpoint)} addresses>"

    def start(self) -> None:
        """Begins to follow the target."""
        self._target.checks = self
        self._target.engine.nursery.start_soon(self._run)

    def stop(self) -> None:
        """Ends all of it at once; what was thought of the servers is forgotten."""
        self._scope.cancel()
        self._target.checks = None
        for one in list(self.by_endpoint.values()):
            self._forget(one)

    def heard(self, endpoint: Endpoint) -> None:
        """A request was answered there."""
        one = self.by_endpoint.get(endpoint)
        if one is not None:
            now = trio.current_time()
            self._carry_out(one, one.check.heard(now), now)

    # --- whom ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                while True:
                    self._follow(nursery, trio.current_time())
                    await trio.sleep(FOLLOW_EVERY)

    def _follow(self, nursery: trio.Nursery, now: Instant) -> None:
        if self._target.is_connected:
            self._in_use_until = now + IN_USE_FOR
        wanted = self._addresses() if now < self._in_use_until else {}
        for one in list(self.by_endpoint.values()):
            if one.endpoint not in wanted:
                one.scope.cancel()
                self._forget(one)
        for endpoint, origin in wanted.items():
            if endpoint not in self.by_endpoint:
                check = HealthCheck(self._settings, now, self._target.engine.chance())
                one = Checked(origin, endpoint, check, trio.CancelScope())
                self.by_endpoint[endpoint] = one
                nursery.start_soon(self._keep_asking, one)

    def _addresses(self) -> dict[Endpoint, Origin]:
        """Each once, for the first origin that is served there."""
        found: dict[Endpoint, Origin] = {}
        for origin, endpoints in self._target.addresses():
            for endpoint in endpoints:
                found.setdefault(endpoint, origin)
        return found

    def _forget(self, one: Checked) -> None:
        del self.by_endpoint[one.endpoint]
        self._target.unfit.pop(one.endpoint, None)
        self._target.engine.watch.clear_doubt(one.endpoint, trio.current_time())

    # --- one of them -----------------------------------------------------------------------------

    async def _keep_asking(self, one: Checked) -> None:
        with one.scope:
            while True:
                await trio.sleep_until(one.check.due_at)
                async with self._room:
                    await self._ask(one)

    async def _ask(self, one: Checked) -> None:
        health = self._target.engine.health
        generation = health.generation(one.endpoint)
        one.check.began(trio.current_time(), generation)
        told = await ask_health(self._target, one.origin, one.endpoint)
        if self.by_endpoint.get(one.endpoint) is not one:
            return  # forgotten in this very moment
        one.told, now = told, trio.current_time()
        self.counts[told.result] += 1
        if told.failure is not None and counts_against(told.failure):
            why = f"health request: {told.detail}"
            health.report_failure(one.endpoint, now, generation, why)
        actions = one.check.ended(told.result, now, self._target.engine.chance())
        if told.result in SAYS_WELL:
            report = health.report_success if one.check.is_well else health.report_connected
            report(one.endpoint, now, generation)
        self._carry_out(one, actions, now)

    def _carry_out(self, one: Checked, actions: Iterable[Action], now: Instant) -> None:
        endpoint, watch = one.endpoint, self._target.engine.watch
        if one.check.opinion is not Opinion.FIT:
            self._target.unfit[endpoint] = one.check.opinion
        elif self._target.unfit:
            self._target.unfit.pop(endpoint, None)
        for action in actions:
            match action:
                case Suspect(evidence, since):
                    watch.doubt(endpoint, now, evidence, since)
                case Clear():
                    watch.clear_doubt(endpoint, now)
                case _:
                    assert_never(action)
