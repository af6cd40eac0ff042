"""A client on the simulated network, three servers around it, and what must hold after each exchange.

    async with world() as w:
        w.a.script(Fault(Reset(), AfterRequest()))
        outcome = await w.ask("GET", "http://ab.test/")
        assert outcome.error is None

`ask` holds every answer against the promises that no case is exempt from (tests.engine.oracle); the
end of the block checks that nothing was left behind. a.test is served at 10.0.0.1, b.test at
10.0.0.2, ab.test at both, with b a millisecond farther away, so that a wins a race. c.test, at
10.0.0.3, is nobody's but its own.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Unpack

import trio
import trio.testing

from haclient.client import MAX_CONTENT, Client, ProxySource, RequestOptions, Settings
from haclient.core.idempotency import IDEMPOTENT_METHODS
from haclient.core.spec import IdempotencyKey, Target
from haclient.engine.live import Engine
from haclient.errors import Error
from haclient.events import Event
from haclient.net import Dialer
from haclient.response import Response
from haclient.types import Endpoint
from tests.engine.oracle import Outcome, check_events, check_outcome
from tests.sim.dns import Answer, ScriptedResolver
from tests.sim.effects import AfterRequest, Blackhole, Fault, OnConnect
from tests.sim.journal import Journal
from tests.sim.network import SimNetwork
from tests.sim.origin import SimOrigin
from tests.sim.stream import SimStream

__all__ = [
    "BACKED_UP",
    "BOTH",
    "LONG",
    "ONE",
    "SILENT",
    "TOO_LARGE",
    "TWO",
    "UNACKNOWLEDGED",
    "A",
    "B",
    "C",
    "Script",
    "World",
    "world",
]

A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)
C = Endpoint("10.0.0.3", 80)

ONE = Target(urls=["http://a.test/"])
TWO = Target(urls=["http://a.test/", "http://b.test/"])
BOTH = Target(urls=["http://ab.test/"])
BACKED_UP = Target(urls=["http://a.test/"], backups=["http://b.test/"])

SILENT = Fault(Blackhole(), AfterRequest())
"""The server dies while it thinks."""

UNACKNOWLEDGED = Fault(Blackhole(), OnConnect())
"""The server is gone by the time that the request arrives."""

LONG = bytes(range(256)) * 1024
"""Content of four pieces; twice what the two kernels take of what nobody reads."""

TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nX-Origin: a\r\n"
"""An answer's head but for its last line, for servers with a script of their own."""

TRIAL_ENDS_WITHIN = 1.5
"""Seconds: a better server's trial may be under way when a test ends, for connect_timeout at the most."""

Script = Callable[[SimStream], Awaitable[None]]


@dataclass
class World:
    """What a test has in its hands."""

    client: Client
    network: SimNetwork
    resolver: ScriptedResolver
    journal: Journal
    nursery: trio.Nursery
    a: SimOrigin
    b: SimOrigin
    c: SimOrigin
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def origins(self) -> tuple[SimOrigin, ...]:
        """All three."""
        return (self.a, self.b, self.c)

    @property
    def engine(self) -> Engine:
        """The client's."""
        assert self.client._engine is not None
        return self.client._engine

    @property
    def events(self) -> list[Event]:
        """All that the client has told so far."""
        return [entry.event for entry in self.journal.entries if entry.event is not None]

    def told(self, *kinds: type[Event]) -> list[Event]:
        """Those of these kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    async def ask(
        self, method: str, url: str = "/", *, whole: bool = True, **options: Unpack[RequestOptions]
    ) -> Outcome:
        """As `request`, with nobody else asking meanwhile: events and bytes are held to it too."""
        told_before = len(self.events)
        received_before = self.received()
        outcome = await self.request(method, url, whole=whole, **options)
        check_events(self.events[told_before:], outcome)
        assert [client for client, _ in self.network.connections if client.is_probing] == []
        received = self.received()
        received_before += [0] * (len(received) - len(received_before))
        reached = sum(now > before for now, before in zip(received, received_before, strict=True))
        assert reached <= 1 or outcome.is_repeatable
        if outcome.error is not None and not outcome.error.may_have_been_processed:
            assert reached == 0
        return outcome

    def received(self) -> list[int]:
        """The bytes that have come in at the server's end of each connection ever made."""
        ends = [server.end for _, server in self.network.connections]
        return [end.rcv_nxt - end.has_fin_arrived for end in ends]

    async def request(
        self, method: str, url: str = "/", *, whole: bool = True, **options: Unpack[RequestOptions]
    ) -> Outcome:
        """Makes one request, reads its answer to the end, and holds both against the promises.

        The request bears a number of its own, in a field that the origins give back.
        """
        number = next(self.numbers)
        given = options.get("headers")
        assert given is None or isinstance(given, Mapping)
        headers = {**(given or {}), "X-Request-Id": f"{number}"}
        options["headers"] = headers
        began_at, head_at = trio.current_time(), None
        response: Response | None = None
        error: Error | None = None
        content = b""
        try:
            if whole:
                response = await self.client.request(method, url, **options)
                content = await response.read()
            else:
                async with self.client.stream(method, url, **options) as response:
                    head_at = trio.current_time()
                    async for chunk in response:
                        content += chunk
        except Error as exc:
            error = exc
        has_key = any(name.lower() == "idempotency-key" for name in headers)
        target = options.get("target")
        is_given_one = target is not None and target.idempotency_key is IdempotencyKey.GENERATE
        is_repeatable = method in IDEMPOTENT_METHODS or has_key or is_given_one
        outcome = Outcome(
            number, is_repeatable, response, content, error, began_at, head_at, trio.current_time()
        )
        check_outcome(outcome, self.origins)
        return outcome

    async def settle(self) -> None:
        """Lets everybody else go on until they all wait; no time passes."""
        await trio.testing.wait_all_tasks_blocked()

    def runs(self, number: int) -> list[str]:
        """The names of the origins that have executed a request, each as often as it did."""
        return [
            origin.name
            for origin in self.origins
            for request in origin.executed
            if request.value(b"x-request-id") == b"%d" % number
        ]

    def spend_budget(self, target: Target) -> None:
        """Takes what copies a target has left."""
        budget = self.client._live_for(target, target).budget
        while budget.withdraw(trio.current_time()):
            pass

    def listen(self, endpoint: Endpoint, script: Script) -> None:
        """Puts a server that follows a script of its own in the place of an origin."""
        listener = self.network.listen(endpoint)

        async def serve() -> None:
            while True:
                self.nursery.start_soon(script, await listener.accept())

        self.nursery.start_soon(serve)

    async def check_clean(self) -> None:
        """Nothing is outstanding: what is still open lies idle in the pool, and is not probed."""
        await self.settle()
        with trio.move_on_after(TRIAL_ENDS_WITHIN):
            while any("_try_out" in task.name for task in self.engine.nursery.child_tasks):  # noqa: ASYNC110
                await trio.sleep(0.1)
        snapshots = [pool.snapshot() for pool in self.engine.pools.values()]
        endpoints = [endpoint for snapshot in snapshots for endpoint in snapshot.endpoints]
        taken = [e for e in endpoints if e.leased or e.reserved]
        assert not taken, f"still taken: {taken}"
        assert not any(snapshot.waiting for snapshot in snapshots)
        assert len(self.engine.watch) == 0
        open_streams = self.network.open_streams()
        assert len(open_streams) == sum(e.idle for e in endpoints), open_streams
        assert [s for s in open_streams if s.is_probing] == []
        # The watch alone; uploads and sources have ended.
        assert len(self.engine.nursery.child_tasks) == 1, self.engine.nursery.child_tasks


@asynccontextmanager
async def world(
    *faults: Fault,
    target: Target | None = None,
    proxy: ProxySource = None,
    dialer: Callable[[SimNetwork], Dialer] = lambda network: network,
    max_content: int = MAX_CONTENT,
    **settings: Unpack[Settings],
) -> AsyncIterator[World]:
    """The faults are a's; the rest is the client's.

    `dialer` may put something between the client and the network.
    """
    journal = Journal()
    network = SimNetwork(journal)
    network.path(B.address).delay = 0.0005
    resolver = ScriptedResolver(journal)
    for host, addresses in {
        "a.test": [A],
        "b.test": [B],
        "c.test": [C],
        "ab.test": [A, B],
    }.items():
        resolver.script(host, Answer(*(endpoint.address for endpoint in addresses)))
    a, b, c = (
        SimOrigin(network, endpoint, name, journal=journal)
        for endpoint, name in [(A, "a"), (B, "b"), (C, "c")]
    )
    a.script(*faults)
    async with trio.open_nursery() as nursery:
        for origin in (a, b, c):
            nursery.start_soon(origin.serve)
        async with Client(
            target,
            observe=journal.observer(),
            proxy=proxy,
            resolver=resolver,
            dialer=dialer(network),
            max_content=max_content,
            **settings,
        ) as client:
            w = World(client, network, resolver, journal, nursery, a, b, c)
            yield w
            await w.check_clean()
        assert network.open_streams() == ()
        nursery.cancel_scope.cancel()
