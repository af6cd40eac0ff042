"""Names that a process asks the system for, answered by us: nothing leaves this machine.

resolv.conf names a server by its address alone, on port 53; so the DNS server of the test takes that
port on a loopback address of its own, and the process runs in a mount namespace where resolv.conf is
a file of the test's. Both need root.

    async with serve_names() as server:
        server.script("orders.test.", Behaviour(addresses=("127.0.0.2",)))
        words = in_mount_namespace(resolv_conf(tmp_path), [COMMAND, "request", "http://orders.test/"])
        await trio.run_process(words)
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from haclient.core.names import DNS_PORT
from tests.support.dns_server import DnsServer, serve_dns

__all__ = [
    "in_mount_namespace",
    "needs_mount_namespace",
    "resolv_conf",
    "serve_names",
    "why_no_mount_namespace",
]

ADDRESS = "127.53.53.53"

_RUN = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


def serve_names() -> AbstractAsyncContextManager[DnsServer]:
    """A DNS server where resolv.conf can name it."""
    return serve_dns(ADDRESS, DNS_PORT)


def resolv_conf(folder: Path) -> Path:
    """Writes the file that names `serve_names`; what is silent there is so for a second."""
    path = folder / "resolv.conf"
    path.write_text(f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
    return path


def in_mount_namespace(path: Path, words: Sequence[str | Path]) -> list[str]:
    """The words that run `words` where `path` is resolv.conf."""
    command = ["unshare", "--mount", "sh", "-c", _RUN, str(path)]
    return [*command, *map(str, words)]


@functools.cache
def why_no_mount_namespace() -> str:
    """The reason; empty where there can be one."""
    if os.geteuid() != 0:
        return "only root may take port 53 and mount a resolv.conf"
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    tried = subprocess.run(
        in_mount_namespace(Path("/etc/hosts"), ["true"]), capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else f"no mount namespace: {tried.stderr.decode().strip()}"


needs_mount_namespace = pytest.mark.skipif(
    bool(why_no_mount_namespace()), reason=why_no_mount_namespace()
)
