"""Heads in their common form, and h11 as the judge of whatever is taken for one."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.head_pattern import PlainResponse, fields_of, read_request, read_response
from haclient.core.request_head import Refusal, judge
from haclient.core.response_judge import CHUNKED
from haclient.types import Fields

REQUEST = (
    b"GET /x?q=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: it/1\r\nX-Two:  words\r\n"
    b"Content-Length: 3\r\nConnection: close\r\n\r\n"
)
PLAIN_REQUEST = REQUEST.replace(b":  ", b": ")
CHUNKED_REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: it\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
    b"Connection: keep-alive\r\n\r\n"
)


def test_a_plain_request() -> None:
    assert read_request(PLAIN_REQUEST) == (
        b"GET",
        b"/x?q=1",
        b"1.1",
        (
            (b"Host", b"a.test"),
            (b"User-Agent", b"it/1"),
            (b"X-Two", b"words"),
            (b"Content-Length", b"3"),
            (b"Connection", b"close"),
        ),
    )


def test_a_plain_chunked_request() -> None:
    plain = read_request(CHUNKED_REQUEST)
    assert plain is not None
    assert plain[3] == ((b"Host", b"a"), (b"Transfer-Encoding", b"chunked"))


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(REQUEST, id="two blanks behind a colon"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", id="an empty value"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", id="a bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", id="a blank before a colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", id="a folded field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", id="a NUL"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a \r\n\r\n", id="a blank at a value's end"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", id="another version"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", id="two blanks in the first line"),
        pytest.param(CHUNKED_REQUEST.replace(b"chunked", b"gzip"), id="another coding"),
        pytest.param(CHUNKED_REQUEST.replace(b"chunked", b"gzip, chunked"), id="a list of codings"),
        pytest.param(
            CHUNKED_REQUEST[:-2] + b"transfer-encoding: chunked\r\n\r\n", id="two codings"
        ),
        pytest.param(
            CHUNKED_REQUEST[:-2] + b"Content-Length: 3\r\n\r\n", id="a length and chunked"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
            id="two lengths",
        ),
        pytest.param(PLAIN_REQUEST + b"x", id="more than a head"),
        pytest.param(PLAIN_REQUEST[:-2], id="less than a head"),
    ],
)
def test_what_h11_has_to_read_of_requests(head: bytes) -> None:
    assert read_request(head) is None


def test_a_plain_response() -> None:
    plain = read_response(RESPONSE + b"abcdef", "GET")
    assert plain == PlainResponse(
        200,
        b"OK",
        (
            (b"Server", b"it"),
            (b"Content-Type", b"text/plain"),
            (b"Content-Length", b"3"),
            (b"Connection", b"keep-alive"),
        ),
        len(RESPONSE),
        3,
    )


@pytest.mark.parametrize(
    ("method", "first_line", "length"),
    [
        pytest.param("GET", b"HTTP/1.1 200 OK", 3, id="GET"),
        pytest.param("HEAD", b"HTTP/1.1 200 OK", 0, id="HEAD"),
        pytest.param("GET", b"HTTP/1.1 204 No Content", 0, id="204"),
        pytest.param("GET", b"HTTP/1.1 304 ", 0, id="304, no reason"),
        pytest.param("GET", b"HTTP/1.1 599 Odd", 3, id="an unknown status"),
    ],
)
def test_how_much_content_follows(method: str, first_line: bytes, length: int) -> None:
    plain = read_response(first_line + RESPONSE[len(b"HTTP/1.1 200 OK") :], method)
    assert plain is not None
    assert plain.length == length


def test_chunked_content_follows() -> None:
    head = RESPONSE.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked")
    plain = read_response(head + b"3\r\n", "GET")
    assert plain is not None
    assert (plain.length, plain.size) == (CHUNKED, len(head))
    plain = read_response(head, "HEAD")
    assert plain is not None
    assert plain.length == 0


def with_field(field: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nServer: it\r\n%b\r\n\r\n" % field


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(RESPONSE[:-2], id="not whole"),
        pytest.param(RESPONSE.replace(b"200", b"103"), id="an interim answer"),
        pytest.param(RESPONSE.replace(b"200", b"600"), id="no status"),
        pytest.param(RESPONSE.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(with_field(b"Transfer-Encoding: gzip, chunked"), id="another coding"),
        pytest.param(
            with_field(b"Transfer-Encoding: chunked\r\nContent-Length: 3"),
            id="a length and chunked",
        ),
        pytest.param(
            with_field(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            id="two codings",
        ),
        pytest.param(with_field(b"X: y"), id="until the connection's end"),
        pytest.param(with_field(b"Content-Length: +3"), id="no digits"),
        pytest.param(with_field(b"Content-Length: 3, 3"), id="a list"),
        pytest.param(with_field(b"Content-Length: 3\r\nContent-Length: 3"), id="two lengths"),
        pytest.param(with_field(b"Content-Length: 3\r\nConnection: close"), id="close"),
        pytest.param(
            with_field(b"Content-Length: 3\r\nConnection: keep-alive\r\nConnection: close"),
            id="two of Connection",
        ),
        pytest.param(with_field(b"Content-Length: 3\r\nUpgrade: h2c"), id="an upgrade offered"),
    ],
)
def test_what_h11_has_to_read_of_responses(head: bytes) -> None:
    assert read_response(head, "GET") is None


def test_the_fields_as_they_came() -> None:
    head = (
        b"GET / HTTP/1.1\r\nhOst:a\r\nX:\r\nY: \t b c\t \r\nContent-Length: 5, 5\r\nZ: a:b\r\n\r\n"
    )
    assert fields_of(head) == (
        (b"hOst", b"a"),
        (b"X", b""),
        (b"Y", b"b c"),
        (b"Content-Length", b"5, 5"),
        (b"Z", b"a:b"),
    )
    assert fields_of(b"GET / HTTP/1.1\r\n\r\n") == ()


# --- the judge -----------------------------------------------------------------------------------

SNIPPETS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b": ", b",", b"\x00", b"\x7f", b"\xff", b"HTTP/1.0",
    b"close", b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 7\r\n", b"+", b"_",
    b"Host: b\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"0", b"9", b"200",
    b"204", b"304", b"101", b"CONNECT", b"#", b"*", b"x" * 40, b"Upgrade: websocket\r\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """The original with up to four pieces cut out or put in."""
    data = original
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 6)))
        data = data[:at] + draw(st.sampled_from(SNIPPETS) | st.binary(max_size=2)) + data[to:]
    return data


@given(
    mutated(PLAIN_REQUEST)
    | mutated(PLAIN_REQUEST.replace(b"GET", b"POST"))
    | mutated(CHUNKED_REQUEST)
)
def test_what_is_taken_for_a_request_h11_reads_alike(head: bytes) -> None:
    plain = read_request(head)
    if plain is None:
        return
    line = judge(*plain)
    if isinstance(line, Refusal):
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    method, target, version, fields = plain
    assert (event.method, event.target, event.http_version) == (method, target, version)
    assert tuple(event.headers.raw_items()) == as_h11_gives(fields)
    if line.length is None:
        assert is_chunked(server)
    else:
        assert content_read(server, line.length) == line.length


LOOSE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\n[ \t]|\r\n\r\n.")


@given(mutated(REQUEST.replace(b"Content-Length: 3\r\n", b"")) | mutated(CHUNKED_REQUEST))
def test_the_fields_are_those_that_h11_reads(head: bytes) -> None:
    if LOOSE.search(head) is not None or b"content-length" in head.lower():
        return  # its lines do not all end in CRLF, or h11 gives a length otherwise than it came
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    try:
        event = server.next_event()
    except h11.RemoteProtocolError:
        return
    if isinstance(event, h11.Request):
        assert tuple(event.headers.raw_items()) == as_h11_gives(fields_of(head))


CHUNKED_RESPONSE = RESPONSE.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked")


@given(mutated(RESPONSE) | mutated(CHUNKED_RESPONSE), st.sampled_from(["GET", "HEAD", "POST"]))
def test_what_is_taken_for_a_response_h11_reads_alike(head: bytes, method: str) -> None:
    plain = read_response(head, method)
    if plain is None or plain.length > 1000:
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head[: plain.size])
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert (event.status_code, event.reason) == (plain.status, plain.reason)
    assert event.http_version == b"1.1"
    assert tuple(event.headers.raw_items()) == as_h11_gives(plain.fields)
    if plain.length == CHUNKED:
        assert is_chunked(client)
        return
    assert content_read(client, plain.length) == plain.length
    assert client.their_state is h11.DONE, "h11 would not use the connection again"


def as_h11_gives(fields: Fields) -> Fields:
    """Codings are the same in any letter case, and h11 writes them small."""
    return tuple(
        (name, value.lower() if name.lower() == b"transfer-encoding" else value)
        for name, value in fields
    )


def is_chunked(connection: h11.Connection) -> bool:
    """Whether h11 takes chunked content, and that to its end."""
    connection.receive_data(b"3\r\nabc\r\n0\r\n\r\n")
    data, end = connection.next_event(), connection.next_event()
    assert isinstance(data, h11.Data)
    return data.data == b"abc" and isinstance(end, h11.EndOfMessage)


def content_read(connection: h11.Connection, length: int) -> int:
    """How much of `length` bytes and more h11 takes for the content."""
    if length:
        connection.receive_data(b"c" * min(length, 1 << 16))
    taken = 0
    while True:
        event = connection.next_event()
        if isinstance(event, h11.EndOfMessage):
            return taken
        if event is h11.NEED_DATA:
            assert length > 1 << 16, "h11 waits for more content"
            return length
        assert isinstance(event, h11.Data)
        taken += len(event.data)
