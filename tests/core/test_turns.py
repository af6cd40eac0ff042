"""Who is next: crowds take turns, and no line is longer than it may be."""

from __future__ import annotations

import pytest

from haclient.core.turns import MOST, MOST_OF_ONE, Turns, crowd_of


@pytest.mark.parametrize(
    ("identity", "crowd"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
        pytest.param("uid:1000", "uid:1000", id="a Unix user"),
        pytest.param("2001:db8:1:2::7", "2001:db8:1:2::/64", id="IPv6"),
        pytest.param("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64", id="the same network"),
        pytest.param("2001:db8:1:3::7", "2001:db8:1:3::/64", id="another network"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="with a zone"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 at an IPv6 socket"),
    ],
)
def test_who_is_one_crowd(identity: str, crowd: str) -> None:
    assert crowd_of(identity) == crowd


def line_of(*whom: str) -> Turns[str]:
    """Each is of the crowd that its first letter names."""
    line: Turns[str] = Turns()
    for one in whom:
        assert line.join(one, one[0]) is None
    return line


def all_of(line: Turns[str]) -> list[str]:
    found = []
    while (one := line.next()) is not None:
        found.append(one)
    return found


def test_crowds_take_turns() -> None:
    line = line_of("a1", "a2", "a3", "b1", "b2", "c1")
    assert repr(line) == "<Turns, 6 waiting>"
    assert all_of(line) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert len(line) == 0


def test_whoever_gives_up_is_out_of_it() -> None:
    line = line_of("a1", "a2", "b1")
    line.leave("a1", "a")
    line.leave("b1", "b")
    assert all_of(line) == ["a2"]


def test_of_one_crowd_only_so_many_wait() -> None:
    line = line_of(*(f"a{number}" for number in range(MOST_OF_ONE)))
    assert line.join("a more", "a") == "a more"
    assert line.join("b", "b") is None
    assert len(line) == MOST_OF_ONE + 1


def full_line(*, crowds: int) -> Turns[str]:
    line: Turns[str] = Turns()
    for number in range(MOST):
        assert line.join(str(number), f"crowd {number % crowds}") is None
    return line


def test_in_a_full_line_the_largest_crowd_gives_a_place() -> None:
    line = full_line(crowds=3)
    assert line.join("new", "new") == str(MOST - 1), "the last of the largest, which has 22"
    assert len(line) == MOST
    assert all_of(line)[:4] == ["0", "1", "2", "new"]


def test_a_full_line_of_crowds_of_one_stays_as_it_is() -> None:
    line = full_line(crowds=MOST)
    assert line.join("new", "new") == "new"
    assert all_of(line) == [str(number) for number in range(MOST)]


def test_nobody_gives_a_place_to_a_crowd_as_large() -> None:
    line = full_line(crowds=2)
    assert line.join("more", "new") is not None
    assert line.join("33", "crowd 0") == "33", "a crowd that has all it may"
    line = full_line(crowds=MOST // 2)
    assert line.join("third", "crowd 5") == "third", "all have two"
    assert len(line) == MOST
