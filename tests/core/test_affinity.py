"""What a client is known by, and whose it is by weight."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.affinity import (
    NO_AFFINITY,
    Affinity,
    AffinityKind,
    in_order_of_weight,
    key_of,
    parse_affinity,
    session_of,
)
from haclient.types import Endpoint, Fields

COOKIE = Affinity(AffinityKind.COOKIE, "sid")
HEADER = Affinity(AffinityKind.HEADER, "X-User")
CLIENT = Affinity(AffinityKind.CLIENT)


def digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()


# What the file says


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", NO_AFFINITY),
        ("client", CLIENT),
        ("cookie:sid", COOKIE),
        ("header:X-User", HEADER),
        ("cookie:a!#$%&'*+-.^_`|~9", Affinity(AffinityKind.COOKIE, "a!#$%&'*+-.^_`|~9")),
    ],
)
def test_what_is_read_is_what_is_written(text: str, expected: Affinity) -> None:
    assert parse_affinity(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", 'it is "none", "client"'),
        ("moon", 'it is "none", "client", "cookie:NAME" or "header:NAME"'),
        ("Cookie:sid", 'it is "none"'),
        ("client:", '"client" takes no name'),
        ("none:x", '"none" takes no name'),
        ("cookie", 'write "cookie:NAME"'),
        ("cookie:", 'write "cookie:NAME"'),
        ("cookie:a b", 'write "cookie:NAME"'),
        ("cookie:a=b", 'write "cookie:NAME"'),
        ("header:X:Y", 'write "header:NAME"'),
        ("header:schlüssel", 'write "header:NAME"'),
        ("header:a\nb", 'write "header:NAME"'),
    ],
)
def test_what_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        parse_affinity(text)
    assert "\n" not in str(caught.value)


# What a client is known by


@pytest.mark.parametrize(
    ("affinity", "fields", "known_by"),
    [
        pytest.param(
            NO_AFFINITY, ((b"Cookie", b"sid=1"),), None, id="nothing, without an affinity"
        ),
        pytest.param(CLIENT, (), b"192.0.2.1", id="its address"),
        pytest.param(COOKIE, (), None, id="no cookie"),
        pytest.param(COOKIE, ((b"Cookie", b"sid=1"),), b"1", id="its only cookie"),
        pytest.param(COOKIE, ((b"cookie", b"a=b; sid=1; c=d"),), b"1", id="one among others"),
        pytest.param(COOKIE, ((b"Cookie", b"a=b;sid=1 "),), b"1", id="with other white space"),
        pytest.param(COOKIE, ((b"Cookie", b"a=b"), (b"Cookie", b"sid=1")), b"1", id="two fields"),
        pytest.param(COOKIE, ((b"Cookie", b"sid=1; sid=2"),), b"1", id="the first of two"),
        pytest.param(
            COOKIE, ((b"Cookie", b'sid="1="'),), b'"1="', id="quotes and signs of its own"
        ),
        pytest.param(COOKIE, ((b"Cookie", b"xsid=1; sidx=2"),), None, id="another name around it"),
        pytest.param(COOKIE, ((b"Cookie", b"a=sid; b=sid=3"),), None, id="its name in a value"),
        pytest.param(COOKIE, ((b"Cookie", b"SID=1"),), None, id="another letter case"),
        pytest.param(COOKIE, ((b"Cookie", b"sid="),), None, id="an empty cookie"),
        pytest.param(COOKIE, ((b"Cookie", b"sid"),), None, id="a cookie without a value"),
        pytest.param(COOKIE, ((b"Set-Cookie", b"sid=1"),), None, id="what is no Cookie field"),
        pytest.param(HEADER, ((b"x-USER", b"ada"),), b"ada", id="its field, in any letter case"),
        pytest.param(HEADER, ((b"X-User", b"a"), (b"X-User", b"b")), b"a, b", id="several lines"),
        pytest.param(HEADER, ((b"X-User", b""),), None, id="an empty field"),
        pytest.param(HEADER, ((b"X-Use", b"ada"),), None, id="no field"),
    ],
)
def test_key(affinity: Affinity, fields: Fields, known_by: bytes | None) -> None:
    key = key_of(affinity, fields, "192.0.2.1")
    assert key == (None if known_by is None else digest(known_by))


@pytest.mark.parametrize(
    ("affinity", "fields", "known_by"),
    [
        pytest.param(COOKIE, (), None, id="none"),
        pytest.param(COOKIE, ((b"set-cookie", b"sid=1; Path=/; HttpOnly"),), b"1", id="one"),
        pytest.param(COOKIE, ((b"Set-Cookie", b" sid = 1 "),), b"1", id="with white space"),
        pytest.param(
            COOKIE, ((b"Set-Cookie", b"sid=1"), (b"Set-Cookie", b"sid=2")), b"2", id="two"
        ),
        pytest.param(COOKIE, ((b"Set-Cookie", b"sid=; Max-Age=0"),), None, id="taken back"),
        pytest.param(
            COOKIE, ((b"Set-Cookie", b"a=1; sid=2"),), None, id="another, an attribute so"
        ),
        pytest.param(COOKIE, ((b"Set-Cookie", b"sid; Path=/"),), None, id="no pair"),
        pytest.param(COOKIE, ((b"Cookie", b"sid=1"),), None, id="what is no Set-Cookie field"),
        pytest.param(
            HEADER, ((b"Set-Cookie", b"X-User=1"),), None, id="an affinity of another kind"
        ),
    ],
)
def test_session(affinity: Affinity, fields: Fields, known_by: bytes | None) -> None:
    assert session_of(affinity, fields) == (None if known_by is None else digest(known_by))


def test_what_a_server_sets_is_what_its_client_is_known_by() -> None:
    value = b'"4f=9~x"'
    session = session_of(COOKIE, ((b"Set-Cookie", b"sid=" + value + b"; Secure"),))
    assert session == key_of(COOKIE, ((b"Cookie", b"z=0; sid=" + value),), "")


def test_no_key_holds_what_it_was_made_of() -> None:
    key = key_of(COOKIE, ((b"Cookie", b"sid=secret"),), "")
    assert key is not None
    assert len(key) == 16
    assert b"secret" not in key


# Whose it is

ENDPOINTS = [Endpoint(f"192.0.2.{last}", 80) for last in range(1, 9)]
keys = st.binary(min_size=1).map(digest)
endpoints = st.lists(st.sampled_from(ENDPOINTS), min_size=1, unique=True)


def test_every_process_on_every_machine_chooses_alike() -> None:
    """These are promises between versions, too: two of them run side by side in an upgrade."""
    found = [in_order_of_weight(digest(b"%d" % n), ENDPOINTS)[0].address[-1] for n in range(12)]
    assert "".join(found) == "661282211582"


@given(keys, endpoints)
def test_the_order_is_everybodys_once(key: bytes, some: list[Endpoint]) -> None:
    found = in_order_of_weight(key, some)
    assert sorted(found) == sorted(some)
    assert found == in_order_of_weight(key, reversed(some))


@given(keys, endpoints, st.sampled_from(ENDPOINTS))
def test_who_leaves_moves_nobody_elses_clients(
    key: bytes, some: list[Endpoint], leaving: Endpoint
) -> None:
    left = [endpoint for endpoint in in_order_of_weight(key, some) if endpoint != leaving]
    assert in_order_of_weight(key, [one for one in some if one != leaving]) == left


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_each_has_its_share_and_so_has_each_of_those_who_stand_in(n: int) -> None:
    clients = 8000
    orders = [in_order_of_weight(digest(b"%d" % k), ENDPOINTS[:n]) for k in range(clients)]
    own = Counter(order[0] for order in orders)
    # Five standard deviations of a binomial share.
    slack = 5 * (clients * (1 / n) * (1 - 1 / n)) ** 0.5
    assert all(abs(own[one] - clients / n) <= slack for one in ENDPOINTS[:n])
    first = ENDPOINTS[0]
    next_ones = Counter(order[1] for order in orders if order[0] == first)
    slack = 5 * (own[first] / (n - 1)) ** 0.5
    assert all(abs(next_ones[one] - own[first] / (n - 1)) <= slack for one in ENDPOINTS[1:n])
