"""The way to a client's own server, and who stands in for it.

A request that belongs to a client is asked of the server that owns the client: on an idle connection to just
that one, or else on a new one, alone. The naive way, a race among all with the own server's name first,
would move a client each time that another server is quicker by a hair. Others are asked, in the client's own
order, where there is a verdict against the owner (it failed, and is held down), where it cannot be connected,
or where this very exchange has met it in trouble. Suspicion is no verdict: a server whose application is
silent is asked by its own clients all the same, and may be at work; the next health request that it leaves
unanswered gives their safe requests a second try elsewhere. Whoever has to move goes to who answers.

Where the answer came from in the owner's place the client stays (haclient.core.owners), and the owner, while
it is held down, is tried out in the background, for the clients to come (haclient.engine.trial).
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from haclient import events
from haclient.core.affinity import session_of
from haclient.core.balance import Candidate
from haclient.core.owners import Owners
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Sticky
from haclient.engine.reach import Reach
from haclient.engine.trial import try_out
from haclient.net.connection import Connection
from haclient.types import Endpoint, Fields, Instant, Order

__all__ = ["StickyReach", "lease_own", "note_answer", "reach_of", "try_out_home"]


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


def reach_of(
    target: LiveTarget,
    attempt: int,
    observe: events.Observer | None,
    sticky: Sticky | None,
    drawn: Endpoint | None = None,
) -> Reach:
    """The way to a connection for a request, whose client has its own server or not."""
    if sticky is not None:
        return StickyReach(target, attempt, observe, sticky)
    return Reach(target, attempt, observe, drawn=drawn)


class StickyReach(Reach):
    """To a connection for one client's request, where there is none to be had at once.

    Args:
        sticky: whose the request is.
        target, attempt, observe: as for Reach.
    """

    def __init__(
        self, target: LiveTarget, attempt: int, observe: events.Observer | None, sticky: Sticky
    ) -> None:
        super().__init__(target, attempt, observe, order=Order.LISTED)
        self._sticky = sticky
        self._key = _key(sticky)
        self._owners = _owners(target)
        self._avoid: set[Endpoint] = set()
        self._max_idle: float | None = None
        self._in_trouble: list[Candidate] = []
        self._asked: set[Endpoint] = set()

    async def connection(
        self, avoid: set[Endpoint], *, max_idle: float | None = None, may_return: bool = True
    ) -> Connection | None:
        """As Reach.connection, of the client's servers in its own order."""
        self._avoid = avoid
        self._max_idle = 0.0 if self._sticky.wants_fresh else max_idle
        connection = await self._where_it_moved()
        for number, tier in enumerate(self.target.tiers):
            if connection is None:
                await self.learn(tier)
                connection = await self._in_tier(number)
        if connection is not None:
            return connection
        in_trouble = self._in_trouble if may_return else []
        return await self.last_resort(in_trouble, self._avoid, self._max_idle)

    def _is_held_down(self, endpoint: Endpoint, now: Instant) -> bool:
        """Who stands in is passed over for its silence too; the client's own server for a verdict alone."""
        if endpoint in self.target.unfit and not self._is_own(endpoint):
            return True
        return self.target.has_verdict(endpoint, now)

    def _is_own(self, endpoint: Endpoint) -> bool:
        owner = self._owners.owner(self._key)
        return owner is not None and owner.endpoint == endpoint

    async def _where_it_moved(self) -> Connection | None:
        moved = self._owners.moved_to(self._key)
        if moved is None:
            return None
        await self.learn(self.target.tiers[moved[0]])
        moved = self._owners.moved_to(self._key)  # unless it left the answers just now
        return None if moved is None else await self._ask_fit([moved[1]])

    async def _in_tier(self, number: int) -> Connection | None:
        for level in self._owners.in_order(self._key, number):
            # The owner alone; only if that failed those who stand in for it.
            for candidates in self._one_and_others(level):
                connection = await self._ask_fit(candidates)
                if connection is not None:
                    return connection
        return None

    def _one_and_others(self, level: list[Candidate]) -> Iterator[list[Candidate]]:
        own = [one for one in level if self._is_own(one.endpoint)]
        yield own
        yield [one for one in level if one not in own]

    async def _ask_fit(self, candidates: list[Candidate]) -> Connection | None:
        """Those who are fit, in their order; who is not is left for later."""
        unasked = [one for one in candidates if one.endpoint not in self._asked]
        self._asked.update(one.endpoint for one in unasked)
        fresh = [one for one in unasked if one.endpoint not in self._avoid]
        self._in_trouble += [one for one in unasked if one.endpoint in self._avoid]
        now = trio.current_time()
        fit = [one for one in fresh if not self._is_held_down(one.endpoint, now)]
        self.put_off.append([one for one in fresh if one not in fit])
        connection = self._idle_to_first(fit) or (await self.ask(fit) if fit else None)
        self._note_displaced()
        return connection

    def _idle_to_first(self, fit: list[Candidate]) -> Connection | None:
        """An idle connection to the first of them: the others only stand in for it."""
        if not fit:
            return None
        key = self.target.key(fit[0].origin)
        return self.target.pool.try_lease(key, max_idle=self._max_idle, only=fit[0].endpoint)

    def _note_displaced(self) -> None:
        owner = self._owners.owner(self._key)
        if owner is not None and _has_verdict(self.target, owner.endpoint):
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
