"""A forward listener as a process, and names that only it can resolve.

    with name_server({"files.test": ["127.0.0.1"]}) as names, web_server(folder) as web:
        with forward_proxy(tmp_path, ["files.test:*"], names) as proxy:
            run(["curl", f"http://files.test:{web.port}/x"], http_proxy=proxy.url)

A program that reaches files.test has used the proxy: nobody else knows the name.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from tests.support.command import environment
from tests.support.daemon import Daemon, daemon
from tests.support.dns_server import Behaviour, serve_dns
from tests.support.sidecar import free_port

__all__ = ["ForwardProxy", "forward_proxy", "name_server", "run"]

PATIENCE = 60.0
"""Seconds for a program that installs something, on a machine that does much else."""


@contextlib.contextmanager
def name_server(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A DNS server in a thread that knows these names and no other; gives its address and port."""
    started = threading.Event()
    found: list[Any] = []

    async def serve() -> None:
        async with serve_dns() as server:
            for name, addresses in names.items():
                server.script(f"{name}.", Behaviour(addresses=tuple(addresses)))
            with trio.CancelScope() as scope:
                found[:] = [server.nameserver, trio.lowlevel.current_trio_token(), scope]
                started.set()
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert started.wait(PATIENCE)
    nameserver, token, scope = found
    try:
        yield nameserver
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()


class ForwardProxy:
    """One daemon with one forward listener."""

    def __init__(self, process: Daemon, port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def accesses(self) -> list[str]:
        """The lines of its access log."""
        return [line for line in self.process.log.splitlines() if " access " in line]


@contextlib.contextmanager
def forward_proxy(
    folder: Path, allow: Sequence[str], nameserver: str = "", *, more: str = "", keys: str = ""
) -> Iterator[ForwardProxy]:
    """Runs one; it has to end well.

    Args:
        folder: for its file and its log.
        allow: its rules.
        nameserver: whom it asks for names.
        more: further tables of its file.
        keys: further lines of its listener.
    """
    port = free_port()
    names = f'[resolver]\nnameservers = ["{nameserver}"]\n' if nameserver else ""
    rules = ", ".join(f'"{rule}"' for rule in allow)
    listener = (
        f'[listener.proxy]\nmode = "forward"\nbind = "127.0.0.1:{port}"\nallow = [{rules}]\n{keys}'
    )
    with daemon(folder, more + names + listener) as process:
        yield ForwardProxy(process, port)
        assert process.end() == 0


def run(
    words: Sequence[str | Path], *, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, with no other settings than these."""
    return subprocess.run(
        words,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        env=environment(**variables),
    )
