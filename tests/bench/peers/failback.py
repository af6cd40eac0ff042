"""A server goes and comes back, under ten GETs a second: who loses one, and who uses it again, when.

Each GET has a connection of its own, and none waits for another. Two figures: the slowest GET from
the fault on, with the number that failed; and the time from the server's return to the first answer
that it gives.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio

from tests.bench.peers.outcome import BOUND, Outcome
from tests.bench.peers.program import Answer, Program
from tests.bench.peers.rig import Host, Rig

__all__ = ["cut_off", "restarted"]

EVERY = 0.1
"""Seconds between two requests."""

BACK_WITHIN = 30.0
"""Seconds that are waited for its return."""


class Traffic:
    """Steady requests; `answers` has those that are over, with their times."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.answers: list[tuple[float, Answer]] = []

    async def run(self) -> None:
        """Until cancelled; each request is over by then or does not count."""
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._ask)
                await trio.sleep(EVERY)

    async def _ask(self) -> None:
        since = time.perf_counter()
        program = Program(await self._rig.connect())
        try:
            answer = await program.ask()
            self.answers.append((answer.at - since, answer))
        finally:
            await program.aclose()

    async def served_by(self, letter: str, since: float) -> float:
        """The instant of the first answer from a server; infinite if there is none."""
        with trio.move_on_after(BACK_WITHIN):
            while True:
                ats = [one.at for _, one in self.answers if one.at > since and one.by == letter]
                if ats:
                    return min(ats)
                await trio.sleep(EVERY)
        return float("inf")


async def under_traffic(
    rig: Rig, goes: Callable[[Host], Awaitable[object]], comes: Callable[[Host], Awaitable[object]]
) -> list[Outcome]:
    """The server goes, and comes back; `goes` returns when it is to."""
    traffic = Traffic(rig)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic.run)
        await trio.sleep(1)
        fault = time.perf_counter()
        await goes(rig.servers[0])
        await comes(rig.servers[0])
        since = time.perf_counter()
        back = await traffic.served_by("a", since) - since
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    hit = [(took, one) for took, one in traffic.answers if one.at > fault]
    lost = [one.error for _, one in hit if one.error]
    slowest = max(took for took, _ in hit)
    error = "late" if slowest > BOUND else ""
    if lost:
        error = f"{len(lost)} of {len(hit)} lost: {', '.join(sorted(set(lost)))}"
    return [
        Outcome(slowest, error),
        Outcome(back, "" if back < BACK_WITHIN else f"not in {BACK_WITHIN:g} s"),
    ]


async def restarted(rig: Rig) -> list[Outcome]:
    """kill -9, three seconds of nothing, and a new process."""

    async def goes(server: Host) -> None:
        await server.stop_origin()
        await trio.sleep(3)

    return await under_traffic(rig, goes, Host.start_origin)


async def cut_off(rig: Rig) -> list[Outcome]:
    """Six seconds without a packet, and then all is well again, for the same process."""

    async def goes(server: Host) -> None:
        await server.drop()
        await trio.sleep(6)

    return await under_traffic(rig, goes, Host.heal)
