"""`haclient serve` as a process, for tests of the process itself: its file, its signals, its end.

    with daemon(tmp_path, reverse(origin.url, "127.0.0.1:8080")) as process:
        process.reload(reverse(other.url, "127.0.0.1:8080"))
        assert process.end() == 0

Where only the data plane is wanted, tests.support.sidecar is shorter. This one takes the file as text, hears
all that the service manager would be told, hands over sockets, and judges nothing: a test says what it
expects of exit code and log.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.command import COMMAND, environment

__all__ = ["Daemon", "connected", "daemon", "eventually", "reverse", "write_file"]

PATIENCE = 20.0
"""Seconds for what takes one at the most, on a machine that does much else."""

AGAIN_EVERY = 0.02

HANDS_OVER = """
import os, sys
descriptors, *command = sys.argv[1:]
for number, descriptor in enumerate(descriptors.split(","), 3):
    os.dup2(int(descriptor), number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(command[0], command)
"""
"""A service manager forks, and knows its child's number before that becomes the program; so does this."""


def eventually(what: Callable[[], Any], within: float = PATIENCE) -> Any:
    """Asks again and again until the answer is true; returns it.

    Raises:
        AssertionError: it never was.
    """
    deadline = time.perf_counter() + within
    while not (found := what()):
        assert time.perf_counter() < deadline, f"not within {within} s"
        time.sleep(AGAIN_EVERY)  # noqa: TID251  (another process is waited for)
    return found


def connected(address: str) -> socket.socket:
    """A client of "127.0.0.1:8080" or "unix:/path"; whatever it waits for is bounded."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), PATIENCE)
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(PATIENCE)
        client.connect(address.removeprefix("unix:"))
    except OSError:
        client.close()
        raise
    return client


def reverse(url: str, *binds: str, more: str = "", **keys: str) -> str:
    """A file with one target, and a listener for each bind; `keys` are the target's, as TOML."""
    listeners = [
        f'[listener.door{number}]\nbind = "{bind}"\ntarget = "main"\n'
        for number, bind in enumerate(binds, 1)
    ]
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return f'{more}\n[target.main]\nurls = ["{url}"]\n{lines}' + "".join(listeners)


class Daemon:
    """One process."""

    def __init__(
        self, process: subprocess.Popen[bytes], folder: Path, notices: socket.socket
    ) -> None:
        self.process = process
        self.pid = process.pid
        self.folder = folder
        self.admin = _admin(folder)
        self._notices = notices
        self._told: list[tuple[float, str]] = []

    def __repr__(self) -> str:
        return f"<Daemon {self.pid} in {self.folder}>"

    @property
    def log(self) -> str:
        """All of stderr so far."""
        return (self.folder / "stderr").read_text()

    @property
    def told(self) -> list[tuple[float, str]]:
        """What the service manager was told, assignment by assignment, and when it was read here."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._notices.recv(4096)
                now = time.perf_counter()
                self._told += [(now, each) for each in data.decode().split("\n")]
        return self._told

    @property
    def states(self) -> list[str]:
        """What the service manager was told of its state, in turn."""
        words = {"READY=1", "RELOADING=1", "STOPPING=1"}
        return [each for _, each in self.told if each in words]

    def wait_until(self, what: Callable[[], object], within: float = PATIENCE) -> None:
        """Waits for it, as long as the process lives."""

        def is_so() -> bool:
            found = bool(what())
            assert found or self.process.poll() is None, f"{self.process.returncode}: {self.log}"
            return found

        eventually(is_so, within)

    def reload(self, text: str) -> None:
        """SIGHUP with another file; returns once it is in force, or refused."""
        before = self.states.count("READY=1")
        write_file(self.folder, text)
        self.process.send_signal(signal.SIGHUP)
        self.wait_until(lambda: self.states.count("READY=1") > before)

    def end(self, within: float = PATIENCE) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


def write_file(folder: Path, text: str) -> Path:
    """The daemon's file: what is given, and where it is asked how it is, if that does not say."""
    path = folder / "haclient.toml"
    admin = "" if "[admin]" in text else f'\n[admin]\nbind = "{_admin(folder)}"\n'
    path.write_text(text + admin)
    return path


def _admin(folder: Path) -> str:
    return f"unix:{folder}/admin.sock"


@contextlib.contextmanager
def daemon(
    folder: Path,
    text: str,
    *,
    sockets: Sequence[tuple[str, socket.socket]] = (),
    descriptors: int | None = None,
    entering: Sequence[str] = (),
    **variables: str,
) -> Iterator[Daemon]:
    """Runs one from READY=1 on; what is left of it at the end of the block is killed.

    Args:
        folder: for its file, its log, its sockets; one daemon at a time in each.
        text: of the file; the admin endpoint is on a Unix socket if it has none.
        sockets: listening ones that it inherits, by name.
        descriptors: how many it may have open.
        entering: what goes before its command, to run it elsewhere under the same process id.
        variables: of its environment.
    """
    command = [*entering, str(COMMAND), "serve", "-c", str(write_file(folder, text))]
    if sockets:
        numbers = ",".join(str(sock.fileno()) for _, sock in sockets)
        command = [sys.executable, "-c", HANDS_OVER, numbers, *command]
        names = ":".join(name for name, _ in sockets)
        variables |= {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
    with (
        _notices(folder) as notices,
        (folder / "stderr").open("wb") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(NOTIFY_SOCKET=notices.getsockname(), **variables),
            pass_fds=[sock.fileno() for _, sock in sockets],
        ) as process,
    ):
        try:
            if descriptors is not None:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
            running = Daemon(process, folder, notices)
            running.wait_until(lambda: "READY=1" in running.states)
            yield running
        finally:
            process.kill()


@contextlib.contextmanager
def _notices(folder: Path) -> Iterator[socket.socket]:
    path = folder / "notify.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(path))
        notices.setblocking(False)
        yield notices
