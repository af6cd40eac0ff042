"""Whom to begin with: the listed order, unless somebody else answered lately."""

from __future__ import annotations

from haclient.core.server_order import PREFERENCE_LASTS, ServerOrder
from haclient.types import Endpoint

ONE, TWO, THREE = LISTED = tuple(Endpoint(f"10.0.0.{i}", 53) for i in (1, 2, 3))


def test_the_listed_order_is_the_first() -> None:
    assert ServerOrder().order(LISTED, 0.0) == LISTED


def test_whoever_answered_instead_of_the_first_begins_for_a_while() -> None:
    order = ServerOrder()
    order.answered(TWO, LISTED, 10.0)
    assert order.order(LISTED, 10.0) == (TWO, ONE, THREE)
    assert order.order(LISTED, 10.0 + PREFERENCE_LASTS - 0.1) == (TWO, ONE, THREE)
    assert order.order(LISTED, 10.0 + PREFERENCE_LASTS) == LISTED


def test_an_answer_of_the_one_that_began_does_not_prolong_its_preference() -> None:
    order = ServerOrder()
    order.answered(TWO, LISTED, 0.0)
    order.answered(TWO, (TWO, ONE, THREE), PREFERENCE_LASTS - 1)
    assert order.order(LISTED, PREFERENCE_LASTS) == LISTED


def test_an_answer_of_nobody_changes_nothing() -> None:
    order = ServerOrder()
    order.answered(None, LISTED, 0.0)
    order.answered(ONE, LISTED, 0.0)
    assert order.order(LISTED, 0.0) == LISTED


def test_a_silent_first_server_gives_way_to_the_next_that_was_not() -> None:
    order = ServerOrder()
    order.was_silent(frozenset({ONE, TWO}), LISTED, 0.0)
    assert order.order(LISTED, 0.0) == (THREE, ONE, TWO)


def test_silence_of_others_or_of_all_changes_nothing() -> None:
    order = ServerOrder()
    order.was_silent(frozenset({TWO}), LISTED, 0.0)
    order.was_silent(frozenset(LISTED), LISTED, 0.0)
    order.was_silent(frozenset(), LISTED, 0.0)
    assert order.order(LISTED, 0.0) == LISTED


def test_a_preferred_server_that_is_no_longer_listed_is_not_asked() -> None:
    order = ServerOrder()
    order.answered(THREE, LISTED, 0.0)
    assert order.order((ONE, TWO), 0.0) == (ONE, TWO)
    assert repr(order) == "<ServerOrder preferred=10.0.0.3:53>"
