"""The way to a client's own server, and who stands in for it.

A request that belongs to a client is asked of the server that owns the client: on an idle connection to just
that one, or else on a new one, alone. The naive way, a race among all with the own server's name first,
would move a client each time that another server is quicker by a hair. Others are asked, in the client's own
order, where there is a verdict against the owner (it failed, and is held down), where it cannot be connected,
or where this very exchange has met it in trouble. Suspicion is no verdict.

Where the answer came from in the owner's place the client stays (haclient.core.owners), and the owner, while
it is held down, is tried out in the background, for the clients to come (haclient.engine.trial).
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from haclient.core.affinity import session_of
from haclient.core.balance import Candidate
from haclient.core.owners import Owners
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Sticky
from haclient.engine.reach import Reach
from haclient.engine.trial import try_out
from haclient.net.connection import Connection
from haclient.types import Endpoint, Fields

__all__ = ["StickyReach", "lease_own", "note_answer", "try_out_home"]


def lease_own(
    target: LiveTarget, sticky: Sticky, tried: set[Endpoint], max_idle: float | None
) -> Connection | None:
    """An idle connection to the client's owner; the common case."""
    owner = _owners(target).owner(_key(sticky))
    if owner is None or owner.endpoint in tried or sticky.wants_fresh:
        return None
    if _has_verdict(target, owner.endpoint):
        sticky.is_displaced = True
        return None
    key = target.key(owner.origin)
    return target.pool.try_lease(key, max_idle=max_idle, only=owner.endpoint)


def try_out_home(target: LiveTarget, sticky: Sticky, used: Connection) -> None:
    """Another server stands in: the one that all of the client's kind are waiting for is tried out."""
    home = _owners(target).home(_key(sticky))
    if home is not None and home.endpoint != used.endpoint and _has_verdict(target, home.endpoint):
        try_out(target, [home])


def note_answer(
    target: LiveTarget, sticky: Sticky, endpoint: Endpoint, fields: Fields = ()
) -> None:
    """Remembers where a client moved, and whose the session is that an answer with these fields begins."""
    owners = _owners(target)
    if sticky.key is not None:
        owner = owners.owner(sticky.key)
        is_displaced = sticky.is_displaced
        if owner is not None and owner.endpoint != endpoint:
            # It may have been overtaken while it was suspect: then the verdict is a moment old.
            is_displaced = is_displaced or _has_verdict(target, owner.endpoint)
        owners.answered(sticky.key, endpoint, is_displaced=is_displaced)
    session = session_of(target.spec.affinity, fields)
    if session is not None:
        owners.settle(session, endpoint)


class StickyReach:
    """To a connection for one client's request, where there is none to be had at once.

    Args:
        reach: of the attempt; it remembers what was met.
        sticky: whose the request is.
        avoid: addresses that the exchange has met in trouble.
        max_idle: as for Pool.try_lease.
    """

    def __init__(
        self, reach: Reach, sticky: Sticky, avoid: set[Endpoint], max_idle: float | None
    ) -> None:
        self._reach = reach
        self._target = reach.target
        self._sticky = sticky
        self._key = _key(sticky)
        self._owners = _owners(reach.target)
        self._avoid = avoid
        self._max_idle = 0.0 if sticky.wants_fresh else max_idle
        self._in_trouble: list[Candidate] = []
        self._asked: set[Endpoint] = set()
        reach.is_sticky = True

    def __repr__(self) -> str:
        return f"<StickyReach {self._reach!r}>"

    async def connection(self, *, may_return: bool) -> Connection | None:
        """As Reach.connection."""
        connection = await self._where_it_moved()
        for number, tier in enumerate(self._target.tiers):
            if connection is None:
                await self._reach.learn(tier)
                connection = await self._in_tier(number)
        if connection is not None:
            return connection
        in_trouble = self._in_trouble if may_return else []
        return await self._reach.last_resort(in_trouble, self._avoid, self._max_idle)

    async def _where_it_moved(self) -> Connection | None:
        moved = self._owners.moved_to(self._key)
        if moved is None:
            return None
        await self._reach.learn(self._target.tiers[moved[0]])
        moved = self._owners.moved_to(self._key)  # unless it left the answers just now
        return None if moved is None else await self._ask([moved[1]])

    async def _in_tier(self, number: int) -> Connection | None:
        for level in self._owners.in_order(self._key, number):
            # The owner alone; only if that failed those who stand in for it.
            for candidates in self._one_and_others(level):
                connection = await self._ask(candidates)
                if connection is not None:
                    return connection
        return None

    def _one_and_others(self, level: list[Candidate]) -> Iterator[list[Candidate]]:
        owner = self._owners.owner(self._key)
        own = [one for one in level if owner is not None and one.endpoint == owner.endpoint]
        yield own
        yield [one for one in level if one not in own]

    async def _ask(self, candidates: list[Candidate]) -> Connection | None:
        """Those who are fit, in their order; who is not is left for later."""
        unasked = [one for one in candidates if one.endpoint not in self._asked]
        self._asked.update(one.endpoint for one in unasked)
        fresh = [one for one in unasked if one.endpoint not in self._avoid]
        self._in_trouble += [one for one in unasked if one.endpoint in self._avoid]
        fit = [one for one in fresh if not _has_verdict(self._target, one.endpoint)]
        self._reach.put_off.append([one for one in fresh if one not in fit])
        connection = self._pooled(fit) or (await self._reach.ask(fit) if fit else None)
        self._note_displaced()
        return connection

    def _pooled(self, fit: list[Candidate]) -> Connection | None:
        """An idle connection to the first of them: the others only stand in for it."""
        if not fit:
            return None
        key = self._target.key(fit[0].origin)
        return self._target.pool.try_lease(key, max_idle=self._max_idle, only=fit[0].endpoint)

    def _note_displaced(self) -> None:
        owner = self._owners.owner(self._key)
        if owner is not None and _has_verdict(self._target, owner.endpoint):
            self._sticky.is_displaced = True


def _owners(target: LiveTarget) -> Owners:
    assert target.owners is not None
    return target.owners


def _key(sticky: Sticky) -> bytes:
    assert sticky.key is not None
    return sticky.key


def _has_verdict(target: LiveTarget, endpoint: Endpoint) -> bool:
    is_any = target.unfit or target.engine.health.has_entries
    return bool(is_any) and target.has_verdict(endpoint, trio.current_time())
