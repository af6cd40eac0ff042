"""Two judges of haclient.net.http1: http.client reads every response, h11's server every request."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Sequence
from typing import cast

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.framing import write_request_head
from haclient.net.http1 import Http1
from haclient.types import Fields
from tests.support.pieces import NEWS, Pieces, read


def sent(http1: Http1, pieces: Sequence[bytes], length: int | None, method: str = "POST") -> bytes:
    head = write_request_head(method, "/orders", (), "orders.test", length)
    http1.begin(head)
    return head.data + b"".join(map(http1.content_bytes, pieces)) + http1.end_of_request()


def as_a_server_reads(wire: bytes) -> bytes:
    """The content of the one request in `wire`, by h11; nothing may be left over."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    content = b""
    while True:
        event = server.next_event()
        if isinstance(event, h11.EndOfMessage):
            assert server.trailing_data == (b"", False)
            return content
        assert event is not h11.NEED_DATA, "the server would wait for more"
        if isinstance(event, h11.Data):
            content += event.data


class TestRequests:
    @given(st.lists(st.binary(max_size=20), max_size=6))
    def test_a_server_reads_what_was_sent(self, pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        for length in (None, len(whole)):
            assert as_a_server_reads(sent(Http1(Pieces([])), pieces, length)) == whole

    def test_an_empty_piece_does_not_end_chunked_content(self) -> None:
        """On the wire an empty chunk is the last one; what follows would be read as a request."""
        wire = sent(Http1(Pieces([])), [b"GET / HTTP/1.1", b"", b"smuggled"], None)
        assert as_a_server_reads(wire) == b"GET / HTTP/1.1smuggled"

    def test_more_than_announced_is_not_sent(self) -> None:
        http1 = Http1(Pieces([]))
        http1.begin(write_request_head("POST", "/", (), "orders.test", 5))
        assert http1.content_bytes(b"hell") == b"hell"
        with pytest.raises(ValueError, match="2 bytes more"):
            http1.content_bytes(b"o, ")
        assert not http1.start_next()

    def test_content_where_none_was_announced_is_not_sent(self) -> None:
        http1 = Http1(Pieces([]))
        http1.begin(write_request_head("GET", "/", (), "orders.test", 0))
        with pytest.raises(ValueError, match="1 bytes more"):
            http1.content_bytes(b"x")

    def test_less_than_announced_is_no_end(self) -> None:
        http1 = Http1(Pieces([]))
        http1.begin(write_request_head("POST", "/", (), "orders.test", 5))
        http1.content_bytes(b"hell")
        with pytest.raises(ValueError, match="1 bytes less"):
            http1.end_of_request()


class FakeSocket:
    """All that http.client needs of one."""

    def __init__(self, wire: bytes) -> None:
        self._wire = wire

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._wire)


def as_http_client_reads(wire: bytes, method: str) -> tuple[int, bytes, Fields, bytes]:
    response = http.client.HTTPResponse(cast("socket.socket", FakeSocket(wire)), method=method)
    response.begin()
    try:
        fields = tuple(
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in response.msg.items()
        )
        return response.status, response.reason.encode("latin-1"), fields, response.read()
    finally:
        response.close()


TEXT = st.text("abcXYZ0189-_.~!,;=\"' \xe9", max_size=12).map(lambda text: text.strip(" "))
VALUE = TEXT.map(lambda text: text.encode("latin-1"))
NAME = st.sampled_from([b"X-A", b"x-b", b"Set-Cookie", b"ETag", b"Age", b"date", b"Via"])


@st.composite
def responses(draw: st.DrawFn) -> tuple[str, bytes]:
    """A request's method and a well-formed response to it."""
    method = draw(st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]))
    status = draw(st.sampled_from([200, 201, 204, 206, 301, 304, 404, 500, 503, 599]))
    content = draw(st.binary(max_size=40))
    lines = [b"HTTP/1.1 %d %b" % (status, draw(st.sampled_from([b"OK", b"", b"Not so good"])))]
    lines += [b"%b: %b" % pair for pair in draw(st.lists(st.tuples(NAME, VALUE), max_size=5))]
    body = content
    framing = draw(st.sampled_from(["counted", "until close", "chunked"]))
    if status in (204, 304) and framing == "chunked":
        framing = "counted"  # RFC 9112, section 6.1: not with 204; http.client reads on for both
    if framing == "counted":
        lines.insert(draw(st.integers(1, len(lines))), b"Content-Length: %d" % len(content))
    elif framing == "chunked":
        lines.append(b"transfer-encoding: chunked")
        cuts = sorted(draw(st.sets(st.integers(1, max(len(content) - 1, 1)), max_size=4)))
        pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
    if method == "HEAD" or status in (204, 304):
        body = b""
    interim = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * draw(st.integers(0, 2))
    return method, interim + b"\r\n".join(lines) + b"\r\n\r\n" + body


class TestAgainstHttpClient:
    @given(responses(), st.lists(st.integers(0, 300), max_size=6), st.booleans())
    def test_both_read_the_same(
        self, response: tuple[str, bytes], cuts: list[int], has_news: bool
    ) -> None:
        method, wire = response
        pieces: list[bytes | None] = []
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True):
            # An empty piece would be the end of the connection.
            pieces += [wire[start:end] or NEWS, *([NEWS] if has_news else [])]
        reading = trio.run(read, pieces, method)
        assert reading.error == ""
        status, reason, _version, fields = reading.heads[-1]
        assert (status, reason, fields, reading.content) == as_http_client_reads(wire, method)
