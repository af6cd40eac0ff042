"""A request's way out: in one piece, in many, held back, cut short, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.core.idempotency import RequestFacts
from haclient.engine.exchange import exchange
from haclient.engine.outcome import Request
from haclient.engine.replay import StreamContent
from haclient.errors import (
    BadRequestError,
    ContentError,
    ResponseIncompleteError,
    ResponseTimeoutError,
    ServerDiedError,
)
from haclient.types import Fields, Phase, Verdict
from tests.engine.world import BOTH, LONG, TOO_LARGE, UNACKNOWLEDGED, A, B, World, world
from tests.sim.effects import (
    AfterRequestBytes,
    Blackhole,
    Fault,
    Garbage,
    Reset,
    Stall,
)
from tests.sim.origin import Reply
from tests.sim.stream import SimStream


class Source:
    """Content that comes piece by piece, and knows whether it was let go of."""

    def __init__(self, *pieces: bytes, every: float = 0.0) -> None:
        self.pieces = pieces
        self.every = every
        self.closed_at: float | None = None

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                await trio.sleep(self.every)
                yield piece
        finally:
            self.closed_at = trio.current_time()


class TestTrailers:
    @pytest.mark.parametrize("length", [None, 2], ids=["chunked", "counted"])
    async def test_they_follow_chunked_content(
        self, autojump_clock: MockClock, length: int | None
    ) -> None:
        """And are sent again with it."""

        def trailers() -> Fields:
            return ((b"X-Sum", b"7"), (b"x-empty", b""))

        wires: list[bytes] = []

        async def answer(stream: SimStream) -> None:
            wire = b""
            while wire.count(b"\r\n\r\n") < 2 and not wire.endswith(b"\r\n\r\nab"):
                wire += await stream.receive_some()
            wires.append(wire.partition(b"\r\n\r\n")[2])
            if len(wires) == 1:
                stream.reset()
                return
            await stream.send_all(TOO_LARGE + b"\r\n")
            await trio.sleep_forever()

        async with world() as w:
            w.listen(A, answer)
            w.listen(B, answer)
            content = StreamContent([b"a", b"b"], 100, length, trailers=trailers)
            request = Request("PUT", "/", (), content, RequestFacts("PUT"))
            answered = await exchange(w.client._live_for(BOTH, BOTH), request)
            await answered.finish()
            await content.aclose()
        ends = b"0\r\nX-Sum: 7\r\nx-empty:\r\n\r\n" if length is None else b""
        # The second time it comes in one piece.
        first, second = (b"1\r\na\r\n1\r\nb\r\n", b"2\r\nab\r\n")
        assert wires == ([first + ends, second + ends] if length is None else [b"ab", b"ab"])

    async def test_one_that_cannot_be_sent_ends_the_request(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            content = StreamContent([b"a"], 100, trailers=lambda: ((b"X", b"1\r\nY: 2"),))
            request = Request("PUT", "/", (), content, RequestFacts("PUT"))
            with pytest.raises(ContentError, match="the value of X has a control character"):
                await exchange(w.client._live_for(BOTH, BOTH), request)
            await content.aclose()
            assert w.a.executed == []


class TestReplay:
    async def test_an_attempt_says_why_its_content_was_gone(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Reset(), AfterRequestBytes(150_000)), replay_limit=100_000) as w:
            outcome = await w.ask("PUT", "http://ab.test/", content=Source(LONG[:90_000], LONG)())
            [record] = outcome.records
            assert record.replay == "past replay_limit"
            assert "; its content cannot be sent again: past replay_limit" in record.describe()

    async def test_and_one_before_it_that_it_was_there(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Reset(), AfterRequestBytes(10)), replay_limit=100_000) as w:
            outcome = await w.ask("PUT", "http://ab.test/", content=Source(LONG[:90_000], LONG)())
            assert [record.replay for record in outcome.records] == ["", "past replay_limit"]


class TestSmallContent:
    async def test_it_goes_out_with_the_head(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            sizes: list[int] = []

            async def count(stream: SimStream) -> None:
                sizes.append(len(await stream.receive_some()))
                await stream.send_all(TOO_LARGE + b"\r\n")
                await stream.receive_some()

            w.listen(A, count)
            response = await w.client.put("http://a.test/", content=b"c" * 1000)
            assert sizes == [response.attempts[0].bytes_sent]
            [sent] = w.told(events.RequestSent)
            assert isinstance(sent, events.RequestSent)
            assert (sent.at, sent.bytes_sent) == (0.0, sizes[0])
            assert len(sent.head) == sizes[0] - 1000

    async def test_it_costs_no_task(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(think=1.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(w.ask, "PUT", "http://a.test/")
                await w.settle()
                assert len(w.engine.nursery.child_tasks) == 1  # the watch

    async def test_what_the_kernel_does_not_take_at_once_does_not_keep_the_verdict_away(
        self, autojump_clock: MockClock
    ) -> None:
        """Content of 64 KiB fills the send buffer, and the rest waits for whoever died."""
        async with world(UNACKNOWLEDGED) as w:
            outcome = await w.ask("PUT", target=BOTH, content=bytes(65536))
            assert outcome.verdicts == [Verdict.DEAD, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(1.0, abs=0.1)
            assert w.b.executed[0].content == bytes(65536)

    async def test_and_a_living_server_gets_all_of_it(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Stall(3.0), AfterRequestBytes(1))) as w:
            outcome = await w.ask("PUT", target=BOTH, content=bytes(65536))
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert w.a.executed[0].content == bytes(65536)
            # The connection was made ready again once all of it had left.
            assert (await w.ask("GET", target=BOTH)).records[0].reused

    async def test_a_long_head_is_no_exception(self, autojump_clock: MockClock) -> None:
        async with world(UNACKNOWLEDGED) as w:
            cookies = {"Cookie": "c" * 70_000}
            outcome = await w.ask("GET", target=BOTH, headers=cookies)
            assert outcome.verdicts == [Verdict.SUPERSEDED, Verdict.ANSWERED]
            assert outcome.took == pytest.approx(0.45, abs=0.01)


class TestLongContent:
    @pytest.mark.parametrize("length", [65537, 3 * 65536, 1_000_000])
    async def test_it_arrives_whole(self, autojump_clock: MockClock, length: int) -> None:
        content = bytes(range(251)) * (length // 251 + 1)
        async with world() as w:
            await w.ask("PUT", "http://a.test/", content=content[:length])
            [request] = w.a.executed
            assert request.content == content[:length]
            assert request.value(b"content-length") == b"%d" % length

    async def test_content_of_unknown_length_is_chunked(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            await w.ask("POST", "http://a.test/", content=[b"ab", b"", b"cd"])
            [request] = w.a.executed
            assert request.content == b"abcd"
            assert request.value(b"transfer-encoding") == b"chunked"

    async def test_a_server_that_does_not_read_is_waited_for(
        self, autojump_clock: MockClock
    ) -> None:
        """Promise 4, with the window shut for half a minute."""
        async with world(Fault(Stall(30.0), AfterRequestBytes(100))) as w:
            outcome = await w.ask("PUT", target=BOTH, content=LONG)
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert outcome.took == pytest.approx(30.0)
            assert w.told(events.DeclaredDead) == []
            assert w.a.executed[0].content == LONG

    async def test_one_that_dies_with_its_window_shut_is_found_dead(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Stall(100.0), AfterRequestBytes(100))) as w:
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def strike() -> None:
                    await trio.sleep(1.0)
                    w.network.blackhole(A)

                outcome = await w.ask("PUT", target=BOTH, content=LONG)
            assert outcome.verdicts == [Verdict.DEAD, Verdict.ANSWERED]
            assert outcome.records[0].phase is Phase.SENDING
            assert outcome.took < 1.0 + 4.0
            assert w.b.executed[0].content == LONG

    async def test_a_slow_source_is_no_fault_of_the_servers(
        self, autojump_clock: MockClock
    ) -> None:
        source = Source(b"a", b"b", every=30.0)
        async with world(response_timeout=10.0) as w:
            outcome = await w.ask("POST", "http://a.test/", content=source())
            assert outcome.verdicts == [Verdict.ANSWERED]
            assert outcome.took == pytest.approx(60.0)

    async def test_but_a_server_that_does_not_answer_after_it_is(
        self, autojump_clock: MockClock
    ) -> None:
        source = Source(b"a", every=30.0)
        async with world(response_timeout=10.0) as w:
            w.a.reply = Reply(think=60.0)
            outcome = await w.ask("POST", "http://a.test/", content=source())
            assert type(outcome.error) is ResponseTimeoutError
            # Where there is no data, only probes, the kernel does not tell when the last byte moved.
            assert 40.0 <= outcome.took <= 41.0 + 1e-6


class TestEarlyAnswer:
    """A final answer before all of the request has gone out (RFC 9112, section 9.3)."""

    @staticmethod
    def refuses(after: int) -> Fault:
        return Fault(Garbage(TOO_LARGE + b"X-Request-Id: 1\r\n\r\n"), AfterRequestBytes(after))

    async def test_it_ends_the_upload(self, autojump_clock: MockClock) -> None:
        async with world(self.refuses(1000)) as w:
            response = await w.client.post("http://a.test/", content=LONG)
            assert response.status == 413
            assert response.attempts[0].bytes_sent <= len(LONG)
            # The request is not whole, so nothing else may follow it.
            assert w.network.open_streams() == ()

    async def test_the_source_is_let_go_of_in_the_midst_of_its_wait(
        self, autojump_clock: MockClock
    ) -> None:
        source = Source(*[bytes(100)] * 50, every=1.0)
        async with world(self.refuses(500)) as w:
            response = await w.client.post("http://a.test/", content=source())
            assert response.status == 413
            assert trio.current_time() == source.closed_at == pytest.approx(4.0, abs=1.0)

    async def test_and_while_it_waits_for_the_window(self, autojump_clock: MockClock) -> None:
        async def answer_and_do_not_read(stream: SimStream) -> None:
            await trio.sleep(1.0)
            await stream.send_all(TOO_LARGE + b"\r\n")
            await trio.sleep_forever()

        source = Source(*[LONG] * 4)
        async with world() as w:
            w.listen(A, answer_and_do_not_read)
            response = await w.client.post("http://a.test/", content=source())
            assert response.status == 413
            assert trio.current_time() == source.closed_at == 1.0

    async def test_an_upload_goes_on_while_its_answer_is_read(
        self, autojump_clock: MockClock
    ) -> None:
        """What the server has of it when its answer begins is not to look like all there is."""
        received = bytearray()

        async def answer_while_reading(stream: SimStream) -> None:
            received.extend(await stream.receive_some())
            await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not received.endswith(b"0\r\n\r\n"):
                await stream.send_all(b"1\r\nx\r\n")
                await trio.sleep(0.1)
                received.extend(await stream.receive_some())
            await stream.send_all(b"0\r\n\r\n")
            await trio.sleep_forever()

        async with world() as w:
            w.listen(A, answer_while_reading)
            source = Source(*[bytes(65536)] * 8)
            async with w.client.stream("POST", "http://a.test/", content=source()) as response:
                assert set(await response.read()) == {ord("x")}
            assert len(received) > 8 * 65536
            # Both messages came to their ends, so the connection serves on.
            assert len(w.network.open_streams()) == 1

    async def test_an_upload_that_lacks_its_last_bytes_spoils_the_connection(
        self, autojump_clock: MockClock
    ) -> None:
        """All content is in the kernels' buffers, to the last byte; what ends it finds no room."""

        async def filling() -> AsyncIterator[bytes]:
            yield b"x"
            [(client, _)] = w.network.connections
            left = 2 * 65536 - client.end.written
            yield bytes(left - len(b"1xxxx\r\n\r\n"))

        async def answer_and_do_not_read(stream: SimStream) -> None:
            await trio.sleep(1.0)
            await stream.send_all(TOO_LARGE + b"\r\n")
            await trio.sleep_forever()

        async with world() as w:
            w.listen(A, answer_and_do_not_read)
            response = await w.client.post("http://a.test/", content=filling())
            assert response.status == 413
            assert response.attempts[0].bytes_sent == 2 * 65536
            assert response.attempts[0].sent_at is None
            assert w.network.open_streams() == ()

    async def test_leaving_the_stream_ends_the_upload(self, autojump_clock: MockClock) -> None:
        async def answer_and_do_not_read(stream: SimStream) -> None:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await trio.sleep_forever()

        source = Source(*[LONG] * 4)
        async with world() as w:
            w.listen(A, answer_and_do_not_read)
            async with w.client.stream("POST", "http://a.test/", content=source()) as response:
                await trio.sleep(5.0)
                assert source.closed_at is None
                assert response.status == 200
            assert source.closed_at == 5.0


class TestSourceThatFails:
    @staticmethod
    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        await trio.sleep(1.0)
        raise LookupError("there is no more")

    async def test_its_error_is_the_cause(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            outcome = await w.ask("PUT", target=BOTH, content=self.failing())
            assert type(outcome.error) is ContentError
            assert type(outcome.error.__cause__) is LookupError
            assert str(outcome.error) == (
                "the request's content could not be read: LookupError: there is no more"
            )
            assert outcome.took == 1.0
            assert outcome.verdicts == [Verdict.FAILED]
            # a had the head; that it did not have all is no comfort to whoever counts money.
            assert outcome.error.may_have_been_processed
            assert w.network.open_streams() == ()
            assert w.runs(outcome.number) == []

    async def test_also_while_the_answer_is_read(self, autojump_clock: MockClock) -> None:
        async def answer_at_once(stream: SimStream) -> None:
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await trio.sleep_forever()

        async with world() as w:
            w.listen(A, answer_at_once)
            async with w.client.stream(
                "POST", "http://a.test/", content=self.failing()
            ) as response:
                with pytest.raises(ContentError) as raised:
                    await response.read()
                assert type(raised.value.__cause__) is LookupError

    async def test_pieces_that_are_not_bytes(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            text: Any = ["a", "b"]
            outcome = await w.ask("POST", "http://a.test/", content=text)
            assert type(outcome.error) is ContentError
            assert "pieces of content must be bytes, not str" in str(outcome.error)
            # Nobody else's exchange is hurt by it.
            assert (await w.ask("GET", "http://a.test/")).error is None

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ([b"abc"], "2 bytes less of content than its Content-Length says"),
            ([b"abcdef"], "1 bytes more of content than its Content-Length says"),
        ],
        ids=["less than announced", "more than announced"],
    )
    async def test_content_of_another_length_than_announced(
        self, autojump_clock: MockClock, content: list[bytes], words: str
    ) -> None:
        async with world() as w:
            outcome = await w.ask(
                "POST", "http://a.test/", headers={"Content-Length": "5"}, content=content
            )
            assert type(outcome.error) is ContentError
            assert str(outcome.error) == words
            assert w.runs(outcome.number) == []

    async def test_content_at_hand_of_another_length_is_not_sent_at_all(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            outcome = await w.ask(
                "POST", "http://a.test/", headers={"Content-Length": "5"}, content=b"abc"
            )
            assert type(outcome.error) is BadRequestError
            assert not outcome.error.may_have_been_processed


class TestResend:
    """Of content that can be read but once: what was read is kept, and what was not comes after."""

    async def test_within_the_limit(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Reset(), AfterRequestBytes(150_000))) as w:
            source = Source(*(bytes([n]) * 1000 for n in range(250)))
            outcome = await w.ask("PUT", target=BOTH, content=source())
            assert outcome.server == "b"
            assert w.b.executed[0].content == b"".join(source.pieces)

    @pytest.mark.parametrize("is_pooled", [False, True], ids=["by a race", "by the pool"])
    async def test_while_the_source_makes_the_upload_wait(
        self, autojump_clock: MockClock, is_pooled: bool
    ) -> None:
        """The server dies; nobody is to blame, and the source is in the midst of its next piece."""
        async with world() as w:
            if is_pooled:
                await self.connect_to_b_and_a(w)
            w.a.script(Fault(Blackhole(), AfterRequestBytes(500)))
            began_at = trio.current_time()
            source = Source(*(b"%d" % n * 100 for n in range(10)), every=1.0)
            outcome = await w.ask("PUT", "http://ab.test/", content=source())
            assert outcome.verdicts == [Verdict.DEAD, Verdict.ANSWERED]
            assert w.b.executed[-1].content == b"".join(source.pieces)
            assert outcome.records[1].reused == is_pooled
            # The source was read once, at its own pace, and no second was lost.
            assert source.closed_at == pytest.approx(began_at + 10.0)

    async def connect_to_b_and_a(self, w: World) -> None:
        """Leaves an idle connection to each in the pool; a's is the one to be lent first."""
        w.network.make_unreachable(A)
        await w.ask("GET", "http://ab.test/")
        w.network.heal(A)
        await trio.sleep(6.0)  # until a is not held down any more
        w.a.reply = Reply(think=0.1)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(w.request, "GET", "http://ab.test/")
        w.a.reply = Reply()
        assert sorted(stream.endpoint for stream in w.network.open_streams()) == [A, B]

    async def test_beyond_the_limit(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Reset(), AfterRequestBytes(5000)), replay_limit=2000) as w:
            source = Source(*[bytes(1000)] * 10, every=0.1)
            outcome = await w.ask("PUT", "http://ab.test/", content=source())
            assert type(outcome.error) is ServerDiedError
            assert "not tried again: its content cannot be sent again" in str(outcome.error)
            assert w.runs(outcome.number) == []


async def test_an_answer_may_break_off_while_the_request_goes_out(
    autojump_clock: MockClock,
) -> None:
    async def answer_in_part(stream: SimStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
        await trio.sleep(1.0)
        stream.reset()

    async with world() as w:
        w.listen(A, answer_in_part)
        with pytest.raises(ResponseIncompleteError):
            await w.client.post("http://a.test/", content=LONG)
