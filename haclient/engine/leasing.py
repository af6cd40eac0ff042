"""Which connection an attempt gets: an idle one that will do, or a new one.

The naive pool gives any request the connection that lies on top. That sends a POST on one which its server is
just closing, a client's request to another server than the one that has its session, and all requests of a
quiet hour to one of ten servers. So, of what is idle:

    a request of a client's (affinity)     to its own server alone              (haclient.engine.sticky)
    order = "shuffled"                     to whoever is drawn for this request
    any other                              the one used last, of the URLs in their order

none to a server in trouble, and for a request that may not be resent none that has been idle for long. Where
there is none, names are asked and addresses raced (haclient.engine.reach), and whoever was passed over though
it is the better one is tried out in the background (haclient.engine.trial).

The hot path: an idle connection costs no task, no scope and no timer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haclient import events
from haclient.engine.live import LiveTarget, PoolKey
from haclient.engine.outcome import Sticky
from haclient.engine.reach import Reach
from haclient.engine.sticky import StickyReach, lease_own, try_out_home
from haclient.engine.trial import try_out_better
from haclient.net.connection import Connection
from haclient.types import Endpoint

if TYPE_CHECKING:
    from haclient.engine.attempt import Attempt

__all__ = ["MAX_IDLE_NOT_RESENDABLE", "lease"]

MAX_IDLE_NOT_RESENDABLE = 1.0
"""Seconds. A request that may not be resent rides only on a connection that was in use a moment
ago: servers close idle ones after 5 s (Node) to 75 s (nginx) and more, and a close that crosses
the request on the wire would leave it in doubt."""


async def lease(attempt: Attempt, observe: events.Observer | None) -> Connection | None:
    """Returns a connection, the attempt's to release, or None where nobody could be connected.

    `attempt.reach` says what was met, where no idle connection would do.

    Raises:
        QueueTimeoutError: addresses were at their limit for longer than queue_timeout.
    """
    target, request = attempt.target, attempt.request
    max_idle = None if request.facts.is_idempotent else MAX_IDLE_NOT_RESENDABLE
    sticky, drawn = request.sticky, None
    if sticky is not None and sticky.key is None:
        sticky = None  # it bears nothing to know its client by
    if sticky is not None:
        connection = lease_own(target, sticky, attempt.tried, max_idle)
    else:
        avoid = attempt.tried
        if target.engine.health.has_entries or target.unfit:
            # Connections to a server in trouble stay in the pool until it is proved dead.
            avoid = avoid | target.in_trouble(attempt.started_at)
        drawn = target.draw(avoid) if target.places else None
        connection = _idle(target, drawn, avoid, max_idle)
    if connection is None:
        attempt.reach = Reach(target, attempt.number, observe, drawn=drawn and drawn[1])
        connection = await _reached(attempt, attempt.reach, sticky, max_idle)
        attempt.tried.update(attempt.reach.refused())
    if connection is not None:
        _try_out_who_was_passed_over(target, sticky, connection)
    return connection


def _idle(
    target: LiveTarget,
    drawn: tuple[PoolKey, Endpoint] | None,
    avoid: set[Endpoint],
    max_idle: float | None,
) -> Connection | None:
    if drawn is not None:
        key, endpoint = drawn
        return target.pool.try_lease(key, max_idle=max_idle, only=endpoint)
    for key in target.first_keys:
        connection = target.pool.try_lease(key, avoid, max_idle)
        if connection is not None:
            return connection
    return None


async def _reached(
    attempt: Attempt, reach: Reach, sticky: Sticky | None, max_idle: float | None
) -> Connection | None:
    may_return = attempt.may_return
    if sticky is None:
        return await reach.connection(attempt.tried, max_idle=max_idle, may_return=may_return)
    way = StickyReach(reach, sticky, attempt.tried, max_idle)
    return await way.connection(may_return=may_return)


def _try_out_who_was_passed_over(
    target: LiveTarget, sticky: Sticky | None, used: Connection
) -> None:
    if sticky is not None:
        if sticky.is_displaced:
            try_out_home(target, sticky, used)
    elif target.is_ranked and used.key is not target.first_keys[0]:
        try_out_better(target, used)
