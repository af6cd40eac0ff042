"""Servers that answer badly: an error of our own, never bytes that a client could read otherwise."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.proxy.house import BOTH, IDS, ONE, A, B, house
from tests.proxy.playbook import play

GET = f"GET /x HTTP/1.1|Host: shop|{IDS}|"
OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"

BAD = [
    "HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||hi!",
    "HTTP/1.1 200 OK|Content-Length: 2, 3||hi!",
    "HTTP/1.1 200 OK|Content-Length: -2||hi",
    "HTTP/1.1 200 OK|Content-Length: two||hi",
    "HTTP/1.1 200 OK|Content-Length:||hi",
    "HTTP/1.1 200 OK|Transfer-Encoding: gzip||hi",
    "HTTP/1.1 200 OK|Transfer-Encoding: chunked, chunked||0||",
    "HTTP/1.1 200 OK|X-A : 1|Content-Length: 2||hi",
    "HTTP/1.1 200 OK|X A: 1|Content-Length: 2||hi",
    "HTTP/1.1 200 OK|no colon|Content-Length: 2||hi",
    "HTTP/1.1 200 OK|X-A: 1\x00|Content-Length: 2||hi",
    "HTTP/1.1 200 OK|X-A: 1\rX-B: 2|Content-Length: 2||hi",
    "HTTP/1.1 200 OK|X-A: a\x01b|Content-Length: 2||hi",
    "HTTP/1.1 103 Early Hints|Link: a\x01b||" + OK,
    "HTTP/1.1 200 O\x00K|Content-Length: 2||hi",
    "HTTP/1.1 20 OK|Content-Length: 2||hi",
    "HTTP/1.1 2000 OK|Content-Length: 2||hi",
    "HTTP/1.1 OK|Content-Length: 2||hi",
    "HTTP/2 200|content-length: 2||hi",
    "HTTP/2.0 200 OK|Content-Length: 2||hi",
    "ICY 200 OK||hi",
    "SSH-2.0-OpenSSH_9.2p1||",
    "\x16\x03\x01\x02\x00||",
    "<html>not HTTP</html>||",
    "HTTP/1.1 200 OK|X-A: " + "x" * 66_000 + "||",
    "HTTP/1.1 103 Early Hints||" * 40 + OK,
]


@pytest.mark.parametrize("said", BAD, ids=lambda said: said[:60])
async def test_what_cannot_be_passed_on(autojump_clock: MockClock, said: str) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(client.says(GET), a.accepts())
        stream = a.stream
        data = said.replace("|", "\r\n").encode("latin-1")
        while data:
            data = data[stream.send_now(data) :]
            await h.settle()
            if stream.end.is_gone:
                break
        hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 32 if said.count("103") > 1 else b""
        await play(client.hears(hints), client.hears_answer(502), client.hears_nothing())
        assert client.got.server == ""
        assert client.got.proxy_status.startswith("haclient; error=http_protocol_error; next-hop=")
        assert client.got.problem["may_have_been_processed"]
        assert h.records[0].response_bytes == len(client.got.content)
        [attempt] = client.got.problem["attempts"]
        assert attempt["verdict"] == "garbled"
        assert stream.end.is_gone or stream.end.has_fin_arrived


async def test_another_server_is_asked(autojump_clock: MockClock) -> None:
    async with house(target=BOTH) as h:
        client, a, b = h.client(), h.server(A), h.server(B)
        await play(
            client.says(GET),
            a.accepts(),
            a.says("HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||hi!"),
            b.accepts().at(0.0015),
            b.says(OK),
            client.hears_answer(200).at(0.002),
            a.hears_end(),
        )
        assert client.got.content == b"hi"
        assert "garbled" in client.got.proxy_status


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ("HTTP/1.1 200 OK|Content-Length: 002||hi", "HTTP/1.1 200 OK|Content-Length: 2||hi"),
        ("HTTP/1.1 200|Content-Length: 2||hi", "HTTP/1.1 200 |Content-Length: 2||hi"),
        ("HTTP/1.1 299 |X-A:|Content-Length: 2||hi", "HTTP/1.1 299 |X-A:|Content-Length: 2||hi"),
        ("HTTP/1.1 999 Far|Content-Length: 2||hi", "HTTP/1.1 999 Far|Content-Length: 2||hi"),
    ],
)
async def test_what_is_only_unusual(autojump_clock: MockClock, said: str, got: str) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        for _ in range(2):
            await play(client.says(GET), a.accepts(), a.says(said), client.hears(got))


async def test_an_http_1_0_server(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            a.says("HTTP/1.0 200 OK|X-A: 1||abc"),
            client.hears("HTTP/1.1 200 OK|X-A: 1|Transfer-Encoding: chunked||3|abc|"),
            a.closes().at(1.0),
            client.hears("0||"),
            client.says(GET),
            a.accepts(),
            a.says("HTTP/1.0 200 OK|Content-Length: 2||hi"),
            client.hears(OK),
            a.hears_end(),
        )


@pytest.mark.parametrize(
    "more",
    ["x", "HTTP/1.1 200 OK|Content-Length: 6||hidden", "||"],
    ids=["a byte", "an answer", "lines"],
)
@pytest.mark.parametrize(
    "said",
    [OK, "HTTP/1.1 204 No Content||", "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|0||"],
)
async def test_what_comes_behind_an_answer_is_nobodys(
    autojump_clock: MockClock, said: str, more: str
) -> None:
    """The next request gets a connection of its own, and its own answer."""
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            a.says(said + more),
            client.hears(said),
            a.hears_end(),
            a.closes(),
        )
        await play(client.says(GET), a.accepts(), a.says(OK), client.hears(OK))
        assert len(h.network.connections) == 2


async def test_an_answer_before_it_was_asked_for(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(client.says(GET), a.accepts(), a.says(OK), client.hears(OK))
        new = h.server(A)
        await play(
            a.says(OK.replace("hi", "no")).at(0.5),
            client.says(GET).at(0.6),
            a.hears_reset(),  # with the stray bytes unread
            new.accepts(),
            new.says(OK),
            client.hears(OK),
        )
