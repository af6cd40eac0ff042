"""A server that says "100 Continue" and begins its answer in one segment, before the upload comes."""

from __future__ import annotations

from trio.testing import MockClock

from tests.proxy.house import IDS, A, house
from tests.proxy.playbook import play

EXPECTING = "PUT /1 HTTP/1.1|Host: {}|Content-Length: 5|Expect: 100-continue|" + IDS + "|"
CONTINUE = "HTTP/1.1 100 Continue||"


async def test_go_on_comes_before_the_answer(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(EXPECTING.format("shop")),
            a.hears(EXPECTING.format("ab.test")),
            a.says(CONTINUE + "HTTP/1.1 200 OK|Content-Length: 5||").at(0.3),
            client.hears(CONTINUE + "HTTP/1.1 200 OK|Content-Length: 5|Connection: close||"),
            client.says("hello"),
            a.hears("hello"),
            a.says("HELLO"),
            client.hears("HELLO"),
            client.hears_end(),
        )
        assert h.records[0].request_bytes == 5
