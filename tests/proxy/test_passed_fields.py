"""Which fields arrive, in which order and letter case: the exact heads on both sides."""

from __future__ import annotations

import re

import pytest
from trio.testing import MockClock

from haclient.core.spec import HostHeader, Target
from haclient.proxy.service import VIA
from tests.proxy.house import IDS, A, House, house
from tests.proxy.playbook import Party, play

OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"


async def passes(h: House, asked: str, passed: str, answer: str = OK, got: str = OK) -> None:
    """One request and its answer, on a new connection of each side; given as they go."""
    client, a = h.client(), h.server(A)
    await play(
        client.says(asked),
        a.hears(passed),
        a.says(answer),
        client.hears(got),
        client.closes(),
        a.closes(),
    )


async def test_order_and_letter_case_are_kept(autojump_clock: MockClock) -> None:
    fields = "aCCept: */*|X-b: 1|Host: {}|x-B: 2|COOKIE: a=b|X-b: 3|X-Empty:|ACCEPT-language: de|"
    async with house() as h:
        await passes(
            h,
            f"GET /a?b=%C3%A9 HTTP/1.1|{fields.format('shop')}{IDS}|",
            f"GET /a?b=%C3%A9 HTTP/1.1|Host: ab.test|{fields.replace('Host: {}|', '')}{IDS}|",
            "HTTP/1.1 299 Very OK|sErver: x|Set-Cookie: a=1|X-A:|set-COOKIE: b=2|content-LENGTH: 2||hi",
            "HTTP/1.1 299 Very OK|sErver: x|Set-Cookie: a=1|X-A:|set-COOKIE: b=2|content-LENGTH: 2||hi",
        )


async def test_blanks_around_values_go(autojump_clock: MockClock) -> None:
    async with house() as h:
        await passes(
            h,
            f"GET / HTTP/1.1|Host:shop|X-A:\t 1 \t|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|X-A: 1|{IDS}|",
            "HTTP/1.1 200 OK|X-A:   1  |Content-Length:2||hi",
            "HTTP/1.1 200 OK|X-A: 1|Content-Length: 2||hi",
        )


async def test_bytes_beyond_ascii_pass_in_values(autojump_clock: MockClock) -> None:
    async with house() as h:
        await passes(
            h,
            f"GET / HTTP/1.1|Host: shop|X-A: \xe9\xff|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|X-A: \xe9\xff|{IDS}|",
            "HTTP/1.1 200 \xc9tat|X-A: \xe9\xff|Content-Length: 2||hi",
            "HTTP/1.1 200 \xc9tat|X-A: \xe9\xff|Content-Length: 2||hi",
        )


async def test_the_clients_host_may_be_preserved(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://ab.test/"], host_header=HostHeader.PRESERVE)
    async with house(target=target) as h:
        await passes(
            h,
            f"GET / HTTP/1.1|X-A: 1|hOst: Shop.Example:8080|{IDS}|",
            f"GET / HTTP/1.1|X-A: 1|hOst: Shop.Example:8080|{IDS}|",
        )
        await passes(
            h,
            f"GET http://other.example/x HTTP/1.1|Host: shop|{IDS}|",
            f"GET /x HTTP/1.1|Host: other.example|{IDS}|",
        )
        await passes(
            h,
            f"GET / HTTP/1.0|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|{IDS}|",
            got=OK.replace("||", "|Connection: close||"),
        )


async def test_a_path_in_the_targets_url_is_put_before(autojump_clock: MockClock) -> None:
    async with house(target=Target(urls=["http://ab.test/v1/"])) as h:
        await passes(
            h,
            f"GET /a?b=c HTTP/1.1|Host: shop|{IDS}|",
            f"GET /v1/a?b=c HTTP/1.1|Host: ab.test|{IDS}|",
        )


async def test_what_is_meant_for_one_hop_goes(autojump_clock: MockClock) -> None:
    async with house() as h:
        await passes(
            h,
            f"GET / HTTP/1.1|Host: shop|Connection: X-Own, keep-alive, Authorization|X-Own: 1|"
            f"Keep-Alive: timeout=5|Proxy-Connection: keep-alive|TE: trailers|Authorization: Basic eA==|"
            f"Proxy-Authorization: Basic eA==|HTTP2-Settings: x|X-Other: 2|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|Authorization: Basic eA==|X-Other: 2|{IDS}|",
            "HTTP/1.1 200 OK|Connection: keep-alive, X-Hop, Content-Type|Keep-Alive: timeout=5|X-Hop: 1|"
            "Content-Type: text/plain|Proxy-Authenticate: Basic|Upgrade: h2c|Content-Length: 2||hi",
            "HTTP/1.1 200 OK|Content-Type: text/plain|Content-Length: 2||hi",
        )


async def test_an_upgrade_that_is_not_passed_on(autojump_clock: MockClock) -> None:
    """Inside h2c, requests would run past routes and logs."""
    async with house() as h:
        await passes(
            h,
            f"GET / HTTP/1.1|Host: shop|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|"
            f"HTTP2-Settings: AAMAAABkAAQ|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|{IDS}|",
        )


async def test_via(autojump_clock: MockClock) -> None:
    async with house(via=True) as h:
        await passes(
            h,
            f"GET / HTTP/1.1|Host: shop|Via: 1.0 fred|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|Via: 1.0 fred|{IDS}Via: {VIA[False].decode()}||",
            OK,
            f"HTTP/1.1 200 OK|Content-Length: 2|Via: {VIA[False].decode()}||hi",
        )
        await passes(
            h,
            f"GET / HTTP/1.0|Host: shop|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|{IDS}Via: {VIA[True].decode()}||",
            OK,
            "HTTP/1.1 200 OK|Content-Length: 2|Via: 1.1 haclient|Connection: close||hi",
        )


async def test_forwarded(autojump_clock: MockClock) -> None:
    async with house(forwarded=True) as h:
        await passes(
            h,
            f"GET / HTTP/1.1|Host: shop:8080|Forwarded: for=_x|{IDS}|",
            f"GET / HTTP/1.1|Host: ab.test|Forwarded: for=_x|{IDS}"
            'Forwarded: for=127.0.0.1;host="shop:8080";proto=http||',
        )


MADE = re.compile(
    rb"GET / HTTP/1\.1\r\nHost: ab\.test\r\n"
    rb"X-Request-Id: ([0-9a-f]{32})\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-00\r\n\r\n"
)


async def heard_by(server: Party) -> bytes:
    stream = await server.accepted()
    return bytes(await stream.receive_some())


async def test_ids_are_made_where_there_are_none(autojump_clock: MockClock) -> None:
    ids = set()
    async with house() as h:
        for _ in range(2):
            client, a = h.client(), h.server(A)
            await play(client.says("GET / HTTP/1.1|Host: shop||"))
            found = MADE.fullmatch(await heard_by(a))
            assert found is not None
            request_id, trace_id, _span_id = found.groups()
            assert request_id == trace_id
            ids.add(request_id.decode())
            await play(a.says(OK), client.hears(OK), a.closes(), client.closes())
        assert {record.request_id for record in h.records} == ids
        assert len(ids) == 2


@pytest.mark.parametrize(
    "bad",
    ["traceparent: 00-xyz", "traceparent: 00-" + "0" * 32 + "-b7ad6b7169203331-01"],
)
async def test_a_malformed_traceparent_is_made_anew(autojump_clock: MockClock, bad: str) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"GET / HTTP/1.1|Host: shop|{bad}|tracestate: a=b|X-Request-Id: 7||")
        )
        heard = await heard_by(a)
        assert heard.count(b"traceparent") == 1
        assert bad.encode() not in heard
        assert b"tracestate" not in heard
        assert b"X-Request-Id: 7\r\n" in heard
        await play(a.says(OK), client.hears(OK))
        assert h.records[0].request_id == "7"
