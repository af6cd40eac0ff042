"""Request heads: what goes on the wire, what is refused, and h11 as the judge."""

from __future__ import annotations

import string

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.framing import Framing, write_field_lines, write_request_head
from haclient.types import Fields

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters


@pytest.mark.parametrize(
    ("method", "fields", "length", "head", "framing"),
    [
        pytest.param(
            "GET", (), 0, b"GET /a?b HTTP/1.1\r\nHost: o.test\r\n\r\n", Framing.NONE, id="bare GET"
        ),
        pytest.param(
            "GET",
            ((b"hOST", b"other.test"), (b"X-a", b"1")),
            0,
            b"GET /a?b HTTP/1.1\r\nhOST: other.test\r\nX-a: 1\r\n\r\n",
            Framing.NONE,
            id="the caller's Host stands, letter case kept",
        ),
        pytest.param(
            "GET",
            ((b"X-Empty", b""),),
            0,
            b"GET /a?b HTTP/1.1\r\nHost: o.test\r\nX-Empty:\r\n\r\n",
            Framing.NONE,
            id="an empty value",
        ),
        pytest.param(
            "POST",
            (),
            0,
            b"POST /a?b HTTP/1.1\r\nHost: o.test\r\nContent-Length: 0\r\n\r\n",
            Framing.COUNTED,
            id="a POST announces its emptiness",
        ),
        pytest.param(
            "PUT",
            ((b"A", b"b"),),
            5,
            b"PUT /a?b HTTP/1.1\r\nHost: o.test\r\nA: b\r\nContent-Length: 5\r\n\r\n",
            Framing.COUNTED,
            id="known length is counted",
        ),
        pytest.param(
            "GET",
            (),
            3,
            b"GET /a?b HTTP/1.1\r\nHost: o.test\r\nContent-Length: 3\r\n\r\n",
            Framing.COUNTED,
            id="a GET with content says so",
        ),
        pytest.param(
            "POST",
            (),
            None,
            b"POST /a?b HTTP/1.1\r\nHost: o.test\r\nTransfer-Encoding: chunked\r\n\r\n",
            Framing.CHUNKED,
            id="unknown length is chunked",
        ),
        pytest.param(
            "POST",
            ((b"Transfer-Encoding", b"Chunked"),),
            9,
            b"POST /a?b HTTP/1.1\r\nHost: o.test\r\nTransfer-Encoding: Chunked\r\n\r\n",
            Framing.CHUNKED,
            id="the caller may want chunked",
        ),
        pytest.param(
            "POST",
            ((b"Content-Length", b"9"),),
            None,
            b"POST /a?b HTTP/1.1\r\nHost: o.test\r\nContent-Length: 9\r\n\r\n",
            Framing.COUNTED,
            id="the caller may know the length",
        ),
    ],
)
def test_head_and_framing(
    method: str, fields: Fields, length: int | None, head: bytes, framing: Framing
) -> None:
    written = write_request_head(method, "/a?b", fields, "o.test", length)
    assert written.data == head
    assert written.framing is framing
    assert written.method == method


@pytest.mark.parametrize(
    ("method", "target", "fields", "length", "words"),
    [
        pytest.param("GE T", "/", (), 0, "not a token", id="blank in the method"),
        pytest.param("GÉT", "/", (), 0, "not ASCII", id="method beyond ASCII"),
        pytest.param("GET", "/ä", (), 0, "not ASCII", id="target beyond ASCII"),
        pytest.param("GET", "/a b", (), 0, "blank or a control", id="blank in the target"),
        pytest.param(
            "GET", "/ HTTP/1.1\r\nEvil:", (), 0, "blank or a control", id="a line in the target"
        ),
        pytest.param("GET", "/", ((b"A b", b"c"),), 0, "not a token", id="blank in a name"),
        pytest.param("GET", "/", ((b"", b"c"),), 0, "not a token", id="empty name"),
        pytest.param(
            "GET", "/", ((b"A: x\r\nEvil", b"c"),), 0, "not a token", id="a line in a name"
        ),
        pytest.param(
            "GET", "/", ((b"A", b"x\r\nEvil: y"),), 0, "control character", id="a line in a value"
        ),
        pytest.param("GET", "/", ((b"A", b"x\ny"),), 0, "control character", id="LF in a value"),
        pytest.param("GET", "/", ((b"A", b"x\0y"),), 0, "control character", id="NUL in a value"),
        pytest.param("GET", "/", ((b"A", b" x"),), 0, "blank around", id="blank before a value"),
        pytest.param(
            "GET", "/", ((b"Host", b"a"), (b"host", b"b")), 0, "two Host", id="two Host fields"
        ),
        pytest.param(
            "POST",
            "/",
            ((b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")),
            1,
            "more than one",
            id="length and chunked",
        ),
        pytest.param(
            "POST",
            "/",
            ((b"Content-Length", b"1"), (b"Content-Length", b"1")),
            1,
            "more than one",
            id="two lengths",
        ),
        pytest.param(
            "POST", "/", ((b"Content-Length", b"+1"),), 1, "number of bytes", id="a signed length"
        ),
        pytest.param(
            "POST", "/", ((b"Content-Length", b"2"),), 1, "says 2 bytes", id="a wrong length"
        ),
        pytest.param(
            "POST",
            "/",
            ((b"Transfer-Encoding", b"gzip, chunked"),),
            None,
            "only be chunked",
            id="another coding",
        ),
    ],
)
def test_what_cannot_go_on_the_wire(
    method: str, target: str, fields: Fields, length: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_request_head(method, target, fields, "o.test", length)


def test_an_authority_that_begins_a_line_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="Host field's own value"):
        write_request_head("GET", "/", (), "o.test\r\nEvil: 1", 0)


def test_close_and_expect_are_seen() -> None:
    fields = ((b"Connection", b"Close"), (b"Expect", b"100-Continue"))
    head = write_request_head("GET", "/", fields, "o.test", 0)
    assert head.is_last
    assert head.expects_continue
    plain = write_request_head("GET", "/", ((b"Connection", b"keep-alive"),), "o.test", 0)
    assert not plain.is_last
    assert not plain.expects_continue


@pytest.mark.parametrize("name", [b"Authorization", b"Proxy-Authorization"])
def test_nothing_follows_on_a_connection_that_is_logged_in_on(name: bytes) -> None:
    for value, is_last in ((b"NTLM TlRM", True), (b"Basic eDp5", False)):
        fields = ((b"Connection", b"keep-alive"), (name, value), (b"X-More", b"1"))
        assert write_request_head("GET", "/", fields, "o.test", 0).is_last is is_last


names = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12).map(str.encode)
values = st.binary(max_size=20)


@given(
    method=st.text(TOKEN_CHARACTERS, min_size=1, max_size=8),
    target=st.text(string.printable, min_size=1, max_size=20).map(lambda text: "/" + text),
    fields=st.lists(st.tuples(names, values), max_size=6).map(tuple),
    length=st.one_of(st.none(), st.integers(0, 99)),
)
def test_what_is_written_h11_reads_back_field_for_field(
    method: str, target: str, fields: Fields, length: int | None
) -> None:
    try:
        head = write_request_head(method, target, fields, "o.test", length)
    except ValueError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(head.data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method.encode(), target.encode())
    read = list(request.headers.raw_items())
    if not any(name.lower() == b"host" for name, _ in fields):
        assert read.pop(0) == (b"Host", b"o.test")
    assert read[: len(fields)] == list(fields)
    assert len(read) - len(fields) <= 1


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        pytest.param((), b"", id="none"),
        pytest.param(((b"X-Sum", b"7"),), b"X-Sum: 7\r\n", id="one"),
        pytest.param(((b"b", b"1"), (b"A", b"")), b"b: 1\r\nA:\r\n", id="in order, one empty"),
    ],
)
def test_field_lines_of_a_trailer_section(fields: Fields, lines: bytes) -> None:
    assert write_field_lines(fields) == lines


@pytest.mark.parametrize(
    ("field", "words"),
    [
        pytest.param((b"X", b"1\r\nY: 2"), "the value of X has a control", id="two lines in one"),
        pytest.param((b"X: 1\r\nY", b"2"), "is not a token", id="two lines in one, by the name"),
        pytest.param((b"X", b" 1"), "a blank around it", id="a blank before the value"),
        pytest.param((b"", b"1"), "is not a token", id="no name"),
    ],
)
def test_field_lines_that_cannot_go_on_the_wire(field: tuple[bytes, bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_field_lines(((b"Good", b"1"), field))


@given(st.lists(st.tuples(names, values), max_size=6).map(tuple))
def test_h11_reads_back_the_trailer_section(fields: Fields) -> None:
    try:
        lines = write_field_lines(fields)
    except ValueError:
        return
    head = write_request_head("PUT", "/", (), "o.test", None)
    server = h11.Connection(h11.SERVER)
    server.receive_data(head.data + b"0\r\n" + lines + b"\r\n")
    server.next_event()
    end = server.next_event()
    assert isinstance(end, h11.EndOfMessage)
    assert list(end.headers.raw_items()) == list(fields)
