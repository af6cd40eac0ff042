"""TCP mode through the daemon, on this kernel's sockets: pressure back, ends both ways, keep-alive while it is owed.

The simulated network shows the same to the millisecond (tests/proxy/test_tcp.py). What it cannot show is that the
kernel does as it does.
"""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import needs_command
from tests.support.daemon import daemon, eventually, reverse
from tests.support.kernel_sockets import Timer, rows
from tests.support.process_figures import pss_bytes
from tests.support.sidecar import free_port

pytestmark = needs_command

PATIENCE = 20.0

SMALL = 64 << 10
"""Buffers of the two ends: what stays on the way is then in the daemon and in its sockets."""

STALLED_AFTER = 0.5
"""Seconds in which not a byte more was taken: a few round trips of loopback are microseconds."""

ON_THE_WAY = 64 << 20
"""More than the kernel keeps for a tunnel: at the most tcp_rmem's and tcp_wmem's third figures, 6 to 32 MiB and 4,
of each of two connections."""

KEPT = 8 << 20
"""Bytes that the daemon may grow by, whatever is on the way: pipes and sockets are the kernel's."""


TCP = ("tcp", 'mode = "tcp"\n')
HTTP = ("http", "")


@contextmanager
def place(
    folder: Path, scheme: str, keys: str
) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """A client that is connected to the daemon, the server's listener, and the daemon's process id."""
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        for sock in (listener, client):
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        with daemon(folder, reverse(url, f"127.0.0.1:{port}") + keys) as process:
            client.connect(("127.0.0.1", port))
            yield client, listener, process.pid


@contextmanager
def tunnel(folder: Path) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """A client and its server, after a question and an answer, and the daemon's process id."""
    with place(folder, *TCP) as (client, listener, pid):
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE)
            pass_on(client, server, b"ping")
            pass_on(server, client, b"pong")
            yield client, server, pid


def pass_on(sender: socket.socket, receiver: socket.socket, data: bytes) -> None:
    sender.sendall(data)
    assert receiver.recv(len(data), socket.MSG_WAITALL) == data


def fill(sender: socket.socket) -> bytes:
    """Sends until nothing more is taken; gives all that was."""
    sent = bytearray()
    sender.settimeout(STALLED_AFTER)
    try:
        while len(sent) < ON_THE_WAY:
            piece = len(sent).to_bytes(8) * (SMALL // 8)
            sent += piece[: sender.send(piece)]
    except TimeoutError:
        sender.settimeout(PATIENCE)
        return bytes(sent)
    raise AssertionError(f"{ON_THE_WAY} bytes were taken that nobody reads")


def read_to_the_end(receiver: socket.socket) -> bytes:
    received = bytearray()
    while data := receiver.recv(1 << 20):
        received += data
    return bytes(received)


@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
def test_who_does_not_read_slows_the_other_one_down(is_up: bool, tmp_path: Path) -> None:
    with tunnel(tmp_path) as (client, server, pid):
        sender, receiver = (client, server) if is_up else (server, client)
        before = pss_bytes(pid)
        sent = fill(sender)
        assert pss_bytes(pid) - before < KEPT
        pass_on(receiver, sender, b"the other direction does not stand still")
        sender.shutdown(socket.SHUT_WR)
        received = read_to_the_end(receiver)
        assert len(received) == len(sent)
        assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


@pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])
def test_who_has_ended_may_go_on_listening(is_client: bool, tmp_path: Path) -> None:
    with tunnel(tmp_path) as (client, server, _):
        first, last = (client, server) if is_client else (server, client)
        first.sendall(b"the last of mine")
        first.shutdown(socket.SHUT_WR)
        assert read_to_the_end(last) == b"the last of mine"
        much = bytes(range(256)) * (4 << 10)
        thread = threading.Thread(target=end_with, args=(last, much))
        thread.start()
        assert read_to_the_end(first) == much
        thread.join(PATIENCE)


def end_with(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


# --- keep-alive -----------------------------------------------------------------------------------

GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

QUIET = 1.5
"""Seconds: longer than the silence after which it is switched on."""


def timer(server: socket.socket) -> Timer:
    """What the kernel is going to do next at the daemon's end of this connection."""
    [row] = [row for row in rows(server.getsockname()) if row.local == server.getpeername()]
    return row.timer


@pytest.mark.parametrize(
    ("how", "question", "answer"),
    [(TCP, b"ping", b"pong"), (HTTP, GET, OK)],
    ids=["tcp", "http"],
)
def test_keep_alive_is_on_only_while_an_answer_is_owed(
    how: tuple[str, str], question: bytes, answer: bytes, tmp_path: Path
) -> None:
    with place(tmp_path, *how) as (client, listener, _):
        client.sendall(question)
        server, _ = listener.accept()
        with server:
            server.settimeout(PATIENCE)
            owe_and_pay(client, server, question, answer)
            client.sendall(question)
            owe_and_pay(client, server, question, answer)


def owe_and_pay(
    client: socket.socket, server: socket.socket, question: bytes, answer: bytes
) -> None:
    assert server.recv(4096).startswith(question[:4])
    # It is not touched before a second of silence: most answers come sooner.
    eventually(lambda: timer(server) is Timer.KEEP_ALIVE)
    server.sendall(answer)
    assert client.recv(4096).endswith(answer[-2:])
    eventually(lambda: timer(server) is Timer.NONE, within=2.0)
    time.sleep(QUIET)  # noqa: TID251  (that nothing comes of it is to be seen)
    assert timer(server) is Timer.NONE
