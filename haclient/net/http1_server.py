"""HTTP/1.1 on one connection, seen from the server: whole heads in, content as it comes.

The naive way feeds an h11 connection whatever comes in and asks it for events; one object then
carries the state of both directions, and what h11 is lenient about (a bare LF ends a line, a folded
field is joined) is past before anybody can look. Here a head is cut out whole first, at the one
terminator that RFC 9112 allows, then read: in its common form by core.head_pattern, else by h11, for
each request a fresh one. Content never touches h11: it is counted, or core.chunked reads it.

What h11 leaves to its user and is done here: a head's lines end in CRLF and nothing else (RFC 9112,
section 2.2, lets a server be stricter), no folded fields (section 5.2), one empty line before a
request line is passed over (section 2.2), and heads and fields are bounded.
"""

from __future__ import annotations

import re
from typing import Protocol

import h11
import msgspec

from haclient.core.chunked import Chunked
from haclient.core.head_pattern import fields_of, read_request
from haclient.types import Fields

__all__ = ["BadRequest", "ClientLeft", "RawHead", "ServerHttp1"]

MAX_FIELDS = 100
"""Fields of a head. Apache's LimitRequestFields is 100, HAProxy's tune.http.maxhdr 101."""

RECEIVE_BYTES = 65536

TOO_LARGE, URI_TOO_LONG, BAD = 431, 414, 400
"""RFC 6585, section 5; RFC 9110, sections 15.5.15 and 15.5.1."""

_LOOSE_END = re.compile(rb"\n\n|(?<!\r)\n\r\n")
"""The end of a head for those who take a bare LF for an end of line, and for nobody else."""

_LOOSE_LINE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]")
"""A line that ends in LF alone, a CR that ends none, a folded field."""

_BYTEARRAY = re.compile(r"""bytearray\(b(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\)""")
"""How h11 shows what it could not read; a person who writes no Python is told the bytes alone."""


class ClientLeft(Exception):
    """The client closed its side before its request was whole."""


class BadRequest(Exception):
    """What came in cannot be answered but by an error and the connection's end.

    Attributes:
        is_head: as far as it can be read it is a HEAD: its answer has no content, whatever it says, or
            the client would take that for the next one (RFC 9110, section 9.3.2).
    """

    def __init__(self, status: int, reason: str, *, is_head: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.is_head = is_head


class RawHead(msgspec.Struct, frozen=True):
    """A request's head as it came; nothing of it is judged yet but its lines."""

    method: bytes
    target: bytes
    http_version: bytes
    fields: Fields


class ReceiveStream(Protocol):
    """As trio.abc.ReceiveStream, as far as it is needed here."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes; empty at the end."""
        ...


class ServerHttp1:
    """The reading half of a client's connection, one request after another.

    Attributes:
        trailers: of chunked content, once it was read to its end.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_has_skipped_line",
        "_left",
        "_max_head",
        "_stream",
        "trailers",
    )

    def __init__(self, stream: ReceiveStream, max_head: int) -> None:
        self._stream = stream
        self._max_head = max_head
        self._buffer = bytearray()
        self._chunked = Chunked()
        self._has_skipped_line = False
        self._left: int | None = 0
        self.trailers: Fields = ()

    @property
    def has_begun(self) -> bool:
        """Whether bytes of a next request are here."""
        return bool(self._buffer)

    @property
    def asks_for_head(self) -> bool:
        """Whether the next request begins as a HEAD does."""
        return self._buffer.startswith(b"HEAD ")

    def buffered_head(self) -> RawHead | None:
        """Returns the next head if it is here whole; no checkpoint.

        Raises:
            BadRequest: it is no request, or passes a limit.
        """
        buffer = self._buffer
        if buffer.startswith(b"\r\n") and not self._has_skipped_line:
            # Only one: else a row of them would pass or not by the pieces that it came in.
            self._has_skipped_line = True
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n")
        is_head = self.asks_for_head
        try:
            if end < 0 or end + 4 > self._max_head:
                self._check_unfinished()
                return None
            head = bytes(buffer[: end + 4])
            del buffer[: end + 4]
            return self._parse(head)
        except BadRequest as bad:
            bad.is_head = is_head
            raise

    async def receive(self) -> bool:
        """Takes in what comes next; False at the end of what the client sends.

        Raises:
            InterruptedReceive: there is news; nothing is lost.
            trio.BrokenResourceError, trio.ClosedResourceError
        """
        data = await self._stream.receive_some(RECEIVE_BYTES)
        self._buffer += data
        return bool(data)

    def _check_unfinished(self) -> None:
        """A head that is not whole may still be too long, or never come to an end."""
        buffer = self._buffer
        if _LOOSE_END.search(buffer, 0, self._max_head) is not None:
            raise _loose()
        if len(buffer) >= self._max_head:
            if b"\r\n" not in buffer[: self._max_head]:
                raise BadRequest(URI_TOO_LONG, f"a request line of {self._max_head} bytes or more")
            raise BadRequest(TOO_LARGE, f"a head of more than {self._max_head} bytes")

    def _parse(self, head: bytes) -> RawHead:
        self._has_skipped_line = False
        lines = head.count(b"\n")
        if lines > MAX_FIELDS + 2:
            if _LOOSE_END.search(head) is not None:
                raise _loose()
            raise BadRequest(TOO_LARGE, f"more than {MAX_FIELDS} fields")
        plain = read_request(head)
        if plain is not None:
            return RawHead(*plain)
        if _LOOSE_LINE.search(head) is not None:
            raise _loose()
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=RECEIVE_BYTES)
        connection.receive_data(head)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise _unread(exc) from exc
        if not isinstance(event, h11.Request):
            raise BadRequest(BAD, "no request")
        return RawHead(event.method, event.target, event.http_version, fields_of(head))

    # --- content -----------------------------------------------------------------------------

    def begin_content(self, length: int | None) -> None:
        """The head was accepted; its content has `length` bytes, or is chunked where it is None."""
        self._left = length
        self.trailers = ()
        if length is None:
            self._chunked = Chunked()

    @property
    def is_content_whole(self) -> bool:
        """Whether nothing of the request is left to read."""
        return self._left == 0

    def buffered_content(self) -> bytes | None:
        """Returns the whole of counted content if it is here; no checkpoint."""
        left = self._left
        if left is None or len(self._buffer) < left:
            return None
        data = bytes(self._buffer[:left])
        del self._buffer[:left]
        self._left = 0
        return data

    async def read_content(self) -> bytes:
        """Returns the next piece, empty at the end.

        Raises:
            ClientLeft: the client's side ended first.
            BadRequest: broken chunked coding, or too much around the content.
            InterruptedReceive, trio.BrokenResourceError, trio.ClosedResourceError: as `receive`.
        """
        if self._left is None:
            return await self._read_chunked()
        if not self._left:
            return b""
        if self._buffer:
            data = bytes(self._buffer[: self._left])
            del self._buffer[: self._left]
        else:
            data = bytes(await self._stream.receive_some(min(self._left, RECEIVE_BYTES)))
            if not data:
                raise ClientLeft("the client closed its side before its content was whole")
        self._left -= len(data)
        return data

    async def _read_chunked(self) -> bytes:
        chunked = self._chunked
        while not chunked.is_whole:
            if chunked.error:
                raise BadRequest(BAD, chunked.error)
            data = bytes(self._buffer)
            self._buffer.clear()
            if not data:
                data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
                if not data:
                    raise ClientLeft("the client closed its side before its content was whole")
            content = chunked.feed(data)
            if content:
                return content
        self.trailers = chunked.trailers
        self._buffer += chunked.rest
        self._left = 0
        return b""

    def take_buffered(self) -> bytes:
        """Returns what has come in behind the head: after 101 it is no HTTP any more."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data


def _loose() -> BadRequest:
    return BadRequest(
        BAD, "a line that does not end in CRLF, or is folded (RFC 9112, sections 2.2, 5.2)"
    )


def _unread(exc: h11.RemoteProtocolError) -> BadRequest:
    return BadRequest(exc.error_status_hint, _BYTEARRAY.sub(r'"\1\2"', str(exc)))
