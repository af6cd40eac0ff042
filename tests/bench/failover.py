"""How long a request takes when its server dies, and that a slow one is waited for.

    python -m tests.bench.failover [--runs 20] [--only WORD] [--through sidecar|forward]

Real sockets on loopback, real faults: processes killed with SIGKILL, sockets blackholed by a
one-instruction filter (ACKs too). The runs of a row go side by side, each with servers and a
client of its own; times are from the request, or for the killed server from the kill. With `--through
sidecar` each run has a daemon of its own, and the client is one that tries once and waits; with `forward`
that daemon is a forward proxy, and CONNECT tunnels have rows of their own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio

import haclient
from haclient.events import DeclaredDead, Suspected
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.types import Endpoint, Order, Verdict
from tests.bench import forward_way
from tests.bench.tables import median, print_table
from tests.support.origin import Behaviour, Moment, Origin
from tests.support.origin_process import origin_process
from tests.support.sidecar import sidecar

NAME, PORT = "orders.test", 80
PATH = "/orders/7"
URL = f"http://{NAME}{PATH}"
QUICK = Behaviour()
through = ""
"""What stands in the way: nothing, "sidecar" or "forward". Set once, by the command line."""
SLOW = 10.0
"""Seconds that the slow ones take."""


@dataclass
class Row:
    """What the runs of one row saw."""

    times: list[float] = field(default_factory=list)
    lost: int = 0
    twice: int = 0
    abandoned: int = 0
    errors: set[str] = field(default_factory=set)


Trial = Callable[[Row, trio.Nursery], Awaitable[None]]


@dataclass
class Asked:
    """An answer: its status, and how many servers were given up for it."""

    status: int
    abandoned: int


class Asker(Protocol):
    """The library, or a daemon before a client that tries once."""

    async def request(self, method: str, content: bytes | None = None) -> Asked:
        """Asks for the bench's one URL; raises haclient.Error where there is no answer."""
        ...


class Library:
    """The engine within the asker's own process."""

    def __init__(self, client: haclient.Client, target: haclient.Target | None = None) -> None:
        self._client = client
        self._target = target

    async def request(self, method: str, content: bytes | None = None) -> Asked:
        """As Asker."""
        if self._target is not None:
            response = await self._client.request(method, PATH, target=self._target)
        else:
            response = await self._client.request(method, URL, content=content)
        given_up = [one for one in response.attempts if one.verdict is not Verdict.ANSWERED]
        return Asked(response.status, len(given_up))


class ThroughSidecar:
    """A client that tries once, in front of a daemon that does not."""

    def __init__(self, client: haclient.Client, door: str) -> None:
        self._client = client
        self._door = door

    async def request(self, method: str, content: bytes | None = None) -> Asked:
        """As Asker; an answer of the daemon's own is an error."""
        response = await self._client.request(method, self._door + PATH, content=content)
        if response.headers.get("content-type") == "application/problem+json":
            problem = json.loads(await response.text())
            raise haclient.ServerDiedError(f"{problem['status']}: {problem['detail']}")
        return Asked(response.status, int("proxy-status" in response.headers))


class Together:
    """Lets nobody ask before all daemons of a batch have started: a start takes half a second of CPU."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._ready = trio.Event()

    async def wait(self) -> None:
        """Returns once all have come here."""
        self._missing -= 1
        if self._missing <= 0:
            self._ready.set()
        await self._ready.wait()


together = Together(1)
"""Of the batch that runs."""


@asynccontextmanager
async def daemon_of(*urls: str, **target: object) -> AsyncIterator[ThroughSidecar]:
    """A daemon for these URLs; started and ended in a thread, for other runs' clocks go on."""
    running = sidecar(*urls, target=target)
    door = await trio.to_thread.run_sync(running.__enter__)
    try:
        await together.wait()
        async with haclient.Client(max_attempts=1, response_timeout=60.0) as client:
            yield ThroughSidecar(client, door.url)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(running.__exit__, None, None, None)


@asynccontextmanager
async def client_of(
    *endpoints: Endpoint, order: Order = Order.LISTED, **settings: object
) -> AsyncIterator[Asker]:
    """A client for which the name has these addresses."""
    if through == "forward":
        way = forward_way.client_through(*endpoints, order=order, ready=together.wait)
        async with way as (client, url):
            yield ThroughSidecar(client, url)
        return
    if through == "sidecar":
        urls = [f"http://{endpoint}" for endpoint in endpoints]
        async with daemon_of(*urls, order=order.value) as asker:
            yield asker
        return
    resolver = StaticResolver({(NAME, PORT): endpoints}, SystemResolver())
    async with haclient.Client(resolver=resolver, order=order, **settings) as client:  # type: ignore[arg-type]
        yield Library(client)


async def origin(nursery: trio.Nursery, behaviour: Behaviour = QUICK, **how: object) -> Origin:
    """One more origin on an address of its own."""
    one = Origin("o", behaviour, **how)  # type: ignore[arg-type]
    await nursery.start(one.serve, bind())
    return one


def bind() -> str:
    """Where the next server listens."""
    return forward_way.next_bind() if through == "forward" else "127.0.0.2:0"


async def ask(row: Row, client: Asker, method: str = "GET", content: bytes | None = None) -> None:
    """One request; its time or its error goes into the row."""
    started = trio.current_time()
    try:
        answer = await client.request(method, content)
    except haclient.Error as error:
        row.errors.add(type(error).__name__)
        row.lost += method == "GET"
    else:
        row.lost += answer.status != 200
        row.abandoned += answer.abandoned
    row.times.append(trio.current_time() - started)


async def killed(row: Row, nursery: trio.Nursery) -> None:
    alive = await origin(nursery)
    async with origin_process(bind()) as doomed:
        await doomed.set(Behaviour(think=60))
        own = Row()
        async with client_of(doomed.endpoint, alive.endpoint) as client:
            async with trio.open_nursery() as asking:
                asking.start_soon(ask, own, client)
                await trio.sleep(0.3)
                at = trio.current_time()
                await doomed.kill()
            row.times.append(trio.current_time() - at)
            row.lost += own.lost


async def blackholed_thinking(row: Row, nursery: trio.Nursery) -> None:
    dead = await origin(nursery, Behaviour(blackhole_at=Moment.AFTER_READING))
    alive = await origin(nursery)
    async with client_of(dead.endpoint, alive.endpoint) as client:
        await ask(row, client)


async def blackholed_before_ack(row: Row, nursery: trio.Nursery) -> None:
    dead, alive = await origin(nursery), await origin(nursery)
    async with client_of(dead.endpoint, alive.endpoint) as client:
        await client.request("GET")
        dead.behaviour = Behaviour(blackhole_at=Moment.BEFORE_READING)
        await ask(row, client)


async def three_alive(row: Row, nursery: trio.Nursery) -> None:
    three = [await origin(nursery) for _ in range(3)]
    async with client_of(*[one.endpoint for one in three], order=Order.FASTEST) as client:
        await ask(row, client)


async def blackholed_at_connect(row: Row, nursery: trio.Nursery) -> None:
    three = [await origin(nursery) for _ in range(3)]
    three[0].blackhole()
    async with client_of(*[one.endpoint for one in three], order=Order.FASTEST) as client:
        await ask(row, client)


async def refused(row: Row, nursery: trio.Nursery) -> None:
    if through == "forward":
        nobody = [Endpoint(bind().partition(":")[0], forward_way.PORT) for _ in range(2)]
        alive = await origin(nursery)
        async with client_of(*nobody, alive.endpoint) as client:
            await ask(row, client)
        return
    alive = await origin(nursery)
    urls = ["http://127.0.0.2:1", "http://127.0.0.3:1"]
    backups = [f"http://{alive.endpoint}"]
    if through == "sidecar":
        async with daemon_of(*urls, backups=backups) as asker:
            await ask(row, asker)
        return
    async with haclient.Client() as client:
        target = haclient.Target(urls=urls, backups=backups)
        await ask(row, Library(client, target))


async def slow_to_first_byte(row: Row, nursery: trio.Nursery) -> None:
    slow, other = await origin(nursery, Behaviour(think=SLOW)), await origin(nursery)
    async with client_of(slow.endpoint, other.endpoint) as client:
        await ask(row, client)


async def silent_in_response(row: Row, nursery: trio.Nursery) -> None:
    behaviour = Behaviour(content_bytes=2000, piece_bytes=1000, pause=SLOW)
    slow, other = await origin(nursery, behaviour), await origin(nursery)
    async with client_of(slow.endpoint, other.endpoint) as client:
        await ask(row, client)


async def not_reading_upload(row: Row, nursery: trio.Nursery) -> None:
    slow = await origin(nursery, Behaviour(unread_for=SLOW), receive_buffer=4096)
    other = await origin(nursery)
    async with client_of(slow.endpoint, other.endpoint) as client:
        await ask(row, client, "PUT", content=bytes(8 << 20))


async def single_threaded(row: Row, nursery: trio.Nursery) -> None:
    slow = await origin(nursery, Behaviour(think=SLOW / 2, closes=True), is_single_threaded=True)
    other = await origin(nursery)
    async with client_of(slow.endpoint, other.endpoint) as client, trio.open_nursery() as asking:
        asking.start_soon(ask, row, client)
        await trio.sleep(0.05)
        asking.start_soon(ask, row, client)


async def post_on_a_dying_server(row: Row, nursery: trio.Nursery) -> None:
    dead = await origin(nursery, Behaviour(blackhole_at=Moment.AFTER_READING))
    alive = await origin(nursery)
    async with client_of(dead.endpoint, alive.endpoint) as client:
        await ask(row, client, "POST", content=b"{}")
    row.twice += dead.executed + alive.executed > 1


async def all_dead(row: Row, nursery: trio.Nursery) -> None:
    dead = [await origin(nursery, Behaviour(blackhole_at=Moment.AFTER_READING)) for _ in range(3)]
    async with client_of(*[one.endpoint for one in dead]) as client:
        await ask(row, client)


TRIALS: dict[str, tuple[Trial, str]] = {
    "server process killed": (killed, "<= 0.05 s"),
    "blackholed, acknowledged, thinking": (blackholed_thinking, "median 1.3 s, max 2.0 s"),
    "blackholed before the ACK": (blackholed_before_ack, "median 0.7 s, max 1.5 s"),
    "three alive (to compare with)": (three_alive, ""),
    "one of three blackholed at connect": (blackholed_at_connect, "no added time"),
    "every address refused, backup alive": (refused, "<= 0.05 s"),
    "10 s to the first byte": (slow_to_first_byte, "waited for"),
    "10 s of silence in mid-response": (silent_in_response, "waited for"),
    "upload not read for 10 s": (not_reading_upload, "waited for"),
    "single-threaded, busy with another": (single_threaded, "waited for"),
    "POST on a server that dies": (post_on_a_dying_server, "error in 3 s"),
    "all dead": (all_dead, "one error in 4 s"),
}


def tunnel_trial(name: str) -> Trial:
    """A row of forward_way's."""

    async def trial(row: Row, nursery: trio.Nursery) -> None:
        async def serve(behaviour: Behaviour) -> Origin:
            return await origin(nursery, behaviour)

        row.times.append(await forward_way.TUNNELS[name][0](serve, together.wait))

    return trial


def trials() -> dict[str, tuple[Trial, str]]:
    """All rows of what is measured."""
    if through != "forward":
        return TRIALS
    tunnels = {
        name: (tunnel_trial(name), floor) for name, (_, floor) in forward_way.TUNNELS.items()
    }
    return TRIALS | tunnels


QUICK_TRIALS = (killed, three_alive, blackholed_at_connect, refused)


async def run_row(trial: Trial, runs: int) -> Row:
    """All runs of a row, a few at a time, so that they do not wait for the processor."""
    global together
    row = Row()
    at_once = 1 if trial in QUICK_TRIALS else 5

    async def one() -> None:
        async with trio.open_nursery() as nursery:
            await trial(row, nursery)
            nursery.cancel_scope.cancel()

    while runs > 0:
        count = min(at_once, runs)
        runs -= count
        together = Together(count)
        async with trio.open_nursery() as batch:
            for _ in range(count):
                batch.start_soon(one)
    return row


async def false_verdicts(requests: int) -> tuple[int, int]:
    """So many slow requests at once; how many were suspected or lost."""
    wrong: list[object] = []

    def observe(event: object) -> None:
        if isinstance(event, Suspected | DeclaredDead):
            wrong.append(event)

    row = Row()
    async with trio.open_nursery() as nursery:
        slow = await origin(nursery, Behaviour(think=SLOW / 2))
        other = await origin(nursery)
        async with (
            client_of(slow.endpoint, other.endpoint, observe=observe) as client,
            trio.open_nursery() as asking,
        ):
            for _ in range(requests):
                asking.start_soon(ask, row, client)
        nursery.cancel_scope.cancel()
    return len(wrong), row.lost


async def run(runs: int, only: str) -> None:
    rows: list[list[str]] = []
    for name, (trial, floor) in trials().items():
        if only not in name:
            continue
        row = await run_row(trial, runs)
        rows.append(
            [
                name,
                f"{median(row.times):.3f}",
                f"{max(row.times):.3f}",
                str(row.lost),
                str(row.twice),
                str(row.abandoned) if "waited" in floor else "",
                ", ".join(sorted(row.errors)),
                floor,
            ]
        )
    print_table(
        f"Failover, {runs} runs a row, seconds",
        ["fault", "median", "max", "GET lost", "run twice", "abandoned", "errors", "must reach"],
        rows,
    )
    if only in "false verdicts" and not through:
        wrong, lost = await false_verdicts(200)
        print(f"\nFalse verdicts: {wrong} in 200 slow requests ({lost} lost)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", metavar="WORD")
    parser.add_argument("--through", choices=["sidecar", "forward"], default="")
    args = parser.parse_args()
    global through
    through = args.through
    trio.run(run, args.runs, args.only)


if __name__ == "__main__":
    main()
