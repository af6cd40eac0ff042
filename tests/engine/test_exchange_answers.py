"""Answers that are not good enough, that do not come, or come too late."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.core.spec import Target
from haclient.errors import (
    DeadlineError,
    ProtocolError,
    ResponseTimeoutError,
)
from haclient.types import Phase, Verdict
from tests.engine.world import BACKED_UP, BOTH, ONE, SILENT, TWO, A, B, world
from tests.sim.effects import (
    AfterContentBytes,
    AfterRequest,
    Blackhole,
    Fault,
    Garbage,
)
from tests.sim.origin import Reply
from tests.sim.stream import SimStream


class TestAnswers:
    async def test_a_failover_status_asks_another_server(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(503)
            outcome = await w.ask("PUT", target=BOTH)
            assert outcome.server == "b"
            assert [record.status for record in outcome.records] == [503, 200]
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.ANSWERED]
            assert outcome.records[0].detail == "another server was asked"

    @pytest.mark.parametrize("whole", [True, False], ids=["read whole", "streamed"])
    async def test_both_say_so_and_the_last_answer_is_relayed(
        self, autojump_clock: MockClock, whole: bool
    ) -> None:
        async with world() as w:
            w.a.reply = w.b.reply = Reply(503)
            outcome = await w.ask("GET", target=BOTH, whole=whole)
            assert outcome.response is not None
            assert outcome.response.status == 503
            assert outcome.server == "b"
            assert outcome.content == b"b: GET / \n"
            assert w.runs(outcome.number) == ["a", "b"]

    @pytest.mark.parametrize("whole", [True, False], ids=["read whole", "streamed"])
    async def test_the_answer_is_held_while_another_server_is_asked(
        self, autojump_clock: MockClock, whole: bool
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(503)
            w.b.script(SILENT)
            outcome = await w.ask("PUT", target=BOTH, whole=whole)
            assert outcome.server == "a"
            assert outcome.content == b"a: PUT / \n"
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.DEAD]
            assert outcome.took == pytest.approx(2.5, abs=0.02)

    async def test_it_is_held_too_while_a_suspect_is_outstanding(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
            w.b.reply = Reply(503)
            outcome = await w.ask("GET", target=BOTH)
            assert outcome.server == "a"
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(1.67)

    async def test_the_window_ends_the_wait_for_another_answer(
        self, autojump_clock: MockClock
    ) -> None:
        """b answers 503 while a, which was asked first, is suspect; a is not waited for for long."""
        async with world(SILENT) as w:
            w.b.reply = Reply(503)
            outcome = await w.ask("GET", target=Target(urls=BOTH.urls, window=1.5))
            assert outcome.server == "b"
            assert outcome.verdicts == [Verdict.SUPERSEDED, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(1.45)

    @pytest.mark.parametrize(
        ("method", "target"), [("POST", BOTH), ("GET", ONE)], ids=["a POST", "the only server"]
    )
    async def test_it_is_relayed_at_once_where_nobody_else_is_to_be_asked(
        self, autojump_clock: MockClock, method: str, target: Target
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(503)
            outcome = await w.ask(method, target=target)
            assert outcome.server == "a"
            assert outcome.verdicts == [Verdict.ANSWERED]

    async def test_and_where_the_budget_is_spent(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(503)
            w.spend_budget(BOTH)
            assert (await w.ask("GET", target=BOTH)).server == "a"


class TestSlow:
    async def test_a_living_server_is_waited_for(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(think=39.0)
            outcome = await w.ask("GET", target=BOTH)
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert outcome.took == pytest.approx(39.0)
            # It was asked for a sign of life, and gave it.
            assert w.told(events.Probed)
            assert w.told(events.Suspected) == []

    async def test_past_the_back_stop_another_one_is_asked(self, autojump_clock: MockClock) -> None:
        async with world(response_timeout=2.0) as w:
            w.a.reply = Reply(think=10.0)
            outcome = await w.ask("GET", "http://ab.test/")
            assert outcome.verdicts == [Verdict.SLOW, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(2.002)

    @pytest.mark.parametrize(
        ("method", "url"), [("POST", "http://ab.test/"), ("GET", "http://a.test/")]
    )
    async def test_or_there_is_an_error(
        self, autojump_clock: MockClock, method: str, url: str
    ) -> None:
        async with world(response_timeout=2.0) as w:
            w.a.reply = Reply(think=10.0)
            outcome = await w.ask(method, url)
            assert type(outcome.error) is ResponseTimeoutError
            assert outcome.took == pytest.approx(2.0)
            assert "silent for 2 s, and alive" in str(outcome.error)

    async def test_nobody_is_asked_twice_for_being_slow(self, autojump_clock: MockClock) -> None:
        async with world(response_timeout=2.0) as w:
            w.a.reply = Reply(think=10.0)
            w.network.refuse(B)
            outcome = await w.ask("GET", target=Target(urls=TWO.urls, response_timeout=2.0))
            assert type(outcome.error) is ResponseTimeoutError
            assert w.runs(outcome.number) == ["a"]

    async def test_each_byte_begins_the_wait_anew(self, autojump_clock: MockClock) -> None:
        async def drip(stream: SimStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            for _ in range(3):
                await trio.sleep(1.9)
                await stream.send_all(b"x")

        async with world(response_timeout=2.0) as w:
            w.listen(A, drip)
            response = await w.client.get("http://a.test/")
            assert await response.read() == b"xxx"
            assert trio.current_time() == pytest.approx(5.7)

    async def test_a_stream_that_falls_silent_is_given_up(self, autojump_clock: MockClock) -> None:
        async def stall(stream: SimStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nx")
            await trio.sleep(60.0)

        async with world(response_timeout=2.0) as w:
            w.listen(A, stall)
            async with w.client.stream("GET", "http://a.test/") as response:
                assert await anext(aiter(response)) == b"x"
                with pytest.raises(ResponseTimeoutError, match="part of it was handed over"):
                    await response.next_chunk()
            assert trio.current_time() == pytest.approx(2.0)


class TestGarbled:
    @pytest.mark.parametrize(
        "target", [BOTH, BACKED_UP], ids=["two servers", "a server with a backup"]
    )
    async def test_another_one_is_asked(self, autojump_clock: MockClock, target: Target) -> None:
        async with world(Fault(Garbage(), AfterRequest())) as w:
            outcome = await w.ask("GET", target=target)
            assert outcome.verdicts == [Verdict.GARBLED, Verdict.ANSWERED]

    async def test_or_there_is_an_error(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Garbage(), AfterRequest())) as w:
            assert type((await w.ask("GET", target=ONE)).error) is ProtocolError


class TestDeadline:
    async def test_it_bounds_all_attempts_together(self, autojump_clock: MockClock) -> None:
        async with world(SILENT) as w:
            w.b.reply = Reply(think=10.0)
            outcome = await w.ask("PUT", target=BOTH, timeout=3.0)
            assert type(outcome.error) is DeadlineError
            assert outcome.took == pytest.approx(3.0)
            assert outcome.verdicts == [Verdict.DEAD, Verdict.CANCELLED]
            assert outcome.error.stage is Phase.WAITING
            assert outcome.error.may_have_been_processed
            assert str(outcome.error) == (
                "no answer within the 3 s allowed: 10.0.0.2:80: cancelled while waiting after 0.50 s"
            )

    async def test_it_ends_a_wait_for_a_connection(self, autojump_clock: MockClock) -> None:
        async with world(connect_timeout=5.0) as w:
            w.network.blackhole(A)
            outcome = await w.ask("POST", "http://a.test/", timeout=0.5)
            assert type(outcome.error) is DeadlineError
            assert outcome.took == pytest.approx(0.5)
            assert outcome.error.stage is Phase.CONNECTING
            assert not outcome.error.may_have_been_processed

    async def test_it_ends_two_attempts_side_by_side(self, autojump_clock: MockClock) -> None:
        async with world(SILENT) as w:
            w.b.reply = Reply(think=10.0)
            outcome = await w.ask("GET", target=BOTH, timeout=2.0)
            assert type(outcome.error) is DeadlineError
            assert outcome.verdicts == [Verdict.CANCELLED, Verdict.CANCELLED]

    async def test_an_answer_that_was_not_good_enough_is_told_of(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(503)
            w.b.reply = Reply(think=10.0)
            outcome = await w.ask("GET", target=BOTH, timeout=2.0)
            assert type(outcome.error) is DeadlineError
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.CANCELLED]

    async def test_none_at_all(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            outcome = await w.ask("GET", "http://a.test/", timeout=0.0)
            assert type(outcome.error) is DeadlineError
            assert outcome.error.stage is Phase.RESOLVING
            assert w.runs(outcome.number) == []

    async def test_it_is_over_with_the_head_of_a_streamed_answer(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterContentBytes(2))) as w:
            outcome = await w.ask("GET", "http://a.test/", whole=False, timeout=0.1)
            assert outcome.error is None
