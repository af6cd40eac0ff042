"""A stage for a program that speaks HTTP: servers on loopback, and what came in at any of them.

    with open_stage(tmp_path) as stage:
        subprocess.run(["curl", *stage.words_of("-L -d x URL/redirect/307")])
        stage.sent()

A command line names the servers by words that it cannot have otherwise:

    URL, HOST, PORT     a plain server
    TLS, TLSPORT        one with a certificate for good.test and 127.0.0.1; CA: whose it is
    SOCKET              one on a Unix socket
    PROXY, PROXYHOST    a forward proxy; every tunnel leads to the TLS server
    CLOSED              an address where nobody listens
"""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.certificates import server_context, write_ca
from tests.support.plays import PORTS, answer, on_head
from tests.support.recorder import Recorded, Recorder, recording, unchunked

__all__ = ["Stage", "closed_port", "open_stage"]


@dataclass(frozen=True)
class Stage:
    """The servers, and where they are."""

    doors: tuple[Recorder, ...]
    """Plain, TLS, Unix socket, proxy."""
    places: dict[str, str]

    def sent(self) -> list[list[tuple[bytes, bytes]]]:
        """Head and content of the requests at each door, since the last time."""
        found = [[(one.head, _content(one)) for one in door.requests] for door in self.doors]
        for door in self.doors:
            door.requests.clear()
        return found

    def words_of(self, row: str) -> list[str]:
        """The words of a command line, with the places of this stage in them."""
        names = sorted(self.places, key=len, reverse=True)
        pattern = r"\b(" + "|".join(names) + r")\b"
        return shlex.split(re.sub(pattern, lambda found: self.places[found[1]], row))


def _content(request: Recorded) -> bytes:
    is_chunked = b"\ntransfer-encoding: chunked" in request.head.lower()
    return unchunked(request.body) if is_chunked else request.body


@contextlib.contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Serves until the block ends; the socket and the authority's file are in `folder`."""
    authority = trustme.CA()
    tls = server_context(authority, "good.test", "127.0.0.1")
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(folder / "socket"))
    local.listen()
    with (
        recording(answer, on_head=on_head) as plain,
        recording(answer, on_head=on_head, tls=tls) as encrypted,
        recording(answer, listener=local) as unix,
        recording(_answer_as_proxy) as proxy,
        closed_port() as closed,
    ):
        PORTS.update(plain=plain.port, tls=encrypted.port)
        places = {
            "URL": plain.url,
            "HOST": f"127.0.0.1:{plain.port}",
            "PORT": str(plain.port),
            "TLS": f"https://127.0.0.1:{encrypted.port}",
            "TLSPORT": str(encrypted.port),
            "CA": write_ca(authority, folder / "ca.pem"),
            "SOCKET": str(folder / "socket"),
            "PROXY": proxy.url,
            "PROXYHOST": f"127.0.0.1:{proxy.port}",
            "CLOSED": f"127.0.0.1:{closed}",
        }
        yield Stage((plain, encrypted, unix, proxy), places)


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that is taken, and where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def _answer_as_proxy(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    """A forward proxy that leads every tunnel to our own server, and answers the rest itself."""
    if not head.startswith(b"CONNECT "):
        return answer(number, connection, head)
    if b"forbidden" in head.partition(b"\r\n")[0]:
        return b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
    with socket.create_connection(("127.0.0.1", PORTS["tls"]), 5) as onward:
        back = threading.Thread(target=_pump, args=(onward, connection))
        back.start()
        _pump(connection, onward)
        back.join(10)
    return None


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
