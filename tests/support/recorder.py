"""A server on loopback that writes down what it is sent, to the byte, and curl to send it something.

    with recording() as recorder:
        curl(["-d", "a=1", recorder.url], cwd=tmp_path)
        recorder.requests[0].head

Threads and plain sockets, because curl is a process of its own and no clock is mocked. Every wait is
bounded by 5 seconds. With `tls` it speaks HTTPS, on a Unix socket where `listener` is one.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = [
    "CONTINUE",
    "OK",
    "Recorded",
    "Recorder",
    "abort",
    "continue_if_expected",
    "curl",
    "needs_curl",
    "recording",
    "unchunked",
]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

TLS_HANDSHAKE = b"\x16\x03"
"""A plain server takes it for a bad request, and says so (RFC 8446, section 5.1)."""

CURL = shutil.which("curl")

needs_curl = pytest.mark.skipif(CURL is None, reason="compares with curl, which is not installed")

_LENGTH = re.compile(rb"(?mi)^content-length: *([0-9]+)")
_CHUNKED = re.compile(rb"(?mi)^transfer-encoding: *chunked")
_EXPECT = re.compile(rb"(?mi)^expect: *100-continue")


def continue_if_expected(head: bytes) -> bytes:
    """The answer to "Expect: 100-continue"."""
    return CONTINUE if _EXPECT.search(head) else b""


@dataclass(frozen=True)
class Recorded:
    """One request as it came in; the head with its last empty line, the content as it was framed."""

    head: bytes
    body: bytes


Answer = Callable[[int, socket.socket, bytes], bytes | None]
"""Gets the request's number, from 1, the connection, and the head; None closes the connection."""

OnHead = Callable[[bytes], bytes]
"""Gets a request's head before its content is read; what it returns is sent: CONTINUE, nothing, or a
final response, after which no content is read."""


@dataclass
class Recorder:
    """What came in, and where to send it."""

    address: tuple[str, int] | str
    requests: list[Recorded] = field(default_factory=list)

    @property
    def port(self) -> int:
        """0 on a Unix socket."""
        return 0 if isinstance(self.address, str) else self.address[1]

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def recording(
    answer: bytes | Answer = OK,
    *,
    listener: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    on_head: OnHead = continue_if_expected,
) -> Iterator[Recorder]:
    """Serves until the block ends; `answer` is the same for every request, or made for each."""
    make = (lambda number, connection, head: answer) if isinstance(answer, bytes) else answer
    with listener or socket.create_server(("127.0.0.1", 0)) as listener:
        recorder = Recorder(listener.getsockname())
        is_over = threading.Event()
        serving = _Serving(recorder, make, tls, on_head)
        thread = threading.Thread(target=_accept, args=(listener, serving, is_over))
        thread.start()
        try:
            yield recorder
        finally:
            is_over.set()
            # Wakes the accept; a closed listener would not.
            with socket.socket(listener.family) as waker:
                waker.connect(recorder.address)
            thread.join(10)


def _accept(listener: socket.socket, serving: _Serving, is_over: threading.Event) -> None:
    """A thread for each connection: a client that is redirected may keep its first one."""
    threads: list[threading.Thread] = []
    while True:
        connection, _ = listener.accept()
        if is_over.is_set():
            connection.close()
            break
        threads.append(threading.Thread(target=serving.converse, args=(connection,)))
        threads[-1].start()
    for thread in threads:
        thread.join(10)


@dataclass(frozen=True)
class _Serving:
    """What is done with each connection."""

    recorder: Recorder
    answer: Answer
    tls: ssl.SSLContext | None
    on_head: OnHead

    def converse(self, connection: socket.socket) -> None:
        """One connection, from its first byte to its end."""
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            if connection.family == socket.AF_INET:
                # Else a small answer behind TLS's session tickets waits 40 ms for their ACK.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is None:
                self.serve(connection)
                return
            with self.tls.wrap_socket(connection, server_side=True) as encrypted:
                self.serve(encrypted)

    def serve(self, connection: socket.socket) -> None:
        """One request after another."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                received = connection.recv(65536)
                if not received:
                    return
                data += received
                if data.startswith(TLS_HANDSHAKE):
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                    return
            head, _, data = data.partition(b"\r\n\r\n")
            verdict = self.on_head(head)
            if verdict not in {b"", CONTINUE}:
                self.recorder.requests.append(Recorded(head + b"\r\n\r\n", b""))
                connection.sendall(verdict)
                connection.recv(65536)  # until the client has left
                return
            connection.sendall(verdict)
            body, data = _content(connection, head, data)
            self.recorder.requests.append(Recorded(head + b"\r\n\r\n", body))
            response = self.answer(len(self.recorder.requests), connection, head)
            if response is None:
                return
            connection.sendall(response)


def _content(connection: socket.socket, head: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Reads a request's content as it is framed; returns it and what came behind it."""
    length = int(found[1]) if (found := _LENGTH.search(head)) else 0
    is_chunked = _CHUNKED.search(head) is not None
    while not data.endswith(b"0\r\n\r\n") if is_chunked else len(data) < length:
        received = connection.recv(65536)
        if not received:
            break
        data += received
    size = len(data) if is_chunked else length
    return data[:size], data[size:]


def unchunked(body: bytes) -> bytes:
    """The content of a chunked body."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return content


def abort(connection: socket.socket) -> None:
    """Closes with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def curl(
    arguments: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    stdin: bytes = b"",
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs curl without its .curlrc and without this process's proxies."""
    assert CURL is not None
    return subprocess.run(
        [CURL, "-q", "-sS", "-g", "-m", "5", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        check=False,
        timeout=10,
        env={"HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **(environment or {})},
    )
