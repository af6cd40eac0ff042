"""Which cookies are taken, kept, sent, and how they stand in a file; beside curl where it is there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.url import parse_url
from haclient.ops.cookies import CookieJar, open_jar, save_jar
from haclient.types import Fields
from tests.support.recorder import curl, needs_curl, recording

NOW = 1_800_000_000.0
"""2027-01-15."""


def set_cookies(*values: str) -> Fields:
    return tuple((b"Set-Cookie", value.encode()) for value in values)


def stored(value: str, url: str = "http://www.h.test/d/e") -> list[str]:
    """The lines of the file after one Set-Cookie."""
    jar = CookieJar()
    jar.store(set_cookies(value), parse_url(url), NOW)
    return [line for line in jar.dump(NOW).splitlines()[3:] if line]


def line(*columns: object) -> str:
    return "\t".join(str(column) for column in columns)


TAKEN = {
    "a name and a value": ("a=1", line("www.h.test", "FALSE", "/d", "FALSE", 0, "a", "1")),
    "spaces around both": (" a = 1 2 ; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "1 2")),
    "a path": ("a=1; Path=/x", line("www.h.test", "FALSE", "/x", "FALSE", 0, "a", "1")),
    "a path that is none": ("a=1; path=x", line("www.h.test", "FALSE", "/d", "FALSE", 0, "a", "1")),
    "an empty value": ("a=; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "")),
    "an equals sign in the value": ("a=b=c; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "b=c")),
    "the domain itself": ("a=1; domain=www.h.test; path=/", line(".www.h.test", "TRUE", "/", "FALSE", 0, "a", "1")),
    "a domain above": ("a=1; domain=.H.Test; path=/", line(".h.test", "TRUE", "/", "FALSE", 0, "a", "1")),
    "an empty domain": ("a=1; domain=; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "1")),
    "for scripts not": ("a=1; HttpOnly; path=/", line("#HttpOnly_www.h.test", "FALSE", "/", "FALSE", 0, "a", "1")),
    "an age": ("a=1; max-age=10; path=/", line("www.h.test", "FALSE", "/", "FALSE", 1800000010, "a", "1")),
    "an age before a date": (
        "a=1; max-age=10; expires=Wed, 09 Jun 2100 10:18:14 GMT; path=/",
        line("www.h.test", "FALSE", "/", "FALSE", 1800000010, "a", "1"),
    ),
    "a date": ("a=1; expires=Wed, 09 Jun 2100 10:18:14 GMT; path=/", line("www.h.test", "FALSE", "/", "FALSE", 4116219494, "a", "1")),
    "a date with hyphens": ("a=1; expires=Wed, 09-Jun-2100 10:18:14 GMT; path=/", line("www.h.test", "FALSE", "/", "FALSE", 4116219494, "a", "1")),
    "a date in C's order": ("a=1; expires=Sun Nov  6 08:49:37 2094; path=/", line("www.h.test", "FALSE", "/", "FALSE", 3939871777, "a", "1")),
    "a year of two digits": ("a=1; expires=Sun, 06-Nov-44 08:49:37 GMT; path=/", line("www.h.test", "FALSE", "/", "FALSE", 2362034977, "a", "1")),
    "a date that is none": ("a=1; expires=tomorrow; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "1")),
    "a day that no month has": ("a=1; expires=Wed, 31 Jun 2100 10:18:14 GMT; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "1")),
    "an age that is none": ("a=1; max-age=soon; path=/", line("www.h.test", "FALSE", "/", "FALSE", 0, "a", "1")),
}  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_taken(value: str, expected: str) -> None:
    assert stored(value) == [expected]


NOT_TAKEN = {
    "no name": "=1",
    "no equals sign": "a",
    "nothing": "",
    "another domain": "a=1; domain=other.test",
    "a domain below": "a=1; domain=x.www.h.test",
    "the end of a name": "a=1; domain=.test",
    "a part of a label": "a=1; domain=w.h.test",
    "a control character": "a=1\x01",
    "a tab within": "a=1\t2",
    "an age that is over": "a=1; max-age=0",
    "a negative age": "a=1; max-age=-5",
    "a date that is over": "a=1; expires=Thu, 01 Jan 1970 00:00:01 GMT",
    "a year of two digits that is over": "a=1; expires=Sun, 06-Nov-94 08:49:37 GMT",
    "secure, from where anyone could have set it": "a=1; secure",
    "__Secure- that is not": "__Secure-a=1",
    "__Host- for a domain": "__Host-a=1; domain=h.test",
    "too large": "a=" + "x" * 4096,
}


@pytest.mark.parametrize("value", NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
def test_not_taken(value: str) -> None:
    assert stored(value) == []


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [
        ("a=1; secure", True),
        ("__Secure-a=1; secure", True),
        ("__Secure-a=1", False),
        ("__Host-a=1; secure; path=/", True),
        ("__Host-a=1; secure; path=/d", False),
        ("__Host-a=1; secure; path=/; domain=h.test", False),
    ],
)
def test_taken_over_tls(value: str, is_taken: bool) -> None:
    assert bool(stored(value, "https://www.h.test/d")) is is_taken


def test_the_domain_of_an_address_is_the_address() -> None:
    assert stored("a=1; domain=127.0.0.1; path=/", "http://127.0.0.1/") == [
        line("127.0.0.1", "FALSE", "/", "FALSE", 0, "a", "1")
    ]
    assert stored("a=1; domain=0.0.1", "http://127.0.0.1/") == []


FILE = "\n".join(
    [
        "# Netscape HTTP Cookie File",
        line(".h.test", "TRUE", "/", "FALSE", 0, "wide", 1),
        line("www.h.test", "FALSE", "/", "FALSE", 0, "narrow", 2),
        line("www.h.test", "FALSE", "/deep", "FALSE", 0, "deep", 3),
        line("www.h.test", "FALSE", "/", "TRUE", 0, "secure", 4),
        line("#HttpOnly_www.h.test", "FALSE", "/", "FALSE", 0, "hidden", 5),
        line("www.h.test", "FALSE", "/", "FALSE", 100, "expired", 6),
        line("www.h.test", "FALSE", "/", "FALSE", 4102444800, "later", 7) + "\r",
        line("www.h.test", "FALSE", "/", "FALSE", 0, "empty"),
        line("www.h.test", "FALSE", "nowhere", "FALSE", 0, "rooted", 8),
        line("www.h.test", "FALSE", "/", "FALSE", "soon", "undated", 9),
        line("www.h.test", "FALSE", "/", "FALSE", 0, "", "unnamed"),
        line("www.h.test", "FALSE", "/", "FALSE", 0, "split", "a\x01b"),
        "www.h.test FALSE / FALSE 0 spaces 1",
        "Set-Cookie: given=10",
        "",
    ]
)


def loaded() -> CookieJar:
    jar = CookieJar()
    jar.load(FILE, parse_url("http://www.h.test/x/y"), NOW)
    return jar


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://www.h.test/", b"rooted=8; hidden=5; narrow=2; empty=; later=7; wide=1"),
        (
            "http://www.h.test/x/z",
            b"given=10; rooted=8; hidden=5; narrow=2; empty=; later=7; wide=1",
        ),
        (
            "http://www.h.test/deep",
            b"deep=3; rooted=8; hidden=5; narrow=2; empty=; later=7; wide=1",
        ),
        (
            "http://www.h.test/deep/er?q",
            b"deep=3; rooted=8; hidden=5; narrow=2; empty=; later=7; wide=1",
        ),
        ("http://www.h.test/deeper", b"rooted=8; hidden=5; narrow=2; empty=; later=7; wide=1"),
        ("https://www.h.test/", b"rooted=8; hidden=5; secure=4; narrow=2; empty=; later=7; wide=1"),
        ("http://h.test/", b"wide=1"),
        ("http://other.h.test/", b"wide=1"),
        ("http://otherh.test/", b""),
        ("http://x.www.h.test/", b"wide=1"),
    ],
)
def test_sent(url: str, expected: bytes) -> None:
    # Names of one length: the newer one comes first, as in curl.
    assert loaded().field_for(parse_url(url), NOW) == expected


def test_a_cookie_is_not_sent_after_its_time() -> None:
    jar = CookieJar()
    url = parse_url("http://h.test/")
    jar.store(set_cookies("a=1; max-age=10", "b=2"), url, NOW)

    assert jar.field_for(url, NOW + 9) == b"b=2; a=1"
    assert jar.field_for(url, NOW + 10) == b"b=2"
    assert "\ta\t" not in jar.dump(NOW + 10)


def test_a_newer_one_takes_the_place_and_an_expired_one_takes_it_out() -> None:
    jar = CookieJar()
    url = parse_url("http://h.test/")
    jar.store(set_cookies("a=1", "a=2", "b=1"), url, NOW)
    assert jar.field_for(url, NOW) == b"b=1; a=2"

    jar.store((*set_cookies("a=; max-age=0"), (b"X", b"a=3")), url, NOW)
    assert jar.field_for(url, NOW) == b"b=1"
    assert repr(jar) == "<CookieJar of 1>"


def test_a_file_is_read_as_it_was_written() -> None:
    jar = loaded()
    again = CookieJar()
    again.load(jar.dump(NOW), parse_url("http://other.test/"), NOW)

    assert list(again) == list(jar)


def test_a_jar_is_opened_where_it_is_asked_for(tmp_path: Path) -> None:
    url = parse_url("http://h.test/")
    path = tmp_path / "cookies"
    path.write_text(line("h.test", "FALSE", "/", "FALSE", 0, "a", "1") + "\n")

    def opened(cookies: list[str], jar_file: str | None) -> bytes | None:
        jar = open_jar(cookies, jar_file, url, NOW, lambda: b"Set-Cookie: s=1")
        return None if jar is None else jar.field_for(url, NOW)

    assert opened(["a=1"], None) is None
    assert opened([], "new") == b""
    assert opened([""], None) == b""
    assert opened([str(path), "b=2"], None) == b"a=1"
    assert opened([str(tmp_path / "nowhere")], None) == b""
    assert opened(["-"], None) == b"s=1"


def test_a_jar_is_saved_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "cookies"
    save_jar(str(path), "one\n")
    save_jar(str(path), "two\udcff\n")

    assert path.read_bytes() == b"two\xff\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["cookies"]


def test_a_jar_that_cannot_be_saved_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "occupied").mkdir()

    with pytest.raises(OSError, match="occupied"):
        save_jar(str(folder / "occupied"), "x")

    assert [each.name for each in folder.iterdir()] == ["occupied"]


@given(st.text(), st.text())
def test_whatever_is_set_can_be_sent(name: str, rest: str) -> None:
    """Or is not taken."""
    url = parse_url("http://h.test/")
    jar = CookieJar()
    jar.store(((b"set-cookie", f"{name}={rest}".encode("utf-8", "surrogatepass")),), url, NOW)
    jar.load(f"{name}\n{rest}", url, NOW)

    assert not any(byte < 0x20 or byte == 0x7F for byte in jar.field_for(url, NOW))


@given(st.text(alphabet=st.sampled_from("0123456789: -,;JanfeGMT/")))
def test_whatever_a_date_says_is_a_time_or_none(text: str) -> None:
    jar = CookieJar()
    jar.store(set_cookies(f"a=1; expires={text}"), parse_url("http://h.test/"), 0.0)

    assert all(cookie.expires >= 0 for cookie in jar)


@needs_curl
@pytest.mark.parametrize("path", ["/", "/sub/x", "/deep/a"])
def test_the_same_cookies_in_the_same_order_as_curl(path: str, tmp_path: Path) -> None:
    odd = (
        "rooted",
        "unnamed",
        "split",
        "Set-Cookie",
    )  # what curl sends, and a server should not get
    lines = [line for line in FILE.split("\n") if not any(word in line for word in odd)]
    text = "\n".join(lines).replace("www.h.test", "127.0.0.1").replace("/deep", "/sub")
    (tmp_path / "cookies").write_text(text)

    with recording() as recorder:
        curl(["-b", tmp_path / "cookies", recorder.url + path])
        url = parse_url(recorder.url + path)

    jar = CookieJar()
    jar.load(text, url, NOW)
    assert b"Cookie: " + jar.field_for(url, NOW) + b"\r\n" in recorder.requests[0].head


@needs_curl
def test_curl_reads_what_haclient_writes(tmp_path: Path) -> None:
    with recording() as recorder:
        url = parse_url(recorder.url + "/a/b")
        jar = CookieJar()
        jar.store(set_cookies("a=1; HttpOnly", "long=2; max-age=99999999", "s=3; secure"), url, NOW)
        save_jar(str(tmp_path / "cookies"), jar.dump(NOW))

        curl(["-b", tmp_path / "cookies", recorder.url + "/a/c"])

    assert b"Cookie: long=2; s=3; a=1\r\n" in recorder.requests[0].head


@needs_curl
def test_haclient_reads_what_curl_writes(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; HttpOnly\r\nSet-Cookie: b=2; path=/\r\nContent-Length: 0\r\n\r\n"
    with recording(answer) as recorder:
        curl(["-c", tmp_path / "cookies", recorder.url + "/a/b"])
        url = parse_url(recorder.url + "/a/c")

    jar = open_jar([str(tmp_path / "cookies")], None, url, NOW, bytes)
    assert jar is not None
    assert jar.field_for(url, NOW) == b"a=1; b=2"
