"""Interim answers, "Expect: 100-continue" and early answers, byte by byte and at the exact instant."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.net.http1 import Head
from haclient.proxy.relay import Relay
from tests.proxy.house import IDS, A, house
from tests.proxy.playbook import play

ASKED = f"GET /1 HTTP/1.1|Host: shop|{IDS}|"
PASSED = f"GET /1 HTTP/1.1|Host: ab.test|{IDS}|"
OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"


async def test_interim_answers_are_passed_on(autojump_clock: MockClock) -> None:
    hints = "HTTP/1.1 103 Early Hints|Link: </a.css>; rel=preload||"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED),
            a.hears(PASSED),
            a.says(hints).at(0.5),
            client.hears(hints),
            a.says("HTTP/1.1 102 Processing||" + hints).at(1.0),
            client.hears("HTTP/1.1 102 Processing||" + hints),
            a.says(OK).at(2.0),
            client.hears(OK),
        )


def test_an_interim_head_is_written_anew() -> None:
    fields = ((b"Connection", b"x-hop"), (b"X-Hop", b"1"), (b"lInk", b"<a>"), (b"X-E", b""))
    head = Head(103, b"Early", b"1.1", fields)
    assert Relay.interim(head) == b"HTTP/1.1 103 Early\r\nlInk: <a>\r\nX-E:\r\n\r\n"


async def test_an_http_1_0_client_knows_no_interim_answers(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"GET /1 HTTP/1.0|Host: shop|{IDS}|"),
            a.hears(PASSED),
            a.says("HTTP/1.1 103 Early Hints|Link: </a.css>||" + OK),
            client.hears("HTTP/1.1 200 OK|Content-Length: 2|Connection: close||hi"),
            client.hears_end(),
        )


EXPECTING = "PUT /1 HTTP/1.1|Host: {}|Content-Length: 5|Expect: 100-continue|" + IDS + "|"
CONTINUE = "HTTP/1.1 100 Continue||"


async def test_the_server_says_go_on(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(EXPECTING.format("shop")),
            a.hears(EXPECTING.format("ab.test")),
            a.says(CONTINUE).at(0.3),
            client.hears(CONTINUE),
            client.says("hello").at(0.4),
            a.hears("hello"),
            a.says(OK),
            client.hears(OK),
        )


@pytest.mark.parametrize("status", ["417 Expectation Failed", "413 Content Too Large", "200 OK"])
async def test_the_server_answers_at_once_and_spares_the_upload(
    autojump_clock: MockClock, status: str
) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(EXPECTING.format("shop")),
            a.hears(EXPECTING.format("ab.test")),
            a.says(f"HTTP/1.1 {status}|Content-Length: 2||no").at(0.3),
            # Nobody can tell whether the content still comes: the connection ends.
            client.hears(f"HTTP/1.1 {status}|Content-Length: 2|Connection: close||no"),
            client.hears_end(),
            a.hears_end(),
        )
        assert h.records[0].request_bytes == 0


async def test_a_server_that_says_nothing_is_sent_the_content(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(EXPECTING.format("shop")),
            a.hears(EXPECTING.format("ab.test")),
            client.hears(CONTINUE).at(1.0),
            client.says("hello"),
            a.hears("hello"),
            a.says(OK),
            client.hears(OK),
        )


async def test_a_client_that_does_not_wait_for_the_word(autojump_clock: MockClock) -> None:
    """RFC 9110, section 10.1.1: it need not wait for long."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(EXPECTING.format("shop") + "hello"),
            a.hears(EXPECTING.format("ab.test")),
            a.says(CONTINUE).at(0.2),
            client.hears(CONTINUE),
            a.hears("hello"),
            a.says(OK),
            client.hears(OK),
        )


async def test_an_early_answer_during_an_upload(autojump_clock: MockClock) -> None:
    head = "PUT /1 HTTP/1.1|Host: {}|Content-Length: 30000|" + IDS + "|"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(head.format("shop") + "x" * 20000),
            a.hears(head.format("ab.test") + "x" * 20000),
            a.says("HTTP/1.1 507 Insufficient Storage|Content-Length: 2||no").at(0.5),
            client.hears(
                "HTTP/1.1 507 Insufficient Storage|Content-Length: 2|Connection: close||no"
            ),
            client.hears_end(),
            a.hears_end(),
            # What the client had under way does not turn the end into a reset.
            client.says("x" * 10000).at(0.6),
            client.hears_nothing().at(1.0),
        )
        assert h.told() == ["PUT /1 507 answered [10.0.0.1:80 answered]"]
