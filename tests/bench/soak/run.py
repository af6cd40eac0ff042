"""A soak from its start to its report."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import trio

from tests.bench.soak.clients import REPLAY_LIMIT, Doors, visit
from tests.bench.soak.faults import Tormentor, plan
from tests.bench.soak.history import Ended, History, Violation
from tests.bench.soak.rest import Rest, rest
from tests.bench.soak.servers import SoakServer, soak_server
from tests.support.process_figures import cpu_seconds, pss_bytes
from tests.support.sidecar import Sidecar, sidecar

__all__ = ["Report", "soak"]

RESTS_WITHIN = 20.0
"""Seconds from the last answer on; the pool keeps an idle connection for POOL_IDLE of them."""

POOL_IDLE = 5

MAY_GROW = 16 << 20
"""Bytes between rest and rest: 1 KiB kept of each request would show within ten minutes."""

TARGET = {
    "order": "fastest",
    "response_timeout": "8s",
    "replay_limit": f"{REPLAY_LIMIT}",
    "pool_idle_timeout": f"{POOL_IDLE}s",
}


@dataclass
class Report:
    """What came of it."""

    seed: int
    seconds: float
    history: History
    violations: list[Violation]
    done: Counter[str]
    before: Rest
    after: Rest
    memory: list[int]
    """Under load, at each tenth of the run."""
    cpu: float

    def faults(self) -> Iterator[str]:
        """What is wrong, one text each; none of a run that is in order."""
        for violation in self.violations:
            yield str(violation)
        yield from (f"the daemon's log: {line}" for line in self.history.complaints())
        if not self.after.is_quiet:
            yield f"not at rest {RESTS_WITHIN:g} s after the last answer: {self.after}"
        if self.after.descriptors != self.before.descriptors:
            yield f"descriptors: {self.before.descriptors} before, {self.after.descriptors} after"
        if (grown := self.after.memory - self.before.memory) >= MAY_GROW:
            yield f"memory grew by {grown >> 20} MiB"

    def rows(self) -> list[list[str]]:
        """A row for each kind of client."""
        history, ends = self.history, list(Ended)
        kinds = [(kind, history.ends(kind)) for kind in history.kinds()]
        total: Counter[Ended] = sum((counts for _, counts in kinds), Counter())
        return [
            [kind, str(counts.total()), *(str(counts[end]) for end in ends)]
            for kind, counts in [*kinds, ("all", total)]
        ]

    def figures(self) -> list[list[str]]:
        """What else there is to say of the run."""
        history, before, after = self.history, self.before, self.after
        excuses = Counter(history.excuse(each) for each in history.sent if each.has_failed)
        gone_on = history.resent()
        return [
            ["seed", f"{self.seed}"],
            ["requests", f"{len(history.sent)} in {self.seconds:g} s"],
            ["executed", f"{history.executed()}"],
            ["answered by a later attempt than the first", f"{gone_on}"],
            ["faults", _listed(self.done)],
            ["failures, by their excuse", _listed(excuses)],
            ["promises broken", f"{len(self.violations)}"],
            ["descriptors at rest", f"{before.descriptors} before, {after.descriptors} after"],
            ["connections at rest", f"{after.connections} of clients, {after.idle} to servers"],
            ["memory at rest, MiB", f"{_mib(before.memory)} before, {_mib(after.memory)} after"],
            ["memory under load, MiB", " ".join(_mib(each) for each in self.memory)],
            ["the daemon's CPU, s", f"{self.cpu:.1f}"],
        ]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} x {kind}" for kind, count in counts.most_common()) or "none"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


async def soak(seconds: float, seed: int, rate: float) -> Report:
    """Runs one: a quiet start without faults, the soak proper, and the way to rest."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        servers = [
            await stack.enter_async_context(
                soak_server(name, f"127.0.0.{number}", folder / f"journal-{name}")
            )
            for number, name in enumerate(["a", "b", "c", "backup"], 2)
        ]
        daemon = stack.enter_context(_daemon(servers, folder))
        return await _soak(daemon, servers, seconds, seed, rate)


def _daemon(servers: Sequence[SoakServer], folder: Path) -> AbstractContextManager[Sidecar]:
    *urls, backup = [one.url for one in servers]
    return sidecar(
        *urls,
        folder=folder,
        target={**TARGET, "backups": [backup]},
        log={"level": "info", "access": True, "format": "json"},
        expected=[""],  # the report judges its log
    )


async def _soak(
    daemon: Sidecar, servers: Sequence[SoakServer], seconds: float, seed: int, rate: float
) -> Report:
    history = History(servers)
    fresh = await rest(daemon, within=0)
    # The code's own caches, pools and buffers are warm after this; what grows later, grows for ever.
    await load(daemon, history, f"warm{seed}", max(5.0, seconds / 20), rate)
    before = await rest(daemon, within=RESTS_WITHIN, descriptors=fresh.descriptors)
    cpu = cpu_seconds(daemon.pid)
    tormentor = Tormentor(servers, daemon)
    memory: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_samples, daemon, memory, seconds)
        nursery.start_soon(load, daemon, history, str(seed), seconds, rate)
        nursery.start_soon(tormentor.run, plan(seed), seconds)
    after = await rest(daemon, within=RESTS_WITHIN, descriptors=before.descriptors)
    history.read(daemon.stderr.splitlines())
    return Report(
        seed=seed,
        seconds=seconds,
        history=history,
        violations=list(history.violations()),
        done=Counter(tormentor.done),
        before=before,
        after=after,
        memory=memory,
        cpu=cpu_seconds(daemon.pid) - cpu,
    )


async def take_samples(daemon: Sidecar, memory: list[int], seconds: float) -> None:
    """The daemon's memory, ten times."""
    for _ in range(10):
        await trio.sleep(seconds / 10)
        memory.append(pss_bytes(daemon.pid))


async def load(daemon: Sidecar, history: History, name: str, seconds: float, rate: float) -> None:
    """So many visits a second, each when its time has come, whatever became of those before it."""
    doors = Doors(daemon.port, daemon.unix_socket)
    began_at = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(round(seconds * rate)):
            await trio.sleep_until(began_at + number / rate)
            nursery.start_soon(visit, f"{name}-{number}", doors, history.sent)
