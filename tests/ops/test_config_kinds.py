"""What each kind of value takes, and what it says of the rest; and that a schema says the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.config import TcpBind
from haclient.core.url import parse_url
from haclient.ops import config_kinds as kinds
from haclient.ops.config_kinds import OneValue, count, duration, parse_size, size
from haclient.types import Order
from tests.support.json_schema import faults

ABOVE, FROM = duration(above_zero=True), duration(above_zero=False)


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0), (5, 5), ("7", 7), ("1KiB", 1024), ("2MiB", 2 << 20), ("3GiB", 3 << 30)],
)
def test_sizes(value: object, number: int) -> None:
    assert parse_size(value) == number


@pytest.mark.parametrize("value", [True, -1, 1.5, "1 KiB", "1kb", "", None, "１"])
def test_no_sizes(value: object) -> None:
    with pytest.raises(ValueError, match="a size is"):
        parse_size(value)


TAKEN: list[tuple[OneValue, object, object]] = [
    (ABOVE, "250ms", 0.25),
    (ABOVE, "4s", 4.0),
    (ABOVE, "2m", 120.0),
    (ABOVE, "1h", 3600.0),
    (ABOVE, "1.5", 1.5),
    (ABOVE, 4, 4.0),
    (ABOVE, 0.5, 0.5),
    (FROM, 0, 0.0),
    (FROM, "0ms", 0.0),
    (size(), 0, 0),
    (size(1024, 1 << 20), "1KiB", 1024),
    (size(1024, 1 << 20), "1MiB", 1 << 20),
    (count(1), 1, 1),
    (kinds.RATIO, 0, 0.0),
    (kinds.RATIO, 1.5, 1.5),
    (kinds.BOOLEAN, False, False),
    (kinds.TEXT, "a b", "a b"),
    (kinds.member_of(Order), "listed", Order.LISTED),
    (kinds.one_of(("a", "b")), "b", "b"),
    (kinds.URL, "http://a.test/base", parse_url("http://a.test/base")),
    (kinds.URL, "HTTPS://a.test", parse_url("https://a.test/")),
    (kinds.BIND, "127.0.0.1:80", TcpBind("127.0.0.1", 80)),
    (kinds.BIND, "[::1]:80", TcpBind("::1", 80)),
    (kinds.NAMESERVER, "10.0.0.53", "10.0.0.53"),
    (kinds.NAMESERVER, "[::1]:5353", "[::1]:5353"),
    (kinds.HOST, "A.Local", "a.local"),
    (kinds.HOST, "127.0.0.1", "127.0.0.1"),
    (kinds.HOST, "*.A.local", "*.a.local"),
    (kinds.NAME, "a.local", "a.local"),
    (kinds.HOST, "[::1]", "::1"),
    (kinds.HOST, "bücher.test", "xn--bcher-kva.test"),
    (kinds.PATH, "/", "/"),
    (kinds.PATH, "/v1/%20", "/v1/%20"),
    (kinds.PATH, "/.well-known/", "/.well-known/"),
]

REFUSED: list[tuple[OneValue, object, str]] = [
    (ABOVE, "soon", "'soon' is no duration"),
    (ABOVE, True, "a duration is"),
    (ABOVE, [4], "a duration is"),
    (ABOVE, 0, "more than 0 seconds"),
    (ABOVE, "0s", "more than 0 seconds"),
    (ABOVE, -1, "is no duration"),
    (ABOVE, math.inf, "is no duration"),
    (ABOVE, math.nan, "is no duration"),
    (FROM, -0.5, "is no duration"),
    (size(), True, "a size is"),
    (size(), 1.0, "a size is"),
    (size(1024, 1 << 20), 1023, "from 1KiB to 1MiB"),
    (size(1024, 1 << 20), "2MiB", "from 1KiB to 1MiB"),
    (size(1000), 999, "at least 1000"),
    (count(1), 0, "at least 1"),
    (count(1), True, "a whole number"),
    (count(1), 1.0, "a whole number"),
    (count(1), "1", "a whole number"),
    (kinds.RATIO, -0.1, "must not be negative"),
    (kinds.RATIO, math.inf, "without end"),
    (kinds.RATIO, math.nan, "must not be negative"),
    (kinds.RATIO, True, "a number is wanted"),
    (kinds.RATIO, "1", "a number is wanted"),
    (kinds.BOOLEAN, 1, "true or false"),
    (kinds.BOOLEAN, "true", "true or false"),
    (kinds.TEXT, "", "a text is wanted"),
    (kinds.TEXT, "a\0", "a text is wanted"),
    (kinds.TEXT, 5, "a text is wanted"),
    (kinds.member_of(Order), "random", 'one of "fastest", "listed", "shuffled" is wanted'),
    (kinds.member_of(Order), 1, "one of"),
    (kinds.one_of(("a",)), "c", '"a" is wanted'),
    (kinds.URL, 5, "a text is wanted"),
    (kinds.URL, "tcp://a.test", "write tcp://HOST:PORT"),
    (kinds.URL, "srv+https://a.test", r"write srv\+https://_SERVICE\._tcp\.DOMAIN"),
    (kinds.URL, "ftp://a.test", "only http and https"),
    (kinds.URL, "127.0.0.3:80", 'it has no scheme: write "http://127.0.0.3:80"'),
    (kinds.URL, "a.test/v1", 'it has no scheme: write "http://a.test/v1"'),
    (kinds.URL, "user:secret@a.test", 'it has no scheme: write "http://HOST"'),
    (kinds.URL, "http://a b/", "a space; write %20"),
    (kinds.URL, "http://a.test/?q=1", "a query not: remove it"),
    (kinds.BIND, "localhost:80", "write an address and a port"),
    (kinds.BIND, 80, "a text is wanted"),
    (kinds.NAMESERVER, "ns.test", "give an IP address"),
    (kinds.NAMESERVER, "10.0.0.53:99999", "give an IP address"),
    (kinds.HOST, "a.local:80", "without a port"),
    (kinds.HOST, "*", "write the host alone"),
    (kinds.HOST, "a.*.test", "write the host alone"),
    (kinds.NAME, "*.local", "without an asterisk"),
    (kinds.PATH, "v1", 'begins with "/"'),
    (kinds.PATH, "/é", 'begins with "/"'),
    (kinds.PATH, "/a?b", "without query"),
    (kinds.PATH, "/a b", "without query"),
    (kinds.PATH, "/a/../b", "without empty segments"),
    (kinds.PATH, "/.", "without empty segments"),
    (kinds.PATH, "//a", "without empty segments"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), TAKEN)
def test_what_is_taken(kind: OneValue, value: object, expected: object) -> None:
    found = kind.read(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED)
def test_what_is_refused(kind: OneValue, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind.read(value)


@pytest.mark.parametrize(("kind", "value", "_"), TAKEN)
def test_an_editor_takes_it_too(kind: OneValue, value: object, _: object) -> None:
    assert faults(kind.schema, value) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [(kind, value) for kind, value, _ in REFUSED if type(value) in (bool, int, list)],
)
def test_an_editor_refuses_what_has_the_wrong_type_or_range(kind: OneValue, value: object) -> None:
    if kind.schema:
        assert faults(kind.schema, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ALL = sorted({id(kind): kind for kind, _, _ in [*TAKEN, *REFUSED]}.values(), key=str)


@given(st.sampled_from(ALL), JSON)
def test_any_value_is_taken_or_refused_and_breaks_nothing(kind: OneValue, value: Any) -> None:
    message = ""
    try:
        kind.read(value)
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (1000, "1000"),
        (1024, "1KiB"),
        (1536, "1536"),
        (64 << 20, "64MiB"),
        (1 << 30, "1GiB"),
    ],
)
def test_a_size_as_one_would_write_it(number: int, text: str) -> None:
    assert kinds.size_text(number) == text
    assert parse_size(text) == number
