"""The same bytes, cut anywhere: the same requests reach the servers, the same bytes the client.

A request that one reader takes for one and another for two ("request smuggling") begins with bytes
that mean something else by how they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.proxy.house import IDS, house
from tests.proxy.playbook import wire
from tests.sim.origin import ReceivedRequest

GET = wire(f"GET /a HTTP/1.1|Host: shop|{IDS}|")
OLD = wire(f"GET /b HTTP/1.0|Connection: keep-alive|{IDS}|")
SMALL = wire(f"POST /c HTTP/1.1|Host: shop|Content-Length: 5|{IDS}|hello")
CHUNKED = wire(
    f"PUT /d HTTP/1.1|Host: shop|Transfer-Encoding: chunked|{IDS}|5;x=1|hello|0|X-A: 1||"
)
LONG = wire(f"PUT /e HTTP/1.1|Host: shop|Content-Length: 20000|{IDS}|") + b"0123456789" * 2000
CLOSING = wire(f"GET /f HTTP/1.1|Host: shop|Connection: close|{IDS}|")
HIDDEN = wire(f"GET /hidden HTTP/1.1|Host: shop|{IDS}|")
AMBIGUOUS = [
    wire(f"POST /g HTTP/1.1|Host: shop|Content-Length: {len(HIDDEN)}|{IDS}|") + HIDDEN,
    wire(f"POST /h HTTP/1.1|Host: shop|Content-Length: 5|Transfer-Encoding: chunked|{IDS}|0||")
    + HIDDEN,
    wire(f"POST /i HTTP/1.1|Host: shop|Transfer-Encoding: xchunked|{IDS}|0||") + HIDDEN,
    wire(f"POST /j HTTP/1.1|Host: shop|Content-Length: 0|Content-Length: 5|{IDS}|hello"),
    wire(f"POST /k HTTP/1.1|Host: shop|Content-Length : 5|{IDS}|hello"),
    wire(f"POST /l HTTP/1.1|Host: shop|{IDS}") + b"Content-Length: 5\n\nhello" + HIDDEN,
    wire(f"POST /m HTTP/1.1|Host: shop|Transfer-Encoding: chunked|{IDS}|5|hello0||") + HIDDEN,
    wire(f"POST /n HTTP/1.1|Host: shop|Transfer-Encoding: chunked|{IDS}|5\nhello|0||") + HIDDEN,
]
PARTS = st.sampled_from(
    [GET, OLD, SMALL, CHUNKED, LONG, CLOSING, HIDDEN, *AMBIGUOUS, b"\r\n", b"G"]
)
WIRES = st.lists(PARTS, min_size=1, max_size=4).map(b"".join)
POINTS = st.lists(st.integers(0, 100_000), max_size=10)

MADE_ID = re.compile(rb"[0-9a-f]{32}")
"""Of a request that brought none, or could not be read: another one each time."""

Seen = tuple[list[tuple[bytes, bytes, object, bytes]], bytes, str]


async def converse(data: bytes, points: Iterable[int], *, waits: bool) -> Seen:
    """What the servers executed, what the client heard, and how its connection ended."""
    at = sorted({point % (len(data) + 1) for point in points} | {len(data)})
    begin = 0
    async with house() as h:
        client = h.client()
        for end in at:
            try:
                await client.stream.send_all(data[begin:end])
            except trio.BrokenResourceError:
                break
            begin = end
            if waits:
                await h.settle()
        heard, how = b"", "open"
        with trio.move_on_after(1.0):
            while True:
                try:
                    piece = await client.stream.receive_some()
                except trio.BrokenResourceError:
                    how = "reset"
                    break
                heard += piece
                if not piece:
                    how = "end"
                    break
        return [told(request) for request in h.a.executed], MADE_ID.sub(b"an id", heard), how


def told(request: ReceivedRequest) -> tuple[bytes, bytes, object, bytes]:
    return request.method, request.target, request.fields, request.content


def seen(data: bytes, points: Iterable[int], *, waits: bool) -> Seen:
    async def run() -> Seen:
        return await converse(data, points, waits=waits)

    return trio.run(run, clock=MockClock(autojump_threshold=0))


@given(data=WIRES, points=POINTS, waits=st.booleans())
@example(data=b"\r\n\r\n" + GET, points=[2], waits=True)
@example(data=AMBIGUOUS[5], points=range(0, 400, 3), waits=True)
def test_the_same_bytes_in_other_pieces(data: bytes, points: list[int], waits: bool) -> None:
    whole = seen(data, (), waits=True)
    assert seen(data, points, waits=waits) == whole


def test_nothing_hidden_gets_through() -> None:
    for data in AMBIGUOUS:
        requests, heard, how = seen(data, (), waits=True)
        if data is AMBIGUOUS[0]:
            assert [(target, content) for _, target, _, content in requests] == [(b"/g", HIDDEN)]
        else:
            assert requests == []
            assert heard.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
            assert how == "end"


def test_byte_by_byte() -> None:
    for data in (GET + SMALL + CHUNKED + GET, *AMBIGUOUS):
        assert seen(data, range(len(data)), waits=True) == seen(data, (), waits=True)
