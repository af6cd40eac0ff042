"""The content of a request, and whether it can be sent a second time.

Bytes can always be sent again and a seekable file too. A stream can only be read once: what of it
has been sent is kept, up to a limit; past that it goes on and the request merely loses its right
to a resend. One attempt reads at a time: a copy beside another is sent of safe requests only, and
those whose content is a stream do not get one.
"""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import BinaryIO, cast

import trio

from haclient.errors import ContentError

__all__ = ["BytesContent", "Content", "FileContent", "StreamContent", "as_content"]

CHUNK_BYTES = 65536


class Content:
    """What an attempt needs of a request's content.

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

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Reads the content from its beginning.

        Raises:
            ContentError: the caller's source failed; its error is the cause.
        """
        return _no_chunks()

    async def aclose(self) -> None:
        """The exchange is over: lets go of the source."""


async def _no_chunks() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for data in nothing:
        yield data


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
    """A file, from its present position to its end."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.small = None
        self._file = file
        self._is_seekable = file.seekable()
        self._start = file.tell() if self._is_seekable else 0
        self._was_started = False
        self.length = None
        if self._is_seekable:
            self.length = file.seek(0, io.SEEK_END) - self._start
            file.seek(self._start)

    @property
    def is_replayable(self) -> bool:
        """A pipe is not, once read."""
        return self._is_seekable or not self._was_started

    @property
    def is_shareable(self) -> bool:
        """Two readers would move one position."""
        return False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As Content.chunks."""
        self._was_started = True
        try:
            if self._is_seekable:
                self._file.seek(self._start)
            while data := await trio.to_thread.run_sync(
                self._file.read, CHUNK_BYTES, abandon_on_cancel=True
            ):
                yield data
        except (OSError, ValueError) as exc:
            raise ContentError(f"the request's content could not be read: {exc}") from exc


class StreamContent(Content):
    """An iterable of bytes, read once and kept up to `limit` bytes for a resend."""

    def __init__(
        self, source: AsyncIterable[bytes] | Iterable[bytes], limit: int, length: int | None = None
    ) -> None:
        super().__init__()
        self.small = None
        self._source = source
        self._iterator: AsyncGenerator[bytes, None] | None = None
        self._limit = limit
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0
        self._is_exhausted = False
        self.length = length

    @property
    def is_replayable(self) -> bool:
        """Until more than the limit has been read."""
        return self._kept is not None

    @property
    def is_shareable(self) -> bool:
        """A source is read once."""
        return False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As Content.chunks: what was kept first, then on from the source."""
        assert self._kept is not None, "not replayable"
        for data in tuple(self._kept):
            yield data
        if self._iterator is None:
            self._iterator = _iterate(self._source)
        while not self._is_exhausted:
            try:
                data = await anext(self._iterator)
            except StopAsyncIteration:
                self._is_exhausted = True
                return
            except (trio.Cancelled, KeyboardInterrupt):
                # The source was cut off in the middle and cannot go on for another attempt.
                self._kept = None
                raise
            except Exception as exc:
                raise ContentError(
                    f"the request's content could not be read: {type(exc).__name__}: {exc}"
                ) from exc
            if data:
                self._keep(data)
                yield data

    async def aclose(self) -> None:
        """As Content.aclose; the source's own clean-up runs now, not at garbage collection."""
        if self._iterator is not None:
            await self._iterator.aclose()

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        self._kept_bytes += len(data)
        if self._kept_bytes > self._limit:
            self._kept = None
        else:
            self._kept.append(data)


async def _iterate(
    source: AsyncIterable[bytes] | Iterable[bytes],
) -> AsyncGenerator[bytes, None]:
    if isinstance(source, AsyncIterable):
        async for data in source:
            yield data
    else:
        for data in source:
            await trio.lowlevel.checkpoint()
            yield data


EMPTY = Content()


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
            return FileContent(cast("BinaryIO", source))
        case AsyncIterable() | Iterable():
            return StreamContent(source, limit)
        case _:
            raise TypeError(
                f"content must be bytes, text, a binary file or an iterable, "
                f"not {type(source).__name__}"
            )
