"""Who may use a door, against the daemon as a process: other users, as the kernel knows them."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.support.certificates import write_ca, write_client_certificate, write_private
from tests.support.command import haclient, needs_command
from tests.support.sidecar import Sidecar, free_port, sidecar
from tests.support.stage import Stage

pytestmark = needs_command

NOBODY, SOMEBODY = 65534, 54321


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="doors-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def curl(*words: str, uid: int | None = None) -> tuple[int, str]:
    """Exit code, and the status behind the content."""
    as_user = (
        [] if uid is None else ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    )
    ran = subprocess.run(
        [*as_user, "curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return ran.returncode, ran.stdout


def knock(door: Sidecar, name: str, uid: int | None) -> tuple[int, str]:
    return curl("--unix-socket", str(door.folder / name), "http://orders.test/", uid=uid)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become others")
def test_a_unix_socket_for_one_user(stage: Stage, room: Path) -> None:
    guarded = {
        "bind": f"unix:{room / 'guarded'}",
        "target": "main",
        "socket_mode": "0666",
        "allow_uids": [NOBODY],
    }
    with sidecar(
        stage.places["URL"],
        folder=room,
        others={"listener.guarded": guarded},
        expected=["turned away"],
    ) as door:
        code, said = knock(door, "guarded", NOBODY)
        assert (code, said.splitlines()[-1]) == (0, "200"), said
        for uid in (SOMEBODY, 0):
            code, said = knock(door, "guarded", uid)
            assert (code, said.splitlines()[-1]) == (0, "403"), said
            assert f"user id {uid} may not use this door" in said
        lines = [line for line in door.stderr.splitlines() if "turned away" in line]
        assert len(lines) == 1, "one line each ten seconds"
        assert (
            f'listener=guarded client=unix why="user id {SOMEBODY} is not in allow_uids"'
            in lines[0]
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become others")
def test_a_unix_socket_by_its_mode(stage: Stage, room: Path) -> None:
    own = {"bind": f"unix:{room / 'own'}", "target": "main", "socket_mode": "0600"}
    with sidecar(stage.places["URL"], folder=room, others={"listener.own": own}) as door:
        code, said = knock(door, "own", NOBODY)
        assert code == 7, said
        code, said = knock(door, "own", 0)
        assert (code, said.splitlines()[-1]) == (0, "200"), said


# --- users and passwords --------------------------------------------------------------------------

SECRET = "open:sesame ü"


@pytest.fixture
def users(room: Path) -> Path:
    path = room / "users"
    ran = haclient(["passwd", path, "ann"], stdin=SECRET.encode() + b"\n")
    assert ran.returncode == 0, ran.stderr
    return path


def test_a_user_with_curl(stage: Stage, users: Path, room: Path) -> None:
    with sidecar(
        stage.places["URL"],
        folder=room,
        listener={"auth": {"users_file": "users"}},
        log={"level": "debug", "access": True},
        expected=["debug ", "info ", "turned away"],
    ) as door:
        for words, status in (
            (["-u", f"ann:{SECRET}"], "200"),
            (["--anyauth", "-u", f"ann:{SECRET}", "-d", "x" * 100_000], "200"),
            (["-u", f"ann:{SECRET}", "--unix-socket", str(door.unix_socket)], "200"),
            (["-u", "ann:hunter2"], "401"),
            (["-u", f"hunter2:{SECRET}"], "401"),
            ([], "401"),
        ):
            code, said = curl(*words, f"{door.url}/orders")
            assert (code, said.splitlines()[-1]) == (0, status), said
            assert "hunter2" not in said
        heads = b"".join(head for head, _ in stage.sent()[0]).lower()
        assert heads.count(b"/orders http/1.1") == 3
        assert b"authorization" not in heads
        shown = haclient(["status", "--json", "--admin", f"unix:{door.admin_socket}"]).stdout
        config = curl("--unix-socket", str(door.admin_socket), "http://localhost/config")[1]
        metrics = curl("--unix-socket", str(door.admin_socket), "http://localhost/metrics")[1]
        told = door.stderr + config + metrics + shown.decode()
        for secret in ("hunter2", "sesame", "scrypt", "Basic ", "YW5u"):
            assert secret not in told
        assert 'haclient_turned_away_total{listener="main",reason="credentials"} 2.0' in metrics


def test_a_users_file_that_all_can_read(stage: Stage, users: Path) -> None:
    users.chmod(0o644)
    path = users.parent / "haclient.toml"
    path.write_text(
        f'[target.main]\nurls = ["{stage.places["URL"]}"]\n[listener.main]\nbind = "127.0.0.1:1"\n'
        'target = "main"\nauth = { users_file = "users" }\n'
    )
    for command in ("check", "serve"):
        ran = haclient([command, "-c", path])
        assert ran.returncode == 78
        assert b':6: [listener.main] auth.users_file = "users": ' in ran.stderr
        assert b"has mode 0644: everybody can read it; chmod 600 it" in ran.stderr


def test_a_forward_proxy_asks_as_a_proxy(stage: Stage, users: Path, room: Path) -> None:
    """The client's own Authorization is for the server, and reaches it."""
    port = free_port()
    forward = {
        "bind": f"127.0.0.1:{port}",
        "mode": "forward",
        "allow": ["127.0.0.1:*"],
        "auth": {"users_file": "users"},
    }
    with sidecar(
        stage.places["URL"],
        folder=room,
        others={"listener.forward": forward},
        expected=["turned away"],
    ) as _:
        proxy, url, tls = f"http://127.0.0.1:{port}", stage.places["URL"], stage.places["TLS"]
        known = ["--proxy-user", f"ann:{SECRET}"]
        for words, status in (
            ([*known, "-u", "me:mine", url], "200"),
            ([*known, "-k", tls], "200"),
            (["--proxy-user", "ann:hunter2", url], "407"),
            (["-u", f"ann:{SECRET}", url], "407"),
            ([url], "407"),
        ):
            code, said = curl("-x", proxy, *words)
            assert (code, said.splitlines()[-1]) == (0, status), said
        code, said = curl("-x", proxy, "-k", "-v", tls)
        assert code == 56
        assert "< HTTP/1.1 407 " in said
        assert '< Proxy-Authenticate: Basic realm="haclient", charset="UTF-8"' in said
        heads = [head for door in stage.sent() for head, _ in door]
        assert [b"Authorization: Basic bWU6bWluZQ==" in head for head in heads] == [True, False]
        assert not any(b"proxy-authorization" in head.lower() for head in heads)


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def authority(room: Path) -> trustme.CA:
    """Files: door.pem, the authority's, and those of a client."""
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", "127.0.0.1")
    write_private(leaf.private_key_and_cert_chain_pem, room / "door.pem")
    write_ca(ca, room / "ca.pem")
    write_client_certificate(ca, room)
    return ca


def test_curl_with_a_client_certificate(stage: Stage, authority: trustme.CA, room: Path) -> None:
    tls = {"cert_file": "door.pem", "client_ca_file": "ca.pem"}
    with sidecar(
        stage.places["URL"],
        folder=room,
        listener={"tls": tls, "forwarded": True},
        expected=["turned away"],
    ) as door:
        url = f"https://{door.address}/orders"
        trust = ["--cacert", str(room / "ca.pem")]
        ours = ["--cert", str(room / "client.pem"), "--key", str(room / "client.key")]
        upload = room / "upload"
        upload.write_bytes(bytes(4 << 20))
        for words in ([], ["--tls-max", "1.2"], ["--data-binary", f"@{upload}"]):
            code, said = curl(*trust, *ours, *words, url)
            assert (code, said.splitlines()[-1]) == (0, "200"), said
        unix = ["--unix-socket", str(door.unix_socket)]
        code, said = curl(*trust, *ours, *unix, "https://localhost/orders")
        assert (code, said.splitlines()[-1]) == (0, "200"), said
        heads = [head for head, _ in stage.sent()[0]]
        assert all(b"proto=https" in head for head in heads)
        for words, status in ((trust, "000"), ([*trust, "--tls-max", "1.2"], "000")):
            code, said = curl(*words, url)
            assert code in (35, 56), said
            assert said.splitlines()[-1] == status
        code, said = curl(*ours, url)
        assert code == 60, "curl does not trust the door"
        code, said = curl(f"http://{door.address}/orders")
        assert (code, said.splitlines()[-1]) == (0, "400"), said
        assert stage.sent()[0] == []
        assert "did not return a certificate" in door.stderr


def test_a_reload_renews_certificate_and_users(
    stage: Stage, authority: trustme.CA, users: Path, room: Path
) -> None:
    with sidecar(
        stage.places["URL"],
        folder=room,
        listener={"tls": {"cert_file": "door.pem"}, "auth": {"users_file": "users"}},
        expected=["turned away", "reload refused"],
    ) as door:
        url = f"https://{door.address}/orders"

        def ask(ca_file: str, user: str) -> tuple[int, str]:
            code, said = curl("--cacert", str(room / ca_file), "-u", user, url)
            return code, said.splitlines()[-1]

        def reload() -> tuple[int, str]:
            ran = haclient(["reload", "--admin", f"unix:{door.admin_socket}"])
            return ran.returncode, (ran.stdout + ran.stderr).decode()

        assert ask("ca.pem", f"ann:{SECRET}") == (0, "200")
        other = trustme.CA()
        write_ca(other, room / "other.pem")
        leaf = other.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
        leaf.write_to_path(str(room / "door.pem"))
        haclient(["passwd", users, "bob"], stdin=b"builder\n")
        code, said = reload()
        assert (code, set(said.splitlines())) == (
            0,
            {
                "listener main: users, 2 of them",
                "listener main: certificates",
                "listener local: users, 2 of them",
                "listener local: certificates",
            },
        )
        assert ask("other.pem", "bob:builder") == (0, "200")
        assert ask("ca.pem", "bob:builder")[0] == 60
        (room / "door.pem").write_text("x")
        code, said = reload()
        assert code == 1
        assert "tls.cert_file" in said
        assert "not valid PEM" in said
        assert ask("other.pem", "bob:builder") == (0, "200")


def test_a_websocket_through_tls(authority: trustme.CA, room: Path) -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        try:
            with sidecar(url, folder=room, listener={"tls": {"cert_file": "door.pem"}}) as door:
                context = ssl.create_default_context(cafile=str(room / "ca.pem"))
                with connect(f"wss://{door.address}/", ssl=context, proxy=None) as client:
                    for size in (1, 1000, 500_000):
                        client.send("x" * size)
                        assert client.recv(20) == "x" * size
        finally:
            server.shutdown()
            thread.join(10)


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def test_another_protocol_in_tls(authority: trustme.CA, room: Path) -> None:
    """A client certificate in front of a server that knows no TLS."""
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tables: dict[str, dict[str, object]] = {
            "target.db": {"urls": [f"tcp://127.0.0.1:{listener.getsockname()[1]}"]},
            "listener.db": {
                "bind": f"127.0.0.1:{port}",
                "mode": "tcp",
                "target": "db",
                "tls": {"cert_file": "door.pem", "client_ca_file": "ca.pem"},
            },
        }
        with sidecar("http://127.0.0.1:1", folder=room, others=tables):
            context = ssl.create_default_context(cafile=str(room / "ca.pem"))
            context.load_cert_chain(room / "client.pem", room / "client.key")
            with (
                socket.create_connection(("127.0.0.1", port), 20) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
            ):
                client.sendall(b"select 1")
                server, _ = listener.accept()
                with server:
                    server.settimeout(20)
                    assert server.recv(100) == b"select 1"
                    server.sendall(b"1")
                    assert client.recv(100) == b"1"
                    server.shutdown(socket.SHUT_WR)
                    assert client.recv(100) == b""
