"""What clients may do to the process: leave, close half of a connection, come in too great a number."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import haclient, needs_command
from tests.support.daemon import Daemon, connected, daemon, eventually, reverse
from tests.support.process_figures import cpu_seconds
from tests.support.recorder import needs_curl, recording
from tests.support.sidecar import free_port
from tests.support.stage import Stage

pytestmark = needs_command

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"

LEAVES_WITHIN = 1.0
"""Seconds: promised from the client's end to that of its work upstream."""

BUSY = 0.5
"""Seconds that a machine with much else to do may add."""


@pytest.fixture(params=["TCP", "Unix"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each kind of door."""
    if request.param == "Unix":
        return f"unix:{tmp_path}/door.sock"
    return f"127.0.0.1:{free_port()}"


# --- clients that leave ---------------------------------------------------------------------------


class Waiting:
    """An origin that answers nothing, and knows when it was left."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.left_at = 0.0

    def __call__(self, number: int, connection: socket.socket, head: bytes) -> None:
        connection.settimeout(30)
        self.is_asked.set()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        self.left_at = time.perf_counter()


@needs_curl
@pytest.mark.parametrize("content", ["", "small", "long"])
def test_a_killed_client_ends_its_work(content: str, door: str, tmp_path: Path) -> None:
    waiting = Waiting()
    with recording(waiting) as origin, daemon(tmp_path, reverse(origin.url, door)) as process:
        with curl(door, content, tmp_path) as client:
            assert waiting.is_asked.wait(20)
            time.sleep(0.5)  # noqa: TID251  (it is being waited for, not just sent)
            assert not waiting.left_at
            client.kill()
            killed_at = time.perf_counter()
            client.wait()
        eventually(lambda: waiting.left_at)

        assert waiting.left_at - killed_at < LEAVES_WITHIN + BUSY
        assert "outcome=client_gone" in eventually(lambda: process.log.partition("access")[2])
        assert process.end() == 0


@contextlib.contextmanager
def curl(door: str, content: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """It waits for an answer, for a minute at the most."""
    program = shutil.which("curl")
    assert program is not None
    words = [program, "-q", "-sS", "-m", "60"]
    if content:
        file = folder / "content"
        file.write_bytes(b"x" * (100 if content == "small" else 3 << 20))
        words += ["--data-binary", f"@{file}"]
    if door.startswith("unix:"):
        words += ["--unix-socket", door.removeprefix("unix:"), "http://localhost/"]
    else:
        words.append(f"http://{door}/")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as client:
        try:
            yield client
        finally:
            client.kill()


def test_a_half_closed_client_is_answered(door: str, stage: Stage, tmp_path: Path) -> None:
    """Its server needs 3 s: far longer than it takes to find out that a client has left."""
    with (
        daemon(tmp_path, reverse(stage.places["URL"], door)) as process,
        connected(door) as client,
    ):
        client.sendall(GET % b"/think/3000")
        client.shutdown(socket.SHUT_WR)
        began_at = time.perf_counter()
        answer = client.recv(4096)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"some content")
        assert time.perf_counter() - began_at >= 2.9
        assert client.recv(1) == b""
        assert process.end() == 0


def test_a_half_closed_upload_is_answered(door: str, stage: Stage, tmp_path: Path) -> None:
    with (
        daemon(tmp_path, reverse(stage.places["URL"], door)) as process,
        connected(door) as client,
    ):
        head = b"POST /think/1500 HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
        client.sendall(head + b"x" * 200_000)
        client.shutdown(socket.SHUT_WR)

        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert process.end() == 0
    assert len(stage.sent()[0][-1][1]) == 200_000


# --- more clients than descriptors ----------------------------------------------------------------

DESCRIPTORS = 64
CROWD = 150

BEGUN = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nh"

OBSERVED = 2.0
"""Seconds."""

LOW = 0.2
"""Of a processor's time: a loop that spins takes all of it, ten tries a second next to nothing."""


def test_more_clients_than_descriptors(stage: Stage, tmp_path: Path) -> None:
    """Whoever finds no room waits in the kernel's queue; who is inside is served as ever.

    All of them have begun a request, so that nobody makes way.
    """
    door = f"127.0.0.1:{free_port()}"
    text = reverse(stage.places["URL"], door, more="[log]\naccess = false\n")
    text += 'body_timeout = "60s"\n'
    with (
        daemon(tmp_path, text, descriptors=DESCRIPTORS) as process,
        contextlib.ExitStack() as crowd,
    ):
        clients = [crowd.enter_context(begun(door)) for _ in range(CROWD)]
        eventually(lambda: is_paused(process))
        before = cpu_seconds(process.pid)
        time.sleep(OBSERVED)  # noqa: TID251  (that is what is measured)
        assert cpu_seconds(process.pid) - before < LOW * OBSERVED
        assert descriptors(process.pid) < DESCRIPTORS

        # The others sit on their connections, and nobody pays for it.
        is_answered(clients[0])
        assert is_paused(process)
        clients[0].close()

        # In turn: each that leaves makes room for one that waits.
        for client in clients[1:]:
            is_answered(client)
            client.close()
        assert process.log.count("\n") < 20, process.log[-2000:]
        assert " error " not in process.log
        assert process.end() == 0


@contextlib.contextmanager
def begun(door: str) -> Iterator[socket.socket]:
    """A connection, and a request on it that is waited for: its head, and half its content."""
    with connected(door) as client:
        client.sendall(BEGUN)
        yield client


def is_answered(client: socket.socket) -> None:
    client.sendall(b"i")
    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_full_door_takes_not_one_more(stage: Stage, tmp_path: Path) -> None:
    """Also where they all come at once, before any of them was served."""
    door = f"127.0.0.1:{free_port()}"
    text = reverse(stage.places["URL"], door) + "max_connections = 3\n"
    with daemon(tmp_path, text) as process, contextlib.ExitStack() as crowd:
        clients = [crowd.enter_context(begun(door)) for _ in range(20)]
        eventually(lambda: is_paused(process))
        assert listener_of(process)["connections"] == 3
        for client in clients:
            is_answered(client)
            client.close()
        assert process.end() == 0


def test_idle_clients_make_way(stage: Stage, tmp_path: Path) -> None:
    """More of them than descriptors; whoever asks something finds room at once."""
    door = f"127.0.0.1:{free_port()}"
    text = reverse(stage.places["URL"], door, more="[log]\naccess = false\n")
    with (
        daemon(tmp_path, text, descriptors=DESCRIPTORS) as process,
        contextlib.ExitStack() as crowd,
    ):
        for _ in range(CROWD):
            crowd.enter_context(connected(door))
        began_at = time.perf_counter()
        for _ in range(10):
            with begun(door) as client:
                is_answered(client)
        # The crowd passes in turns of 20 ms, once.
        assert time.perf_counter() - began_at < 5.0
        assert not is_paused(process)
        assert process.end() == 0


def listener_of(process: Daemon) -> dict[str, Any]:
    """What the daemon says of its only door."""
    ran = haclient(["status", "--json", "--admin", process.admin])
    assert ran.returncode == 0, ran.stderr
    (listener,) = json.loads(ran.stdout)["listeners"]
    assert isinstance(listener, dict)
    return listener


def is_paused(process: Daemon) -> bool:
    return bool(listener_of(process)["is_paused"])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
