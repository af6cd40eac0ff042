"""An answer that breaks off: gone on with from another server, or seen by the client as broken."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.house import BOTH, ONE, A, B, house
from tests.proxy.playbook import play
from tests.sim.effects import (
    AfterContentBytes,
    Blackhole,
    Effect,
    Fault,
    Fin,
    HalfOpen,
    Kill,
    Reset,
)
from tests.sim.origin import Framing, Reply, ranged

CONTENT = b"0123456789"
GET = "GET /x HTTP/1.1|Host: shop|X-Request-Id: 7||"
BROKEN = "GET /x 200 broken off [10.0.0.1:80 {}] {}"

ENDS = [
    (Kill(), 0.0, "closed"),
    (Reset(), 0.0, "closed"),
    (Fin(), 0.0, "closed"),
    (HalfOpen(), 1.0, "closed"),
    (Blackhole(), 2.5, "dead"),
]


# --- what cannot go on ----------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "at", "verdict"), ENDS, ids=str)
async def test_counted_content_ends_early(
    autojump_clock: MockClock, effect: Effect, at: float, verdict: str
) -> None:
    async with house(Fault(effect, AfterContentBytes(3))) as h:
        h.a.reply = Reply(content=CONTENT)
        client = h.client()
        await play(
            client.says(GET),
            client.hears("HTTP/1.1 200 OK|X-Origin: a|X-Request-Id: 7|Content-Length: 10||012"),
            client.hears_end().at(at),
        )
        assert h.told() == [BROKEN.format(verdict, "http_response_incomplete")]
        assert h.records[0].response_bytes == 3


@pytest.mark.parametrize(("effect", "at", "verdict"), ENDS, ids=str)
async def test_chunked_content_has_no_last_chunk(
    autojump_clock: MockClock, effect: Effect, at: float, verdict: str
) -> None:
    async with house(Fault(effect, AfterContentBytes(3))) as h:
        h.a.reply = Reply(content=CONTENT, framing=Framing.CHUNKED)
        client = h.client()
        await play(
            client.says(GET),
            client.hears(
                "HTTP/1.1 200 OK|X-Origin: a|X-Request-Id: 7|Transfer-Encoding: chunked||3|012|"
            ),
            client.hears_end().at(at),
        )
        assert h.told() == [BROKEN.format(verdict, "http_response_incomplete")]


@pytest.mark.parametrize(
    ("effect", "at", "verdict"),
    [end for end in ENDS if not isinstance(end[0], Kill | Fin)],
    ids=str,
)
async def test_content_until_the_end_that_breaks_off(
    autojump_clock: MockClock, effect: Effect, at: float, verdict: str
) -> None:
    """A FIN there is the content's end, and nobody can tell; everything else can be told."""
    async with house(Fault(effect, AfterContentBytes(3))) as h:
        h.a.reply = Reply(content=CONTENT, framing=Framing.UNTIL_CLOSE)
        client = h.client()
        await play(
            client.says(GET),
            client.hears(
                "HTTP/1.1 200 OK|X-Origin: a|X-Request-Id: 7|Transfer-Encoding: chunked||3|012|"
            ),
            client.hears_end().at(at),
        )


@pytest.mark.parametrize("framing", [Framing.CHUNKED, Framing.UNTIL_CLOSE])
@pytest.mark.parametrize(
    ("effect", "at", "verdict"),
    [end for end in ENDS if not isinstance(end[0], Kill | Fin)],
    ids=str,
)
async def test_to_an_http_1_0_client_a_broken_answer_is_a_reset(
    autojump_clock: MockClock, effect: Effect, at: float, verdict: str, framing: Framing
) -> None:
    """Its content ends with the connection: a FIN would make it look whole."""
    async with house(Fault(effect, AfterContentBytes(3))) as h:
        h.a.reply = Reply(content=CONTENT, framing=framing)
        client = h.client()
        await play(
            client.says("GET /x HTTP/1.0|X-Request-Id: 7||"),
            client.hears("HTTP/1.1 200 OK|X-Origin: a|X-Request-Id: 7|Connection: close||012"),
            client.hears_reset().at(at),
        )
        assert h.records[0].outcome.value == "broken off"


async def test_counted_content_to_an_http_1_0_client(autojump_clock: MockClock) -> None:
    async with house(Fault(Kill(), AfterContentBytes(3))) as h:
        h.a.reply = Reply(content=CONTENT)
        client = h.client()
        await play(
            client.says("GET /x HTTP/1.0|X-Request-Id: 7||"),
            client.hears(
                "HTTP/1.1 200 OK|X-Origin: a|X-Request-Id: 7|Content-Length: 10|Connection: close||012"
            ),
            client.hears_end(),
        )


async def test_garbage_in_chunked_content(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        head = "HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abc|"
        await play(
            client.says("GET / HTTP/1.1|Host: shop||"),
            a.accepts(),
            a.says(head + "zz|"),
            client.hears(head),
            client.hears_end(),
            a.closes(),
        )
        assert h.told() == ["GET / 200 broken off [10.0.0.1:80 garbled] http_protocol_error"]


async def test_the_back_stop_in_the_midst_of_an_answer(autojump_clock: MockClock) -> None:
    async with house(target=Target(urls=["http://ab.test/"], response_timeout=5.0)) as h:
        client, a = h.client(), h.server(A)
        head = "HTTP/1.1 200 OK|Content-Length: 9||abc"
        await play(
            client.says("GET / HTTP/1.1|Host: shop||"),
            a.accepts(),
            a.says(head),
            client.hears(head),
            a.says("def").at(4.1),
            client.hears("def"),
            client.hears_end().at(9.1),
            a.closes(),
        )
        assert h.told() == ["GET / 200 broken off [10.0.0.1:80 slow] http_response_timeout"]


async def test_a_pipelined_request_behind_a_broken_answer_is_not_served(
    autojump_clock: MockClock,
) -> None:
    async with house(Fault(Kill(), AfterContentBytes(3))) as h:
        h.a.reply = Reply(content=CONTENT)
        client = h.client()
        await play(
            client.says(GET + GET),
            client.hears("HTTP/1.1 200 OK|X-Origin: a|X-Request-Id: 7|Content-Length: 10||012"),
            client.hears_end(),
        )
        assert len(h.records) == 1


# --- what can -------------------------------------------------------------------------------------

TAGGED = ranged(CONTENT, b'"v1"')
TAGGED_HEAD = 'HTTP/1.1 200 OK|ETag: "v1"|Accept-Ranges: bytes|X-Origin: a|X-Request-Id: 7|Content-Length: 10||'
RESUMED_LATER = 0.002


@pytest.mark.parametrize(
    ("effect", "at", "verdict"), [*ENDS[:-1], (Blackhole(), 1.1, "superseded")], ids=str
)
async def test_with_a_strong_etag_it_goes_on(
    autojump_clock: MockClock, effect: Effect, at: float, verdict: str
) -> None:
    async with house(Fault(effect, AfterContentBytes(3))) as h:
        h.a.reply = h.b.reply = TAGGED
        client = h.client()
        await play(
            client.says(GET),
            client.hears(TAGGED_HEAD + "012"),
            client.hears("3456789").at(at + RESUMED_LATER),
            client.says(GET),
            client.hears_answer(200).at(at + RESUMED_LATER + 0.001),
        )
        assert h.told()[0] == f"GET /x 200 answered [10.0.0.1:80 {verdict}, 10.0.0.2:80 answered]"
        [asked] = h.b.executed[:1]
        assert asked.value(b"range") == b"bytes=3-"
        assert asked.value(b"if-range") == b'"v1"'
        assert h.records[0].response_bytes == 10


async def test_another_version_is_never_appended(autojump_clock: MockClock) -> None:
    async with house(Fault(Kill(), AfterContentBytes(3))) as h:
        h.a.reply, h.b.reply = TAGGED, ranged(b"abcdefghij", b'"v2"')
        client = h.client()
        await play(
            client.says(GET), client.hears(TAGGED_HEAD + "012"), client.hears_end().at(0.002)
        )
        assert h.records[0].outcome.value == "broken off"
        assert h.records[0].response_bytes == 3


async def test_nobody_has_the_rest(autojump_clock: MockClock) -> None:
    async with house(Fault(Kill(), AfterContentBytes(3))) as h:
        h.a.reply = TAGGED
        h.network.refuse(B)
        client = h.client()
        await play(
            client.says(GET), client.hears(TAGGED_HEAD + "012"), client.hears_end().at(0.001)
        )
        assert h.records[0].error == "http_response_incomplete"


async def test_resume_may_be_switched_off(autojump_clock: MockClock) -> None:
    target = Target(urls=BOTH.urls, resume=False)
    async with house(Fault(Kill(), AfterContentBytes(3)), target=target) as h:
        h.a.reply = h.b.reply = TAGGED
        client = h.client()
        await play(client.says(GET), client.hears(TAGGED_HEAD + "012"), client.hears_end())
        assert h.b.executed == []
