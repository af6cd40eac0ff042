"""The scenes when something goes wrong; how they go well is in test_demo.py, on real processes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from haclient.ops import demo_scenes
from haclient.ops.demo_load import Load, Problem, Sample, ask
from haclient.ops.demo_scenes import FULL, QUICK, Play
from haclient.ops.demo_screen import PlainScreen, Tone
from haclient.ops.demo_servers import CannotPlay, Condition, Server
from haclient.ops.demo_sidecar import Front
from haclient.ops.style import Style
from haclient.types import Endpoint

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
NOBODY = 1  # tcpmux: nothing listens there


@asynccontextmanager
async def play() -> AsyncIterator[Play]:
    """With servers that were never started."""
    async with trio.open_nursery() as nursery:
        servers = [Server(Endpoint(address, NOBODY), nursery) for address in ADDRESSES]
        yield Play(servers, PlainScreen(io.StringIO(), Style()), QUICK)


async def told(play: Play) -> list[tuple[str, Tone | None]]:
    play._lines.close()
    return [(text, tone) async for _, text, tone in play._to_show]


async def test_a_load_that_nobody_answers_ends_the_show() -> None:
    async with play() as show:
        load = Load(Front(NOBODY, {}))
        load.samples.append(await ask(Front(NOBODY, {}), "GET", "1"))
        with pytest.raises(CannotPlay, match="not answered by any server"):
            show._favourite(load)


async def test_the_favourite_is_who_last_answered_a_get_and_is_well() -> None:
    async with play() as show:
        first, second, third = show._servers
        first.condition = third.condition = Condition.UP
        second.condition = Condition.KILLED
        load = Load(Front(NOBODY, {}))
        load.samples += [
            Sample(name, 0.0, 1.0, (), served_by=server.address)
            for name, server in (("GET 1", third), ("GET 2", first), ("POST 3", third))
        ]
        assert show._favourite(load) is first
        load.samples.append(Sample("GET 4", 0.0, 1.0, (), served_by=second.address))
        assert show._favourite(load) is first
        load.samples.append(Sample("GET 5", 0.0, 1.0, (), served_by=third.address))
        assert show._favourite(load) is third


async def test_a_request_that_does_not_arrive_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_scenes, "REACHED_WITHIN", 0.0)
    async with play() as show:
        with pytest.raises(CannotPlay, match=r"GET 1 and POST 1 did not reach 127\.0\.0\.2"):
            await show._reaches(show._servers[0], "GET 1", "POST 1")


GONE = Problem("it died", 502, True)

ENDS = {
    "an answer": (
        Sample("GET 1", 0.0, 1.0, (), served_by="127.0.0.3"),
        ("GET answered by 127.0.0.3 after 500 ms", Tone.GOOD),
    ),
    "a lost GET": (
        Sample("GET 1", 0.0, 1.0, (), problem=GONE),
        ("GET not answered: it died", Tone.BAD),
    ),
    "a clear error": (
        Sample("POST 1", 0.0, 1.0, (), problem=GONE),
        (
            "POST: a clear error after 500 ms: 502, it may have run, so no second try",
            Tone.PLAIN,
        ),
    ),
    "an error that is not clear": (
        Sample("POST 1", 0.0, 1.0, (), problem=Problem("it died", 502)),
        ("POST not told that it may have run: it died", Tone.BAD),
    ),
    "a POST that was answered after all": (
        Sample("POST 1", 0.0, 1.0, (), served_by="127.0.0.3"),
        ("POST answered by 127.0.0.3 after 500 ms", Tone.BAD),
    ),
}


@pytest.mark.parametrize(("sample", "line"), ENDS.values(), ids=ENDS)
async def test_an_end_is_told_as_what_it_is(sample: Sample, line: tuple[str, Tone]) -> None:
    async with play() as show:
        show._struck_at = 0.5
        show._tell_end(sample)
        assert await told(show) == [line]


def test_the_slow_server_is_slower_than_a_blackhole_is_noticed() -> None:
    # Else the scene would prove nothing: a dead server is known after 2.5 s.
    assert min(FULL.thinks, QUICK.thinks) > 2.5


def test_the_whole_show_takes_less_than_half_a_minute() -> None:
    blackhole = 1.5
    for pace in (FULL, QUICK):
        assert pace.calm + pace.outstanding + blackhole + pace.thinks + 3 * pace.rest < 20
