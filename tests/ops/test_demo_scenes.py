"""The scenes when something goes wrong; how they go well is in test_demo.py, on real processes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from haclient.errors import ServerDiedError
from haclient.ops import demo_scenes
from haclient.ops.demo_load import Sample
from haclient.ops.demo_scenes import FULL, QUICK, Play
from haclient.ops.demo_screen import PlainScreen, Tone
from haclient.ops.demo_servers import CannotPlay, Server
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


async def test_a_show_without_servers_is_broken_off() -> None:
    async with play() as show, show._client() as client:
        with pytest.raises(CannotPlay, match="no server answered a first request"):
            await show._favourite(client)


async def test_a_request_that_does_not_arrive_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_scenes, "REACHED_WITHIN", 0.0)
    async with play() as show:
        with pytest.raises(CannotPlay, match=r"GET 1 and POST 1 did not reach 127\.0\.0\.2"):
            await show._reaches(show._servers[0], "GET 1", "POST 1")


async def test_a_lost_get_and_an_answered_post_are_told_as_what_they_are() -> None:
    error = ServerDiedError("it died")
    async with play() as show:
        show._tell_answer(Sample("GET 1", 0.0, 1.0, (), error=error), 0.5)
        show._tell_doomed(Sample("POST 1", 0.0, 1.0, (), served_by="127.0.0.3"), 0.5)
        assert await told(show) == [
            ("GET not answered: it died", Tone.BAD),
            ("POST answered by 127.0.0.3 after 500 ms", Tone.BAD),
        ]


async def test_the_first_server_of_a_client_can_be_chosen() -> None:
    async with play() as show:
        second = show._servers[1]
        async with show._client(first=second) as client:
            assert client._resolver is not None
            resolution = await client._resolver.resolve(demo_scenes.NAME, NOBODY)
    assert [one.address for one in resolution.endpoints] == ["127.0.0.3", "127.0.0.2", "127.0.0.4"]


def test_the_slow_server_is_slower_than_a_blackhole_is_noticed() -> None:
    # Else the scene would prove nothing: a dead server is known after 2.5 s.
    assert min(FULL.thinks, QUICK.thinks) > 2.5


def test_the_whole_show_takes_less_than_half_a_minute() -> None:
    blackhole = 1.5
    for pace in (FULL, QUICK):
        assert pace.calm + pace.outstanding + blackhole + pace.thinks + 3 * pace.rest < 20
