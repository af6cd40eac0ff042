"""One abuse, measured: calm, abuse, what is left."""

from __future__ import annotations

import os
import re
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.bench.abuse.child import child
from tests.bench.abuse.hostile import SECRET
from tests.bench.abuse.stage import (
    BODY_TIMEOUT,
    HEADER_TIMEOUT,
    RESPONSE_TIMEOUT,
    Abuse,
    Outcome,
    Stage,
)
from tests.support.process_figures import cpu_seconds, peak_memory
from tests.support.sidecar import Sidecar, sidecar

__all__ = ["HEAD", "Good", "Measured", "measure"]

GOOD_CLIENT = "tests.bench.abuse.good_client"
POOL_IDLE = 2.0
SETTLES_WITHIN = 12.0
"""Seconds: the pool's idle limit, and a client's linger."""

ENDS_WITHIN = 90.0
"""Seconds, whatever an abuse does."""

AT_LEAST = 5.0
"""Seconds of good requests beside an abuse that is over sooner."""

MOST_GROWTH = 64 << 20
P99_MAY_BE, TIMES_CALM = 0.1, 10

CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
"""But for the end of the line; of C1 those that UTF-8 makes."""

HEAD = (
    *("abuse", "what became of it", "cut after, s", "good requests", "errors"),
    *("p99 calm, ms", "p99, ms", "memory, MiB", "CPU, %", "descriptors left", "verdict"),
)


@dataclass
class Good:
    """What the good client had in a while."""

    times: list[float]
    errors: list[str]

    @property
    def p99(self) -> float:
        """Of the answers; seconds."""
        if len(self.times) < 2:
            return float("inf")
        return statistics.quantiles(self.times, n=100, method="inclusive")[98]


@dataclass
class Measured:
    """All figures of an abuse."""

    abuse: Abuse
    outcome: Outcome
    calm: Good
    good: Good
    growth: int
    cpu: float
    left: int
    log: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """What does not reach what it must."""
        outcome, good = self.outcome, self.good
        found = [*outcome.failures, *self.log]
        if outcome.cut is not None and outcome.cut > outcome.bound:
            found.append(f"cut after {outcome.cut:.1f} s, above {outcome.bound:g}")
        if good.errors:
            found.append(f"{len(good.errors)} good requests failed: {good.errors[0]}")
        if good.p99 > max(P99_MAY_BE, TIMES_CALM * self.calm.p99):
            found.append(f"p99 {good.p99 * 1000:.0f} ms")
        if self.growth > MOST_GROWTH:
            found.append(f"memory grew by {self.growth >> 20} MiB")
        if self.abuse.most_cpu is not None and self.cpu > self.abuse.most_cpu:
            found.append(f"took {self.cpu:.0%} of a processor")
        if self.left:
            found.append(f"{self.left} descriptors left")
        return found

    @property
    def row(self) -> list[str]:
        """For the table."""
        outcome, good = self.outcome, self.good
        cut = "" if outcome.cut is None else f"{outcome.cut:.1f} (<= {outcome.bound:g})"
        return [
            self.abuse.name,
            outcome.told,
            cut,
            str(len(good.times) + len(good.errors)),
            str(len(good.errors)),
            f"{self.calm.p99 * 1000:.1f}",
            f"{good.p99 * 1000:.1f}",
            f"{self.growth / (1 << 20):.1f}",
            f"{self.cpu * 100:.0f}",
            str(self.left),
            "; ".join(self.failures) or "holds",
        ]


async def measure(
    abuse: Abuse, *, crowd: int = 500, calm: float = 4.0, log: str = "text"
) -> Measured:
    """Runs one abuse against a daemon of its own."""
    target = {
        "response_timeout": f"{RESPONSE_TIMEOUT:g}s",
        "pool_idle_timeout": f"{POOL_IDLE:g}s",
        "max_connections": 2048,
        **abuse.target,
    }
    listener = {"header_timeout": f"{HEADER_TIMEOUT:g}s", "body_timeout": f"{BODY_TIMEOUT:g}s"}
    binds = [f"127.0.0.{number + 2}:0" for number in range(abuse.servers + 1)]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(child("tests.bench.abuse.origin", *binds))
        good, *abused = server.hello
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="abuse-"))
        door = stack.enter_context(
            sidecar(
                good,
                folder=Path(folder),
                target=target,
                listener={**listener, "routes": [{"host": "abused", "target": "abused"}]},
                others={"target.abused": {"urls": abused, **target}},
                log={"level": "info", "access": True, "format": log},
                descriptors=abuse.descriptors,
                expected=("",),
            )
        )
        return await _measured(abuse, Stage(door, server, crowd), calm)


async def _measured(abuse: Abuse, stage: Stage, calm_for: float) -> Measured:
    door = stage.door
    async with child(GOOD_CLIENT, "127.0.0.1", str(door.port)) as client:
        await trio.sleep(1.0)
        await client.order("take")
        await trio.sleep(calm_for)
        calm = Good(**await client.order("take"))
    before = await _descriptors_once_settled(door, 0)
    async with child(GOOD_CLIENT, "127.0.0.1", str(door.port)) as client:
        await trio.sleep(1.0)
        await client.order("take")
        began_at, cpu = trio.current_time(), cpu_seconds(door.pid)
        with peak_memory(door.pid) as peak:
            outcome = Outcome("", failures=[f"not over after {ENDS_WITHIN:g} s"])
            with trio.move_on_after(ENDS_WITHIN):
                outcome = await abuse.run(stage)
            await trio.sleep_until(began_at + AT_LEAST)
        cpu = (cpu_seconds(door.pid) - cpu) / (trio.current_time() - began_at)
        good = Good(**await client.order("end"))
    left = await _descriptors_once_settled(door, before) - before
    log = _complaints((door.folder / "stderr").read_bytes().splitlines(keepends=False))
    return Measured(abuse, outcome, calm, good, peak.growth, cpu, left, log)


async def _descriptors_once_settled(door: Sidecar, enough: int) -> int:
    """How many the daemon has once that is few enough, or when it has had its time."""
    folder = f"/proc/{door.pid}/fd"
    fewest = len(os.listdir(folder))
    with trio.move_on_after(SETTLES_WITHIN if enough else POOL_IDLE + 2.5):
        while fewest > enough:
            await trio.sleep(0.1)
            fewest = min(fewest, len(os.listdir(folder)))
    return fewest


def _complaints(lines: Sequence[bytes]) -> list[str]:
    """What no log of a daemon under abuse may hold."""
    found = []
    if bad := [line for line in lines if CONTROL.search(line)]:
        found.append(f"{len(bad)} log lines with a control byte: {bad[0][:300]!r}")
    if bad := [line for line in lines if SECRET.encode() in line]:
        found.append(f"{len(bad)} log lines with a credential: {bad[0][:300]!r}")
    if bad := [line for line in lines if b"please report it" in line or b"Traceback" in line]:
        found.append(f"{len(bad)} faults: {bad[0][:300]!r}")
    if not lines:
        found.append("nothing was logged")
    return found
