"""Tries a better server out that is out of use, on nobody's request.

The naive remedy for a server that came back and is not asked, to send a request there once its hold is
over (haclient.core.health), makes that request pay if it is not back: the connect time-out, or its life if
it is a POST.

Ours: whoever gets a connection to a server while a better one is not used starts a connect to that, in the
background, when it is due (haclient.core.trial). If it succeeds, the hold ends and the connection lies in
the pool, where the next request finds it first; if it fails, the hold goes on. So a dead server costs its first
request something, and no further one, as long as none comes later than a hold after the one before (5 s at
first, 60 s in the end). After a longer pause a request is asked as if nothing had happened.
A connection to a tcp:// server is closed again at once: it was made to see, and nobody can use it later.

Left out: trials without traffic. With a request every 15 s the first three wait for a silent server for
connect_timeout, with one every 30 s the first four; by then its hold is as long as the pause.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from haclient.core.balance import Candidate
from haclient.core.trial import better
from haclient.engine.connecting import connect_to_one
from haclient.engine.live import LiveTarget
from haclient.net.connection import Connection
from haclient.net.tls import TlsFileError
from haclient.types import Order

__all__ = ["try_out", "try_out_better"]


def try_out_better(target: LiveTarget, used: Connection) -> None:
    """Starts a trial of each address that ranks before the one in use, where one is due."""
    is_listed = target.spec.order is Order.LISTED
    try_out(target, better(target.ranks, target.known, used.origin, is_listed=is_listed))


def try_out(target: LiveTarget, candidates: Iterable[Candidate]) -> None:
    """Starts a trial of each of these, where one is due."""
    engine, unfit = target.engine, target.unfit
    # Whom health requests speak against would be connected, and not used.
    fit = (one for one in candidates if one.endpoint not in unfit) if unfit else candidates
    for one in target.trials.due(fit, engine.health.failures, trio.current_time()):
        engine.nursery.start_soon(_try_out, target, one)


async def _try_out(target: LiveTarget, one: Candidate) -> None:
    health = target.engine.health
    generation = health.generation(one.endpoint)
    try:
        connection = await connect_to_one(target, [one])
    except TlsFileError:
        return  # a request that needs the file says so
    finally:
        target.trials.ended(one.endpoint)
    if connection is not None:
        health.report_connected(one.endpoint, trio.current_time(), generation)
        connection.exchanges = 1  # for whoever has it next it is one from the pool
        # Of another protocol nobody may take it up: its server has seen a client that says nothing.
        target.pool.release(connection, reusable=not one.origin.is_tcp)
