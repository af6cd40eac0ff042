"""Content that is held back until the server says "100 Continue", or something else."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.errors import (
    ServerDiedError,
)
from haclient.types import Phase
from tests.engine.world import BOTH, LONG, ONE, TOO_LARGE, UNACKNOWLEDGED, A, world
from tests.sim.effects import (
    AfterRequestBytes,
    Fault,
    Reset,
)
from tests.sim.stream import SimStream

EXPECT = {"Expect": "100-continue"}


class TestExpectContinue:
    @pytest.mark.parametrize("content", [b"abc", LONG], ids=["short", "long"])
    async def test_content_waits_for_the_word_to_go_on(
        self, autojump_clock: MockClock, content: bytes
    ) -> None:
        async with world() as w:
            w.network.path(A).delay = 0.1
            outcome = await w.ask("PUT", target=ONE, headers=EXPECT, content=content)
            [interim] = w.told(events.InterimReceived)
            assert isinstance(interim, events.InterimReceived)
            assert interim.status == 100
            # Two round trips, and one for the connect.
            assert interim.at == pytest.approx(0.4)
            assert outcome.took >= 0.6 - 1e-9
            assert w.a.executed[0].content == content

    async def test_other_interim_answers_are_no_such_word(self, autojump_clock: MockClock) -> None:
        arrived: list[tuple[float, bytes]] = []

        async def hint_first(stream: SimStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await trio.sleep(0.5)
            await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            arrived.append((trio.current_time(), await stream.receive_some()))
            await stream.send_all(TOO_LARGE + b"\r\n")
            await trio.sleep_forever()

        async with world() as w:
            w.listen(A, hint_first)
            await w.client.put("http://a.test/", headers=EXPECT, content=b"abc")
            assert arrived == [(0.5, b"abc")]
            told = w.told(events.InterimReceived)
            assert [e.status for e in told if isinstance(e, events.InterimReceived)] == [103, 100]

    async def test_nothing_comes_and_after_a_second_it_goes_out(
        self, autojump_clock: MockClock
    ) -> None:
        arrived: list[tuple[float, bytes]] = []

        async def say_nothing(stream: SimStream) -> None:
            await stream.receive_some()
            data = await stream.receive_some()
            arrived.append((trio.current_time(), data))
            await stream.send_all(TOO_LARGE + b"\r\n")
            await trio.sleep_forever()

        async with world() as w:
            w.listen(A, say_nothing)
            await w.client.put("http://a.test/", headers=EXPECT, content=b"abc")
            assert arrived == [(1.0, b"abc")]

    @pytest.mark.parametrize("content", [b"abc", LONG], ids=["short", "long"])
    async def test_a_final_answer_comes_instead(
        self, autojump_clock: MockClock, content: bytes
    ) -> None:
        refusal = b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nX-Origin: a\r\n"
        refusal += b"X-Request-Id: 1\r\n\r\nno"
        async with world() as w:
            received: list[bytes] = []

            async def refuse(stream: SimStream) -> None:
                received.append(await stream.receive_some())
                await stream.send_all(refusal)
                received.append(await stream.receive_some())

            w.listen(A, refuse)
            response = await w.client.put("http://a.test/", headers=EXPECT, content=content)
            await w.settle()
            assert response.status == 417
            assert await response.read() == b"no"
            # Not a byte of the content; and the connection, which owes it, is closed.
            assert received[0].endswith(b"\r\n\r\n")
            assert received[1] == b""
            assert w.network.open_streams() == ()

    async def test_without_content_there_is_nothing_to_wait_for(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            outcome = await w.ask("GET", target=ONE, headers=EXPECT)
            assert outcome.took == 0.0

    @pytest.mark.parametrize(
        ("method", "after"), [("GET", 0.45), ("PUT", 0.95)], ids=["safe", "not safe"]
    )
    async def test_news_of_the_server_are_not_lost_meanwhile(
        self, autojump_clock: MockClock, method: str, after: float
    ) -> None:
        async with world(UNACKNOWLEDGED) as w:
            outcome = await w.ask(method, target=BOTH, headers=EXPECT, content=b"abc")
            assert outcome.server == "b"
            assert outcome.took == pytest.approx(after, abs=0.11)

    async def test_a_connection_that_breaks_meanwhile(self, autojump_clock: MockClock) -> None:
        async with world(Fault(Reset(), AfterRequestBytes(20))) as w:
            outcome = await w.ask("POST", target=BOTH, headers=EXPECT, content=b"abc")
            assert type(outcome.error) is ServerDiedError
            assert outcome.records[0].phase is Phase.SENDING
