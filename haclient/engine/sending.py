"""A request's way out: its head, an Expect, its content.

Small content travels with the head in one call to the kernel; that is the common case and costs
no task. Whatever may have to wait goes out in a task of its own: long content, and what of a small
request the kernel did not take at once. So an early answer is seen while the upload goes on (RFC
9112, section 9.3: a client ought to watch for it), and a verdict of the watch reaches the reader
also while the sender waits for a window that nobody opens any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing

import trio

from haclient.core.framing import write_request_head
from haclient.engine.outcome import Request
from haclient.errors import ContentError
from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.http1 import Head
from haclient.net.proxy_tunnel import fields_through
from haclient.types import Instant

__all__ = ["Sending"]

EXPECT_WAIT = 1.0
"""Seconds that content is held back for "100 Continue" (RFC 9110, section 10.1.1 leaves the time to
the client; curl waits as long)."""

AT_ONCE_BYTES = 16384
"""What TLS is given without a task of its own. The send buffer of an idle connection takes as much
without waiting: 16 KiB is what one begins with (net.ipv4.tcp_wmem, tcp(7)), and it only grows."""


OnSent = Callable[[], None]
OnInterim = Callable[[Head], Awaitable[None]]


class Sending:
    """One request on one connection, going out.

    It keeps nothing of the attempt that it belongs to: the two would be a cycle, and each request
    garbage that only the collector frees.

    Attributes:
        head: the request's head.
        is_whole: the last byte was handed to the kernel.
        is_short_of_content: the caller's content has no next piece yet; nobody else is to blame.
        early_head: a final answer that came instead of "100 Continue"; no content was sent then.
        error: why the content cannot be sent; the receiver was interrupted to learn of it.
    """

    __slots__ = (
        "_connection",
        "_request",
        "_scope",
        "early_head",
        "error",
        "head",
        "is_short_of_content",
        "is_whole",
    )

    def __init__(self, connection: Connection, request: Request, prefix: str) -> None:
        self._connection = connection
        self._request = request
        self._scope: trio.CancelScope | None = None
        self.is_whole = False
        self.is_short_of_content = False
        self.early_head: Head | None = None
        self.error: Exception | None = None
        target, fields = prefix + request.target, request.fields
        if connection.proxy is not None:
            is_tunnel = connection.origin.is_secure
            fields = fields_through(connection.proxy, fields, is_tunnel=is_tunnel)
            # RFC 9112, section 3.2.2: a forward proxy is told the whole URL.
            target = target if is_tunnel else f"{connection.origin}{target}"
        self.head = write_request_head(
            request.method,
            target,
            fields,
            connection.origin.authority,
            request.content.length,
        )
        connection.http.begin(self.head, is_upgrade=request.is_upgrade)

    async def start(self, nursery: trio.Nursery, on_sent: OnSent, on_interim: OnInterim) -> None:
        """Hands the request to the kernel, or starts to.

        Args:
            nursery: of what may have to wait.
            on_sent: called once the last byte is out.
            on_interim: told each interim answer that comes while "100 Continue" is waited for.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
            ValueError: the content does not fit what the head announced.
        """
        http, small = self._connection.http, self._request.content.small
        data = self.head.data
        if self.head.expects_continue and small != b"":
            await self._wait_for_continue(on_interim)
            data = b""
            if self.early_head is not None:
                on_sent()
                return
        if small is not None:
            if small:
                data += http.content_bytes(small)
            data += http.end_of_request()
        rest = await self._send_at_once(data)
        if not rest and small is not None:
            self.is_whole = True
            on_sent()
            return
        if small is None:
            self._request.content.open(nursery)
        self._scope = trio.CancelScope()
        nursery.start_soon(self._upload, self._scope, rest, on_sent)

    def stop(self) -> None:
        """What is left of the content is not wanted any more."""
        if self._scope is not None:
            self._scope.cancel()

    async def _send_at_once(self, data: bytes) -> bytes:
        """Sends what does not have to wait; returns the rest."""
        connection = self._connection
        if connection.is_plain:
            return data[connection.send_now(data) :]
        if len(data) > AT_ONCE_BYTES:
            return data
        await connection.send(data)
        return b""

    async def _wait_for_continue(self, on_interim: OnInterim) -> None:
        """Sends the head and waits a while for the word to go on, or for a final answer."""
        await self._connection.send(self.head.data)
        until = trio.current_time() + EXPECT_WAIT
        while (head := await self._head_until(until)) is not None:
            if head.status >= 200:
                self.early_head = head
                return
            # Not within the time-out: whoever passes it on must not be stopped half-way.
            await on_interim(head)
            if head.status == 100:
                return

    async def _head_until(self, until: Instant) -> Head | None:
        connection = self._connection
        with trio.move_on_at(until):
            try:
                return await connection.http.read_head()
            except InterruptedReceive:
                # There is news of the connection: whoever reads next is to have it.
                connection.transport.interrupt()
        return None

    async def _upload(self, scope: trio.CancelScope, rest: bytes, on_sent: OnSent) -> None:
        connection = self._connection
        with scope:
            try:
                if rest:
                    await connection.send(rest)
                if self._request.content.small is None:
                    await self._send_chunks()
                self.is_whole = True
                on_sent()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The receiver sees the same end, and perhaps an answer that was sent before it.
                return
            except Exception as exc:
                # Whatever it is, it is this exchange's own; the nursery carries those of others.
                self.error = ContentError(str(exc)) if isinstance(exc, ValueError) else exc
                connection.transport.interrupt()

    async def _send_chunks(self) -> None:
        connection, http = self._connection, self._connection.http
        async with aclosing(self._request.content.chunks()) as chunks:
            self.is_short_of_content = True
            async for data in chunks:
                self.is_short_of_content = False
                await connection.send(http.content_bytes(data))
                self.is_short_of_content = True
        self.is_short_of_content = False
        if end := http.end_of_request(self._request.content.trailers()):
            await connection.send(end)
