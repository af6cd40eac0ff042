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
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import BinaryIO, cast

import trio

from haclient.errors import ContentError

__all__ = ["BytesContent", "Content", "FileContent", "StreamContent", "as_content"]

CHUNK_BYTES = 65536


class Content:
    """What an attempt needs of a request's content; one of the classes below.

    Attributes:
        length: in bytes, or None where it is not known beforehand (sent chunked).
        small: the whole, where it is at hand and small enough to travel with the head.
    """

    def __init__(self) -> None:
        self.length: int | None = 0
        self.small: bytes | None = b""

    @property
    def is_replayable(self) -> bool:
        """Whether `chunks` can start at the beginning again."""
        return True

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


class StreamContent(Content):
    """An iterable of bytes, read once and kept up to `limit` bytes for a resend.

    Its task reads a piece when an attempt asks for one, never ahead. The piece that passes the
    limit is kept until somebody takes it, so that the resend which is just beginning has it too.
    """

    def __init__(
        self, source: AsyncIterable[bytes] | Iterable[bytes], limit: int, length: int | None = None
    ) -> None:
        super().__init__()
        self.small = None
        self.length = length
        self._source = source
        self._limit = limit
        self._is_replayable = True
        self._pieces: list[bytes] = []
        self._bytes_read = 0
        self._scope: trio.CancelScope | None = None
        self._wanted = trio.Event()
        self._news = trio.Event()
        self._ended = trio.Event()
        self._error: ContentError | None = None

    @property
    def is_replayable(self) -> bool:
        """Until more than the limit was read and taken."""
        return self._is_replayable

    @property
    def is_shareable(self) -> bool:
        """A source is read once."""
        return False

    def open(self, nursery: trio.Nursery) -> None:
        """As Content.open."""
        if self._scope is None:
            scope = trio.CancelScope()
            nursery.start_soon(self._read_source, scope)
            self._scope = scope

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As Content.chunks: what was kept first, then on from the source."""
        assert self._is_replayable, "what is gone cannot be sent again"
        position = 0
        while await self._has_piece(position):
            data = self._pieces[position]
            position += 1
            if self._bytes_read > self._limit:
                self._is_replayable = False
                del self._pieces[:position]
                position = 0
            yield data

    async def _has_piece(self, position: int) -> bool:
        while position == len(self._pieces):
            if self._ended.is_set():
                if self._error is not None:
                    raise self._error
                return False
            self._wanted.set()
            await self._news.wait()
        return True

    async def aclose(self) -> None:
        """As Content.aclose; the source's own clean-up runs now, not at garbage collection."""
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
            self._pieces.append(bytes(data))
            self._bytes_read += len(self._pieces[-1])
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
