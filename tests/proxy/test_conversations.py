"""What passes through the sidecar when nothing goes wrong, byte by byte and at the exact instant."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.proxy.inflow import READ_WHOLE_BYTES
from tests.proxy.house import IDS, A, house
from tests.proxy.playbook import play

ASKED = f"GET /1 HTTP/1.1|Host: shop|{IDS}|"
PASSED = f"GET /1 HTTP/1.1|Host: ab.test|{IDS}|"
OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"
ANSWERED = "GET /1 200 answered [10.0.0.1:80 answered]"


# --- one after another ----------------------------------------------------------------------------


async def test_a_connection_serves_one_request_after_another(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            a.hears(PASSED),
            a.says(OK).at(0.1),
            client.hears(OK),
            client.says(ASKED).at(1.0),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
        )
        assert h.told() == [ANSWERED] * 2
        assert [record.ended_at for record in h.records] == [0.1, 1.0]
        assert [record.attempts[0].reused for record in h.records] == [False, True]


async def test_pipelined_requests_are_answered_in_their_order(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED + ASKED.replace(" /1", " /2") + ASKED.replace(" /1", " /3")),
            a.hears(PASSED),
            a.says(OK).at(0.2),
            client.hears(OK),
            a.hears(PASSED.replace(" /1", " /2")),
            a.says(OK).at(0.3),
            client.hears(OK),
            a.hears(PASSED.replace(" /1", " /3")),
            a.says(OK).at(0.4),
            client.hears(OK),
        )
        assert [record.path for record in h.records] == ["/1", "/2", "/3"]


async def test_pipelined_behind_content(autojump_clock: MockClock) -> None:
    post = "POST / HTTP/1.1|Host: shop|Content-Length: 2|" + IDS + "|ab"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(post + ASKED),
            a.hears(post.replace("shop", "ab.test")),
            a.says(OK),
            client.hears(OK),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
        )


async def test_pipelined_behind_chunked_content(autojump_clock: MockClock) -> None:
    post = "POST / HTTP/1.1|Host: shop|Transfer-Encoding: chunked|" + IDS + "|2|ab|0||"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(post + ASKED),
            a.hears(post.replace("shop", "ab.test")),
            a.says(OK),
            client.hears(OK),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
        )


async def test_close_is_the_clients_word(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"GET /1 HTTP/1.1|Host: shop|Connection: close|{IDS}|"),
            a.hears(PASSED),
            a.says(OK),
            client.hears("HTTP/1.1 200 OK|Content-Length: 2|Connection: close||hi"),
            client.hears_end(),
        )


async def test_a_server_that_closes_ends_no_clients_connection(autojump_clock: MockClock) -> None:
    closing = "HTTP/1.1 200 OK|Connection: close|Content-Length: 2||hi"
    async with house() as h:
        client, a = h.client(), h.server(A)
        for _ in range(2):
            await play(
                client.says(ASKED),
                a.hears(PASSED),
                a.says(closing),
                client.hears(OK),
                a.hears_end(),
                a.closes(),
            )


async def test_an_empty_line_before_a_request(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says("|" + ASKED),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
            client.says("|"),
            client.says(ASKED).at(1.0),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
        )


async def test_two_clients_are_served_side_by_side(autojump_clock: MockClock) -> None:
    async with house() as h:
        one, other, a = h.client("one"), h.client("other"), h.server(A)
        await play(one.says(ASKED), a.hears(PASSED))
        second = h.server(A)
        await play(
            other.says(ASKED),
            second.hears(PASSED),
            second.says(OK),
            other.hears(OK),
            a.says(OK).at(5.0),
            one.hears(OK),
        )


# --- content --------------------------------------------------------------------------------------


async def test_counted_content_goes_up_and_down(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"PUT /1 HTTP/1.1|Host: shop|Content-Length: 5|{IDS}|hello"),
            a.hears(f"PUT /1 HTTP/1.1|Host: ab.test|Content-Length: 5|{IDS}|hello"),
            a.says(OK),
            client.hears(OK),
        )
        assert h.told() == ["PUT /1 200 answered [10.0.0.1:80 answered]"]
        assert (h.records[0].request_bytes, h.records[0].response_bytes) == (5, 2)


async def test_small_content_waits_until_it_is_whole(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"PUT /1 HTTP/1.1|Host: shop|Content-Length: 5|{IDS}|hel"),
            client.says("lo").at(3.0),
            a.hears(f"PUT /1 HTTP/1.1|Host: ab.test|Content-Length: 5|{IDS}|hello"),
            a.says(OK),
            client.hears(OK),
        )


@pytest.mark.parametrize("more", [0, 1])
async def test_how_much_is_read_whole(autojump_clock: MockClock, more: int) -> None:
    """A server is not asked before small content is whole, and long content is never waited for."""
    size = READ_WHOLE_BYTES + more
    head = "PUT /1 HTTP/1.1|Host: {}|Content-Length: " + f"{size}|{IDS}|"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(head.format("shop") + "x" * (size - 1)),
            a.hears(head.format("ab.test") + "x" * (size - 1) if more else ""),
            client.says("x").at(1.0),
            a.hears("x" if more else head.format("ab.test") + "x" * size),
            a.says(OK),
            client.hears(OK),
        )


async def test_long_content_streams_up(autojump_clock: MockClock) -> None:
    head = "PUT /1 HTTP/1.1|Host: {}|Content-Length: 20000|" + IDS + "|"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(head.format("shop") + "x" * 10000),
            a.hears(head.format("ab.test") + "x" * 10000),
            client.says("y" * 9999).at(7.0),
            a.hears("y" * 9999),
            client.says("z").at(8.0),
            a.hears("z"),
            a.says(OK),
            client.hears(OK),
        )
        assert h.records[0].request_bytes == 20000


async def test_chunks_go_up_as_they_come(autojump_clock: MockClock) -> None:
    head = "PUT /1 HTTP/1.1|Host: {}|Transfer-Encoding: chunked|" + IDS + "|"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(head.format("shop") + "3;ext=1|abc|"),
            a.hears(head.format("ab.test") + "3|abc|"),
            client.says("00A|0123456789|").at(4.0),
            a.hears("a|0123456789|"),
            client.says("0|X-Sum: 1|Content-Length: 3|x-other:||").at(5.0),
            # What frames a message cannot come late (RFC 9110, section 6.5.1).
            a.hears("0|X-Sum: 1|x-other:||"),
            a.says(OK),
            client.hears(OK),
        )
        assert h.records[0].request_bytes == 13


async def test_chunks_come_down_as_they_come(autojump_clock: MockClock) -> None:
    head = "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Trailer: X-Sum||"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            a.hears(PASSED),
            a.says(head),
            client.hears(head),
            a.says("3;ext=1|abc|").at(4.0),
            client.hears("3|abc|"),
            a.says("0010|0123456789abcdef|").at(5.0),
            client.hears("10|0123456789abcdef|"),
            a.says("0|X-Sum: 1|Set-Cookie: late||").at(6.0),
            client.hears("0|X-Sum: 1||"),
            client.says(ASKED),
            a.hears(PASSED),
            a.says(OK),
            client.hears(OK),
        )
        assert h.records[0].response_bytes == 19


async def test_counted_content_comes_down_as_it_comes(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            a.hears(PASSED),
            a.says("HTTP/1.1 200 OK|Content-Length: 9||abc"),
            client.hears("HTTP/1.1 200 OK|Content-Length: 9||abc"),
            a.says("def").at(10.0),
            client.hears("def"),
            a.says("ghi").at(30.0),
            client.hears("ghi"),
        )


async def test_content_until_the_end_becomes_chunks(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            a.hears(PASSED),
            a.says("HTTP/1.1 200 OK|X-A: b||abc"),
            client.hears("HTTP/1.1 200 OK|X-A: b|Transfer-Encoding: chunked||3|abc|"),
            a.closes().at(1.0),
            client.hears("0||"),
        )
        assert h.told() == [ANSWERED]


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", "HTTP/1.1 200 OK|ETag: x|Content-Length: 1000||"),
        ("HEAD", "HTTP/1.1 200 OK|ETag: x||"),
        ("GET", "HTTP/1.1 204 No Content|ETag: x||"),
        ("PUT", "HTTP/1.1 204 No Content||"),
        ("GET", 'HTTP/1.1 304 Not Modified|ETag: "x"|Content-Length: 5||'),
        ("GET", "HTTP/1.1 200 OK|Content-Length: 0||"),
        ("GET", "HTTP/1.1 200 |Content-Length: 0||"),
    ],
)
async def test_answers_without_content(autojump_clock: MockClock, method: str, answer: str) -> None:
    length = "Content-Length: 0|" if method == "PUT" else ""
    async with house() as h:
        client, a = h.client(), h.server(A)
        for _ in range(2):
            await play(
                client.says(f"{method} /1 HTTP/1.1|Host: shop|{length}{IDS}|"),
                a.hears(f"{method} /1 HTTP/1.1|Host: ab.test|{length}{IDS}|"),
                a.says(answer),
                client.hears(answer),
            )


async def test_a_chunked_answer_to_head(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED.replace("GET", "HEAD")),
            a.hears(PASSED.replace("GET", "HEAD")),
            a.says("HTTP/1.1 200 OK|Transfer-Encoding: chunked||"),
            # RFC 9112, section 6.1: it may be left out, for there is no content to frame.
            client.hears("HTTP/1.1 200 OK||"),
        )


# --- clients of another kind ----------------------------------------------------------------------


async def test_a_half_closed_client_is_answered(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            client.half_closes(),
            a.hears(PASSED),
            a.says(OK).at(20.0),
            client.hears(OK),
            client.hears_end(),
        )
        assert h.told() == [ANSWERED]


async def test_half_closed_behind_content_and_pipelined(autojump_clock: MockClock) -> None:
    head = "PUT /1 HTTP/1.1|Host: {}|Content-Length: 20000|" + IDS + "|"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(head.format("shop") + "x" * 20000 + ASKED),
            client.half_closes(),
            a.hears(head.format("ab.test") + "x" * 20000),
            a.says(OK).at(3.0),
            client.hears(OK),
            a.hears(PASSED),
            a.says(OK).at(6.0),
            client.hears(OK),
            client.hears_end(),
        )


async def test_an_http_1_0_client(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"GET /1 HTTP/1.0|{IDS}|"),
            a.hears(PASSED),
            a.says(OK),
            client.hears("HTTP/1.1 200 OK|Content-Length: 2|Connection: close||hi"),
            client.hears_end(),
        )
        assert h.records[0].http_version == "1.0"


async def test_an_http_1_0_client_that_keeps_its_connection(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        for _ in range(2):
            await play(
                client.says(f"GET /1 HTTP/1.0|Connection: keep-alive|{IDS}|"),
                a.hears(PASSED),
                a.says(OK),
                client.hears("HTTP/1.1 200 OK|Content-Length: 2|Connection: keep-alive||hi"),
            )


@pytest.mark.parametrize("connection", ["", "Connection: keep-alive|"])
async def test_an_http_1_0_client_knows_no_chunks(
    autojump_clock: MockClock, connection: str
) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"GET /1 HTTP/1.0|Host: shop|{connection}{IDS}|"),
            a.hears(PASSED),
            a.says("HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abc|"),
            client.hears("HTTP/1.1 200 OK|Connection: close||abc"),
            a.says("2|de|0|X-Sum: 1||").at(1.0),
            client.hears("de"),
            client.hears_end(),
        )
