"""A name's server dies under a program that knows nothing but http_proxy: the real daemon, curl, real faults."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.command import needs_command
from tests.support.forward_proxy import ForwardProxy, forward_proxy, name_server, run
from tests.support.loopback import eventually
from tests.support.origin import Behaviour, Moment
from tests.support.origin_process import OriginProcess, origin_process
from tests.support.sidecar import free_port

pytestmark = [
    needs_command,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

WINDOW = 4.0
BUSY = 1.0
"""Seconds that a machine with much else to do may take beyond it."""


@dataclass
class Pair:
    """shop.test has both addresses, the first one is asked first."""

    first: OriginProcess
    second: OriginProcess
    proxy: ForwardProxy
    port: int

    async def curl(self, *words: str) -> tuple[int, str, float]:
        """Exit code, what it printed, and how long that took."""
        command = ["curl", "-q", "-sS", "-m", "30", "-x", self.proxy.url, *words]
        began_at = trio.current_time()
        ran = await trio.to_thread.run_sync(
            partial(run, [*command, f"http://shop.test:{self.port}/x"])
        )
        return ran.returncode, ran.stdout + ran.stderr, trio.current_time() - began_at

    async def has_asked(self) -> None:
        """Returns once the first server has a request."""
        with trio.fail_after(20):
            while not await self.first.executed():  # noqa: ASYNC110  (another process)
                await trio.sleep(0.02)


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Pair]:
    port = free_port()
    async with (
        origin_process(f"127.0.0.31:{port}", name="first") as first,
        origin_process(f"127.0.0.32:{port}", name="second") as second,
    ):
        addresses = [first.endpoint.address, second.endpoint.address]
        order = '[defaults]\norder = "listed"\n'
        with (
            name_server({"shop.test": addresses}) as names,
            forward_proxy(folder, ["shop.test:*"], names, more=order) as proxy,
        ):
            yield Pair(first, second, proxy, port)


async def test_a_killed_server(tmp_path: Path) -> None:
    async with pair(tmp_path) as p, trio.open_nursery() as nursery:
        await p.first.set(Behaviour(think=60.0))
        got: list[tuple[int, str, float]] = []

        async def ask() -> None:
            got.append(await p.curl())

        nursery.start_soon(ask)
        await p.has_asked()
        await p.first.kill()
        with trio.fail_after(WINDOW + BUSY):
            while not got:  # noqa: ASYNC110  (a thread)
                await trio.sleep(0.01)
        code, said, _ = got[0]
        assert (code, said.split()[0]) == (0, "second:"), said
        code, said, _ = await p.curl()  # a new connection finds the first one refused
        assert code == 0, said
        where = f"address={p.first.endpoint} listeners=proxy destinations=http://shop.test:{p.port}"
        await eventually(
            lambda: f"an address is held down {where} why=" in p.proxy.process.log, within=5
        )


async def test_a_server_that_is_cut_off(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        await p.first.set(Behaviour(blackhole_at=Moment.AFTER_READING))
        code, said, seconds = await p.curl()

        assert (code, said.split()[0]) == (0, "second:"), said
        assert 1.0 < seconds < WINDOW + BUSY


async def test_a_post_to_it_is_not_sent_twice(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        await p.first.set(Behaviour(blackhole_at=Moment.AFTER_READING))
        code, said, seconds = await p.curl("-d", "x=1", "-w", "%{http_code}")

        assert (code, said[-3:]) == (0, "502"), said
        assert '"may_have_been_processed":true' in said
        assert seconds < WINDOW + BUSY
        assert await p.second.executed() == 0


async def test_a_tunnel_to_it_is_cut_and_the_next_one_goes_elsewhere(tmp_path: Path) -> None:
    async with pair(tmp_path) as p:
        await p.first.set(Behaviour(blackhole_at=Moment.AFTER_READING))
        code, said, seconds = await p.curl("-p")
        assert code in (52, 56), said
        assert 2.0 < seconds < WINDOW + BUSY

        code, said, seconds = await p.curl("-p")
        assert (code, said.split()[0]) == (0, "second:"), said
        assert seconds < WINDOW
