"""What is done to the servers and to the daemon in a soak: a plan from the seed, and its execution.

Most of the time one server is impaired, sometimes two; never three of the four, for then failing would be
right and nothing could be checked.
"""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import trio

from tests.bench.soak.origin import MODES
from tests.bench.soak.rest import asked, status_of
from tests.bench.soak.servers import SoakServer
from tests.support.sidecar import Sidecar

__all__ = ["Blow", "Tormentor", "plan"]

SERVER_KINDS = (
    *("kill", "kill", "stop", "blackhole", "blackhole"),
    *("blackhole before reading", "blackhole the door"),
    *(mode for mode in MODES if mode != "well"),
)
RELOADS = ("reload", "reload", "broken reload")

TWO_AT_ONCE = 0.15
RELOAD_SHARE = 0.15
BACKUP_SHARE = 0.1

AGAIN_EVERY = 0.05
TOLD_WITHIN = 20.0
"""Seconds in which the daemon must have read its file again, on a machine that does much else."""


@dataclass(frozen=True)
class Blow:
    """One thing that is done."""

    kind: str
    server: int
    gap: float
    """Seconds after the one before it began, or ended."""
    seconds: float
    overlaps: bool
    """Whether it may begin while another server is impaired."""
    chance: float
    """For what else is to be chosen."""


def plan(seed: int) -> Iterator[Blow]:
    """Without end; the same for the same seed."""
    chance = random.Random(f"faults:{seed}")
    while True:
        is_reload = chance.random() < RELOAD_SHARE
        yield Blow(
            kind=chance.choice(RELOADS if is_reload else SERVER_KINDS),
            server=3 if chance.random() < BACKUP_SHARE else chance.randrange(3),
            gap=chance.uniform(0.2, 2.0),
            # The longest outlast the back-stop, and every detection.
            seconds=chance.choice([0.3, 0.3, 1.0, 1.0, 2.0, 3.0, 4.0, 9.0])
            * chance.uniform(0.8, 1.2),
            overlaps=chance.random() < TWO_AT_ONCE,
            chance=chance.random(),
        )


class Tormentor:
    """Carries the plan out."""

    def __init__(self, servers: Sequence[SoakServer], daemon: Sidecar) -> None:
        self._servers = servers
        self._daemon = daemon
        self._file = daemon.folder / "haclient.toml"
        self._whole = self._file.read_text()
        self.done: list[str] = []

    async def run(self, blows: Iterator[Blow], seconds: float) -> None:
        """For so long; returns when everything is mended."""
        ends_at = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for blow in blows:
                await trio.sleep(blow.gap)
                await self._wait_for_turn(blow)
                if trio.current_time() >= ends_at:
                    break
                self.done.append(blow.kind)
                if blow.kind in RELOADS:
                    await self._reload(blow)
                else:
                    await nursery.start(self._strike, blow, self._servers[blow.server])
        await self._put_in_force(self._whole)

    async def _wait_for_turn(self, blow: Blow) -> None:
        while True:
            impaired = [one for one in self._servers if not one.is_well]
            if len(impaired) <= blow.overlaps and self._servers[blow.server] not in impaired:
                return
            await trio.sleep(AGAIN_EVERY)

    async def _strike(
        self, blow: Blow, server: SoakServer, task_status: trio.TaskStatus[None]
    ) -> None:
        async with server.fault(blow.kind):
            task_status.started()
            match blow.kind:
                case "kill":
                    await server.kill()
                    await trio.sleep(blow.seconds)
                    await server.start()
                case "stop":
                    server.pause()
                    await trio.sleep(blow.seconds)
                    server.resume()
                case mode if mode in MODES:
                    share = 0.3 + 0.7 * blow.chance
                    await server.order("mode", mode=mode, share=share)
                    await trio.sleep(blow.seconds)
                    await server.order("mode", mode="well", share=0)
                case order:
                    await server.order(order)
                    await trio.sleep(blow.seconds)
                    await server.order("heal")

    # --- the daemon's file -------------------------------------------------------------------

    async def _reload(self, blow: Blow) -> None:
        if blow.kind == "reload":
            await self._put_in_force(self._changed(blow.chance))
            return
        before = await self._generation()
        good = self._file.read_text()
        self._file.write_text(good.replace("urls", "urlz", 1))
        answer = await asked(self._daemon, "POST /reload")
        assert answer.startswith(b"HTTP/1.1 409 "), answer
        self._file.write_text(good)
        assert await self._generation() == before

    async def _generation(self) -> int:
        generation: int = (await status_of(self._daemon))["generation"]
        return generation

    async def _put_in_force(self, text: str) -> None:
        """Returns once the daemon goes by it."""
        generation = await self._generation()
        self._file.write_text(text)
        os.kill(self._daemon.pid, signal.SIGHUP)
        for _ in range(round(TOLD_WITHIN / AGAIN_EVERY)):
            if await self._generation() != generation:
                return
            await trio.sleep(AGAIN_EVERY)
        raise AssertionError("the daemon did not read its file again")

    def _changed(self, chance: float) -> str:
        """The file with something in it changed."""
        urls = [one.url for one in self._servers[:3]]
        room = self._daemon.folder / "another.sock"
        another = f'[listener.another]\nbind = "unix:{room}"\ntarget = "main"\n'
        variants = [
            self._whole,
            self._whole.replace('order = "fastest"', 'order = "shuffled"'),
            self._whole.replace('order = "fastest"', 'order = "listed"'),
            re.sub(r"(?m)^urls = .*$", f"urls = {urls[1:]}", self._whole),
            re.sub(r"(?m)^urls = .*$", f"urls = {urls[:2]}", self._whole),
            re.sub(r"(?m)^replay_limit = .*$", 'replay_limit = "256KiB"', self._whole),
            self._whole + another,
        ]
        return variants[int(chance * len(variants))]
