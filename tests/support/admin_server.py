"""A stand-in for the daemon's admin endpoint: what it is to answer is given, what it got is kept.

    with admin_server(f"unix:{tmp_path}/admin.sock") as server:
        server.answers["/status"] = reply(200, b"{}")
        haclient(["status", "--admin", server.address])

An answer is a row of pieces: bytes are sent, a number is a pause in seconds.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

__all__ = ["AdminServer", "admin_server", "reply"]

Piece = bytes | float


def reply(
    status: int, content: bytes, media_type: str = "application/json", *, length: int | None = None
) -> list[Piece]:
    """A whole answer."""
    size = len(content) if length is None else length
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {media_type}\r\nContent-Length: {size}\r\n\r\n"
    return [head.encode() + content]


class AdminServer:
    """One answer a connection, then it is closed."""

    def __init__(self, listening: socket.socket, address: str) -> None:
        self.address = address
        self.answers: dict[str, Sequence[Piece]] = {}
        """By path."""
        self.requests: list[bytes] = []
        """Whole heads."""
        self._listening = listening
        self._ended = threading.Event()

    def serve(self) -> None:
        """Until it is stopped."""
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(10)
                self._answer(connection)

    def stop(self) -> None:
        """No more answers, and no pause lasts."""
        self._ended.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = connection.recv(4096)
            if not piece:
                return
            head += piece
        self.requests.append(head)
        path = head.split(b" ", 2)[1].decode()
        for part in self.answers.get(path, reply(404, b"", "text/plain")):
            if isinstance(part, bytes):
                connection.sendall(part)
            else:
                self._ended.wait(part)


@contextmanager
def admin_server(address: str = "127.0.0.1:0") -> Iterator[AdminServer]:
    """Serves at `address`, "unix:/path" or "127.0.0.1:PORT", for as long as the block lasts."""
    if address.startswith("unix:"):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(address.removeprefix("unix:"))
        listening.listen()
    else:
        host, _, port = address.rpartition(":")
        listening = socket.create_server((host, int(port)))
        address = f"{host}:{listening.getsockname()[1]}"
    server = AdminServer(listening, address)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)
        listening.close()
