"""What a tunnel's server owes, and what becomes of it where it does not pay."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.proxy.house import A, B
from tests.proxy.playbook import play
from tests.proxy.tcp_house import connected, tcp


class TestOwed:
    async def test_a_server_that_lives_is_left_in_peace(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await play(
                client.says("select pg_sleep(600)"),
                a.hears("select pg_sleep(600)"),
                a.says("done").at(600.0),
                client.hears("done"),
            )

    async def test_one_that_died_owing_an_answer(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await play(
                client.says("select").at(100.0),
                a.hears("select"),
                a.does("dies", lambda: h.network.blackhole(A)),
                client.hears_reset().at(102.5),
            )
            assert h.told() == ["TCP  0 tunnelled [10.0.0.1:80 dead] connection_terminated"]
            assert "3 keep-alive probes unanswered" in h.records[0].detail
            now = trio.current_time()
            assert [one.endpoint for one in h.engine.health.snapshot(now)] == [A]
            # The next one goes elsewhere, at once.
            other, b = h.client(), h.server(B)
            await play(other.says("again"), b.hears("again").at(102.5015))

    async def test_one_that_was_dead_before(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, _ = await connected(h)
            h.network.blackhole(A)
            await play(client.says("ping").at(100.0), client.hears_reset().at(101.05))
            assert "retransmissions unanswered" in h.records[0].detail

    async def test_an_idle_tunnel_costs_no_packet(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            [(ours, theirs), *_] = h.network.connections
            segments = theirs.end.segs_in
            await play(a.hears_nothing().at(7200.0))
            assert theirs.end.segs_in == segments
            assert not ours.is_probing
            await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))
