"""Two things in one instant: a look of the vigil, and what the client had just done."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.proxy.house import IDS, A, House, house
from tests.proxy.playbook import Party, Step, play, wire

GET = f"GET /x HTTP/1.1|Host: shop|{IDS}|"
UPLOAD = f"PUT /x HTTP/1.1|Host: shop|Content-Length: 20000|{IDS}|"


def look_now(h: House, client: Party, at: float, said: str) -> None:
    """A look, and then at once bytes that are in the kernel before anybody acts on it."""
    [one] = h.door.inside
    one.look(at)
    assert client.stream.send_now(wire(said)) == len(wire(said))


async def is_served_whole(h: House, client: Party, rest: str, *more: Step) -> None:
    """The content's second half comes later, and nothing is said of a limit."""
    await trio.sleep(1.0)
    client.stream.send_now(wire(rest))
    await play(client.hears_answer(200), *more)
    assert [len(request.content) for request in h.a.executed] == [20000]


async def test_a_request_that_crosses_the_idle_limit(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await h.settle()
        look_now(h, client, 75.0, UPLOAD + "x" * 10000)
        await is_served_whole(h, client, "x" * 10000)
        await play(client.says(GET), client.hears_answer(200))


async def test_a_request_that_crosses_a_drain(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await h.settle()
        h.door.is_draining = True
        [one] = h.door.inside
        one.look(0.0)
        look_now(h, client, 1.0, UPLOAD + "x" * 10000)
        await is_served_whole(h, client, "x" * 10000, client.hears_end())
        assert client.got.is_last


async def test_a_head_that_comes_whole_in_the_last_moment(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says(UPLOAD[:20]))
        look_now(h, client, 10.0, UPLOAD[20:] + "x" * 10000)
        await is_served_whole(h, client, "x" * 10000)


async def test_content_that_goes_on_in_the_last_moment(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says(UPLOAD + "x" * 5000))
        [one] = h.door.inside
        one.look(0.1)
        look_now(h, client, 30.2, "x" * 5000)
        await is_served_whole(h, client, "x" * 10000)


@pytest.mark.parametrize("size", [1000, 190_000, 250_000])
async def test_what_a_client_said_before_it_left_a_tunnel_is_passed_on(
    autojump_clock: MockClock, size: int
) -> None:
    """The server is slow to take it; a close is the end of what was said, and not of its way."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        switched = "HTTP/1.1 101 Switching Protocols|Upgrade: x|Connection: Upgrade||"
        await play(
            client.says(GET.replace("Host", "Upgrade: x|Connection: Upgrade|Host")),
            a.accepts(),
            a.says(switched),
            client.hears(switched),
        )
        await client.stream.send_all(bytes(size))
        client.stream.close()
        await trio.sleep(5.0)
        got = 0
        while data := await a.stream.receive_some(10_000):
            got += len(data)
            await trio.sleep(0.1)
        assert got == size


async def test_a_client_that_resets_a_tunnel_is_gone_at_once(autojump_clock: MockClock) -> None:
    """Also where the server takes nothing, so that nobody reads or writes."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        switched = "HTTP/1.1 101 Switching Protocols|Upgrade: x|Connection: Upgrade||"
        await play(
            client.says(GET.replace("Host", "Upgrade: x|Connection: Upgrade|Host")),
            a.accepts(),
            a.says(switched),
            client.hears(switched),
        )
        with trio.move_on_after(0.5):
            await client.stream.send_all(bytes(1_000_000))
        client.stream.reset()
        await trio.sleep(0.3)
        await h.settle()
        assert h.records[0].outcome.value == "tunnelled"
        assert h.network.open_streams() == ()
