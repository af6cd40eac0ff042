"""Proxy-Status: what is written, what is escaped, and a reader of RFC 8941 in front of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.proxy_status import MAX_DETAILS, describe_attempts, details_of, proxy_status
from haclient.types import AttemptRecord, Endpoint, Evidence, EvidenceKind, Origin, Phase, Verdict


def test_what_is_empty_is_left_out() -> None:
    assert proxy_status() == b"haclient"


def test_all_of_it_in_order() -> None:
    value = proxy_status(
        error="connection_timeout",
        next_hop="10.0.0.2:8080",
        details="silent",
        received_status=503,
    )
    assert value == (
        b'haclient; error=connection_timeout; next-hop="10.0.0.2:8080"; received-status=503; '
        b'details="silent"'
    )


@pytest.mark.parametrize(
    ("details", "written"),
    [
        ('a "b" \\ c', rb'"a \"b\" \\ c"'),
        ("a\r\nb\tc\0", b'"a??b?c?"'),
        ("straße – \x7f", b'"stra?e ? ?"'),
    ],
)
def test_details_are_escaped(details: str, written: bytes) -> None:
    assert proxy_status(details=details) == b"haclient; details=" + written


def test_what_is_no_token_is_a_string() -> None:
    assert proxy_status("my proxy", error="1x") == b'"my proxy"; error="1x"'


def test_details_are_cut() -> None:
    value = proxy_status(details="x" * 401)
    assert value == b'haclient; details="' + b"x" * 397 + b'..."'
    assert proxy_status(details="x" * 400).endswith(b'xxx"')


PARAMETER = re.compile(rb'; ([a-z-]+)=(?:([A-Za-z*][^ ;"]*)|([0-9]+)|"((?:[^"\\]|\\["\\])*)")')


@given(error=st.text(max_size=9), next_hop=st.text(max_size=9), details=st.text(max_size=20))
def test_any_text_is_read_back(error: str, next_hop: str, details: str) -> None:
    value = proxy_status(error=error, next_hop=next_hop, details=details, received_status=502)
    assert value.isascii()
    assert value.decode().isprintable()
    given = {b"error": error, b"next-hop": next_hop, b"details": details, b"received-status": "502"}
    at, read = len(b"haclient"), {}
    while at < len(value):
        found = PARAMETER.match(value, at)
        assert found is not None, value
        name, *values = found.groups(b"")
        read[name] = re.sub(rb"\\(.)", rb"\1", b"".join(values)).decode()
        at = found.end()
    expected = {name: re.sub("[^ -~]", "?", text) for name, text in given.items() if text}
    assert read == expected


def record(number: int, detail: str = "") -> AttemptRecord:
    return AttemptRecord(
        number=number,
        origin=Origin("http", "a.test", 80),
        endpoint=Endpoint("10.0.0.1", 8080),
        phase=Phase.WAITING,
        verdict=Verdict.CLOSED if detail else Verdict.DEAD,
        started_at=1.0,
        ended_at=3.5,
        detail=detail,
        evidence=None if detail else Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5),
    )


def test_attempts() -> None:
    assert describe_attempts([]) == ""
    assert describe_attempts(iter([record(1), record(2, "Connection reset")])) == (
        "1. 10.0.0.1:8080: dead while waiting after 2.50 s (3 keep-alive probes unanswered, silent "
        "for 2.50 s); 2. 10.0.0.1:8080: closed while waiting after 2.50 s (Connection reset)"
    )


def test_many_attempts() -> None:
    told = describe_attempts([record(n) for n in range(1, 10)])
    assert len(told) <= MAX_DETAILS
    assert told.startswith("1. 10.0.0.1:8080: dead")
    assert "3. 10.0.0.1:8080: dead" in told
    assert told.endswith("; and 6 more")


def test_where_there_is_no_room_for_a_second_one() -> None:
    told = describe_attempts([record(1, "x" * 300), record(2, "y" * 60)])
    assert told.endswith("xxx); and 1 more")


def test_where_there_is_just_room() -> None:
    missing = MAX_DETAILS - len(describe_attempts([record(1), record(2, "x")]))
    told = describe_attempts([record(1), record(2, "x" * (missing + 1))])
    assert len(told) == MAX_DETAILS
    assert told.endswith("xxx)")


def test_one_long_attempt() -> None:
    told = describe_attempts([record(1, "x" * 500), record(2)])
    assert len(told) == MAX_DETAILS
    assert told.endswith("xxx...")


@pytest.mark.parametrize(
    ("value", "details"),
    [
        (b"", ""),
        (b"haclient; error=connection_refused", ""),
        (b'haclient; details=""', ""),
        (b'haclient; error=connection_refused; details="nobody there"', "nobody there"),
        (b'near;details="the cause", "far; away"; details="what follows"', "the cause"),
        (b'x; next-hop="a; details=\\"no\\""; details="yes"', "yes"),
        (b'x; details="not closed', ""),
        (b'x; details="a line \x1b[31m"', ""),
        (b'x; details="caf\xc3\xa9"', ""),
        (b'x; details="a \\"b\\" \\\\ c"', 'a "b" \\ c'),
    ],
)
def test_the_details_that_another_one_gives(value: bytes, details: str) -> None:
    assert details_of(value) == details


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1))
def test_our_own_details_are_read_back(details: str) -> None:
    told = details if len(details) <= MAX_DETAILS else details[: MAX_DETAILS - 3] + "..."
    assert details_of(proxy_status(error="x", next_hop='a"b', details=details)) == told


def test_endless_details_are_cut() -> None:
    assert len(details_of(b'x; details="' + b"y" * 5000 + b'"')) == MAX_DETAILS
