"""The unit files: what systemd says to them, and whether the daemon lives with what they take away.

systemd as the first process is not to be had in a test. So its parts are asked one by one:
systemd-analyze reads the units, the sandbox of tests/support has its system call filter, and
systemd-socket-activate hands over sockets; the protocol of Type=notify is spoken by a socket of ours.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.command import COMMAND, environment, haclient, needs_command
from tests.support.sandbox import directives, why_no_sandbox
from tests.support.sidecar import free_port
from tests.support.stage import Stage

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
SERVICE, SOCKET = UNITS / "haclient.service", UNITS / "haclient.socket"

EXPOSURE = 1.5
"""The worst that `systemd-analyze security` may rate the service."""

PATIENCE = 20.0

pytestmark = needs_command

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


# --- what systemd says ----------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder of the units, with the command where it is on this machine."""
    for unit in (SERVICE, SOCKET):
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/haclient", str(COMMAND))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


def analyzed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )


@needs_systemd
def test_systemd_accepts_the_units(installed: Path) -> None:
    ran = analyzed("verify", "--man=no", installed / SERVICE.name, installed / SOCKET.name)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@needs_systemd
def test_systemd_would_not_accept_a_mistake(installed: Path) -> None:
    """Else the test above would pass for whatever is written."""
    with (installed / SERVICE.name).open("a") as file:
        file.write("[Service]\nProtectSysten=strict\n")
    ran = analyzed("verify", "--man=no", installed / SERVICE.name)

    assert "ProtectSysten" in ran.stderr


@needs_systemd
def test_little_is_exposed(installed: Path) -> None:
    ran = analyzed("security", "--offline=true", "--no-pager", installed / SERVICE.name)
    rated = re.search(r"Overall exposure level for haclient.service: ([0-9.]+)", ran.stdout)

    assert rated is not None, ran.stdout + ran.stderr
    assert float(rated[1]) <= EXPOSURE


# --- what it starts -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ExecStart", "ExecReload"])
def test_the_command_lines_of_the_service_are_understood(name: str, tmp_path: Path) -> None:
    (line,) = directives(SERVICE, name)
    program, *words = shlex.split(line)
    file = tmp_path / "haclient.toml"  # is not there
    ran = haclient([word.replace("/etc/haclient/haclient.toml", str(file)) for word in words])

    assert program == "/usr/bin/haclient"
    assert ran.returncode == 78
    assert str(file) in ran.stderr.decode()


def test_exit_codes_that_no_other_start_mends() -> None:
    assert directives(SERVICE, "RestartPreventExitStatus") == ["2 78"]


def test_the_example_is_in_order() -> None:
    ran = haclient(["check", "-c", UNITS / "haclient.toml"])

    assert (ran.returncode, ran.stderr) == (0, b"")


def test_the_socket_is_named_as_the_example_says(tmp_path: Path) -> None:
    text = (UNITS / "haclient.toml").read_text(encoding="utf-8")
    (name,) = directives(SOCKET, "FileDescriptorName")
    (bind,) = directives(SOCKET, "ListenStream")

    assert f'bind = "{bind}"     # with haclient.socket: "systemd:{name}"' in text


def test_the_wheel_brings_them(tmp_path: Path) -> None:
    """By hatchling itself, so that a file that is renamed is missed."""
    ran = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shared = {name.partition("/data/")[2] for name in archive.namelist() if "/data/" in name}

    assert shared == {f"share/haclient/{path.name}" for path in UNITS.iterdir()}


# --- the daemon under it --------------------------------------------------------------------------


class Manager:
    """The socket of Type=notify, and what was said there."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self.said: list[str] = []

    def until(self, assignment: str, process: subprocess.Popen[bytes]) -> None:
        """Waits until it is said; what was said before it counts too."""
        for _ in range(int(PATIENCE / 0.1)):
            if assignment in self.said:
                return
            with contextlib.suppress(TimeoutError):
                self.said += self._listening.recv(4096).decode().split("\n")
                continue
            assert process.poll() is None, f"ended with {process.returncode}"
        raise AssertionError(f"{assignment} was not said, but {self.said}")

    def forget(self) -> None:
        """What was said up to now does not count."""
        self.said.clear()


@contextmanager
def serving(
    folder: Path, tables: str, *, prefix: Sequence[str | Path] = (), **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], Manager]]:
    """A daemon that said READY=1; it must end by itself, or be ended by the block."""
    file = folder / "haclient.toml"
    file.write_text(f'{tables}\n[admin]\nbind = "unix:{folder}/admin.sock"\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(folder / "notify"))
        listening.settimeout(0.1)
        process = subprocess.Popen(
            [*prefix, COMMAND, "serve", "-c", file],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(NOTIFY_SOCKET=str(folder / "notify"), **variables),
        )
        manager = Manager(listening)
        with process:
            try:
                manager.until("READY=1", process)
                yield process, manager
            finally:
                process.kill()


def target(stage: Stage, bind: str) -> str:
    url = stage.places["URL"]
    return f'[target.t]\nurls = ["{url}"]\n[listener.t]\nbind = "{bind}"\ntarget = "t"\n'


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Tells it to end; returns exit code and log."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err.decode()


@pytest.mark.skipif(bool(why_no_sandbox()), reason=why_no_sandbox() or "there is one")
def test_the_daemon_lives_with_what_the_unit_takes_away(stage: Stage, tmp_path: Path) -> None:
    port = free_port()
    sandbox: list[str | Path] = [sys.executable, "-m", "tests.support.sandbox", SERVICE]
    tables = target(stage, f"127.0.0.1:{port}")
    admin = f"unix:{tmp_path}/admin.sock"
    path = {"PYTHONPATH": str(ROOT)}
    with serving(tmp_path, tables, prefix=sandbox, **path) as (process, manager):
        ran = haclient(["request", "-sS", f"http://127.0.0.1:{port}/"])
        assert (ran.returncode, ran.stderr) == (0, b"")
        half_closed(port)
        manager.forget()
        file = tmp_path / "haclient.toml"
        file.write_text(file.read_text() + "[log]\nlevel = 'debug'\n")
        ran = haclient(["reload", "--admin", admin])
        assert (ran.returncode, ran.stderr) == (0, b"")
        manager.until("READY=1", process)
        for words in (["ready"], ["status"]):
            assert haclient([*words, "--admin", admin]).returncode == 0

        code, log = ended(process)
    assert code == 0, log


def half_closed(port: int) -> None:
    """A client that closes its side and waits: the daemon asks the kernel about it, by netlink."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"GET /think/2000 HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(bool(why_no_sandbox()), reason=why_no_sandbox() or "there is one")
@pytest.mark.parametrize(
    ("code", "is_allowed"),
    [
        ("import socket; socket.socket(socket.AF_INET6)", True),
        ("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", False),
        ("import os; os.nice(1)", False),
        ("import os; os.setuid(65534)", False),
    ],
)
def test_the_sandbox_takes_away(code: str, is_allowed: bool) -> None:
    """Else the test above would pass for a filter that lets everything through."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.support.sandbox", SERVICE, sys.executable, "-c", code],
        capture_output=True,
        check=False,
        timeout=30,
        cwd=ROOT,
    )

    assert ran.returncode == (0 if is_allowed else -signal.SIGSYS), ran.stderr


def test_what_the_service_manager_is_told(stage: Stage, tmp_path: Path) -> None:
    tables = target(stage, f"127.0.0.1:{free_port()}")
    with serving(tmp_path, tables, WATCHDOG_USEC="400000") as (process, manager):
        assert "STATUS=serving at 1 listeners" in manager.said
        for _ in range(3):
            manager.forget()
            manager.until("WATCHDOG=1", process)
        manager.forget()
        process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1", process)
        manager.until("READY=1", process)
        assert any(each.startswith("MONOTONIC_USEC=") for each in manager.said)
        code, log = ended(process)
        assert code == 0, log
        manager.until("STOPPING=1", process)
        # drain_timeout, and 5 s to spare.
        assert "EXTEND_TIMEOUT_USEC=35000000" in manager.said


def test_a_reload_by_order_waits_for_its_result(stage: Stage, tmp_path: Path) -> None:
    tables = target(stage, f"127.0.0.1:{free_port()}")
    admin = f"unix:{tmp_path}/admin.sock"
    file = tmp_path / "haclient.toml"
    with serving(tmp_path, tables) as (process, _):
        whole = file.read_text()
        file.write_text(whole.replace("urls =", "url ="))
        ran = haclient(["reload", "--admin", admin])
        assert (ran.returncode, ran.stdout) == (1, b"")
        assert f"{file}:2: [target.t] url = " in ran.stderr.decode()
        file.write_text(whole + "[log]\nlevel = 'debug'\n")
        ran = haclient(["reload", "--admin", admin])
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"log: level\n", b"")
        ran = haclient(["drain", "--admin", admin])
        assert ran.returncode == 0
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


# --- inherited sockets, by the real thing ---------------------------------------------------------


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None,
    reason="systemd-socket-activate is not installed",
)
def test_a_socket_that_systemd_opened(stage: Stage, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "haclient.toml"
    file.write_text(target(stage, "systemd:orders"))
    with activated(port, ["--fdname=orders", *setenv(environment())], file) as process:
        ran = haclient(["request", "-sS", f"http://127.0.0.1:{port}/"])  # it waits in the queue
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert ran.stdout
        assert ended(process)[0] == 0


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None,
    reason="systemd-socket-activate is not installed",
)
def test_a_socket_of_another_name(stage: Stage, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "haclient.toml"
    file.write_text(target(stage, "systemd:orders"))
    with (
        activated(port, ["--fdname=other", *setenv(environment())], file) as process,
        socket.create_connection(("127.0.0.1", port), PATIENCE),
    ):
        _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 78
    assert "haclient: (78) no socket named 'orders' was inherited" in err.decode()


def setenv(variables: Mapping[str, str]) -> list[str]:
    """systemd-socket-activate starts the program with these variables alone."""
    return [f"--setenv={name}={value}" for name, value in variables.items()]


@contextmanager
def activated(port: int, options: Sequence[str], file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program that listens, and becomes the daemon when the first client is there."""
    process = subprocess.Popen(
        [
            "systemd-socket-activate",
            f"--listen=127.0.0.1:{port}",
            *options,
            COMMAND,
            "serve",
            "-c",
            file,
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with process:
        try:
            wait_until_it_listens(port, process)
            yield process
        finally:
            process.kill()


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """By the kernel's word: a connect would start the daemon."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"  # LISTEN
    deadline = time.perf_counter() + PATIENCE
    while wanted not in Path("/proc/net/tcp").read_text():
        assert process.poll() is None
        assert time.perf_counter() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
