"""Interim answers to a client that reads nothing hold its request up no longer than body_timeout."""

from __future__ import annotations

from contextlib import suppress

import trio
from trio.testing import MockClock

from tests.proxy.house import A, house
from tests.proxy.playbook import play, wire
from tests.sim.stream import SimStream

HINT = f"HTTP/1.1 103 Early Hints|Link: <{'a' * 50_000}>||"


async def test_a_client_that_does_not_take_its_hints(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        client.stream.send_now(wire("GET /x HTTP/1.1|Host: shop||"))
        await play(a.accepts())
        h.nursery.start_soon(_send, a.stream, wire(HINT) * 20)
        await trio.sleep_until(31.0)
        await h.settle()
        assert client.stream.end.is_gone
        [record] = h.records
        assert record.outcome.value == "client gone"
        assert record.detail == "the client took nothing of what was sent to it for too long"
        assert not h.door.inside


async def _send(stream: SimStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(data)
