"""`standby = true` through the sidecar, at exact times."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.house import BOTH, A, B, House, house
from tests.sim.effects import AfterRequest, Blackhole, Fault
from tests.sim.origin import Reply

STANDS_BY = Target(urls=["http://ab.test/"], order="listed", standby=True)
WITHOUT = Target(urls=["http://ab.test/"], order="listed")

ROUND_TRIP = 0.2
"""Seconds to b and back: long enough to be seen beside the detector's own times."""


def connects_to_b(h: House) -> int:
    return sum(client.endpoint == B for client, _ in h.network.connections)


async def test_a_resend_saves_the_connect(autojump_clock: MockClock) -> None:
    took = {}
    for target in (WITHOUT, STANDS_BY):
        async with house(Fault(Blackhole(), AfterRequest()), target=target) as h:
            h.network.path(B.address).delay = ROUND_TRIP / 2
            began_at = trio.current_time()
            client = h.client()
            client.stream.send_now(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n")
            await client.stream.receive_some()
            took[target.standby] = round(trio.current_time() - began_at, 6)
            assert h.runs(b"GET") == ["a", "b"]
    assert took == {False: 1.1 + 2 * ROUND_TRIP, True: 1.1 + ROUND_TRIP}


async def test_it_costs_no_packet_and_ends_with_the_idle_limit(autojump_clock: MockClock) -> None:
    async with house(target=STANDS_BY) as h:
        h.a.reply = Reply(think=1.0)
        await h.ask(200, 1.0)
        [ready] = [client for client, _ in h.network.connections if client.endpoint == B]
        server = next(server for client, server in h.network.connections if client is ready)
        segments = server.snapshot()
        await trio.sleep(14.0)
        assert not ready.is_closed
        assert not ready.is_probing
        assert segments is not None
        later = server.snapshot()
        assert later is not None
        assert later.segs_in == segments.segs_in
        await trio.sleep(3.0)
        assert ready.is_closed


async def test_a_reload_closes_it(autojump_clock: MockClock) -> None:
    async with house(target=STANDS_BY) as h:
        h.a.reply = Reply(think=1.0)
        await h.ask(200, 1.0)
        [ready] = [client for client, _ in h.network.connections if client.endpoint == B]
        h.reload(("main", WITHOUT))
        await h.settle()
        assert ready.is_closed
        await h.ask(200, 1.0)
        assert connects_to_b(h) == 1


async def test_without_it_nobody_is_connected_beside(autojump_clock: MockClock) -> None:
    async with house(target=WITHOUT) as h:
        h.a.reply = Reply(think=3.0)
        await h.ask(200, 3.0)
        assert {client.endpoint for client, _ in h.network.connections} == {A}
        assert BOTH.standby is False
