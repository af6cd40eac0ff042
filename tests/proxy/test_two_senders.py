"""Two tasks that have something to say to one client: their bytes do not mix, and neither is lost."""

from __future__ import annotations

from typing import cast

import trio
from trio.testing import MockClock

from haclient.proxy.client_side import ClientSide
from tests.proxy.house import house

LONG = bytes(1_000_000)


async def test_the_second_waits_for_the_first(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await h.settle()
        side = cast("ClientSide", next(iter(h.door.inside)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.send, LONG)
            await h.settle()
            nursery.start_soon(side.send, b"second")
            nursery.start_soon(side.send, b"second")
            await h.settle()
            heard = bytearray()
            while len(heard) < len(LONG) + 12:
                heard += await client.stream.receive_some(65536)
        assert heard == LONG + b"secondsecond"
