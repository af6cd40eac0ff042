"""The entrance: each connection goes where its door's kind sends it."""

from __future__ import annotations

from trio.testing import MockClock

from tests.proxy.house import house


async def test_a_reverse_door_serves_requests(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.ask(200, 0.0)
        assert [record.target for record in h.records] == ["main"]
