"""A loopback of its own with servers that others wrote, a daemon in front, and a firewall between them.

    with island() as land, postgres(land, "127.0.0.2") as server:
        land.blackhole("127.0.0.2")     # until land.heal()
        server.kill()                   # until server.start()

Most tests have two servers and a client in the midst of something: `TwoServers`.

On the machine's own loopback a foreign server's accepted socket cannot be got at, to be blackholed by a
filter; in a network namespace a firewall rule drops what arrives for an address. Everything that is to
meet there is started by `land.entering(command)`. Needs root, iproute2 and nftables.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest
import trio

from tests.support.daemon import Daemon, daemon, eventually
from tests.support.netns import PREFIX, remove_leftovers, why_not

__all__ = ["Foreign", "Island", "TwoServers", "island", "postgres", "redis", "two_servers"]

FIREWALL = "table inet fault { chain input { type filter hook input priority 0; }; }"
DROP = "add rule inet fault input ip daddr {0} drop; add rule inet fault input ip saddr {0} drop"
"""Dropped where it arrives: a firewall on the sender's way out tells its TCP of that."""

STARTS_WITHIN = 20.0


class Island:
    """The namespace."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<Island {self._name}>"

    def entering(self, *command: str) -> list[str]:
        """The command that runs `command` in there, under the same process id."""
        return ["ip", "netns", "exec", self._name, *command]

    def run(self, *command: str, within: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Runs a program in there to its end."""
        return subprocess.run(
            self.entering(*command), capture_output=True, text=True, timeout=within, check=False
        )

    @contextlib.contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A program in there that takes its time; what is left of it at the end is killed."""
        with subprocess.Popen(
            self.entering(*command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def blackhole(self, address: str) -> None:
        """Whatever arrives for or from an address is dropped, without a word."""
        self.nft(DROP.format(address))

    def heal(self) -> None:
        """Takes every `blackhole` back."""
        self.nft("flush chain inet fault input")

    def nft(self, script: str) -> None:
        """One transaction."""
        done = self.run("nft", script)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def island() -> Iterator[Island]:
    """Makes one, and takes it away again. Skips where that is not possible (in CI it fails)."""
    if why := trio.run(why_not):
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    trio.run(remove_leftovers)
    name = f"{PREFIX}-{os.getpid()}-island-{time.monotonic_ns()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    land = Island(name)
    try:
        assert land.run("ip", "link", "set", "lo", "up").returncode == 0
        land.nft(FIREWALL)
        yield land
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


class Foreign:
    """A server of others on an island, in as many processes one after another as it takes."""

    def __init__(
        self,
        land: Island,
        address: str,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        log: IO[bytes],
    ) -> None:
        self.address = address
        self._command = land.entering(*command)
        self._is_ready = is_ready
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<Foreign {self._command[4]} at {self.address}>"

    def start(self) -> None:
        """Returns once it serves."""
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, start_new_session=True
        )
        eventually(self._is_ready, STARTS_WITHIN)

    def kill(self) -> None:
        """SIGKILL to the server and whatever it has started; harmless where it was killed before."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None


def program(name: str, package: str, *folders: str) -> str:
    """Where a program is; skips where it is not (in CI it fails)."""
    for folder in (None, *folders):
        if found := shutil.which(name, path=folder):
            return found
    assert not os.environ.get("CI"), f"{name} is missing (Debian: {package})"
    pytest.skip(f"{name} is not installed (Debian: {package})")


@contextlib.contextmanager
def redis(land: Island, address: str) -> Iterator[Foreign]:
    """redis-server on port 6379; the key `me` has its address."""
    server, client = program("redis-server", "redis-server"), program("redis-cli", "redis-tools")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        options = ["--bind", address, "--dir", folder, "--save", "", "--appendonly", "no"]

        def is_ready() -> bool:
            return land.run(client, "-h", address, "set", "me", address).stdout == "OK\n"

        with _kept(Foreign(land, address, [server, *options], is_ready, log)) as one:
            yield one


@contextlib.contextmanager
def postgres(land: Island, address: str) -> Iterator[Foreign]:
    """PostgreSQL on port 5432, its user "postgres" trusted."""
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    initdb = program("initdb", "postgresql", *folders)
    server = program("postgres", "postgresql", *folders)
    client = program("psql", "postgresql", *folders)
    # It refuses to run as root.
    demoted = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="postgres") as folder:
        shutil.chown(folder, "postgres", "postgres")
        made = subprocess.run(
            [*demoted, initdb, "-D", folder, "-A", "trust", "-U", "postgres", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert made.returncode == 0, made.stderr
        settings = {"listen_addresses": address, "unix_socket_directories": "", "fsync": "off"}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]

        def is_ready() -> bool:
            return (
                land.run(client, "-h", address, "-U", "postgres", "-c", "select 1").returncode == 0
            )

        with (Path(folder) / "log").open("wb") as log:
            command = [*demoted, server, "-D", folder, *options]
            with _kept(Foreign(land, address, command, is_ready, log)) as one:
                yield one


@contextlib.contextmanager
def _kept(server: Foreign) -> Iterator[Foreign]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


# --- two of them, behind a daemon -----------------------------------------------------------------


class TwoServers:
    """Two servers of the same kind on an island, and a daemon in front."""

    def __init__(self, land: Island, first: Foreign, second: Foreign, process: Daemon) -> None:
        self.land = land
        self.first = first
        self.second = second
        self.process = process

    def interrupted(
        self, client: Sequence[str], is_underway: Callable[[], bool], what: str
    ) -> tuple[subprocess.CompletedProcess[str], float]:
        """A client in whose midst the first server is "killed" or "blackholed": what it said, and after how long."""
        with self.land.running(*client) as process:
            eventually(is_underway)
            began_at = time.perf_counter()
            if what == "killed":
                self.first.kill()
            else:
                self.land.blackhole(self.first.address)
            stdout, stderr = process.communicate(timeout=30)
            took = time.perf_counter() - began_at
        done = subprocess.CompletedProcess(client, process.returncode, stdout, stderr)
        return done, took

    def mend(self) -> None:
        """Both are reached again, and the first one runs."""
        self.land.heal()
        if not self.first.is_running:
            self.first.start()


@contextlib.contextmanager
def two_servers(
    kind: Callable[[Island, str], AbstractContextManager[Foreign]], folder: Path, file: str
) -> Iterator[tuple[Island, Foreign, Foreign, Daemon]]:
    """At 127.0.0.2 and 127.0.0.3; `file` is the daemon's, whose folder is this."""
    with (
        island() as land,
        kind(land, "127.0.0.2") as first,
        kind(land, "127.0.0.3") as second,
        daemon(folder, file, entering=land.entering()) as process,
    ):
        yield land, first, second, process
