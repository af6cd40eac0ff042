"""What can be sent again, and what is let go of."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
import trio
from trio.testing import MockClock

from haclient.engine.replay import (
    CHUNK_BYTES,
    BytesContent,
    Content,
    FileContent,
    ReplayLedger,
    StreamContent,
    as_content,
)
from haclient.errors import ContentError

LIMIT = 1000


async def read(content: Content, nursery: trio.Nursery, upto: int = 1000) -> list[bytes]:
    """The pieces of the content from its beginning, or the first few."""
    content.open(nursery)
    pieces: list[bytes] = []
    async with aclosing(content.chunks()) as chunks:
        async for piece in chunks:
            pieces.append(piece)
            if len(pieces) == upto:
                break
    return pieces


class Endless:
    """An async iterable that counts, and is no generator."""

    def __init__(self) -> None:
        self.given = 0

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        self.given += 1
        await trio.lowlevel.checkpoint()
        return b"%d" % self.given


class TestWhatACallerMayGive:
    async def test_nothing(self, nursery: trio.Nursery) -> None:
        content = as_content(None, LIMIT)
        assert (content.length, content.small) == (0, b"")
        assert content.is_replayable
        assert content.is_shareable
        assert await read(content, nursery) == []
        await content.aclose()

    @pytest.mark.parametrize(
        ("source", "data"),
        [
            (b"abc", b"abc"),
            (bytearray(b"abc"), b"abc"),
            (memoryview(b"abc"), b"abc"),
            ("äb", b"\xc3\xa4b"),
            (b"", b""),
        ],
        ids=["bytes", "a bytearray", "a memoryview", "text as UTF-8", "no bytes"],
    )
    def test_bytes_at_hand(self, source: Any, data: bytes) -> None:
        content = as_content(source, LIMIT)
        assert type(content) is BytesContent
        assert (content.length, content.small) == (len(data), data)

    async def test_many_bytes_come_in_pieces(self, nursery: trio.Nursery) -> None:
        data = os.urandom(2 * CHUNK_BYTES + 1)
        content = as_content(data, LIMIT)
        assert content.small is None
        assert content.is_shareable
        for _ in range(2):
            pieces = await read(content, nursery)
            assert [len(piece) for piece in pieces] == [CHUNK_BYTES, CHUNK_BYTES, 1]
            assert b"".join(pieces) == data

    def test_content_already(self) -> None:
        content = BytesContent(b"abc")
        assert as_content(content, LIMIT) is content

    def test_a_seekable_file(self) -> None:
        assert type(as_content(io.BytesIO(b"abc"), LIMIT)) is FileContent

    @pytest.mark.parametrize(
        "source", [[b"a", b"b"], iter([b"a", b"b"])], ids=["a list", "an iterator"]
    )
    async def test_an_iterable(self, source: Any, nursery: trio.Nursery) -> None:
        content = as_content(source, LIMIT)
        assert type(content) is StreamContent
        assert (content.length, content.small) == (None, None)
        assert not content.is_shareable
        assert await read(content, nursery) == [b"a", b"b"]

    async def test_an_async_iterable(self, nursery: trio.Nursery) -> None:
        content = as_content(Endless(), LIMIT)
        assert await read(content, nursery, 3) == [b"1", b"2", b"3"]
        await content.aclose()

    def test_anything_else(self) -> None:
        with pytest.raises(TypeError, match="bytes, text, a binary file or an iterable, not int"):
            as_content(cast("bytes", 7), LIMIT)


class TestFile:
    """Threads read, so no clock is mocked here."""

    async def test_from_its_present_position_to_its_present_end(
        self, tmp_path: Path, nursery: trio.Nursery
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"0123456789" * 10_000)
        with path.open("rb") as file:
            file.seek(3)
            content = FileContent(file)
            assert content.length == 99_997
            assert not content.is_shareable
            with path.open("ab") as other:
                other.write(b"what comes later is not announced")
            for _ in range(2):
                assert b"".join(await read(content, nursery)) == b"3456789" + b"0123456789" * 9_999
                assert content.is_replayable

    async def test_a_file_that_was_cut_off_ends_early(
        self, tmp_path: Path, nursery: trio.Nursery
    ) -> None:
        """Whoever sends it finds that it is less than was announced."""
        path = tmp_path / "file"
        path.write_bytes(bytes(1000))
        with path.open("rb") as file:
            content = FileContent(file)
            os.truncate(path, 100)
            assert b"".join(await read(content, nursery)) == bytes(100)

    async def test_a_file_that_cannot_be_read(self, nursery: trio.Nursery) -> None:
        file = io.BytesIO(b"abc")
        content = FileContent(file)
        file.close()
        with pytest.raises(ContentError, match="could not be read: I/O operation on closed file"):
            await read(content, nursery)

    async def test_a_reader_that_was_given_up_does_not_move_it_under_the_next_one(
        self, nursery: trio.Nursery
    ) -> None:
        """Its thread is in the midst of a read then, and cannot be called back."""

        class Slow(io.BytesIO):
            reads = 0

            def read(self, size: int | None = -1, /) -> bytes:
                self.reads += 1
                if self.reads == 1:
                    trio.from_thread.run(trio.sleep, 0.05)
                return super().read(size)

        data = os.urandom(3 * CHUNK_BYTES)
        content = FileContent(Slow(data))
        scope = trio.CancelScope()

        async def give_up() -> None:
            with scope:
                await read(content, nursery)

        nursery.start_soon(give_up)
        await trio.sleep(0.01)
        scope.cancel()
        assert b"".join(await read(content, nursery)) == data


class TestPipe:
    async def test_it_is_read_as_its_data_comes_and_kept(self, nursery: trio.Nursery) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as file:
            content = as_content(file, LIMIT)
            assert content.length is None
            os.write(writing, b"first")
            assert await read(content, nursery, 1) == [b"first"]
            os.write(writing, b"second")
            os.close(writing)
            assert content.is_replayable
            assert await read(content, nursery) == [b"first", b"second"]

    async def test_one_that_stays_silent_is_left_behind(self, nursery: trio.Nursery) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb", buffering=0) as file:
            content = as_content(cast("BinaryIO", file), LIMIT)
            with trio.move_on_after(0.05) as scope:
                await read(content, nursery)
            assert scope.cancelled_caught
            await content.aclose()
            os.close(writing)  # which lets the thread end
            await trio.sleep(0.05)


class TestStream:
    async def test_what_was_read_is_there_again(self, nursery: trio.Nursery) -> None:
        source = Endless()
        content = StreamContent(source, LIMIT)
        assert await read(content, nursery, 2) == [b"1", b"2"]
        # What was kept comes in one piece.
        assert await read(content, nursery, 3) == [b"12", b"3", b"4"]
        assert source.given == 4
        await content.aclose()

    async def test_nothing_is_read_before_it_is_wanted(self, nursery: trio.Nursery) -> None:
        source = Endless()
        content = StreamContent(source, LIMIT)
        was_open = content.is_open
        content.open(nursery)
        assert (was_open, content.is_open) == (False, True)
        await trio.testing.wait_all_tasks_blocked()
        assert source.given == 0
        await read(content, nursery, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert source.given == 1
        await content.aclose()

    async def test_past_the_limit_it_goes_on_and_is_not_replayable(
        self, nursery: trio.Nursery
    ) -> None:
        content = StreamContent([b"x" * 400] * 4, LIMIT)
        content.open(nursery)
        async with aclosing(content.chunks()) as chunks:
            seen = [(len(piece), content.is_replayable) async for piece in chunks]
        assert seen == [(400, True), (400, True), (400, False), (400, False)]
        with pytest.raises(AssertionError, match="what is gone cannot be sent again"):
            await read(content, nursery)

    async def test_a_piece_past_the_limit_that_nobody_took_is_not_lost(
        self, autojump_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        """It comes while the attempt that asked for it ends, and the resend begins."""

        async def source() -> AsyncIterator[bytes]:
            yield b"a" * 900
            await trio.sleep(1.0)
            yield b"b" * 900
            yield b"c" * 900

        content = StreamContent(source(), LIMIT)
        with trio.move_on_after(0.5):
            await read(content, nursery)
        await trio.sleep(1.0)
        assert content.is_replayable
        pieces = await read(content, nursery)
        assert [piece[:1] for piece in pieces] == [b"a", b"b", b"c"]
        assert not content.is_replayable

    async def test_many_small_pieces_are_kept_in_about_their_size(
        self, nursery: trio.Nursery
    ) -> None:
        content = StreamContent((b"x" for _ in range(20_000)), 1 << 20)
        content.open(nursery)
        tracemalloc.start()
        try:
            async with aclosing(content.chunks()) as chunks:
                async for _ in chunks:
                    pass
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Pieces of a byte take 42 each.
        assert kept < 60_000
        assert await read(content, nursery) == [b"x" * 20_000]

    async def test_one_that_was_given_up_takes_nothing_from_the_next(
        self, autojump_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        """The piece comes, and the reader is stopped, at the same instant."""

        async def source() -> AsyncIterator[bytes]:
            await trio.sleep(1.0)
            yield b"a" * 2 * LIMIT

        content = StreamContent(source(), LIMIT)
        content.open(nursery)
        stopped = trio.CancelScope()

        async def give_up() -> None:
            with stopped:
                await read(content, nursery)

        class StopAsItComes(trio.abc.Instrument):
            def after_task_step(self, task: trio.lowlevel.Task) -> None:
                if content._fresh is not None:
                    stopped.cancel()

        nursery.start_soon(give_up)
        trio.lowlevel.add_instrument(instrument := StopAsItComes())
        await trio.sleep(1.0)
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.remove_instrument(instrument)
        assert stopped.cancelled_caught
        assert content.is_replayable
        assert await read(content, nursery) == [b"a" * 2 * LIMIT]

    async def test_whoever_gives_up_does_not_cut_the_source_short(
        self, autojump_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        async def source() -> AsyncIterator[bytes]:
            for n in range(3):
                await trio.sleep(1.0)
                yield b"%d" % n

        content = StreamContent(source(), LIMIT)
        with trio.move_on_after(1.5):
            await read(content, nursery)
        assert await read(content, nursery) == [b"0", b"1", b"2"]
        assert trio.current_time() == 3.0

    async def test_its_error_is_the_cause_for_whoever_reads(self, nursery: trio.Nursery) -> None:
        def source() -> Iterator[bytes]:
            yield b"a"
            raise LookupError("gone")

        content = StreamContent(source(), LIMIT)
        for _ in range(2):
            with pytest.raises(ContentError, match="LookupError: gone") as raised:
                await read(content, nursery)
            assert type(raised.value.__cause__) is LookupError

    async def test_after_the_end_nobody_mistakes_it_for_the_contents(
        self, nursery: trio.Nursery
    ) -> None:
        content = StreamContent(Endless(), LIMIT)
        await read(content, nursery, 1)
        await content.aclose()
        with pytest.raises(ContentError, match="was not read to its end"):
            await read(content, nursery, 2)

    async def test_let_go_of_before_it_was_opened(self) -> None:
        await StreamContent(Endless(), LIMIT).aclose()

    @pytest.mark.parametrize("where", ["waiting", "handing over"])
    async def test_an_async_generator_is_closed_wherever_it_is(
        self, autojump_clock: MockClock, nursery: trio.Nursery, where: str
    ) -> None:
        closed: list[float] = []

        async def source() -> AsyncIterator[bytes]:
            try:
                yield b"a"
                await trio.sleep(5.0)
                yield b"b"
            finally:
                closed.append(trio.current_time())

        content = StreamContent(source(), LIMIT)
        with trio.move_on_after(1.0):
            await read(content, nursery, 1 if where == "handing over" else 2)
        await content.aclose()
        assert closed == [0.0 if where == "handing over" else 1.0]

    async def test_a_generator_is_closed_too(self, nursery: trio.Nursery) -> None:
        closed: list[bool] = []

        def source() -> Iterator[bytes]:
            try:
                yield b"a"
                yield b"b"
            finally:
                closed.append(True)

        generator = source()
        content = StreamContent(generator, LIMIT)
        await read(content, nursery, 1)
        await content.aclose()
        assert closed == [True]


class TestLedger:
    async def test_all_that_is_kept_is_counted_and_given_back(self, nursery: trio.Nursery) -> None:
        ledger = ReplayLedger(1000)
        first = StreamContent([b"a" * 300] * 2, LIMIT, ledger=ledger)
        second = StreamContent([b"b" * 300], LIMIT, ledger=ledger)
        await read(first, nursery)
        await read(second, nursery)
        assert repr(ledger) == "<ReplayLedger 900 of 1000 bytes>"
        await first.aclose()
        await first.aclose()
        assert ledger.held == 300
        await second.aclose()
        assert ledger.held == 0

    async def test_when_it_is_full_content_goes_on_and_is_not_kept(
        self, nursery: trio.Nursery
    ) -> None:
        ledger = ReplayLedger(1000)
        other = StreamContent([b"a" * 600], LIMIT, ledger=ledger)
        await read(other, nursery)
        content = StreamContent([b"b" * 300] * 3, LIMIT, ledger=ledger)
        assert b"".join(await read(content, nursery)) == b"b" * 900
        assert not content.is_replayable
        assert content.lost == "replay memory full"
        # What was kept of it is of no use any more, and somebody else's now.
        assert ledger.held == 600
        await content.aclose()
        await other.aclose()
        assert ledger.held == 0

    async def test_what_passes_its_own_limit_is_given_back_too(self, nursery: trio.Nursery) -> None:
        ledger = ReplayLedger(10_000)
        content = StreamContent([b"b" * 400] * 3, LIMIT, ledger=ledger)
        await read(content, nursery, 2)
        assert ledger.held == 800
        await read(content, nursery)
        assert (content.lost, ledger.held) == ("past replay_limit", 0)
        await content.aclose()
        assert ledger.held == 0

    async def test_a_reader_that_outlives_its_end_keeps_nothing(
        self, nursery: trio.Nursery
    ) -> None:
        ledger = ReplayLedger(10_000)
        content = StreamContent([b"b" * 400] * 3, LIMIT, ledger=ledger)
        content.open(nursery)
        async with aclosing(content.chunks()) as chunks:
            await anext(chunks)
            await read(content, nursery, 1)
            content._fresh = b"left"
            await content.aclose()
            assert await anext(chunks) == b"left"
        assert ledger.held == 0

    async def test_a_limit_is_reached_to_the_byte(self) -> None:
        ledger = ReplayLedger(10)
        assert ledger.take(10)
        assert not ledger.take(1)
        ledger.give(10)
        assert ledger.take(1)
