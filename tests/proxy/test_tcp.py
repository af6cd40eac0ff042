"""TCP mode: a server before the first byte, bytes both ways, every kind of end, and what is told of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.affinity import in_order_of_weight, key_of
from haclient.core.config import Config, Mode
from haclient.core.spec import Target
from haclient.proxy.record import Outcome
from haclient.types import Endpoint
from tests.proxy.house import A, B, house
from tests.proxy.playbook import play
from tests.proxy.tcp_house import ONE, TUNNELLED, connected, receive_all, tcp

BACKED_UP = Target(urls=["tcp://a.test:80"], backups=["tcp://b.test:80"])


class TestBytes:
    async def test_they_go_both_ways_and_both_ends_too(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await play(
                client.says(b"\0\xff|").at(1.0),
                a.hears(b"\0\xff|"),
                a.says("more").at(2.0),
                client.hears("more"),
                client.half_closes().at(3.0),
                a.hears_end(),
                a.says("the last").at(4.0),
                client.hears("the last"),
                a.closes().at(5.0),
                client.hears_end(),
            )
            assert h.told() == [TUNNELLED]
            [record] = h.records
            assert (record.request_bytes, record.response_bytes) == (7, 16)
            assert (record.detail, record.error) == ("7 bytes up, 16 down", "")
            assert (record.listener, record.target, record.client) == (
                "shop",
                "main",
                "127.0.0.1:50001",
            )
            assert (record.began_at, record.head_at, record.ended_at) == (0.0, 0.0, 5.0)
            assert record.attempts[0].bytes_sent == 7
            assert h.door.requests == 1

    async def test_a_server_may_speak_first(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = h.client(), h.server(A)
            await play(
                a.is_called(),
                a.says("220 ready|").at(2.0),
                client.hears("220 ready|"),
                client.says("EHLO|"),
                a.hears("EHLO|"),
                a.closes(),
                client.hears_end(),
            )

    async def test_what_is_said_while_nobody_is_connected_waits(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp(BACKED_UP) as h:
            h.network.blackhole(A)
            client, b = h.client(), h.server(B)
            await play(
                client.says("early "),
                client.says("bird").at(0.5),
                client.half_closes().at(0.7),
                b.hears("early bird").at(1.0015),
                b.hears_end(),
                b.says("worm"),
                client.hears("worm").at(1.002),
                b.closes(),
                client.hears_end().at(1.0025),
            )

    async def test_a_client_that_does_not_read_slows_its_server_down(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            piece, taken = b"x" * 65536, 0
            while True:
                await h.settle()
                sent = a.stream.send_now(piece)
                if not sent:
                    break
                taken += sent
            assert taken < 1 << 22
            heard = 0
            while heard < taken:
                heard += len(await client.stream.receive_some())
            assert heard == taken

    async def test_a_question_beside_a_long_answer(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await h.settle()
            while a.stream.send_now(b"y" * 65536):
                await h.settle()
            # The one direction stands still; the other one does not.
            client.stream.send_now(b"stop")
            assert await a.stream.receive_some() == b"stop"


class TestConnects:
    async def test_the_one_that_connects_first(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            h.network.refuse(A)
            client, b = h.client(), h.server(B)
            await play(client.says("ping"), b.hears("ping").at(0.0015))
            client.leave()
            b.leave()
            await h.settle()
            await trio.sleep(1.0)
            [attempt] = h.records[0].attempts
            assert attempt.endpoint == B
            assert [one.endpoint for one in attempt.connection_attempts] == [A, B]

    async def test_backups(self, autojump_clock: MockClock) -> None:
        async with tcp(BACKED_UP) as h:
            h.network.refuse(A)
            client, b = h.client(), h.server(B)
            await play(client.says("ping"), b.hears("ping").at(0.0015))

    async def test_nobody_can_be_connected(self, autojump_clock: MockClock) -> None:
        async with tcp(BACKED_UP) as h:
            h.network.refuse(A)
            h.network.blackhole(B)
            client = h.client()
            await play(client.says("ping"), client.hears_reset().at(1.0))
            assert h.told() == ["TCP  0 turned away [tcp://a.test:80 refused] connection_refused"]
            [record] = h.records
            assert record.outcome is Outcome.TURNED_AWAY
            assert "10.0.0.1:80 refused" in record.detail
            assert "10.0.0.2:80 timed out" in record.detail
            assert record.head_at is None

    async def test_a_client_that_leaves_before_it_has_a_server(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp(ONE) as h:
            h.network.blackhole(A)
            client = h.client()
            await play(client.resets().at(0.1))
            await trio.sleep(0.5)
            assert h.told() == ["TCP  0 client gone [tcp://a.test:80 cancelled]"]
            assert h.records[0].ended_at < 0.4

    async def test_a_target_that_a_reload_took_away(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            h.sidecar.apply(Config(targets={}))
            client = h.client()
            await play(client.hears_reset().at(0.0))
            assert h.told() == ["TCP  0 turned away destination_not_found"]

    async def test_a_door_whose_target_speaks_http(self, autojump_clock: MockClock) -> None:
        async with house(mode=Mode.TCP) as h:
            client = h.client()
            await play(client.hears_reset().at(0.0))
            assert h.told() == ["TCP  0 turned away destination_not_found"]


class TestTurnedAway:
    """A server that ends a connection before anybody said anything has not served."""

    @pytest.mark.parametrize("how", ["closes", "resets"])
    async def test_another_one_is_asked(self, autojump_clock: MockClock, how: str) -> None:
        async with tcp() as h:
            client, a, b = h.client(), h.server(A), h.server(B)
            await play(
                a.is_called(),
                getattr(a, how)(),
                b.is_called().at(0.0015),
                client.says("ping").at(0.3),
                b.hears("ping").at(0.3005),
                b.says("pong"),
                client.hears("pong").at(0.301),
                client.closes(),
                b.hears_end().at(0.3015),
                b.closes(),
            )
            await trio.sleep(0.1)
            assert h.told() == ["TCP  0 tunnelled [10.0.0.1:80 closed, 10.0.0.2:80 answered]"]
            now = trio.current_time()
            assert [one.endpoint for one in h.engine.health.snapshot(now)] == [A]

    async def test_what_no_kernel_took_goes_to_the_next_one(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp() as h:
            client, a, b = h.client(), h.server(A), h.server(B)
            await play(a.is_called())
            # Both at one and the same moment.
            a.stream.reset()
            client.stream.send_now(b"ping")
            await play(b.hears("ping").at(0.0015), b.says("pong"), client.hears("pong").at(0.002))
            assert h.records == []

    async def test_the_last_ones_end_is_passed_on(self, autojump_clock: MockClock) -> None:
        target = Target(urls=["tcp://ab.test:80"], max_attempts=2)
        async with tcp(target) as h:
            client, a, b = h.client(), h.server(A), h.server(B)
            await play(
                a.is_called(),
                a.closes(),
                b.is_called().at(0.0015),
                b.closes(),
                client.hears_end().at(0.002),
                client.closes(),
            )
            assert h.told() == ["TCP  0 tunnelled [10.0.0.1:80 closed, 10.0.0.2:80 answered]"]

    async def test_a_server_that_waited_has_served(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = h.client(), h.server(A)
            await play(a.is_called(), a.closes().at(60.0), client.hears_end(), client.closes())
            assert h.told() == [TUNNELLED]

    async def test_what_was_said_is_nobody_elses(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a, b = h.client(), h.server(A), h.server(B)
            await play(
                client.says("ping"),
                a.hears("ping"),
                a.resets(),
                client.hears_reset(),
            )
            await play(b.hears_nothing().at(5.0))
            assert len(h.network.connections) == 1
            assert h.told() == [f"{TUNNELLED} connection_terminated"]

    async def test_a_client_that_has_ended_gets_what_its_server_makes_of_it(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp() as h:
            client, a = h.client(), h.server(A)
            await play(
                client.half_closes(),
                a.is_called(),
                a.hears_end(),
                a.closes(),
                client.hears_end(),
            )
            assert h.told() == [TUNNELLED]

    async def test_everybody_turns_away_and_then_nobody_is_there(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp(ONE) as h:
            client, a = h.client(), h.server(A)
            await play(
                a.is_called(),
                a.does("refuses", lambda: h.network.refuse(A)),
                a.closes(),
                client.hears_reset(),
            )
            assert h.told() == [
                "TCP  0 turned away [10.0.0.1:80 closed, tcp://a.test:80 refused] "
                "connection_refused"
            ]


class TestEnds:
    async def test_a_servers_reset_reaches_the_client(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await play(a.resets().at(5.0), client.hears_reset())
            assert h.told() == [f"{TUNNELLED} connection_terminated"]
            assert "the server broke off" in h.records[0].detail
            assert h.engine.health.snapshot(trio.current_time()) == ()

    async def test_a_clients_reset_reaches_the_server(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await play(client.resets().at(5.0), a.hears_reset())
            assert h.told() == [TUNNELLED]
            assert h.records[0].error == ""

    async def test_a_clients_reset_is_noticed_also_where_nobody_reads(
        self, autojump_clock: MockClock
    ) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await h.settle()
            while client.stream.send_now(b"x" * 65536):
                await h.settle()
            client.stream.reset()
            await trio.sleep(0.6)
            assert h.told() == [TUNNELLED]
            with pytest.raises(trio.BrokenResourceError):
                await receive_all(a.stream)

    async def test_a_drain_waits_and_then_cuts(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            h.door.is_draining = True
            await play(
                client.says("ping").at(25.0),
                a.hears("ping"),
                a.says("pong"),
                client.hears("pong"),
            )
            assert h.door.outstanding == 1
            [inside] = h.door.inside
            assert not inside.make_way()
            inside.cancel()
            await play(client.hears_reset(), a.hears_reset())
            assert h.told() == ["TCP  0 cut [10.0.0.1:80 cancelled]"]
            assert h.records[0].detail == "8 bytes up, 8 down; haclient was told to end"

    async def test_one_that_is_cut_before_it_has_a_server(self, autojump_clock: MockClock) -> None:
        async with tcp(ONE) as h:
            h.network.blackhole(A)
            client = h.client()
            await h.settle()
            [inside] = h.door.inside
            inside.cancel()
            await play(client.hears_reset())
            assert h.told() == ["TCP  0 cut [tcp://a.test:80 cancelled]"]

    async def test_a_fault_of_ours_ends_one_connection(
        self, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with tcp() as h:
            monkeypatch.setattr(h.gateway, "observe", lambda event: 1 / 0)
            client = h.client()
            await play(client.hears_reset())
            [fault] = h.faults
            assert isinstance(fault, ZeroDivisionError)
            h.faults.clear()
            assert "TcpSide" not in str(h.door.inside)


class TestAffinity:
    async def test_a_client_has_its_own_server_and_stays_where_it_moved(
        self, autojump_clock: MockClock
    ) -> None:
        target = Target(urls=["tcp://a.test:80", "tcp://b.test:80"], affinity="client")
        key = key_of(target.affinity, (), "127.0.0.1")
        assert key is not None
        own, other = in_order_of_weight(key, [A, B])
        async with tcp(target) as h:

            async def served_by(endpoint: Endpoint) -> None:
                client, server = h.client(), h.server(endpoint)
                await client.says("ping").run()
                await server.hears("ping").run()
                await server.says("pong").run()
                await client.hears("pong").run()
                client.leave()
                server.leave()
                await trio.sleep(1)

            await served_by(own)
            await served_by(own)
            h.network.kill(own)
            await served_by(other)
            h.network.heal(own)
            await trio.sleep(61)
            await served_by(other)
            h.network.kill(other)
            await served_by(own)
