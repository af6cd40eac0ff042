"""What a forward proxy is asked to reach, in every spelling that anybody may try."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.destination import Destination, Forwarded, judge_forward
from haclient.core.names import ip_literal, to_ascii
from haclient.core.request_head import Refusal
from haclient.types import Fields

HOST: Fields = ((b"Host", b"whatever"),)


def judged(
    method: str, target: str, fields: Fields = HOST, version: bytes = b"1.1"
) -> Forwarded | Refusal:
    return judge_forward(method.encode(), target.encode("latin-1"), version, fields)


@pytest.mark.parametrize(
    ("target", "host", "port", "origin_form"),
    [
        ("http://a.test/x?y", "a.test", 80, "/x?y"),
        ("http://a.test", "a.test", 80, "/"),
        ("http://a.test?y", "a.test", 80, "/?y"),
        ("HTTP://A.Test:8080/X", "a.test", 8080, "/X"),
        ("http://a.test.:80/", "a.test.", 80, "/"),
        ("http://a.test:/", "a.test", 80, "/"),
        ("http://a_b.test:00080/", "a_b.test", 80, "/"),
        ("http://127.0.0.1/", "127.0.0.1", 80, "/"),
        ("http://[::1]:81/", "::1", 81, "/"),
        ("http://[0:0::1]/", "::1", 80, "/"),
        ("http://[::FFFF:127.0.0.1]/", "::ffff:7f00:1", 80, "/"),
        ("http://xn--bcher-kva.test/", "xn--bcher-kva.test", 80, "/"),
    ],
)
def test_a_request(target: str, host: str, port: int, origin_form: str) -> None:
    found = judged("GET", target)

    assert isinstance(found, Forwarded)
    assert found.destination == Destination(host, port)
    assert found.line.target == origin_form
    assert not found.is_tunnel


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("a.test:443", "a.test:443"),
        ("A.TEST:1", "a.test:1"),
        ("[::1]:65535", "[::1]:65535"),
        ("127.0.0.1:22", "127.0.0.1:22"),
    ],
)
def test_a_tunnel(target: str, shown: str) -> None:
    found = judged("CONNECT", target)

    assert isinstance(found, Forwarded)
    assert str(found.destination) == shown
    assert found.is_tunnel
    assert found.line.target == target


def test_options_of_the_whole_server() -> None:
    found = judged("OPTIONS", "http://a.test")

    assert isinstance(found, Forwarded)
    assert found.line.target == "*"


@pytest.mark.parametrize(
    ("method", "target", "status", "words"),
    [
        ("GET", "/x", 400, "this is a forward proxy"),
        ("GET", "*", 400, "this is a forward proxy"),
        ("OPTIONS", "*", 400, "this is a forward proxy"),
        ("GET", "a.test:80", 400, "this is a forward proxy"),
        ("GET", "http:/a.test/", 400, "this is a forward proxy"),
        ("GET", "https://a.test/", 501, "reached by CONNECT"),
        ("GET", "ftp://a.test/", 501, "'ftp' is not spoken"),
        ("GET", "file:///etc/passwd", 501, "'file' is not spoken"),
        ("GET", "http:///x", 400, "not a host"),
        ("GET", "http://user@a.test/", 400, "not a host"),
        ("GET", "http://a.test@127.0.0.1/", 400, "not a host"),
        ("GET", "http://a.test:80:80/", 400, "not a host"),
        ("GET", "http://a.test:x/", 400, "not a host"),
        ("GET", "http://a.test:0/", 400, "a port from 1 to 65535"),
        ("GET", "http://a.test:65536/", 400, "not a host"),
        ("GET", "http://a.test#b/", 400, "not a host"),
        ("GET", "http://a.test\\@127.0.0.1/", 400, "not a host"),
        ("GET", "http://a..test/", 400, "nothing between two of its dots"),
        ("GET", "http://./", 400, "it is empty"),
        ("GET", "http://%61.test/", 400, "write what %XX stands for itself"),
        ("GET", "http://127.0.0.%31/", 400, "write what %XX stands for itself"),
        ("GET", "http://2130706433/", 400, "ends in a number"),
        ("GET", "http://0x7f000001/", 400, "ends in a number"),
        ("GET", "http://0x7f.1/", 400, "ends in a number"),
        ("GET", "http://0177.0.0.1/", 400, "ends in a number"),
        ("GET", "http://127.1/", 400, "ends in a number"),
        ("GET", "http://127.0.0.1./", 400, "ends in a number"),
        ("GET", "http://127.0.0.1.1/", 400, "ends in a number"),
        ("GET", "http://127.0.0.256/", 400, "ends in a number"),
        ("GET", "http://[127.0.0.1]/", 400, "not a host"),
        ("GET", "http://[::1%25lo]/", 400, "not a host"),
        ("GET", "http://[::1/", 400, "not a host"),
        ("GET", "http://[12345::1]/", 400, "not a host"),
        ("GET", "http://::1/", 400, "not a host"),
        ("GET", "http://a,b.test/", 400, "not a host"),
        ("GET", "http://a'b.test/", 400, "no letter, digit, hyphen or underscore"),
        ("GET", "http://\xe4.test/", 400, "not a host"),
        ("CONNECT", "a.test", 400, "a port from 1 to 65535"),
        ("CONNECT", "a.test:", 400, "a port from 1 to 65535"),
        ("CONNECT", "a.test:0", 400, "a port from 1 to 65535"),
        ("CONNECT", "a.test:99999", 400, "CONNECT is for HOST:PORT"),
        ("CONNECT", "a.test:443/", 400, "CONNECT is for HOST:PORT"),
        ("CONNECT", "http://a.test:443", 400, "CONNECT is for HOST:PORT"),
        ("CONNECT", "/", 400, "CONNECT is for HOST:PORT"),
        ("CONNECT", "*:443", 400, "no letter"),
        ("CONNECT", "127.1:443", 400, "ends in a number"),
        ("CONNECT", "user@a.test:443", 400, "CONNECT is for HOST:PORT"),
        ("G T", "http://a.test/", 400, "not a token"),
    ],
)
def test_what_is_refused(method: str, target: str, status: int, words: str) -> None:
    found = judged(method, target)

    assert isinstance(found, Refusal)
    assert found.status == status
    assert words in found.reason


@pytest.mark.parametrize("method", ["GET http://a.test/", "CONNECT a.test:443"])
def test_the_host_field_has_to_be_one(method: str) -> None:
    name, target = method.split()

    assert isinstance(judged(name, target, ()), Refusal)
    assert isinstance(judged(name, target, ((b"Host", b"a b"),)), Refusal)
    assert isinstance(judged(name, target, (), b"1.0"), Forwarded)


def test_the_host_field_says_nothing_beyond_the_target() -> None:
    found = judged("GET", "http://a.test/", ((b"Host", b"127.0.0.1"),))

    assert isinstance(found, Forwarded)
    assert found.destination == Destination("a.test", 80)
    assert found.line.authority == b"a.test"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ((b"Content-Length", b"0"), Forwarded),
        ((b"Content-Length", b"5"), Refusal),
        ((b"Transfer-Encoding", b"chunked"), Refusal),
    ],
)
def test_connect_has_no_content(field: tuple[bytes, bytes], expected: type[object]) -> None:
    assert isinstance(judged("CONNECT", "a.test:443", (*HOST, field)), expected)


HOSTS = st.text(st.sampled_from("aZ09.-_:[]%@*xfF/\\#?! ~"), max_size=12) | st.ip_addresses().map(
    str
)


@given(HOSTS, st.sampled_from(["", ":80", ":0", ":", ":x", ":99999"]), st.booleans())
def test_whatever_is_asked_for_is_refused_or_read_in_one_way(
    host: str, port: str, is_tunnel: bool
) -> None:
    form = f"{host}{port}" if is_tunnel else f"http://{host}{port}/"
    found = judged("CONNECT" if is_tunnel else "GET", form)

    if isinstance(found, Forwarded):
        destination = found.destination
        assert ip_literal(destination.host) or to_ascii(destination.host) == destination.host
        assert 1 <= destination.port <= 65535
        # Read again, it is the same.
        again = judged("CONNECT", str(destination))
        assert isinstance(again, Forwarded)
        assert again.destination == destination
    else:
        assert found.status in (400, 501)
        assert "\n" not in found.reason
