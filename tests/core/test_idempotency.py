"""Which requests may run twice, what is a key, what a new one looks like, and when one is added."""

from __future__ import annotations

import re
import uuid

import pytest

from haclient.core.idempotency import RequestFacts, bears_key, new_key, with_key
from haclient.types import Fields

NEW = (b"Idempotency-Key", b'"new"')
OTHER = (b"Accept", b"*/*")

KEY = (b"Idempotency-Key", b'"8e03978e"')
BARE = (b"idempotency-KEY", b"8e03978e")
EMPTY = (b"Idempotency-Key", b"")
BLANK = (b"idempotency-key", b" \t")
EMPTY_STRING = (b"Idempotency-Key", b'""')


@pytest.mark.parametrize(
    ("fields", "is_key"),
    [
        pytest.param((KEY,), True, id="a string"),
        pytest.param((BARE,), True, id="a bare one"),
        pytest.param((), False, id="none"),
        pytest.param((EMPTY,), False, id="an empty field"),
        pytest.param((BLANK,), False, id="blanks"),
        pytest.param((EMPTY_STRING,), False, id="an empty string"),
        pytest.param((KEY, BARE), False, id="two of them"),
    ],
)
def test_what_is_an_idempotency_key(fields: Fields, is_key: bool) -> None:
    assert bears_key(fields) is is_key


@pytest.mark.parametrize(
    ("fields", "goes"),
    [
        pytest.param((OTHER,), (OTHER, NEW), id="none"),
        pytest.param((EMPTY, OTHER), (OTHER, NEW), id="an empty field"),
        pytest.param((OTHER, BLANK), (OTHER, NEW), id="blanks"),
        pytest.param((EMPTY_STRING,), (NEW,), id="an empty string"),
        pytest.param((EMPTY, EMPTY_STRING), (NEW,), id="two that name nothing"),
        pytest.param((KEY, OTHER), (KEY, OTHER), id="a key"),
        pytest.param((KEY, BARE), (KEY, BARE), id="two keys"),
        pytest.param((KEY, EMPTY), (KEY, EMPTY), id="a key and nothing"),
    ],
)
def test_when_a_key_is_added(fields: Fields, goes: Fields) -> None:
    assert with_key(fields, NEW[1]) == goes


def test_a_new_key_is_a_string_with_a_random_uuid() -> None:
    key = new_key(bytes(range(16)))
    assert key == b'"00010203-0405-4607-8809-0a0b0c0d0e0f"'
    assert re.fullmatch(rb'"[ -!#-\[\]-~]*"', key)  # RFC 8941, section 3.3.3
    made = uuid.UUID(new_key(b"\xff" * 16).decode().strip('"'))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


def test_a_request_that_was_given_a_key_bears_one() -> None:
    assert bears_key(with_key((OTHER,), new_key(bytes(16))))


@pytest.mark.parametrize(
    ("method", "has_key", "is_safe", "is_idempotent"),
    [
        ("GET", False, True, True),
        ("HEAD", False, True, True),
        ("OPTIONS", False, True, True),
        ("TRACE", False, True, True),
        ("PUT", False, False, True),
        ("DELETE", False, False, True),
        ("POST", False, False, False),
        ("PATCH", False, False, False),
        ("get", False, False, False),
        ("POST", True, False, True),
        ("PUT", True, False, True),
    ],
)
def test_which_requests_may_run_twice(
    method: str, has_key: bool, is_safe: bool, is_idempotent: bool
) -> None:
    facts = RequestFacts(method, has_idempotency_key=has_key)
    assert (facts.is_safe, facts.is_idempotent) == (is_safe, is_idempotent)
