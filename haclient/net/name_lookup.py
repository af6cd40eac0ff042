"""Looks one name up: drives core.lookup over the network, and remembers whom to begin with.

A lookup's queries run in a nursery of its own, in the task of whoever calls, and end with it. One that is
given up half-way leaves word of who had been silent, so that callers with less patience than the
name servers' time-out do not meet the same silence for ever.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import assert_never

import trio

from haclient.core.dns_answer import RecordType, Reply
from haclient.core.lookup import BOTH_FAMILIES, Action, Finished, Lookup, Outcome, WakeAt
from haclient.core.names import ResolvConf, query_names
from haclient.core.question import Ask, QueryPlan, Transport
from haclient.core.saved_names import SERVICE
from haclient.core.server_order import SILENCE_COUNTS_AFTER, ServerOrder

__all__ = ["Exchange", "NameServers"]

Exchange = Callable[[Ask], Awaitable[Reply]]
"""Sends one query and returns what came of it; it may wait for ever, and is cancelled then."""


class NameServers:
    """Whom to ask. `exchange` stands in for the network in tests."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self._exchange = exchange if exchange is not None else _ask_over_the_network
        self._order = ServerOrder()

    async def look_up(self, name: str, conf: ResolvConf) -> Outcome:
        """Asks for every address of `name`, which is as `core.names.to_ascii` gives it.

        Behind SERVICE it is a service, and its SRV records are what is asked for.
        """
        servers = self._order.order(conf.nameservers, trio.current_time())
        transport = Transport.TCP if conf.uses_tcp_only else Transport.UDP
        rdtypes = BOTH_FAMILIES if conf.asks_for_ipv6 else (RecordType.A,)
        lookup = Lookup(
            query_names(name.removeprefix(SERVICE), conf),
            QueryPlan(servers, conf.attempts, conf.timeout, transport),
            (RecordType.SRV,) if name.startswith(SERVICE) else rdtypes,
        )
        try:
            async with trio.open_nursery() as nursery:
                outcome = await self._drive(lookup, nursery)
                nursery.cancel_scope.cancel()
        finally:
            now = trio.current_time()
            if not lookup.is_finished:
                silent = lookup.servers_silent_for(SILENCE_COUNTS_AFTER, now)
                self._order.was_silent(silent, servers, now)
        self._order.answered(outcome.server, servers, now)
        return outcome

    async def _drive(self, lookup: Lookup, nursery: trio.Nursery) -> Outcome:
        send, receive = trio.open_memory_channel[tuple[Ask, Reply]](math.inf)

        async def ask_and_report(ask: Ask) -> None:
            send.send_nowait((ask, await self._exchange(ask)))

        actions: tuple[Action, ...] = lookup.start(trio.current_time())
        wake_at = math.inf
        while True:
            for action in actions:
                match action:
                    case Ask():
                        nursery.start_soon(ask_and_report, action)
                    case WakeAt(at):
                        wake_at = at
                    case Finished(outcome):
                        return outcome
                    case _:
                        assert_never(action)
            with trio.move_on_at(wake_at) as waiting:
                ask, reply = await receive.receive()
            if waiting.cancelled_caught:
                actions = lookup.woke(trio.current_time())
            else:
                actions = lookup.answered(ask, reply, trio.current_time())


async def _ask_over_the_network(ask: Ask) -> Reply:
    # Not at the top of the file: it brings dnspython, which only a real query needs.
    from haclient.net import dns_client

    return await dns_client.exchange(ask)
