"""One server of the demonstration: a process of its own, so that `kill -9` is a real one.

    python -m haclient.ops.demo_origin ADDRESS PORT

It answers GET and POST of /orders/N over HTTP/1.1, on a thread for each connection, from nothing but
the standard library: what is shown must not depend on haclient's own code at the other end. A query
`?think=1.5&at=127.0.0.2` makes the server at that address (several may be named) think so long before it answers.

Its life is in its parent's hands. Orders come as lines on stdin, answers and reports go as lines to
stdout; when stdin ends, however the parent died, it ends.

    in   blackhole       lose all that arrives, on the listening socket and on every connection
         heal            arrive again
    out  ready           it listens
         ran POST 17     a request came in whole and is being executed; written before the answer, so
                         that it is in the pipe even if this process is killed the next moment
         done            the order was carried out
         failed WHY      it could not be

The kernel's filter loses what arrives. A machine that is cut off says nothing either, so answers
are held back until the blackhole is healed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from haclient.net.blackhole import blackhole, heal

__all__ = ["Origin", "main"]

STDOUT = 1


def report(line: str) -> None:
    """One line in one write: lines of different threads do not mix (pipe(7), PIPE_BUF)."""
    os.write(STDOUT, f"{line}\n".encode())


class Origin(ThreadingHTTPServer):
    """A server that can be cut off from the world and joined to it again."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.is_reachable = threading.Event()
        self.is_reachable.set()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((address, port), Exchange)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accepts a connection; one that came just before the blackhole is lost in it too."""
        connection, peer = super().get_request()
        with self._lock:
            self._connections.add(connection)
            if not self.is_reachable.is_set():
                blackhole(connection)
        return connection, peer

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Closes a connection."""
        assert isinstance(request, socket.socket), "a pair is for datagrams"
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of the spectator's business."""

    def cut_off(self) -> None:
        """Loses all that arrives, and says nothing any more.

        Raises:
            OSError: the system does not allow it.
        """
        with self._lock:
            self.is_reachable.clear()
            for each in (self.socket, *self._connections):
                blackhole(each)

    def join(self) -> None:
        """Undoes `cut_off`."""
        with self._lock:
            for each in (self.socket, *self._connections):
                heal(each)
            self.is_reachable.set()


class Exchange(BaseHTTPRequestHandler):
    """Executes a request, perhaps slowly, and answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and content in one segment

    @property
    def origin(self) -> Origin:
        """The server, by its own type."""
        assert isinstance(self.server, Origin)
        return self.server

    def do_GET(self) -> None:
        """Reads an order."""
        self._execute()

    def do_POST(self) -> None:
        """Places an order."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self._execute()

    def _execute(self) -> None:
        url = urlsplit(self.path)
        number = url.path.rpartition("/")[2]
        report(f"ran {self.command} {number}")
        query = parse_qs(url.query)
        if self.origin.address in query.get("at", ()):
            threading.Event().wait(float(query["think"][0]))
        self.origin.is_reachable.wait()
        content = f'{{"order": "{number}", "served_by": "{self.origin.address}"}}\n'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the inherited name)
        """Nothing: the parent tells the story."""


def obey(origin: Origin, order: str) -> None:
    """Carries out one line of stdin."""
    orders = {"blackhole": origin.cut_off, "heal": origin.join}
    try:
        orders[order]()
    except (KeyError, OSError) as error:
        report(f"failed {error}")
    else:
        report("done")


def main(argv: list[str]) -> int:
    """Serves until stdin ends."""
    # Ctrl-C reaches the whole process group; whoever reads stdout decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        origin = Origin(argv[0], int(argv[1]))
    except OSError as error:
        report(f"failed {error.strerror or error}")
        return 1
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    report("ready")
    for line in sys.stdin:
        obey(origin, line.strip())
    return 0


if __name__ == "__main__":
    # Threads that still think must not hold the process.
    os._exit(main(sys.argv[1:]))
