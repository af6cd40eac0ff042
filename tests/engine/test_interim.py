"""1xx on the way: handed on as they come, and 101, after which the connection speaks another protocol."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from haclient.core.idempotency import RequestFacts
from haclient.core.spec import Target
from haclient.engine.exchange import Answer, exchange
from haclient.engine.outcome import Request
from haclient.engine.replay import as_content
from haclient.errors import ProtocolError
from haclient.net.http1 import Head
from haclient.types import Verdict
from tests.engine.test_cancellation import cancelled_at
from tests.engine.world import BOTH, ONE, SILENT, A, B, Script, World, world
from tests.sim.effects import AfterRequest, Blackhole, Fault, Reset
from tests.sim.origin import Reply
from tests.sim.stream import SimStream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"echo"))


def get(**more: object) -> Request:
    return Request("GET", "/", (), as_content(None, 0), RequestFacts("GET"), **more)  # type: ignore[arg-type]


def upgrade(method: str = "GET", content: bytes | None = None) -> Request:
    return Request(
        method, "/", UPGRADE, as_content(content, 0), RequestFacts(method), is_upgrade=True
    )


async def ask(w: World, request: Request, target: Target = ONE) -> Answer:
    return await exchange(w.client._live_for(target, target), request, w.journal.observer())


async def read_to_the_end(answer: Answer) -> bytes:
    content = b""
    while data := await answer.read_chunk():
        content += data
    await answer.finish()
    return content


class Listener:
    """Takes as long for each head as it is told to, and notes what it was given, and when."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.heard: list[tuple[float, int]] = []
        self.is_speaking = False

    async def hear(self, head: Head) -> None:
        assert not self.is_speaking
        self.is_speaking = True
        await trio.sleep(self.seconds)
        self.is_speaking = False
        self.heard.append((trio.current_time(), head.status))


class TestInterim:
    async def test_each_is_handed_on_as_it_comes_but_100(self, autojump_clock: MockClock) -> None:
        listener = Listener()
        async with world() as w:
            w.a.reply = Reply(interim=(103, 100, 102, 103), think=2.0)
            answer = await ask(w, get(on_interim=listener.hear))
            assert listener.heard == [(0.0, 103), (0.0, 102), (0.0, 103)]
            assert await read_to_the_end(answer) == b"a: GET / \n"

    async def test_also_while_content_waits_for_the_word_to_go_on(
        self, autojump_clock: MockClock
    ) -> None:
        """However long it takes to hand one on: nobody stops half-way."""

        async def hint_first(stream: SimStream) -> None:
            await stream.receive_some()
            await stream.send_all(HINT)
            await trio.sleep(0.5)
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert await stream.receive_some() == b"abc"
            await stream.send_all(OK)
            await trio.sleep_forever()

        listener = Listener(3.0)
        async with world() as w:
            w.listen(A, hint_first)
            fields = ((b"Expect", b"100-continue"),)
            request = Request(
                "PUT", "/", fields, as_content(b"abc", 0), RequestFacts("PUT"),
                on_interim=listener.hear,
            )  # fmt: skip
            answer = await ask(w, request)
            assert listener.heard == [(3.0, 103)]
            assert await read_to_the_end(answer) == b"ok"

    @pytest.mark.parametrize(
        "error", [LookupError("gone"), ValueError("gone"), trio.BrokenResourceError("gone")]
    )
    async def test_what_the_caller_raises_is_no_servers_fault(
        self, autojump_clock: MockClock, error: Exception
    ) -> None:
        async def fail(head: Head) -> None:
            raise error

        async with world() as w:
            w.a.reply = Reply(interim=(103,), think=1.0)
            with pytest.raises(type(error)) as raised:
                await ask(w, get(on_interim=fail), BOTH)
            assert raised.value is error
            assert w.runs(0) == []
            assert not w.engine.health.is_held_down(A, trio.current_time())
            [record] = [e.attempts for e in w.events if hasattr(e, "attempts")][-1]
            assert (record.verdict, record.detail) == (Verdict.FAILED, "gone")

    async def test_two_attempts_take_turns(self, autojump_clock: MockClock) -> None:
        """The suspect comes back, and both have something to say at once."""

        def hinting(after: float) -> Script:
            async def serve(stream: SimStream) -> None:
                await stream.receive_some()
                await trio.sleep(after)
                await stream.send_all(HINT * 2)
                await trio.sleep(1.0)
                await stream.send_all(OK)
                await trio.sleep_forever()

            return serve

        listener = Listener(0.3)
        async with world() as w:
            w.listen(A, hinting(2.0))
            w.listen(B, hinting(1.0))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_off, w, 0.5, 1.9)
                answer = await ask(w, get(on_interim=listener.hear), BOTH)
            assert await read_to_the_end(answer) == b"ok"
            assert len(listener.heard) == 4
            assert [record.verdict for record in answer.attempts] == [
                Verdict.ANSWERED,
                Verdict.SUPERSEDED,
            ]

    async def test_one_is_handed_on_whole_also_by_an_attempt_that_loses(
        self, autojump_clock: MockClock
    ) -> None:
        async def hint(stream: SimStream) -> None:
            await stream.receive_some()
            await trio.sleep(2.0)
            await stream.send_all(HINT)
            await trio.sleep_forever()

        listener = Listener(9.0)
        async with world() as w:
            w.listen(A, hint)
            w.b.reply = Reply(think=2.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_off, w, 0.5, 1.9)
                answer = await ask(w, get(on_interim=listener.hear), BOTH)
            assert [at for at, _ in listener.heard] == [pytest.approx(11.0)]
            assert trio.current_time() == pytest.approx(11.0)
            assert await read_to_the_end(answer) == b"b: GET / \n"


async def cut_off(w: World, start: float, end: float) -> None:
    """Nothing gets to a between these instants."""
    await trio.sleep_until(start)
    w.network.blackhole(A)
    await trio.sleep_until(end)
    w.network.heal(A)


def switching(behind: bytes = b"") -> Script:
    async def serve(stream: SimStream) -> None:
        await stream.receive_some()
        await stream.send_all(SWITCH + behind)
        with suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                await stream.send_all(data.upper())

    return serve


class TestUpgrade:
    async def test_the_connection_is_the_callers(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.listen(A, switching(b"hello"))
            answer = await ask(w, upgrade())
            assert answer.head.status == 101
            assert (b"Upgrade", b"echo") in answer.head.fields
            assert answer.leftover() == answer.leftover() == b"hello"
            stream = answer.connection.stream
            await stream.send_all(b"anything")
            assert await stream.receive_some() == b"ANYTHING"
            # It is the caller's to say what silence means here.
            assert len(w.engine.watch) == 0
            await trio.sleep(100.0)
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"X"
            await answer.finish()
            await answer.finish()
            answer.abandon()
            assert w.network.open_streams() == ()
            [record] = answer.attempts
            assert (record.verdict, record.status) == (Verdict.ANSWERED, 101)

    async def test_given_up(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.listen(A, switching())
            answer = await ask(w, upgrade())
            assert answer.leftover() == b""
            answer.abandon(Verdict.ANSWERED, "the tunnel ended")
            assert w.network.open_streams() == ()
            [record] = answer.attempts
            assert record.detail == "the tunnel ended"

    async def test_another_final_answer_is_an_ordinary_one(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            answer = await ask(w, upgrade())
            assert answer.head.status == 200
            assert await read_to_the_end(answer) == b"a: GET / \n"
            again = await ask(w, get())
            assert await read_to_the_end(again) == b"a: GET / \n"
            assert again.attempts[0].reused

    @pytest.mark.parametrize(
        ("fault", "within"), [(Fault(Reset(), AfterRequest()), 0.1), (SILENT, 1.2)]
    )
    async def test_it_goes_to_another_server_like_any_get(
        self, autojump_clock: MockClock, fault: Fault, within: float
    ) -> None:
        async with world(fault) as w:
            w.listen(B, switching())
            answer = await ask(w, upgrade(), BOTH)
            assert answer.head.status == 101
            assert answer.connection.endpoint == B
            assert trio.current_time() < within
            answer.abandon()

    async def test_where_nobody_asked_for_it_it_is_garbage(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.listen(A, switching())
            with pytest.raises(ProtocolError, match="not tried again: there is no other server"):
                await ask(w, get())

    @pytest.mark.parametrize("expects", [False, True])
    async def test_before_the_request_is_whole_it_is_garbage(
        self, autojump_clock: MockClock, expects: bool
    ) -> None:
        async def early(stream: SimStream) -> None:
            await stream.receive_some(10)
            await stream.send_all(SWITCH)
            await trio.sleep_forever()

        async def slow() -> object:
            yield b"a"
            await trio.sleep(5.0)
            yield b"b"

        async with world() as w:
            w.listen(A, early)
            request = upgrade("PUT")
            request.content = as_content(slow(), 10)  # type: ignore[arg-type]
            if expects:
                request.fields += ((b"Expect", b"100-continue"),)
            with pytest.raises(ProtocolError, match="101 Switching Protocols before"):
                await ask(w, request)
            await request.content.aclose()

    @pytest.mark.parametrize("interrupts", [True, False])
    async def test_each_await(self, autojump_clock: MockClock, interrupts: bool) -> None:
        async def tunnel(w: World) -> None:
            answer = await ask(w, upgrade())
            try:
                await answer.connection.stream.send_all(b"x")
                assert await answer.connection.stream.receive_some() == b"X"
            finally:
                answer.abandon()

        for k in itertools.count(1):
            async with world() as w:
                w.listen(A, switching())
                was_cancelled = await cancelled_at(w, k, tunnel, interrupts=interrupts)
            if not was_cancelled:
                break
        assert k > 4


async def test_news_that_nobody_waited_for_is_not_the_tunnels(autojump_clock: MockClock) -> None:
    """The server was suspect until the very moment in which it answered."""
    async with world(Fault(Blackhole(1.3), AfterRequest())) as w:
        w.listen(A, switching())
        answer = await ask(w, upgrade())
        with trio.move_on_after(30.0) as scope:
            await answer.connection.stream.receive_some()
        assert scope.cancelled_caught
        answer.abandon()
