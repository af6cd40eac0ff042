"""Plays the corpus through haclient's own data plane, on loopback sockets in one process.

    python -m tests.corpus.run [--only TEXT] [--forward]

With --forward it is played to a forward listener, in absolute-form (tests.corpus.absolute). Each case is played at several splits of its bytes: the verdict must be the same. What is printed are
the cases that are not right, with their rule and why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Config, ListenerSettings, Mode, TcpBind
from haclient.core.spec import HostHeader, Target
from haclient.net import Resolution
from haclient.proxy.sidecar import Sidecar
from haclient.types import Endpoint
from tests.corpus.absolute import OF_ANOTHER_FORM, absolute, absolute_form
from tests.corpus.backend import Backend
from tests.corpus.case import RequestCase, ResponseCase, request_cases, response_cases
from tests.corpus.play import as_it_is, play_request, play_response, splits
from tests.corpus.verdict import Grade, Verdict

__all__ = ["Played", "run_all", "sidecar_before"]

Case = RequestCase | ResponseCase

RESPONSE_TIMEOUT = 0.5
"""Seconds that a server which says nothing more is waited for."""


@dataclass(frozen=True)
class Played:
    """A case and what became of it, at each split."""

    case: Case
    verdicts: tuple[Verdict, ...]

    @property
    def grade(self) -> Grade:
        """The worst of them; verdicts that differ are not right."""
        grades = [verdict.grade for verdict in self.verdicts]
        if Grade.CRITICAL in grades:
            return Grade.CRITICAL
        is_right = set(grades) == {Grade.RIGHT} and len(set(self.verdicts)) == 1
        return Grade.RIGHT if is_right else Grade.WRONG

    @property
    def name(self) -> str:
        """Its file's and its own."""
        return f"{self.case.topic}/{self.case.id}"

    def __str__(self) -> str:
        told = " | ".join(dict.fromkeys(verdict.outcome for verdict in self.verdicts))
        return f"{self.grade.value}: {self.name}: {told}\n    {self.case.rule}: {self.case.why}"


class Here:
    """A resolver to which every name is the server, whatever port is asked for."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int) -> Resolution:
        return Resolution(host, (Endpoint("127.0.0.1", self._port),), "static")


def configuration(port: int, mode: Mode) -> Config:
    """One door before the server with this port, by way of a target or of what it is asked for."""
    target = Target(
        urls=f"http://127.0.0.1:{port}",
        host_header=HostHeader.PRESERVE,
        response_timeout=RESPONSE_TIMEOUT,
    )
    bind = TcpBind("127.0.0.1", 0)
    if mode is Mode.FORWARD:
        allow = AllowList((parse_rule("a.test:*"), parse_rule("b.test:*")))
        door = ListenerSettings(name="door", bind=bind, mode=mode, allow=allow)
        defaults = Target(urls="http://destination.invalid", response_timeout=RESPONSE_TIMEOUT)
        return Config(targets={}, listeners=(door,), defaults=defaults)
    door = ListenerSettings(name="door", bind=bind, target="main")
    return Config(targets={"main": target}, listeners=(door,))


@asynccontextmanager
async def sidecar_before(
    backend: Backend, faults: list[Exception], mode: Mode = Mode.REVERSE
) -> AsyncIterator[tuple[str, int]]:
    """The data plane of a process with one door, whose address it is."""
    config, here = configuration(backend.port, mode), Here(backend.port)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.serve)
        sidecar = Sidecar(config, nursery, here, tell=lambda _: None, tell_fault=faults.append)
        sidecar.start()
        address, _, port = sidecar.doors[0].address.rpartition(":")
        yield address, int(port)
        sidecar.gateway.engine.close()
        nursery.cancel_scope.cancel()


async def play_every_way(
    case: Case, address: tuple[str, int], backend: Backend, mode: Mode
) -> Played:
    """At each split of the bytes."""
    form = as_it_is
    if mode is Mode.FORWARD:
        case, form = absolute(case), absolute_form
    verdicts = []
    for pieces in splits(case.wire, len(case.wire)):
        if isinstance(case, RequestCase):
            verdicts.append(await play_request(case, address, backend, pieces, form))
        else:
            verdicts.append(await play_response(case, address, backend, pieces, form))
    return Played(case, tuple(verdicts))


async def run_all(cases: tuple[Case, ...], mode: Mode = Mode.REVERSE) -> list[Played]:
    """Plays these cases.

    Raises:
        Exception: what the data plane did not expect.
    """
    backend, faults = Backend(), list[Exception]()
    async with sidecar_before(backend, faults, mode) as address:
        played = [await play_every_way(case, address, backend, mode) for case in cases]
    if faults:
        raise ExceptionGroup("faults of the data plane", faults)
    return played


def main() -> int:
    """Prints what is not right."""
    parser = argparse.ArgumentParser(prog="python -m tests.corpus.run")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="cases whose name has this in it"
    )
    parser.add_argument("--forward", action="store_true", help="to a forward listener")
    options = parser.parse_args()
    only, mode = options.only, Mode.FORWARD if options.forward else Mode.REVERSE
    cases: tuple[Case, ...] = (*request_cases(), *response_cases())
    chosen = tuple(case for case in cases if only in f"{case.topic}/{case.id}")
    began = time.perf_counter()
    played = trio.run(run_all, chosen, mode)
    if options.forward:
        played = [one for one in played if one.name not in OF_ANOTHER_FORM]
    for one in played:
        if one.grade is not Grade.RIGHT or only:
            print(one)
    counted = Counter(one.grade.value for one in played)
    print(f"{len(played)} cases, {time.perf_counter() - began:.1f} s: {dict(counted)}")
    return int(any(one.grade is not Grade.RIGHT for one in played))


if __name__ == "__main__":
    sys.exit(main())
