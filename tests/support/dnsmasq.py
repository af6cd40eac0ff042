"""A real name server: dnsmasq (Debian: dnsmasq-base) on a port of loopback, for names below `test`.

    with dnsmasq(tmp_path) as server:
        server.name("orders.test", "127.0.0.2")
        server.pause()          # silent, until go_on
        server.kill()           # nobody listens, until start
        server.forget()         # every name is denied

It asks nobody else. Whatever changes is in force when the call returns. Its port is nobody else's until the end
of the block, also while it is killed.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rdatatype
import pytest

from tests.support.sidecar import free_port

__all__ = ["Dnsmasq", "dnsmasq", "needs_dnsmasq"]

COMMAND = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin")

needs_dnsmasq = pytest.mark.skipif(COMMAND is None, reason="dnsmasq is not installed")

IN_FORCE_WITHIN = 10.0
"""Seconds; it takes some milliseconds where nothing else runs."""

OPTIONS = (
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--no-resolv",
    "--no-hosts",
    "--listen-address=127.0.0.1",
    "--bind-interfaces",
    "--local=/test/",
    "--user=",
    "--log-facility=/dev/null",
)


class Dnsmasq:
    """One server, in as many processes one after another as it takes."""

    def __init__(self, folder: Path, ttl: int) -> None:
        self._held = _held_port()
        self.port: int = self._held[0].getsockname()[1]
        self._hosts = folder / "dnsmasq.hosts"
        self._pid_file = folder / "dnsmasq.pid"
        self._ttl = ttl
        self._names: dict[str, tuple[str, ...]] = {}
        self._services: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def nameserver(self) -> str:
        """As the configuration file takes it."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, once this returns."""
        assert COMMAND is not None
        self._write()
        options = (
            f"--port={self.port}",
            f"--local-ttl={self._ttl}",
            f"--addn-hosts={self._hosts}",
            f"--pid-file={self._pid_file}",
            *(f"--srv-host={each}" for each in self._services),
        )
        self._process = subprocess.Popen([COMMAND, *OPTIONS, *options])
        self._wait()

    def name(self, name: str, *addresses: str) -> None:
        """Says where a name is from now on; without addresses it does not exist."""
        self._names[name] = addresses
        self._apply()

    def service(self, name: str, *servers: tuple[str, int, int, int]) -> None:
        """SRV records: host, port, priority and weight of each. Takes a new start."""
        self._services = [f"{name},{','.join(map(str, server))}" for server in servers]
        self.kill()
        self.start()

    def forget(self) -> None:
        """Knows no name any more."""
        self._names = dict.fromkeys(self._names, ())
        self._apply()

    def pause(self) -> None:
        """SIGSTOP: silent, and what is asked meanwhile waits in its socket."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; returns once nobody listens."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """For good: the port is anybody's again."""
        self.kill()
        for sock in self._held:
            sock.close()

    def _apply(self) -> None:
        self._write()
        if self._process is not None:
            self._signal(signal.SIGHUP)
            self._wait()

    def _write(self) -> None:
        lines = [f"{each} {name}\n" for name, found in self._names.items() for each in found]
        self._hosts.write_text("".join(lines))

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        """Until it says of every name what it is to say."""
        deadline = time.perf_counter() + IN_FORCE_WITHIN
        for name, addresses in self._names.items() or {"any.test": ()}.items():
            while self._asked(name) != set(addresses):
                assert time.perf_counter() < deadline, f"dnsmasq does not know {name}"
                time.sleep(0.01)  # noqa: TID251  (another process is waited for)

    def _asked(self, name: str) -> set[str] | None:
        query = dns.message.make_query(name, "A")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.5)
            sock.connect(("127.0.0.1", self.port))
            try:
                sock.send(query.to_wire())
                answer = dns.message.from_wire(sock.recv(4096))
            except OSError:
                return None
        rrsets = [each for each in answer.answer if each.rdtype == dns.rdatatype.A]
        return {record.address for rrset in rrsets for record in rrset}


def _held_port() -> tuple[socket.socket, ...]:
    """Sockets that hold a port, for datagrams and for TCP, so that nobody has it between two processes.

    A server that sets SO_REUSEADDR, as dnsmasq does, may bind it beside them; whoever does not is refused. What
    is sent there reaches neither of them: the one hears only itself, the other one does not listen.
    """
    for _ in range(10):
        held = (socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_STREAM))
        address = ("127.0.0.1", free_port())
        try:
            for sock in held:
                sock.bind(address)
        except OSError:  # somebody's since a moment ago, or by the other protocol
            for sock in held:
                sock.close()
            continue
        for sock in held:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held[0].connect(address)
        return held
    raise AssertionError("ten free ports in a row were taken the next moment")


@contextlib.contextmanager
def dnsmasq(folder: Path, ttl: int = 1) -> Iterator[Dnsmasq]:
    """Runs one until the block is left; its answers hold for `ttl` seconds."""
    server = Dnsmasq(folder, ttl)
    try:
        server.start()
        yield server
    finally:
        server.close()
