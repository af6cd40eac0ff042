"""What stops the daemon's start: one line for each thing that is wrong, an exit code, no traceback.

What systemd does with these codes is in its unit: it does not start again what no other start mends.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from haclient.ops import serve
from tests.support.command import haclient, needs_command
from tests.support.daemon import daemon, reverse, write_file
from tests.support.sidecar import free_port

pytestmark = needs_command

URL = "http://127.0.0.1:1"
"""Nobody is asked before a client is there."""

CONFIGURATION, USAGE = 78, 2


def lines_of(ran: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Of stderr; nothing is on stdout, and no line of it is of a traceback."""
    assert ran.stdout == b""
    lines = ran.stderr.decode().splitlines()
    assert all(line.startswith("haclient: ") for line in lines), lines
    return lines


def refused(folder: Path, text: str) -> list[str]:
    """The lines with which a file stops the start."""
    ran = haclient(["serve", "-c", write_file(folder, text)], timeout=30)
    assert ran.returncode == CONFIGURATION, ran.stderr
    return lines_of(ran)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = reverse(URL, "127.0.0.1:8080", max_attemps="3", failover_window='"soon"')
    lines = refused(tmp_path, text + '[listener.other]\nbind = "nowhere"\ntarget = "mian"\n')

    file = f"haclient: (78) {tmp_path}/haclient.toml:"
    assert all(line.startswith(file) for line in lines), lines
    for where, what in [
        ("[target.main]", "max_attempts"),
        ("[target.main]", "soon"),
        ("[listener.other]", "nowhere"),
        ("[listener.other]", "mian"),
    ]:
        assert sum(where in line and what in line for line in lines) == 1, (where, what, lines)
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("[target.main", ["haclient.toml:1"], id="no TOML"),
        pytest.param(
            reverse(URL, "127.0.0.1:8080", tls='{ ca_file = "/nowhere/ca.pem" }'),
            ["/nowhere/ca.pem", "No such file"],
            id="a missing certificate",
        ),
        pytest.param(
            reverse(URL, "192.0.2.1:8080") + "public = true\n",
            ["192.0.2.1:8080", "no interface of this machine"],
            id="an address of another machine",
        ),
        pytest.param(
            reverse(URL, "unix:/nowhere/door.sock"),
            ["unix:/nowhere/door.sock", "make it"],
            id="a folder that is not there",
        ),
        pytest.param(
            reverse(URL, "systemd:orders"),
            ["no socket named 'orders' was inherited"],
            id="a socket that nobody handed over",
        ),
    ],
)
def test_one_mistake_is_one_line(tmp_path: Path, text: str, words: list[str]) -> None:
    (line,) = refused(tmp_path, text)

    assert all(each in line for each in words), line


PROXY = '[listener.proxy]\nmode = "forward"\nbind = "systemd:door"\nallow = ["*:*"]\n'

USERS = "job:$scrypt$ln=14,r=8,p=1$7cXJ0f2O0rA1qk9f3yXzWA$" + "A" * 43 + "\n"


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
@pytest.mark.parametrize(
    ("auth", "why"),
    [
        pytest.param("", "others on the network can use it, and nobody is asked", id="nobody"),
        pytest.param(
            'auth = {{ users_file = "{}" }}\n', "passwords would cross the network", id="no TLS"
        ),
    ],
)
def test_a_socket_that_systemd_opened_to_the_network(
    tmp_path: Path, address: str, auth: str, why: str
) -> None:
    """The file cannot know where it is bound; the socket does, and the same rule holds for it."""
    users = tmp_path / "users"
    users.touch(mode=0o600)
    users.write_text(USERS)
    text = PROXY + auth.format(users)
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as open_to_all:
        open_to_all.bind((address, 0))
        open_to_all.listen()
        sockets = [("door", open_to_all)]
        with (
            pytest.raises(AssertionError, match=f"78: haclient: .78. listener proxy: .*{why}"),
            daemon(tmp_path, text, sockets=sockets),
        ):
            pass
        with daemon(tmp_path, text + "public = true\n", sockets=sockets) as process:
            assert process.end() == 0


def test_a_file_without_a_door(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, f'[target.main]\nurls = ["{URL}"]\n')

    assert line.startswith("haclient: (78) ")
    assert "there is no [listener.NAME]" in line


def test_an_address_in_use(tmp_path: Path, taken: int) -> None:
    (line,) = refused(tmp_path, reverse(URL, f"127.0.0.1:{taken}"))

    assert f"cannot listen on 127.0.0.1:{taken}: Address already in use: another process" in line


def test_an_address_in_use_behind_one_that_is_free(tmp_path: Path, taken: int) -> None:
    """Nothing of what was opened first is left behind: not the path of a Unix socket either."""
    door = tmp_path / "door.sock"
    (line,) = refused(tmp_path, reverse(URL, f"unix:{door}", f"127.0.0.1:{taken}"))

    assert str(taken) in line
    assert not door.exists()


def test_a_second_daemon_of_the_same_file(tmp_path: Path) -> None:
    """It says so and ends; the first one loses neither its doors nor its admin socket."""
    door = tmp_path / "door.sock"
    text = reverse(URL, f"unix:{door}", f"127.0.0.1:{free_port()}")
    with daemon(tmp_path, text) as first:
        (line,) = refused(tmp_path, text)
        assert "Address already in use" in line
        ran = haclient(["ready", "--admin", first.admin])
        assert (ran.returncode, ran.stderr) == (0, b"")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(door))
        assert first.end() == 0


def test_an_admin_socket_in_use(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(f"{tmp_path}/admin.sock")
        held.listen()
        (line,) = refused(tmp_path, reverse(URL, f"unix:{tmp_path}/door.sock"))

    assert not (tmp_path / "door.sock").exists()
    assert "admin.sock" in line
    assert "Address already in use" in line


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    ran = haclient(["serve", "-c", tmp_path / "nowhere.toml"])

    (line,) = lines_of(ran)
    assert ran.returncode == CONFIGURATION
    assert "nowhere.toml" in line
    assert "No such file" in line


def test_a_file_that_may_not_be_read(
    private_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, for it is the one that may not."""
    assert serve.run(["-c", str(private_file)]) == CONFIGURATION

    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert (out, line.startswith("haclient: ")) == ("", True)
    assert str(private_file) in line
    assert "Permission denied" in line


@pytest.mark.parametrize("words", [["--demon"], ["serve"], ["-c"]])
def test_a_command_line_that_is_none(words: list[str]) -> None:
    ran = haclient(["serve", *words])

    (line,) = lines_of(ran)
    assert ran.returncode == USAGE
    assert "--help" in line


def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """A misspelt bind must not cost somebody a file."""
    file = tmp_path / "orders.db"
    file.write_bytes(b"precious")
    (line,) = refused(tmp_path, reverse(URL, f"unix:{file}"))

    assert "something that is no socket is there" in line
    assert file.read_bytes() == b"precious"
