"""Sockets by inheritance: a child gets them as from the service manager, and says what it found."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from haclient.ops.command_line import CommandError
from haclient.ops.inherited import inherited_sockets

ROOT = Path(__file__).parents[2]

CHILD = """
import json, os, sys
from haclient.ops.command_line import CommandError
from haclient.ops.inherited import inherited_sockets
try:
    found = inherited_sockets()
except CommandError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print(json.dumps({
    "sockets": {
        name: [[s.fileno(), s.family.name, os.get_inheritable(s.fileno())] for s in sockets]
        for name, sockets in found.items()
    },
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
    "again": list(inherited_sockets()),
}))
if "accept" in sys.argv:
    for sockets in found.values():
        for each in sockets:
            connection, _ = each.accept()
            connection.sendall(b"served")
            connection.close()
"""

HAND_OVER = """
import os, sys
count = int(sys.argv[1])
for n in range(count):
    os.dup2(100 + n, 3 + n, inheritable=True)
os.environ["LISTEN_PID"] = sys.argv[2].replace("self", str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""
"""As the manager does: descriptors from 3 on, and the number that the process will have."""


def started(
    descriptors: Sequence[int], variables: Mapping[str, str], *words: str, meant: str = "self"
) -> subprocess.Popen[str]:
    """The child; `descriptors` become 3, 4, ... in it."""
    with ExitStack() as stack:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, 100 + number)
            stack.callback(os.close, 100 + number)
        return subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, str(len(descriptors)), meant, "-c", CHILD, *words],
            pass_fds=range(100, 100 + len(descriptors)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **variables},
        )


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    with child:
        try:
            out, err = child.communicate(timeout=20)
        finally:
            child.kill()
    return child.returncode, out, err


def found(child: subprocess.Popen[str]) -> dict[str, Any]:
    code, out, err = ended(child)
    assert (code, err) == (0, "")
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def unix(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "door"))
        listening.listen()
        yield listening


def test_sockets_by_name_and_in_order(tcp: socket.socket, unix: socket.socket) -> None:
    variables = {"LISTEN_FDS": "3", "LISTEN_FDNAMES": "orders:admin:orders"}
    told = found(started([tcp.fileno(), unix.fileno(), unix.fileno()], variables))

    assert told["sockets"] == {
        "orders": [[3, "AF_INET", False], [5, "AF_UNIX", False]],
        "admin": [[4, "AF_UNIX", False]],
    }


def test_nothing_is_left_for_a_child_of_the_daemon(tcp: socket.socket) -> None:
    told = found(started([tcp.fileno()], {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "orders"}))

    assert told["left"] == []
    assert told["again"] == []


def test_a_client_is_served_on_an_inherited_socket(tcp: socket.socket) -> None:
    with socket.create_connection(tcp.getsockname()) as waiting:  # before the daemon is there
        child = started([tcp.fileno()], {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"}, "accept")
        waiting.settimeout(20)

        assert waiting.recv(10) == b"served"
        assert ended(child)[0] == 0


def test_without_names(tcp: socket.socket) -> None:
    assert found(started([tcp.fileno()], {"LISTEN_FDS": "1"}))["sockets"] == {
        "unknown": [[3, "AF_INET", False]]
    }


def test_what_is_meant_for_another_process_is_left_alone(tcp: socket.socket) -> None:
    told = found(started([tcp.fileno()], {"LISTEN_FDS": "1"}, meant="1"))

    assert told == {"sockets": {}, "left": [], "again": []}


@pytest.mark.parametrize("environ", [{}, {"LISTEN_PID": "5"}, {"LISTEN_FDS": "1"}])
def test_no_service_manager(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ, 5) == {}


@pytest.mark.parametrize("names", [None, ""])
def test_none_at_all(names: str | None) -> None:
    environ = {"LISTEN_PID": "5", "LISTEN_FDS": "0"}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names

    assert inherited_sockets(environ, 5) == {}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LISTEN_FDS": "two"}, "LISTEN_FDS='two' is no number of sockets"),
        ({"LISTEN_FDS": "-1"}, "LISTEN_FDS='-1' is no number of sockets"),
        ({"LISTEN_FDS": "99999"}, "LISTEN_FDS='99999' is no number of sockets"),
        ({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a:b"}, "'a:b' does not name 1 sockets"),
        ({"LISTEN_FDS": "0", "LISTEN_FDNAMES": "a"}, "'a' does not name 0 sockets"),
    ],
)
def test_variables_that_make_no_sense(variables: dict[str, str], message: str) -> None:
    with pytest.raises(CommandError, match=re.escape(message)) as caught:
        inherited_sockets({"LISTEN_PID": "5", **variables}, 5)

    assert caught.value.exit_code == 78


def refused(descriptor: int, variables: Mapping[str, str]) -> str:
    """The one line of a child that was given the wrong thing."""
    code, out, err = ended(started([descriptor], variables))
    assert (code, out) == (78, "")
    line, end, rest = err.partition("\n")
    assert (end, rest) == ("\n", "")
    assert line.startswith("inherited sockets: ")
    assert line.endswith("(ListenStream= and Accept=no in the socket unit)")
    return line


ONE = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "orders"}


def test_a_file_is_no_socket() -> None:
    with open(os.devnull) as file:
        assert "descriptor 3 ('orders') is no socket" in refused(file.fileno(), ONE)


def test_a_socket_that_was_not_passed(tcp: socket.socket) -> None:
    two = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "orders:admin"}

    assert "descriptor 4 ('admin') is no socket: Bad file descriptor" in refused(tcp.fileno(), two)


def test_a_datagram_socket() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        assert "descriptor 3 ('orders') is no stream socket" in refused(made.fileno(), ONE)


def test_a_socket_that_does_not_listen() -> None:
    with socket.socket() as made:
        assert "('orders') is a socket that does not listen" in refused(made.fileno(), ONE)


def test_a_socket_of_another_family() -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as made:
        assert "('orders') is a socket of another family" in refused(made.fileno(), ONE)
