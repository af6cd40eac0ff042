"""The program beside the proxy: plain HTTP over a socket, and a check of every byte of the answer.

No library's retries and no pool: what the proxy did not do for it is an error here. An answer is
right if it is 200, whole, and its content is the one that the servers make; half of one that looks
complete counts worse than an error, and is called "wrong content".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count

import h11
import trio

from tests.support.origin import PATTERN

__all__ = ["Answer", "Program", "digest_of"]

PATIENCE = 45.0
"""Seconds before the program gives up: more than a patient proxy's 40, and a second try."""

PIECE_BYTES = 1 << 18

_numbers = count(1)


@dataclass(slots=True)
class Answer:
    """What came of a request. Instants are those of time.perf_counter."""

    request_id: str
    at: float = 0.0
    """When it was over."""
    by: str = ""
    status: int = 0
    content_bytes: int = 0
    error: str = ""
    """Empty for a right answer."""


class Program:
    """One connection to the proxy, for one request after another."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def ask(
        self,
        method: str = "GET",
        *,
        content: AsyncIterable[bytes] | None = None,
        length: int = 0,
        expected: str = "",
        progress: list[int] | None = None,
    ) -> Answer:
        """Makes a request and reads its answer.

        Args:
            method: POST and PUT have a content of 2 bytes, if none is given.
            content: in pieces; `length` bytes in all.
            expected: the digest of the answer's content; without, it is the server's one line.
            progress: gets the number of bytes of the answer read so far, as its only item.
        """
        answer = Answer(f"request-{next(_numbers)}")
        sha = hashlib.sha256()
        if self._http.our_state is self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        try:
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, answer, method, content, length)
                    await self._read(answer, sha, progress)
                    nursery.cancel_scope.cancel()
        except* trio.TooSlowError:
            answer.error = f"no answer in {PATIENCE:g} s"
        except* (trio.BrokenResourceError, h11.RemoteProtocolError, ConnectionError):
            answer.error = "broken" if answer.status else "closed"
        answer.at = time.perf_counter()
        wanted = expected or digest_of(f"{answer.by}: {method} /orders/7\n".encode())
        if not answer.error and answer.status != 200:
            answer.error = str(answer.status)
        if not answer.error and sha.hexdigest() != wanted:
            answer.error = "wrong content"
        return answer

    async def _send(
        self, answer: Answer, method: str, content: AsyncIterable[bytes] | None, length: int
    ) -> None:
        fields = [("Host", "orders.test"), ("X-Request-Id", answer.request_id)]
        if method in {"POST", "PUT"}:
            fields.append(("Content-Length", str(length or 2)))
        head = h11.Request(method=method, target="/orders/7", headers=fields)
        start = self._http.send(head) or b""
        if content is None:
            if method in {"POST", "PUT"}:
                start += self._http.send(h11.Data(data=b"{}")) or b""
            self._http.send(h11.EndOfMessage())
        with suppress(trio.BrokenResourceError):  # there may be an answer to read nevertheless
            await self._stream.send_all(start)
            if content is not None:
                async for piece in content:
                    await self._stream.send_all(self._http.send(h11.Data(data=piece)) or b"")
                self._http.send(h11.EndOfMessage())

    async def _read(self, answer: Answer, sha: hashlib._Hash, progress: list[int] | None) -> None:
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                answer.status = event.status_code
                answer.by = dict(event.headers).get(b"x-origin", b"").decode()
            elif isinstance(event, h11.Data):
                sha.update(event.data)
                answer.content_bytes += len(event.data)
                if progress is not None:
                    progress[0] = answer.content_bytes
            elif isinstance(event, h11.ConnectionClosed):
                raise trio.BrokenResourceError

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(PIECE_BYTES)))
        return event

    async def aclose(self) -> None:
        """Closes the connection."""
        await trio.aclose_forcefully(self._stream)


def digest_of(content: bytes) -> str:
    """What `ask` compares."""
    return hashlib.sha256(content).hexdigest()


@cache
def digest_of_pattern(length: int) -> str:
    """Of the content that an origin sends when it is asked for so many bytes."""
    return digest_of((PATTERN * (length // len(PATTERN) + 1))[:length])
