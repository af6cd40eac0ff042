"""A target's certificates, renewed under a daemon that runs: what servers see, and whom the daemon trusts."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import trustme

from tests.support.certificates import write_ca, write_client_certificate
from tests.support.command import haclient, needs_command
from tests.support.sidecar import Sidecar, sidecar

pytestmark = needs_command


class Server(http.server.ThreadingHTTPServer):
    """Speaks TLS, wants a client's certificate, and notes whose it saw with each request."""

    daemon_threads = True

    def __init__(self, authority: trustme.CA, clients: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        context.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.seen: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        assert isinstance(self.connection, ssl.SSLSocket)
        certificate = self.connection.getpeercert()
        assert certificate is not None
        self.server.seen.append(str(certificate["serialNumber"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(authority: trustme.CA, clients: trustme.CA) -> Iterator[Server]:
    with Server(authority, clients) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def reload(door: Sidecar) -> tuple[int, str]:
    ran = haclient(["reload", "--admin", f"unix:{door.admin_socket}"])
    return ran.returncode, (ran.stdout + ran.stderr).decode().strip()


def test_a_reload_renews_them(tmp_path: Path) -> None:
    ours, other = trustme.CA(), trustme.CA()
    ca_file = tmp_path / "servers.pem"
    write_ca(other, ca_file)
    cert_file, key_file = write_client_certificate(ours, tmp_path)
    tls = {"ca_file": str(ca_file), "cert_file": cert_file, "key_file": key_file}
    with (
        serving(ours, ours) as server,
        sidecar(
            f"https://127.0.0.1:{server.server_port}",
            folder=tmp_path,
            target={"tls": tls},
            expected=["reload refused", "outcome=own"],
        ) as door,
    ):
        assert httpx.get(door.url).status_code == 502, "that authority is not the server's"
        assert reload(door) == (0, "nothing changed")

        write_ca(ours, ca_file)
        assert reload(door) == (0, "target main: certificates")
        assert [httpx.get(door.url).status_code for _ in range(2)] == [200, 200]

        write_client_certificate(ours, tmp_path)
        assert reload(door) == (0, "target main: certificates")
        assert [httpx.get(door.url).status_code for _ in range(2)] == [200, 200]
        first, again, second, last = server.seen
        assert first == again != second == last, "a connection made with the old one was used"

        Path(cert_file).write_text("x")
        code, said = reload(door)
        assert code == 1
        assert "cert_file" in said
        assert httpx.get(door.url).status_code == 200
