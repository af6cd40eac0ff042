"""One request to the daemon, and everything that can go wrong on that way."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from haclient.ops.admin_client import address_of, ask
from haclient.ops.command_line import CommandError
from tests.support.admin_server import AdminServer, admin_server, reply

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["unix", "tcp", "tcp6"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AdminServer]:
    address = {"unix": f"unix:{tmp_path}/admin.sock", "tcp": "127.0.0.1:0"}.get(request.param)
    if address is None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
            yield from _served(AdminServer(listening, f"[::1]:{listening.getsockname()[1]}"))
        return
    with admin_server(address) as made:
        yield made


def _served(server: AdminServer) -> Iterator[AdminServer]:
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join(10)


def test_what_is_sent_and_what_comes_back(server: AdminServer) -> None:
    server.answers["/reload"] = reply(409, b'{"lines": []}', "Application/JSON; charset=utf-8")
    answer = ask(server.address, "POST", "/reload", 10)

    assert (answer.status, answer.media_type, answer.content) == (
        409,
        "application/json",
        b'{"lines": []}',
    )
    assert not answer.is_successful
    (head,) = server.requests
    line, *fields = head.decode().split("\r\n")
    assert line == "POST /reload HTTP/1.0"
    assert "Host: localhost" in fields
    assert "Content-Length: 0" in fields


@pytest.fixture
def tcp() -> Iterator[AdminServer]:
    with admin_server() as made:
        yield made


def test_an_answer_in_pieces(tcp: AdminServer) -> None:
    whole = reply(200, b"x" * 100_000, "text/plain")[0]
    assert isinstance(whole, bytes)
    tcp.answers["/"] = [whole[:10], 0.05, whole[10:70], 0.05, whole[70:]]

    assert ask(tcp.address, "GET", "/", 10).content == b"x" * 100_000


def test_an_answer_that_ends_with_the_connection(tcp: AdminServer) -> None:
    tcp.answers["/"] = [b"HTTP/1.1 200 OK\r\n\r\nready\n"]
    answer = ask(tcp.address, "GET", "/", 10)

    assert (answer.content, answer.media_type, answer.is_successful) == (b"ready\n", "", True)


@pytest.mark.parametrize(
    ("pieces", "code", "message"),
    [
        ([], 52, "closed without an answer"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], 1, "does not speak HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-"], 1, "does not speak HTTP"),
        ([b"HTTP/1.1 two hundred\r\n\r\n"], 1, "does not speak HTTP"),
        (reply(200, b"half", length=8), 56, "broke off"),
    ],
)
def test_an_answer_that_is_none(
    pieces: list[bytes], code: int, message: str, tcp: AdminServer
) -> None:
    tcp.answers["/"] = pieces
    with pytest.raises(CommandError, match=message) as caught:
        ask(tcp.address, "GET", "/", 10)

    assert caught.value.exit_code == code
    assert tcp.address in str(caught.value)


@pytest.mark.parametrize("pieces", [[30.0], [b"HTTP/1.1 200 OK\r\n", *[b"a", 0.05] * 200]])
def test_a_daemon_that_is_too_slow(pieces: list[bytes | float], tcp: AdminServer) -> None:
    tcp.answers["/"] = pieces
    with pytest.raises(CommandError, match=r"did not answer within 0\.3 s") as caught:
        ask(tcp.address, "GET", "/", 0.3)

    assert caught.value.exit_code == 28


def test_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        child = subprocess.Popen(
            [sys.executable, "-c", ASKING, address], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        connection, _ = listening.accept()
        connection.recv(100)
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )  # closed by RST
        connection.close()
        with child:
            out, _ = child.communicate(timeout=20)

    assert out.startswith("56 the daemon at 127.0.0.1:")
    assert "Connection reset by peer" in out


ASKING = """
import os, sys
from haclient.ops.admin_client import ask
from haclient.ops.command_line import CommandError
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
try:
    ask(sys.argv[1], "GET", "/", 10)
except CommandError as error:
    print(error.exit_code, error)
"""


def test_nobody_is_there(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/admin.sock"
    with pytest.raises(CommandError) as caught:
        ask(address, "GET", "/", 10)

    assert caught.value.exit_code == 7
    assert str(caught.value) == (
        f"the daemon cannot be reached at {address}: No such file or directory; is it running "
        "('haclient serve'), and is that its address (-c, --admin)?"
    )


def test_nothing_listens_there() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(CommandError, match="Connection refused") as caught:
            ask(f"127.0.0.1:{bound.getsockname()[1]}", "GET", "/", 10)

    assert caught.value.exit_code == 7


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not")
def test_who_may_not_ask() -> None:
    with TemporaryDirectory() as folder, admin_server(f"unix:{folder}/admin.sock") as server:
        os.chmod(folder, 0o755)
        os.chmod(f"{folder}/admin.sock", 0o600)
        ran = subprocess.run(
            [sys.executable, "-c", ASKING, server.address, "65534"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=20,
        )

    assert ran.stdout == (
        f"7 the daemon cannot be reached at {server.address}: Permission denied; ask as its user, "
        "or as root\n"
    )


@pytest.mark.parametrize(
    "address",
    [
        *("", "unix:", "unix:admin.sock", "unix:/a\0b", "localhost:9000", "127.0.0.1", "::1:9000"),
        *("127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "[127.0.0.1]:9000"),
        *("systemd:admin", "http://127.0.0.1:9000", "127.1:9000"),
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(CommandError, match="is no address to ask: write ") as caught:
        ask(address, "GET", "/", 10)

    assert caught.value.exit_code == 78


# --- where the daemon is --------------------------------------------------------------------------


def test_the_address_out_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "haclient.toml"
    file.write_text('[target.orders]\nurls = "wrong"\n[admin]\nbind = "127.0.0.1:9000"\n')

    assert address_of(str(file)) == "127.0.0.1:9000"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", 'has no \\[admin\\] bind, as "unix:/run/haclient/admin.sock"'),
        (b"[admin]\nbind = 9000", "has no \\[admin\\] bind"),
        (b"admin = 3", "does not say where the daemon is"),
        (b"[admin", "does not say where the daemon is"),
        (b"\xff", "does not say where the daemon is"),
        (b'[admin]\nbind = "systemd:admin"', "known to the service manager alone"),
    ],
)
def test_a_file_that_does_not_tell(text: bytes | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "haclient.toml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(CommandError, match=message) as caught:
        address_of(str(file))

    assert caught.value.exit_code == 78
    assert str(file) in str(caught.value)
    assert str(caught.value).endswith("; name the file with -c, or the endpoint with --admin")


@pytest.mark.parametrize(
    "text",
    [
        '[admin]\nbind = "127.0.0.1:9"\n[target.a\n',
        "[target.a]\nurls = [\nbind = 'no'\n [ admin ] # here\n  bind='127.0.0.1:9' # there\n",
        '[admin]\nbind = "127.0.0.1:9"\n[target.a]\nurls = ',
    ],
)
def test_a_broken_file_of_a_daemon_that_runs(text: str, tmp_path: Path) -> None:
    path = tmp_path / "haclient.toml"
    path.write_text(text)

    assert address_of(str(path)) == "127.0.0.1:9"


@pytest.mark.parametrize(
    "text",
    [
        'bind = "no"\n\n[a',
        '[admin]\nbind = "no\n[a',
        "[admin]\nbind = 3\n[a",
        "[admin]\nbindings = 'no'\n[a",
    ],
)
def test_a_broken_file_that_does_not_tell(text: str, tmp_path: Path) -> None:
    path = tmp_path / "haclient.toml"
    path.write_text(text)
    with pytest.raises(CommandError) as caught:
        address_of(str(path))

    assert "it is not TOML: " in str(caught.value)
    assert re.search(r"line \d", str(caught.value))
    assert "--admin" in str(caught.value)
