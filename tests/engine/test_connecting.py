"""From addresses to a connection: the race, room at each of them, and the wait for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient.core.balance import Candidate
from haclient.core.spec import Target, TlsSettings
from haclient.engine.connecting import connect_to_one
from haclient.errors import ConnectTimeoutError, DeadlineError, ServerDiedError
from haclient.net.tls import TlsFileError
from haclient.types import Phase, Verdict
from tests.engine.oracle import Outcome
from tests.engine.world import BACKED_UP, BOTH, ONE, TWO, A, B, World, world
from tests.sim.effects import AfterRequest, Blackhole, Fault, OnConnect
from tests.sim.origin import Reply


class TestRaces:
    async def test_connects_that_failed_are_remembered(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.refuse(A)
            assert (await w.ask("GET", target=BOTH)).server == "b"
            assert w.engine.health.is_held_down(A, trio.current_time())
            assert not w.engine.health.is_held_down(B, trio.current_time())

    async def test_nobody_answers(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.blackhole(A)
            w.network.blackhole(B)
            outcome = await w.ask("POST", target=BOTH)
            assert type(outcome.error) is ConnectTimeoutError
            assert outcome.took == pytest.approx(3.0), "a SYN may have been lost: three were sent"
            assert outcome.verdicts == [Verdict.REFUSED] * 3
            assert not outcome.error.may_have_been_processed

    async def test_one_lost_syn_is_no_verdict(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.blackhole(A, seconds=0.9)
            outcome = await w.ask("POST", target=ONE)
            assert outcome.verdicts == [Verdict.REFUSED, Verdict.ANSWERED]
            assert 1.0 <= outcome.took < 2.0

    async def test_a_window_without_room_for_a_second_silence_is_not_overdrawn(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.network.blackhole(A)
            target = Target(urls=ONE.urls, window=1.5)
            outcome = await w.ask("POST", target=target)
            assert outcome.verdicts == [Verdict.REFUSED]
            assert outcome.took == pytest.approx(1.0)

    async def test_the_target_says_how_long_to_try(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.blackhole(A)
            target = Target(urls=ONE.urls, connect_timeout=0.2)
            assert (await w.ask("GET", target=target)).took == pytest.approx(3 * 0.2)

    async def test_and_how_many_at_once(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.blackhole(A)
            target = Target(urls=["http://ab.test/"], race_width=1)
            outcome = await w.ask("GET", target=target)
            assert outcome.took == pytest.approx(0.05, abs=0.01)


class TestRoom:
    """Every address is at its limit."""

    async def test_who_came_first_is_served_first(self, autojump_clock: MockClock) -> None:
        async with world(max_connections=1) as w:
            w.a.reply = Reply(think=1.0)
            done: list[str] = []

            async def ask(name: str) -> None:
                outcome = await w.request("GET", f"http://a.test/{name}")
                assert outcome.content == f"a: GET /{name} \n".encode()
                done.append(name)

            async with trio.open_nursery() as nursery:
                for name in "abcd":
                    nursery.start_soon(ask, name)
                    await w.settle()
            assert done == ["a", "b", "c", "d"]
            assert trio.current_time() == pytest.approx(4.0)
            assert len(w.network.connections) == 1

    async def test_an_end_makes_room_for_a_new_connection(self, autojump_clock: MockClock) -> None:
        async with world(max_connections=1) as w:
            w.a.reply = Reply(think=1.0, closes=True)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(w.request, "GET", "http://a.test/")
            assert trio.current_time() == pytest.approx(3.0)
            assert len(w.network.connections) == 3

    async def test_a_deadline_ends_the_wait(self, autojump_clock: MockClock) -> None:
        async with world(max_connections=1) as w:
            w.a.reply = Reply(think=5.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.request, "GET", "http://a.test/")
                await trio.sleep(0.1)
                outcome = await w.request("GET", "http://a.test/", timeout=1.0)
                assert type(outcome.error) is DeadlineError
                assert outcome.error.stage is Phase.QUEUED

    @pytest.mark.parametrize("max_connections", [1, 2])
    async def test_a_dead_servers_waiters_do_not_queue_for_it_one_after_the_other(
        self, autojump_clock: MockClock, max_connections: int
    ) -> None:
        async with world(Fault(Blackhole(), AfterRequest())) as w:
            target = Target(
                urls=BACKED_UP.urls, backups=BACKED_UP.backups, max_connections=max_connections
            )
            outcomes = []

            async def ask() -> None:
                outcomes.append(await w.request("PUT", target=target))

            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask)
                    await w.settle()
            assert [outcome.server for outcome in outcomes] == ["b"] * 5
            assert trio.current_time() == pytest.approx(2.5, abs=0.1)
            await trio.sleep(1.0)  # a trial of the blackholed one ends (haclient.engine.trial)

    async def test_they_do_where_there_is_nobody_else(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(1.9), OnConnect()), max_connections=1) as w:
            outcomes = []

            async def ask() -> None:
                outcomes.append(await w.request("PUT", "http://a.test/"))

            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(ask)
                    await w.settle()
            assert [outcome.server for outcome in outcomes] == ["a"] * 3
            assert len(w.a.executed) == 3

    async def test_another_address_with_room_is_not_waited_for(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(max_connections=1) as w:
            w.a.reply = Reply(think=1.0)
            outcomes = []

            async def ask() -> None:
                outcomes.append(await w.request("GET", "http://ab.test/"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await w.settle()
                nursery.start_soon(ask)
            assert [outcome.server for outcome in outcomes] == ["b", "a"]

    async def test_either_of_two_servers_may_be_the_first_with_room(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.a.reply, w.b.reply = Reply(think=2.0), Reply(think=1.0)
            outcomes = await self.three_at_once(w)
            assert [outcome.server for outcome in outcomes] == ["b", "a", "b"]
            assert trio.current_time() == pytest.approx(2.0, abs=0.01)

    @pytest.mark.parametrize("run", range(3))
    async def test_both_may_have_it_at_the_same_moment(
        self, autojump_clock: MockClock, run: int
    ) -> None:
        """Then one is given back; which one is left to chance, hence the runs."""
        async with world() as w:
            w.network.path(B.address).delay = 0.0
            w.a.reply = w.b.reply = Reply(think=1.0)
            outcomes = await self.three_at_once(w)
            assert [outcome.error for outcome in outcomes] == [None] * 3
            assert trio.current_time() == pytest.approx(2.0)

    @staticmethod
    async def three_at_once(w: World) -> list[Outcome]:
        """Asks two servers that take one connection each, and returns the outcomes as they come."""
        target = Target(urls=TWO.urls, max_connections=1)
        outcomes: list[Outcome] = []

        async def ask() -> None:
            outcomes.append(await w.request("GET", target=target))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
                await w.settle()
        return outcomes

    @pytest.mark.parametrize("target", [ONE, TWO], ids=["one name", "two names"])
    async def test_a_pool_that_closes_ends_the_wait(
        self, autojump_clock: MockClock, target: Target
    ) -> None:
        outcomes = []
        async with trio.open_nursery() as nursery, world() as w:
            w.a.reply = w.b.reply = Reply(think=5.0)
            scarce = Target(urls=target.urls, max_connections=1)

            async def ask(w: World = w) -> None:
                outcomes.append(await w.request("GET", target=scarce))

            for _ in range(4):
                nursery.start_soon(ask)
            await trio.sleep(1.0)
            w.engine.close()
        assert [type(outcome.error) for outcome in outcomes] == [ServerDiedError] * 4


class TestTls:
    @pytest.mark.parametrize("times", [3])
    async def test_a_file_that_cannot_be_used_takes_no_place(
        self, autojump_clock: MockClock, tmp_path: Path, times: int
    ) -> None:
        """As often as it fails: the next one is told the same, and does not wait for room."""
        tls = TlsSettings(ca_file=str(tmp_path / "nothing.pem"))
        target = Target(urls=["https://a.test/"], tls=tls, max_connections=1)
        async with world() as w:
            for _ in range(times):
                outcome = await w.ask("GET", target=target)
                assert type(outcome.error) is TlsFileError
                assert not outcome.error.may_have_been_processed
            assert w.network.connections == []


async def test_on_nobodys_request_no_room_is_waited_for(autojump_clock: MockClock) -> None:
    async with world() as w:
        spec = Target(urls=ONE.urls, max_connections=1)
        live = w.client._live_for(spec, spec)
        candidates = [Candidate(ONE.urls[0].origin, A)]
        connection = await connect_to_one(live, candidates)
        assert connection is not None
        assert connection.endpoint == A
        began_at = trio.current_time()
        assert await connect_to_one(live, candidates) is None
        assert trio.current_time() == began_at
        connection.close()
        live.pool.release(connection, reusable=False)
