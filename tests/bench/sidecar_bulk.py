"""A gibibyte up and a gibibyte down through the sidecar, with a peer that stalls: memory and content.

    python -m tests.bench.sidecar_bulk [--mebibytes 1024] [--stall 5]

Down, the client reads a little, stalls, and then reads the rest; up, the server does. Whoever sends
does so as fast as it is let. The content is counted blocks of noise, so that a block lost, doubled or
out of place changes its hash; it is sent counted and in chunks. Memory is the daemon's PSS (smaps_rollup),
watched every 50 ms, above what it had once it had served a first small request.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import random
import socket
import threading
from collections.abc import Iterable, Iterator
from time import perf_counter

import trio

from tests.bench.tables import print_table
from tests.support.process_figures import Peak, peak_memory
from tests.support.sidecar import Sidecar, sidecar

BLOCK = random.Random(7).randbytes((1 << 20) - 8)
EARLY_BYTES = 256 << 10
"""What is read before the stall."""

GROWTH_ALLOWED = 32 << 20


def content(mebibytes: int) -> Iterator[bytes]:
    """A mebibyte after another, each with its number in front."""
    for number in range(mebibytes):
        yield number.to_bytes(8) + BLOCK


def digest_of(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def read_slowly(source: http.client.HTTPResponse | Upload, stall: float) -> Iterator[bytes]:
    """A little, nothing for a while, then all that is left."""
    yield source.read(EARLY_BYTES)
    trio.run(trio.sleep, stall)
    while piece := source.read(1 << 20):
        yield piece


class Upload:
    """The content of a request, counted or chunked, from a server's side."""

    def __init__(self, sock: socket.socket) -> None:
        self._reader = sock.makefile("rb")
        self.line = self._reader.readline().decode("latin-1")
        fields = http.client.parse_headers(self._reader)
        self._is_chunked = fields.get("Transfer-Encoding") == "chunked"
        self._left = int(fields.get("Content-Length", 0))

    def read(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        if self._is_chunked and self._left == 0:
            self._left = int(self._reader.readline().partition(b";")[0], 16)
            if self._left == 0:
                self._reader.readline()
                self._is_chunked = False
        piece = self._reader.read(min(size, self._left))
        self._left -= len(piece)
        if self._is_chunked and self._left == 0:
            self._reader.readline()
        return piece

    def close(self) -> None:
        """The reader's end; the socket stays."""
        self._reader.close()


class Server:
    """Takes uploads and gives their hash; gives N mebibytes for GET /N, or for /chunked/N."""

    def __init__(self, stall: float) -> None:
        self.stall = stall
        # What is accepted inherits it: the sender's side of the stall begins after 64 KiB.
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """One connection for each request, until the listener is shut."""
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with sock:
                    self._answer(sock)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _answer(self, sock: socket.socket) -> None:
        with contextlib.closing(Upload(sock)) as upload:
            method, target, _ = upload.line.split(" ")
            if method == "PUT":
                answer = digest_of(read_slowly(upload, self.stall)).encode()
                sock.sendall(head(len(answer)) + answer)
                return
        mebibytes, is_chunked = int(target.rpartition("/")[2]), "chunked" in target
        sock.sendall(head(None if is_chunked else mebibytes << 20))
        for piece in content(mebibytes):
            sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            sock.sendall(b"0\r\n\r\n")


def head(length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"HTTP/1.1 200 OK\r\nConnection: close\r\n{framing}\r\n\r\n".encode()


@contextlib.contextmanager
def server(stall: float) -> Iterator[Server]:
    one = Server(stall)
    thread = threading.Thread(target=one.serve)
    thread.start()
    try:
        yield one
    finally:
        one.close()
        thread.join(10)


def down(door: Sidecar, mebibytes: int, stall: float, framing: str) -> str:
    """Downloads; returns the hash."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=120)
    with contextlib.closing(connection):
        connection.request("GET", f"/{framing}/{mebibytes}")
        return digest_of(read_slowly(connection.getresponse(), stall))


def up(door: Sidecar, mebibytes: int, stall: float, framing: str) -> str:
    """Uploads; returns the hash that the server made."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=120)
    fields = {"Content-Length": str(mebibytes << 20)} if framing == "counted" else {}
    with contextlib.closing(connection):
        connection.request("PUT", "/", content(mebibytes), fields, encode_chunked=not fields)
        return connection.getresponse().read().decode()


def run(mebibytes: int, stall: float) -> None:
    rows: list[list[str]] = []
    expected = digest_of(content(mebibytes))
    with server(stall) as origin:
        for name, move in (("down", down), ("up", up)):
            for framing in ("counted", "chunked"):
                with sidecar(origin.url) as door:
                    assert down(door, 1, 0, "counted") == digest_of(content(1))
                    started = perf_counter()
                    with peak_memory(door.pid) as peak:
                        got = move(door, mebibytes, stall, framing)
                    rows.append(
                        row(f"{name}, {framing}", peak, got == expected, perf_counter() - started)
                    )
    print_table(
        f"{mebibytes} MiB through the sidecar, the reader stalls for {stall:g} s",
        ["way", "memory before, MiB", "growth, MiB", "bytes exact", "seconds", "must reach"],
        rows,
    )


def row(way: str, peak: Peak, is_exact: bool, seconds: float) -> list[str]:
    exact = "yes" if is_exact else "NO"
    figures = [f"{peak.before / 2**20:.1f}", f"{peak.growth / 2**20:.1f}", exact, f"{seconds:.1f}"]
    return [way, *figures, f"< {GROWTH_ALLOWED >> 20} MiB, exact"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--stall", type=float, default=5)
    args = parser.parse_args()
    run(args.mebibytes, args.stall)


if __name__ == "__main__":
    main()
