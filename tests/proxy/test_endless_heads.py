"""A server whose head never ends: byte by byte, or one interim answer after another.

It is not silent, so the back-stop for silence never passes; once an answer has begun, its head has
response_timeout. What the request itself takes does not count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.answers import HeardAnswer, parse_answer
from tests.proxy.house import A, House, house
from tests.proxy.playbook import Party, play
from tests.sim.stream import SimStream

LIMIT = 5.0
ONE = Target(urls=["http://a.test/"], response_timeout=LIMIT)
TWO = Target(urls=["http://a.test/", "http://b.test/"], response_timeout=LIMIT, order="listed")

LATE = 1.2
"""Seconds: a head is only looked at now and then."""

PAUSE = 0.7
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

Script = Callable[[SimStream], Awaitable[None]]


async def drips(stream: SimStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        await trio.sleep(PAUSE)
        await stream.send_all(b"x")


async def hints(stream: SimStream) -> None:
    await stream.receive_some()
    while True:
        await trio.sleep(PAUSE)
        await stream.send_all(HINT)


def put_in_place_of_a(h: House, script: Script) -> None:
    listener = h.network.listen(A)

    async def serve() -> None:
        stream = await listener.accept()
        try:
            await script(stream)
        except trio.BrokenResourceError:
            stream.close()

    h.serve_beside(serve)


async def final_answer(client: Party) -> HeardAnswer:
    """After whatever interim ones."""
    heard = b""
    while True:
        data = await client.stream.receive_some()
        assert data, heard
        heard += data
        while heard.startswith(HINT):
            heard = heard.removeprefix(HINT)
        at = trio.current_time()
        answer, _ = parse_answer(heard, "GET", at, is_end=False)
        if answer is not None:
            return answer


@pytest.mark.parametrize("script", [drips, hints])
async def test_it_is_given_up(autojump_clock: MockClock, script: Script) -> None:
    async with house(target=ONE) as h:
        put_in_place_of_a(h, script)
        client = h.client()
        await play(client.says("POST /x HTTP/1.1|Host: shop|Content-Length: 0||"))
        began_at = trio.current_time()
        answer = await final_answer(client)
        assert answer.status == 504
        assert LIMIT <= trio.current_time() - began_at <= PAUSE + LIMIT + LATE
        assert "no whole head within 5 s of its first byte" in answer.problem["detail"]


@pytest.mark.parametrize("script", [drips, hints])
async def test_another_server_is_asked(autojump_clock: MockClock, script: Script) -> None:
    async with house(target=TWO) as h:
        put_in_place_of_a(h, script)
        client = h.client()
        await play(client.says("GET /x HTTP/1.1|Host: shop||"))
        answer = await final_answer(client)
        assert (answer.status, answer.server) == (200, "b")


async def test_a_long_upload_is_no_head(autojump_clock: MockClock) -> None:
    """100 (Continue) is the beginning of an answer, and what follows is the client's to send."""

    async def reads(stream: SimStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        for _ in range(10):
            await stream.receive_some()
        await stream.send_all(ANSWER)

    async with house(target=ONE, body_timeout=60.0) as h:
        put_in_place_of_a(h, reads)
        client = h.client()
        head = "POST /x HTTP/1.1|Host: shop|Content-Length: 10|Expect: 100-continue||"
        await play(client.says(head), client.hears("HTTP/1.1 100 Continue||"))
        for second in range(9):
            await trio.sleep(20.0 if second == 5 else 2.0)
            await play(client.says(b"x"))
        await play(client.says(b"x"), client.hears_answer(200))


async def test_a_few_hints_and_a_slow_answer(autojump_clock: MockClock) -> None:
    async def thinks(stream: SimStream) -> None:
        await stream.receive_some()
        await trio.sleep(LIMIT - 0.5)
        await stream.send_all(HINT)
        await trio.sleep(LIMIT - 0.5)
        await stream.send_all(ANSWER)

    async with house(target=ONE) as h:
        put_in_place_of_a(h, thinks)
        client = h.client()
        await play(client.says("GET /x HTTP/1.1|Host: shop||"))
        assert (await final_answer(client)).content == b"hi"


async def test_long_content_has_its_time(autojump_clock: MockClock) -> None:
    async def drips_content(stream: SimStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            await trio.sleep(1.0)
            await stream.send_all(b"x")

    async with house(target=ONE) as h:
        put_in_place_of_a(h, drips_content)
        client = h.client()
        head = "GET /x HTTP/1.1|Host: shop||"
        await play(client.says(head), client.hears_answer(200).at(20.0))
