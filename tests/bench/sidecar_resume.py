"""A download whose server is blackholed half-way: does the other one finish it, to the byte?

    python -m tests.bench.sidecar_resume [--megabytes 50] [--runs 5]

Two servers have the same noise under the same strong ETag and honour ranges. The first one sends a part,
then its socket drops everything that arrives (haclient.net.blackhole) and it says nothing more. The client
hashes what it gets. The longest silence is what the client saw of it. Without an ETag, for comparison,
the transfer must break, not end.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import http.client
import random
import re
import socket
import struct
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter

from haclient.net.blackhole import blackhole
from tests.bench.tables import median, print_table
from tests.support.sidecar import Sidecar, sidecar

ETAG = '"7f3c"'
PIECE = 65536
SILENCE_ALLOWED = 4.0
"""Seconds: the window."""


HEAD = (
    *("run", "bytes", "identical", "error", "sent by the first", "by the second"),
    *("the second was asked for", "longest silence, s", "seconds"),
)


@dataclass
class Server:
    """Serves one content; dies once it has sent `dies_after` bytes of it, if that is a number."""

    content: bytes
    etag: str
    dies_after: int | None = None
    asked: list[str] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._is_over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """A thread for each connection, until `close`."""
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._converse, args=(sock,)))
                self._threads[-1].start()

    def close(self) -> None:
        self._is_over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _converse(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.settimeout(30)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                if not (data := sock.recv(65536)):
                    return
                head += data
            self._answer(sock, head.decode("latin-1"))

    def _answer(self, sock: socket.socket, head: str) -> None:
        found = re.search(r"(?mi)^range: *bytes=([0-9]+)-", head)
        first, size = int(found[1]) if found else 0, len(self.content)
        self.asked.append(f"bytes={first}-" if found else "whole")
        lines = [f"HTTP/1.1 {'206 Partial Content' if found else '200 OK'}", "Connection: close"]
        lines += [f"Content-Length: {size - first}", "Accept-Ranges: bytes"]
        lines += [f"ETag: {self.etag}"] * bool(self.etag)
        lines += [f"Content-Range: bytes {first}-{size - 1}/{size}"] * bool(found)
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        for start in range(first, size, PIECE):
            if self.dies_after is not None and start >= self.dies_after:
                self._die(sock)
                return
            sock.sendall(self.content[start : start + PIECE])
            self.sent += min(PIECE, size - start)

    def _die(self, sock: socket.socket) -> None:
        """Falls silent. What is not acknowledged yet would be sent again and again, and be heard."""
        while struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]:
            self._is_over.wait(0.01)
        blackhole(sock)
        blackhole(self._listener)
        self._is_over.wait(30)


@dataclass
class Download:
    """What the client got."""

    size: int = 0
    digest: str = ""
    error: str = ""
    seconds: float = 0.0
    silence: float = 0.0


def download(door: Sidecar) -> Download:
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    got, digest, started = Download(), hashlib.sha256(), perf_counter()
    with contextlib.closing(connection):
        connection.request("GET", "/file")
        moved = perf_counter()
        try:
            response = connection.getresponse()
            while piece := response.read1(PIECE):
                got.size += len(piece)
                digest.update(piece)
                got.silence, moved = max(got.silence, perf_counter() - moved), perf_counter()
            got.error = (
                "broken off" if response.length else ""
            )  # it counts down; read1 never raises
        except (http.client.HTTPException, OSError) as error:
            got.error = type(error).__name__
    got.digest, got.seconds = digest.hexdigest(), perf_counter() - started
    return got


@contextlib.contextmanager
def servers(content: bytes, etag: str) -> Iterator[tuple[Server, Server]]:
    """The one that dies, and the one that is asked next."""
    pair = (Server(content, etag, dies_after=len(content) // 2), Server(content, etag))
    threads = [threading.Thread(target=one.serve) for one in pair]
    for thread in threads:
        thread.start()
    try:
        yield pair
    finally:
        for one in pair:
            one.close()
        for thread in threads:
            thread.join(10)


def run(megabytes: int, runs: int) -> None:
    content = random.Random(7).randbytes(megabytes * 1_000_000)
    expected = hashlib.sha256(content).hexdigest()
    for etag in (ETAG, ""):
        rows = []
        for number in range(runs if etag else 1):
            with servers(content, etag) as (dies, lives):
                with sidecar(dies.url, lives.url, target={"order": "listed"}) as door:
                    got = download(door)
                rows.append(row(number + 1, got, got.digest == expected, dies, lives))
        print_table(
            f"{megabytes} MB, blackholed half-way, {'strong ETag' if etag else 'no ETag'}",
            HEAD,
            rows,
        )
        silences = [float(one[7]) for one in rows]
        print(
            f"\nMedian of the longest silences: {median(silences):.2f} s (<= {SILENCE_ALLOWED:g})"
        )


def row(number: int, got: Download, is_same: bool, dies: Server, lives: Server) -> list[str]:
    said = [str(number), str(got.size), "yes" if is_same else "no", got.error or "none"]
    said += [str(dies.sent), str(lives.sent), ", ".join(lives.asked) or "nothing"]
    return [*said, f"{got.silence:.2f}", f"{got.seconds:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    run(args.megabytes, args.runs)


if __name__ == "__main__":
    main()
