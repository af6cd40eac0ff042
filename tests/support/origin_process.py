"""The parent's side of an origin in a process of its own (python -m tests.support.origin)."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio

from haclient.types import Endpoint
from tests.support.origin import Behaviour, LineReader, Served

__all__ = ["OriginProcess", "origin_process"]


class OriginProcess:
    """An Origin in a process of its own. What is asked of it takes a round trip through pipes."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._reader = LineReader(process.stdout)
        self.pid = process.pid
        self.endpoint = Endpoint("", 0)

    def __repr__(self) -> str:
        return f"<OriginProcess {self.pid} at {self.endpoint}>"

    async def started(self) -> None:
        """Waits until it listens."""
        hello = await self._read()
        self.endpoint = Endpoint(hello["address"], hello["port"])

    async def set(self, behaviour: Behaviour) -> None:
        """For every request from now on."""
        await self._order(set=behaviour.as_json())

    async def set_next(self, *behaviours: Behaviour) -> None:
        """For the next requests, in turn."""
        await self._order(next=[behaviour.as_json() for behaviour in behaviours])

    async def blackhole(self) -> None:
        """As Origin.blackhole."""
        await self._order(do="blackhole")

    async def heal(self) -> None:
        """As Origin.heal."""
        await self._order(do="heal")

    async def log(self) -> list[Served]:
        """The requests that it has read, each whole or in part."""
        return [Served(**served) for served in (await self._order(ask="log"))["log"]]

    async def executed(self) -> int:
        """How many requests were read whole."""
        return sum(served.is_whole for served in await self.log())

    async def kill(self) -> None:
        """kill -9; returns once it is gone, and its port with it."""
        self._process.kill()
        await self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: the application hangs, its kernel lives."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    async def _order(self, **order: object) -> dict[str, Any]:
        await self._stdin.send_all(json.dumps(order).encode() + b"\n")
        return await self._read()

    async def _read(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._reader.read_line())
        return answer


@asynccontextmanager
async def origin_process(
    bind: str = "127.0.0.1:0",
    *,
    name: str = "origin",
    is_single_threaded: bool = False,
    receive_buffer: int | None = None,
    cert_file: str | os.PathLike[str] | None = None,
    key_file: str | os.PathLike[str] | None = None,
) -> AsyncIterator[OriginProcess]:
    """Runs an origin as a child process; at the end it is killed and waited for."""
    command = [sys.executable, "-m", "tests.support.origin", "--bind", bind, "--name", name]
    command += ["--single-threaded"] * is_single_threaded
    command += ["--receive-buffer", str(receive_buffer)] if receive_buffer is not None else []
    command += ["--cert", os.fspath(cert_file)] if cert_file is not None else []
    command += ["--key", os.fspath(key_file)] if key_file is not None else []
    root = Path(__file__).parents[2]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, cwd=root)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        origin = OriginProcess(process)
        with trio.fail_after(10):
            await origin.started()
        yield origin
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)
