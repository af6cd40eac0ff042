"""A daemon with few descriptors: what lies idle makes room, races narrow, and nobody gets a 502 for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.support.command import needs_command
from tests.support.origin import Behaviour, Origin
from tests.support.sidecar import sidecar

pytestmark = needs_command


FULL = "clients wait at a full door"
"""So many come at once that this may be so for a moment, and is logged then."""


@asynccontextmanager
async def daemon_of(*urls: str, **how: Any) -> AsyncIterator[int]:
    """Its port; started and ended in a thread, for the servers live in this one."""
    running = sidecar(*urls, expected=[FULL], **how)
    door = await trio.to_thread.run_sync(running.__enter__)
    try:
        yield door.port
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(running.__exit__, None, None, None)


async def statuses(port: int, paths: list[str], at_once: int) -> Counter[str]:
    """What came of one GET each, on connections of their own."""
    got: Counter[str] = Counter()
    room = trio.CapacityLimiter(at_once)

    async def ask(path: str) -> None:
        async with room, await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(
                f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join([piece async for piece in stream])
            got[answer[9:12].decode()] += 1

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(ask, path)
    return got


async def origins(nursery: trio.Nursery, count: int) -> list[str]:
    """URLs of so many servers that think for a moment."""
    urls = []
    for _ in range(count):
        one = Origin("o", Behaviour(think=0.05))
        await nursery.start(one.serve, "127.0.0.2:0")
        urls.append(f"http://{one.endpoint}")
    return urls


async def test_what_is_idle_for_others_makes_room() -> None:
    async with trio.open_nursery() as nursery:
        urls = await origins(nursery, 6)
        targets = {f"target.t{n}": {"urls": [url]} for n, url in enumerate(urls)}
        routes = [{"path": f"/{n}/", "target": f"t{n}"} for n in range(6)]
        listener = {"routes": routes}
        async with daemon_of(urls[0], others=targets, listener=listener, descriptors=64) as port:
            for n in range(6):
                assert await statuses(port, [f"/{n}/x"] * 24, at_once=12) == {"200": 24}
        nursery.cancel_scope.cancel()


async def test_races_of_many_addresses_narrow() -> None:
    async with trio.open_nursery() as nursery:
        urls = await origins(nursery, 8)
        async with daemon_of(*urls, descriptors=128) as port:
            assert await statuses(port, ["/x"] * 150, at_once=40) == {"200": 150}
        nursery.cancel_scope.cancel()
