"""The daemon's log lines, as whoever reads stderr sees them."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from haclient.core.config import LogSettings
from haclient.ops.log import Level, Log, is_journal

NOON = 1_795_780_800_123_456_789  # 2026-11-27T12:00:00.123


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[IO[bytes]]:
    with (tmp_path / "stderr").open("w+b") as file:
        yield file


def lines(stderr: IO[bytes]) -> list[str]:
    stderr.seek(0)
    *whole, rest = stderr.read().decode().split("\n")
    assert rest == ""
    return whole


def made(
    stderr: IO[bytes], *, under_journal: bool = False, form: str = "text", level: str = "info"
) -> Log:
    return Log(LogSettings(format=form, level=level), stderr, under_journal, lambda: NOON)


def test_text(stderr: IO[bytes]) -> None:
    log = made(stderr)
    log.info("listening", name="orders", bind="127.0.0.1:8080", fds=4096)
    log.warning("accept paused", why="no descriptors left", until=None)
    log.error("stopped", seconds=1.23456, is_clean=False)
    log.close()

    assert lines(stderr) == [
        "2026-11-27T12:00:00.123Z info listening name=orders bind=127.0.0.1:8080 fds=4096",
        '2026-11-27T12:00:00.123Z warning accept paused why="no descriptors left"',
        "2026-11-27T12:00:00.123Z error stopped seconds=1.235 is_clean=no",
    ]


def test_under_systemd(stderr: IO[bytes]) -> None:
    log = made(stderr, under_journal=True, level="debug")
    log.debug("a")
    log.info("b", x=1)
    log.warning("c")
    log.error("d")
    log.close()

    assert lines(stderr) == ["<7>a", "<6>b x=1", "<4>c", "<3>d"]


def test_json(stderr: IO[bytes]) -> None:
    log = made(stderr, form="json")
    log.info("listening", name="orders", fds=3, path=Path("/x"), until=None, is_on=True)
    log.close()

    (line,) = lines(stderr)
    assert json.loads(line) == {
        "time": "2026-11-27T12:00:00.123Z",
        "level": "info",
        "message": "listening",
        "name": "orders",
        "fds": 3,
        "path": "/x",
        "until": None,
        "is_on": True,
    }


def test_json_under_systemd(stderr: IO[bytes]) -> None:
    log = made(stderr, form="json", under_journal=True)
    log.error("x")
    log.close()

    (line,) = lines(stderr)
    assert line.startswith('<3>{"time":')


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", "diwe"), ("info", "iwe"), ("warning", "we"), ("error", "e")],
)
def test_a_level_holds_back_what_is_less_grave(level: str, shown: str, stderr: IO[bytes]) -> None:
    log = made(stderr, level=level)
    for method, word in ((log.debug, "d"), (log.info, "i"), (log.warning, "w"), (log.error, "e")):
        method(word)
    log.close()

    assert [line[-1] for line in lines(stderr)] == list(shown)
    assert log.is_on(Level.ERROR)
    assert log.is_on(Level.INFO) == (level in {"debug", "info"})


def test_settings_change_while_it_runs(stderr: IO[bytes]) -> None:
    log = made(stderr, level="error")
    log.info("unseen")
    log.apply(LogSettings(format="json", level="info"))
    log.info("seen")
    log.close()

    (line,) = lines(stderr)
    assert json.loads(line)["message"] == "seen"


EVIL = 'x"\n<3>forged\r\x1b[2J\x7f\u2028\u202e\udcff\x00'


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_field_makes_a_line_of_its_own(form: str, stderr: IO[bytes]) -> None:
    log = made(stderr, form=form)
    log.info(EVIL, path=EVIL)
    log.close()

    (line,) = lines(stderr)
    assert line.isprintable()
    if form == "json":
        told = json.loads(line)
        assert told["path"].startswith('x"\n<3>forged\r\x1b[2J\x7f') or "\\u000a" in told["path"]
    else:
        assert line.count('"') - line.count('\\"') == 3  # the message has one of its own


def test_the_stamp_follows_the_clock(stderr: IO[bytes]) -> None:
    times = iter([NOON, NOON + 900_000_000, NOON + 86_400_000_000_000])
    log = Log(LogSettings(), stderr, False, lambda: next(times))
    for word in "abc":
        log.info(word)
    log.close()

    assert [line.split()[0] for line in lines(stderr)] == [
        "2026-11-27T12:00:00.123Z",
        "2026-11-27T12:00:01.023Z",
        "2026-11-28T12:00:00.123Z",
    ]


def test_the_stamp_is_of_now_by_itself(stderr: IO[bytes]) -> None:
    log = Log(LogSettings(), stderr, False)
    log.info("x")
    log.close()

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info x", lines(stderr)[0])


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_reader_that_sleeps_is_told_later(form: str) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "wb") as writer:
        log = Log(LogSettings(format=form), writer, False, lambda: NOON)
        for _ in range(2000):
            log.info("x" * 100)
        dropped = log.dropped
        assert 0 < dropped < 2000
        os.set_blocking(reading, False)
        seen = reader.read()
        log.info("awake")
        *_, told, last = (seen + reader.read()).decode().splitlines()
        log.close()

    assert "awake" in last
    assert "warning" in told
    notices = re.findall(r'did not take them"?[ ,]"?count"?[=:](\d+)', (seen.decode() + told))
    assert sum(map(int, notices)) == dropped


def test_a_reader_that_left_harms_nobody() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as writer:
        log = Log(LogSettings(), writer, False)
        log.info("x")
        log.close()

    assert log.dropped == 1


def test_which_stderr_is_the_journal(stderr: IO[bytes], tmp_path: Path) -> None:
    ours, its = socket.socketpair()
    with ours, its:
        is_at = os.fstat(its.fileno())
        environ = {"JOURNAL_STREAM": f"{is_at.st_dev}:{is_at.st_ino}"}

        assert is_journal(its, environ)
        assert not is_journal(ours, environ)
        assert not is_journal(stderr, environ)
        assert not is_journal(its, {})
    assert not is_journal(its, environ)  # closed
