"""Files of a folder over HTTP/1.1, perhaps with TLS, from a process of its own; and what it was asked.

    with web_server(folder) as web:
        ...
        web.asked[-1].path

In a process, so that connections which a proxy keeps open are no descriptors of the test's.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

__all__ = ["Asked", "WebServer", "web_server"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Asked:
    """One request; names of fields in lower case."""

    method: str
    path: str
    fields: dict[str, str]


class WebServer:
    """Where it is, and what it was asked."""

    def __init__(self, process: subprocess.Popen[str], port: int, journal: Path) -> None:
        self.process = process
        self.port = port
        self._journal = journal

    @property
    def asked(self) -> list[Asked]:
        """In order."""
        return [Asked(*json.loads(line)) for line in self._journal.read_text().splitlines()]


@contextlib.contextmanager
def web_server(
    folder: Path, *, address: str = "127.0.0.1", ca: trustme.CA | None = None, name: str = ""
) -> Iterator[WebServer]:
    """Serves `folder`; over TLS, as `name`, where there is an authority."""
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        if ca is not None:
            ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(room / "pem"))
        words = [sys.executable, "-m", "tests.support.web_server", address, str(folder), place]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                yield WebServer(process, port, room / "asked")
            finally:
                process.kill()


def _serve(address: str, folder: str, place: str) -> None:
    journal = os.open(f"{place}/asked", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=folder)

        def send_response(self, code: int, message: str | None = None) -> None:
            fields = {key.lower(): value for key, value in self.headers.items()}
            line = json.dumps([self.command, self.path, fields]) + "\n"
            os.write(journal, line.encode())
            super().send_response(code, message)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    if os.path.exists(f"{place}/pem"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{place}/pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
