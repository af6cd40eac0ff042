"""The content of a request, and whether it can be sent a second time.

Bytes can always be sent again and a seekable file too. A stream can only be read once: what of it
has been sent is kept, up to a limit; past that it goes on and the request merely loses its right
to a resend. A copy beside another is sent of safe requests only, and those whose content is a
stream or a file do not get one.

The naive reader of a stream is the attempt that sends it. But an attempt whose server died is
cancelled wherever it stands, most likely in the midst of waiting for the source, and a generator
that is cancelled there is finished: nothing could be resent of the one upload for which it matters
most, the slow one. So the source is read by a task of its own, which outlives attempts.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable
from typing import BinaryIO, cast

import trio

from haclient.errors import ContentError
from haclient.types import Fields

__all__ = [
    "BytesContent",
    "Content",
    "FileContent",
    "ReplayLedger",
    "StreamContent",
    "as_content",
]

CHUNK_BYTES = 65536


class Content:
    """What an attempt needs of a request's content; one of the classes below.

    Attributes:
        length: in bytes, or None where it is not known beforehand (sent chunked).
        small: the whole, where it is at hand and small enough to travel with the head.
        lost: why it cannot be sent again; empty where it can.
    """

    def __init__(self) -> None:
        self.length: int | None = 0
        self.small: bytes | None = b""
        self.lost = ""

    @property
    def is_replayable(self) -> bool:
        """Whether `chunks` can start at the beginning again."""
        return not self.lost

    @property
    def is_shareable(self) -> bool:
        """Whether two attempts may read it side by side."""
        return True

    def open(self, nursery: trio.Nursery) -> None:
        """Called before each `chunks`; what reads the source may be started in `nursery`."""

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Reads the content from its beginning.

        Raises:
            ContentError: the caller's source failed; its error is the cause.
        """
        raise NotImplementedError

    def trailers(self) -> Fields:
        """The trailer fields, once `chunks` is at its end; they go out where that is chunked."""
        return ()

    async def aclose(self) -> None:
        """Nobody reads any more: lets go of the source."""


class BytesContent(Content):
    """Content at hand."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self.length = len(data)
        self.small = data if len(data) <= CHUNK_BYTES else None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As Content.chunks."""
        view = memoryview(self._data)
        for start in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[start : start + CHUNK_BYTES])


class FileContent(Content):
    """A seekable file, from its present position to its present end."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.small = None
        self._file = file
        self._start = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        self._turn = trio.Lock()
        file.seek(self._start)
        self.length = self._end - self._start

    @property
    def is_shareable(self) -> bool:
        """Two readers would take turns at one file for each piece."""
        return False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As Content.chunks."""
        position = self._start
        while position < self._end:
            try:
                # An attempt that was given up may still be in its last read: nobody knows what a
                # thread does to a file's position unless it is waited for.
                async with self._turn:
                    data = await trio.to_thread.run_sync(self._read_at, position)
            except (OSError, ValueError) as exc:
                raise ContentError(f"the request's content could not be read: {exc}") from exc
            if not data:
                return
            position += len(data)
            yield data

    def _read_at(self, position: int) -> bytes:
        self._file.seek(position)
        return self._file.read(min(CHUNK_BYTES, self._end - position))


class ReplayLedger:
    """What all requests of a process together may keep for resends.

    A bound for each request alone is none for ten thousand of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def __repr__(self) -> str:
        return f"<ReplayLedger {self.held} of {self.limit} bytes>"

    def take(self, size: int) -> bool:
        """Whether so many bytes more may be kept; they are counted then."""
        if self.held + size > self.limit:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """So many bytes are kept no more."""
        self.held -= size


class StreamContent(Content):
    """An iterable of bytes, read once and kept up to `limit` bytes for a resend.

    Its task reads a piece when an attempt asks for one, never ahead. A piece is kept when it is
    taken, so that the one that passes the limit is there for a resend which is just beginning. What
    is kept lies in one block: a thousand pieces of a byte would take sixty times their bytes.

    Args:
        source: what is read.
        limit: bytes kept of it.
        length: in bytes, where it is known.
        ledger: what is kept is counted there as well; when it is full, nothing more is kept.
        trailers: asked for the trailer fields at the end of the content.
    """

    def __init__(
        self,
        source: AsyncIterable[bytes] | Iterable[bytes],
        limit: int,
        length: int | None = None,
        ledger: ReplayLedger | None = None,
        trailers: Callable[[], Fields] | None = None,
    ) -> None:
        super().__init__()
        self.small = None
        self.length = length
        self._source = source
        self._limit = limit
        self._ledger = ledger
        self._trailers = trailers
        self._kept = bytearray()
        self._fresh: bytes | None = None
        self._scope: trio.CancelScope | None = None
        self._wanted = trio.Event()
        self._news = trio.Event()
        self._ended = trio.Event()
        self._error: ContentError | None = None

    @property
    def is_shareable(self) -> bool:
        """A source is read once."""
        return False

    def trailers(self) -> Fields:
        """As Content.trailers."""
        return self._trailers() if self._trailers is not None else ()

    @property
    def is_open(self) -> bool:
        """Whether an attempt has begun to send it."""
        return self._scope is not None

    def open(self, nursery: trio.Nursery) -> None:
        """As Content.open."""
        if self._scope is None:
            scope = trio.CancelScope()
            nursery.start_soon(self._read_source, scope)
            self._scope = scope

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As Content.chunks: what was kept first, then on from the source."""
        assert not self.lost, "what is gone cannot be sent again"
        position = 0
        while True:
            if position < len(self._kept):
                data = bytes(self._kept[position : position + CHUNK_BYTES])
            elif (fresh := await self._next_fresh()) is not None:
                data = self._take(fresh)
            else:
                return
            position += len(data)
            yield data

    async def _next_fresh(self) -> bytes | None:
        while self._fresh is None:
            if self._ended.is_set():
                if self._error is not None:
                    raise self._error
                return None
            self._wanted.set()
            await self._news.wait()
            # An attempt that was given up in this very moment must not take it from the next one.
            await trio.lowlevel.checkpoint_if_cancelled()
        return self._fresh

    def _take(self, fresh: bytes) -> bytes:
        """Keeps the piece, or lets go of the right to a resend."""
        self._fresh = None
        if not self.lost:
            if len(self._kept) + len(fresh) > self._limit:
                self.lost = "past replay_limit"
            elif self._ledger is not None and not self._ledger.take(len(fresh)):
                self.lost = "replay memory full"
            else:
                self._kept += fresh
        if self.lost:
            self._drop()
        return fresh

    def _drop(self) -> None:
        kept, self._kept = self._kept, bytearray()
        if self._ledger is not None:
            self._ledger.give(len(kept))

    async def aclose(self) -> None:
        """As Content.aclose; the source's own clean-up runs now, not at garbage collection."""
        self._limit = -1  # nothing is kept any more, whoever may still be reading
        self._drop()
        self._trailers = None  # whoever gives them knows us: a cycle
        if self._scope is not None:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._ended.wait()

    # --- the task that reads -----------------------------------------------------------------

    async def _read_source(self, scope: trio.CancelScope) -> None:
        # Until it is known to be at its end, nobody may take its end for that of the content.
        self._error = ContentError("the request's content was not read to its end")
        try:
            with scope:
                await self._wanted.wait()
                if isinstance(self._source, AsyncIterable):
                    await self._read_async(self._source)
                else:
                    await self._read_sync(self._source)
                self._error = None
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
            self._error = ContentError(f"the request's content could not be read: {why}")
            self._error.__cause__ = exc
        finally:
            self._ended.set()
            self._news.set()

    async def _read_async(self, source: AsyncIterable[bytes]) -> None:
        try:
            async for data in source:
                await self._put(data)
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def _read_sync(self, source: Iterable[bytes]) -> None:
        try:
            for data in source:
                await self._put(data)
        finally:
            if isinstance(source, Generator):
                source.close()

    async def _put(self, data: object) -> None:
        """Hands a piece over, and waits until the next one is wanted."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"pieces of content must be bytes, not {type(data).__name__}")
        if data:
            self._fresh = bytes(data)
            self._wanted = trio.Event()
            self._news.set()
            self._news = trio.Event()
        await self._wanted.wait()


async def _pieces_of(file: BinaryIO) -> AsyncGenerator[bytes, None]:
    """Reads a pipe as its data comes; a thread that waits there for ever is left behind."""
    read = getattr(file, "read1", file.read)
    while data := await trio.to_thread.run_sync(read, CHUNK_BYTES, abandon_on_cancel=True):
        yield data


EMPTY = BytesContent(b"")


def as_content(
    source: (
        Content | bytes | bytearray | str | BinaryIO | AsyncIterable[bytes] | Iterable[bytes] | None
    ),
    limit: int,
) -> Content:
    """Returns the Content for what a caller may give.

    Args:
        source: bytes, text (as UTF-8), a binary file, or an iterable of bytes.
        limit: bytes of a stream that are kept for a resend.
    """
    match source:
        case None:
            return EMPTY
        case Content():
            return source
        case bytes() | bytearray() | memoryview():
            return BytesContent(bytes(source))
        case str():
            return BytesContent(source.encode())
        case io.RawIOBase() | io.BufferedIOBase():
            file = cast("BinaryIO", source)
            return FileContent(file) if file.seekable() else StreamContent(_pieces_of(file), limit)
        case AsyncIterable() | Iterable():
            return StreamContent(source, limit)
        case _:
            raise TypeError(
                f"content must be bytes, text, a binary file or an iterable, "
                f"not {type(source).__name__}"
            )
