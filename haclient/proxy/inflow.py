"""A request's content, as the client sends it.

Content that is small and announced is read whole before a server is asked: it then goes out with the
head in one call and can be sent again for nothing. Everything else is a stream that is read when a
server takes it, never ahead, so that a slow server slows the client down and no memory grows; the
engine keeps what has gone by, up to a limit, for a resend.

"100 Continue" (RFC 9110, section 10.1.1) is said when the first piece is wanted: a server has said so
itself then, or the engine waited for it long enough. A server that answers at once instead spares the
client its upload.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from haclient.core.fields import trailer_fields
from haclient.core.request_head import RequestLine
from haclient.engine.replay import Content, ReplayLedger, StreamContent, as_content
from haclient.net import InterruptedReceive
from haclient.net.http1_server import BadRequest, ClientLeft
from haclient.proxy.client_side import ClientSide
from haclient.types import Fields

__all__ = ["Inflow"]

READ_WHOLE_BYTES = 16384
"""Announced content up to this is read before a server is asked; nginx's client_body_buffer_size on a
64-bit machine."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

TIMEOUT, TOO_LARGE = 408, 413
"""RFC 9110, sections 15.5.9 and 15.5.14."""


class Inflow:
    """The content of one request.

    Attributes:
        bytes_read: so far.
        refused: what is wrong with it, once that is known: a status and words for the client.
        has_client_left: it broke off.
    """

    __slots__ = (
        "_is_continue_due",
        "_length",
        "_side",
        "_stream",
        "bytes_read",
        "has_client_left",
        "refused",
    )

    def __init__(self, side: ClientSide, line: RequestLine) -> None:
        self._side = side
        self._length = line.length
        self._is_continue_due = line.expects_continue
        self._stream: StreamContent | None = None
        self.bytes_read = 0
        self.refused: BadRequest | None = None
        self.has_client_left = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the request is left to read."""
        return self._side.http.is_content_whole

    async def content(self, replay_limit: int, ledger: ReplayLedger) -> Content:
        """What the engine is given.

        Raises:
            BadRequest: too large, or it came too slowly.
            ClientLeft: it broke off.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        """
        length, limit = self._length, self._side.door.settings.max_content
        if length == 0:
            return as_content(None, 0)
        if length is not None and limit is not None and length > limit:
            raise BadRequest(TOO_LARGE, f"more than {limit} bytes of content")
        if length is None or length > READ_WHOLE_BYTES or self._is_continue_due:
            pieces = self._pieces()
            self._stream = StreamContent(pieces, replay_limit, length, ledger, self._trailers)
            return self._stream
        whole = self._side.http.buffered_content()
        if whole is None:
            whole = b"".join([piece async for piece in self._pieces()])
        else:
            self.bytes_read = len(whole)
        return as_content(whole, 0)

    async def settle_continue(self) -> None:
        """A final answer is about to begin: "100 Continue" is said before it, or never.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the client is gone.
        """
        is_due, self._is_continue_due = self._is_continue_due, False
        if is_due and self._stream is not None and self._stream.is_open:
            await self._side.send(CONTINUE)

    def _trailers(self) -> Fields:
        return trailer_fields(self._side.http.trailers)

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        if self._is_continue_due:
            self._is_continue_due = False
            await self._side.send(CONTINUE)
        while data := await self._next_piece():
            self.bytes_read += len(data)
            limit = self._side.door.settings.max_content
            if limit is not None and self.bytes_read > limit:
                self.refused = BadRequest(TOO_LARGE, f"more than {limit} bytes of content")
                raise self.refused
            yield data

    async def _next_piece(self) -> bytes:
        side = self._side
        side.begin_clients_turn()
        try:
            while True:
                try:
                    data = await side.http.read_content()
                except InterruptedReceive:
                    self._check_limit()
                else:
                    side.take_back_expiry()
                    return data
        except BadRequest as bad:
            self.refused = bad
            raise
        except (ClientLeft, trio.BrokenResourceError, trio.ClosedResourceError):
            self.has_client_left = True
            raise
        finally:
            side.end_clients_turn()

    def _check_limit(self) -> None:
        if self._side.has_expired:
            timeout = self._side.door.settings.body_timeout
            raise BadRequest(TIMEOUT, f"no byte of the request's content for {timeout:g} s")
