"""How many clients move when a server leaves, and how soon a server that is back has requests again.

    python -m tests.bench.affinity [--clients 600] [--rate 100] [--rounds 3]

Through the daemon on loopback; servers and clients are this process's. First: each client asks once, one of n
servers is killed, each client asks again; and the same clients ask a second daemon that was never told of
that server, and a third one that has all of them, listed the other way round. Then: a steady load of GET, each
of another client, on one URL with a backup; the server dies and is back, and every request counts. Ends with 1
where more clients moved than may, a request failed, or the backup was asked for too long.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

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

SIGMAS = 4
"""Standard deviations above 1/n that are noise: a server's clients are as many as a fair draw of 1 in n gives, for
the ports, and so the digests, are other ones in each run. Of three rows one is beyond in 10,000 runs."""

BACK_WITHIN = 2.0
"""Seconds after its return the backup is asked for the last time."""

MOVE_HEAD = (
    *("servers", "clients", f"1/n, and {SIGMAS} sigma", "moved", "of others' clients"),
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


@dataclass(frozen=True)
class Moves:
    """Who answered each client: with all servers, without the first; and at two other daemons."""

    gone: str
    count: int
    before: dict[int, str]
    after: dict[int, str]
    never_had_it: dict[int, str]
    other_order: dict[int, str]

    @property
    def share(self) -> float:
        return 1 / self.count

    @property
    def noise(self) -> float:
        return SIGMAS * math.sqrt(self.share * (1 - self.share) / len(self.before))

    @property
    def own(self) -> int:
        """Clients of the server that left, who moved."""
        return moved(self.before, self.after).count(self.gone)

    @property
    def wrong(self) -> tuple[int, int, int, int]:
        """What is to be 0: others' clients that moved, errors, who is elsewhere at the two other daemons."""
        answers = (*self.before.values(), *self.after.values())
        return (
            len(moved(self.before, self.after)) - self.own,
            sum(name.isdigit() for name in answers),
            len(moved(self.after, self.never_had_it)),
            len(moved(self.before, self.other_order)),
        )

    @property
    def is_kept(self) -> bool:
        return self.own <= (self.share + self.noise) * len(self.before) and not any(self.wrong)

    def row(self) -> list[str]:
        others, errors, never_had_it, other_order = self.wrong
        return [
            str(self.count),
            str(len(self.before)),
            f"{self.share:.1%} + {self.noise:.1%}",
            f"{self.own} ({self.own / len(self.before):.1%})",
            str(others),
            str(errors),
            f"{len(moved(self.before, self.never_had_it))}, {never_had_it} otherwise",
            f"{other_order} otherwise",
        ]


async def leaving(count: int, clients: int) -> Moves:
    """There are n servers, and one of them leaves."""
    async with serving(count) as servers:
        urls = [server.url for server in servers]
        with sidecar(*urls[::-1], target=STICKY) as another:
            other_order = await served(another.url, clients)
        with sidecar(*urls, target=STICKY) as door:
            before = await served(door.url, clients)
            servers[0].kill()
            after = await served(door.url, clients)
        with sidecar(*urls[1:], target=STICKY) as without:
            never_had_it = await served(without.url, clients)
    return Moves(servers[0].name, count, before, after, never_had_it, other_order)


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


@dataclass
class Returns:
    """What came of all rounds: of each, when the server had its first request after its return, and the backup its
    last one."""

    asked: list[Asked] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    alls: list[float] = field(default_factory=list)

    def add(self, asked: list[Asked], server: str, back_at: float) -> None:
        later = [one for one in asked if one.at >= back_at]
        firsts = (one.at for one in later if one.server == server)
        lasts = (one.at for one in later if one.server != server)
        self.firsts.append(min(firsts, default=math.inf) - back_at)
        self.alls.append(max(lasts, default=back_at) - back_at)
        self.asked += asked

    @property
    def errors(self) -> int:
        return sum(not one.server for one in self.asked)

    @property
    def is_kept(self) -> bool:
        return not self.errors and max(*self.firsts, *self.alls) <= BACK_WITHIN

    def figures(self) -> list[str]:
        """Times are medians and the longest of the rounds."""
        longest = max(one.took for one in self.asked)
        counts = [str(len(self.asked)), str(self.errors), f"{longest:.2f}"]
        return [*counts, spread(self.firsts), spread(self.alls)]


async def failback(fault: str, down: float, affinity: str, rate: float, rounds: int) -> Returns:
    """So many rounds, each with servers and a daemon of its own."""
    found = Returns()
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
        found.add(asked, server.name, back_at)
    return found


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=600)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    moves = [trio.run(leaving, count, args.clients) for count in (3, 5, 8)]
    print_table(
        "One of n servers leaves: clients that move", MOVE_HEAD, [each.row() for each in moves]
    )
    cases = [
        (fault, down, affinity)
        for affinity in ("none", STICKY["affinity"])
        for fault in ("killed", "blackholed")
        for down in (3.0, 15.0)
    ]
    returns = [trio.run(failback, *case, args.rate, args.rounds) for case in cases]
    print_table(
        f"A server with a backup dies and is back, {args.rate:g} GET a second, {args.rounds} rounds",
        FAILBACK_HEAD,
        [
            [fault, f"{down:g}", affinity.partition(":")[0], *each.figures()]
            for (fault, down, affinity), each in zip(cases, returns, strict=True)
        ],
    )
    kept = [*(each.is_kept for each in moves), *(each.is_kept for each in returns)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
