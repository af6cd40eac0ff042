"""`haclient status`, as a process before a stand-in for the daemon."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from haclient.ops.status_report import StatusReport, TargetReport
from tests.support.admin_server import AdminServer, admin_server, reply
from tests.support.command import COMMAND, environment, haclient, needs_command
from tests.support.reports import REPORT
from tests.support.terminal import on_terminal

pytestmark = needs_command

AS_JSON = json.loads(msgspec.json.encode(REPORT))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[AdminServer]:
    (tmp_path / "haclient.toml").write_text(f'[admin]\nbind = "unix:{tmp_path}/admin.sock"\n')
    with admin_server(f"unix:{tmp_path}/admin.sock") as server:
        server.answers["/status"] = reply(200, msgspec.json.encode(REPORT))
        yield server


def test_a_page(daemon: AdminServer, tmp_path: Path) -> None:
    ran = haclient(["status", "-c", tmp_path / "haclient.toml"])

    assert (ran.returncode, ran.stderr) == (0, b"")
    text = ran.stdout.decode()
    assert text.startswith("haclient 0.2.0, pid 4711: running for 3 h 12 min\n")
    assert "GET /v1/orders/7  10.0.0.3:8080 → 10.0.0.2:8080  2.51 s" in text
    assert "\x1b" not in text


def test_a_page_on_a_terminal_is_coloured(daemon: AdminServer) -> None:
    ran = on_terminal([COMMAND, "status", "--admin", daemon.address])

    assert ran.returncode == 0
    assert "\x1b[1;32mrunning\x1b[0m" in ran.terminal


def test_json(daemon: AdminServer) -> None:
    ran = haclient(["status", "--json", "--admin", daemon.address])

    assert ran.returncode == 0
    assert json.loads(ran.stdout) == AS_JSON
    assert ran.stdout.startswith(b'{\n  "version": "0.2.0",\n')
    assert ran.stdout.isascii()


@pytest.mark.parametrize("words", [[], ["--json"], ["--watch"]])
def test_no_daemon(words: list[str], tmp_path: Path) -> None:
    ran = haclient(["status", *words, "--admin", f"unix:{tmp_path}/none.sock"])

    assert (ran.returncode, ran.stdout) == (7, b"")
    assert ran.stderr.startswith(b"haclient: (7) the daemon cannot be reached at unix:/")


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (reply(404, b"{}"), 22, "GET /status was answered with 404 (application/json)"),
        (reply(200, b"<p>", "text/html"), 22, "was answered with 200 (text/html)"),
        (reply(200, b"{"), 1, "is no JSON"),
        (reply(200, b"[" * 100_000), 1, "is no JSON"),
        (reply(200, b"[]"), 1, "is of another version"),
        (reply(200, b'{"version": "9"}'), 1, "has no attribute 'state'); see it with --json"),
        (reply(200, b'{"state": "running", "version": 3, "pid": 1}'), 1, "of another version"),
    ],
)
def test_who_answers_is_another(
    answer: list[bytes], code: int, message: str, daemon: AdminServer
) -> None:
    daemon.answers["/status"] = answer
    ran = haclient(["status", "--admin", daemon.address])

    assert (ran.returncode, ran.stdout) == (code, b"")
    assert message in ran.stderr.decode()
    assert ran.stderr.count(b"\n") == 1


def test_json_of_another_version_is_printed(daemon: AdminServer) -> None:
    daemon.answers["/status"] = reply(200, b'{"version": "9"}')
    ran = haclient(["status", "--json", "--admin", daemon.address])

    assert (ran.returncode, ran.stdout) == (0, b'{\n  "version": "9"\n}\n')


# --- watching -------------------------------------------------------------------------------------


def report(requests: int, uptime: float) -> list[bytes]:
    made = StatusReport(
        version="1",
        pid=1,
        state="running",
        started_at=0.0,
        uptime=uptime,
        config_file="a.toml",
        generation=1,
        targets=(TargetReport(name="orders", requests=requests),),
    )
    return reply(200, msgspec.json.encode(made))  # type: ignore[return-value]


class Watching:
    """The command, its output, and the end of it."""

    def __init__(self, words: list[str], *, on_terminal: bool) -> None:
        self.reading, writing = pty.openpty() if on_terminal else os.pipe()
        self.seen = b""
        self.process = subprocess.Popen(
            [COMMAND, "status", "--watch", *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(TERM="xterm-256color"),
        )
        os.close(writing)

    @property
    def text(self) -> str:
        """What was written up to now."""
        return self.seen.decode(errors="ignore")

    def until(self, is_there: Callable[[str], object]) -> None:
        """Reads until the text is as wanted."""
        for _ in range(1000):
            if is_there(self.text):
                return
            ready, _, _ = select.select([self.reading], [], [], 20)
            assert ready, self.text
            self.seen += os.read(self.reading, 65536)
        raise AssertionError(self.text)

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Sends the signal; returns exit code and stderr."""
        self.process.send_signal(number)
        with self.process:
            try:
                while piece := os.read(self.reading, 65536):
                    self.seen += piece
            except OSError:  # EIO: the terminal is gone
                pass
            _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err.decode()

    def close(self) -> None:
        """Whatever became of it."""
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stderr is not None and not self.process.stderr.closed:
            self.process.communicate(timeout=20)
        os.close(self.reading)


Watch = Callable[..., Watching]


@pytest.fixture
def watch() -> Iterator[Watch]:
    made: list[Watching] = []

    def start(*words: str, on_terminal: bool = False) -> Watching:
        made.append(Watching(list(words), on_terminal=on_terminal))
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_one_report_after_the_other(daemon: AdminServer, watch: Watch) -> None:
    daemon.answers["/status"] = report(100, 10.0)
    watching = watch("--admin", daemon.address)
    watching.until(lambda text: "100 requests" in text)
    daemon.answers["/status"] = report(150, 12.0)
    watching.until(lambda text: "150 requests, 25/s" in text)

    assert watching.end(signal.SIGINT) == (0, "")
    assert "\x1b" not in watching.text
    assert watching.text.startswith("haclient 1, pid 1: running for 10 s\na.toml\n")


def test_a_daemon_that_is_away_is_waited_for(daemon: AdminServer, watch: Watch) -> None:
    daemon.answers["/status"] = report(100, 10.0)
    watching = watch("--admin", daemon.address)
    watching.until(lambda text: "100 requests" in text)
    daemon.answers["/status"] = []
    before = len(daemon.requests)
    while len(daemon.requests) < before + 2:
        select.select([], [], [], 0.05)
    daemon.answers["/status"] = report(5, 1.0)  # started again: no rate from before
    watching.until(lambda text: "target orders  5 requests, 0/s" in text)

    code, err = watching.end(signal.SIGINT)
    assert code == 0
    assert set(err.splitlines()) == {
        f"haclient: (52) the daemon at {daemon.address} closed without an answer; try again"
    }


def test_a_line_of_json_each_second(daemon: AdminServer, watch: Watch) -> None:
    watching = watch("--json", "--admin", daemon.address)
    watching.until(lambda text: text.count("\n") == 2)
    watching.end(signal.SIGINT)

    lines = watching.text.splitlines()
    assert [json.loads(line) for line in lines] == [AS_JSON] * len(lines)


def test_a_reader_that_leaves_ends_it(daemon: AdminServer, watch: Watch) -> None:
    watching = watch("--admin", daemon.address)
    watching.until(lambda text: "names" in text)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, watching.reading)  # the pipe has no reader any more
    os.close(null)

    assert watching.process.wait(20) == 23


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_live_table(number: signal.Signals, daemon: AdminServer, watch: Watch) -> None:
    watching = watch("--admin", daemon.address, on_terminal=True)
    watching.until(lambda text: text.count("\x1b[H") == 2)
    daemon.answers["/status"] = []
    # In full, though the address alone may be wider than the terminal.
    trouble = f"(52) the daemon at {daemon.address} closed without an answer; try again"
    watching.until(lambda text: trouble in re.sub(r"\x1b\[[0-9;]*[mK]|\r\n", "", text))

    assert watching.end(number) == (0, "")
    text = watching.text
    assert text.startswith("\x1b[?1049h\x1b[?25l\x1b[H")
    assert text.endswith("\x1b[J\x1b[?25h\x1b[?1049l")
    first = text.split("\x1b[H")[1]
    rows = first.removesuffix("\x1b[J").split("\x1b[K\r\n")
    assert rows.pop() == ""
    widths = [len(re.sub(r"\x1b\[[0-9;]*m", "", row)) for row in rows]
    assert len(rows) <= 23
    assert max(widths) == 80  # of longer ones, the beginning


def test_nothing_looks_whole_on_a_screen_that_is_not(daemon: AdminServer, watch: Watch) -> None:
    many = msgspec.structs.replace(
        REPORT, targets=tuple(TargetReport(name=f"t{number}") for number in range(20))
    )
    daemon.answers["/status"] = reply(200, msgspec.json.encode(many))
    watching = watch("--admin", daemon.address, on_terminal=True)
    watching.until(lambda text: text.count("\x1b[H") == 2)
    watching.end(signal.SIGINT)
    screen = watching.text.split("\x1b[H")[1].split("\x1b[J")[0]
    lines = re.sub(r"\x1b\[[0-9;]*[mK]", "", screen).splitlines()

    assert len(lines) == 23
    (line,) = [line for line in lines if "12 of 4096 connections" in line]
    assert (len(line), line[-1]) == (80, "…")
    assert re.fullmatch(r"… \d+ lines more, on a higher screen", lines[-1])
