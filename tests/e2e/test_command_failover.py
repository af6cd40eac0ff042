"""The installed command when its servers die: real processes, really killed and blackholed.

Two origins under one name, the doomed one first; `-w` tells what the command made of it. Bounds are
those that the documentation promises, from the moment of the death or of the start.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE

import pytest
import trio

from tests.support.command import COMMAND, environment, needs_command
from tests.support.origin import Behaviour, Moment
from tests.support.origin_process import OriginProcess, origin_process

pytestmark = needs_command

NAME = "orders.test"
WRITTEN = "\\n%{exitcode} %{attempts} %{failover_time} %{remote_ip}"


@asynccontextmanager
async def two_origins() -> AsyncIterator[tuple[OriginProcess, OriginProcess]]:
    """The one that is asked first and is about to die, and another, on one port."""
    port = port_of_both()
    async with (
        origin_process(f"127.0.0.2:{port}", name="doomed") as doomed,
        origin_process(f"127.0.0.3:{port}", name="other") as other,
    ):
        yield doomed, other


def port_of_both() -> int:
    """A port that is free on both addresses."""
    while True:
        with socket.create_server(("127.0.0.2", 0)) as first, suppress(OSError):
            port: int = first.getsockname()[1]
            socket.create_server(("127.0.0.3", port)).close()
            return port


def words_for(doomed: OriginProcess, *words: str) -> list[str | Path]:
    """A request to both under one name, the doomed one first."""
    port = doomed.endpoint.port
    return [
        COMMAND, "request", "-sS", "--order", "listed", "-w", WRITTEN,
        "--resolve", f"{NAME}:{port}:127.0.0.2,127.0.0.3", *words, f"http://{NAME}:{port}/orders/7",
    ]  # fmt: skip


class Ran:
    """A command that came to its end."""

    def __init__(self, done: subprocess.CompletedProcess[bytes], took: float) -> None:
        assert done.stdout, done.stderr
        content, _, written = done.stdout.decode().rpartition("\n")
        self.content = content.strip()
        self.code, self.attempts = map(int, written.split()[:2])
        self.failover_time = float(written.split()[2])
        self.remote_ip = written.split()[3]
        self.told = done.stderr.decode()
        self.took = took
        assert self.code == done.returncode


async def run(words: list[str | Path]) -> Ran:
    started = trio.current_time()
    with trio.fail_after(30):
        done = await trio.run_process(
            words,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    return Ran(done, trio.current_time() - started)


async def run_and(words: list[str | Path], meanwhile: Callable[[], Awaitable[None]]) -> Ran:
    """Runs the command, and `meanwhile` beside it; `took` counts from when that is over."""
    results: list[Ran] = []
    over_at = 0.0

    async def command() -> None:
        results.append(await run(words))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(command)
        await meanwhile()
        over_at = trio.current_time()
    results[0].took = trio.current_time() - over_at
    return results[0]


async def kill_when_it_executes(origin: OriginProcess) -> None:
    with trio.fail_after(10):
        while not await origin.executed():  # noqa: ASYNC110  (another process)
            await trio.sleep(0.01)
    await origin.kill()


class TestWhenAServerDies:
    async def test_it_is_blackholed_while_it_thinks(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(blackhole_at=Moment.AFTER_READING))
            ran = await run(words_for(doomed))

            assert (ran.code, ran.content, ran.told) == (0, "other: GET /orders/7", "")
            assert (ran.attempts, ran.remote_ip) == (2, "127.0.0.3")
            assert 1.0 <= ran.failover_time <= 1.5
            assert ran.took < 2.5
            assert await other.executed() == 1

    async def test_it_is_blackholed_before_it_reads(self) -> None:
        async with two_origins() as (doomed, _):
            await doomed.set(Behaviour(blackhole_at=Moment.BEFORE_READING))
            ran = await run(words_for(doomed))

            assert (ran.code, ran.content) == (0, "other: GET /orders/7")
            assert (ran.attempts, ran.remote_ip) == (2, "127.0.0.3")
            assert ran.took < 2.5

    async def test_it_does_not_answer_a_connect(self) -> None:
        async with two_origins() as (doomed, _):
            await doomed.blackhole()
            ran = await run(words_for(doomed))

            assert (ran.code, ran.content, ran.attempts) == (0, "other: GET /orders/7", 1)
            assert ran.took < 2.5

    async def test_it_is_killed(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(think=60))
            ran = await run_and(words_for(doomed), lambda: kill_when_it_executes(doomed))

            assert (ran.code, ran.content, ran.told) == (0, "other: GET /orders/7", "")
            assert (ran.attempts, ran.remote_ip) == (2, "127.0.0.3")
            assert ran.took < 1.0
            assert await other.executed() == 1

    async def test_a_put_is_sent_again_once_it_is_proved_dead(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 5000)
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(blackhole_at=Moment.AFTER_READING))
            ran = await run(words_for(doomed, "-T", str(tmp_path / "file")))

            assert (ran.code, ran.content) == (0, "other: PUT /orders/7")
            assert 2.3 <= ran.failover_time <= 3.5
            assert [one.content_bytes for one in await other.log()] == [5000]

    async def test_a_backup_stands_in(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.kill()
            url = f"http://127.0.0.2:{doomed.endpoint.port}/orders/7"
            backup = ["--backup", f"http://{other.endpoint}/"]
            ran = await run([COMMAND, "request", "-sS", "-w", WRITTEN, *backup, url])

            assert (ran.code, ran.content) == (0, "other: GET /orders/7")
            assert (ran.attempts, ran.remote_ip) == (1, "127.0.0.3")
            assert ran.took < 1.0

    async def test_the_backup_of_a_server_that_dies_thinking(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(blackhole_at=Moment.AFTER_READING))
            url = f"http://127.0.0.2:{doomed.endpoint.port}/orders/7"
            backup = ["--backup", f"http://{other.endpoint}/dr"]
            ran = await run([COMMAND, "request", "-sS", "-w", WRITTEN, *backup, url])

            assert (ran.code, ran.content) == (0, "other: GET /dr/orders/7")
            assert (ran.attempts, ran.remote_ip) == (2, "127.0.0.3")

    async def test_a_reader_that_pauses_is_no_silence_of_the_server(self, tmp_path: Path) -> None:
        """The back-stop is a second; the content waits for its reader for two and a half."""
        async with two_origins() as (doomed, _):
            await doomed.set(Behaviour(content_bytes=4_000_000))
            url = f"http://{doomed.endpoint}"
            text = f'[target.t]\nurls = ["{url}"]\nresponse_timeout = "1s"\n'
            (tmp_path / "file").write_text(text)
            words: list[str | Path] = [COMMAND, "request", "--target", "t", "/"]
            words += ["--config", tmp_path / "file"]
            process = await trio.lowlevel.open_process(
                words, stdout=PIPE, stderr=PIPE, env=environment()
            )
            assert process.stdout is not None
            assert process.stderr is not None
            async with process.stdout, process.stderr:
                first = await process.stdout.receive_some(1000)
                await trio.sleep(2.5)
                rest = b"".join([bytes(data) async for data in process.stdout])
                told = b"".join([bytes(data) async for data in process.stderr])
                await process.wait()

            assert (process.returncode, told) == (0, b"")
            assert len(first) + len(rest) == 4_000_000

    async def test_a_status_that_another_server_may_better(self) -> None:
        async with two_origins() as (doomed, _):
            await doomed.set(Behaviour(status=503))
            ran = await run(words_for(doomed, "-f"))

            assert (ran.code, ran.content, ran.attempts) == (0, "other: GET /orders/7", 2)

    @pytest.mark.parametrize("death", ["killed", "blackholed"])
    async def test_a_post_is_not_sent_twice(self, death: str) -> None:
        async with two_origins() as (doomed, other):
            words = words_for(doomed, "-d", "x")
            if death == "killed":
                await doomed.set(Behaviour(think=60))
                ran = await run_and(words, lambda: kill_when_it_executes(doomed))
            else:
                await doomed.set(Behaviour(blackhole_at=Moment.AFTER_READING))
                ran = await run(words)

            assert ran.code == {"killed": 52, "blackholed": 56}[death]
            assert (ran.content, ran.attempts) == ("", 1)
            assert ran.told.count("\n") == 1
            assert f"127.0.0.2:{doomed.endpoint.port}" in ran.told
            assert "a server may have executed the request" in ran.told
            assert "POST is not idempotent" in ran.told
            assert await other.executed() == 0
            assert ran.took < 4.0

    async def test_unless_it_bears_a_key(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(think=60))
            words = words_for(doomed, "--idempotency-key", "-d", "x")
            ran = await run_and(words, lambda: kill_when_it_executes(doomed))

            assert (ran.code, ran.content, ran.attempts) == (0, "other: POST /orders/7", 2)
            assert [one.is_whole for one in await other.log()] == [True]

    async def test_the_window_bounds_it(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(blackhole_at=Moment.AFTER_READING))
            ran = await run(words_for(doomed, "--window", "500ms"))

            assert ran.code == 56
            assert "the window is over" in ran.told
            assert ran.told.count("\n") == 1
            assert await other.executed() == 0
            assert ran.took < 4.0

    async def test_half_an_answer_is_not_a_whole_one(self) -> None:
        async with two_origins() as (doomed, _):
            await doomed.set(
                Behaviour(
                    content_bytes=100_000, blackhole_at=Moment.IN_RESPONSE, piece_bytes=10_000
                )
            )
            ran = await run(words_for(doomed))

            assert ran.code == 56
            assert len(ran.content) == 50_000
            assert "part of it was handed over already" in ran.told
            assert ran.took < 4.0

    async def test_nobody_is_left(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(think=60))
            await other.kill()
            ran = await run_and(words_for(doomed), lambda: kill_when_it_executes(doomed))

            # A second try may come upon the dying server's last moment, and be reset.
            assert ran.code in {52, 56}
            assert (ran.attempts, ran.told.count("\n")) == (2, 1)
            assert ran.told.count("closed while waiting") >= 1
            assert ran.took < 2.0

    async def test_a_slow_server_is_waited_for(self) -> None:
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(think=4.5))
            ran = await run(words_for(doomed))

            assert (ran.code, ran.content, ran.attempts) == (0, "doomed: GET /orders/7", 1)
            assert ran.failover_time == 0
            assert await other.executed() == 0

    async def test_a_server_that_is_stopped_is_waited_for(self) -> None:
        """Its kernel acknowledges: whether the application lives nobody can tell from here."""
        async with two_origins() as (doomed, other):
            await doomed.set(Behaviour(think=0.5))

            async def stop_for_a_while() -> None:
                while not await doomed.log():  # noqa: ASYNC110  (another process)
                    await trio.sleep(0.01)
                doomed.pause()
                await trio.sleep(3.5)
                doomed.resume()

            ran = await run_and(words_for(doomed), stop_for_a_while)

            assert (ran.code, ran.content, ran.attempts) == (0, "doomed: GET /orders/7", 1)
            assert await other.executed() == 0
