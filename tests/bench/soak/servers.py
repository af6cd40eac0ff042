"""The soak's servers, as their parent sees them: started, told to misbehave, struck and mended.

Each keeps a list of what was done to it and when: the check asks it whether a request that failed had any
reason to.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import trio

from tests.support.origin import LineReader
from tests.support.sidecar import free_port

__all__ = ["Fault", "SoakServer", "soak_server"]

SETTLED_AFTER = 0.5
"""Seconds after a fault's end that still count as its time: a stopped process has a queue to work off, a
lost segment is sent again, and on a busy machine both take their time."""

STARTS_WITHIN = 30.0


@dataclass
class Fault:
    """What was done to a server, from when to when (trio's clock)."""

    kind: str
    began_at: float
    ended_at: float = math.inf

    def touches(self, began_at: float, ended_at: float) -> bool:
        """Whether something that lasted so long could have felt it."""
        return self.began_at <= ended_at and began_at <= self.ended_at + SETTLED_AFTER


class SoakServer:
    """One address; as many processes one after another as it takes."""

    def __init__(self, name: str, address: str, journal: Path) -> None:
        self.name = name
        self.bind = f"{address}:{free_port()}"
        self.url = f"http://{self.bind}"
        self.journal = journal
        self.faults: list[Fault] = []
        self._process: trio.Process | None = None
        self._reader: LineReader | None = None

    def __repr__(self) -> str:
        return f"<SoakServer {self.name} at {self.bind}>"

    @property
    def is_well(self) -> bool:
        """Whether nothing is being done to it."""
        return not self.faults or self.faults[-1].ended_at < math.inf

    def struck(self, began_at: float, ended_at: float) -> list[str]:
        """What was done to it in a stretch of time."""
        return [one.kind for one in self.faults if one.touches(began_at, ended_at)]

    @asynccontextmanager
    async def fault(self, kind: str) -> AsyncIterator[None]:
        """It is being struck until the block ends."""
        fault = Fault(kind, trio.current_time())
        self.faults.append(fault)
        try:
            yield
        finally:
            fault.ended_at = trio.current_time()

    async def start(self) -> None:
        """Returns once it listens."""
        command = [sys.executable, "-m", "tests.bench.soak.origin"]
        self._process = await trio.lowlevel.open_process(
            [*command, self.bind, self.name, str(self.journal)],
            stdin=PIPE,
            stdout=PIPE,
            cwd=Path(__file__).parents[3],
        )
        assert self._process.stdout is not None
        self._reader = LineReader(self._process.stdout)
        with trio.fail_after(STARTS_WITHIN):
            await self._heard()

    async def order(self, do: str, **more: object) -> None:
        """Returns once it is carried out."""
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"do": do, **more}).encode() + b"\n")
        await self._heard()

    async def _heard(self) -> None:
        assert self._reader is not None
        if not await self._reader.read_line():
            raise RuntimeError(f"{self!r} ended by itself")

    async def kill(self) -> None:
        """kill -9; returns once its port is free."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await trio.aclose_forcefully(pipe)

    def pause(self) -> None:
        """SIGSTOP: the application hangs, its kernel lives."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@asynccontextmanager
async def soak_server(name: str, address: str, journal: Path) -> AsyncIterator[SoakServer]:
    """Runs one; at the end it is killed and waited for."""
    server = SoakServer(name, address, journal)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
