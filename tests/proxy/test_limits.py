"""What a client may not do: each limit gives its status, once, and closes so that it can be read.

Times are kept by the vigil, which looks four times a second. Every case has a second client, who is
served meanwhile as if nothing happened.
"""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.proxy.house import ONE, A, House, house
from tests.proxy.playbook import Party, Step, play, wire
from tests.sim.origin import Reply

HEAD = "GET /x HTTP/1.1|Host: shop|"


async def another_is_served(h: House) -> None:
    await h.ask(200, 0.0, target="/another")


async def refused(h: House, client: Party, status: int, *steps: Step, at: float = 0.0) -> str:
    """After these steps the client is answered so, and sees an orderly end; returns the reason."""
    await play(*steps, client.hears_answer(status).at(at), client.hears_end())
    await another_is_served(h)
    answer = client.got
    assert answer.is_last
    assert answer.server == ""
    assert answer.proxy_status.startswith("haclient; error=http_request_error; ")
    [record] = [record for record in h.records if record.path != "/another"]
    assert record.status == status
    assert record.outcome.value == "own"
    assert record.error == "http_request_error"
    assert [one for one in h.a.executed if one.target != b"/another"] == []
    detail = answer.problem["detail"]
    assert detail == record.detail
    assert "bytearray" not in detail
    return str(detail)


# --- heads that are none --------------------------------------------------------------------------

BAD_HEADS = [
    (400, "GET /x HTTP/1.1||"),
    (400, "GET /x HTTP/1.1|Host: shop|Host: shop||"),
    (400, "GET /x HTTP/1.1|Host: sh op||"),
    (400, "GET /x HTTP/1.1|Host:||"),
    (400, "GET /x HTTP/1.1|Host: user@shop||"),
    (400, "GET /x HTTP/1.1|Host: shop:99999||"),
    (400, "GET x HTTP/1.1|Host: shop||"),
    (400, "GET ftp://shop/ HTTP/1.1|Host: shop||"),
    (400, "GET http:///x HTTP/1.1|Host: shop||"),
    (400, "GET /x#y HTTP/1.1|Host: shop||"),
    (400, "GET /\xe9 HTTP/1.1|Host: shop||"),
    (400, "G(T /x HTTP/1.1|Host: shop||"),
    (400, "GET  /x HTTP/1.1|Host: shop||"),
    (400, "GET /x|Host: shop||"),
    (400, "||GET /x HTTP/1.1|Host: shop||"),
    (400, " GET /x HTTP/1.1|Host: shop||"),
    (400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03||"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A : 1||"),
    (400, "GET /x HTTP/1.1|Host: shop|X A: 1||"),
    (400, "GET /x HTTP/1.1|Host: shop|: 1||"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A||"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A: 1\x00||"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A: 1\x7f||"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A: 1| folded||"),
    (400, "GET /x HTTP/1.1\nHost: shop\n\n"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A: 1\nX-B: 2||"),
    (400, "GET /x HTTP/1.1|Host: shop|X-A: 1\rX-B: 2||"),
    (400, "PUT /x HTTP/1.1|Host: shop|Content-Length: 1|Content-Length: 1||a"),
    (400, "PUT /x HTTP/1.1|Host: shop|Content-Length: 1, 1||a"),
    (400, "PUT /x HTTP/1.1|Host: shop|Content-Length: +1||a"),
    (400, "PUT /x HTTP/1.1|Host: shop|Content-Length: 0x1||a"),
    (400, "PUT /x HTTP/1.1|Host: shop|Content-Length:||"),
    (400, "PUT /x HTTP/1.1|Host: shop|Content-Length: 1|Transfer-Encoding: chunked||0||"),
    (501, "PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: gzip||0||"),
    (501, "PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked, chunked||0||"),
    (501, "PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||"),
    (400, "PUT /x HTTP/1.0|Host: shop|Transfer-Encoding: chunked||0||"),
    (413, "PUT /x HTTP/1.1|Host: shop|Content-Length: 99999999999999999999||"),
    (417, "PUT /x HTTP/1.1|Host: shop|Content-Length: 1|Expect: the unexpected||a"),
    (501, "PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: gzip, chunked||0||"),
    (501, "CONNECT shop:443 HTTP/1.1|Host: shop:443||"),
    (505, "GET /x HTTP/2.0|Host: shop||"),
    (505, "GET /x HTTP/1.2|Host: shop||"),
    (505, "GET /x HTTP/0.9|Host: shop||"),
    (505, "PRI * HTTP/2.0||SM||"),
]


@pytest.mark.parametrize(("status", "said"), BAD_HEADS)
async def test_what_is_no_request(autojump_clock: MockClock, status: int, said: str) -> None:
    async with house() as h:
        client = h.client()
        assert await refused(h, client, status, client.says(said))


@pytest.mark.parametrize(("status", "said"), BAD_HEADS)
async def test_behind_a_good_request(autojump_clock: MockClock, status: int, said: str) -> None:
    async with house() as h:
        client = h.client()
        first = client.says(f"GET /another HTTP/1.1|Host: shop||{said}")
        assert await refused(h, client, status, first, client.hears_answer(200))


# --- too much -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (414, "GET /" + "x" * 1100),
        (414, "GET /" + "x" * 1100 + " HTTP/1.1|Host: shop||"),
        (431, HEAD + "X-A: " + "x" * 1000),
        (431, HEAD + "X-A: " + "x" * 1000 + "||"),
        (431, HEAD + "X-A: 1|" * 150),
    ],
    ids=["line", "line and head", "field", "field and head", "fields"],
)
async def test_a_head_that_is_too_long(autojump_clock: MockClock, status: int, said: str) -> None:
    async with house(max_head=1024) as h:
        client = h.client()
        assert "1024 bytes" in await refused(h, client, status, client.says(said))


async def test_a_head_of_exactly_the_limit_is_served(autojump_clock: MockClock) -> None:
    async with house(max_head=1024) as h:
        fill = "x" * (1024 - len("GET /another HTTP/1.1__Host: shop__X-A: ____"))
        said = f"GET /another HTTP/1.1|Host: shop|X-A: {fill}||"
        client = h.client()
        await play(client.says(said), client.hears_answer(200))
        client = h.client()
        await refused(
            h,
            client,
            431,
            client.says(said.replace("/another", "/x").replace("X-A: ", "X-A: 1234567")),
        )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "HEAD /x HTTP/1.1|Host: shop|X A: 1||"),
        (400, "HEAD /x HTTP/1.1|Host: shop\nX-A: 1||"),
        (400, "HEAD /x HTTP/1.1||"),
        (431, "HEAD /x HTTP/1.1|Host: shop|X-A: " + "x" * 1100),
        (431, "HEAD /x HTTP/1.1|Host: shop|" + "X-A: 1|" * 101 + "|"),
        (414, "HEAD /" + "x" * 1100),
    ],
)
async def test_a_refused_head_has_no_content(
    autojump_clock: MockClock, status: int, said: str
) -> None:
    """Or what is read for the next answer is the content of this one."""
    async with house(max_head=1024) as h:
        client = h.client()
        await play(client.says(said), client.hears_answer(status, "HEAD"), client.hears_end())
        assert client.got.is_last


async def test_a_head_that_comes_too_slowly_has_no_content(autojump_clock: MockClock) -> None:
    async with house(header_timeout=2.0) as h:
        client = h.client()
        await play(
            client.says("HEAD /x HTTP/1.1|"),
            client.hears_answer(408, "HEAD").at(2.0),
            client.hears_end(),
        )


async def test_too_many_fields(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.ask(200, 0.0, target="/another", fields="X-A: 1|" * 99)
        client = h.client()
        assert "100 fields" in await refused(
            h, client, 431, client.says(HEAD + "X-A: 1|" * 100 + "|")
        )


async def test_content_that_is_announced_as_too_long(autojump_clock: MockClock) -> None:
    async with house(max_content=10) as h:
        client = h.client()
        assert "10 bytes" in await refused(
            h,
            client,
            413,
            client.says("PUT /x HTTP/1.1|Host: shop|Content-Length: 11||01234567890"),
        )


async def test_a_client_that_would_wait_is_refused_before_it_sends(
    autojump_clock: MockClock,
) -> None:
    async with house(max_content=10) as h:
        client = h.client()
        said = "PUT /x HTTP/1.1|Host: shop|Content-Length: 11|Expect: 100-continue||"
        await refused(h, client, 413, client.says(said))


async def test_chunks_that_become_too_many(autojump_clock: MockClock) -> None:
    async with house(max_content=10) as h:
        client = h.client()
        steps = [
            client.says("PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked||"),
            client.says("8|01234567|").at(1.0),
            client.says("3|890|").at(2.0),
        ]
        assert "10 bytes" in await refused(h, client, 413, *steps, at=2.0)


@pytest.mark.parametrize(
    "said",
    [
        "zz|",
        "-1|a|",
        "1|ab|",
        "1;a\nb|a|",
        "fffffffffffffffffffff|",
        "0|X A: 1||",
    ],
)
async def test_chunks_that_are_none(autojump_clock: MockClock, said: str) -> None:
    async with house() as h:
        client = h.client()
        await refused(
            h,
            client,
            400,
            client.says("PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked||" + said),
        )


@pytest.mark.parametrize(("start", "more"), [("1;", "x" * 12_000), ("0|", "X-A: 1|" * 1700)])
async def test_chunk_extensions_and_trailers_are_bounded(
    autojump_clock: MockClock, start: str, more: str
) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says("PUT /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked||" + start))
        sent = 0
        while not client.unheard():
            sent += client.stream.send_now(wire(more))
            await h.settle()
        assert sent < 100_000
        await refused(h, client, 400)


# --- too slow -------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["G", HEAD])
async def test_a_head_that_does_not_come_to_its_end(autojump_clock: MockClock, said: str) -> None:
    async with house() as h:
        client = h.client()
        assert "within 10 s" in await refused(h, client, 408, client.says(said).at(0.1), at=10.25)


async def test_a_head_that_drips_gains_no_time(autojump_clock: MockClock) -> None:
    async with house(header_timeout=3.0) as h:
        client = h.client()
        drops = [client.says(HEAD[i]).at(0.5 * i) for i in range(6)]
        await play(*drops)
        await refused(h, client, 408, at=3.0)


async def test_the_time_for_a_head_begins_with_its_first_byte(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(
            client.says("GET /another HTTP/1.1|Host: shop||").at(50.0),
            client.hears_answer(200),
            client.says(HEAD).at(120.0),
        )
        await refused(h, client, 408, at=130.0)


async def test_a_silent_client_is_closed_without_a_word(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.hears_end().at(75.0))
        assert h.records == []


async def test_an_idle_client_is_closed_without_a_word(autojump_clock: MockClock) -> None:
    async with house(idle_timeout=5.0) as h:
        client = h.client()
        asked = "GET /another HTTP/1.1|Host: shop||"
        await play(
            client.says(asked).at(4.9),
            client.hears_answer(200),
            client.says(asked).at(9.8),
            client.hears_answer(200),
            client.hears_end().at(15.0),
        )


async def test_small_content_that_does_not_come(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(
            client.says("PUT /x HTTP/1.1|Host: shop|Content-Length: 3||"),
            client.says("a").at(20.1),
        )
        assert "for 30 s" in await refused(h, client, 408, at=50.25)


@pytest.mark.parametrize("framing", ["Content-Length: 20000", "Transfer-Encoding: chunked"])
async def test_long_content_that_stops(autojump_clock: MockClock, framing: str) -> None:
    async with house() as h:
        client = h.client()
        await play(
            client.says(f"PUT /x HTTP/1.1|Host: shop|{framing}||2|ab|").at(0.1),
            client.says("2|ab|").at(20.1),
        )
        assert "for 30 s" in await refused(h, client, 408, at=50.25)


async def test_a_server_that_takes_no_content_is_not_the_clients_fault(
    autojump_clock: MockClock,
) -> None:
    """Nobody's byte moves for longer than body_timeout, for the server is busy."""
    async with house(target=ONE, body_timeout=5.0) as h:
        client, a = h.client(), h.server(A)
        content = bytes(400_000)
        client_end = client.stream
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                await client_end.send_all(
                    b"PUT /x HTTP/1.1\r\nHost: shop\r\nContent-Length: 400000\r\n\r\n" + content
                )

            nursery.start_soon(send)
            stream = await a.accepted()
            await trio.sleep(20.0)
            got = b""
            while len(got) < 400_000:
                got += await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        await play(client.hears_answer(204).at(20.0))


async def test_a_client_that_does_not_take_its_answer(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(content=bytes(1_000_000))
        client = h.client()
        client.stream.send_now(wire(HEAD + "|"))
        seen = []
        for instant in (30.2, 30.25):
            await trio.sleep_until(instant)
            await h.settle()
            seen.append(client.stream.end.is_gone)
        # A reset, so that nothing of the answer can be taken for whole.
        assert seen == [False, True]
        [record] = h.records
        assert record.outcome.value == "client gone"
        assert record.detail == "the client took nothing of what was sent to it for too long"
        assert record.ended_at == 30.25
        await another_is_served(h)


async def test_a_client_that_takes_its_answer_slowly(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(content=bytes(1_000_000))
        client = h.client()
        client.stream.send_now(wire(HEAD + "|"))
        taken = 0
        while taken < 1_000_000:
            await trio.sleep(20.0)
            taken += len(await client.stream.receive_some(50_000))
        await h.settle()
        assert h.records[0].outcome.value == "answered"


async def test_a_client_that_takes_no_error_of_ours(autojump_clock: MockClock) -> None:
    """It sends on and reads nothing; the connection still comes to its end."""
    async with house() as h:
        client = h.client()
        client.stream.send_now(wire("GET x HTTP/1.1|Host: shop||"))

        async def send_on() -> None:
            while True:
                await client.stream.send_all(bytes(1000))
                await trio.sleep(0.1)

        with trio.fail_after(3.0), pytest.raises(trio.BrokenResourceError):
            await send_on()
        assert not h.door.inside
