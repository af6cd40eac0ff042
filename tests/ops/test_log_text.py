r"""What a client or server wrote, in a line of a log."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.ops.log_text import masked, quoted, value, visible

TEXTS = st.text(st.characters(codec=None))  # surrogates, too


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/v1/orders", "/v1/orders"),
        ("10.0.0.2:8080", "10.0.0.2:8080"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("Grüße", '"Grüße"'),
        ("a\nb", '"a\\u000ab"'),
        ("\x1b[31m", '"\\u001b[31m"'),
        ("\x7f\x9b", '"\\u007f\\u009b"'),
        ("\u202egnp.exe", '"\\u202egnp.exe"'),
        ("\U000e0001", '"\\udb40\\udc01"'),
        ("\udcff", '"\\udcff"'),
    ],
)
def test_a_value(text: str, shown: str) -> None:
    assert value(text) == shown


@given(TEXTS)
def test_no_control_character_gets_through(text: str) -> None:
    for shown in (value(text), quoted(text), visible(text)):
        assert shown.isprintable()
        assert all(0x20 <= byte != 0x7F for byte in shown.encode())


@given(TEXTS)
def test_quotes_enclose_and_nothing_is_lost(text: str) -> None:
    shown = quoted(text)

    assert shown[0] == shown[-1] == '"'
    # By way of UTF-16, in which a pair of surrogates is one character.
    back = json.loads(shown)
    assert back == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v1/orders?page=2", "/v1/orders?page=2"),
        ("/a?token=abc&x=1", "/a?token=***&x=1"),
        ("/a?x=1;access_token=abc", "/a?x=1;access_token=***"),
        ("/a?API_KEY=abc&api-key=1&apiKey=2", "/a?API_KEY=***&api-key=***&apiKey=***"),
        ("/a?key=1&password=2&passwd=3&pwd=4", "/a?key=***&password=***&passwd=***&pwd=***"),
        ("/a?secret=1&client_secret=2&sig=3", "/a?secret=***&client_secret=***&sig=***"),
        ("/a?X-Amz-Signature=1&signature=2", "/a?X-Amz-Signature=***&signature=***"),
        ("/a?auth=1&Authorization=2&jwt=3", "/a?auth=***&Authorization=***&jwt=***"),
        ("/a?user[password]=1", "/a?user[password]=***"),
        ("/a?%74oken=1&%54%4F%4bEN=2", "/a?%74oken=***&%54%4F%4bEN=***"),
        ("/a?author=x&keyword=y&monkey=z&signal=w", "/a?author=x&keyword=y&monkey=z&signal=w"),
        ("/a?token", "/a?token"),
        ("/a?token=", "/a?token=***"),
        ("/a?token=b=c?d", "/a?token=***"),
        ("/token=abc", "/token=abc"),
        ("http://user:pw@host:80/a@b", "http://***@host:80/a@b"),
        ("http://user:p@w@host/", "http://***@host/"),
        ("http://user:pw@host/?token=1", "http://***@host/?token=***"),
        ("/go?to=http://user:pw@host/", "/go?to=http://***@host/"),
        ("user:pw@host:443", "***@host:443"),
        ("/users/a@b.test", "/users/a@b.test"),
        ("", ""),
        ("*", "*"),
        ("/a?b=c#token=5ecret", "/a?b=c#***"),
        ("/a?token=5ecret#x?y", "/a?token=***#***"),
    ],
)
def test_what_is_masked(target: str, shown: str) -> None:
    assert masked(target) == shown


@given(TEXTS, TEXTS)
def test_a_secret_never_shows(before: str, after: str) -> None:
    assert "5ecret" not in masked(f"/{before}?a=b&token=5ecret&{after}")
