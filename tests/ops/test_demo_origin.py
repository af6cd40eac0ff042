"""The demonstration's server, in this process: what it answers, reports and obeys."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from haclient.ops import demo_origin
from haclient.ops.demo_origin import Origin, main, obey

PATIENCE = 10.0


class Reports:
    """What was written to stdout, in this process a pipe."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "rb")

    def next(self) -> str:
        return self._pipe.readline().decode().rstrip("\n")

    def close(self) -> None:
        self._pipe.close()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reports]:
    read, write = os.pipe()
    monkeypatch.setattr(demo_origin, "STDOUT", write)
    reports = Reports(read)
    yield reports
    os.close(write)
    reports.close()


@pytest.fixture
def origin(reports: Reports) -> Iterator[Origin]:
    server = Origin("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def connection(origin: Origin, timeout: float = PATIENCE) -> http.client.HTTPConnection:
    host, port = cast("tuple[str, int]", origin.server_address[:2])
    return http.client.HTTPConnection(host, port, timeout=timeout)


def test_a_get_and_a_post_are_reported_and_answered(origin: Origin, reports: Reports) -> None:
    client = connection(origin)
    client.request("GET", "/orders/7")
    answer = client.getresponse()
    assert answer.read() == b'{"order": "7", "served_by": "127.0.0.1"}\n'
    client.request("POST", "/orders/8", body=b"one of each")
    assert client.getresponse().read().startswith(b'{"order": "8"')
    client.close()
    assert [reports.next(), reports.next()] == ["ran GET 7", "ran POST 8"]


def test_it_thinks_only_if_the_query_names_it(origin: Origin, reports: Reports) -> None:
    client = connection(origin)
    client.request("GET", "/orders/7?at=127.0.0.9&think=60")
    assert client.getresponse().read()
    client.request("GET", "/orders/8?at=127.0.0.1&think=0.05")
    assert client.getresponse().read()
    client.close()


def test_cut_off_it_neither_hears_nor_speaks_and_healed_it_does(
    origin: Origin, reports: Reports
) -> None:
    client = connection(origin)
    client.request("GET", "/orders/7?at=127.0.0.1&think=0.1")
    assert reports.next() == "ran GET 7"
    obey(origin, "blackhole")
    assert reports.next() == "done"
    assert client.sock is not None
    client.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        client.sock.recv(1, socket.MSG_PEEK)
    with socket.socket() as other:
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):
            other.connect(origin.server_address)
    obey(origin, "heal")
    assert reports.next() == "done"
    client.sock.settimeout(PATIENCE)
    assert client.getresponse().read().startswith(b'{"order": "7"')
    client.close()


def test_a_connection_that_waits_to_be_accepted_is_lost_in_the_blackhole_too(
    reports: Reports,
) -> None:
    server = Origin("127.0.0.1", 0)
    with socket.create_connection(cast("tuple[str, int]", server.server_address[:2])) as client:
        server.cut_off()
        accepted, _ = server.get_request()
        client.sendall(b"GET /orders/7 HTTP/1.1\r\n\r\n")
        accepted.settimeout(0.2)
        with pytest.raises(TimeoutError):
            accepted.recv(1)
        server.shutdown_request(accepted)
    server.server_close()


def test_an_order_that_it_does_not_know_fails(origin: Origin, reports: Reports) -> None:
    obey(origin, "dance")
    assert reports.next() == "failed 'dance'"


def test_a_client_that_goes_away_makes_no_noise(
    origin: Origin, reports: Reports, capfd: pytest.CaptureFixture[str]
) -> None:
    client = connection(origin)
    client.request("GET", "/orders/7?at=127.0.0.1&think=0.1")
    assert reports.next() == "ran GET 7"
    assert client.sock is not None
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    other = connection(origin)
    other.request("GET", "/orders/8?at=127.0.0.1&think=0.2")
    assert other.getresponse().read()
    other.close()
    assert capfd.readouterr().err == ""


def test_an_address_that_is_taken_is_reported(reports: Reports) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["127.0.0.1", str(taken.getsockname()[1])]) == 1
    assert reports.next() == "failed Address already in use"


def test_as_a_process_it_says_ready_and_ends_with_its_stdin() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "haclient.ops.demo_origin", "127.0.0.1", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("heal\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
