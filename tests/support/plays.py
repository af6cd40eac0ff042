"""What the servers of a stage answer, by the first part of the path.

    /redirect/302 · /status/404 · /chunked · /short · /reset · /silence · ...

Whatever has no play of its own is answered with "some content".
"""

from __future__ import annotations

import contextlib
import re
import socket
import time

from tests.support.recorder import abort, continue_if_expected

__all__ = ["PORTS", "answer", "on_head"]

PORTS: dict[str, int] = {}
"""Of the plain and the TLS server, where redirects lead from one to the other."""

OK = (
    b"HTTP/1.1 200 OK\r\nX-Served-By: one\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n"
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAYS = {
    b"chunked": CHUNKED + b"5\r\nsome \r\n7;a=b\r\ncontent\r\n0\r\n\r\n",
    b"trailer": CHUNKED + b"4\r\nsome\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"204": b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"304": b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 5\r\n\r\n',
    b"range": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-11/12\r\n"
    b"Content-Length: 7\r\n\r\ncontent",
    b"hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK + b"some content",
    b"no-reason": b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    b"twice": b"HTTP/1.1 200 OK\r\nX-A: one\r\nx-a: Two\r\nX-B:\r\nContent-Length: 2\r\n\r\nok",
    b"latin": b"HTTP/1.1 200 \xc9tat\r\nX-A: \xe9\xff\r\nContent-Length: 2\r\n\r\nok",
    b"escape": b"HTTP/1.1 200 OK\r\nX-A: \x9b31mred\r\nContent-Length: 2\r\n\r\nok",
    b"mebibyte": b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"
    + b"0123456789abcdef" * 65536,
    b"loop": b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 4\r\n\r\nloop",
    b"to-404": b"HTTP/1.1 302 Found\r\nLocation: /status/404\r\nContent-Length: 0\r\n\r\n",
    b"to-ftp": b"HTTP/1.1 302 Found\r\nLocation: foo://h.test/\r\nContent-Length: 0\r\n\r\n",
    b"deep": b"HTTP/1.1 302 Found\r\nLocation: ../there?x=1\r\nContent-Length: 0\r\n\r\n",
    b"cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; HttpOnly\r\n"
    b"Set-Cookie: c=3; Expires=Fri, 01 Jan 2100 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok",
}
ENDS = {
    b"nothing": b"",
    b"garbage": b"This is no HTTP at all\r\n\r\n",
    b"until-close": b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nsome content",
    b"old": b"HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nsome content",
    b"short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
    b"short-chunked": CHUNKED + b"9\r\nshort",
    b"bad-chunk": CHUNKED + b"4\r\nsome\r\nzz\r\n",
    b"half-head": b"HTTP/1.1 200 OK\r\nX-A: b\r\n",
    b"two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
}  # fmt: skip
"""After these the connection ends."""


def answer(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    """By the first part of the path."""
    path = head.split(b" ")[1].partition(b"?")[0]
    parts = re.sub(rb"^http://[^/]*", b"", path).strip(b"/").split(b"/")
    if parts[0] in PLAYS:
        return PLAYS[parts[0]]
    if parts[0] in ENDS:
        connection.sendall(ENDS[parts[0]])
        return None
    match parts:
        case [b"redirect", status]:
            return _redirect(status, b"/there", b"Set-Cookie: seen=1\r\n")
        case [b"away"]:
            return _redirect(b"302", b"http://other.test:%d/there" % PORTS["plain"])
        case [b"to-tls"]:
            return _redirect(b"301", b"https://good.test:%d/there" % PORTS["tls"])
        case [b"to-plain"]:
            return _redirect(b"301", b"http://127.0.0.1:%d/there" % PORTS["plain"])
        case [b"status", status]:
            return b"HTTP/1.1 " + status + b" As Asked\r\nContent-Length: 2\r\n\r\nno"
        case [b"silence"]:
            connection.recv(1)  # until the client has left
            return None
        case [b"stall"]:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstall")
            connection.recv(1)
            return None
        case [b"drip", size, pause]:
            # So many pieces of 1000 bytes, each after a pause in milliseconds.
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (int(size) * 1000)
            connection.sendall(head)
            for _ in range(int(size)):
                time.sleep(int(pause) / 1000)  # noqa: TID251  (a thread of its own, in real time)
                connection.sendall(b"x" * 1000)
            return b""
        case [b"think", pause]:
            time.sleep(int(pause) / 1000)  # noqa: TID251
            return OK + b"some content"
        case [b"binary"]:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x7fE\0LF"
        case [b"endless-line"]:
            _flood(connection, b"HTTP/1.1 200 OK\r\nX-A: ", b"x" * 4096)
            return None
        case [b"endless-head"]:
            _flood(connection, b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 512)
            return None
        case [b"endless-interim"]:
            _flood(connection, b"", b"HTTP/1.1 103 Early Hints\r\nX-A: b\r\n\r\n" * 128)
            return None
        case [b"reset"]:
            abort(connection)
            return None
        case [b"reset-within"]:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nreset")
            # What was sent is read before the reset arrives, as it would be on a network.
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                connection.recv(1)
            abort(connection)
            return None
        case _:
            return OK + (b"" if head.startswith(b"HEAD ") else b"some content")


def _redirect(status: bytes, location: bytes, fields: bytes = b"") -> bytes:
    fields += b"Location: " + location + b"\r\nContent-Length: 3\r\n\r\n"
    return b"HTTP/1.1 " + status + b" Moved\r\n" + fields + b"red"


def _flood(connection: socket.socket, start: bytes, again: bytes) -> None:
    """Sends until the client has had enough."""
    connection.sendall(start)
    while True:
        connection.sendall(again)


def on_head(head: bytes) -> bytes:
    """What a request gets before its content."""
    if b" /early" in head:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly"
    if b" /too-large" in head:
        return b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch"
    return b"" if b" /mute" in head else continue_if_expected(head)
