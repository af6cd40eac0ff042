"""The demonstration's client: it knows one address, tries once, and takes what it is told.

What is shown must not depend on haclient's own code at this end, so it is what a program would write
that has never heard of failover: a connection for each request, HTTP/1.1, no time-out, no second try.
"""

from __future__ import annotations

import msgspec
import trio

__all__ = ["NoReply", "Reply", "send"]

LOCALHOST = "127.0.0.1"


class NoReply(Exception):
    """The connection ended, and no whole answer had come."""


class Reply(msgspec.Struct, frozen=True):
    """An answer, whole."""

    status: int
    content_type: str
    content: bytes


async def send(port: int, method: str, path: str, request_id: str, content: bytes = b"") -> Reply:
    """Sends one request and returns when the connection has ended behind its answer.

    Raises:
        NoReply: that never came, or not whole.
    """
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {LOCALHOST}:{port}\r\nConnection: close\r\n"
        f"X-Request-Id: {request_id}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    try:
        async with await trio.open_tcp_stream(LOCALHOST, port) as stream:
            await stream.send_all(head.encode() + content)
            data = b"".join([piece async for piece in stream])
    except (OSError, trio.BrokenResourceError) as error:
        raise NoReply(f"the connection broke: {error}") from None
    return _read(data)


def _read(data: bytes) -> Reply:
    head, _, content = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    parts = [line.lower().partition(":") for line in lines]
    fields = {name: value.strip() for name, _, value in parts}
    if fields.get("content-length") != f"{len(content)}":
        raise NoReply(f"the connection ended after {len(data)} bytes, and the answer was not whole")
    return Reply(int(status_line.split()[1]), fields.get("content-type", ""), content)
