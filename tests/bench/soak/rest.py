"""The daemon at rest: what it holds when nobody asks anything of it.

Its own word (`GET /status`) for connections, requests and kept content; the kernel's for descriptors and
memory. A task that was left behind shows in one of them: each task of the daemon's serves a connection.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import trio

from tests.support.process_figures import pss_bytes
from tests.support.sidecar import Sidecar

__all__ = ["Rest", "asked", "rest", "status_of"]

AGAIN_EVERY = 0.2


@dataclass(frozen=True)
class Rest:
    """Figures of one moment."""

    descriptors: int
    connections: int
    """Of clients."""
    leased: int
    idle: int
    """To servers."""
    outstanding: int
    replay_bytes: int
    memory: int = 0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left over, as far as the daemon knows."""
        held = self.connections, self.leased, self.idle, self.outstanding, self.replay_bytes
        return not any(held)


async def asked(daemon: Sidecar, line: str) -> bytes:
    """The admin endpoint's whole answer."""
    async with await trio.open_unix_socket(daemon.admin_socket) as stream:
        head = f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode())
        return b"".join([bytes(piece) async for piece in stream])


async def status_of(daemon: Sidecar) -> dict[str, Any]:
    """`GET /status`, as a value."""
    answer = await asked(daemon, "GET /status")
    status: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return status


async def look(daemon: Sidecar) -> Rest:
    """The figures of now."""
    status = await status_of(daemon)
    endpoints = [one for target in status["targets"] for one in target["endpoints"]]
    return Rest(
        descriptors=len(os.listdir(f"/proc/{daemon.pid}/fd")),
        connections=sum(one["connections"] for one in status["listeners"]),
        leased=sum(one["leased"] for one in endpoints),
        idle=sum(one["idle"] for one in endpoints),
        outstanding=status["outstanding"],
        replay_bytes=status["replay_bytes"],
        memory=pss_bytes(daemon.pid),
    )


async def rest(daemon: Sidecar, *, within: float, descriptors: int | None = None) -> Rest:
    """Waits until it is quiet and has no more descriptors than it had; the figures then.

    Where it does not come to rest, the figures at the end of `within` say what is left over.
    """
    figures = await look(daemon)
    with trio.move_on_after(within):
        while not figures.is_quiet or figures.descriptors != (descriptors or figures.descriptors):
            await trio.sleep(AGAIN_EVERY)
            figures = await look(daemon)
    return figures
