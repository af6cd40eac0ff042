"""Request heads: what each means, what is refused and with which status, and h11 in front of it."""

from __future__ import annotations

import string

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.framing import Framing
from haclient.core.request_head import MAX_LENGTH, Refusal, RequestLine, judge
from haclient.types import Fields

HOST = ((b"Host", b"a.test"),)


def accepted(
    method: bytes = b"GET",
    target: bytes = b"/",
    version: bytes = b"1.1",
    fields: Fields = HOST,
) -> RequestLine:
    line = judge(method, target, version, fields)
    assert isinstance(line, RequestLine), line
    return line


def refused(
    method: bytes = b"GET",
    target: bytes = b"/",
    version: bytes = b"1.1",
    fields: Fields = HOST,
) -> Refusal:
    refusal = judge(method, target, version, fields)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason.isprintable()
    return refusal


def test_a_plain_request() -> None:
    line = accepted(b"GET", b"/a/b?c=d", fields=((b"hOST", b"A.Test:8080"), (b"Accept", b"*/*")))
    assert (line.method, line.target) == ("GET", "/a/b?c=d")
    assert (line.host, line.authority) == ("a.test", b"A.Test:8080")
    assert (line.framing, line.length) == (Framing.NONE, 0)
    assert line.is_persistent
    assert not line.is_http10
    assert not line.expects_continue
    assert line.upgrade is None
    assert line.connection_options == frozenset()
    assert line.names == [b"host", b"accept"]


# Target and host


@pytest.mark.parametrize(
    ("method", "target", "read", "host", "authority"),
    [
        pytest.param(b"GET", b"/", "/", "a.test", b"a.test", id="origin-form"),
        pytest.param(b"GET", b"//x", "//x", "a.test", b"a.test", id="two slashes"),
        pytest.param(
            b"GET", b'/{a}|b"?c=/../d', '/{a}|b"?c=/../d', "a.test", b"a.test", id="as written"
        ),
        pytest.param(b"OPTIONS", b"*", "*", "a.test", b"a.test", id="asterisk-form"),
        pytest.param(
            b"GET", b"http://B.test:81/x?y", "/x?y", "b.test", b"B.test:81", id="absolute-form"
        ),
        pytest.param(b"GET", b"HTTPS://b.test", "/", "b.test", b"b.test", id="without a path"),
        pytest.param(b"GET", b"http://b.test?q", "/?q", "b.test", b"b.test", id="a query alone"),
        pytest.param(
            b"OPTIONS", b"http://b.test:81", "*", "b.test", b"b.test:81", id="OPTIONS of a server"
        ),
        pytest.param(b"OPTIONS", b"http://b.test/", "/", "b.test", b"b.test", id="OPTIONS of /"),
        pytest.param(b"OPTIONS", b"http://b.test?", "/?", "b.test", b"b.test", id="OPTIONS, query"),
        pytest.param(b"GET", b"http://[::1]:8/x", "/x", "::1", b"[::1]:8", id="absolute, IPv6"),
    ],
)
def test_forms_of_the_target(
    method: bytes, target: bytes, read: str, host: str, authority: bytes
) -> None:
    line = accepted(method, target)
    assert (line.target, line.host, line.authority) == (read, host, authority)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        pytest.param(b"GET", b"*", id="asterisk on GET"),
        pytest.param(b"GET", b"a.test:80", id="authority-form"),
        pytest.param(b"GET", b"a/b", id="relative"),
        pytest.param(b"GET", b"", id="empty"),
        pytest.param(b"GET", b"/a b", id="a blank"),
        pytest.param(b"GET", b"/a\tb", id="a tab"),
        pytest.param(b"GET", b"/a#b", id="a fragment"),
        pytest.param(b"GET", b"/a\n", id="a line end"),
        pytest.param(b"GET", b"/\xc3\xa4", id="beyond ASCII"),
        pytest.param(b"GET", b"/\x7f", id="DEL"),
        pytest.param(b"GET", b"ftp://a.test/", id="another scheme"),
        pytest.param(b"GET", b"http:///x", id="no host"),
        pytest.param(b"GET", b"http://u@a.test/x", id="userinfo"),
        pytest.param(b"GET", b"http://a.test/x#y", id="a URL with a fragment"),
        pytest.param(b"GET", b"http://a.test:99999/x", id="a port beyond all"),
        pytest.param(b"OPTIONS", b"**", id="two asterisks"),
    ],
)
def test_a_target_that_is_none(method: bytes, target: bytes) -> None:
    assert refused(method, target).status == 400


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        pytest.param(b"A.Test", "a.test", id="letter case"),
        pytest.param(b"a.test:", "a.test", id="empty port"),
        pytest.param(b"a.test:65535", "a.test", id="last port"),
        pytest.param(b"10.0.0.1:80", "10.0.0.1", id="IPv4"),
        pytest.param(b"[2001:DB8:0::1]:80", "2001:db8::1", id="IPv6, shortest form"),
        pytest.param(b"a_b~c!d%41", "a_b~c!d%41", id="what a reg-name may hold"),
    ],
)
def test_host(authority: bytes, host: str) -> None:
    line = accepted(fields=((b"Host", authority),))
    assert (line.host, line.authority) == (host, authority)


@pytest.mark.parametrize(
    "authority",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b":80", id="port alone"),
        pytest.param(b"u@a.test", id="userinfo"),
        pytest.param(b"a.test,b.test", id="a comma, which joins or divides"),
        pytest.param(b"a.test/x", id="a path"),
        pytest.param(b"a.test?x", id="a query"),
        pytest.param(b"a.test#x", id="a fragment"),
        pytest.param(b"a b", id="a blank"),
        pytest.param(b"a\tb", id="a tab"),
        pytest.param(b"a.test:80:80", id="two ports"),
        pytest.param(b"a.test:+80", id="a signed port"),
        pytest.param(b"a.test:65536", id="a port too high"),
        pytest.param(b"a%4", id="half an escape"),
        pytest.param(b"\xc3\xa4.test", id="beyond ASCII"),
        pytest.param(b"::1", id="IPv6 without brackets"),
        pytest.param(b"[::1", id="brackets not closed"),
        pytest.param(b"[::1]x", id="something behind the brackets"),
        pytest.param(b"[1.2.3.4]", id="IPv4 in brackets"),
        pytest.param(b"[:::::]", id="no IPv6 address"),
        pytest.param(b"[fe80::1%25eth0]", id="a zone"),
        pytest.param(b"a" * 301, id="endless"),
    ],
)
def test_host_that_is_none(authority: bytes) -> None:
    assert refused(fields=((b"Host", authority),)).status == 400


def test_how_many_hosts() -> None:
    assert refused(fields=()).reason.startswith("no Host")
    assert refused(fields=HOST + HOST).reason == "more than one Host field"
    assert refused(version=b"1.0", fields=HOST + HOST).status == 400
    assert refused(b"GET", b"http://a.test/", fields=()).status == 400
    line = accepted(version=b"1.0", fields=())
    assert (line.host, line.authority) == ("", b"")
    line = accepted(b"GET", b"http://b.test/", b"1.0", ())
    assert (line.host, line.authority) == ("b.test", b"b.test")


# Method, version, fields


def test_method() -> None:
    assert accepted(b"PATCH").method == "PATCH"
    assert accepted(b"get").method == "get"
    assert refused(b"CONNECT", b"a.test:443").status == 501
    assert refused(b"").status == 400
    assert refused(b"GE T").status == 400
    assert refused(b"GET\n").status == 400


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"1.2", b"3.0", b"1.1 ", b""])
def test_other_versions(version: bytes) -> None:
    assert refused(version=version).status == 505


@pytest.mark.parametrize(
    ("field", "words"),
    [
        pytest.param((b"", b"x"), "name b''", id="empty name"),
        pytest.param((b"a b", b"x"), "name b'a b'", id="blank in a name"),
        pytest.param((b"a ", b"x"), "name b'a '", id="blank before the colon"),
        pytest.param((b"a:", b"x"), "not a token", id="colon"),
        pytest.param((b"a\xe4", b"x"), "not a token", id="name beyond ASCII"),
        pytest.param((b"A\r\nB", b"x"), "not a token", id="a line in a name"),
        pytest.param((b"A", b"x\0y"), r"value of A has the control character b'\x00'", id="NUL"),
        pytest.param((b"A", b"x\ry"), r"b'\r'", id="CR"),
        pytest.param((b"A", b"x\ny"), r"b'\n'", id="LF"),
        pytest.param((b"A", b"x\x7fy"), r"b'\x7f'", id="DEL"),
        pytest.param((b"A", b"\x1b[2J"), r"b'\x1b'", id="ESC"),
    ],
)
def test_malformed_fields(field: tuple[bytes, bytes], words: str) -> None:
    refusal = refused(fields=(*HOST, field))
    assert refusal.status == 400
    assert words in refusal.reason


def test_what_a_value_may_hold() -> None:
    accepted(fields=(*HOST, (b"A", b"a\tb ~\x80\xff"), (b"B", b"")))


# Framing


def framed(*fields: tuple[bytes, bytes], version: bytes = b"1.1") -> RequestLine | Refusal:
    return judge(b"POST", b"/", version, HOST + fields)


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"0", 0), (b"5", 5), (b"007", 7), (b"0" * 9999, 0), (b"%d" % MAX_LENGTH, MAX_LENGTH)],
    ids=["none", "some", "leading zeros", "nothing but zeros", "the most"],
)
def test_counted(value: bytes, length: int) -> None:
    line = framed((b"Content-Length", value))
    assert isinstance(line, RequestLine)
    assert (line.framing, line.length) == (Framing.COUNTED, length)


def test_chunked() -> None:
    line = framed((b"transfer-encoding", b"Chunked"))
    assert isinstance(line, RequestLine)
    assert (line.framing, line.length) == (Framing.CHUNKED, None)


CL, TE = b"Content-Length", b"Transfer-Encoding"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param([(CL, b"")], 400, id="empty length"),
        pytest.param([(CL, b"+1")], 400, id="plus"),
        pytest.param([(CL, b"-1")], 400, id="minus"),
        pytest.param([(CL, b"1_0")], 400, id="underscore"),
        pytest.param([(CL, b" 1")], 400, id="blank"),
        pytest.param([(CL, b"0x1")], 400, id="hexadecimal"),
        pytest.param([(CL, b"5, 5")], 400, id="a list of equal lengths"),
        pytest.param([(CL, b"\xb2")], 400, id="a digit of Latin-1"),
        pytest.param([(CL, b"5"), (CL, b"5")], 400, id="two equal lengths"),
        pytest.param([(CL, b"5"), (CL, b"6")], 400, id="two lengths"),
        pytest.param([(CL, b"%d" % (MAX_LENGTH + 1))], 413, id="too long"),
        pytest.param([(CL, b"9" * 10000)], 413, id="more digits than int() takes"),
        pytest.param([(CL, b"5"), (TE, b"chunked")], 400, id="length and chunked"),
        pytest.param([(TE, b"chunked"), (CL, b"5")], 400, id="chunked and length"),
        pytest.param([(TE, b"")], 400, id="empty coding"),
        pytest.param([(TE, b"identity")], 400, id="identity"),
        pytest.param([(TE, b"xchunked")], 400, id="nearly chunked"),
        pytest.param([(TE, b"chunked;a=b")], 400, id="chunked with a parameter"),
        pytest.param([(TE, b"chunked, gzip")], 400, id="chunked is not last"),
        pytest.param([(TE, b"chunked, chunked")], 400, id="chunked twice"),
        pytest.param([(TE, b"chunked"), (TE, b"chunked")], 400, id="two fields, chunked twice"),
        pytest.param([(TE, b"chunked"), (TE, b"identity")], 400, id="two fields"),
        pytest.param([(TE, b"gzip,\tchunked")], 501, id="another coding"),
        pytest.param([(TE, b"gzip"), (TE, b"chunked")], 501, id="another coding, two fields"),
    ],
)
def test_framing_that_is_refused(fields: list[tuple[bytes, bytes]], status: int) -> None:
    refusal = framed(*fields)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status


def test_http10_knows_no_chunked() -> None:
    refusal = framed((TE, b"chunked"), version=b"1.0")
    assert isinstance(refusal, Refusal)
    assert refusal.status == 400


# Connection, Expect, Upgrade


@pytest.mark.parametrize(
    ("version", "connection", "is_persistent"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"keep-alive"], True),
        (b"1.1", [b"Close"], False),
        (b"1.1", [b"x, close ,y"], False),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.1", [b"closed"], True),
        (b"1.0", [], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"keep-alive, close"], False),
    ],
)
def test_persistence(version: bytes, connection: list[bytes], is_persistent: bool) -> None:
    fields = HOST + tuple((b"Connection", value) for value in connection)
    assert accepted(version=version, fields=fields).is_persistent is is_persistent


def test_connection_options_of_all_fields() -> None:
    fields = (*HOST, (b"Connection", b"X-A,\tTE"), (b"connection", b"close"))
    assert accepted(fields=fields).connection_options == {b"x-a", b"te", b"close"}


def test_expect() -> None:
    def line(value: bytes, *fields: tuple[bytes, bytes], version: bytes = b"1.1") -> RequestLine:
        return accepted(b"POST", version=version, fields=(*HOST, (b"Expect", value), *fields))

    assert line(b"100-Continue", (CL, b"5")).expects_continue
    assert line(b"100-continue", (TE, b"chunked")).expects_continue
    assert not line(b"100-continue").expects_continue
    assert not line(b"100-continue", (CL, b"0")).expects_continue
    assert not line(b"100-continue", (CL, b"5"), version=b"1.0").expects_continue
    assert not line(b"something", version=b"1.0").expects_continue
    assert refused(fields=(*HOST, (b"Expect", b"something"))).status == 417
    assert refused(fields=(*HOST, (b"Expect", b""))).status == 417


WEBSOCKET = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


@pytest.mark.parametrize(
    ("method", "version", "fields", "upgrade"),
    [
        pytest.param(b"GET", b"1.1", WEBSOCKET, b"websocket", id="asked for"),
        pytest.param(b"GET", b"1.1", (*WEBSOCKET, (CL, b"0")), b"websocket", id="length 0"),
        pytest.param(
            b"GET",
            b"1.1",
            ((b"Connection", b"keep-alive, upgrade"), (b"upgrade", b"a/1 , B")),
            b"a/1 , B",
            id="one of several",
        ),
        pytest.param(b"POST", b"1.1", WEBSOCKET, None, id="POST"),
        pytest.param(b"GET", b"1.0", WEBSOCKET, None, id="HTTP/1.0"),
        pytest.param(b"GET", b"1.1", (*WEBSOCKET, (CL, b"1")), None, id="content"),
        pytest.param(b"GET", b"1.1", (*WEBSOCKET, (TE, b"chunked")), None, id="chunked content"),
        pytest.param(b"GET", b"1.1", WEBSOCKET[1:], None, id="not named by Connection"),
        pytest.param(b"GET", b"1.1", WEBSOCKET[:1], None, id="named alone"),
        pytest.param(
            b"GET", b"1.1", (WEBSOCKET[0], (b"Upgrade", b"a b")), None, id="no list of protocols"
        ),
        pytest.param(b"GET", b"1.1", (WEBSOCKET[0], (b"Upgrade", b"H2C")), None, id="h2c"),
        pytest.param(
            b"GET", b"1.1", (WEBSOCKET[0], (b"Upgrade", b"websocket, h2c")), None, id="h2c besides"
        ),
        pytest.param(b"GET", b"1.1", (WEBSOCKET[0], (b"Upgrade", b"TLS/1.2")), None, id="TLS"),
    ],
)
def test_upgrade(method: bytes, version: bytes, fields: Fields, upgrade: bytes | None) -> None:
    assert accepted(method, version=version, fields=HOST + fields).upgrade == upgrade


# Any head at all

NASTY = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"chunked", b"gzip, chunked", b"5", b"+5", b"a.test", b"[::1]:80", b"close", b"upgrade"]
    ),
)
NAMES = st.one_of(
    st.sampled_from([b"Host", CL, TE, b"Connection", b"Expect", b"Upgrade", b"X-A"]),
    st.binary(max_size=5),
)


@given(
    method=st.one_of(st.sampled_from([b"GET", b"OPTIONS", b"POST"]), st.binary(max_size=5)),
    target=st.one_of(st.sampled_from([b"/", b"*", b"http://a"]), st.binary(max_size=12)),
    version=st.sampled_from([b"1.1", b"1.0", b"2.0"]),
    fields=st.lists(st.tuples(NAMES, NASTY), max_size=6).map(lambda found: (*HOST, *found)),
)
def test_any_bytes_end_in_a_decision(
    method: bytes, target: bytes, version: bytes, fields: Fields
) -> None:
    line = judge(method, target, version, fields)
    if isinstance(line, Refusal):
        assert line.status in {400, 413, 417, 501, 505}
        assert line.reason.isprintable()
        return
    assert line.target.startswith("/") or (line.target, line.method) == ("*", "OPTIONS")
    assert (line.length is None) == (line.framing is Framing.CHUNKED)
    assert line.framing is not Framing.NONE or line.length == 0


SIMPLE = st.text(string.ascii_letters + string.digits + " ,;=/+-", max_size=12).map(str.encode)


@given(
    fields=st.lists(
        st.tuples(st.sampled_from([CL, TE, b"Connection", b"X-A"]), st.one_of(NASTY, SIMPLE)),
        max_size=4,
    )
)
@example(fields=[(CL, b"5, 5")])
def test_where_both_accept_h11_tells_the_same_framing(fields: list[tuple[bytes, bytes]]) -> None:
    """h11 accepts more; what passes both is framed alike."""
    wire = b"".join(b"%b: %b\r\n" % field for field in [*HOST, *fields])
    server = h11.Connection(h11.SERVER)
    try:
        server.receive_data(b"POST / HTTP/1.1\r\n" + wire + b"\r\n")
        request = server.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(request, h11.Request):
        return
    line = judge(
        request.method, request.target, request.http_version, tuple(request.headers.raw_items())
    )
    if isinstance(line, Refusal):
        return
    content = b"3\r\nabc\r\n0\r\n\r\n" if line.length is None else b"x" * line.length
    if len(content) > 10000:
        return
    server.receive_data(content + b"GET")
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
    assert server.trailing_data[0] == b"GET"
