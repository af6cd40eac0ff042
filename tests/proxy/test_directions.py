"""The two tasks of a tunnel: when they leave and come back, bulk through pipes, and ends in its midst."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.proxy.house import A
from tests.proxy.playbook import play
from tests.proxy.tcp_house import TUNNELLED, connected, receive_all, tcp


class TestRest:
    """One task where two would wait: what comes then is passed on as ever."""

    async def test_small_pieces_need_no_second_task(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            parked, tasks = h.parking.parked, len(h.engine.nursery.child_tasks)
            for _ in range(3):
                await play(
                    client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong")
                )
            assert h.parking.parked == parked + 6
            assert len(h.engine.nursery.child_tasks) == tasks

    async def test_after_a_large_piece_it_rests_again(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            parked = h.parking.parked
            await play(a.says(b"x" * 65536), client.hears(b"x" * 65536))
            await play(client.hears_nothing().at(0.9), a.hears_nothing())
            assert h.parking.parked == parked
            await play(client.hears_nothing().at(2.0))
            assert h.parking.parked == parked + 1
            await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))

    @pytest.mark.parametrize("speaker", ["client", "server", "both"])
    @pytest.mark.parametrize("size", [1, 65536])
    async def test_what_is_said_in_the_moment_of_going_to_rest(
        self, autojump_clock: MockClock, speaker: str, size: int
    ) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await play(a.says(b"x" * 65536), client.hears(b"x" * 65536))
            [inside] = h.door.inside
            await trio.sleep(1.1)
            # Before any of the two that go to rest runs.
            inside.look(trio.current_time())
            if speaker != "server":
                client.stream.send_now(b"c" * size)
            if speaker != "client":
                a.stream.send_now(b"s" * size)
            steps = []
            if speaker != "server":
                steps.append(a.hears(b"c" * size))
            if speaker != "client":
                steps.append(client.hears(b"s" * size))
            await play(*steps)
            # And it goes on, both ways, and to its end.
            await play(
                client.says("ping"),
                a.hears("ping"),
                a.says("pong"),
                client.hears("pong"),
                a.half_closes().at(5.0),
                client.hears_end(),
                client.says("last").at(9.0),
                a.hears("last"),
                client.closes().at(20.0),
                a.hears_end(),
            )
            assert h.told() == [TUNNELLED]

    async def test_where_nobody_can_park(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            h.parking.is_possible = False
            client, a = await connected(h)
            await play(
                client.says("ping").at(50.0),
                a.hears("ping"),
                a.says("pong"),
                client.hears("pong"),
                client.closes().at(99.0),
                a.hears_end(),
                a.closes(),
            )
            assert h.parking.parked == 0
            assert h.told() == [TUNNELLED]

    async def test_who_does_not_read_keeps_it_awake(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            await h.settle()
            sent = 0
            while (some := a.stream.send_now(b"y" * 65536)) > 0:
                sent += some
                await h.settle()
            parked = h.parking.parked
            await trio.sleep(30.0)
            assert h.parking.parked == parked
            client.stream.send_now(b"stop")
            assert await a.stream.receive_some() == b"stop"
            while sent:
                sent -= len(await client.stream.receive_some())
            await trio.sleep(3.0)
            assert h.parking.parked == parked + 1


NOISE = bytes(range(256)) * 256
"""A piece as large as a receive gives at the most."""


class TestBulk:
    """Through pipes, in each direction, and whatever happens meanwhile."""

    @pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
    @pytest.mark.parametrize("is_scarce", [True, False], ids=["copied", "spliced"])
    async def test_all_of_it_arrives_in_order(
        self, autojump_clock: MockClock, is_up: bool, is_scarce: bool
    ) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            h.pipes.is_scarce = is_scarce
            giver, taker = (client, a) if is_up else (a, client)
            content = b"".join(number.to_bytes(4) + NOISE for number in range(40)) + b"end"
            heard = bytearray()

            async def give() -> None:
                await giver.stream.send_all(content)
                await giver.stream.send_eof()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(give)
                while data := await taker.stream.receive_some():
                    heard += data
            assert heard == content
            assert (h.pipes.taken > 10) is not is_scarce
            assert h.pipes.lost == 0
            await taker.stream.send_all(b"done")
            await taker.stream.send_eof()
            assert await giver.stream.receive_some() == b"done"
            assert await giver.stream.receive_some() == b""
            await h.settle()
            [record] = h.records
            moved = record.request_bytes if is_up else record.response_bytes
            assert moved == len(content) + 4

    @pytest.mark.parametrize("who", ["client", "server", "cut", "dead"])
    @pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
    async def test_an_end_in_its_midst_is_no_clean_one(
        self, autojump_clock: MockClock, is_up: bool, who: str
    ) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            giver = client if is_up else a
            await h.settle()
            for _ in range(30):  # until a pipe is full as well
                giver.stream.send_now(NOISE)
                await trio.sleep(0.01)
            assert h.pipes.in_use == 1
            [inside] = h.door.inside
            if who == "cut":
                inside.cancel()
            elif who == "dead":
                client.stream.send_now(b"question")
                await trio.sleep(0.1)
                h.network.blackhole(A)
            else:
                (client if who == "client" else a).stream.reset()
            await trio.sleep(10.0)
            if who != "server" or is_up:
                assert (
                    h.pipes.in_use == 0
                )  # else the client has all that came before the reset first
            for party in (client, a):
                is_away = party is (client if who == "client" else a)
                if who == "cut" or not is_away:
                    with pytest.raises(trio.BrokenResourceError):
                        await receive_all(party.stream)
            assert h.pipes.in_use == 0

    async def test_after_it_small_pieces(self, autojump_clock: MockClock) -> None:
        async with tcp() as h:
            client, a = await connected(h)
            for _ in range(3):
                await play(a.says(NOISE), client.hears(NOISE))
            await play(
                client.says("ping").at(1.0), a.hears("ping"), a.says("pong"), client.hears("pong")
            )
            await play(client.hears_nothing().at(5.0))
            parked = h.parking.parked
            await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))
            assert h.parking.parked == parked + 2
