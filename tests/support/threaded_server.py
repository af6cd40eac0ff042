"""A server in a thread that takes one connection after another; what it does with each, a test says.

class Refuses(ThreadedServer):
    def answer(self, connection: socket.socket) -> None: ...

with serving(Refuses(), Refuses()) as (one, other): ...
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

__all__ = ["ThreadedServer", "serving"]


class ThreadedServer:
    """On a port of its own; a connection that breaks ends nothing else."""

    ENDS_WITHIN = 10.0
    """Seconds that the connection at hand may take once the test is over."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def answer(self, connection: socket.socket) -> None:
        """Everything that is done with one connection; it is closed afterwards."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(self.ENDS_WITHIN)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(10)
                    self.answer(connection)


Server = TypeVar("Server", bound=ThreadedServer)


@contextmanager
def serving(*servers: Server) -> Iterator[tuple[Server, ...]]:
    """All of them, until the block ends."""
    for one in servers:
        one.start()
    try:
        yield servers
    finally:
        for one in servers:
            one.end()
