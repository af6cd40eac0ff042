"""The probe and the orders, as processes before a stand-in for the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from haclient.ops.status_report import OrderReport
from tests.support.admin_server import AdminServer, admin_server, reply
from tests.support.command import haclient, needs_command

pytestmark = needs_command

PATHS = {"ready": "/readyz", "drain": "/drain", "reload": "/reload"}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[AdminServer]:
    (tmp_path / "haclient.toml").write_text(f'[admin]\nbind = "unix:{tmp_path}/admin.sock"\n')
    with admin_server(f"unix:{tmp_path}/admin.sock") as server:
        yield server


def report(*lines: str, is_done: bool = True) -> bytes:
    return msgspec.json.encode(OrderReport(is_done=is_done, lines=lines))


@pytest.mark.parametrize(
    ("command", "method"), [("ready", b"GET"), ("drain", b"POST"), ("reload", b"POST")]
)
def test_done(command: str, method: bytes, daemon: AdminServer, tmp_path: Path) -> None:
    daemon.answers[PATHS[command]] = reply(200, report("one", "two"))
    ran = haclient([command, "-c", tmp_path / "haclient.toml"])

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"one\ntwo\n", b"")
    assert daemon.requests[0].startswith(method + b" " + PATHS[command].encode() + b" ")


@pytest.mark.parametrize("status", [409, 503])
@pytest.mark.parametrize("command", PATHS)
def test_not_done(command: str, status: int, daemon: AdminServer) -> None:
    lines = ("haclient.toml:3: [target.a] urls is missing", "and more")
    daemon.answers[PATHS[command]] = reply(status, report(*lines, is_done=False))
    ran = haclient([command, "--admin", daemon.address])

    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.decode().splitlines() == list(lines)


def test_an_answer_in_plain_text(daemon: AdminServer) -> None:
    daemon.answers["/readyz"] = reply(503, b"draining\n", "text/plain")
    ran = haclient(["ready", "--admin", daemon.address])

    assert (ran.returncode, ran.stderr) == (1, b"draining\n")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"lines": 3}', b"[" * 100_000])
def test_json_of_another_kind_is_printed_as_it_is(content: bytes, daemon: AdminServer) -> None:
    daemon.answers["/drain"] = reply(202, content)
    ran = haclient(["drain", "--admin", daemon.address])

    assert (ran.returncode, ran.stdout) == (0, content + b"\n")


def test_no_terminal_is_at_the_mercy_of_a_line(daemon: AdminServer) -> None:
    daemon.answers["/reload"] = reply(409, report("a\x1b[2Jb\nc", is_done=False))
    ran = haclient(["reload", "--admin", daemon.address])

    assert ran.stderr == b"a\\x1b[2Jb\\nc\n"


def test_who_answers_is_another(daemon: AdminServer) -> None:
    ran = haclient(["reload", "--admin", daemon.address])  # 404

    assert ran.returncode == 22
    assert ran.stderr.decode() == (
        f"haclient: (22) POST /reload was answered with 404 at {daemon.address}; name the "
        "daemon's admin endpoint with --admin\n"
    )


def test_no_daemon(tmp_path: Path) -> None:
    ran = haclient(["ready", "--admin", f"unix:{tmp_path}/none.sock"])

    assert (ran.returncode, ran.stdout) == (7, b"")
    assert ran.stderr.startswith(b"haclient: (7) the daemon cannot be reached at unix:/")
    assert ran.stderr.count(b"\n") == 1


def test_a_daemon_that_hangs(daemon: AdminServer) -> None:
    daemon.answers["/readyz"] = [30.0]
    ran = haclient(["ready", "-m", "200ms", "--admin", daemon.address])

    assert ran.returncode == 28
    assert b"did not answer within 0.2 s; allow more with -m" in ran.stderr


def test_no_file(tmp_path: Path) -> None:
    ran = haclient(["reload", "-c", tmp_path / "none.toml"])

    assert ran.returncode == 78
    assert ran.stderr.decode() == (
        f"haclient: (78) {tmp_path}/none.toml: it cannot be read: No such file or directory; "
        "name the file with -c, or the endpoint with --admin\n"
    )


@pytest.mark.parametrize("command", PATHS)
def test_its_help(command: str) -> None:
    ran = haclient([command, "--help"])
    wait = "60" if command == "reload" else "10"
    assert f"wait no longer than this ({wait})" in ran.stdout.decode()

    assert ran.returncode == 0
    assert f"usage: haclient {command} [-c FILE | --admin ADDRESS]".encode() in ran.stdout


def test_a_word_too_many() -> None:
    ran = haclient(["drain", "now"])

    assert (ran.returncode, ran.stderr) == (
        2,
        b"haclient: (2) what is 'now'?; see 'haclient drain --help'\n",
    )
