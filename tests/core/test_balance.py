"""Who is asked before whom, as tables and as properties."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.balance import (
    RECOMMENDED_DELAY,
    Candidate,
    arrange,
    by_level,
    connection_attempt_delay,
    interleaved,
    order_among,
    shuffled,
)
from haclient.core.spec import Order
from haclient.types import Endpoint, Origin

A = Origin("http", "a.example", 80)
B = Origin("http", "b.example", 80)

A1 = (A, Endpoint("192.0.2.1", 80))
A2 = (A, Endpoint("192.0.2.2", 80))
A3 = (A, Endpoint("192.0.2.3", 80))
A6 = (A, Endpoint("2001:db8::6", 80))
A7 = (A, Endpoint("2001:db8::7", 80))
B1 = (B, Endpoint("198.51.100.1", 80))
B6 = (B, Endpoint("2001:db8:b::6", 80))
AU = (A, Endpoint("/run/a.sock", 0))

Pair = tuple[Origin, Endpoint]


def no_chance() -> float:
    raise AssertionError("nobody asked for chance")


def arranged(
    pairs: Sequence[Pair],
    order: Order,
    held_down: Sequence[Pair] = (),
    chance: Callable[[], float] = no_chance,
) -> list[Pair]:
    candidates = arrange(
        pairs,
        order=order,
        is_held_down=lambda endpoint: endpoint in {pair[1] for pair in held_down},
        chance=chance,
    )
    assert all(one.is_held_down == ((one.origin, one.endpoint) in held_down) for one in candidates)
    return [(one.origin, one.endpoint) for one in candidates]


@pytest.mark.parametrize(
    ("pairs", "held_down", "expected"),
    [
        pytest.param([], [], [], id="nobody"),
        pytest.param([A1, A2], [], [A1, A2], id="one family keeps the order of the answer"),
        pytest.param(
            [A1, A2, A3, A6, A7],
            [],
            [A1, A6, A2, A7, A3],
            id="two families alternate, the first address's first",
        ),
        pytest.param([A6, A7, A1], [], [A6, A1, A7], id="where IPv6 stands first it starts first"),
        pytest.param([A1, A6, B1, B6], [], [A1, A6, B1, B6], id="families alternate across URLs"),
        pytest.param(
            [A1, A2, B6], [], [A1, B6, A2], id="another URL's family is as good as one's own"
        ),
        pytest.param([A1, A2, AU], [], [A1, AU, A2], id="a Unix socket is a family"),
        pytest.param([A1, A2, A1], [], [A1, A2], id="a pair that stands twice is asked once"),
        pytest.param([A1, A2, A3], [A1], [A2, A3, A1], id="held down is asked last"),
        pytest.param(
            [A1, A6, A2, A7],
            [A6],
            [A1, A7, A2, A6],
            id="those that are fit alternate among themselves",
        ),
        pytest.param(
            [A1, A2, A6],
            [A1, A2, A6],
            [A1, A6, A2],
            id="where all are held down all are asked as ever",
        ),
    ],
)
def test_fastest(pairs: list[Pair], held_down: list[Pair], expected: list[Pair]) -> None:
    assert arranged(pairs, Order.FASTEST, held_down) == expected


@pytest.mark.parametrize(
    ("pairs", "held_down", "expected"),
    [
        pytest.param(
            [A1, A2, A6, B1], [], [A1, A2, A6, B1], id="nothing is moved, families neither"
        ),
        pytest.param([A1, A2, B1], [A1], [A2, B1, A1], id="but what is held down"),
    ],
)
def test_listed(pairs: list[Pair], held_down: list[Pair], expected: list[Pair]) -> None:
    assert arranged(pairs, Order.LISTED, held_down) == expected


def test_shuffled_draws_among_the_fit_and_then_among_the_held_down() -> None:
    found = arranged([A1, A2, A3, A6, A7], Order.SHUFFLED, held_down=[A1, A6], chance=lambda: 0.0)
    assert found == [A3, A7, A2, A6, A1]


def test_one_endpoint_of_two_origins_is_two_candidates() -> None:
    shared = A1[1]
    found = arranged([(A, shared), (B, shared)], Order.LISTED)
    assert found == [(A, shared), (B, shared)]


def test_every_permutation_is_drawn_from_its_share_of_chance() -> None:
    """With three, the first draw has three outcomes and the second two: six, each once."""
    items = [Candidate(*pair) for pair in (A1, A2, A3)]
    found = Counter(
        tuple(shuffled(items, iter(draws).__next__))
        for draws in itertools.product((0.1, 0.4, 0.9), (0.2, 0.7))
    )
    assert found == Counter(itertools.permutations(items))


def test_shuffling_leaves_its_argument_alone() -> None:
    items = [Candidate(*pair) for pair in (A1, A2)]
    assert shuffled(items, lambda: 0.0) == items[::-1]
    assert items == [Candidate(*A1), Candidate(*A2)]


SERVICE = Origin("http", "_http._tcp.s.example", 0)
A_AT, B_AT = A1[1], B1[1]
S1, S2 = Endpoint("203.0.113.1", 80), Endpoint("203.0.113.2", 80)


@pytest.mark.parametrize(
    ("tier", "levels", "expected"),
    [
        pytest.param([], {}, [], id="no URLs"),
        pytest.param([A, B], {}, [], id="no name gave any"),
        pytest.param([A, B], {B: [[B_AT]]}, [[B1]], id="one did"),
        pytest.param([B, A], {A: [[A_AT]], B: [[B_AT]]}, [[B1, A1]], id="in the URLs' order"),
        pytest.param([A], {A: [[A_AT]], B: [[B_AT], [B_AT]]}, [[A1]], id="of this tier alone"),
        pytest.param(
            [SERVICE, A],
            {SERVICE: [[S1], [S2]], A: [[A_AT]]},
            [[(SERVICE, S1), A1], [(SERVICE, S2)]],
            id="the second priority behind the plain URL",
        ),
        pytest.param([A, A], {A: [[A_AT]]}, [[A1, A1]], id="named twice"),
    ],
)
def test_levels(
    tier: list[Origin], levels: dict[Origin, list[list[Endpoint]]], expected: list[list[Pair]]
) -> None:
    assert by_level(tier, levels) == expected


@pytest.mark.parametrize(
    ("origins", "configured", "expected"),
    [
        pytest.param([A, B], Order.SHUFFLED, Order.SHUFFLED, id="as configured"),
        pytest.param([], Order.FASTEST, Order.FASTEST, id="nobody"),
        pytest.param([A, SERVICE], Order.SHUFFLED, Order.LISTED, id="a service is drawn already"),
    ],
)
def test_order_among(origins: list[Origin], configured: Order, expected: Order) -> None:
    assert order_among(iter(origins), configured) is expected


@pytest.mark.parametrize(
    ("order", "configured", "expected"),
    [
        pytest.param(Order.FASTEST, 0.0, 0.0, id="fastest connects to all at once"),
        pytest.param(Order.FASTEST, 0.3, 0.3, id="fastest with a delay as configured"),
        pytest.param(Order.LISTED, 0.0, RECOMMENDED_DELAY, id="listed never all at once"),
        pytest.param(Order.LISTED, 0.1, 0.1, id="listed with a delay as configured"),
        pytest.param(Order.SHUFFLED, 0.0, RECOMMENDED_DELAY, id="shuffled never all at once"),
    ],
)
def test_delay(order: Order, configured: float, expected: float) -> None:
    assert connection_attempt_delay(order, configured) == expected


everybody = (A1, A2, A3, A6, A7, AU, B1, B6)
some = st.lists(st.sampled_from(everybody), max_size=12)
chances = st.floats(0, 1, exclude_max=True)


@given(some, st.sampled_from(Order), some, st.data())
def test_nobody_is_lost_and_nobody_is_asked_twice(
    pairs: list[Pair], order: Order, held_down: list[Pair], data: st.DataObject
) -> None:
    found = arranged(pairs, order, held_down, chance=lambda: data.draw(chances))
    assert set(found) == {*pairs}
    assert len(found) == len(set(found))
    is_last = [pair in held_down for pair in found]
    assert is_last == sorted(is_last)


@given(some)
def test_interleaving_alternates_until_one_family_is_used_up(pairs: list[Pair]) -> None:
    found = interleaved([Candidate(*pair) for pair in pairs])
    assert Counter(found) == Counter(Candidate(*pair) for pair in pairs)
    families = [(one.endpoint.is_unix, one.endpoint.is_ipv6) for one in found]
    for place, family in enumerate(families[1:], 1):
        if family == families[place - 1]:
            assert set(families[place:]) == {family}
    for family in set(families):
        kept = [one for one in found if (one.endpoint.is_unix, one.endpoint.is_ipv6) == family]
        given = [Candidate(*pair) for pair in pairs if (pair[1].is_unix, pair[1].is_ipv6) == family]
        assert kept == given
