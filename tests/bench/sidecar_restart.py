"""Three servers under steady load, restarted one after another, and one of them blackholed.

    python -m tests.bench.sidecar_restart [--seconds 30] [--rate 50]

So many GET and so many POST a second (httpx, open loop). Restarts: gracefully (SIGTERM, the server answers
what it has), then by kill -9; each server stays down for a second. A server writes each request down before
it answers, so that what ran twice shows. Then GET alone, while one server is blackholed for the whole time.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.bench.tables import print_table
from tests.support.origin import Behaviour
from tests.support.origin_process import OriginProcess, origin_process
from tests.support.restartable_server import restartable_server
from tests.support.sidecar import free_port, sidecar
from tests.support.steady_load import SteadyLoad, quantile

DOWN = 1.0
"""Seconds between a server's end and its next start."""

UP = 2.0
"""Seconds that all three are there before the next one goes."""

BEFORE = 5.0
"""Seconds of load before the fault, to compare with."""

DETECTED_WITHIN = 4.0
"""The window: later requests are to know."""

RESTART_HEAD = (
    *("how", "restarts", "sent", "GET errors", "POST errors", "POST run twice"),
    *("200 but never run", "longest, s", "must reach"),
)


class Server:
    """One of three, in as many processes one after another as it takes."""

    def __init__(self, number: int, log: Path) -> None:
        self._bind = f"127.0.0.{number + 2}:{free_port()}"
        self._log = log
        self.url = f"http://{self._bind}"
        self._is_due = trio.Event()
        self._signal = signal.SIGTERM

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Is there until cancelled, but for its restarts."""
        while True:
            async with restartable_server(self._bind, self._log) as (process, _):
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self._is_due.wait()
                process.send_signal(self._signal)
                await process.wait()
            self._is_due = trio.Event()
            await trio.sleep(DOWN)

    def restart(self, how: signal.Signals) -> None:
        """Ends it; it comes back by itself."""
        self._signal = how
        self._is_due.set()


async def restarts(servers: Sequence[Server], how: signal.Signals, seconds: float) -> int:
    """One after another; how many there were."""
    done = 0
    with trio.move_on_after(seconds - DOWN - UP):
        while True:
            await trio.sleep(UP)
            servers[done % len(servers)].restart(how)
            done += 1
            await trio.sleep(DOWN)
    return done


async def rolling(how: signal.Signals, seconds: float, rate: float) -> list[str]:
    """A row of the first table."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "executed"
        servers = [Server(number, log) for number in range(3)]
        async with trio.open_nursery() as nursery:
            for server in servers:
                await nursery.start(server.run)
            with sidecar(*[one.url for one in servers], target={"order": "shuffled"}) as door:
                load = SteadyLoad(door.url)
                async with trio.open_nursery() as both:
                    both.start_soon(load.run, seconds, rate)
                    done = await restarts(servers, how, seconds)
            nursery.cancel_scope.cancel()
        executed = Counter(log.read_text().splitlines())
    twice = sum(count > 1 for line, count in executed.items() if line.startswith("POST "))
    gone = lost_posts(load, executed)
    name = "graceful" if how is signal.SIGTERM else "kill -9"
    sent = f"{len(load.sent)}"
    longest = f"{max(one.took for one in load.sent):.2f}"
    errors = [said(load.errors("GET")), said(load.errors("POST"))]
    allowed = "GET 0, POST 0, twice 0" if how is signal.SIGTERM else "GET 0, twice 0"
    return [name, str(done), sent, *errors, str(twice), str(gone), longest, allowed]


def lost_posts(load: SteadyLoad, executed: Counter[str]) -> int:
    """POST that were answered with 200 and never ran: there must be none, ever."""
    posts = [one for one in load.sent if one.method == "POST" and not one.is_error]
    return sum(executed[f"POST /{one.request_id}"] == 0 for one in posts)


def said(errors: Counter[str]) -> str:
    kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(errors.items()))
    return kinds or "0"


async def blackholed(seconds: float, rate: float) -> list[list[str]]:
    """The second table."""
    async with AsyncExitStack() as stack:
        origins: list[OriginProcess] = []
        for number in range(3):
            one = await stack.enter_async_context(origin_process(f"127.0.0.{number + 2}:0"))
            await one.set(Behaviour(think=0.01))
            origins.append(one)
        urls = [f"http://{one.endpoint}" for one in origins]
        with sidecar(*urls, target={"order": "shuffled"}) as door:
            load = SteadyLoad(door.url)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run, BEFORE + seconds + BEFORE, rate, False)
                await trio.sleep(BEFORE)
                await origins[0].blackhole()
                await trio.sleep(seconds)
                await origins[0].heal()
    dead = BEFORE + seconds
    return [
        phase(load, "before", 1, BEFORE),
        phase(
            load, f"first {DETECTED_WITHIN:g} s of the blackhole", BEFORE, BEFORE + DETECTED_WITHIN
        ),
        phase(load, "the rest of it", BEFORE + DETECTED_WITHIN, dead),
        phase(load, "healed", dead, dead + BEFORE),
    ]


def phase(load: SteadyLoad, name: str, since: float, until: float) -> list[str]:
    """A row: the GET that were sent between two moments."""
    times = load.times("GET", since, until)
    errors = sum(one.is_error for one in load.sent if since <= one.at < until)
    figures = [f"{quantile(times, share) * 1000:.0f}" for share in (0.5, 0.99, 1)]
    over = sum(took > 0.5 for took in times)
    return [name, str(len(times)), str(errors), *figures, str(over)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50)
    args = parser.parse_args()
    rows = [
        trio.run(rolling, how, args.seconds, args.rate) for how in (signal.SIGTERM, signal.SIGKILL)
    ]
    print_table(
        f"Rolling restart of three servers, {args.rate:g} GET and POST a second for {args.seconds:g} s",
        RESTART_HEAD,
        rows,
    )
    print_table(
        f"One of three servers blackholed for {args.seconds:g} s, {args.rate:g} GET a second, ms",
        ["while", "sent", "errors", "median", "99 %", "longest", "over 500 ms"],
        trio.run(blackholed, args.seconds, args.rate),
    )


if __name__ == "__main__":
    main()
