"""The daemon as a process: `haclient serve -c FILE`, a file of its own, ready when the block begins.

    with sidecar(origin_url, folder=tmp_path) as door:
        subprocess.run(["curl", door.url + "/orders/7"])

The file has one target, "main", and two doors to it, on TCP and on a Unix socket; keys of the target
and of the doors are given as Python values. Readiness is what systemd would be told (sd_notify(3)),
the end is SIGTERM by process id. A daemon that ends with another code than 0, or that writes a line
at `warning` or above which the test does not expect, fails the test that used it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.command import COMMAND, environment

__all__ = ["Sidecar", "free_port", "sidecar"]

STARTS_WITHIN = 15.0
"""Seconds; it takes 0.3 s where nothing else runs."""

OF_SERVERS = (
    "an address is held down",
    "an address is failed",
    "every address of a target has failed",
)
"""What the daemon has to say of servers, whom the tests strike; of itself it is to say nothing."""

ENDS_WITHIN = 15.0
"""Seconds, where nothing is outstanding any more."""


@dataclass(frozen=True)
class Sidecar:
    """A daemon that is ready."""

    pid: int
    port: int
    folder: Path

    @property
    def url(self) -> str:
        """The TCP door, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """Host and port of the TCP door."""
        return f"127.0.0.1:{self.port}"

    @property
    def unix_socket(self) -> Path:
        """The other door."""
        return self.folder / "door.sock"

    @property
    def admin_socket(self) -> Path:
        """Where it is asked how it is."""
        return self.folder / "admin.sock"

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return (self.folder / "stderr").read_text()


def free_port() -> int:
    """A port that was free a moment ago, and that the kernel gives to nobody who does not ask for it.

    One that the kernel chose is soon chosen again, for whoever connects somewhere in between.
    """
    begin = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.SystemRandom().sample(range(1024, begin), 100):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"a hundred ports below {begin} are in use")


@contextlib.contextmanager
def sidecar(
    *urls: str,
    folder: Path | None = None,
    target: Mapping[str, object] = {},
    listener: Mapping[str, object] = {},
    log: Mapping[str, object] = {},
    others: Mapping[str, Mapping[str, object]] = {},
    descriptors: int | None = None,
    core: int | None = None,
    expected: Sequence[str] = (),
) -> Iterator[Sidecar]:
    """Runs a daemon in front of `urls` until the block ends.

    Args:
        target, listener, log: further keys of these tables.
        others: further tables, by name.
        descriptors: how many files it may have open.
        core: the only processor it runs on.
        expected: each logged line must have one of these in it.
    """
    with contextlib.ExitStack() as stack:
        room = folder or Path(stack.enter_context(_temporary_folder()))
        door = free_port()
        path = room / "haclient.toml"
        path.write_text(_file(urls, room, door, target, listener, log, others))
        process = stack.enter_context(_started(path, room, descriptors))
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield Sidecar(process.pid, door, room)
        _end(process, room / "stderr", expected)


def _file(
    urls: Sequence[str], room: Path, port: int, target: Any, listener: Any, log: Any, others: Any
) -> str:
    door = {"target": "main", **listener}
    tables = {
        "target.main": {"urls": list(urls), **target},
        "listener.main": {"bind": f"127.0.0.1:{port}", **door},
        "listener.local": {"bind": f"unix:{room / 'door.sock'}", **door},
        "admin": {"bind": f"unix:{room / 'admin.sock'}"},
        "log": {"level": "warning", "access": False, **log},
        **others,
    }
    return "\n".join(_table(name, values) for name, values in tables.items())


def _table(name: str, values: Mapping[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: object) -> str:
    """JSON's strings, numbers and booleans are TOML's; tables are not."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """Short, for a Unix socket's path has 107 bytes at the most (unix(7))."""
    folder = tempfile.mkdtemp(prefix="sidecar-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _started(path: Path, room: Path, descriptors: int | None) -> Iterator[subprocess.Popen[bytes]]:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices,
        (room / "stderr").open("wb") as stderr,
    ):
        notices.bind(str(room / "notify.sock"))
        process = subprocess.Popen(
            [COMMAND, "serve", "-c", path],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
            env=environment(NOTIFY_SOCKET=str(room / "notify.sock")),
        )
        try:
            if descriptors is not None:
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
            _wait_until_ready(process, notices, room / "stderr")
            yield process
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(
    process: subprocess.Popen[bytes], notices: socket.socket, stderr: Path
) -> None:
    notices.settimeout(0.1)
    for _ in range(int(STARTS_WITHIN / 0.1)):
        assert process.poll() is None, f"ended with {process.returncode}: {stderr.read_text()}"
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in notices.recv(4096).split(b"\n"):
                return
    raise AssertionError(f"not ready within {STARTS_WITHIN} s: {stderr.read_text()}")


def _end(process: subprocess.Popen[bytes], stderr: Path, expected: Sequence[str]) -> None:
    assert process.poll() is None, f"ended by itself, {process.returncode}: {stderr.read_text()}"
    process.send_signal(signal.SIGTERM)
    code = process.wait(ENDS_WITHIN)
    lines = stderr.read_text().splitlines()
    allowed = (*expected, *OF_SERVERS)
    unexpected = [line for line in lines if not any(words in line for words in allowed)]
    assert (code, unexpected) == (0, []), f"code {code}, logged: {unexpected}"
