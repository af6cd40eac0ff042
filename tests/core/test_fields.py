"""Field transforms: what crosses, what does not, what is written anew, and where it stands."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.fields import (
    ResponseEnd,
    ResponseFraming,
    forwarded_value,
    request_fields,
    request_id_of,
    response_fields,
    response_framing,
    trailer_fields,
)
from haclient.core.framing import write_request_head
from haclient.core.request_head import RequestLine, judge
from haclient.types import Fields

HOST = (b"Host", b"a.test")
TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NONE = ResponseFraming(ResponseEnd.NONE)


def forwarded(
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    target: bytes = b"/",
    version: bytes = b"1.1",
    preserve_host: bool = False,
    via: bytes | None = None,
    forwarded: bytes | None = None,
    request_id: bytes | None = None,
    traceparent: bytes | None = None,
) -> Fields:
    line = judge(method, target, version, fields)
    assert isinstance(line, RequestLine), line
    return request_fields(
        line,
        fields,
        preserve_host=preserve_host,
        via=via,
        forwarded=forwarded,
        request_id=request_id,
        traceparent=traceparent,
    )


# Requests


def test_order_and_letter_case_stay() -> None:
    fields = ((b"x-B", b"2"), (b"X-a", b"1"), (b"X-A", b""), (b"Content_Length", b"9"))
    assert forwarded(HOST, *fields) == fields


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        pytest.param([(b"Connection", b"keep-alive")], [], id="Connection"),
        pytest.param([(b"Connection", b"X-A"), (b"x-a", b"1")], [], id="what it names"),
        pytest.param(
            [(b"x-a", b"1"), (b"Y", b"2"), (b"Connection", b"q, X-A")], [(b"Y", b"2")], id="before"
        ),
        pytest.param([(b"Connection", b"X-A"), (b"X-A", b"1"), (b"x-a", b"2")], [], id="all of it"),
        pytest.param([(b"Keep-Alive", b"timeout=5")], [], id="Keep-Alive"),
        pytest.param([(b"Proxy-Connection", b"keep-alive")], [], id="Proxy-Connection"),
        pytest.param([(b"TE", b"trailers")], [], id="TE"),
        pytest.param([(b"Trailer", b"X-A")], [(b"Trailer", b"X-A")], id="Trailer stays"),
        pytest.param([(b"Upgrade", b"websocket")], [], id="Upgrade not named by Connection"),
        pytest.param(
            [(b"Connection", b"upgrade, http2-settings"), (b"Upgrade", b"h2c")], [], id="h2c"
        ),
        pytest.param([(b"HTTP2-Settings", b"AAMA")], [], id="HTTP2-Settings"),
        pytest.param([(b"Proxy-Authorization", b"Basic YTpi")], [], id="Proxy-Authorization"),
        pytest.param([(b"Proxy-Authenticate", b"Basic")], [], id="Proxy-Authenticate"),
        pytest.param([(b"Authorization", b"a")], [(b"Authorization", b"a")], id="Authorization"),
        pytest.param(
            [(b"Connection", b"Authorization"), (b"Authorization", b"a")],
            [(b"Authorization", b"a")],
            id="what may not be named away",
        ),
    ],
)
def test_what_crosses(fields: list[tuple[bytes, bytes]], left: list[tuple[bytes, bytes]]) -> None:
    assert list(forwarded(HOST, *fields)) == left


def test_what_we_add_cannot_be_named_away() -> None:
    """CVE-2022-31813: first go the fields that Connection names, then ours are added."""
    fields = forwarded(
        HOST,
        (b"Connection", b"Via, Forwarded, X-Request-Id, traceparent"),
        (b"Via", b"x"),
        (b"Forwarded", b"x"),
        (b"X-Request-Id", b"x"),
        (b"traceparent", TRACEPARENT),
        via=b"1.1 haclient",
        forwarded=b"for=unknown",
        request_id=b"mine",
        traceparent=b"made",
    )
    assert fields == (
        (b"Via", b"1.1 haclient"),
        (b"Forwarded", b"for=unknown"),
        (b"X-Request-Id", b"mine"),
        (b"traceparent", b"made"),
    )


def test_host() -> None:
    other = (b"X", b"1")
    upper = (b"hOST", b"A.test:81")
    assert forwarded(other, upper) == (other,)
    assert forwarded(other, upper, preserve_host=True) == (other, upper)
    assert forwarded(upper, target=b"http://b.test/", preserve_host=True) == ((b"hOST", b"b.test"),)
    assert forwarded(other, target=b"http://b/", version=b"1.0", preserve_host=True) == (
        (b"Host", b"b"),
        other,
    )
    assert forwarded(other, version=b"1.0", preserve_host=True) == (other,)
    named = (b"Connection", b"host")
    assert forwarded(HOST, named, preserve_host=True) == (HOST,)


def test_framing_is_written_anew_where_it_stood() -> None:
    x, y = (b"X", b"1"), (b"Y", b"2")
    assert forwarded(HOST, x, (b"content-LENGTH", b"007"), y) == (x, (b"content-LENGTH", b"7"), y)
    assert forwarded(HOST, (b"Content-Length", b"0"), y) == ((b"Content-Length", b"0"), y)
    assert forwarded(HOST, x, (b"Transfer-encoding", b"CHUNKED"), y) == (
        x,
        (b"Transfer-encoding", b"chunked"),
        y,
    )
    named = (b"Connection", b"content-length, transfer-encoding")
    assert forwarded(HOST, named, (b"Content-Length", b"5")) == ((b"Content-Length", b"5"),)


def test_expect() -> None:
    length = (b"Content-Length", b"5")
    assert forwarded(HOST, (b"expect", b"100-Continue"), length) == (
        (b"expect", b"100-continue"),
        length,
    )
    assert forwarded(HOST, (b"Expect", b"100-continue")) == ()
    assert forwarded(HOST, (b"Expect", b"100-continue"), length, version=b"1.0") == (length,)


def test_upgrade() -> None:
    key = (b"Sec-WebSocket-Key", b"x")
    assert forwarded(
        HOST, (b"upgrade", b"websocket"), key, (b"CONNECTION", b"keep-alive, upgrade, X-A")
    ) == ((b"upgrade", b"websocket"), key, (b"CONNECTION", b"Upgrade"))
    assert forwarded(
        HOST,
        (b"Connection", b"Upgrade"),
        (b"Connection", b"close"),
        (b"Upgrade", b"a"),
        (b"Upgrade", b"b"),
    ) == ((b"Connection", b"Upgrade"), (b"Upgrade", b"a, b"))


def test_via_is_added_behind() -> None:
    assert forwarded(HOST, (b"Via", b"1.0 x"), (b"X", b"1"), via=b"1.1 haclient") == (
        (b"Via", b"1.0 x"),
        (b"X", b"1"),
        (b"Via", b"1.1 haclient"),
    )


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        (b"4bf92f3577b34da6", True),
        (b"a" * 128, True),
        (b"a" * 129, False),
        (b"a b", False),
        (b"\xe4", False),
        (b"", False),
    ],
)
def test_request_id(value: bytes, passes: bool) -> None:
    sent = (b"x-request-ID", value)
    kept, made = (sent,), ((b"X-Request-Id", b"made"),)
    assert forwarded(HOST, sent, request_id=b"made") == (kept if passes else made)
    assert forwarded(HOST, sent) == (kept if passes else ())


def test_one_request_id_passes() -> None:
    fields = ((b"X-Request-Id", b" "), (b"X-Request-Id", b"b"), (b"X-Request-Id", b"c"))
    assert forwarded(HOST, *fields, request_id=b"made") == ((b"X-Request-Id", b"b"),)
    assert forwarded(HOST, request_id=b"made") == ((b"X-Request-Id", b"made"),)


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        pytest.param(TRACEPARENT, True, id="as it should be"),
        pytest.param(TRACEPARENT + b"-x", False, id="version 00 has no more"),
        pytest.param(b"cc" + TRACEPARENT[2:] + b"-x", True, id="a later version may have more"),
        pytest.param(b"cc" + TRACEPARENT[2:], True, id="a later version"),
        pytest.param(b"cc" + TRACEPARENT[2:] + b"x", False, id="a later version, run together"),
        pytest.param(b"ff" + TRACEPARENT[2:], False, id="version ff"),
        pytest.param(TRACEPARENT.upper(), False, id="upper case"),
        pytest.param(b"00-" + b"0" * 32 + TRACEPARENT[35:], False, id="trace id of zeros"),
        pytest.param(TRACEPARENT[:36] + b"0" * 16 + b"-01", False, id="parent id of zeros"),
        pytest.param(TRACEPARENT[:-1], False, id="too short"),
        pytest.param(b"", False, id="empty"),
    ],
)
def test_traceparent(value: bytes, passes: bool) -> None:
    sent, state = (b"Traceparent", value), (b"tracestate", b"a=b")
    kept, made = (state, sent, state), ((b"traceparent", b"made"),)
    assert forwarded(HOST, state, sent, state, traceparent=b"made") == (kept if passes else made)
    assert forwarded(HOST, state, sent, state) == (kept if passes else ())


@pytest.mark.parametrize(
    ("address", "host", "value"),
    [
        ("192.0.2.43", b"a.test", b"for=192.0.2.43;host=a.test;proto=http"),
        ("2001:DB8:0::1", b"a.test:81", b'for="[2001:db8::1]";host="a.test:81";proto=http'),
        ("fe80::1%eth0", b"", b'for="[fe80::1]";proto=http'),
        ("", b"a.test", b"for=unknown;host=a.test;proto=http"),
        ("unix", b"", b"for=unknown;proto=http"),
    ],
)
def test_forwarded_value(address: str, host: bytes, value: bytes) -> None:
    assert forwarded_value(address, host, "http") == value


NAMES = st.one_of(
    st.sampled_from(
        [
            b"Content-Length",
            b"Transfer-Encoding",
            b"Connection",
            b"Expect",
            b"Upgrade",
            b"X-Request-Id",
            b"tracestate",
            b"TE",
            b"X-A",
            b"Trailer",
        ]
    ),
    st.from_regex(rb"[!-~]{1,4}", fullmatch=True),
)
VALUES = st.one_of(
    st.sampled_from([b"chunked", b"5", b"05", b"close", b"upgrade, x-a", b"websocket"]),
    st.binary(max_size=8).map(lambda value: value.strip(b" \t")),
)


@given(
    method=st.sampled_from([b"GET", b"POST"]),
    version=st.sampled_from([b"1.1", b"1.0"]),
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=5).map(lambda found: (HOST, *found)),
    preserve_host=st.booleans(),
)
def test_what_goes_out_is_one_request_with_one_framing(
    method: bytes, version: bytes, fields: Fields, preserve_host: bool
) -> None:
    line = judge(method, b"/x", version, fields)
    if not isinstance(line, RequestLine):
        return
    out = request_fields(line, fields, preserve_host=preserve_host)
    head = write_request_head(line.method, line.target, out, "origin.test", line.length)
    server = h11.Connection(h11.SERVER)
    server.receive_data(head.data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    read = [name for name, _ in request.headers]
    assert read.count(b"host") == 1
    framing = [name for name in read if name in {b"content-length", b"transfer-encoding"}]
    assert len(framing) <= 1
    assert (b"transfer-encoding" in framing) == (line.length is None)
    assert b"content-length" in framing or not line.length
    named = line.connection_options & set(read)
    assert named <= {b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"}
    # What is done twice is done once.
    again = judge(
        method, b"/x", version, ((b"Host", b"a.test"), *out) if not preserve_host else out
    )
    assert isinstance(again, RequestLine)
    assert (again.length, again.upgrade) == (line.length, line.upgrade)


# Responses

CL, TE = b"Content-Length", b"Transfer-Encoding"


@pytest.mark.parametrize(
    ("method", "status", "fields", "is_http10", "end", "length"),
    [
        pytest.param("GET", 200, [(CL, b"5")], False, ResponseEnd.COUNTED, 5, id="counted"),
        pytest.param(
            "GET",
            200,
            [(b"X", b"1"), (CL, b"5")],
            False,
            ResponseEnd.COUNTED,
            5,
            id="behind another",
        ),
        pytest.param("GET", 200, [(CL, b"5")], True, ResponseEnd.COUNTED, 5, id="counted, 1.0"),
        pytest.param("GET", 200, [(TE, b"chunked")], False, ResponseEnd.CHUNKED, None, id="chunks"),
        pytest.param(
            "GET", 200, [(TE, b"chunked")], True, ResponseEnd.UNTIL_CLOSE, None, id="chunks, 1.0"
        ),
        pytest.param("GET", 200, [], False, ResponseEnd.CHUNKED, None, id="until close"),
        pytest.param("GET", 200, [], True, ResponseEnd.UNTIL_CLOSE, None, id="until close, 1.0"),
        pytest.param("GET", 205, [(CL, b"0")], False, ResponseEnd.COUNTED, 0, id="nothing"),
        pytest.param("HEAD", 200, [(CL, b"5")], False, ResponseEnd.NONE, 5, id="HEAD, length"),
        pytest.param("HEAD", 200, [(TE, b"chunked")], False, ResponseEnd.NONE, None, id="HEAD"),
        pytest.param("HEAD", 200, [], True, ResponseEnd.NONE, None, id="HEAD, nothing said"),
        pytest.param("GET", 304, [(CL, b"5")], False, ResponseEnd.NONE, 5, id="304, length"),
        pytest.param("GET", 304, [], False, ResponseEnd.NONE, None, id="304"),
        pytest.param("GET", 204, [(CL, b"0")], False, ResponseEnd.NONE, None, id="204"),
        pytest.param("GET", 204, [(CL, b"x")], False, ResponseEnd.NONE, None, id="204, nonsense"),
        pytest.param("GET", 101, [(CL, b"5")], False, ResponseEnd.NONE, None, id="101"),
    ],
)
def test_response_framing(
    method: str,
    status: int,
    fields: list[tuple[bytes, bytes]],
    is_http10: bool,
    end: ResponseEnd,
    length: int | None,
) -> None:
    framing = response_framing(method, status, tuple(fields), client_is_http10=is_http10)
    assert (framing.end, framing.length) == (end, length)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([(CL, b"5"), (b"content-length", b"5")], "more than one"),
        ([(CL, b"5"), (TE, b"chunked")], "more than one"),
        ([(CL, b"+5")], "not a number of bytes"),
        ([(CL, b"")], "not a number of bytes"),
        ([(CL, b"1" * 19)], "not a number of bytes"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ambiguous_framing(method: str, fields: list[tuple[bytes, bytes]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        response_framing(method, 200, tuple(fields), client_is_http10=False)


def answered(
    *fields: tuple[bytes, bytes],
    framing: ResponseFraming = NONE,
    status: int = 200,
    via: bytes | None = None,
) -> Fields:
    return response_fields(status, fields, framing, via=via)


def test_response_fields_keep_order_and_letter_case() -> None:
    fields = ((b"server", b"x"), (b"DATE", b"y"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"))
    assert answered(*fields) == fields
    assert answered(*fields, via=b"1.1 haclient") == (*fields, (b"Via", b"1.1 haclient"))


def test_response_hop_by_hop() -> None:
    assert answered(
        (b"X-A", b"1"),
        (b"Keep-Alive", b"timeout=5"),
        (b"CONNECTION", b"keep-alive, x-a"),
        (b"Connection", b"X-B, ETag"),
        (b"x-b", b"2"),
        (b"ETag", b'"x"'),
        (b"Upgrade", b"h2c"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"Y", b"3"),
    ) == ((b"ETag", b'"x"'), (b"Y", b"3"))


@pytest.mark.parametrize("usual", [b"keep-alive", b"Keep-Alive"])
def test_the_usual_connection_field_hides_no_other_one(usual: bytes) -> None:
    y = (b"Y", b"3")
    assert answered((b"Connection", usual), (b"Keep-Alive", b"timeout=5"), y) == (y,)
    assert answered((b"Connection", usual), (b"connection", b"X-B"), (b"X-B", b"2"), y) == (y,)
    assert answered((b"Connection", b"X-B"), (b"connection", usual), (b"X-B", b"2"), y) == (y,)


def test_101_keeps_its_upgrade() -> None:
    assert answered(
        (b"Upgrade", b"websocket"), (b"connection", b"keep-alive, Upgrade"), (CL, b"5"), status=101
    ) == ((b"Upgrade", b"websocket"), (b"connection", b"Upgrade"))


def test_response_framing_field_stands_where_the_server_had_it() -> None:
    x, counted = (b"X", b"1"), ResponseFraming(ResponseEnd.COUNTED, 5)
    chunked = ResponseFraming(ResponseEnd.CHUNKED)
    assert answered((b"content-length", b"05"), x, framing=counted) == (
        (b"content-length", b"5"),
        x,
    )
    assert answered((TE, b"chunked"), x, framing=chunked) == ((TE, b"chunked"), x)
    assert answered((CL, b"5"), x, framing=chunked) == ((TE, b"chunked"), x)
    assert answered((CL, b"5"), x, (CL, b"5"), framing=counted) == ((CL, b"5"), x)
    assert answered(x, framing=chunked) == (x, (TE, b"chunked"))
    assert answered((TE, b"chunked"), x, framing=ResponseFraming(ResponseEnd.UNTIL_CLOSE)) == (x,)
    assert answered((CL, b"5"), x) == (x,)
    assert answered((CL, b"5"), x, framing=ResponseFraming(ResponseEnd.NONE, 5)) == ((CL, b"5"), x)


# X-Request-Id


def test_request_id_of() -> None:
    x = (b"X", b"y")
    assert request_id_of(()) == ""
    assert request_id_of((x, (b"x-request-ID", b"7f"), (b"X-Request-Id", b"8"))) == "7f"
    assert request_id_of(((b"X-Request-Id", b"two words"), x)) == ""
    assert request_id_of(((b"X-Request-Id", b"x" * 129),)) == ""


# Trailers


def test_trailer_fields() -> None:
    good = ((b"Digest", b"x"), (b"X-Empty", b""), (b"Server-Timing", b"a;dur=1"))
    bad = [
        (b"Content-Length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"Host", b"a"),
        (b"Connection", b"close"),
        (b"Authorization", b"x"),
        (b"Set-Cookie", b"x"),
        (b"Cache-Control", b"x"),
        (b"Content-Type", b"x"),
        (b"Trailer", b"x"),
        (b"Age", b"1"),
        (b"a b", b"x"),
        (b"X", b"x\r\ny: z"),
        (b"X", b" x"),
    ]
    assert trailer_fields((*bad[:6], *good, *bad[6:])) == good
