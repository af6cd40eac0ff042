"""Requests as they come: at once, byte by byte, and cut anywhere; a verdict depends on bytes alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.chunked import MAX_EXTENSION_BYTES
from haclient.core.request_head import RequestLine, judge
from haclient.net import InterruptedReceive
from haclient.net.http1_server import (
    MAX_FIELDS,
    RECEIVE_BYTES,
    BadRequest,
    ClientLeft,
    RawHead,
    ServerHttp1,
)
from haclient.types import Fields
from tests.support.pieces import NEWS, Pieces, byte_by_byte

MAX_HEAD = 1024


@dataclass
class Heard:
    """All that was read of a connection, to its end."""

    requests: list[tuple[RawHead, bytes, Fields]] = field(default_factory=list)
    refused: int = 0
    reason: str = field(default="", compare=False)
    is_left: bool = False
    """The end came within a request."""

    @property
    def targets(self) -> list[bytes]:
        return [head.target for head, _, _ in self.requests]

    @property
    def contents(self) -> list[bytes]:
        return [content for _, content, _ in self.requests]


async def next_head(http: ServerHttp1) -> RawHead | None:
    """As the sidecar reads one."""
    head = http.buffered_head() if http.has_begun else None
    while head is None:
        try:
            if not await http.receive():
                return None
        except InterruptedReceive:
            continue
        head = http.buffered_head()
    return head


async def content_of(http: ServerHttp1) -> bytes:
    content = b""
    while True:
        try:
            piece = await http.read_content()
        except InterruptedReceive:
            continue
        if not piece:
            return content
        content += piece


async def read(pieces: Iterable[bytes | None], max_head: int = MAX_HEAD) -> Heard:
    """Reads requests until there is none, or one that cannot be read."""
    http = ServerHttp1(Pieces(pieces), max_head)
    heard = Heard()
    try:
        while (head := await next_head(http)) is not None:
            line = judge(head.method, head.target, head.http_version, head.fields)
            if not isinstance(line, RequestLine):
                heard.refused, heard.reason = line.status, line.reason
                return heard
            http.begin_content(line.length)
            content = await content_of(http)
            assert http.is_content_whole
            heard.requests.append((head, content, http.trailers))
        heard.is_left = http.has_begun
    except BadRequest as bad:
        heard.refused, heard.reason = bad.status, bad.reason
    except ClientLeft:
        heard.is_left = True
    return heard


async def read_every_way(wire: bytes) -> Heard:
    """At once, byte by byte, and with news before every byte; they must agree."""
    heard = await read([wire])
    single = byte_by_byte(wire)
    assert await read(single) == heard
    assert await read([piece for byte in single for piece in (NEWS, byte)]) == heard
    return heard


HEAD = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
PUT = b"PUT /x HTTP/1.1\r\nHost: a\r\n"
COUNTED = PUT + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"


# --- heads ----------------------------------------------------------------------------------------


async def test_a_head_as_it_came() -> None:
    heard = await read_every_way(
        b"GeT /a?b HTTP/1.0\r\nhOst: a\r\nX-A:\t1 \r\nX-B:\r\nx-a: 2\r\n\r\n"
    )
    [(head, content, trailers)] = heard.requests
    assert head == RawHead(
        b"GeT",
        b"/a?b",
        b"1.0",
        ((b"hOst", b"a"), (b"X-A", b"1"), (b"X-B", b""), (b"x-a", b"2")),
    )
    assert (content, trailers) == (b"", ())


async def test_one_request_after_another() -> None:
    chunked = CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"
    heard = await read_every_way(HEAD + COUNTED + HEAD + chunked + HEAD + COUNTED + chunked + HEAD)
    hello = b"hello"
    assert heard.contents == [b"", hello, b"", hello, b"", hello, hello, b""]


@pytest.mark.parametrize("before", [b"", b"\r\n"])
async def test_one_empty_line_may_come_before_a_request_line(before: bytes) -> None:
    heard = await read_every_way(before + HEAD + before + COUNTED + before + HEAD)
    assert heard.contents == [b"", b"hello", b""]


@pytest.mark.parametrize("before", [b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n", b"\r\n\n", b"\r"])
async def test_more_may_not(before: bytes) -> None:
    assert (await read_every_way(before + HEAD)).refused == 400
    assert (await read_every_way(HEAD + before + HEAD)).refused == 400


@pytest.mark.parametrize(
    "wire",
    [
        b"GET /x HTTP/1.1\nHost: a\n\n",
        b"GET /x HTTP/1.1\r\nHost: a\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n\n",
        b"GET /x HTTP/1.1\r\nHost: a\nX-B: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\rX-B: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n X-B: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n\tX-B: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\n\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_lines_end_in_crlf_and_nothing_else(wire: bytes) -> None:
    heard = await read_every_way(wire)
    assert (heard.refused, heard.requests) == (400, [])
    assert "CRLF" in heard.reason


@pytest.mark.parametrize(
    "wire",
    [
        b"GET /x\r\n\r\n",
        b"GET /x HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET /x HTTP/11\r\nHost: a\r\n\r\n",
        b"GET /x http/1.1\r\nHost: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: \x00\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"\r\n\r\n",
    ],
)
async def test_what_is_no_head(wire: bytes) -> None:
    heard = await read_every_way(wire + b"\r\n\r\n")
    assert (heard.refused, heard.requests) == (400, [])
    assert "bytearray" not in heard.reason


async def test_a_second_length_is_refused_even_if_it_agrees() -> None:
    """h11 would drop it."""
    wire = PUT + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\na"
    heard = await read_every_way(wire)
    assert heard.refused == 400
    assert "Content-Length" in heard.reason


async def test_the_end_between_requests_and_within_one() -> None:
    assert not (await read_every_way(b"")).is_left
    assert not (await read_every_way(HEAD)).is_left
    assert (await read_every_way(HEAD + b"G")).is_left
    assert (await read_every_way(COUNTED[:-1])).is_left
    assert (await read_every_way(CHUNKED + b"5\r\nhello\r\n0\r\n")).is_left


# --- limits ---------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    return HEAD[:-2] + b"X-A: " + b"x" * (size - len(HEAD) - len(b"X-A: \r\n")) + b"\r\n\r\n"


async def test_a_head_is_bounded() -> None:
    assert len((await read_every_way(head_of(MAX_HEAD) * 2)).requests) == 2
    for size in (MAX_HEAD + 1, MAX_HEAD + 3, MAX_HEAD + 4, 3 * MAX_HEAD):
        assert (await read_every_way(head_of(size))).refused == 431
    assert (await read_every_way(head_of(MAX_HEAD + 4)[:-4])).refused == 431


async def test_a_request_line_is_bounded() -> None:
    assert (await read_every_way(b"GET /" + b"x" * MAX_HEAD)).refused == 414
    assert (await read_every_way(b"GET /" + b"x" * MAX_HEAD + b" HTTP/1.1\r\n\r\n")).refused == 414


async def test_fields_are_bounded() -> None:
    head = b"GET /x HTTP/1.1\r\n" + b"a:b\r\n" * (MAX_FIELDS - 1) + b"Host: a\r\n"
    assert len((await read_every_way(head + b"\r\n")).requests) == 1
    heard = await read_every_way(head + b"a:b\r\n\r\n")
    assert (heard.refused, heard.reason) == (431, f"more than {MAX_FIELDS} fields")


async def test_an_end_that_is_none_comes_before_any_limit() -> None:
    """Else it would depend on the pieces which of the two is seen."""
    loose = b"GET /x HTTP/1.1\r\nHost: a\n\n"
    assert (await read_every_way(loose + b"x" * MAX_HEAD)).refused == 400
    assert (await read_every_way(loose + b"a:b\r\n" * (MAX_FIELDS + 1) + b"\r\n")).refused == 400


async def test_long_pieces_do_not_pass_limits() -> None:
    assert (await read([b"a:" + b"b" * RECEIVE_BYTES * 2])).refused == 414


# --- content --------------------------------------------------------------------------------------


async def test_chunks_extensions_and_trailers() -> None:
    wire = CHUNKED + b'5;a=b;c="d"\r\nhello\r\n006\r\n world\r\n0;x\r\nX-A:  1 \r\nx-b:\r\n\r\n'
    [(_, content, trailers)] = (await read_every_way(wire + HEAD)).requests[:1]
    assert content == b"hello world"
    assert trailers == ((b"X-A", b"1"), (b"x-b", b""))


async def test_trailers_are_those_of_the_last_request() -> None:
    heard = await read_every_way(CHUNKED + b"0\r\nX-A: 1\r\n\r\n" + COUNTED)
    assert [trailers for _, _, trailers in heard.requests] == [((b"X-A", b"1"),), ()]


@pytest.mark.parametrize(
    "wire",
    [
        b"zz\r\n",
        b"\r\n",
        b"-1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"f" * 17 + b"\r\n",
        b"1 \r\na\r\n",
        b"1;\x00\r\na\r\n",
        b"1;a\rb\r\na\r\n",
        b"1\na\r\n",
        b"0\r\nno colon\r\n\r\n",
    ],
)
async def test_chunks_that_are_none(wire: bytes) -> None:
    heard = await read_every_way(CHUNKED + wire + b"\r\n\r\n")
    assert (heard.refused, heard.requests) == (400, [])
    assert "bytearray" not in heard.reason


@pytest.mark.parametrize("start", [b"1;", b"0\r\nX-A: "])
async def test_extensions_and_trailers_are_bounded(start: bytes) -> None:
    endless = (b"x" * 10_000 for _ in range(1000))
    stream = Pieces([CHUNKED + start, *endless])
    http = ServerHttp1(stream, MAX_HEAD)
    assert await next_head(http) is not None
    http.begin_content(None)
    with pytest.raises(BadRequest) as caught:
        await content_of(http)
    assert caught.value.status == 400
    assert stream.bytes_taken < MAX_EXTENSION_BYTES + 2 * RECEIVE_BYTES


async def test_trailers_without_an_end_are_bounded() -> None:
    stream = Pieces([CHUNKED + b"0\r\n", *(b"X-A: 1\r\n" * 1000 for _ in range(1000))])
    http = ServerHttp1(stream, MAX_HEAD)
    assert await next_head(http) is not None
    http.begin_content(None)
    with pytest.raises(BadRequest) as caught:
        await content_of(http)
    assert caught.value.status == 400
    assert stream.bytes_taken < MAX_EXTENSION_BYTES + 2 * RECEIVE_BYTES


async def test_whole_content_that_is_here_needs_no_wait() -> None:
    http = ServerHttp1(Pieces([COUNTED[:-1], b"o" + HEAD]), MAX_HEAD)
    assert await next_head(http) is not None
    http.begin_content(5)
    assert http.buffered_content() is None
    assert await http.read_content() == b"hell"
    await http.receive()
    assert http.buffered_content() == b"o"
    assert http.is_content_whole
    assert await http.read_content() == b""
    assert await next_head(http) is not None


async def test_chunked_content_is_never_whole_beforehand() -> None:
    http = ServerHttp1(Pieces([CHUNKED + b"0\r\n\r\n"]), MAX_HEAD)
    assert await next_head(http) is not None
    http.begin_content(None)
    assert http.buffered_content() is None
    assert not http.is_content_whole


async def test_no_more_is_read_than_the_content_has() -> None:
    """What follows it is the next request's, and stays in the kernel."""
    stream = Pieces([PUT + b"Content-Length: 5\r\n\r\n", b"hello" + HEAD])
    http = ServerHttp1(stream, MAX_HEAD)
    assert await next_head(http) is not None
    taken = stream.bytes_taken
    http.begin_content(5)
    assert await content_of(http) == b"hello"
    assert stream.bytes_taken == taken + 5


async def test_what_follows_a_head_can_be_taken_as_it_is() -> None:
    http = ServerHttp1(Pieces([HEAD + b"\x81\x05hello"]), MAX_HEAD)
    assert await next_head(http) is not None
    http.begin_content(0)
    assert http.take_buffered() == b"\x81\x05hello"
    assert http.take_buffered() == b""


# --- any bytes, cut anywhere ----------------------------------------------------------------------

PARTS = st.sampled_from(
    [
        HEAD,
        COUNTED,
        CHUNKED,
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX-A: 1\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"GET /x HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"a:b\r\n" * (MAX_FIELDS + 1),
        b"x" * MAX_HEAD,
        b"\x00",
    ]
)
WIRES = st.lists(PARTS | st.binary(max_size=8), max_size=8).map(b"".join)


KNOWN = {0, 400, 413, 414, 417, 431, 501, 505}


def cut(wire: bytes, points: Iterable[int]) -> list[bytes]:
    """In pieces, none of them empty."""
    at = sorted({point % (len(wire) + 1) for point in points} | {0, len(wire)})
    return [wire[start:end] for start, end in itertools.pairwise(at)]


def heard_of(pieces: Iterable[bytes]) -> Heard:
    return trio.run(read, pieces)


@given(wire=WIRES, points=st.lists(st.integers(0, 10_000), max_size=8))
@example(wire=b"\r\n\r\n" + HEAD, points=[2])
@example(wire=b"x\n\n" + b"x" * MAX_HEAD, points=[3])
def test_a_verdict_depends_on_the_bytes_alone(wire: bytes, points: list[int]) -> None:
    assert heard_of(cut(wire, points)) == heard_of([wire])


@given(wire=st.binary(max_size=300))
def test_any_bytes_raise_only_errors_of_its_own(wire: bytes) -> None:
    assert heard_of([wire]).refused in KNOWN


@given(start=st.integers(0, len(COUNTED)), wire=st.binary(max_size=60), end=PARTS)
def test_requests_with_any_bytes_in_them(start: int, wire: bytes, end: bytes) -> None:
    for whole in (COUNTED, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"):
        assert heard_of([whole[:start] + wire + whole[start:] + end]).refused in KNOWN
