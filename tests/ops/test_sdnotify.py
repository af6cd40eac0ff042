"""sd_notify(3), before a socket that listens as the service manager's does."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from haclient.ops.sdnotify import Notifier, watchdog_interval


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(5)
        yield listening


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    made = Notifier(manager.getsockname())
    yield made
    made.close()


def said(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_the_life_of_a_service(manager: socket.socket, notifier: Notifier) -> None:
    assert notifier.ready("2 listeners")
    assert said(manager) == ["READY=1", "STATUS=2 listeners"]
    assert notifier.ready()
    assert said(manager) == ["READY=1"]
    assert notifier.watchdog()
    assert said(manager) == ["WATCHDOG=1"]
    assert notifier.stopping()
    assert said(manager) == ["STOPPING=1"]
    assert notifier.stopping(within=31.5, status="3 outstanding")
    assert said(manager) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=31500000", "STATUS=3 outstanding"]


def test_a_reload_says_when(manager: socket.socket, notifier: Notifier) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert notifier.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    first, second = said(manager)
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after


def test_a_status_adds_no_assignment(manager: socket.socket, notifier: Notifier) -> None:
    notifier.ready("fine\nMAINPID=1\r\n")

    assert said(manager) == ["READY=1", "STATUS=fine MAINPID=1"]


def test_a_name_that_is_no_file() -> None:
    name = f"haclient-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(5)
        notifier = Notifier(f"@{name}")
        assert notifier.ready()
        notifier.close()

        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_nobody_is_told(address: str) -> None:
    notifier = Notifier(address)

    assert not notifier.ready()
    notifier.close()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "/" + "x" * 300, "/a\0b", "@" + "y" * 300])
def test_who_is_not_there_harms_nobody(address: str) -> None:
    notifier = Notifier(address)

    assert not notifier.ready()
    notifier.close()
    assert not notifier.ready()


def test_a_manager_that_does_not_read_does_not_block(
    manager: socket.socket, notifier: Notifier
) -> None:
    # net.unix.max_dgram_qlen bounds the queue, 10 or 512 by default.
    results = [notifier.watchdog() for _ in range(100_000)]

    assert results[0]
    assert not results[-1]
    while True:
        assert said(manager) == ["WATCHDOG=1"]
        if notifier.ready():
            break


def test_the_environment_is_left_without_it(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "PATH": "/bin"}
    notifier = Notifier.from_environment(environ)

    assert environ == {"PATH": "/bin"}
    assert notifier.ready()
    notifier.close()
    assert not Notifier.from_environment(environ).ready()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": ""}, 0.25),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "٣"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked(
    environ: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_interval(environ, 77) == seconds


def test_the_watchdog_of_this_process() -> None:
    assert watchdog_interval({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}) == 1.0
