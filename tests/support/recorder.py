"""A server on loopback that writes down what it is sent, to the byte, and curl to send it something.

    with recording() as recorder:
        curl(["-d", "a=1", recorder.url], cwd=tmp_path)
        recorder.requests[0].head

Threads and plain sockets, because curl is a process of its own and no clock is mocked. Every wait is
bounded by 5 seconds.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

__all__ = ["OK", "Recorded", "Recorder", "abort", "curl", "needs_curl", "recording", "unchunked"]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

CURL = shutil.which("curl")

needs_curl = pytest.mark.skipif(CURL is None, reason="compares with curl, which is not installed")

_LENGTH = re.compile(rb"(?mi)^content-length: *([0-9]+)")
_CHUNKED = re.compile(rb"(?mi)^transfer-encoding: *chunked")
_EXPECT = re.compile(rb"(?mi)^expect: *100-continue")


@dataclass(frozen=True)
class Recorded:
    """One request as it came in; the head with its last empty line, the content as it was framed."""

    head: bytes
    body: bytes


Answer = Callable[[int, socket.socket, bytes], bytes | None]
"""Gets the request's number, from 1, the connection, and the head; None closes the connection."""


@dataclass
class Recorder:
    """What came in, and where to send it."""

    port: int
    requests: list[Recorded] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def recording(answer: bytes | Answer = OK) -> Iterator[Recorder]:
    """Serves until the block ends; `answer` is the same for every request, or made for each."""
    make = (lambda number, connection, head: answer) if isinstance(answer, bytes) else answer
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder = Recorder(listener.getsockname()[1])
        is_over = threading.Event()
        thread = threading.Thread(target=_accept, args=(listener, recorder, make, is_over))
        thread.start()
        try:
            yield recorder
        finally:
            is_over.set()
            # Wakes the accept; a closed listener would not.
            socket.create_connection(("127.0.0.1", recorder.port), 5).close()
            thread.join(10)


def _accept(
    listener: socket.socket, recorder: Recorder, answer: Answer, is_over: threading.Event
) -> None:
    """A thread for each connection: a client that is redirected may keep its first one."""
    threads: list[threading.Thread] = []
    while True:
        connection, _ = listener.accept()
        if is_over.is_set():
            connection.close()
            break
        threads.append(threading.Thread(target=_converse, args=(connection, recorder, answer)))
        threads[-1].start()
    for thread in threads:
        thread.join(10)


def _converse(connection: socket.socket, recorder: Recorder, answer: Answer) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(5)
        _serve(connection, recorder, answer)


def _serve(connection: socket.socket, recorder: Recorder, answer: Answer) -> None:
    """One connection, one request after another."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            received = connection.recv(65536)
            if not received:
                return
            data += received
        head, _, data = data.partition(b"\r\n\r\n")
        if _EXPECT.search(head):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = int(found[1]) if (found := _LENGTH.search(head)) else 0
        is_chunked = _CHUNKED.search(head) is not None
        while not data.endswith(b"0\r\n\r\n") if is_chunked else len(data) < length:
            received = connection.recv(65536)
            if not received:
                break
            data += received
        size = len(data) if is_chunked else length
        recorder.requests.append(Recorded(head + b"\r\n\r\n", data[:size]))
        data = data[size:]
        response = answer(len(recorder.requests), connection, head)
        if response is None:
            return
        connection.sendall(response)


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
