"""An answer in the hands of its caller."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.errors import ResponseIncompleteError
from haclient.response import Headers
from haclient.types import Verdict
from tests.engine.world import World, world
from tests.sim.effects import AfterContentBytes, Blackhole, Fault, Fin, Stall
from tests.sim.origin import Framing, Reply

COOKIES = Headers(((b"Set-Cookie", b"a=1"), (b"X-Name", b"\xe4"), (b"set-cookie", b"b=2")))


class TestHeaders:
    def test_by_name_whatever_the_letter_case(self) -> None:
        assert COOKIES["x-NAME"] == "ä"
        assert COOKIES["set-cookie"] == "a=1, b=2"
        assert COOKIES.get("nothing") is None

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(KeyError):
            COOKIES["nothing"]

    def test_some_must_not_be_joined(self) -> None:
        assert COOKIES.get_all("Set-Cookie") == ["a=1", "b=2"]

    def test_as_a_mapping(self) -> None:
        assert list(COOKIES) == ["set-cookie", "x-name"]
        assert len(COOKIES) == 2
        assert repr(COOKIES) == "Headers({'set-cookie': 'a=1, b=2', 'x-name': 'ä'})"


class TestWhole:
    async def test_it_is_read_and_stays_read(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            response = await w.client.get("http://a.test/x")
            assert (response.status, response.reason, response.http_version) == (200, "OK", "1.1")
            for _ in range(2):
                assert await response.read() == b"a: GET /x \n"
                assert await response.text() == "a: GET /x \n"
                assert [chunk async for chunk in response] == [b"a: GET /x \n"]
            assert repr(response) == "<Response 200 from 10.0.0.1:80>"

    async def test_nothing_is_no_chunk(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(content=b"")
            response = await w.client.get("http://a.test/")
            assert [chunk async for chunk in response] == []

    async def test_text_in_another_encoding(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(content=b"\xe4")
            response = await w.client.get("http://a.test/")
            assert await response.text("latin-1") == "ä"

    async def test_closing_it_changes_nothing(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            response = await w.client.get("http://a.test/")
            response.close()
            assert await response.read() == b"a: GET / \n"
            assert len(w.network.open_streams()) == 1


class TestStreamed:
    @staticmethod
    def chunked(w: World) -> None:
        w.a.reply = Reply(content=b"0123456789", framing=Framing.CHUNKED)
        # A pause, so that the two pieces are never read as one.
        w.a.script(Fault(Stall(0.2), AfterContentBytes(4), times=None))

    async def test_chunks_as_they_come(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            self.chunked(w)
            async with w.client.stream("GET", "http://a.test/") as response:
                assert [chunk async for chunk in response] == [b"0123", b"456789"]
                assert [chunk async for chunk in response] == []
                assert await response.next_chunk() == b""
            assert len(w.network.open_streams()) == 1

    async def test_a_loop_that_is_left_early_can_be_taken_up_again(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            self.chunked(w)
            async with w.client.stream("GET", "http://a.test/") as response:
                chunks = aiter(response)
                async for chunk in chunks:
                    assert chunk == b"0123"
                    break
                assert [chunk async for chunk in chunks] == [b"456789"]
                assert [chunk async for chunk in response] == []

    async def test_read_whole_at_once(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            self.chunked(w)
            async with w.client.stream("GET", "http://a.test/") as response:
                assert await response.read() == b"0123456789"
                assert await response.read() == b"0123456789"
                assert [chunk async for chunk in response] == [b"0123456789"]
            assert await response.read() == b"0123456789"

    async def test_a_part_is_not_the_whole(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            self.chunked(w)
            async with w.client.stream("GET", "http://a.test/") as response:
                await response.next_chunk()
                with pytest.raises(RuntimeError, match="handed over already"):
                    await response.read()

    async def test_what_was_not_read_before_the_end_of_the_block_is_gone(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            async with w.client.stream("GET", "http://a.test/") as response:
                assert not response.attempts  # none is over yet
            for _ in range(2):
                with pytest.raises(RuntimeError, match="closed before its content was read"):
                    await response.read()
            # Its bytes are not to be the next answer's.
            assert w.network.open_streams() == ()
            [record] = response.attempts
            assert (record.verdict, record.detail) == (
                Verdict.ANSWERED,
                "content not read to its end",
            )

    async def test_what_broke_off_stays_broken(self, autojump_clock: MockClock) -> None:
        async with (
            world(Fault(Fin(), AfterContentBytes(2))) as w,
            w.client.stream("GET", "http://a.test/") as response,
        ):
            assert await response.next_chunk() == b"a:"
            errors = []
            for again in (response.next_chunk, response.read, response.read):
                with pytest.raises(ResponseIncompleteError) as raised:
                    await again()
                errors.append(raised.value)
            assert errors[0] is errors[1] is errors[2]
            assert errors[0].attempts == response.attempts

    async def test_a_cancelled_read_gives_the_rest_up(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.a.reply = Reply(content=b"0123456789")
            w.a.script(Fault(Blackhole(3.0), AfterContentBytes(2)))
            async with w.client.stream("GET", "http://a.test/") as response:
                with trio.move_on_after(1.0) as scope:
                    await response.read()
                assert scope.cancelled_caught
                assert w.network.open_streams() == ()
                with pytest.raises(RuntimeError):
                    await response.read()

    async def test_the_end_is_told_once(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            async with w.client.stream("GET", "http://a.test/") as response:
                await response.read()
                assert len(w.told(events.ExchangeEnded)) == 1
                response.close()
            assert len(w.told(events.ExchangeEnded)) == 1
