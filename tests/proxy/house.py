"""The sidecar's data plane on the simulated network: a door, three servers, and what must hold after.

    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(client.says(...), a.hears(...), ...)
        assert h.told() == ["GET / 200 answered [10.0.0.1:80 answered]"]

The door takes one end of a simulated connection where it would take an accepted socket; everything
behind it is the real thing but for the network and the clock. a.test is served at 10.0.0.1, b.test
at 10.0.0.2, ab.test at both, with b a millisecond farther away; c.test is at 10.0.0.3. Origins serve
there unless `server` puts a party of a playbook in an origin's place.

The end of the block checks that nothing was left behind: no task, no stream, no lease, no byte kept
for a resend, no fault that nobody expected.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
import trio.testing

from haclient.core.config import Config, ListenerSettings, TcpBind
from haclient.core.spec import Target
from haclient.engine.live import Engine
from haclient.net.parking import Parking
from haclient.net.pipes import Pipes
from haclient.net.transport import SocketTransport
from haclient.proxy.door import Door
from haclient.proxy.entrance import enter
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import ExchangeRecord
from haclient.proxy.sidecar import Sidecar
from haclient.proxy.vigil import keep_vigil
from haclient.types import Endpoint
from tests.proxy.answers import HeardAnswer
from tests.proxy.playbook import Party, play, wire
from tests.sim.dns import Answer, ScriptedResolver
from tests.sim.effects import Fault
from tests.sim.journal import Journal
from tests.sim.network import SimNetwork
from tests.sim.origin import SimOrigin
from tests.sim.parking import SimParking
from tests.sim.pipes import SimPipes
from tests.sim.stream import SimStream, connected_pair

__all__ = ["BACKED_UP", "BOTH", "IDS", "ONE", "A", "B", "C", "House", "house"]

A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)
C = Endpoint("10.0.0.3", 80)

ONE = Target(urls=["http://a.test/"])
BOTH = Target(urls=["http://ab.test/"])
BACKED_UP = Target(urls=["http://a.test/"], backups=["http://b.test/"])

IDS = "X-Request-Id: 7|traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|"
"""A client's own, so that none are made: for conversations that are compared byte by byte."""

DOOR = Endpoint("127.0.0.1", 8080)

LEAVING = 3.0
"""Seconds after which nobody may be inside any more, once all clients have left: a client's linger is
two, and a look at it comes four times a second."""


LONGEST = 10_000.0
"""Seconds that a test may last, of the mock clock's."""


@dataclasses.dataclass
class House:
    """What a test has in its hands."""

    sidecar: Sidecar
    door: Door
    network: SimNetwork
    resolver: ScriptedResolver
    journal: Journal
    nursery: trio.Nursery
    servers: trio.Nursery
    a: SimOrigin
    b: SimOrigin
    c: SimOrigin
    records: list[ExchangeRecord]
    faults: list[Exception]
    parking: SimParking
    pipes: SimPipes
    parties: list[Party] = dataclasses.field(default_factory=list)
    doors_ends: list[SimStream] = dataclasses.field(default_factory=list)
    """The sidecar's end of each client's connection."""
    ports: itertools.count[int] = dataclasses.field(default_factory=lambda: itertools.count(50001))

    @property
    def gateway(self) -> Gateway:
        return self.sidecar.gateway

    @property
    def engine(self) -> Engine:
        return self.gateway.engine

    @property
    def origins(self) -> tuple[SimOrigin, ...]:
        return (self.a, self.b, self.c)

    def client(self, name: str = "client", address: Endpoint | None = None) -> Party:
        """Somebody who has just connected to the door."""
        address = address or Endpoint("127.0.0.1", next(self.ports))
        theirs, ours = connected_pair(client=address, server=DOOR)
        # The door needs of a transport what a SimStream has; test_sim_same_as_sockets holds the two
        # against each other.
        transport = cast("SocketTransport", ours)
        self.nursery.start_soon(enter, self.gateway, self.door, transport)
        self.doors_ends.append(ours)
        party = Party(name, theirs)
        self.parties.append(party)
        return party

    def serve_beside(self, serve: Callable[[], Awaitable[None]]) -> None:
        """A server with a script of its own; not one of the sidecar's tasks."""
        self.servers.start_soon(serve)

    def server(self, endpoint: Endpoint) -> Party:
        """A party of a playbook, in the place of the origin there."""
        name = {A: "a", B: "b", C: "c"}[endpoint]
        party = Party(name, listener=self.network.listen(endpoint))
        self.parties.append(party)
        return party

    async def ask(
        self,
        status: int,
        at: float,
        method: str = "GET",
        target: str = "/x",
        *,
        content: bytes = b"",
        fields: str = "",
    ) -> HeardAnswer:
        """One request of a new client's, whose whole answer comes so many seconds later."""
        client = self.client()
        has_length = content or method in ("POST", "PUT")
        length = f"Content-Length: {len(content)}|" if has_length else ""
        head = wire(f"{method} {target} HTTP/1.1|Host: shop|{length}{fields}|")
        at += trio.current_time()
        await play(client.says(head + content), client.hears_answer(status, method).at(at))
        client.leave()
        return client.got

    def reload(self, *targets: tuple[str, Target], **settings: Any) -> None:
        """New targets by name; or new settings of the door, its first ones where none are given."""
        if targets:
            self.sidecar.apply(Config(targets=dict(targets)))
        else:
            self.door.apply(listener(**settings))

    def told(self) -> list[str]:
        """One line for each exchange that is over, in order."""
        return [describe(record) for record in self.records]

    def runs(self, method: bytes = b"POST") -> list[str]:
        """The names of the origins that executed a request, each as often as it did."""
        return [one.name for one in self.origins for r in one.executed if r.method == method]

    async def settle(self) -> None:
        """Lets everybody go on until they all wait; no time passes."""
        await trio.testing.wait_all_tasks_blocked()

    async def check_clean(self) -> None:
        """Clients and playbook servers leave; then nothing of any exchange may be left."""
        for live in self.gateway.targets.values():
            if live.checks is not None:
                live.checks.stop()
            if live.standby is not None:
                live.standby.stop()
        for party in self.parties:
            party.leave()
        await trio.sleep(LEAVING)
        assert not self.door.inside, f"still inside: {self.door.inside}"
        assert [end for end in self.doors_ends if not end.is_closed] == []
        snapshots = [pool.snapshot() for pool in self.engine.pools.values()]
        endpoints = [endpoint for snapshot in snapshots for endpoint in snapshot.endpoints]
        taken = [one for one in endpoints if one.leased or one.reserved]
        assert not taken, f"still taken: {taken}"
        assert len(self.engine.watch) == 0
        open_streams = self.network.open_streams()
        assert len(open_streams) == sum(one.idle for one in endpoints), open_streams
        assert [stream for stream in open_streams if stream.is_probing] == []
        assert self.gateway.ledger.held == 0
        assert self.pipes.in_use == 0
        # The watch and the two vigils; uploads have ended.
        assert len(self.engine.nursery.child_tasks) == 3, self.engine.nursery.child_tasks
        assert self.faults == []


def describe(record: ExchangeRecord) -> str:
    """Method, path, status, outcome, and how each attempt ended."""
    told = f"{record.method} {record.path} {record.status} {record.outcome.value}"
    attempts = [f"{one.endpoint or one.origin} {one.verdict.value}" for one in record.attempts]
    told += f" [{', '.join(attempts)}]" if attempts else ""
    return told + (f" {record.error}" if record.error else "")


def listener(**settings: Any) -> ListenerSettings:
    """The door's settings; its target is "main"."""
    given = {"target": "main", "via": False, **settings}
    return ListenerSettings(name="shop", bind=TcpBind("127.0.0.1", 8080), **given)


@asynccontextmanager
async def house(
    *faults: Fault, target: Target = BOTH, targets: dict[str, Target] | None = None, **settings: Any
) -> AsyncIterator[House]:
    """The faults are a's, the target is "main", and the settings are the door's."""
    journal = Journal()
    network = SimNetwork(journal)
    network.path(B.address).delay = 0.0005
    resolver = ScriptedResolver(journal)
    hosts = {"a.test": [A], "b.test": [B], "c.test": [C], "ab.test": [A, B]}
    for host, endpoints in hosts.items():
        resolver.script(host, Answer(*(endpoint.address for endpoint in endpoints)))
    a, b, c = (
        SimOrigin(network, endpoint, name, journal=journal)
        for endpoint, name in [(A, "a"), (B, "b"), (C, "c")]
    )
    a.script(*faults)
    records: list[ExchangeRecord] = []
    unexpected: list[Exception] = []

    def tell(record: ExchangeRecord) -> None:
        records.append(record)
        journal.note("sidecar", describe(record))

    async with trio.open_nursery() as servers, trio.open_nursery() as nursery:
        for origin in (a, b, c):
            servers.start_soon(origin.serve)
        config = Config(targets={"main": target, **(targets or {})})
        sidecar = Sidecar(
            config, nursery, resolver, tell=tell, tell_fault=unexpected.append, dialer=network
        )
        parking = SimParking()
        sidecar.gateway.parking = cast("Parking", parking)
        pipes = SimPipes()
        sidecar.gateway.pipes = cast("Pipes", pipes)
        sidecar.start()
        door = Door(listener(**settings))
        nursery.start_soon(keep_vigil, lambda: [door])
        h = House(
            sidecar,
            door,
            network,
            resolver,
            journal,
            nursery,
            servers,
            a,
            b,
            c,
            records,
            unexpected,
            parking,
            pipes,
        )
        # A conversation that waits for ever would be jumped along with its vigil for ever.
        with trio.fail_after(LONGEST):
            yield h
            await h.check_clean()
        sidecar.gateway.engine.close()
        assert network.open_streams() == ()
        nursery.cancel_scope.cancel()
        servers.cancel_scope.cancel()
