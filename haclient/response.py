"""An answer as the caller holds it: its head, and its content whole or as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Self

from haclient.engine.exchange import Answer
from haclient.types import AttemptRecord, Fields, Verdict

__all__ = ["Headers", "Response"]


class Headers(Mapping[str, str]):
    """Response fields by name, whatever the letter case; several of a name joined by ", "."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def get_all(self, name: str) -> list[str]:
        """Every value of a field, in order (Set-Cookie must not be joined: RFC 9110, 5.3)."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == wanted]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1").lower() for key, _ in self.fields))

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.fields})

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


class Response:
    """An answer: its head is here, its content perhaps still on the way.

    Attributes:
        status, reason, http_version: of the status line.
        headers: fields by name; `fields` as they came.
        attempts: what was tried, when, and why each try ended; whole once the content is.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._content: bytes | None = None
        self._is_begun = False
        self._is_broken = False
        head = answer.head
        self.status = head.status
        self.reason = head.reason.decode("latin-1")
        self.http_version = head.http_version.decode("latin-1")
        self.fields = head.fields
        self.headers = Headers(head.fields)

    def __repr__(self) -> str:
        return f"<Response {self.status} from {self._answer.connection.endpoint}>"

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """Every attempt, in order."""
        return self._answer.attempts

    @property
    def trailers(self) -> Fields:
        """Trailer fields of chunked content, once it was read to its end."""
        return self._answer.trailers

    async def read(self) -> bytes:
        """Returns the whole content.

        Raises:
            ResponseIncompleteError: it broke off; what came before is not returned. So do the
                other errors of a server: ResponseTimeoutError, ProtocolError.
            RuntimeError: part of it was handed over by iteration, or the response was closed.
        """
        if self._content is None:
            if self._is_begun and not self._is_broken:
                raise RuntimeError("part of the content was handed over already")
            self._content = b"".join([chunk async for chunk in self])
        return self._content

    async def text(self, encoding: str = "utf-8") -> str:
        """Returns the whole content as text."""
        return (await self.read()).decode(encoding)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Content as it arrives; a second iteration goes on where the first one stopped.

        Raises:
            As `read`.
        """
        return _Chunks(self, self._content)

    async def next_chunk(self) -> bytes:
        """Returns the next piece of content, empty at its end.

        Raises:
            As `read`.
        """
        self._is_begun = True
        try:
            chunk = await self._answer.read_chunk()
        except BaseException:
            self._is_broken = True
            self.close()
            raise
        if not chunk:
            await self._answer.finish()
        return chunk

    async def take_whole(self) -> None:
        """The content was read within the exchange (for the client; not for its users)."""
        self._content = self._answer.content
        await self._answer.finish()

    def close(self) -> None:
        """Gives the rest up; the connection is closed unless the content was read to its end."""
        self._answer.abandon(Verdict.ANSWERED, "content not read to its end")


class _Chunks:
    """Not a generator: one of those would complain if a loop over it is left early."""

    def __init__(self, response: Response, whole: bytes | None) -> None:
        self._response = response
        self._whole = whole

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk, self._whole = self._whole, self._whole and b""
        if chunk is None:
            chunk = await self._response.next_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk
