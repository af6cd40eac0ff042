"""The scripted origin answers like a server, and remembers what reached it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest
import trio
from trio.testing import MockClock

from haclient.types import Endpoint
from tests.sim.journal import Journal
from tests.sim.network import SimNetwork
from tests.sim.origin import Framing, ReceivedRequest, Reply, SimOrigin, ranged
from tests.sim.stream import SimStream

A = Endpoint("10.0.0.1", 80)

GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"


@asynccontextmanager
async def serving(journal: Journal | None = None) -> AsyncIterator[SimOrigin]:
    network = SimNetwork(journal)
    origin = SimOrigin(network, A, "a", journal=journal)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(origin.serve)
        yield origin
        nursery.cancel_scope.cancel()


async def connect(origin: SimOrigin) -> SimStream:
    return await origin.network.connect(origin.endpoint)


async def read_response(
    stream: SimStream, method: bytes = b"GET"
) -> tuple[list[h11.InformationalResponse], h11.Response, bytes]:
    """One response, read by h11 as a client would."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("Host", "a.test")]))
    http.send(h11.EndOfMessage())
    interim: list[h11.InformationalResponse] = []
    head: h11.Response | None = None
    content = b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some())
        elif isinstance(event, h11.InformationalResponse):
            interim.append(event)
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            content += event.data
        else:
            assert isinstance(event, h11.EndOfMessage)
            assert head is not None
            return interim, head, content


async def test_requests_on_one_connection_are_answered_and_remembered(
    autojump_clock: MockClock,
) -> None:
    journal = Journal()
    async with serving(journal) as origin:
        stream = await connect(origin)
        await stream.send_all(GET)
        _, head, content = await read_response(stream)
        assert (head.status_code, content) == (200, b"a: GET /x \n")
        await trio.sleep(2)
        await stream.send_all(
            b"PUT /y HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: 7\r\nContent-Length: 3\r\n\r\nabc"
        )
        _, head, content = await read_response(stream)
        assert content == b"a: PUT /y abc\n"
        assert (b"x-request-id", b"7") in head.headers
        assert (b"x-origin", b"a") in head.headers
        await stream.aclose()
    assert origin.executed == [
        ReceivedRequest(0.0, 1, b"GET", b"/x", ((b"Host", b"a.test"),), b"", is_whole=True),
        ReceivedRequest(
            2.0,
            1,
            b"PUT",
            b"/y",
            ((b"Host", b"a.test"), (b"X-Request-Id", b"7"), (b"Content-Length", b"3")),
            b"abc",
            is_whole=True,
        ),
    ]
    assert not origin.partial
    journal.expect(
        """
        0.000  network: 10.0.0.1:80 connected, 1
        0.000  a: 1: GET /x
        0.000  a: 1: answered 200
        2.000  a: 1: PUT /y
        2.000  a: 1: answered 200
        """
    )


@pytest.mark.parametrize("framing", Framing)
async def test_framing(autojump_clock: MockClock, framing: Framing) -> None:
    async with serving() as origin:
        origin.reply = Reply(content=b"0123456789" * 20_000, framing=framing)
        stream = await connect(origin)
        await stream.send_all(GET)
        _, head, content = await read_response(stream)
        assert content == b"0123456789" * 20_000
        names = {name for name, _ in head.headers}
        assert {
            Framing.COUNTED: b"content-length" in names,
            Framing.CHUNKED: (b"transfer-encoding", b"chunked") in head.headers,
            Framing.UNTIL_CLOSE: not names & {b"content-length", b"transfer-encoding"},
        }[framing]
        assert stream.is_quiet() == (framing is not Framing.UNTIL_CLOSE)


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [(b"HEAD", 200, b"5"), (b"GET", 204, None), (b"GET", 304, None)],
    ids=["HEAD", "204", "304"],
)
async def test_responses_without_content(
    autojump_clock: MockClock, method: bytes, status: int, length: bytes | None
) -> None:
    async with serving() as origin:
        origin.reply = Reply(status, b"12345")
        stream = await connect(origin)
        await stream.send_all(GET.replace(b"GET", method))
        _, head, content = await read_response(stream, method)
        assert (head.status_code, content) == (status, b"")
        assert dict(head.headers.raw_items()).get(b"Content-Length") == length
        assert stream.is_quiet()


async def test_it_thinks_and_says_so_before(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        origin.reply = Reply(think=5.0, interim=(103,), closes=True)
        stream = await connect(origin)
        await stream.send_all(GET)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 103 Early Hints\r\n")
        assert trio.current_time() == 0.0
        _, head, _ = await read_response(stream)
        assert trio.current_time() == 5.0
        assert (b"connection", b"close") in head.headers
        assert await stream.receive_some() == b""


async def test_a_reply_may_depend_on_the_request(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        origin.reply = lambda request: Reply(404 if request.target == b"/x" else 200)
        stream = await connect(origin)
        await stream.send_all(GET)
        assert (await read_response(stream))[1].status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        pytest.param(b"", 200, b"0123456789", id="for all"),
        pytest.param(b"Range: bytes=4-\r\n", 206, b"456789", id="from a byte on"),
        pytest.param(
            b'Range: bytes=4-\r\nIf-Range: "1"\r\n', 206, b"456789", id="if it is the same"
        ),
        pytest.param(
            b'Range: bytes=4-\r\nIf-Range: "0"\r\n', 200, b"0123456789", id="and it is another"
        ),
        pytest.param(b"Range: bytes=10-\r\n", 200, b"0123456789", id="beyond its end"),
        pytest.param(b"Range: bytes=2-3\r\n", 200, b"0123456789", id="for a part in the midst"),
    ],
)
async def test_ranges(
    autojump_clock: MockClock, asked: bytes, status: int, expected: bytes
) -> None:
    async with serving() as origin:
        origin.reply = ranged(b"0123456789", b'"1"')
        stream = await connect(origin)
        await stream.send_all(GET.replace(b"Host", asked + b"Host"))
        _, head, content = await read_response(stream)
        assert (head.status_code, content) == (status, expected)
        is_part = (b"content-range", b"bytes 4-9/10") in head.headers
        assert is_part == (status == 206)


async def test_it_asks_for_the_content_where_that_is_expected(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        stream = await connect(origin)
        await stream.send_all(
            b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"ab")
        assert (await read_response(stream))[2] == b"a: PUT / ab\n"


async def test_what_is_not_http_gets_400(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        stream = await connect(origin)
        await stream.send_all(b"\x16\x03\x01\r\n\r\n")
        assert (await read_response(stream))[1].status_code == 400
        assert await stream.receive_some() == b""
    assert not origin.executed


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(b"GE", ReceivedRequest(0.0, 1), id="in the request line"),
        pytest.param(
            b"PUT /y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
            ReceivedRequest(
                0.0, 1, b"PUT", b"/y", ((b"Host", b"a"), (b"Content-Length", b"3")), b"ab"
            ),
            id="in the content",
        ),
    ],
)
async def test_a_request_that_breaks_off_is_remembered_apart(
    autojump_clock: MockClock, sent: bytes, expected: ReceivedRequest
) -> None:
    async with serving() as origin:
        stream = await connect(origin)
        await stream.send_all(sent)
        await stream.aclose()
        await trio.sleep(0.01)
    assert origin.partial == [expected]
    assert not origin.executed


async def test_after_a_kill_it_can_come_back(autojump_clock: MockClock) -> None:
    async with serving() as origin:
        stream = await connect(origin)
        origin.network.kill(A)
        assert await stream.receive_some() == b""
        with pytest.raises(ConnectionRefusedError):
            await connect(origin)
        origin.network.heal(A)
        stream = await connect(origin)
        await stream.send_all(GET)
        assert (await read_response(stream))[1].status_code == 200
