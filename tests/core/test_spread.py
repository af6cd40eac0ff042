"""Whose turn it is: of the URLs' addresses each as likely as any other."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.spread import Spread
from haclient.types import Endpoint, Origin

A, B = Origin("http", "a.example", 80), Origin("http", "b.example", 80)
BACKUP = Origin("http", "c.example", 80)
SERVICE = Origin("http", "_http._tcp.s.example", 0)
A1, A2 = Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80)
B1 = Endpoint("198.51.100.1", 80)
OTHER = Endpoint("203.0.113.1", 80)


def known() -> Spread:
    spread = Spread([A, B])
    spread.learn(B, [B1])
    spread.learn(A, [A1, A2])
    return spread


def drawn(spread: Spread, at: float, avoid: Collection[Endpoint] = ()) -> Endpoint | None:
    place = spread.draw(avoid, lambda: at)
    return None if place is None else place.endpoint


@pytest.mark.parametrize(
    ("at", "avoid", "expected"),
    [
        pytest.param(0.0, (), A1, id="the URLs' order, whoever was known first"),
        pytest.param(0.34, (), A2, id="the second third"),
        pytest.param(0.999, (), B1, id="the last"),
        pytest.param(0.0, (A1,), A2, id="whoever is in trouble has no turn"),
        pytest.param(0.5, (A1,), B1, id="and the others have it"),
        pytest.param(0.0, (A1, A2, B1), None, id="all are in trouble"),
    ],
)
def test_whose_turn(at: float, avoid: Collection[Endpoint], expected: Endpoint | None) -> None:
    assert drawn(known(), at, avoid) == expected


def test_with_whose_origin() -> None:
    place = known().draw((), lambda: 0.9)
    assert place is not None
    assert (place.origin, place.endpoint) == (B, B1)


def test_nobody_is_known_at_first() -> None:
    assert drawn(Spread([A, B]), 0.0) is None


def test_where_a_name_gives_nothing_any_more() -> None:
    spread = known()
    spread.learn(A, [])
    assert drawn(spread, 0.0) == B1
    spread.learn(A, [A2])
    assert drawn(spread, 0.0) == A2


@pytest.mark.parametrize("origin", [BACKUP, SERVICE], ids=["a backup", "a service"])
def test_who_is_not_spread_over(origin: Origin) -> None:
    spread = Spread([A, B, SERVICE])
    spread.learn(origin, [OTHER])
    assert drawn(spread, 0.0) is None


def test_an_origin_of_two_urls_has_one_turn() -> None:
    spread = Spread([A, B, A])
    spread.learn(A, [A1])
    spread.learn(B, [B1])
    assert drawn(spread, 0.5) == B1
    assert repr(spread) == "<Spread over 2 places>"


@given(st.floats(0, 1, exclude_max=True), st.sets(st.sampled_from([A1, A2, B1])))
def test_a_turn_is_always_somebodys(at: float, avoid: set[Endpoint]) -> None:
    place = drawn(known(), at, avoid)
    assert (place is None) == (len(avoid) == 3)
    assert place not in avoid
