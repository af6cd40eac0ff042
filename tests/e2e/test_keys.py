"""`idempotency_key = "generate"` with real sockets: through the daemon, and from the command.

Two servers; the first one ends its connections in the middle of a POST, as the kernel of a process that was
killed does. The other one must see the same key.
"""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from tests.support.command import haclient, needs_command
from tests.support.sidecar import sidecar
from tests.support.threaded_server import ThreadedServer, serving

pytestmark = needs_command

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

GENERATES = {"order": "listed", "idempotency_key": "generate"}


class Server(ThreadedServer):
    """Reads whole requests with small content, and answers them or hangs up.

    Attributes:
        requests: how many it read whole: what a server executes.
        keys: what it saw.
    """

    def __init__(self, *, hangs_up: bool) -> None:
        super().__init__()
        self.hangs_up = hangs_up
        self.requests = 0
        self.keys: list[str] = []

    def answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"x=1"):
            received = connection.recv(65536)
            if not received:
                return
            data += received
        self.requests += 1
        names = [line.partition(b": ") for line in data.split(b"\r\n")]
        self.keys += [value.decode() for name, _, value in names if name == b"Idempotency-Key"]
        if not self.hangs_up:
            connection.sendall(ANSWER)


def two_servers() -> AbstractContextManager[tuple[Server, ...]]:
    return serving(Server(hangs_up=True), Server(hangs_up=False))


def post(url: str) -> bytes:
    with closing(urllib.request.urlopen(url, data=b"x=1", timeout=20)) as answer:
        content: bytes = answer.read()
        return content


def test_the_daemon_gives_each_post_a_key_and_keeps_it_for_the_resend() -> None:
    with two_servers() as (dying, living), sidecar(dying.url, living.url, target=GENERATES) as door:
        assert post(door.url) == b"ok"
        assert (dying.requests, living.requests) == (1, 1)
        assert dying.keys == living.keys
        dying.hangs_up = False
        for _ in range(2):
            assert post(door.url) == b"ok"
        keys = dying.keys + living.keys[1:]
        assert len(set(keys)) == len(keys) == 3
        assert all(key.startswith('"') and key.endswith('"') and len(key) == 38 for key in keys)


def test_without_it_the_post_is_not_sent_again() -> None:
    honours = {**GENERATES, "idempotency_key": "honour"}
    with two_servers() as (dying, living), sidecar(dying.url, living.url, target=honours) as door:
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(door.url)
        with caught.value as error:
            problem = json.loads(error.read())
        assert (error.code, problem["may_have_been_processed"]) == (502, True)
        assert (dying.requests, living.requests) == (1, 0)
        assert (dying.keys, living.keys) == ([], [])


def test_the_command_with_the_daemons_target(tmp_path: Path) -> None:
    with two_servers() as (dying, living):
        file = tmp_path / "haclient.toml"
        urls = f'urls = ["{dying.url}", "{living.url}"]'
        file.write_text(f'[target.t]\n{urls}\norder = "listed"\nidempotency_key = "generate"\n')
        words = ["request", "-sS", "-c", str(file), "--target", "t", "-d", "x=1"]
        ran = haclient([*words, "/"])
        assert (ran.returncode, ran.stdout) == (0, b"ok"), ran.stderr
        assert len(dying.keys) == 1
        assert dying.keys == living.keys
        ran = haclient([*words, "--idempotency-key=mine", "/"])
        assert (ran.returncode, dying.keys[1:], living.keys[1:]) == (0, ["mine"], ["mine"])
