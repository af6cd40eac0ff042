"""TCP mode: when a client learns that its server died, and how soon its next connection is served.

    python -m tests.bench.tcp_failover [--runs 20] [--only WORD]

Real sockets on loopback, a daemon for each run, real faults: a process killed with SIGKILL, sockets blackholed
by a one-instruction filter (ACKs too). The client is a plain socket that asks one question; "answer or error" is
from the question to what it gets, but for the killed server from the kill; "next" is a whole question and answer
on a new connection right behind an error.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from haclient.types import Endpoint
from tests.bench.tables import median, print_table
from tests.support.daemon import daemon
from tests.support.origin import Behaviour, Moment, Origin
from tests.support.origin_process import origin_process
from tests.support.sidecar import free_port

ASKED = b"GET /orders/7 HTTP/1.1\r\nHost: orders.test\r\n\r\n"
BIND = "127.0.0.2:0"
SLOW = 10.0
AT_ONCE = 4
PATIENCE = 30.0

FILE = """
[target.db]
urls = {urls}
backups = {backups}
order = "{order}"
[listener.db]
mode = "tcp"
bind = "127.0.0.1:{port}"
target = "db"
[log]
level = "error"
"""


@dataclass
class Row:
    """What the runs of one row saw."""

    times: list[float] = field(default_factory=list)
    next_times: list[float] = field(default_factory=list)
    answered: int = 0
    failed: int = 0


class Door:
    """A daemon's, and the clients that come to it."""

    def __init__(self, port: int, row: Row) -> None:
        self.port = port
        self._row = row

    async def ask(self) -> bool:
        """One question on a connection of its own; whether it was answered."""
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(ASKED)
                    return bool(await stream.receive_some())
        return False

    async def measure(self) -> None:
        """A question, its time into the row; and the next one, if it was not answered."""
        began_at = trio.current_time()
        is_answered = await self.ask()
        self._row.times.append(trio.current_time() - began_at)
        self._row.answered += is_answered
        self._row.failed += not is_answered

    async def measure_next(self) -> None:
        """On a new connection, behind an error."""
        began_at = trio.current_time()
        assert await self.ask()
        self._row.next_times.append(trio.current_time() - began_at)


@asynccontextmanager
async def door_to(
    row: Row,
    *servers: Endpoint | None,
    backups: tuple[Endpoint | None, ...] = (),
    order: str = "listed",
) -> AsyncIterator[Door]:
    """A daemon for these servers; started and ended in a thread, for other runs' clocks go on."""
    port = free_port()
    urls, others = ([f"tcp://{one}" for one in some] for some in (servers, backups))
    with tempfile.TemporaryDirectory() as folder:
        text = FILE.format(urls=urls, backups=others, order=order, port=port)
        running = daemon(Path(folder), text)
        await trio.to_thread.run_sync(running.__enter__)
        try:
            yield Door(port, row)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(running.__exit__, None, None, None)


async def origin(nursery: trio.Nursery, behaviour: Behaviour | None = None) -> Origin:
    """One more server."""
    one = Origin("o", behaviour or Behaviour())
    await nursery.start(one.serve, BIND)
    return one


async def killed(row: Row, nursery: trio.Nursery) -> None:
    alive = await origin(nursery)
    async with origin_process(BIND) as doomed:
        await doomed.set(Behaviour(think=60))
        async with door_to(row, doomed.endpoint, alive.endpoint) as door:
            own = Row()
            async with trio.open_nursery() as asking:
                asking.start_soon(Door(door.port, own).measure)
                await trio.sleep(0.3)
                at = trio.current_time()
                await doomed.kill()
            row.times.append(trio.current_time() - at)
            row.failed += own.failed
            await door.measure_next()


async def blackholed(row: Row, nursery: trio.Nursery, *, moment: Moment) -> None:
    dead, alive = await origin(nursery, Behaviour(blackhole_at=moment)), await origin(nursery)
    async with door_to(row, dead.endpoint, alive.endpoint) as door:
        await door.measure()
        await door.measure_next()


async def three_alive(row: Row, nursery: trio.Nursery) -> None:
    three = [(await origin(nursery)).endpoint for _ in range(3)]
    async with door_to(row, *three, order="fastest") as door:
        await door.measure()


async def blackholed_at_connect(row: Row, nursery: trio.Nursery) -> None:
    three = [await origin(nursery) for _ in range(3)]
    three[0].blackhole()
    async with door_to(row, *[one.endpoint for one in three], order="fastest") as door:
        await door.measure()


async def first_blackholed_at_connect(row: Row, nursery: trio.Nursery) -> None:
    two = [await origin(nursery) for _ in range(2)]
    two[0].blackhole()
    async with door_to(row, *[one.endpoint for one in two]) as door:
        await door.measure()


async def refused(row: Row, nursery: trio.Nursery) -> None:
    nobody = [Endpoint("127.0.0.2", 1), Endpoint("127.0.0.3", 1)]
    alive = await origin(nursery)
    async with door_to(row, *nobody, backups=(alive.endpoint,)) as door:
        await door.measure()


async def turned_away(row: Row, nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.2")
    port = listeners[0].socket.getsockname()[1]
    serve = functools.partial(trio.serve_listeners, trio.SocketStream.aclose, listeners)
    nursery.start_soon(serve)
    alive = await origin(nursery)
    async with door_to(row, Endpoint("127.0.0.2", port), alive.endpoint) as door:
        # It says nothing before its server does something, so that nothing can be lost.
        began_at = trio.current_time()
        async with await trio.open_tcp_stream("127.0.0.1", door.port) as stream:
            await trio.sleep(0.2)
            await stream.send_all(ASKED)
            answer = await stream.receive_some()
            row.answered += bool(answer)
        row.times.append(trio.current_time() - began_at - 0.2)


async def all_dead(row: Row, nursery: trio.Nursery) -> None:
    three = [await origin(nursery) for _ in range(3)]
    for one in three:
        one.blackhole()
    async with door_to(row, *[one.endpoint for one in three], order="fastest") as door:
        await door.measure()


async def slow(row: Row, nursery: trio.Nursery) -> None:
    one, other = await origin(nursery, Behaviour(think=SLOW)), await origin(nursery)
    async with door_to(row, one.endpoint, other.endpoint) as door:
        await door.measure()


Trial = Callable[[Row, trio.Nursery], Awaitable[None]]

TRIALS: dict[str, tuple[Trial, str]] = {
    "server process killed, answer owed": (killed, "error <= 0.05 s"),
    "blackholed, acknowledged, answer owed": (
        functools.partial(blackholed, moment=Moment.AFTER_READING),
        "error in 4 s",
    ),
    "blackholed before the ACK": (
        functools.partial(blackholed, moment=Moment.BEFORE_READING),
        "error in 4 s",
    ),
    "three alive (to compare with)": (three_alive, "answer"),
    "one of three blackholed at connect": (blackholed_at_connect, "no added time"),
    "listed, the first blackholed at connect": (first_blackholed_at_connect, "answer, 0.25 s"),
    "every address refused, backup alive": (refused, "answer, <= 0.05 s"),
    "the first ends every connection at once": (turned_away, "answer, <= 0.05 s"),
    "all dead at connect": (all_dead, "one reset in 4 s"),
    "10 s of silence": (slow, "waited for"),
}


async def run_row(trial: Trial, runs: int) -> Row:
    """All runs of a row, a few at a time."""
    row = Row()

    async def one() -> None:
        async with trio.open_nursery() as nursery:
            await trial(row, nursery)
            nursery.cancel_scope.cancel()

    for at in range(0, runs, AT_ONCE):
        async with trio.open_nursery() as batch:
            for _ in range(min(AT_ONCE, runs - at)):
                batch.start_soon(one)
    return row


def _two(values: list[float]) -> list[str]:
    return [f"{median(values):.3f}", f"{max(values):.3f}"] if values else ["", ""]


async def run(runs: int, only: str) -> None:
    rows = []
    for name, (trial, floor) in TRIALS.items():
        if only in name:
            row = await run_row(trial, runs)
            outcome = [str(row.answered), str(row.failed)]
            rows.append([name, *_two(row.times), *_two(row.next_times), *outcome, floor])
    head = ["fault", "median", "max", "next, median", "max", "answers", "errors", "must reach"]
    print_table(f"TCP mode, {runs} runs a row, seconds until answer or error", head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", metavar="WORD")
    args = parser.parse_args()
    trio.run(run, args.runs, args.only)


if __name__ == "__main__":
    main()
