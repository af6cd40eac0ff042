"""The bar: when it shows, and what it shows then."""

from __future__ import annotations

import io
import re
import sys

import pytest
import trio
from trio.testing import MockClock

from haclient.ops.progress import Bar


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def replaced(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Within the test itself: between a fixture and its test pytest puts its own stderr there."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    return stream


def last_line(stream: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).rstrip().split("\r")[-1]


@pytest.mark.parametrize(
    ("is_terminal", "to_terminal", "fits"),
    [(True, False, True), (True, True, False), (False, False, False)],
    ids=["stderr alone is a terminal", "content goes there too", "nobody sees it"],
)
def test_whether_it_fits(
    is_terminal: bool, to_terminal: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if is_terminal else io.StringIO())

    assert Bar.fits(to_terminal=to_terminal) is fits


def test_what_is_done_within_a_second_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replaced(monkeypatch)
    bar = Bar("file", 10.0)
    bar.move(10.5, 500, 1000)
    bar.move(10.99, 1000, 1000)
    bar.close()

    assert stream.getvalue() == ""


def test_after_a_second_it_shows_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replaced(monkeypatch)
    bar = Bar("file", 10.0)
    bar.move(10.5, 500, 4000)
    bar.move(11.0, 1000, 4000)
    bar.close()

    assert last_line(stream).startswith("file ")
    assert "1.0/4.0 kB" in last_line(stream)


def test_the_last_state_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replaced(monkeypatch)
    bar = Bar("file", 10.0)
    bar.move(11.0, 1000, 4000)
    bar.move(11.01, 4000, 4000)
    bar.close()

    assert "4.0/4.0 kB" in last_line(stream)


def test_nobody_knows_how_much_it_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replaced(monkeypatch)
    bar = Bar("file", 10.0, is_eager=True)
    bar.move(10.0, 1000, None)
    bar.close()

    assert "1.0/? kB" in last_line(stream)


def test_a_name_is_not_read_as_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = replaced(monkeypatch)
    bar = Bar("[red]file[/red]", 10.0, is_eager=True)
    bar.move(10.0, 1, 2)
    bar.close()

    assert last_line(stream).startswith("[red]file[/red] ")


async def test_waiting_shows_it_too(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = replaced(monkeypatch)
    started_at = trio.current_time()
    bar = Bar("h.test", started_at)
    await bar.show_in_time()
    assert trio.current_time() == started_at + 1.0
    bar.close()

    assert "0/? bytes" in last_line(stream)


async def test_waiting_shows_what_came_before(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = replaced(monkeypatch)
    bar = Bar("h.test", trio.current_time())
    bar.move(trio.current_time() + 0.5, 3000, 5000)
    await bar.show_in_time()
    bar.close()

    assert "3.0/5.0 kB" in last_line(stream)
