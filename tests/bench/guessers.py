"""What a crowd that guesses passwords costs those who have one, at a door with `auth`.

    python -m tests.bench.guessers [--connections 0 50 200] [--requests 200] [--rounds 5]

One daemon, one server. The crowd is a process of its own at another address (127.0.0.2): each connection guesses,
hears 401 or 503, and comes again at once with the next guess. Beside it a user that the door knows asks on a
connection that stays open, every 10 ms (p50, p99 and the longest, of all rounds), and users that it does not
know ask once each, from a third address ("a new user"). Rounds are interleaved, each begins when the daemon has
worked off the one before. The CPU is the daemon's, in cores.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import trio

from haclient.core.users import new_user
from tests.bench.tables import median, print_table
from tests.support.bulk_server import bulk_server
from tests.support.daemon import eventually
from tests.support.process_figures import cpu_seconds
from tests.support.sidecar import Sidecar, sidecar

KNOWN = "known"
SECRET = "open sesame"
EVERY = 0.01
"""Seconds between two requests of the user who is known."""

NEW_USERS = 3
"""In each round; each of them costs the door a check."""

CROWD, NEW = "127.0.0.2", "127.0.0.3"


@dataclass
class Row:
    """What the rounds of one crowd saw; times in milliseconds."""

    known: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    guesses: int = 0
    put_off: int = 0
    seconds: float = 0.0
    cpu: float = 0.0


def basic(name: str, password: str) -> str:
    """An Authorization field's value."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


# --- the crowd ------------------------------------------------------------------------------------


async def guess(
    port: int, number: int, guesses: Synchronized[int], put_off: Synchronized[int]
) -> None:
    """One after another, each on a connection of its own, for a wrong one ends it."""
    for again in itertools.count():
        value = basic(KNOWN, f"{number} {again}")
        request = f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {value}\r\n\r\n".encode()
        stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=CROWD)
        with contextlib.suppress(trio.BrokenResourceError):
            async with stream:
                await stream.send_all(request)
                answer = await stream.receive_some()
                guesses.value += answer.startswith(b"HTTP/1.1 401 ")
                put_off.value += answer.startswith(b"HTTP/1.1 503 ")


async def guess_all(
    port: int, connections: int, guesses: Synchronized[int], put_off: Synchronized[int]
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(connections):
            nursery.start_soon(guess, port, number, guesses, put_off)


@contextlib.contextmanager
def crowd(port: int, connections: int) -> Iterator[tuple[Synchronized[int], Synchronized[int]]]:
    """Guesses until the block ends; how often it was told no, and to come again, so far."""
    guesses, put_off = multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
    process = multiprocessing.Process(
        target=trio.run, args=(guess_all, port, connections, guesses, put_off), daemon=True
    )
    process.start()
    try:
        if connections:
            eventually(lambda: guesses.value > 2)
        yield guesses, put_off
    finally:
        process.kill()
        process.join()


# --- who has a password ---------------------------------------------------------------------------


def ask(connection: http.client.HTTPConnection, user: str) -> float:
    """A request that is served; milliseconds."""
    began_at = time.perf_counter()
    connection.request("GET", "/2", headers={"Authorization": basic(user, SECRET)})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return (time.perf_counter() - began_at) * 1000


def connection_to(door: Sidecar, source: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", door.port, 60, source_address=(source, 0))


def is_calm(pid: int) -> bool:
    """Whether it does next to nothing: what a crowd has left behind is worked off."""
    before = cpu_seconds(pid)
    time.sleep(0.3)  # noqa: TID251  (another process is waited for)
    return cpu_seconds(pid) - before <= 0.01


def run_round(
    row: Row, door: Sidecar, connections: int, requests: int, newcomers: Iterator[str]
) -> None:
    eventually(lambda: is_calm(door.pid))
    with contextlib.closing(connection_to(door, "127.0.0.1")) as known:
        ask(known, KNOWN)
        with crowd(door.port, connections) as (guesses, put_off):
            began_at, cpu = time.perf_counter(), cpu_seconds(door.pid)
            before = guesses.value, put_off.value
            for _ in range(requests):
                row.known.append(ask(known, KNOWN))
                time.sleep(EVERY)  # noqa: TID251  (the pace of a client)
            row.seconds += time.perf_counter() - began_at
            row.cpu += cpu_seconds(door.pid) - cpu
            row.guesses += guesses.value - before[0]
            row.put_off += put_off.value - before[1]
            for user in itertools.islice(newcomers, NEW_USERS):
                with contextlib.closing(connection_to(door, NEW)) as new:
                    row.new.append(ask(new, user))


def share(times: list[float], part: float) -> float:
    return sorted(times)[min(int(part * len(times)), len(times) - 1)]


def cells(connections: int, row: Row) -> list[str]:
    return [
        str(connections),
        *(f"{each:.1f}" for each in (median(row.known), share(row.known, 0.99), max(row.known))),
        *(f"{each:.0f}" for each in (median(row.new), max(row.new))),
        f"{row.guesses / row.seconds:.0f}",
        f"{row.put_off / row.seconds:.0f}",
        f"{row.cpu / row.seconds:.2f}",
    ]


def measure(crowds: list[int], requests: int, rounds: int) -> None:
    names = [f"new{number}" for number in range(len(crowds) * rounds * NEW_USERS)]
    rows = {connections: Row() for connections in crowds}
    with tempfile.TemporaryDirectory(prefix="ha-") as name:
        folder = Path(name)
        users = folder / "users"
        users.touch(0o600)
        lines = (new_user(user, SECRET, user.encode().ljust(16)) for user in (KNOWN, *names))
        users.write_text("".join(f"{line}\n" for line in lines))
        guarded = {"auth": {"users_file": str(users)}}
        with (
            bulk_server() as url,
            sidecar(url, listener=guarded, expected=["turned away"]) as door,
        ):
            newcomers = iter(names)
            for _ in range(rounds):
                for connections in crowds:
                    run_round(rows[connections], door, connections, requests, newcomers)
    print_table(
        f"A user who is known beside guessers, {requests} requests in each of {rounds} rounds",
        [
            "guessers",
            "p50, ms",
            "p99, ms",
            "longest",
            "a new user, ms",
            "longest",
            "guesses a second",
            "503 a second",
            "CPU",
        ],
        [cells(connections, row) for connections, row in rows.items()],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[0, 50, 200])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    measure(options.connections, options.requests, options.rounds)


if __name__ == "__main__":
    main()
