"""The command; the package says what it does."""

from __future__ import annotations

import argparse

import trio

import tests.bench.peers
from tests.bench.peers import envoy, haproxy, nginx, sidecar
from tests.bench.peers.proxy import Proxy
from tests.bench.peers.rounds import Results, Round
from tests.bench.peers.scenarios import SCENARIOS, Scenario
from tests.bench.peers.table import print_all
from tests.support.netns import remove_leftovers, why_not


async def run(runs: int, only: str, jobs: int, proxies: list[Proxy]) -> Results:
    """Each scenario `runs` times; the order of the proxies changes from one to the next."""
    chosen = [
        scenario
        for scenario in SCENARIOS
        if any(word in row for word in only.split("|") for row in scenario.rows)
    ]
    results: Results = {row: {} for scenario in chosen for row in scenario.rows}
    room = trio.Semaphore(jobs)

    async def one(scenario: Scenario, turns: list[Proxy]) -> None:
        await Round(scenario, turns, results).run()
        room.release()

    async with trio.open_nursery() as nursery:
        for scenario in chosen:
            for number in range(runs):
                await room.acquire()
                nursery.start_soon(one, scenario, proxies[:: -1 if number % 2 else 1])
    return results


async def main(options: argparse.Namespace) -> None:
    """Runs and prints."""
    if reason := await why_not():
        raise SystemExit(reason)
    await remove_leftovers()
    found = [
        *sidecar.proxies(),
        *haproxy.proxies(),
        *nginx.proxies(),
        *envoy.proxies(options.envoy),
    ]
    words = options.proxy.split(",")
    proxies = [proxy for proxy in found if any(word in proxy.name for word in words)]
    for family in ("haclient", "HAProxy", "nginx", "Envoy"):
        if family not in {proxy.family for proxy in found}:
            print(f"{family} is not installed here and left out")
    results = await run(options.runs, options.only, options.jobs, proxies)
    print_all(results, proxies, options.runs)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.peers",
        description=tests.bench.peers.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="rows with one of them, by bars"
    )
    parser.add_argument(
        "--proxy", default="", metavar="WORDS", help="proxies with one of them, by commas"
    )
    parser.add_argument("--jobs", type=int, default=2, help="scenarios at the same time")
    parser.add_argument("--envoy", default="", metavar="PATH")
    return parser.parse_args()


if __name__ == "__main__":
    trio.run(main, parse())
