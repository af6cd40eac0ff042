"""A sidecar of the demonstration: that of `haclient serve`, in the demo's own process.

The load has one. Each scene's own request goes through another, whose steps are told: a gateway has one
observer for all that passes through it, and the story is of one request. All have the same targets, and
share nothing but the servers.

A POST is routed to a target that keeps no idle connections. A server that fails takes with it the POSTs
that are outstanding at that moment, and those that were sent to it before anybody could know; nobody
can tell whether they ran. The show has one such POST, for all to see, and keeps the steady ones out of
its way: each has to win a race of connects, and a server that is cut off wins none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import msgspec
import trio

from haclient.core.config import Config, ListenerSettings, Route, TcpBind
from haclient.core.spec import Target
from haclient.events import Observer
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.ops.demo_servers import Server
from haclient.proxy.record import ExchangeRecord
from haclient.proxy.sidecar import Sidecar
from haclient.types import Order

__all__ = ["NAME", "PATHS", "Front", "sidecar_before"]

NAME = "orders.demo"

PATHS = {"GET": "/orders", "POST": "/new-orders"}


class Front(msgspec.Struct, frozen=True):
    """A sidecar from outside: what a client has to know, and what is told of each exchange."""

    port: int
    """On 127.0.0.1."""
    records: dict[str, ExchangeRecord]
    """By X-Request-Id; an exchange is told before its connection ends."""


@asynccontextmanager
async def sidecar_before(
    servers: Sequence[Server], *, first: Server | None = None, observe: Observer | None = None
) -> AsyncGenerator[Front, None]:
    """A sidecar that knows the servers by their name, for as long as the block lasts.

    Args:
        servers: all with one port.
        first: is asked first; without it, the servers race.
        observe: told each step of each exchange.
    """
    records: dict[str, ExchangeRecord] = {}

    def tell(record: ExchangeRecord) -> None:
        records[record.request_id] = record

    async with trio.open_nursery() as nursery:
        config, resolver = _config(servers[0].endpoint.port, first), _resolver(servers, first)
        sidecar = Sidecar(config, nursery, resolver, tell=tell, tell_fault=_raise)
        sidecar.gateway.observe = observe
        try:
            sidecar.start()
            (door,) = sidecar.doors
            yield Front(int(door.address.rpartition(":")[2]), records)
            await sidecar.drain()
        finally:
            sidecar.gateway.engine.close()
            nursery.cancel_scope.cancel()


def _config(port: int, first: Server | None) -> Config:
    order = Order.FASTEST if first is None else Order.LISTED
    reads = Target(urls=f"http://{NAME}:{port}", order=order)
    listener = ListenerSettings(
        name="orders",
        bind=TcpBind("127.0.0.1", 0),
        target="reads",
        routes=(Route("writes", path=PATHS["POST"]),),
    )
    writes = msgspec.structs.replace(reads, pool_idle_timeout=0.0)
    return Config(targets={"reads": reads, "writes": writes}, listeners=(listener,))


def _resolver(servers: Sequence[Server], first: Server | None) -> StaticResolver:
    in_order = sorted(servers, key=lambda server: server is not first)
    endpoints = tuple(server.endpoint for server in in_order)
    return StaticResolver({(NAME, endpoints[0].port): endpoints}, SystemResolver())


def _raise(fault: Exception) -> NoReturn:
    """A fault of haclient's own ends the show."""
    raise fault
