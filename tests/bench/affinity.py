"""How many clients move when a server leaves, and how soon a server that is back has requests again.

    python -m tests.bench.affinity [--clients 600] [--rate 100] [--rounds 3]

Through the daemon on loopback; servers and clients are this process's. First: each client asks once, one of n
servers is killed, each client asks again; and the same clients ask a second daemon that was never told of
that server, and a third one that has all of them, listed the other way round. Then: a steady load of GET, each
of another client, on one URL with a backup; the server dies and is back, and every request counts.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import trio

from tests.bench.tables import median, print_table
from tests.support.session_server import SessionServer
from tests.support.sidecar import free_port, sidecar

STICKY = {"affinity": "header:X-Client"}

AT_ONCE = 20
"""Clients that ask at the same time in the first part."""

SETTLES = 2.0
"""Seconds of load before the server dies, and again after it is back and has the requests."""

WATCHED_FOR = 5.0
"""Seconds after its return."""

MOVE_HEAD = (
    *("servers", "clients", "1/n, and 3 sigma", "moved", "of others' clients"),
    *("errors", "without it in the file", "another daemon"),
)
FAILBACK_HEAD = (
    *("fault", "down for, s", "affinity", "requests", "errors", "longest, s"),
    *("first after, s", "all after, s"),
)


@asynccontextmanager
async def serving(count: int) -> AsyncIterator[list[SessionServer]]:
    servers = [SessionServer(f"s{n}", f"127.0.0.{n + 2}", free_port()) for n in range(count)]
    async with trio.open_nursery() as nursery:
        for server in servers:
            await nursery.start(server.run)
        yield servers
        nursery.cancel_scope.cancel()


# --- who moves ------------------------------------------------------------------------------------


async def served(url: str, clients: int) -> dict[int, str]:
    """Who answers each of so many clients; an error is told by its name."""
    found: dict[int, str] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def ask(http: httpx.AsyncClient, number: int) -> None:
        async with limit:
            answer = await http.get(url, headers={"X-Client": f"client-{number}"})
            found[number] = answer.headers.get("X-Server", str(answer.status_code))

    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
        trio.open_nursery() as nursery,
    ):
        for number in range(clients):
            nursery.start_soon(ask, http, number)
    return found


def moved(before: dict[int, str], after: dict[int, str]) -> list[str]:
    """Whose clients are elsewhere now, once for each of them."""
    return [before[number] for number in before if after[number] != before[number]]


async def leaving(count: int, clients: int) -> list[str]:
    """A row: n servers, and one of them leaves."""
    async with serving(count) as servers:
        urls = [server.url for server in servers]
        with sidecar(*urls[::-1], target=STICKY) as another:
            elsewhere = await served(another.url, clients)
        with sidecar(*urls, target=STICKY) as door:
            before = await served(door.url, clients)
            servers[0].kill()
            after = await served(door.url, clients)
        with sidecar(*urls[1:], target=STICKY) as without:
            left_out = await served(without.url, clients)
    who = Counter(moved(before, after))
    own = who.pop(servers[0].name, 0)
    errors = sum(name.isdigit() for name in (*before.values(), *after.values()))
    share = 1 / count
    noise = 3 * (share * (1 - share) / clients) ** 0.5
    return [
        str(count),
        str(clients),
        f"{share:.1%} + {noise:.1%}",
        f"{own} ({own / clients:.1%})",
        str(sum(who.values())),
        str(errors),
        f"{len(moved(before, left_out))}, {len(moved(after, left_out))} otherwise",
        f"{len(moved(before, elsewhere))} otherwise",
    ]


# --- failback -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent, what it took, who answered; nobody where it failed."""

    at: float
    took: float
    server: str


async def steady(url: str, rate: float, asked: list[Asked]) -> None:
    """Until cancelled; each request at its time, whatever became of those before it."""

    async def ask(number: int) -> None:
        at = trio.current_time()
        server = ""
        try:
            answer = await http.get(url, headers={"X-Client": f"client-{number}"})
            if answer.status_code == 200:
                server = answer.headers["X-Server"]
        except httpx.HTTPError:
            pass
        asked.append(Asked(at, trio.current_time() - at, server))

    began_at, number = trio.current_time(), 0
    async with (
        httpx.AsyncClient(timeout=30, trust_env=False) as http,
        trio.open_nursery() as nursery,
    ):
        while True:
            await trio.sleep_until(began_at + number / rate)
            nursery.start_soon(ask, number)
            number += 1


async def failback(fault: str, down: float, affinity: str, rate: float, rounds: int) -> list[str]:
    """A row; times are medians and, where they differ, the longest of the rounds."""
    firsts, alls, requests = [], [], list[Asked]()
    for _ in range(rounds):
        async with serving(2) as (server, backup):
            settings: dict[str, object] = {"affinity": affinity, "backups": [backup.url]}
            with sidecar(server.url, target=settings) as door:
                asked: list[Asked] = []
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(steady, door.url, rate, asked)
                    await trio.sleep(SETTLES)
                    back_at = await die_and_come_back(server, fault, down)
                    await trio.sleep(WATCHED_FOR)
                    nursery.cancel_scope.cancel()
        later = [one for one in asked if one.at >= back_at]
        firsts.append(min(one.at for one in later if one.server == server.name) - back_at)
        alls.append(max((one.at for one in later if one.server != server.name), default=back_at))
        alls[-1] -= back_at
        requests += asked
    errors = sum(not one.server for one in requests)
    longest = max(one.took for one in requests)
    name = affinity.partition(":")[0]
    figures = [f"{len(requests)}", f"{errors}", f"{longest:.2f}", spread(firsts), spread(alls)]
    return [fault, f"{down:g}", name, *figures]


async def die_and_come_back(server: SessionServer, fault: str, down: float) -> float:
    """When it was back."""
    if fault == "killed":
        server.kill()
        await trio.sleep(down)
        await server.start()
    else:
        server.blackhole()
        await trio.sleep(down)
        server.heal()
    return trio.current_time()


def spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} (at the most {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=600)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print_table(
        "One of n servers leaves: clients that move",
        MOVE_HEAD,
        [trio.run(leaving, count, args.clients) for count in (3, 5, 8)],
    )
    print_table(
        f"A server with a backup dies and is back, {args.rate:g} GET a second, {args.rounds} rounds",
        FAILBACK_HEAD,
        [
            trio.run(failback, fault, down, affinity, args.rate, args.rounds)
            for affinity in ("none", STICKY["affinity"])
            for fault in ("killed", "blackholed")
            for down in (3.0, 15.0)
        ],
    )


if __name__ == "__main__":
    main()
