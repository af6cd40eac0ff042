"""Which idle connection an attempt gets, and who is tried out where it is not the best one's.

The naive pool gives any request the connection that lies on top. That sends a POST on one which its server is
just closing, a client's request to another server than the one that has its session, and all requests of a
quiet hour to one of ten servers. So, of what is idle:

    a request of a client's (affinity)     to its own server alone              (haclient.engine.sticky)
    order = "shuffled"                     to whoever is drawn for this request
    any other                              the one used last, of the URLs in their order

none to a server in trouble, and for a request that may not be resent none that has been idle for long. Where
there is none, names are asked and addresses raced (haclient.engine.reach). Whoever was passed over though it is
the better one is tried out in the background (haclient.engine.trial).

The hot path: an idle connection costs no task, no scope and no timer.
"""

from __future__ import annotations

from collections.abc import Container

from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Request, Sticky
from haclient.engine.sticky import lease_own, try_out_home
from haclient.engine.trial import try_out_better
from haclient.net.connection import Connection
from haclient.types import Endpoint, Instant

__all__ = ["MAX_IDLE_NOT_RESENDABLE", "idle_connection", "max_idle_for", "try_out_passed_over"]

MAX_IDLE_NOT_RESENDABLE = 1.0
"""Seconds. A request that may not be resent rides only on a connection that was in use a moment
ago: servers close idle ones after 5 s (Node) to 75 s (nginx) and more, and a close that crosses
the request on the wire would leave it in doubt."""


class InTrouble:
    """The addresses that this exchange has met in trouble, and those that are to be asked last just now.

    Each is looked up when it is asked for: somewhere something is held down for much of a busy process's
    life, and a request needs to know of one or two addresses.
    """

    __slots__ = ("_now", "_target", "_tried")

    def __init__(self, target: LiveTarget, tried: set[Endpoint], now: Instant) -> None:
        self._target = target
        self._tried = tried
        self._now = now

    def __contains__(self, endpoint: object) -> bool:
        assert isinstance(endpoint, Endpoint)
        return endpoint in self._tried or self._target.is_held_down(endpoint, self._now)


def idle_connection(
    target: LiveTarget, request: Request, tried: set[Endpoint], now: Instant
) -> tuple[Connection | None, Endpoint | None]:
    """Returns an idle connection that will do, leased; and whose turn it is, where requests are spread.

    Args:
        target: who is asked.
        request: what is asked.
        tried: addresses that this exchange has met in trouble.
        now: this moment.
    """
    sticky, max_idle = request.known_client, max_idle_for(request)
    if sticky is not None:
        return lease_own(target, sticky, tried, max_idle), None
    avoid: Container[Endpoint] | None = tried or None
    if target.engine.health.has_entries or target.unfit:
        # Connections to a server in trouble stay in the pool until it is proved dead.
        avoid = InTrouble(target, tried, now)
    spread = target.spread
    drawn = spread.draw(avoid or (), target.engine.chance) if spread is not None else None
    if drawn is not None:
        key, endpoint = target.key(drawn.origin), drawn.endpoint
        return target.pool.try_lease(key, max_idle=max_idle, only=endpoint), endpoint
    for key in target.first_keys:
        connection = target.pool.try_lease(key, avoid, max_idle)
        if connection is not None:
            return connection, None
    return None, None


def max_idle_for(request: Request) -> float | None:
    """How long a connection may have been idle for this request; None is as long as any."""
    return None if request.facts.is_idempotent else MAX_IDLE_NOT_RESENDABLE


def try_out_passed_over(target: LiveTarget, sticky: Sticky | None, used: Connection) -> None:
    """Tries out whoever is better than the server of the connection in use, where one is due."""
    if sticky is not None:
        if sticky.is_displaced:
            try_out_home(target, sticky, used)
    elif target.is_ranked and used.key is not target.first_keys[0]:
        try_out_better(target, used)
