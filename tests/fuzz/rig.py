"""The smallest data plane there is: one door, one target with one server, the clock of a test.

A run of it costs a millisecond or two, where the house of tests/proxy, which can do more, costs ten.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import trio
import trio.testing

from haclient.core.config import ListenerSettings, TcpBind
from haclient.core.spec import Target
from haclient.engine.live import Engine, LiveTarget
from haclient.engine.replay import ReplayLedger
from haclient.net.transport import SocketTransport
from haclient.proxy.door import Door
from haclient.proxy.downstream import serve_connection
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import ExchangeRecord
from haclient.proxy.vigil import keep_vigil
from haclient.types import Endpoint
from tests.sim.dns import ScriptedResolver
from tests.sim.network import SimNetwork
from tests.sim.stream import SimStream, connected_pair

__all__ = ["Rig", "Violation", "rig", "run"]

SERVER = Endpoint("10.0.0.1", 80)

MOST = 1 << 20
"""Bytes that a client takes of what is said to it."""

Serve = Callable[[SimStream], Awaitable[None]]


class Violation(AssertionError):
    """What must not be."""


@dataclass
class Rig:
    """What a run has in its hands."""

    gateway: Gateway
    door: Door
    nursery: trio.Nursery
    network: SimNetwork
    faults: list[Exception]
    records: list[ExchangeRecord] = field(default_factory=list)

    def connect(self) -> SimStream:
        """A client's end of a connection to the door."""
        theirs, ours = connected_pair(server=Endpoint("127.0.0.1", 8080))
        transport = cast("SocketTransport", ours)
        self.nursery.start_soon(serve_connection, self.gateway, self.door, transport)
        return theirs

    def check(self) -> None:
        """After all clients have left."""
        if self.faults:
            raise Violation(f"an exception that nobody expected: {self.faults[0]!r}") from (
                self.faults[0]
            )
        if self.door.inside:
            raise Violation(f"still inside: {self.door.inside}")
        if self.gateway.ledger.held:
            raise Violation(f"{self.gateway.ledger.held} bytes are kept for nobody")


@asynccontextmanager
async def rig(serve: Serve, response_timeout: float = 2.0) -> AsyncIterator[Rig]:
    """`serve` is given each connection that the server gets."""
    network = SimNetwork()
    listener = network.listen(SERVER)
    faults: list[Exception] = []
    records: list[ExchangeRecord] = []

    async def accept() -> None:
        while True:
            servers.start_soon(_serve_to_its_end, serve, await listener.accept())

    async with trio.open_nursery() as servers, trio.open_nursery() as nursery:
        servers.start_soon(accept)
        engine = Engine(nursery, ScriptedResolver(), network)
        engine.start()
        gateway = Gateway(engine, ReplayLedger(1 << 20), records.append, faults.append)
        target = Target(urls=[f"http://{SERVER}/"], response_timeout=response_timeout)
        gateway.targets = {"main": LiveTarget(target, engine)}
        bind = TcpBind("127.0.0.1", 8080)
        door = Door(ListenerSettings(name="shop", bind=bind, target="main", max_head=8192))
        nursery.start_soon(keep_vigil, lambda: [door])
        yield Rig(gateway, door, nursery, network, faults, records)
        engine.close()
        nursery.cancel_scope.cancel()
        servers.cancel_scope.cancel()


async def _serve_to_its_end(serve: Serve, stream: SimStream) -> None:
    try:
        await serve(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        stream.close()


async def say(stream: SimStream, pieces: Sequence[bytes]) -> None:
    """Each piece is taken in before the next one is sent."""
    try:
        for piece in pieces:
            await stream.send_all(piece)
            if len(pieces) > 1:
                await trio.testing.wait_all_tasks_blocked()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # whoever hears it has had enough


async def hear(stream: SimStream) -> tuple[bytes, bool]:
    """All that comes, and whether it ended in good order."""
    heard = b""
    try:
        while data := await stream.receive_some():
            heard = (heard + data)[:MOST]
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return heard, False
    return heard, True


def run(play: Callable[..., Awaitable[Any]], *args: object) -> Any:
    """In a loop of its own, on a clock that jumps."""
    return trio.run(play, *args, clock=trio.testing.MockClock(autojump_threshold=0))
