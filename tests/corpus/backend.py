"""The server behind a proxy under test: it notes what it reads, and answers with an echo of it.

A request that it reads is answered with 200 and its own first line and length, in a field and as the
content. What it finds ambiguous is noted and ends the connection. A request for /attack is answered
with the raw bytes of the response case that is on.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

import trio

from tests.corpus.case import Asked, ResponseCase
from tests.corpus.reader import REQUEST_LINE, Ambiguous, Message, read_head, read_request

__all__ = ["PAUSE", "Backend"]

PAUSE = 0.03
"""Seconds after which the server says what it says later."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REFUSED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nX-From: server\r\nConnection: close\r\n\r\n"
)


def echo_of(message: Message) -> bytes:
    """What an answer says of its request."""
    method, target = message.first
    return b"%b %b %d" % (method, target, len(message.content))


@dataclass
class Backend:
    """A listening server and its notes.

    Attributes:
        read: whole requests, in order.
        ambiguous: what no proxy should have passed on.
        response: what is said to a request for /attack.
        pieces: how those bytes are cut.
    """

    listener: socket.socket = field(default_factory=lambda: _listening())
    read: list[Message] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    response: ResponseCase | None = None
    pieces: tuple[bytes, ...] = ()

    @property
    def port(self) -> int:
        """On 127.0.0.1."""
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def asked(self) -> list[Asked]:
        """What was read, to be compared."""
        return [
            Asked(one.first[0].decode("latin-1"), one.first[1].decode("latin-1"), one.content)
            for one in self.read
        ]

    def forget(self) -> None:
        """Another case begins."""
        self.read.clear()
        self.ambiguous.clear()

    async def serve(self) -> None:
        """Until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self.listener))
        await trio.serve_listeners(self._serve_one, [listener])

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        try:
            await self._converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        data = b""
        is_continued = False
        while True:
            try:
                message = read_request(data)
                if message is None and not is_continued and _expects(data):
                    await stream.send_all(CONTINUE)
                    is_continued = True
            except Ambiguous as exc:
                self.ambiguous.append(str(exc))
                await stream.send_all(REFUSED)
                return
            if message is None:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
                continue
            data, is_continued = data[message.size :], False
            if not await self._answer(stream, message):
                return

    async def _answer(self, stream: trio.SocketStream, message: Message) -> bool:
        """Whether the connection goes on."""
        self.read.append(message)
        if message.first[1].startswith(b"/attack") and self.response is not None:
            return await self._attack(stream, self.response)
        echo = echo_of(message)
        is_connect = message.first[0] == b"CONNECT"
        is_last = message.version == b"1.0" or b"close" in b",".join(message.values(b"connection"))
        lines = [
            b"HTTP/1.1 405 Method Not Allowed" if is_connect else b"HTTP/1.1 200 OK",
            b"Content-Length: %d" % len(echo),
            b"X-Echo: " + echo,
            b"Connection: close" if is_last else b"X-More: yes",
        ]
        content = b"" if message.first[0] == b"HEAD" else echo
        await stream.send_all(b"\r\n".join([*lines, b"", content]))
        return not is_last

    async def _attack(self, stream: trio.SocketStream, case: ResponseCase) -> bool:
        for piece in self.pieces:
            await stream.send_all(piece)
            if len(self.pieces) > 1:
                await trio.lowlevel.checkpoint()
        if case.then:
            await trio.sleep(PAUSE)
            await stream.send_all(case.then)
        if case.end == "reset":
            linger = struct.pack("ii", 1, 0)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return case.end == "open"


def _expects(data: bytes) -> bool:
    head = read_head(data, REQUEST_LINE)
    return head is not None and head.values(b"expect") != []


def _listening() -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    sock.setblocking(False)
    return sock
