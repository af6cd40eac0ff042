"""How the daemon ends, and begins again: in good order, in haste, killed; and what it tells systemd."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import haclient, needs_command
from tests.support.daemon import Daemon, connected, daemon, eventually, reverse, write_file
from tests.support.recorder import Recorder, recording
from tests.support.sidecar import free_port
from tests.support.stage import Stage

pytestmark = needs_command

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

SLACK = 3.0
"""Seconds that a busy machine may take for what is due at once."""


@pytest.fixture
def door() -> str:
    return f"127.0.0.1:{free_port()}"


def echo(number: int, connection: socket.socket, head: bytes) -> bytes | None:
    """A tunnel to /echo, silence at /silence, and a short answer to everything else."""
    if b" /silence " in head:
        connection.settimeout(60)
        connection.recv(1)
        return None
    if b" /echo " not in head:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    connection.sendall(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    connection.settimeout(60)
    while data := connection.recv(4096):
        connection.sendall(data)
    return None


@pytest.fixture
def origin() -> Iterator[Recorder]:
    with recording(echo) as recorder:
        yield recorder


def asked(recorder: Recorder, path: bytes) -> bool:
    """Whether a request for it has come in."""
    return any(b" %b " % path in request.head for request in recorder.requests)


def begin_to_end(process: Daemon) -> float:
    """SIGTERM, and when: the service manager was told of it at once."""
    at = time.perf_counter()
    process.process.send_signal(signal.SIGTERM)
    process.wait_until(lambda: "STOPPING=1" in process.states)
    return at


# --- in good order --------------------------------------------------------------------------------


def test_what_is_outstanding_is_finished(door: str, stage: Stage, tmp_path: Path) -> None:
    with (
        daemon(tmp_path, reverse(stage.places["URL"], door)) as process,
        connected(door) as asks,
        connected(door) as idles,
    ):
        idles.sendall(GET % b"/")
        assert idles.recv(4096).startswith(b"HTTP/1.1 200 ")
        asks.sendall(GET % b"/think/1500")
        eventually(lambda: asked(stage.doors[0], b"/think/1500"))
        begin_to_end(process)

        assert idles.recv(1) == b"", "nothing was asked there"
        with pytest.raises(ConnectionRefusedError):
            connected(door)
        answer = asks.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close\r\n" in answer
        assert asks.recv(1) == b""
        assert process.process.wait(SLACK) == 0
        assert " warning " not in process.log


def test_what_lasts_too_long_is_cut(door: str, origin: Recorder, tmp_path: Path) -> None:
    """A request that nobody answers, and a tunnel that nobody ends."""
    with (
        daemon(
            tmp_path, reverse(origin.url, door, more='[daemon]\ndrain_timeout = "1.5s"')
        ) as process,
        connected(door) as asks,
        connected(door) as talks,
    ):
        asks.sendall(GET % b"/silence")
        talks.sendall(UPGRADE)
        assert talks.recv(4096).startswith(b"HTTP/1.1 101 ")
        eventually(lambda: asked(origin, b"/silence"))
        at = begin_to_end(process)

        talks.sendall(b"still here")
        assert talks.recv(4096) == b"still here"
        assert asks.recv(1) == b"", "no half of an answer"
        with pytest.raises(ConnectionResetError):  # half a message is not to look like a whole one
            talks.recv(1)
        assert process.process.wait(SLACK) == 0
        assert 1.5 <= time.perf_counter() - at < 1.5 + SLACK
        assert "cut what was outstanding requests=2 drain_timeout=1.500" in process.log


def test_a_second_signal_cuts_at_once(door: str, origin: Recorder, tmp_path: Path) -> None:
    with daemon(tmp_path, reverse(origin.url, door)) as process, connected(door) as asks:
        asks.sendall(GET % b"/silence")
        eventually(lambda: asked(origin, b"/silence"))
        at = begin_to_end(process)
        assert process.end() == 0

        assert time.perf_counter() - at < SLACK, "drain_timeout is 30 s"
        assert asks.recv(1) == b""
        assert "told to end a second time" in process.log
        assert "outcome=cut" in process.log


def test_ctrl_c_is_a_drain_too(door: str, stage: Stage, tmp_path: Path) -> None:
    with daemon(tmp_path, reverse(stage.places["URL"], door)) as process:
        process.process.send_signal(signal.SIGINT)

        assert process.process.wait(SLACK) == 0
        assert process.states == ["READY=1", "STOPPING=1"]


# --- killed ---------------------------------------------------------------------------------------


def test_it_starts_again_after_kill_9(stage: Stage, tmp_path: Path) -> None:
    """Where its last life's Unix sockets lie about, and its connections are still being forgotten."""
    doors = [f"127.0.0.1:{free_port()}", f"unix:{tmp_path}/door.sock"]
    text = reverse(stage.places["URL"], *doors)
    for _ in range(3):
        with daemon(tmp_path, text) as process:
            clients = [connected(door) for door in doors]
            for client in clients:
                client.sendall(GET % b"/")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            process.process.kill()
            process.process.wait()
            for client in clients:
                client.close()
        assert (tmp_path / "door.sock").exists()

    with daemon(tmp_path, text) as process:
        assert process.end() == 0
    assert not (tmp_path / "door.sock").exists()
    assert not (tmp_path / "admin.sock").exists()


# --- sockets of the service manager ---------------------------------------------------------------


def test_inherited_sockets_outlive_the_daemon(stage: Stage, tmp_path: Path) -> None:
    """Who connects while it is away waits in the kernel's queue: a restart refuses nobody."""
    local = socket.socket(socket.AF_UNIX)
    with socket.create_server(("127.0.0.1", 0)) as tcp, local:
        local.bind(f"{tmp_path}/orders.sock")
        local.listen()
        doors = [f"127.0.0.1:{tcp.getsockname()[1]}", f"unix:{tmp_path}/orders.sock"]
        text = reverse(stage.places["URL"], "systemd:orders", "systemd:local")
        for _ in range(2):
            waiting = [connected(door) for door in doors]
            for client in waiting:
                client.sendall(GET % b"/")
            with daemon(tmp_path, text, sockets=[("orders", tcp), ("local", local)]) as process:
                for client in waiting:
                    with client:
                        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
                assert process.end() == 0
        assert (tmp_path / "orders.sock").exists(), "it is not the daemon's to remove"


def test_a_refused_reload_keeps_inherited_sockets(stage: Stage, tmp_path: Path) -> None:
    """Also one that the file in force does not use yet."""
    url = stage.places["URL"]
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        named = [("one", first), ("two", second)]
        with daemon(tmp_path, reverse(url, "systemd:one"), sockets=named) as process:
            process.reload(reverse(url, "systemd:one", "systemd:two", "systemd:three"))
            assert "no socket named 'three'" in process.log
            process.reload(reverse(url, "systemd:one", "systemd:two"))
            for sock in (first, second):
                with connected(f"127.0.0.1:{sock.getsockname()[1]}") as client:
                    client.sendall(GET % b"/")
                    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert process.end() == 0


# --- what the service manager is told -------------------------------------------------------------


def test_the_states_of_a_life(door: str, stage: Stage, tmp_path: Path) -> None:
    text = reverse(stage.places["URL"], door)
    with daemon(tmp_path, text) as process:
        process.reload(text)
        process.reload(text.replace("urls", "urlz"))  # refused: it was reloading all the same
        write_file(tmp_path, text)
        assert haclient(["reload", "--admin", process.admin]).returncode == 0
        assert haclient(["drain", "--admin", process.admin]).returncode == 0
        assert process.process.wait(SLACK) == 0
        assert 'info told to end order="POST /drain"' in process.log

        reloaded = ["RELOADING=1", "READY=1"]
        assert process.states == ["READY=1", *reloaded * 3, "STOPPING=1"]


def test_the_watchdog_is_fed_at_half_its_time(door: str, stage: Stage, tmp_path: Path) -> None:
    text = reverse(stage.places["URL"], door)
    with daemon(tmp_path, text, WATCHDOG_USEC="1000000") as process:
        fed = [at for at, each in process.told if each == "WATCHDOG=1"]
        began_at = time.perf_counter()
        process.wait_until(
            lambda: sum(each == "WATCHDOG=1" for _, each in process.told) >= len(fed) + 4
        )
        took = time.perf_counter() - began_at
        assert process.end() == 0

    # Four signs of life, one each half second, the first at any time within that.
    assert 1.4 < took < 2.0 + SLACK
