"""One line of a kind each few seconds."""

from __future__ import annotations

from haclient.ops.seldom import Seldom


def test_what_was_not_told_is_counted_in_the_next() -> None:
    seldom = Seldom(10.0)
    seen = [seldom.others("a", now) for now in (0.0, 1.0, 9.9, 10.0, 10.1, 20.0, 40.0)]
    assert seen == [0, None, None, 2, None, 1, 0]


def test_kinds_are_apart() -> None:
    seldom = Seldom(10.0)
    assert [seldom.others(key, 0.0) for key in ("a", "b", "a")] == [0, 0, None]
