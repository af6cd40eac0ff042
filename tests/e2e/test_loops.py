"""Daemons whose targets lead back to them: an answer in bounded time, after a bounded number of hops."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import time
from pathlib import Path

import pytest

from tests.support.command import haclient, needs_command
from tests.support.daemon import Daemon, daemon, write_file
from tests.support.sidecar import free_port

pytestmark = needs_command

BOUND = 5.0
"""Seconds; it takes some milliseconds where nothing else runs."""


def listener(bind: str, url: str, more: str = "") -> str:
    return f'[target.main]\nurls = ["{url}"]\n[listener.main]\nbind = "{bind}"\ntarget = "main"\n{more}\n'


def ask(port: int) -> tuple[int, str, dict[str, object]]:
    """Status, Proxy-Status and content of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", "/x")
        answer = connection.getresponse()
        content = json.loads(answer.read())
        return answer.status, answer.headers["Proxy-Status"], content


def hops(process: Daemon) -> int:
    """Requests that the daemon has answered."""
    return process.log.count('path="/x"')


@pytest.mark.parametrize("via", ["via = true", "via = false"])
def test_a_daemon_does_not_dial_itself(via: str, tmp_path: Path) -> None:
    """The name hides it from `check`; one hop, and nothing is sent."""
    port = free_port()
    text = listener(f"0.0.0.0:{port}", f"http://localhost:{port}/", f"public = true\n{via}")
    with daemon(tmp_path, text) as process:
        began_at = time.perf_counter()
        status, proxy_status, content = ask(port)
        assert time.perf_counter() - began_at < BOUND
        assert status == 508
        assert proxy_status.startswith("haclient; error=proxy_loop_detected; ")
        assert "it is listener main of this daemon" in str(content["detail"])
        process.wait_until(lambda: hops(process) == 1)


def test_nor_a_socket_that_it_inherits(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        text = listener("systemd:door", f"http://127.0.0.1:{port}/")
        with daemon(tmp_path, text, sockets=[("door", sock)]):
            assert ask(port)[0] == 508


def test_after_a_reload_it_is_the_new_ones(tmp_path: Path) -> None:
    """The old port is somebody else's then, and nobody listens."""
    old, new = free_port(), free_port()
    with daemon(tmp_path, listener(f"127.0.0.1:{old}", f"http://localhost:{new}/")) as process:
        assert ask(old)[0] == 502
        process.reload(listener(f"127.0.0.1:{new}", f"http://localhost:{new}/"))
        assert ask(new)[0] == 508
        process.reload(listener(f"127.0.0.1:{new}", f"http://localhost:{old}/"))
        assert ask(new)[0] == 502


FORWARD = """[listener.proxy]
mode = "forward"
bind = "127.0.0.1:{port}"
allow = ["127.0.0.1:1-65535"]
"""


def through(port: int, method: str, target: str) -> tuple[int, bytes]:
    """Status and content of what a forward listener answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_nobody_gives_orders_through_a_door(tmp_path: Path) -> None:
    """The admin endpoint trusts this machine; a list that allows loopback does not open it to others."""
    admin, door, other = free_port(), free_port(), free_port()
    private = f'[admin]\nbind = "127.0.0.1:{admin}"\n'
    with daemon(tmp_path, private + FORWARD.format(port=door)) as process:
        assert through(admin, "GET", "/config")[0] == 200
        for method, target in [
            ("GET", f"http://127.0.0.1:{admin}/config"),
            ("POST", f"http://[::ffff:127.0.0.1]:{admin}/drain"),
            ("CONNECT", f"127.0.0.1:{admin}"),
        ]:
            status, content = through(door, method, target)
            assert status == 508, content
            assert b"it is the admin endpoint of this daemon" in content
        process.reload(
            private
            + FORWARD.format(port=door)
            + listener(f"127.0.0.1:{other}", f"http://localhost:{admin}/")
        )
        assert through(door, "GET", f"http://127.0.0.1:{admin}/config")[0] == 508
        assert ask(other)[0] == 508


def test_two_daemons_in_a_circle(tmp_path: Path) -> None:
    one, two = free_port(), free_port()
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with (
        daemon(folders[0], listener(f"127.0.0.1:{one}", f"http://127.0.0.1:{two}/")) as first,
        daemon(folders[1], listener(f"127.0.0.1:{two}", f"http://127.0.0.1:{one}/")) as second,
    ):
        began_at = time.perf_counter()
        status, proxy_status, _ = ask(one)
        assert time.perf_counter() - began_at < BOUND
        assert status == 508
        assert "error=proxy_loop_detected" in proxy_status
        first.wait_until(lambda: hops(first) == 3)
        second.wait_until(lambda: hops(second) == 2)


def test_check_knows_an_address_of_the_file(tmp_path: Path) -> None:
    path = write_file(tmp_path, listener("127.0.0.1:8080", "http://127.0.0.1:8080/"))
    ran = haclient(["check", "-c", str(path)])
    assert ran.returncode != 0
    told = (ran.stdout + ran.stderr).decode()
    assert "that is [listener.main]: what is sent there would come back" in told
