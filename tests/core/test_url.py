"""What each way of writing a URL means, and what is refused with which words."""

from __future__ import annotations

import contextlib
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.url import Url, parse_target_url, parse_url
from haclient.errors import UnsupportedSchemeError, UrlError
from haclient.types import Origin

ACCEPTED = {
    "a plain URL": ("http://orders.internal/v1", "http", "orders.internal", 80, "/v1"),
    "https has its own port": ("https://h.test/", "https", "h.test", 443, "/"),
    "no path is the root": ("http://h.test", "http", "h.test", 80, "/"),
    "a port": ("http://h.test:8080/", "http", "h.test", 8080, "/"),
    "the highest port": ("http://h.test:65535/", "http", "h.test", 65535, "/"),
    "an empty port is the scheme's": ("https://h.test:/", "https", "h.test", 443, "/"),
    "leading zeros of a port": ("http://h.test:00080/", "http", "h.test", 80, "/"),
    "no scheme is http": ("h.test/x", "http", "h.test", 80, "/x"),
    "no scheme, with a port": ("localhost:8080/x", "http", "localhost", 8080, "/x"),
    "no scheme, with a query": ("h.test?q=1", "http", "h.test", 80, "/?q=1"),
    "the scheme in capitals": ("HTTPS://h.test/", "https", "h.test", 443, "/"),
    "one slash": ("http:/h.test/", "http", "h.test", 80, "/"),
    "three slashes": ("http:///h.test/", "http", "h.test", 80, "/"),
    "the host in capitals": ("http://H.TEST/Path", "http", "h.test", 80, "/Path"),
    "a trailing dot stays": ("http://h.test./", "http", "h.test.", 80, "/"),
    "an underscore in the host": ("http://a_b.test/", "http", "a_b.test", 80, "/"),
    "more labels than the short way reads": (
        "a.b.c.d.e.f.g.h.i.j.k",
        "http",
        "a.b.c.d.e.f.g.h.i.j.k",
        80,
        "/",
    ),
    "a host beyond ASCII": ("http://bücher.test/", "http", "xn--bcher-kva.test", 80, "/"),
    "the German sharp s is itself": ("http://straße.test/", "http", "xn--strae-oqa.test", 80, "/"),
    "an escaped host": ("http://local%68ost/", "http", "localhost", 80, "/"),
    "an escaped host beyond ASCII": (
        "http://b%C3%BCcher.test/",
        "http",
        "xn--bcher-kva.test",
        80,
        "/",
    ),
    "an IPv4 address": ("http://127.0.0.1/", "http", "127.0.0.1", 80, "/"),
    "a shortened IPv4 address": ("http://127.1/", "http", "127.0.0.1", 80, "/"),
    "an IPv4 address as one number": ("http://2130706433/", "http", "127.0.0.1", 80, "/"),
    "a hexadecimal IPv4 address": ("http://0x7f000001/", "http", "127.0.0.1", 80, "/"),
    "an octal part of an IPv4 address": ("http://0177.0.0.01/", "http", "127.0.0.1", 80, "/"),
    "an IPv6 address": ("http://[::1]:8080/", "http", "::1", 8080, "/"),
    "an IPv6 address, shortened": ("http://[0:0::0:1]/", "http", "::1", 80, "/"),
    "an IPv6 address with a zone": ("http://[fe80::1%25eth0]/", "http", "fe80::1%eth0", 80, "/"),
    "a zone with a bare percent sign": ("http://[fe80::1%eth0]/", "http", "fe80::1%eth0", 80, "/"),
    "the fragment is dropped": ("http://h.test/a?b#c?d", "http", "h.test", 80, "/a?b"),
    "a fragment without a path": ("http://h.test#c", "http", "h.test", 80, "/"),
    "an empty query stays": ("http://h.test/?", "http", "h.test", 80, "/?"),
    "dot-segments": ("http://h.test/a/./b/../c", "http", "h.test", 80, "/a/c"),
    "dot-segments at the end": ("http://h.test/a/b/..", "http", "h.test", 80, "/a/"),
    "a single dot at the end": ("http://h.test/a/b/.", "http", "h.test", 80, "/a/b/"),
    "more dot-segments than segments": ("http://h.test/../../x", "http", "h.test", 80, "/x"),
    "an empty segment is a segment": ("http://h.test/a//../b", "http", "h.test", 80, "/a/b"),
    "no dot-segments in a query": ("http://h.test/a?b/../c", "http", "h.test", 80, "/a?b/../c"),
    "a file that starts with a dot": (
        "http://h.test/.well-known/x",
        "http",
        "h.test",
        80,
        "/.well-known/x",
    ),
    "escaped dots are the server's": ("http://h.test/%2e%2E/x", "http", "h.test", 80, "/%2e%2E/x"),
    "an incomplete escape": ("http://h.test/%zz%", "http", "h.test", 80, "/%zz%"),
    "what curl leaves as it is": (
        "http://h.test/\"<>[]{}|\\^`'",
        "http",
        "h.test",
        80,
        "/\"<>[]{}|\\^`'",
    ),
    "a path beyond ASCII": ("http://h.test/é", "http", "h.test", 80, "/%c3%a9"),
    "a query beyond ASCII": ("http://h.test/?é", "http", "h.test", 80, "/?%c3%a9"),
    "a byte that is not UTF-8": ("http://h.test/\udcff", "http", "h.test", 80, "/%ff"),
}


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "target"), ACCEPTED.values(), ids=ACCEPTED.keys()
)
def test_accepted(text: str, scheme: str, host: str, port: int, target: str) -> None:
    url = parse_url(text)

    assert url == Url(Origin(scheme, host, port), target)
    assert parse_url(str(url)) == url


def test_a_zone_is_kept_for_the_socket_and_not_sent() -> None:
    url = parse_url("http://[fe80::1%25eth0]:8080/")

    assert str(url) == "http://[fe80::1%25eth0]:8080/"
    assert url.origin.host == "fe80::1%eth0"
    assert url.origin.authority == "[fe80::1]:8080"


REFUSED = {
    "nothing": ("", "character 1: no host"),
    "no host": ("http://", "character 8: no host"),
    "no host but a path": ("http://?x", "character 8: no host"),
    "only a path": ("/v1/orders", "character 1: no host; write http://HOST/PATH"),
    "a colon and slashes": ("://h.test", "character 1: no host"),
    "four slashes": ("http:////h.test", "character 6: 4 slashes; write http://HOST/PATH"),
    "a space in the path": ("http://h.test/a b", "character 16: a space; write %20"),
    "a space in the name": ("http://my host/", "character 10: a space"),
    "a space in front": (" http://h.test/", "character 1: a space"),
    "a line end": (
        "http://h.test/\nX: y",
        r"character 15: the control character '\n'; remove it or write %0A",
    ),
    "a delete character": ("http://h.test/\x7f", "%7F"),
    "port 0": (
        "http://h.test:0/",
        "character 15: the port '0'; a port is a number from 1 to 65535",
    ),
    "a port too high": ("http://h.test:65536/", "the port '65536'"),
    "a port far too high": ("http://h.test:" + "9" * 5000, "the port '99999999999999999999'"),
    "a port that is no number": ("http://h.test:http/", "the port 'http'"),
    "a port with a sign": ("http://h.test:+80/", "the port '+80'"),
    "a port in other digits": ("http://h.test:８０/", "a port is a number from 1 to 65535"),
    "two ports": ("http://h.test:80:80/", "more than one colon; put an IPv6 address in brackets"),
    "IPv6 without brackets": (
        "http://::1/",
        "more than one colon; put an IPv6 address in brackets",
    ),
    "IPv6 not closed": ("http://[::1/", "an IPv6 address that is not closed"),
    "something after the bracket": ("http://[::1]x/", "an IPv6 address that is not closed"),
    "IPv4 in brackets": ("http://[127.0.0.1]/", "'127.0.0.1' is no IPv6 address"),
    "IPv6 that is none": ("http://[::g]/", "'::g' is no IPv6 address"),
    "an empty zone": ("http://[fe80::1%25]/", "is no IPv6 address"),
    "a zone with a bracket": ("http://[fe80::1%a@b]/", "is malformed"),
    "an IPv4 part too large": ("http://256.0.0.1/", "it ends in a number"),
    "the last IPv4 part too large": ("http://127.0.0.256/", "it ends in a number"),
    "five IPv4 parts": ("http://127.0.0.0.1/", "it ends in a number"),
    "an IPv4 part that is neither octal nor decimal": ("http://127.0.0.08/", "it ends in a number"),
    "a character that no host has": ("http://a!b/", "no letter, digit, hyphen or underscore"),
    "an escaped space in the host": ("http://a%20b/", "no letter, digit, hyphen or underscore"),
    "an empty label": ("http://a..b/", "nothing between two of its dots"),
    "a label too long": (f"http://{'a' * 64}.test/", "63 is the most"),
    "a name too long": (f"http://{'a23456789.' * 26}test/", "253 is the most"),
    "a host that is not UTF-8": ("http://%ff/", "a host that is not UTF-8"),
    "a host that IDNA refuses": ("http://é" + "e" * 70 + "/", "is not a host name"),
    "two at signs": ("http://u@v@h.test/", "character 9: a second @; write %40"),
    "a control character in the user": (
        "http://u%0d%0a:p@h.test/",
        "a control character in user or password",
    ),
    "a lone surrogate": ("http://h.test/\ud800", "half of a UTF-16 surrogate pair"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_place_and_remedy(text: str, words: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(text)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text", ["ftp://h.test/", "file:///etc/passwd", "h-t+t.p://h.test", "user:/x"]
)
def test_another_scheme_is_refused_by_name(text: str) -> None:
    with pytest.raises(UnsupportedSchemeError, match="only http and https are spoken"):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("http://u:p@h.test/", (b"u", b"p")),
        ("http://u@h.test/", (b"u", b"")),
        ("http://@h.test/", (b"", b"")),
        ("http://u:p%20%3aw@h.test/", (b"u", b"p :w")),
        ("http://u:p:q@h.test/", (b"u", b"p:q")),
        ("http://é:%C3%A9@h.test/", (b"\xc3\xa9", b"\xc3\xa9")),
        ("u:p@h.test", (b"u", b"p")),
        ("http://h.test/u:p@x", None),
    ],
)
def test_credentials(text: str, credentials: tuple[bytes, bytes] | None) -> None:
    assert parse_url(text).credentials == credentials


def test_secrets_are_shown_by_str_alone() -> None:
    url = parse_url("http://me:secret@h.test/x")

    assert str(url) == "http://me:secret@h.test/x"
    assert repr(url) == "Url('http://h.test/x', with credentials)"
    assert repr(url.without_userinfo) == "Url('http://h.test/x')"
    assert str(url.without_userinfo) == "http://h.test/x"


@pytest.mark.parametrize(
    "text", ["http://me:secret@h.test:0/", "me:secret@h.test:0", "http://me:hunt@er2@h.test/"]
)
def test_a_refusal_shows_no_password(text: str) -> None:
    with pytest.raises(UrlError) as caught:
        parse_url(text)

    assert "***@h.test" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "hunt" not in str(caught.value)


JOINED = {
    "a whole URL": ("https://o.test/x", "https://o.test/x"),
    "another authority": ("//o.test/x", "http://o.test/x"),
    "an absolute path": ("/x", "http://u:p@h.test:81/x"),
    "a relative path": ("x", "http://u:p@h.test:81/a/x"),
    "a relative path upwards": ("../x", "http://u:p@h.test:81/x"),
    "a relative path with dots and a slash": ("./c/../d/./", "http://u:p@h.test:81/a/d/"),
    "a query": ("?x", "http://u:p@h.test:81/a/b?x"),
    "a fragment": ("#x", "http://u:p@h.test:81/a/b?q"),
    "nothing": ("", "http://u:p@h.test:81/a/b?q"),
    "spaces": ("  /a b?c d ", "http://u:p@h.test:81/a%20b?c+d"),
    "beyond ASCII": ("/é?é", "http://u:p@h.test:81/%c3%a9?%c3%a9"),
    "other credentials": ("http://v:w@h.test/", "http://v:w@h.test/"),
    "one slash": ("http:/o.test", "http://o.test/"),
    "a colon in a later segment": ("./a:b", "http://u:p@h.test:81/a/a:b"),
}


@pytest.mark.parametrize(("reference", "expected"), JOINED.values(), ids=JOINED.keys())
def test_join(reference: str, expected: str) -> None:
    assert str(parse_url("http://u:p@h.test:81/a/b?q").join(reference)) == expected


@pytest.mark.parametrize("reference", ["ftp://o.test/", "foo:bar", "localhost:80"])
def test_join_with_another_scheme(reference: str) -> None:
    with pytest.raises(UnsupportedSchemeError):
        parse_url("http://h.test/").join(reference)


@pytest.mark.parametrize("reference", ["//", "http:o.test", "/a\tb", "http://o.test:99999/"])
def test_join_with_what_is_malformed(reference: str) -> None:
    with pytest.raises(UrlError):
        parse_url("http://h.test/").join(reference)


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [*"/?#@:[]%. \\", "http", "://", "h.test", "127.0.0.1", "::1", "..", "%41", "0x"]
        ),
        st.text(max_size=5),
    ),
    max_size=12,
).map("".join)


@given(st.one_of(st.text(), PIECES, PIECES.map("http://h.test".__add__)))
def test_whatever_is_written_is_a_url_or_a_url_error(text: str) -> None:
    with contextlib.suppress(UrlError):
        url = parse_url(text)
        assert parse_url(str(url)) == url
        assert url.path_and_query.isascii()
        assert url.path_and_query.startswith("/")
        assert not any(c <= " " or c == "\x7f" for c in str(url))
        assert url.origin.host == url.origin.host.lower()


@given(PIECES)
def test_whatever_a_location_says_joins_or_is_a_url_error(reference: str) -> None:
    with contextlib.suppress(UrlError):
        url = parse_url("http://h.test/a/b?q").join(reference)
        assert parse_url(str(url)) == url


NAMES = st.from_regex(r"([a-z0-9_]{1,9}\.){0,3}[a-z]{2,5}", fullmatch=True)
TARGETS = st.from_regex(r"(/[a-z0-9%.~]{0,6}){0,4}(\?[a-z/.?]{0,6})?", fullmatch=True)


@given(NAMES, st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format)), TARGETS)
def test_the_short_way_and_the_long_way_agree(name: str, port: str, target: str) -> None:
    # A capital letter in the scheme alone sends a URL the long way round.
    assert parse_url(f"http://{name}{port}{target}") == parse_url(f"hTTP://{name}{port}{target}")


@pytest.mark.parametrize(
    ("text", "scheme", "host", "target"),
    [
        ("srv+http://_orders._tcp.example", "http", "_orders._tcp.example", "/"),
        ("SRV+HTTPS://_Orders._TCP.Example/v1", "https", "_orders._tcp.example", "/v1"),
        ("srv+http://_web-1._tcp.a.example.", "http", "_web-1._tcp.a.example.", "/"),
    ],
)
def test_a_service(text: str, scheme: str, host: str, target: str) -> None:
    url = parse_target_url(text)
    assert url == Url(Origin(scheme, host, 0), target)
    assert url.origin.is_service
    assert url.origin.name == url.origin.authority == host.split(".", 2)[2]
    assert str(url) == f"srv+{scheme}://{host}{target}"
    assert str(url.origin) == f"srv+{scheme}://{host}"
    assert parse_target_url(str(url)) == url


@pytest.mark.parametrize(
    ("text", "host", "port", "written"),
    [
        ("tcp://db.internal:5432", "db.internal", 5432, "tcp://db.internal:5432"),
        ("TCP://DB.Internal:05432/", "db.internal", 5432, "tcp://db.internal:5432"),
        ("tcp://127.1:6379", "127.0.0.1", 6379, "tcp://127.0.0.1:6379"),
        ("tcp://[::0001]:6379", "::1", 6379, "tcp://[::1]:6379"),
        ("tcp://a.test:80", "a.test", 80, "tcp://a.test:80"),
        (
            "srv+tcp://_postgresql._tcp.example",
            "_postgresql._tcp.example",
            0,
            "srv+tcp://_postgresql._tcp.example",
        ),
        (
            "srv+TCP://_redis._tcp.example/",
            "_redis._tcp.example",
            0,
            "srv+tcp://_redis._tcp.example",
        ),
    ],
)
def test_any_protocol_over_tcp(text: str, host: str, port: int, written: str) -> None:
    url = parse_target_url(text)
    assert url == Url(Origin("tcp", host, port))
    assert url.origin.is_tcp
    assert not url.origin.is_secure
    assert str(url) == written
    assert parse_target_url(written) == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tcp://db.internal", "write tcp://HOST:PORT"),
        ("tcp://db.internal:", "write tcp://HOST:PORT"),
        ("tcp://", "write tcp://HOST:PORT"),
        ("tcp://:5432", "no host"),
        ("tcp://db.internal:5432/orders", "write tcp://HOST:PORT"),
        ("tcp://me:secret@db.internal:5432", r"'tcp://\*\*\*@.*write tcp://HOST:PORT"),
        ("tcp://db.internal:99999", "a port is a number from 1 to 65535"),
        ("tcp://db internal:1", "a space"),
        ("tcp://::1:5432", "brackets"),
        ("srv+tcp://_redis._tcp.example/0", "TCP has none"),
        ("srv+tcp://redis.example", r"write srv\+tcp://_SERVICE"),
    ],
)
def test_what_is_no_tcp_url(text: str, words: str) -> None:
    with pytest.raises(UrlError, match=words) as caught:
        parse_target_url(text)
    assert "secret" not in str(caught.value)


def test_only_a_target_speaks_another_protocol() -> None:
    with pytest.raises(UrlError, match="only http and https"):
        parse_url("tcp://a.test:80")


@pytest.mark.parametrize("text", ["srv://_orders._tcp.example", "srv+ftp://a.test", "ftp://a.test"])
def test_what_a_target_may_be_is_said(text: str) -> None:
    with pytest.raises(
        UnsupportedSchemeError,
        match=r"only http and https .*; a target may also be srv\+http://_SERVICE\._tcp\.DOMAIN .* tcp://HOST:PORT",
    ):
        parse_target_url(text)


def test_any_other_url_is_a_targets_too() -> None:
    url = parse_target_url("http://a.test:8080/v1")
    assert url == parse_url("http://a.test:8080/v1")
    assert (url.origin.is_service, url.origin.name) == (False, "a.test")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "srv+http://orders.example",
            r"names no service: write srv\+http://_SERVICE\._tcp\.DOMAIN",
        ),
        ("srv+http://_orders._udp.example", "names no service"),
        ("srv+http://_orders._tcp", "names no service"),
        ("srv+http://127.0.0.1", "names no service"),
        ("srv+http://_orders._tcp.example:80", "without a port"),
        ("srv+http://_orders._tcp.example:8080", "without a port"),
        ("srv+http://me:secret@_orders._tcp.example", r"'srv\+http://\*\*\*@.*user and password"),
        ("srv+https://", "no host"),
        ("srv+ftp://_orders._tcp.example", "only http and https"),
    ],
)
def test_what_is_no_service_is_refused(text: str, words: str) -> None:
    with pytest.raises(UrlError, match=words) as caught:
        parse_target_url(text)
    assert "secret" not in str(caught.value)


def test_only_a_target_may_be_a_service() -> None:
    """A Location, or whoever uses a proxy, would choose the port by it."""
    with pytest.raises(UrlError):
        parse_url("srv+http://_orders._tcp.example")
    with pytest.raises(UrlError):
        parse_url("http://a.test/").join("srv+http://_orders._tcp.example")
    assert not parse_url("http://_orders._tcp.example").origin.is_service


def test_a_plain_url_is_read_in_a_few_microseconds() -> None:
    # 2 us measured; the bound is loose for the sake of busy machines.
    best = min(
        timeit.repeat(lambda: parse_url("http://orders.internal:8080/v1/7"), number=1000, repeat=5)
    )

    assert best / 1000 < 20e-6
