"""An answer that breaks off goes on from another server: the same bytes, or an error; nothing between.

The content is chance's, so that no part of it looks like another.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.client import RequestOptions
from haclient.core.idempotency import RequestFacts
from haclient.core.spec import Target
from haclient.engine.exchange import Answer, exchange
from haclient.engine.outcome import Request
from haclient.engine.replay import as_content
from haclient.errors import ProtocolError, ResponseIncompleteError, ResponseTimeoutError
from haclient.net.http1 import Head
from haclient.types import Fields, Verdict
from tests.engine.oracle import Outcome
from tests.engine.world import BACKED_UP, BOTH, ONE, A, B, C, Script, World, world
from tests.sim.effects import (
    AfterContentBytes,
    AfterRequest,
    Blackhole,
    Effect,
    Fault,
    Fin,
    HalfOpen,
    Kill,
    Reset,
    Stall,
)
from tests.sim.origin import Framing, ReceivedRequest, Reply, ranged
from tests.sim.stream import SimStream

DATA = random.Random(7).randbytes(200_000)
ETAG = b'"v1"'
ALL = Target(urls=["http://ab.test/", "http://c.test/"])

Answerer = Callable[[ReceivedRequest], Reply]


def framed(framing: Framing, data: bytes = DATA) -> Answerer:
    """An honest server of the data."""
    honest = ranged(data, ETAG)
    return lambda request: replace(honest(request), framing=framing)


def honest(w: World) -> None:
    w.a.reply = w.b.reply = w.c.reply = framed(Framing.COUNTED)


async def stream(w: World, target: Target = BOTH, **options: object) -> Outcome:
    given: RequestOptions = {"target": target, **options}  # type: ignore[typeddict-item]
    return await w.ask("GET", "/big", whole=False, **given)


def part(
    first: int, last: int, total: bytes = b"%d" % len(DATA), etag: bytes = ETAG, **more: object
) -> Reply:
    """What a server says is this part of the data, and the part."""
    fields = ((b"ETag", etag), (b"Content-Range", b"bytes %d-%d/%b" % (first, last, total)))
    return replace(Reply(206, DATA[first : last + 1], fields=fields), **more)  # type: ignore[arg-type]


class TestWhole:
    @pytest.mark.parametrize("framing", [Framing.COUNTED, Framing.CHUNKED], ids=str)
    @pytest.mark.parametrize("at", [0, 1, 1000, 100_001, len(DATA) - 1])
    @pytest.mark.parametrize(
        ("effect", "after"),
        [(Blackhole(), 1.1), (Reset(), 0.0), (Fin(), 0.0), (Kill(), 0.0), (HalfOpen(), 1.0)],
        ids=str,
    )
    async def test_whatever_breaks_it_off_and_wherever(
        self, autojump_clock: MockClock, effect: Effect, after: float, at: int, framing: Framing
    ) -> None:
        async with world(Fault(effect, AfterContentBytes(at))) as w:
            w.a.reply = w.b.reply = framed(framing)
            outcome = await stream(w)
            assert outcome.error is None
            assert outcome.content == DATA
            assert [record.endpoint for record in outcome.records] == [A, B]
            assert [record.status for record in outcome.records] == [200, 206]
            assert outcome.verdicts[1] is Verdict.ANSWERED
            # The client's own acknowledgement may meet the end of half a connection sooner.
            assert outcome.took <= after + 0.02
            assert outcome.took >= after or effect == HalfOpen()
            # What B was asked for is exactly what A had not delivered.
            asked = w.b.executed[0].value(b"range")
            assert asked is not None
            # What comes to a sender in good order may be cut by RST; no more than it is missing.
            assert int(asked.strip(b"bytes=-")) <= at
            assert w.b.executed[0].value(b"if-range") == ETAG
            # The rest was read to its end: the connection serves again.
            assert len(w.network.open_streams()) == 1

    @pytest.mark.parametrize("framing", [Framing.COUNTED, Framing.CHUNKED], ids=str)
    async def test_from_a_server_that_gives_it_all_once_more(
        self, autojump_clock: MockClock, framing: Framing
    ) -> None:
        """Many ignore Range; what the caller has already is dropped."""
        async with world(Fault(Fin(), AfterContentBytes(150_000))) as w:
            w.a.reply = framed(framing)
            w.b.reply = Reply(content=DATA, fields=((b"ETag", ETAG),), framing=Framing.CHUNKED)
            outcome = await stream(w)
            assert outcome.content == DATA
            assert [record.status for record in outcome.records] == [200, 200]

    async def test_what_was_a_part_already(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Reset(), AfterContentBytes(50_000))) as w:
            honest(w)
            w.b.reply = lambda request: part(
                int((request.value(b"range") or b"").strip(b"bytes=").partition(b"-")[0]),
                len(DATA) - 1,
            )
            outcome = await stream(w, headers={"Range": "bytes=100000-"})
            assert outcome.content == DATA[100_000:]
            asked = w.b.executed[0].value(b"range") or b""
            first, _, last = asked.removeprefix(b"bytes=").partition(b"-")
            assert 100_000 <= int(first) <= 150_000
            assert int(last) == len(DATA) - 1

    async def test_from_the_backup(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Kill(), AfterContentBytes(1000))) as w:
            honest(w)
            assert (await stream(w, BACKED_UP)).content == DATA

    async def test_from_one_after_another(self, autojump_clock: MockClock) -> None:
        """A rolling restart: who broke off first is back when the second one does."""
        async with world(
            Fault(Fin(), AfterContentBytes(1000)), Fault(Stall(0.5), AfterRequest(), skip=1)
        ) as w:
            honest(w)
            w.b.script(Fault(Fin(), AfterContentBytes(5000)))
            outcome = await stream(w)
            assert outcome.content == DATA
            assert [record.endpoint for record in outcome.records] == [A, B, A]

    async def test_from_the_same_one_where_it_was_the_path(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(spares_others=True), AfterContentBytes(1000))) as w:
            honest(w)
            outcome = await stream(w, ONE)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.DEAD, Verdict.ANSWERED]

    async def test_one_that_falls_silent_is_left(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Stall(60.0), AfterContentBytes(1000)), response_timeout=10.0) as w:
            honest(w)
            async with w.client.stream("GET", "http://ab.test/") as response:
                assert await response.read() == DATA
                assert response.attempts[0].verdict is Verdict.SLOW
            assert trio.current_time() == pytest.approx(10.0, abs=0.2)

    async def test_after_another_one_was_not_good_enough(self, autojump_clock: MockClock) -> None:
        """The answer that was held is none for the rest, and its server may be asked again."""
        async with world() as w:
            honest(w)
            answers = iter([lambda _: Reply(503), framed(Framing.COUNTED)])
            w.a.reply = lambda request: next(answers)(request)
            w.b.script(Fault(Fin(), AfterContentBytes(1000)))
            outcome = await stream(w)
            assert outcome.content == DATA
            assert [record.endpoint for record in outcome.records] == [A, B, A]

    async def test_a_suspect_that_is_asked_for_the_rest_has_somebody_beside_it(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            honest(w)
            w.network.path(C).delay = 0.01
            w.b.script(Fault(Blackhole(), AfterRequest()))
            outcome = await stream(w, ALL)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.SUPERSEDED, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(1.1, abs=0.2)


class TestSuspect:
    """In mid-response: read on, and beside it somebody is asked for the rest."""

    AT = 1000

    async def test_one_that_comes_back_goes_on_itself(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(1.3), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.b.reply = lambda request: replace(framed(Framing.COUNTED)(request), think=9.0)
            outcome = await stream(w)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.SUPERSEDED]
            assert outcome.took < 3.0

    async def test_one_that_comes_back_twice(self, autojump_clock: MockClock) -> None:
        """Each time is a trouble of its own, and the attempts are counted together."""
        async with world(Fault(Blackhole(1.3), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.b.reply = lambda request: replace(framed(Framing.COUNTED)(request), think=60.0)
            async with w.client.stream("GET", "http://ab.test/") as response:
                content = await response.next_chunk()
                content += await response.next_chunk()
                w.network.blackhole(A)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(heal_after, w, 1.3)
                    async for chunk in response:
                        content += chunk
            assert content == DATA
            assert response.attempts[0].verdict is Verdict.ANSWERED

    async def test_its_death_while_another_one_thinks(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.b.reply = lambda request: replace(framed(Framing.COUNTED)(request), think=5.0)
            outcome = await stream(w)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.DEAD, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(6.1, abs=0.1)

    @pytest.mark.parametrize("seconds", [1.3, 60.0], ids=["comes back", "is dead"])
    async def test_while_another_one_has_another_version(
        self, autojump_clock: MockClock, seconds: float
    ) -> None:
        async with world(Fault(Blackhole(seconds), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.b.reply = Reply(content=DATA[::-1], fields=((b"ETag", b'"v2"'),))
            outcome = await stream(w)
            assert DATA.startswith(outcome.content)
            if seconds == 1.3:
                assert outcome.content == DATA
                assert outcome.verdicts == [Verdict.ANSWERED, Verdict.ANSWERED]
            else:
                assert type(outcome.error) is ResponseIncompleteError
                assert outcome.verdicts[0] is Verdict.DEAD

    async def test_two_others_one_after_the_other(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.network.path(C).delay = 0.01
            w.b.reply = Reply(503)
            outcome = await stream(w, ALL)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.SUPERSEDED, Verdict.ANSWERED, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(1.2, abs=0.1)

    @pytest.mark.parametrize("is_spent", [False, True], ids=["nobody is there", "no budget"])
    async def test_where_nobody_may_be_asked_the_verdict_is_waited_for(
        self, autojump_clock: MockClock, is_spent: bool
    ) -> None:
        target = Target(urls=BOTH.urls, retry_budget=0.0)
        async with world(Fault(Blackhole(), AfterContentBytes(self.AT))) as w:
            honest(w)
            if is_spent:
                w.spend_budget(target)
            else:
                w.network.refuse(B)
            outcome = await stream(w, target)
            assert outcome.verdicts[0] is Verdict.DEAD
            if is_spent:
                assert outcome.content == DATA
                assert outcome.took == pytest.approx(2.5, abs=0.1)
            else:
                assert type(outcome.error) is ResponseIncompleteError

    async def test_an_answer_that_cannot_go_on_is_waited_for(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Blackhole(1.3), AfterContentBytes(self.AT))) as w:
            w.a.reply = Reply(content=DATA)
            outcome = await stream(w)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.ANSWERED]


async def heal_after(w: World, seconds: float) -> None:
    await trio.sleep(seconds)
    w.network.heal(A)


class TestRefused:
    """A second server whose answer is not the rest: none of its bytes reaches the caller."""

    AT = 1000

    LIES: ClassVar[dict[str, Reply | Answerer]] = {
        "another version": Reply(content=DATA[::-1], fields=((b"ETag", b'"v2"'),)),
        "a part of another version": part(AT, len(DATA) - 1, etag=b'"v2"'),
        "a weak validator": part(AT, len(DATA) - 1, etag=b'W/"v1"'),
        "no validator": Reply(content=DATA),
        "a part that begins too late": part(AT + 1, len(DATA) - 1),
        "a part that begins too early": part(AT - 1, len(DATA) - 1),
        "a part that ends too soon": part(AT, len(DATA) - 2),
        "a part of something longer": part(AT, len(DATA) - 1, b"%d" % (len(DATA) + 1)),
        "a content coding": Reply(
            206,
            DATA[AT:],
            fields=(*part(AT, len(DATA) - 1).fields, (b"Content-Encoding", b"gzip")),
        ),
        "there is no such range": Reply(416),
        "there is no such thing": Reply(404),
        "busy": Reply(503),
    }

    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
    async def test_alone_it_is_an_error(self, autojump_clock: MockClock, lie: Reply) -> None:
        async with world(Fault(Fin(), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.b.reply = lie
            outcome = await stream(w)
            assert type(outcome.error) is ResponseIncompleteError
            assert DATA.startswith(outcome.content)
            assert len(outcome.content) == self.AT
            first, second = outcome.records
            assert (first.verdict, second.verdict) == (Verdict.CLOSED, Verdict.ANSWERED)
            assert second.detail
            assert f"attempt 2: 10.0.0.2:80: answered with {second.status}" in str(outcome.error)
            assert second.detail in str(outcome.error)
            assert "not tried again: there is no other server" in str(outcome.error)
            assert not w.engine.health.is_held_down(B, trio.current_time())
            assert w.network.open_streams() == ()

    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
    async def test_a_third_one_may_have_it(self, autojump_clock: MockClock, lie: Reply) -> None:
        async with world(Fault(Fin(), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.network.path(C).delay = 0.01
            w.b.reply = lie
            outcome = await stream(w, ALL)
            assert outcome.content == DATA
            assert [record.endpoint for record in outcome.records] == [A, B, C]

    @pytest.mark.parametrize(
        ("claims", "words"),
        [
            (part(AT, len(DATA) - 1, framing=Framing.CHUNKED, content=DATA[AT:-5]), "before"),
            (part(AT, len(DATA) - 1, framing=Framing.CHUNKED, content=DATA[AT:] + b"x"), "past"),
            (
                Reply(content=DATA[: AT - 5], fields=((b"ETag", ETAG),), framing=Framing.CHUNKED),
                "before",
            ),
        ],
        ids=["less than it announced", "more than it announced", "less than the caller has"],
    )
    async def test_one_that_announces_the_rest_and_sends_something_else(
        self, autojump_clock: MockClock, claims: Reply, words: str
    ) -> None:
        async with world(Fault(Kill(), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.b.reply = claims
            outcome = await stream(w)
            assert type(outcome.error) is ProtocolError
            assert f"{words} what it announced" in str(outcome.error)
            assert DATA.startswith(outcome.content)
            assert len(outcome.content) < len(DATA)
        async with world(Fault(Fin(), AfterContentBytes(self.AT))) as w:
            honest(w)
            w.network.path(C).delay = 0.01
            w.b.reply = claims
            outcome = await stream(w, ALL)
            assert outcome.content == DATA
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.GARBLED, Verdict.ANSWERED]


class TestNot:
    """Answers that cannot go on: the error is the one that there was without this."""

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(content=DATA),
            Reply(content=DATA, fields=((b"ETag", b'W/"v1"'),)),
            Reply(content=DATA, fields=((b"ETag", ETAG), (b"Content-Encoding", b"gzip"))),
            Reply(404, content=DATA, fields=((b"ETag", ETAG),)),
        ],
        ids=["no ETag", "a weak ETag", "a content coding", "an error status"],
    )
    async def test_an_answer_of_another_kind(self, autojump_clock: MockClock, reply: Reply) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            w.a.reply = w.b.reply = reply
            await self.breaks_off(w, BOTH)

    async def test_where_the_target_says_so(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            honest(w)
            await self.breaks_off(w, Target(urls=BOTH.urls, resume=False))

    async def test_a_request_with_content(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            honest(w)
            await self.breaks_off(w, BOTH, content=b"a query")

    async def test_all_of_it_is_there_and_its_last_line_is_missing(
        self, autojump_clock: MockClock
    ) -> None:
        """There is nothing left to ask for, and it is not whole all the same (RFC 9112, 8)."""
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            w.a.reply = part(0, 999, framing=Framing.CHUNKED)
            await self.breaks_off(w, BOTH)

    async def breaks_off(self, w: World, target: Target, **options: object) -> None:
        outcome = await stream(w, target, **options)
        assert type(outcome.error) is ResponseIncompleteError
        assert "not tried again: part of it was handed over already" in str(outcome.error)
        assert DATA.startswith(outcome.content)
        assert outcome.verdicts == [Verdict.CLOSED]

    async def test_nobody_else_is_there(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            honest(w)
            outcome = await stream(w, ONE)
            assert type(outcome.error) is ResponseIncompleteError
            assert "not tried again: there is no other server" in str(outcome.error)

    async def test_nobody_else_answers(self, autojump_clock: MockClock) -> None:
        """The error tells of the server that broke off, and names the other."""
        async with world(Fault(Kill(), AfterContentBytes(1000))) as w:
            honest(w)
            w.network.refuse(B)
            outcome = await stream(w)
            assert type(outcome.error) is ResponseIncompleteError
            assert str(outcome.error).startswith("10.0.0.1:80: closed while receiving")
            assert "attempt 2: http://ab.test: refused while connecting" in str(outcome.error)

    async def test_all_attempts_were_made(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000), times=None)) as w:
            honest(w)
            for origin in (w.b, w.c):
                origin.script(Fault(Fin(), AfterContentBytes(1000), times=None))
            outcome = await stream(w, ALL)
            assert type(outcome.error) is ResponseIncompleteError
            assert "not tried again: 3 attempts were made" in str(outcome.error)
            assert outcome.content == DATA[:3000]
            assert len(outcome.records) == 3

    async def test_the_window_is_over(self, autojump_clock: MockClock) -> None:
        """It opens with the last sign of life, not with the verdict."""
        async with world(Fault(Blackhole(), AfterContentBytes(1000))) as w:
            honest(w)
            target = Target(urls=BOTH.urls, window=2.5, retry_budget=0.0)
            w.spend_budget(target)  # so that nobody is asked on suspicion
            outcome = await stream(w, target)
            assert type(outcome.error) is ResponseIncompleteError
            assert "not tried again: the window is over" in str(outcome.error)

    async def test_each_trouble_has_a_window_of_its_own(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Blackhole(), AfterContentBytes(1000))) as w:
            honest(w)
            w.network.path(C).delay = 0.01
            w.b.script(Fault(Blackhole(), AfterContentBytes(1000)))
            outcome = await stream(w, ALL)
            assert outcome.content == DATA
            assert outcome.took == pytest.approx(2.2, abs=0.2)

    async def test_a_living_server_s_copy_needs_the_budget(self, autojump_clock: MockClock) -> None:
        target = Target(urls=BOTH.urls, response_timeout=10.0)
        async with world(Fault(Stall(60.0), AfterContentBytes(1000))) as w:
            honest(w)
            w.spend_budget(target)
            outcome: Outcome | None = None

            async def spend() -> None:
                while outcome is None:
                    w.spend_budget(target)
                    await trio.sleep(0.5)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(spend)
                outcome = await stream(w, target)
                nursery.cancel_scope.cancel()
            assert type(outcome.error) is ResponseTimeoutError
            assert "the retry budget is spent" in str(outcome.error)


def speaking(wire: bytes, *, closes: bool = False) -> Script:
    async def serve(peer: SimStream) -> None:
        while await peer.receive_some():
            await peer.send_all(wire)
            if closes:
                peer.close()
                return

    return serve


class TestAnswer:
    """As the doors hold it."""

    @staticmethod
    async def begin(w: World, **more: object) -> Answer:
        fields: Fields = ((b"X-Own", b"kept"), (b"If-None-Match", b'"old"'))
        request = Request("GET", "/", fields, as_content(None, 0), RequestFacts("GET"), **more)  # type: ignore[arg-type]
        return await exchange(w.client._live_for(BOTH, BOTH), request, w.journal.observer())

    async def test_it_counts_how_often_it_went_on(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            honest(w)
            answer = await self.begin(w)
            assert repr(answer).startswith("<Answer 200 from <Attempt 1 at 10.0.0.1:80")
            content = b""
            while data := await answer.read_chunk():
                content += data
            assert content == DATA
            assert await answer.read_chunk() == b""
            assert answer.resumes == 1
            assert answer.head.status == 200
            assert answer.connection.endpoint == B
            await answer.finish()
            await answer.finish()
            assert len(w.told(events.ExchangeEnded)) == 1
            assert len(w.network.open_streams()) == 1
            # The request for the rest is the first one but for its conditions.
            assert w.b.executed[0].value(b"x-own") == b"kept"
            assert w.b.executed[0].value(b"if-none-match") is None

    async def test_an_error_stays(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            w.a.reply = Reply(content=DATA)
            answer = await self.begin(w)
            await answer.read_chunk()
            errors = []
            for _ in range(2):
                with pytest.raises(ResponseIncompleteError) as raised:
                    await answer.read_chunk()
                errors.append(raised.value)
            assert errors[0] is errors[1]
            answer.abandon()
            await answer.finish()
            assert len(w.told(events.ExchangeEnded)) == 1

    async def test_given_up(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            honest(w)
            answer = await self.begin(w)
            answer.abandon(detail="the client left")
            with pytest.raises(RuntimeError, match="closed before its content was read"):
                await answer.read_chunk()
            [record] = answer.attempts
            assert (record.verdict, record.detail) == (Verdict.CANCELLED, "the client left")

    async def test_interim_answers_to_the_second_request_are_not_handed_on(
        self, autojump_clock: MockClock
    ) -> None:
        heard: list[int] = []

        async def hear(head: Head) -> None:
            heard.append(head.status)

        async with world(Fault(Fin(), AfterContentBytes(1000))) as w:
            honest(w)
            answering = framed(Framing.COUNTED)
            w.b.reply = lambda request: replace(answering(request), interim=(103,))
            answer = await self.begin(w, on_interim=hear)
            while await answer.read_chunk():
                pass
            await answer.finish()
            assert heard == []
            assert len(w.told(events.InterimReceived)) == 1

    async def test_trailers_of_a_part_are_not_the_answers(self, autojump_clock: MockClock) -> None:
        head = b'HTTP/1.1 %b\r\nETag: "x"\r\nTransfer-Encoding: chunked\r\n'
        async with world() as w:
            w.listen(A, speaking(head % b"200 OK" + b"\r\n2\r\nab\r\n", closes=True))
            rest = b"Content-Range: bytes 2-3/4\r\n\r\n2\r\ncd\r\n0\r\nX-Sum: 7\r\n\r\n"
            w.listen(B, speaking(head % b"206 Partial Content" + rest))
            answer = await self.begin(w)
            assert await answer.read_chunk() == b"ab"
            assert await answer.read_chunk() == b"cd"
            assert await answer.read_chunk() == b""
            assert answer.trailers == ()
            await answer.finish()
