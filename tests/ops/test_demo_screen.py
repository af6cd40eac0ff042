"""What is drawn: plain lines in a pipe, colours and a footer on a terminal."""

from __future__ import annotations

import io
import re
from collections import Counter

import pytest
import trio

from haclient.ops.demo_figures import Figures, Promise, Row
from haclient.ops.demo_load import Problem, Sample
from haclient.ops.demo_screen import PlainScreen, RichScreen, Tone, screen_for
from haclient.ops.demo_servers import Condition, Server
from haclient.ops.style import Style
from haclient.types import Endpoint

FIGURES = Figures(
    (
        Row("127.0.0.2 killed", 0.004, 30, 0, 0, 0, 0.02),
        Row("127.0.0.4 slow (6 s)", None, 90, 1, 0, 0, 0.02),
    ),
    (Promise(True, "every request was answered: " + "word " * 20), Promise(False, "one was lost")),
)

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class AsciiTerminal(Terminal):
    encoding = "ascii"


STREAMS = {
    "a terminal": (Terminal(), {"TERM": "xterm"}, RichScreen),
    "a pipe": (io.StringIO(), {"TERM": "xterm"}, PlainScreen),
    "a dumb terminal": (Terminal(), {"TERM": "dumb"}, PlainScreen),
    "a terminal that does not say what it is": (Terminal(), {}, PlainScreen),
    "a terminal without the letters": (AsciiTerminal(), {"TERM": "xterm"}, PlainScreen),
}


@pytest.mark.parametrize(("stream", "environ", "kind"), STREAMS.values(), ids=STREAMS)
def test_who_gets_which_screen(
    stream: io.StringIO, environ: dict[str, str], kind: type[object]
) -> None:
    assert type(screen_for(stream, environ)) is kind


def test_plain_lines_and_table() -> None:
    stream = io.StringIO()
    screen = PlainScreen(stream, Style(is_unicode=False))
    screen.open((), ())
    screen.heading("calm")
    screen.line(1.25, "it is", Tone.GOOD)
    screen.refresh()
    screen.close()
    screen.finale(FIGURES)
    assert stream.getvalue().splitlines() == [
        "",
        "calm",
        "   1.250  it is",
        "",
        "fault                 time to the answer  requests lost  run twice  slow servers abandoned",
        "127.0.0.2 killed                    4 ms        0 of 30          0                       0",
        "127.0.0.4 slow (6 s)                none        1 of 90          0                       0",
        "",
        "+ every request was answered: word word word word word word word word word word",
        "  word word word word word word word word word word",
        "x one was lost",
    ]


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm")


async def shown(*samples: Sample) -> str:
    """What a terminal has received, without its escape codes."""
    stream = Terminal()
    async with trio.open_nursery() as nursery:
        servers = [Server(Endpoint(f"127.0.0.{n}", 80), nursery) for n in (2, 3, 4)]
        servers[0].condition = Condition.UP
        servers[1].condition = Condition.BLACKHOLED
        screen = RichScreen(stream)
        screen.refresh()  # before it is open: nothing
        screen.open(servers, samples)
        screen.heading("blackhole")
        screen.line(1.25, "127.0.0.3 blackholed", Tone.BAD)
        screen.close()
        screen.finale(FIGURES)
    return ESCAPES.sub("", stream.getvalue())


async def test_a_terminal_gets_lines_servers_and_table() -> None:
    text = await shown(Sample("GET 1", 0.0, 0.002, (), served_by="127.0.0.2"))
    assert " blackhole\n" in text
    assert "   1.250  127.0.0.3 blackholed" in text
    assert "127.0.0.2 ● up" in text
    assert "127.0.0.3 ○ blackholed" in text
    assert "127.0.0.4 ◌ starting" in text
    assert "1 requests answered, 0 lost, half of the last 1 within 2 ms" in text
    assert "▁" in text
    assert "127.0.0.2 killed" in text
    assert "✔ every request was answered" in text
    assert "✘ one was lost" in text


async def test_slow_requests_and_lost_ones_stand_out() -> None:
    text = await shown(
        Sample("GET 1", 0.0, 0.0001, (), served_by="127.0.0.2"),
        Sample("GET 2", 0.0, 9.0, (), served_by="127.0.0.2"),
        Sample("GET 3", 0.0, 0.02, (), problem=Problem("gone")),
    )
    assert "1 lost" in text
    assert "▁█▃" in text


async def test_no_line_is_wider_than_the_terminal() -> None:
    samples = [Sample(f"GET {n}", 0.0, 0.002, (), served_by="127.0.0.2") for n in range(300)]
    text = await shown(*samples)
    assert max(len(line) for line in re.split(r"[\r\n]", text)) <= 80
    assert Counter(text)["▁"] >= 76
