"""A request and its answer: what is read, in every framing, and what the connection is good for then."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.errors import ContentTooLargeError, ProtocolError
from haclient.types import Phase, Verdict
from tests.engine.world import BOTH, ONE, A, Script, world
from tests.sim.origin import Framing, Reply
from tests.sim.stream import SimStream


def answering(data: bytes) -> Script:
    async def answer(stream: SimStream) -> None:
        await stream.receive_some()
        await stream.send_all(data)
        await trio.sleep_forever()

    return answer


class TestAnswers:
    @pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
    @pytest.mark.parametrize("whole", [True, False], ids=["read whole", "streamed"])
    async def test_framings(self, autojump_clock: MockClock, framing: Framing, whole: bool) -> None:
        content = bytes(range(256)) * 1000
        async with world() as w:
            w.a.reply = Reply(content=content, framing=framing)
            outcome = await w.ask("GET", target=ONE, whole=whole)
            assert outcome.content == content
            # Only where the connection's end is not the content's may it serve again.
            assert len(w.network.open_streams()) == (framing is not Framing.UNTIL_CLOSE)

    @pytest.mark.parametrize(
        ("method", "status"),
        [("HEAD", 200), ("GET", 204), ("GET", 304)],
        ids=["HEAD", "204", "304"],
    )
    @pytest.mark.parametrize("whole", [True, False], ids=["read whole", "streamed"])
    async def test_answers_without_content(
        self, autojump_clock: MockClock, method: str, status: int, whole: bool
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(status, b"12345")
            outcome = await w.ask(method, target=ONE, whole=whole)
            assert outcome.response is not None
            assert outcome.response.status == status
            assert outcome.content == b""
            assert (await w.ask("GET", target=ONE)).records[0].reused

    async def test_interim_answers_are_told_of(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(interim=(103, 102), think=2.0)
            outcome = await w.ask("GET", target=ONE)
            told = w.told(events.InterimReceived)
            assert [e.status for e in told if isinstance(e, events.InterimReceived)] == [103, 102]
            assert [event.at for event in told] == [0.0, 0.0]
            assert outcome.took == 2.0

    async def test_a_server_that_closes_is_not_leased_again(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(closes=True)
            assert (await w.ask("GET", target=ONE)).error is None
            assert w.network.open_streams() == ()

    @pytest.mark.parametrize("trailing", [b"X-Sum: 7\r\n", b""], ids=["with trailers", "without"])
    async def test_trailers_are_this_answers_own(
        self, autojump_clock: MockClock, trailing: bytes
    ) -> None:
        """They were read from a connection that serves others when somebody looks at them."""

        async def answer(stream: SimStream) -> None:
            while await stream.receive_some():
                head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                await stream.send_all(head + b"1\r\nx\r\n0\r\n" + trailing + b"\r\n")

        async with world() as w:
            w.listen(A, answer)
            response = await w.client.get("http://a.test/")
            async with w.client.stream("GET", "http://a.test/") as other:
                await other.read()
                assert other.attempts[0].reused
            assert response.trailers == other.trailers
            assert response.trailers == (((b"X-Sum", b"7"),) if trailing else ())

    async def test_more_than_is_wanted_whole(self, autojump_clock: MockClock) -> None:
        async with world(max_content=1000) as w:
            w.a.reply = Reply(content=bytes(1001))
            outcome = await w.ask("GET", target=BOTH)
            assert type(outcome.error) is ContentTooLargeError
            assert "larger than 1000 bytes: stream it" in str(outcome.error)
            assert outcome.verdicts == [Verdict.FAILED]
            assert w.network.open_streams() == ()
            assert len((await w.ask("GET", target=BOTH, whole=False)).content) == 1001

    async def test_a_head_without_an_end(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(fields=((b"X-Long", b"x" * 140_000),))
            outcome = await w.ask("POST", target=BOTH)
            assert type(outcome.error) is ProtocolError
            assert "a head of more than 65536 bytes" in str(outcome.error)
            assert outcome.error.stage is Phase.RECEIVING

    async def test_stray_bytes_behind_an_answer_spoil_the_connection(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.listen(
                A, answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n")
            )
            response = await w.client.get("http://a.test/")
            assert await response.read() == b"x"
            assert w.network.open_streams() == ()
