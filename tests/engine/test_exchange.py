"""One request, answered once: what is decided when, to the millisecond, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.core.spec import Target
from haclient.errors import (
    ConnectError,
    ResponseIncompleteError,
    ServerDiedError,
)
from haclient.events import Event
from haclient.types import ConnectFailure, Phase, Verdict
from tests.engine.world import BACKED_UP, BOTH, ONE, SILENT, TWO, A, B, World, world
from tests.sim.effects import (
    AfterContentBytes,
    AfterRequest,
    AfterRequestBytes,
    Blackhole,
    Fault,
    Fin,
    OnConnect,
    Refuse,
    Reset,
)
from tests.sim.origin import Reply
from tests.sim.stream import SimStream


async def warm(w: World, target: Target) -> None:
    """Answers one request, so that the next one finds a connection to a in the pool."""
    assert (await w.ask("GET", target=target)).server == "a"
    w.journal.take()


class TestSuspect:
    async def test_a_safe_request_goes_to_another_server_beside(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            await warm(w, BOTH)
            w.a.script(SILENT)
            outcome = await w.ask("GET", target=BOTH)
            w.journal.expect(
                """
                0.000  client: AttemptStarted
                0.000  client: Connected 10.0.0.1:80
                0.000  client: RequestSent 10.0.0.1:80
                1.000  client: Probed 10.0.0.1:80
                1.100  client: Suspected 10.0.0.1:80
                1.100  client: AttemptStarted
                1.100  client: NameResolved
                1.100  client: ConnectionAttemptStarted 10.0.0.2:80
                1.101  client: ConnectionAttemptEnded 10.0.0.2:80
                1.101  client: Connected 10.0.0.2:80
                1.101  client: RequestSent 10.0.0.2:80
                1.102  client: ResponseStarted 10.0.0.2:80
                1.102  client: AttemptEnded
                1.102  client: AttemptEnded
                1.102  client: ExchangeEnded
                """,
                "client",
            )
            assert outcome.server == "b"
            assert outcome.verdicts == [Verdict.SUPERSEDED, Verdict.ANSWERED]
            assert outcome.records[0].evidence is not None
            assert w.runs(outcome.number) == ["a", "b"]
            [_, second] = w.told(events.AttemptStarted)[-2:]
            assert isinstance(second, events.AttemptStarted)
            assert second.reason == (
                "attempt 1 is suspect: 1 keep-alive probes unanswered, silent for 1.10 s"
            )

    async def test_the_suspect_comes_back_and_answers_first(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            await warm(w, BOTH)
            w.a.script(Fault(Blackhole(1.3), AfterRequest()))
            w.b.reply = Reply(think=5.0)
            outcome = await w.ask("GET", target=BOTH)
            w.journal.expect(
                """
                0.000  client: AttemptStarted
                0.000  client: Connected 10.0.0.1:80
                0.000  client: RequestSent 10.0.0.1:80
                1.000  client: Probed 10.0.0.1:80
                1.100  client: Suspected 10.0.0.1:80
                1.100  client: AttemptStarted
                1.100  client: NameResolved
                1.100  client: ConnectionAttemptStarted 10.0.0.2:80
                1.101  client: ConnectionAttemptEnded 10.0.0.2:80
                1.101  client: Connected 10.0.0.2:80
                1.101  client: RequestSent 10.0.0.2:80
                1.500  client: Probed 10.0.0.1:80
                1.600  client: Cleared 10.0.0.1:80
                1.670  client: ResponseStarted 10.0.0.1:80
                1.670  client: AttemptEnded
                1.670  client: AttemptEnded
                1.670  client: ExchangeEnded
                """,
                "client",
            )
            assert outcome.server == "a"
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.SUPERSEDED]
            # b was well all the time, and nothing is held against it.
            assert not w.engine.health.is_held_down(B, trio.current_time())

    async def test_the_suspect_comes_back_and_the_other_one_answers_first(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
            w.a.reply = Reply(think=30.0)
            w.b.reply = Reply(think=5.0)
            outcome = await w.ask("GET", target=BOTH)
            assert outcome.server == "b"
            assert outcome.took == pytest.approx(1.1 + 0.002 + 5.0)
            # A suspicion that was taken back is no evidence, and a is not held down for it.
            assert outcome.records[0].evidence is None
            assert not w.engine.health.is_held_down(A, trio.current_time())

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
    async def test_what_is_not_safe_waits_for_the_verdict(
        self, autojump_clock: MockClock, method: str
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
            outcome = await w.ask(method, target=BOTH)
            assert outcome.server == "a"
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert w.told(events.Suspected)
            assert w.told(events.Cleared)

    async def test_the_only_server_is_waited_for(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
            assert (await w.ask("GET", target=ONE)).verdicts == [Verdict.ANSWERED]

    async def test_content_that_can_be_read_but_once_is_not_shared(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
            outcome = await w.ask("GET", target=BOTH, content=[b"a", b"b"])
            assert outcome.verdicts == [Verdict.ANSWERED]

    async def test_a_spent_budget_allows_no_second_try(self, autojump_clock: MockClock) -> None:
        async with world(SILENT) as w:
            w.spend_budget(BOTH)
            outcome = await w.ask("GET", target=BOTH)
            # After the verdict nobody carries the first copy, and nothing is withdrawn.
            assert outcome.verdicts == [Verdict.DEAD, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(2.502)

    async def test_a_third_server_is_asked_when_the_second_is_suspect_too(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(SILENT) as w:
            w.b.script(SILENT)
            target = Target(urls=["http://ab.test/"], backups=["http://c.test/"])
            outcome = await w.ask("GET", target=target)
            assert outcome.server == "c"
            assert outcome.verdicts == [Verdict.SUPERSEDED, Verdict.SUPERSEDED, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(1.1 + 0.01 + 1.1, abs=0.01)

    async def test_a_streamed_answer_belongs_to_whoever_gave_its_head(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterContentBytes(2))) as w:
            outcome = await w.ask("GET", target=BOTH, whole=False)
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert outcome.head_at == 0.0
            assert outcome.took == pytest.approx(1.67)
            assert outcome.content == b"a: GET / \n"

    @pytest.mark.parametrize("run", range(5))
    async def test_an_answer_that_is_there_when_the_window_is_over_is_heard(
        self, autojump_clock: MockClock, run: int
    ) -> None:
        """a is declared dead, and the window long over by that; b answers at that very instant.

        Which one the client hears of first is left to chance, hence the runs.
        """
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Origin: b\r\n\r\n"
        async with world(Fault(Blackhole(), OnConnect())) as w:
            w.b.script(Fault(Blackhole(), OnConnect()))
            w.network.path(B.address).delay = 0.0

            def observe(event: Event) -> None:
                if isinstance(event, events.DeclaredDead):
                    w.network.heal(B)
                    w.network.connections[-1][1].send_now(answer)

            w.client._observe = observe
            target = Target(urls=TWO.urls, order="listed", window=0.9)
            response = await w.client.get("/", target=target)
            assert response.headers["x-origin"] == "b"
            assert [record.verdict for record in response.attempts] == [
                Verdict.DEAD,
                Verdict.ANSWERED,
            ]


class TestDead:
    async def test_what_is_idempotent_is_sent_again(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await warm(w, BOTH)
            w.a.script(SILENT)
            outcome = await w.ask("PUT", target=BOTH)
            w.journal.expect(
                """
                0.000  client: AttemptStarted
                0.000  client: Connected 10.0.0.1:80
                0.000  client: RequestSent 10.0.0.1:80
                1.000  client: Probed 10.0.0.1:80
                1.100  client: Suspected 10.0.0.1:80
                1.500  client: Probed 10.0.0.1:80
                2.000  client: Probed 10.0.0.1:80
                2.500  client: DeclaredDead 10.0.0.1:80
                2.500  client: AttemptEnded
                2.500  client: AttemptStarted
                2.500  client: NameResolved
                2.500  client: ConnectionAttemptStarted 10.0.0.2:80
                2.501  client: ConnectionAttemptEnded 10.0.0.2:80
                2.501  client: Connected 10.0.0.2:80
                2.501  client: RequestSent 10.0.0.2:80
                2.502  client: ResponseStarted 10.0.0.2:80
                2.502  client: AttemptEnded
                2.502  client: ExchangeEnded
                """,
                "client",
            )
            assert outcome.server == "b"

    async def test_what_may_not_run_twice_gets_an_error_that_says_so(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(SILENT) as w:
            outcome = await w.ask("POST", target=BOTH)
            error = outcome.error
            assert type(error) is ServerDiedError
            assert outcome.took == pytest.approx(2.5)
            assert error.may_have_been_processed
            assert error.stage is Phase.WAITING
            assert str(error) == (
                "10.0.0.1:80: dead while waiting after 2.50 s "
                "(3 keep-alive probes unanswered, silent for 2.50 s); "
                "a server may have executed the request; not tried again: POST is not idempotent"
            )
            assert w.runs(outcome.number) == ["a"]

    async def test_all_dead_is_one_error_within_the_window(self, autojump_clock: MockClock) -> None:
        async with world(SILENT) as w:
            w.b.script(SILENT)
            outcome = await w.ask("GET", target=BOTH)
            assert type(outcome.error) is ServerDiedError
            assert outcome.verdicts == [Verdict.DEAD, Verdict.DEAD, Verdict.REFUSED]
            assert outcome.took == pytest.approx(3.6, abs=0.02)
            assert str(outcome.error).splitlines() == [
                "10.0.0.2:80: dead while waiting after 2.51 s "
                "(3 keep-alive probes unanswered, silent for 2.51 s); "
                "a server may have executed the request; not tried again: 3 attempts were made",
                "  attempt 1: 10.0.0.1:80: dead while waiting after 2.50 s "
                "(3 keep-alive probes unanswered, silent for 2.50 s)",
                "  attempt 3: http://ab.test: refused while connecting after 1.00 s "
                "(10.0.0.1:80 timed out, 10.0.0.2:80 timed out)",
            ]

    async def test_the_window_ends_an_exchange_whose_servers_are_all_suspect(
        self, autojump_clock: MockClock
    ) -> None:
        """In flight a is dead by 1.05 s; the second try, at 0.45 s, is suspect at 0.9 s."""
        async with world(Fault(Blackhole(), OnConnect())) as w:
            w.b.script(Fault(Blackhole(), OnConnect()))
            outcome = await w.ask("GET", target=Target(urls=BOTH.urls, window=1.0))
            assert type(outcome.error) is ServerDiedError
            assert outcome.took == pytest.approx(0.95)
            assert outcome.verdicts == [Verdict.CANCELLED, Verdict.CANCELLED]
            assert "the window is over" in str(outcome.error)

    async def test_the_window_does_not_end_one_with_a_living_server(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(SILENT) as w:
            w.b.reply = Reply(think=30.0)
            outcome = await w.ask("GET", target=Target(urls=BOTH.urls, window=2.0))
            assert outcome.server == "b"
            assert outcome.took == pytest.approx(31.102)

    async def test_max_attempts(self, autojump_clock: MockClock) -> None:
        async with world(SILENT) as w:
            outcome = await w.ask("PUT", target=Target(urls=BOTH.urls, max_attempts=1))
            assert outcome.verdicts == [Verdict.DEAD]
            assert "not tried again: 1 attempts were made" in str(outcome.error)

    async def test_connections_to_a_dead_server_are_not_lent_again(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(think=0.1)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(w.request, "GET", "http://ab.test/")
            assert len(w.network.open_streams()) == 3
            w.a.script(SILENT)
            await w.ask("PUT", target=BOTH)
            # The one of b that the request was sent again on, and none of a.
            assert [stream.endpoint for stream in w.network.open_streams()] == [B]


class TestRefused:
    async def test_the_same_server_is_not_asked_again_for_an_answer_that_it_gave(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(503)
            w.network.refuse(B)
            outcome = await w.ask("GET", target=TWO)
            assert outcome.response is not None
            assert outcome.response.status == 503
            assert w.runs(outcome.number) == ["a"]

    async def test_nor_is_one_that_refused_a_moment_ago(self, autojump_clock: MockClock) -> None:
        """b refuses in the first race, ahead of a's answer."""
        async with world() as w:
            w.network.path(A.address).delay = 0.1
            w.a.reply = Reply(503)
            w.b.script(Fault(Refuse(), OnConnect(), times=None))
            outcome = await w.ask("GET", target=TWO)
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert [one.failure for one in outcome.records[0].connection_attempts] == [
                None,
                ConnectFailure.REFUSED,
            ]


class TestClosed:
    async def test_the_only_server_is_not_asked_again(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterRequest())) as w:
            outcome = await w.ask("GET", target=ONE)
            assert type(outcome.error) is ServerDiedError
            assert "there is no other server" in str(outcome.error)

    async def test_unless_the_connection_was_an_old_one(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await warm(w, ONE)
            w.a.script(Fault(Fin(), AfterRequestBytes(0)))
            outcome = await w.ask("GET", target=ONE)
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
            assert [record.reused for record in outcome.records] == [True, False]

    async def test_a_whole_answer_that_breaks_off_is_asked_for_again(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Reset(), AfterContentBytes(3))) as w:
            outcome = await w.ask("GET", target=BOTH)
            assert outcome.content == b"b: GET / \n"

    async def test_one_that_was_handed_over_is_not(self, autojump_clock: MockClock) -> None:
        """a was overtaken once, and told it all the same: the error is of a, not of b."""
        async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
            w.a.script(Fault(Fin(), AfterContentBytes(3)))
            w.b.reply = Reply(think=5.0)
            outcome = await w.ask("GET", target=BOTH, whole=False)
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.SUPERSEDED]
            assert type(outcome.error) is ResponseIncompleteError
            assert str(outcome.error).splitlines() == [
                "10.0.0.1:80: closed while receiving after 1.67 s (the server closed the "
                "connection); a server may have executed the request; not tried again: part of it "
                "was handed over already, and the rest cannot be asked for: no strong ETag, or more than "
                "one",
                "  attempt 2: 10.0.0.2:80: superseded while waiting after 0.57 s",
            ]

    async def test_a_reset_that_the_sender_was_told_of_is_no_end_of_the_content(
        self, autojump_clock: MockClock
    ) -> None:
        async def answer_and_reset(stream: SimStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\npart")
            await trio.sleep(1.0)
            stream.reset()

        async def slowly() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1000)
                await trio.sleep(0.01)

        async with world() as w:
            w.listen(A, answer_and_reset)
            with pytest.raises(ResponseIncompleteError):
                await w.client.post("http://a.test/", content=slowly())


class TestTogether:
    async def test_nothing_was_sent_and_nobody_is_there(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.refuse(A)
            w.network.blackhole(B)
            outcome = await w.ask("POST", target=BACKED_UP)
            assert type(outcome.error) is ConnectError
            assert not outcome.error.may_have_been_processed
            assert outcome.took == pytest.approx(1.0)
            assert outcome.error.message == (
                "cannot connect to http://a.test, http://b.test: 10.0.0.1:80 refused after 0.00 s "
                "(Connection refused); 10.0.0.2:80 timed out after 1.00 s"
            )

    async def test_a_held_answer_is_better_than_nobody(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(502)
            w.network.blackhole(B)
            outcome = await w.ask("GET", target=BACKED_UP)
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.REFUSED]
            assert outcome.took == pytest.approx(1.0)
