"""Requests that would come back to this very process, or that have gone in circles already."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import cast

import pytest
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.net.own_doors import OwnDoors
from haclient.types import Endpoint
from tests.proxy.house import House, house
from tests.proxy.playbook import play


@pytest.fixture
def own() -> Iterator[socket.socket]:
    """A listening socket; the port is the kernel's choice."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def know(h: House, own: socket.socket) -> Endpoint:
    """It is the door's from now on."""
    cast("OwnDoors", h.engine.dialer).know({"listener shop": own})
    return Endpoint("127.0.0.1", own.getsockname()[1])


def target(own: socket.socket, *backups: str) -> Target:
    return Target(urls=[f"http://127.0.0.1:{own.getsockname()[1]}/"], backups=list(backups))


async def test_nobody_else_is_there(own: socket.socket, autojump_clock: MockClock) -> None:
    async with house(target=target(own)) as h:
        endpoint = know(h, own)
        answer = await h.ask(508, 0.0, "POST", content=b"x")
        assert answer.proxy_status.startswith("haclient; error=proxy_loop_detected; ")
        assert (
            f"{endpoint} would be a loop (it is listener shop of this daemon)"
            in answer.proxy_status
        )
        assert "it is listener shop of this daemon" in answer.proxy_status
        assert not h.engine.health.has_entries
        assert h.told() == [f"POST /x 508 own [http://{endpoint} refused] proxy_loop_detected"]


async def test_others_serve(own: socket.socket, autojump_clock: MockClock) -> None:
    async with house(target=target(own, "http://a.test/")) as h:
        know(h, own)
        answer = await h.ask(200, 0.0)
        assert answer.server == "a"


async def test_others_that_fail_are_told_of(own: socket.socket, autojump_clock: MockClock) -> None:
    async with house(target=target(own, "http://a.test/")) as h:
        endpoint = know(h, own)
        h.network.refuse(Endpoint("10.0.0.1", 80))
        answer = await h.ask(502, 0.0)
        assert f"{endpoint} would be a loop" in answer.proxy_status
        assert "10.0.0.1:80 refused" in answer.proxy_status


GET = "GET /x HTTP/1.1|Host: shop|"
PASSED = "Via: 1.1 haclient|"


async def test_several_in_a_row_are_no_loop(autojump_clock: MockClock) -> None:
    async with house(via=True) as h:
        await h.ask(200, 0.0, fields=PASSED * 3)
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]


async def test_whoever_comes_again_and_again_is_turned_away(autojump_clock: MockClock) -> None:
    """By a door that adds no Via itself, too."""
    async with house(via=False) as h:
        client = h.client()
        await play(
            client.says(GET + PASSED * 4 + "|"),
            client.hears_answer(508),
            client.hears_end(),
        )
        assert client.got.proxy_status.startswith("haclient; error=proxy_loop_detected; ")
        assert h.told() == ["GET /x 508 own proxy_loop_detected"]
