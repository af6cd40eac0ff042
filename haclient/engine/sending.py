"""A request's way out: its head, an Expect, its content.

Small content travels with the head in one call to the kernel; that is the common case and costs
no task. Long content goes out in a task of its own, so that an early answer is seen while the
upload goes on (RFC 9112, section 9.3: a client ought to watch for it), and so that a verdict of
the watch reaches the reader also while the sender waits for a shut window.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import trio

from haclient.core.framing import write_request_head
from haclient.engine.outcome import Request
from haclient.errors import ContentError
from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.http1 import Head

__all__ = ["Sending"]

EXPECT_WAIT = 1.0
"""Seconds that content is held back for "100 Continue" (RFC 9110, section 10.1.1 leaves the time to
the client; curl waits as long)."""


class Sending:
    """One request on one connection, going out.

    Attributes:
        head: the request's head.
        early_head: a final answer that came instead of "100 Continue"; no content was sent then.
        error: the caller's content failed; the receiver was interrupted to learn of it.
    """

    __slots__ = ("_connection", "_on_sent", "_request", "_scope", "early_head", "error", "head")

    def __init__(
        self, connection: Connection, request: Request, prefix: str, on_sent: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._request = request
        self._on_sent = on_sent
        self._scope: trio.CancelScope | None = None
        self.early_head: Head | None = None
        self.error: ContentError | None = None
        target = prefix + request.target
        if connection.is_absolute_form:
            # RFC 9112, section 3.2.2: a forward proxy is told the whole URL.
            target = f"{connection.origin}{target}"
        self.head = write_request_head(
            request.method,
            target,
            request.fields,
            connection.origin.authority,
            request.content.length,
        )
        connection.http.begin(self.head)

    async def start(self, nursery: trio.Nursery) -> None:
        """Hands the request to the kernel, or starts to.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
            ValueError: the content does not fit what the head announced.
        """
        http, small = self._connection.http, self._request.content.small
        data = self.head.data
        if self.head.expects_continue and small != b"":
            await self._wait_for_continue()
            data = b""
            if self.early_head is not None:
                self._on_sent()
                return
        if small is None:
            if data:
                await self._connection.send(data)
            self._scope = trio.CancelScope()
            nursery.start_soon(self._upload, self._scope)
            return
        if small:
            data += http.content_bytes(small)
        await self._connection.send(data + http.end_of_request())
        self._on_sent()

    def stop(self) -> None:
        """What is left of the content is not wanted any more."""
        if self._scope is not None:
            self._scope.cancel()

    async def _wait_for_continue(self) -> None:
        """Sends the head and waits a while for the word to go on, or for a final answer."""
        await self._connection.send(self.head.data)
        with trio.move_on_after(EXPECT_WAIT):
            try:
                head = await self._connection.http.read_head()
            except InterruptedReceive:
                return  # the news stays on the watch's entry: the next wait brings it
            if head.status >= 200:
                self.early_head = head

    async def _upload(self, scope: trio.CancelScope) -> None:
        connection = self._connection
        with scope:
            try:
                async with aclosing(self._request.content.chunks()) as chunks:
                    async for data in chunks:
                        await connection.send(connection.http.content_bytes(data))
                if end := connection.http.end_of_request():
                    await connection.send(end)
                self._on_sent()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The receiver sees the same end, and perhaps an answer that was sent before it.
                return
            except (ContentError, ValueError) as exc:
                self.error = exc if isinstance(exc, ContentError) else ContentError(str(exc))
                connection.transport.interrupt()
