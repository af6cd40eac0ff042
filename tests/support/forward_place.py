"""All that a program needs to be tried through a forward listener: names, servers with and without TLS, the proxy.

    with open_place(tmp_path) as place:
        place.run(["wget", "-O-", f"{place.http}/file"])

The names lead to loopback addresses and are known to the proxy alone.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.certificates import write_ca
from tests.support.forward_proxy import ForwardProxy, forward_proxy, name_server, run
from tests.support.web_server import WebServer, web_server

__all__ = ["FORBIDDEN", "Place", "open_place"]

NAMES = {
    "files.test": ["127.0.0.1"],
    "secure.test": ["127.0.0.1"],
    "twice.test": ["127.0.0.9", "127.0.0.1"],
    "inside.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
}

ALLOW = ["files.test:*", "secure.test:*", "twice.test:*", "*.test:*", "127.0.0.2:1-79"]

FORBIDDEN = "other.example"
"""In no rule."""


@dataclass(frozen=True)
class Place:
    """What a test has.

    Attributes:
        folder: what both servers serve.
        web, secure: files.test, and secure.test over TLS.
        ca: the file of the authority that secure.test's certificate is of.
        room: for what a program writes.
    """

    proxy: ForwardProxy
    web: WebServer
    secure: WebServer
    ca: str
    folder: Path
    room: Path

    @property
    def http(self) -> str:
        """The URL of the one server, by a name that only the proxy knows."""
        return f"http://files.test:{self.web.port}"

    @property
    def https(self) -> str:
        """Of the other one."""
        return f"https://secure.test:{self.secure.port}"

    def run(
        self, words: Sequence[str | Path], **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program with both proxy variables, and a home of its own."""
        proxies = {"http_proxy": self.proxy.url, "https_proxy": self.proxy.url}
        own = {"HOME": str(self.room), **proxies, **variables}
        return run(words, cwd=self.room, **own)


@contextlib.contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    """Opens one; its files are in `folder`."""
    ca = trustme.CA()
    served, room = folder / "served", folder / "room"
    served.mkdir()
    room.mkdir()
    (served / "file").write_text("content\n")
    with (
        name_server(NAMES) as names,
        web_server(served) as web,
        web_server(served, ca=ca, name="secure.test") as secure,
        forward_proxy(folder, ALLOW, names) as proxy,
    ):
        yield Place(proxy, web, secure, write_ca(ca, folder / "ca.pem"), served, room)
