"""All proxies through one scenario at the same time: interleaved, and no slower than the slowest.

A run is nearly all waiting, so they share it: every rig is built first, then each has its turn to
start, a moment after the one before, in the opposite order every other round.
"""

from __future__ import annotations

import math
import sys
import traceback
from contextlib import AsyncExitStack

import trio

from tests.bench.peers.outcome import Outcome
from tests.bench.peers.proxy import Proxy
from tests.bench.peers.rig import Rig, rig
from tests.bench.peers.scenarios import Scenario

__all__ = ["Results", "Round"]

LONGEST = 180.0
"""Seconds for a run; the longest is that of a patient proxy with one server after the other."""

TRIES = 2
"""Of a run that does not come to its fault, on a machine too busy to connect within 250 ms."""

BUILT_AT_ONCE = 4
"""Rigs. Each starts three processes."""

Results = dict[str, dict[str, list[Outcome]]]
"""Row, proxy's name, runs."""


class Round:
    """One of them; `results` is added to."""

    def __init__(self, scenario: Scenario, proxies: list[Proxy], results: Results) -> None:
        self._scenario = scenario
        self._proxies = proxies
        self._results = results
        self._building = trio.CapacityLimiter(BUILT_AT_ONCE)
        self._unbuilt = len(proxies)
        self._all_built = trio.Event()

    async def run(self) -> None:
        """Returns when all are through."""
        async with trio.open_nursery() as nursery:
            for turn, proxy in enumerate(self._proxies):
                nursery.start_soon(self._run_one, proxy, turn)

    async def _run_one(self, proxy: Proxy, turn: int) -> None:
        rows = self._scenario.rows
        for _ in range(TRIES):
            try:
                with trio.fail_after(LONGEST):
                    outcomes = await self._outcomes(proxy, turn)
                break
            except Exception as error:  # the other runs' figures are too dear to lose
                traceback.print_exception(error)
                outcomes = [Outcome(math.inf, f"no run: {type(error).__name__}")] * len(rows)
        for row, outcome in zip(rows, outcomes, strict=True):
            self._results[row].setdefault(proxy.name, []).append(outcome)
            told = f"{row} | {proxy.name} | {outcome.took:.3f} {outcome.error}"
            print(told, file=sys.stderr, flush=True)

    async def _outcomes(self, proxy: Proxy, turn: int) -> list[Outcome]:
        async with AsyncExitStack() as stack:
            running = await self._built(proxy, stack)
            await trio.sleep(turn * self._scenario.apart)
            return await self._scenario.run(running)

    async def _built(self, proxy: Proxy, stack: AsyncExitStack) -> Rig:
        try:
            async with self._building:
                world = rig(proxy, receive_buffer=self._scenario.receive_buffer)
                running = await stack.enter_async_context(world)
        finally:
            self._unbuilt -= 1
            if self._unbuilt <= 0:
                self._all_built.set()
        await self._all_built.wait()
        return running
