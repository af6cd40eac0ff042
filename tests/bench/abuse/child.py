"""A process of ours that takes a line and answers with a line of JSON.

    async with child("tests.bench.abuse.origin", "127.0.0.2:0") as server:
        await server.order("counts")

It ends when its standard input does, so that nobody forgets it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio

from tests.support.origin import LineReader

__all__ = ["Child", "child"]

STARTS_WITHIN = 20.0


class Child:
    """The parent's side. `hello` is what it said first."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._reader = LineReader(process.stdout)
        self._turn = trio.Lock()
        self.pid = process.pid
        self.hello: Any = None

    async def order(self, word: str) -> Any:
        """Says it, and gives what is answered."""
        async with self._turn:
            await self._stdin.send_all(word.encode() + b"\n")
            return await self.read()

    async def read(self) -> Any:
        """The next line."""
        return json.loads(await self._reader.read_line())


@asynccontextmanager
async def child(module: str, *arguments: str) -> AsyncIterator[Child]:
    """Runs a module as a child process; at the end it is killed and waited for."""
    command = [sys.executable, "-m", module, *arguments]
    root = Path(__file__).parents[3]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE, cwd=root)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        one = Child(process)
        with trio.fail_after(STARTS_WITHIN):
            one.hello = await one.read()
        yield one
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.aclose_forcefully(process.stdin)
            await trio.aclose_forcefully(process.stdout)
