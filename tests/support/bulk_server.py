"""An HTTP server that is cheap on purpose, so that what stands before it is what is slow; and its tools.

    with bulk_server() as url:
        urlopen(f"{url}/1048576").read()        # a mebibyte of noise

GET /SIZE is answered with so many bytes (sendfile out of memory); content that is sent is thrown away by the kernel
(MSG_TRUNC). It is a process, so that its work is nobody else's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import socket
import threading
from collections.abc import Iterator

__all__ = ["bulk_server", "give", "memory_file", "take"]

LENGTH = re.compile(rb"content-length: ([0-9]+)", re.IGNORECASE)


def give(sock: socket.socket, size: int, source: int) -> None:
    """Sends `size` bytes out of a file in memory, as often as it takes."""
    length = os.fstat(source).st_size
    while size:
        size -= os.sendfile(sock.fileno(), source, 0, min(size, length))


def take(sock: socket.socket, size: int) -> None:
    """Receives as many; the kernel throws them away."""
    buffer = bytearray(1 << 20)  # which nobody writes to
    while size:
        got = sock.recv_into(buffer, min(size, len(buffer)), socket.MSG_TRUNC)
        assert got, f"{size} bytes are missing"
        size -= got


def memory_file() -> int:
    """16 MiB of noise."""
    descriptor = os.memfd_create("noise")
    os.write(descriptor, os.urandom(1 << 20) * 16)
    return descriptor


@contextlib.contextmanager
def bulk_server() -> Iterator[str]:
    """Serves until the block ends; its URL, without a path."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        process = multiprocessing.Process(target=_serve, args=(listener,), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.kill()
            process.join()


def _serve(listener: socket.socket) -> None:
    source = memory_file()
    while True:
        sock, _ = listener.accept()
        # The head leaves at once, and the content does not wait for its acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve_one, args=(sock, source), daemon=True).start()


def _serve_one(sock: socket.socket, source: int) -> None:
    data = b""
    with sock, contextlib.suppress(ConnectionError):
        while more := sock.recv(65536):
            data += more
            head, end, content = data.partition(b"\r\n\r\n")
            if not end:
                continue
            if found := LENGTH.search(head):
                take(sock, int(found[1]) - len(content))
            size = int(head.split()[1][1:])
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            give(sock, size, source)
            data = b""
