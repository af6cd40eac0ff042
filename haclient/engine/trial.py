"""Tries a better server out that is out of use, on nobody's request.

While a request can have a connection to a server that works, nobody connects to another one. So a
server that failed and came back would stay idle for as long as there is traffic, although its URL
stands first (`order = "listed"`) or those in use are only backups. The naive remedy, to send a request
there once the hold is over (haclient.core.health), makes that request pay if it is not back: the
connect time-out, or its life if it is a POST.

Ours: whoever gets a connection to a server while a better one is not used starts a connect to that,
in the background, once a second for each address and not more. If it succeeds, the hold ends and the
connection lies in the pool, where the next request finds it first; if it fails, the hold goes on, so
that a dead server costs no request anything. A server that accepts connections and fails requests is
tried ever less often: a fifth of its hold, which doubles each time, lies between two trials.
A connection to a tcp:// server is closed again at once: it was made to see, and nobody can use it later.

Left out: trials without traffic, for then the next request races anyway.
"""

from __future__ import annotations

from collections.abc import Iterator

import trio

from haclient.core.balance import Candidate
from haclient.core.health import hold_after
from haclient.engine.live import LiveTarget
from haclient.engine.reach import Reach
from haclient.net.connection import Connection
from haclient.net.tls import TlsFileError
from haclient.types import Order

__all__ = ["try_out_better"]

SHARE_OF_HOLD = 0.2
"""Of a hold, between two trials: a second for the first one, twelve for the longest."""


def try_out_better(target: LiveTarget, used: Connection) -> None:
    """Starts a trial of each address that ranks before the one in use, where one is due."""
    engine, now = target.engine, trio.current_time()
    for one in better(target, used):
        due_at = target.trials_due.get(one.endpoint)
        if due_at is None or now >= due_at:
            hold = hold_after(max(1, engine.health.failures(one.endpoint)))
            target.trials_due[one.endpoint] = now + hold * SHARE_OF_HOLD
            if due_at is not None:  # whoever has just failed has a second first
                engine.nursery.start_soon(_try_out, target, one)


def better(target: LiveTarget, used: Connection) -> Iterator[Candidate]:
    """Known addresses of earlier tiers; and of earlier URLs, where their order counts."""
    for tier in target.tiers:
        is_last = any(url.origin == used.origin for url in tier)
        for url in tier:
            if url.origin == used.origin or (is_last and target.spec.order is not Order.LISTED):
                return
            for endpoint in target.known.get(url.origin, ()):
                yield Candidate(url.origin, endpoint)


async def _try_out(target: LiveTarget, one: Candidate) -> None:
    health = target.engine.health
    generation = health.generation(one.endpoint)
    try:
        connection = await Reach(target, 0, None).trial(one)
    except TlsFileError:
        return  # a request that needs the file says so
    if connection is not None:
        health.report_connected(one.endpoint, trio.current_time(), generation)
        connection.exchanges = 1  # for whoever has it next it is one from the pool
        # Of another protocol nobody may take it up: its server has seen a client that says nothing.
        target.pool.release(connection, reusable=not one.origin.is_tcp)
