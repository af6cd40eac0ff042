"""Carries the admin endpoint: a socket that only this machine can reach, and a few connections on it.

A framework would bring more code than the data plane has; the daemon has a reader of heads and a judge
of them already, made for hostile clients, and they serve here. What remains is small: one task for each
connection, one request after another, limits on all of it.

Who may connect is the socket's own business. A Unix socket is made with mode 0600: under a umask, for
between bind(2) and chmod(2) there would be a moment in which everybody may connect. One that the service
manager made has the mode that its unit says, and is refused where that lets everybody in, as systemd's
default does (0666). A TCP socket must be bound to loopback.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import NoReturn

import trio

from haclient.core.config import AdminSettings, Bind
from haclient.core.request_head import Refusal, RequestLine, judge
from haclient.net.http1_server import BadRequest, ClientLeft, ServerHttp1
from haclient.net.listening import (
    BindError,
    accept,
    listen_on,
    place_of,
    stop_listening,
)
from haclient.net.transport import SocketTransport
from haclient.ops.admin import Admin, Reply, head_of, refused
from haclient.ops.book import Book
from haclient.ops.control import Control
from haclient.ops.feed import Reader
from haclient.ops.log import Log
from haclient.types import Fields, Instant

__all__ = ["AdminServer"]

MAX_CONNECTIONS = 64
"""A probe, a scrape, some browsers (six connections each) and the readers of events (feed.MAX_READERS);
then whoever's request is waited for makes way for a newcomer, for a crowd that says nothing must not keep a
probe from its answer. Where all have asked, newcomers wait in the kernel's queue. Descriptors are left for requests."""

SILENT_GRACE = 0.02
"""Seconds before one makes way, as at a door short of descriptors (haclient.proxy.door): who connects to ask
is on this machine, and its first byte comes within some milliseconds."""

LOOK_EVERY = 0.02
"""Seconds between two looks for room while all places are taken."""

MAX_HEAD = 8192
"""Bytes. A browser's head with a long cookie has two or three thousand; nginx takes 8 KiB by default."""

MAX_CONTENT = 65536
"""Bytes of a request's content, which means nothing here and is read and dropped."""

HEAD_TIMEOUT = 15.0
"""Seconds for a whole request, and between two of them."""

SEND_TIMEOUT = 10.0
"""Seconds for an answer to be taken, or a batch of events: a reader that is slower is dropped."""

STILL_HERE = 15.0
"""Seconds between two comments to a reader of events (WHATWG HTML, section 9.2.7, has about 15)."""

RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a browser comes back."""

PAUSE = 0.1
"""Seconds between two tries to accept while there is no descriptor left."""


class AdminServer:
    """The endpoint. `start` it once; it ends with the nursery."""

    def __init__(self, control: Control, book: Book, log: Log) -> None:
        self._control = control
        self._book = book
        self._log = log
        self._admin = Admin(control, book, log)
        self._waiting: dict[trio.CancelScope, Instant] = {}
        """Since when a request is waited for, the longest first."""
        self.address = ""
        """What it is bound to, once started."""
        self.connections = 0

    def start(self, settings: AdminSettings | None, nursery: trio.Nursery) -> None:
        """Opens the socket and serves; does nothing where there are no settings.

        Args:
            settings: where.
            nursery: carries the tasks; its cancellation is the end.

        Raises:
            BindError: in one line.
        """
        if settings is None:
            return
        sock = open_private(settings.bind)
        self.address = str(place_of(sock))
        self._control.sidecar.close_off("the admin endpoint", sock)
        nursery.start_soon(self._run, sock, settings.bind)
        self._log.info("listening", admin=self.address)

    async def _run(self, sock: socket.socket, bind: Bind) -> None:
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    transport = await self._accept_next(sock)
                    self.connections += 1
                    nursery.start_soon(self._serve, transport)
        finally:
            stop_listening(sock, bind)

    async def _accept_next(self, sock: socket.socket) -> SocketTransport:
        while True:
            await trio.lowlevel.wait_readable(sock)
            while self.connections >= MAX_CONNECTIONS:
                self._make_room()
                await trio.sleep(LOOK_EVERY)
            try:
                return accept(sock)
            except BlockingIOError:
                continue
            except OSError:
                await trio.sleep(PAUSE)

    def _make_room(self) -> None:
        """Ends those whose request is waited for: as many as may, for a crowd comes together."""
        until = trio.current_time() - SILENT_GRACE
        for scope, since in self._waiting.items():
            if since <= until:
                scope.cancel()

    async def _serve(self, transport: SocketTransport) -> None:
        try:
            http = ServerHttp1(transport, MAX_HEAD)
            while await self._serve_one(http, transport):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, ClientLeft):
            pass  # who leaves, or stalls, has told us enough
        except Exception as exc:
            self._tell_fault(exc)
        finally:
            transport.close()
            self.connections -= 1

    async def _answer(self, line: RequestLine, fields: Fields) -> Reply:
        try:
            return await self._admin.answer(line, fields)
        except Exception as exc:
            # Whatever it is, it costs the one who asked, and nobody whose requests are served.
            self._tell_fault(exc)
            return refused(500, "a fault in haclient: its log says which")

    def _tell_fault(self, exc: Exception) -> None:
        what = f"{type(exc).__name__}: {exc}"
        self._log.error("a fault in the admin endpoint; please report it", error=what)

    async def _asked(self, http: ServerHttp1) -> tuple[RequestLine, Fields] | Refusal | None:
        """The next request; None where there is none to come, or not in time."""
        now = trio.current_time()
        scope = trio.CancelScope(deadline=now + HEAD_TIMEOUT)
        self._waiting[scope] = now
        try:
            with scope:
                return await _next_request(http)
        finally:
            del self._waiting[scope]
        return None

    async def _serve_one(self, http: ServerHttp1, transport: SocketTransport) -> bool:
        """One request and its answer; whether the connection may carry another."""
        try:
            asked = await self._asked(http)
        except BadRequest as bad:
            return await _send(transport, refused(bad.status, bad.reason), is_last=True)
        if asked is None:
            return False
        if isinstance(asked, Refusal):
            return await _send(transport, refused(asked.status, asked.reason), is_last=True)
        line, fields = asked
        reply = await self._answer(line, fields)
        if reply.reader is not None:
            try:
                await _send_events(transport, reply, reply.reader)
            finally:
                self._book.feed.leave(reply.reader)
            return False
        is_last = not line.is_persistent or not http.is_content_whole
        return await _send(transport, reply, is_last=is_last, is_head=line.method == "HEAD")


def open_private(bind: Bind) -> socket.socket:
    """Returns a listening socket that not everybody can reach.

    Raises:
        BindError: it cannot be had, or everybody could reach it.
    """
    if not bind.is_local:
        raise BindError(
            f"the admin endpoint at {bind} can be reached from other machines: bind it to 127.0.0.1, or to "
            "a Unix socket"
        )
    before = os.umask(0o177)
    try:
        return listen_on(bind, {})
    finally:
        os.umask(before)


async def _next_request(http: ServerHttp1) -> tuple[RequestLine, Fields] | Refusal | None:
    """A head, judged, with its content read; None where there is none to come.

    Raises:
        BadRequest: it is none.
        ClientLeft: in the middle of it.
    """
    while (raw := http.buffered_head()) is None:
        if not await http.receive():
            return None
    line = judge(raw.method, raw.target, raw.http_version, raw.fields)
    if isinstance(line, Refusal):
        return line
    http.begin_content(line.length)
    if not line.expects_continue:
        left = MAX_CONTENT
        while data := await http.read_content():
            left -= len(data)
            if left < 0:
                return Refusal(413, "content means nothing here: leave it out")
    return line, raw.fields


async def _send(
    transport: SocketTransport, reply: Reply, *, is_last: bool, is_head: bool = False
) -> bool:
    """Sends an answer; whether the connection may go on."""
    content = b"" if is_head else reply.content
    with trio.fail_after(SEND_TIMEOUT):
        await transport.send_all(head_of(reply, is_last=is_last) + content)
    return not is_last


async def _send_events(transport: SocketTransport, reply: Reply, reader: Reader) -> None:
    """Sends what the reader has until one side ends; the connection ends with it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_left, transport, nursery.cancel_scope)
        with contextlib.suppress(trio.BrokenResourceError, trio.TooSlowError):
            await _pour(transport, head_of(reply, is_last=True) + RETRY, reader)
        nursery.cancel_scope.cancel()


async def _pour(transport: SocketTransport, data: bytes, reader: Reader) -> NoReturn:
    while True:
        with trio.fail_after(SEND_TIMEOUT):
            await transport.send_all(data)
        with trio.move_on_after(STILL_HERE):
            await reader.wait()
        data = reader.take() or b": still here\n\n"


async def _until_left(transport: SocketTransport, scope: trio.CancelScope) -> None:
    try:
        while await transport.receive_some():
            pass  # there is nothing to say on a stream of events
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()
