"""The retry budget: its sums in scenarios, its bound as a property of any sequence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.budget import Budget


def spend(budget: Budget, now: float, at_most: int = 10_000) -> int:
    """Withdraws until the budget says no; how many it granted."""
    return next(n for n in range(at_most) if not budget.withdraw(now))


def deposit(budget: Budget, requests: int, now: float) -> None:
    for _ in range(requests):
        budget.deposit(now)


@pytest.mark.parametrize(
    ("ratio", "floor", "requests", "granted"),
    [
        pytest.param(0.2, 10.0, 0, 100, id="the floor is there without any request"),
        pytest.param(0.2, 10.0, 1000, 300, id="a fifth of the requests on top of the floor"),
        pytest.param(0.2, 0.0, 4, 0, id="four requests are no whole copy"),
        pytest.param(0.2, 0.0, 5, 1, id="five requests are one"),
        pytest.param(0.0, 10.0, 1000, 100, id="without a ratio the floor is all"),
        pytest.param(0.0, 0.0, 1000, 0, id="a budget of nothing grants nothing"),
        pytest.param(2.0, 0.0, 3, 6, id="a ratio above 1 is allowed"),
    ],
)
def test_copies_granted(ratio: float, floor: float, requests: int, granted: int) -> None:
    budget = Budget(ratio, floor)
    deposit(budget, requests, now=5.0)
    assert spend(budget, now=5.5) == granted


@pytest.mark.parametrize(
    ("now", "granted"),
    [
        pytest.param(5.0, 20, id="at once"),
        pytest.param(13.999, 20, id="in the tenth bucket, 9 s later"),
        pytest.param(14.0, 0, id="in the eleventh it may be 10 s old, and counts no more"),
        pytest.param(1000.0, 0, id="long after"),
    ],
)
def test_a_request_counts_for_the_window(now: float, granted: int) -> None:
    budget = Budget(floor_per_second=0.0)
    deposit(budget, 100, now=4.0)
    assert spend(budget, now) == granted


@pytest.mark.parametrize(
    ("now", "granted"),
    [
        pytest.param(5.0, 0, id="at once"),
        pytest.param(14.999, 0, id="up to the end of the bucket ten later"),
        pytest.param(15.0, 100, id="then the floor is whole again"),
    ],
)
def test_a_copy_is_held_against_the_budget_for_the_window(now: float, granted: int) -> None:
    budget = Budget()
    assert spend(budget, now=4.5) == 100
    assert spend(budget, now) == granted


def test_the_balance_is_never_negative_when_requests_expire_before_copies() -> None:
    budget = Budget()
    deposit(budget, 1000, now=0.0)
    assert spend(budget, now=5.0) == 300
    assert budget.balance(now=11.0) == 0.0
    assert budget.remaining_ratio(now=11.0) == 0.0


def test_the_remaining_ratio() -> None:
    budget = Budget()
    assert budget.remaining_ratio(now=0.0) == 1.0
    deposit(budget, 500, now=0.0)
    for _ in range(50):
        budget.withdraw(now=0.0)
    assert budget.remaining_ratio(now=0.0) == 0.75
    assert Budget(0.0, 0.0).remaining_ratio(now=0.0) == 0.0


def test_the_repr_says_how_much_is_spent() -> None:
    budget = Budget()
    deposit(budget, 10, now=0.0)
    budget.withdraw(now=1.0)
    assert repr(budget) == "<Budget 1 of 102 copies, 10 requests>"


@pytest.mark.parametrize(
    ("ratio", "floor", "window"),
    [
        (-0.1, 10.0, 10.0),
        (math.inf, 10.0, 10.0),
        (math.nan, 10.0, 10.0),
        (0.2, -1.0, 10.0),
        (0.2, math.nan, 10.0),
        (0.2, 10.0, 0.0),
        (0.2, 10.0, math.inf),
    ],
)
def test_numbers_out_of_range_are_refused(ratio: float, floor: float, window: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Budget(ratio, floor, window)


# What may come: some time passes, then so many requests, then so many attempts to copy.
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.125, 0.5, 1.0, 2.5, 4.875, 9.5, 10.0, 11.0, 40.0]),
        st.integers(min_value=0, max_value=30),
        st.integers(min_value=0, max_value=15),
    ),
    max_size=40,
)


@given(
    steps=steps,
    ratio=st.sampled_from([0.0, 0.2, 0.25, 1.0]),
    floor=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    start=st.sampled_from([0.0, 0.75, 12345.0]),
)
def test_copies_in_any_window_are_a_share_of_its_requests_and_the_floor(
    steps: list[tuple[float, int, int]], ratio: float, floor: float, start: float
) -> None:
    budget = Budget(ratio, floor, window=10.0)
    now = start
    requests: list[float] = []
    copies: list[float] = []
    for passed, deposits, tries in steps:
        now += passed
        deposit(budget, deposits, now)
        requests += [now] * deposits
        for _ in range(tries):
            recent = sum(at > now - 10.0 for at in requests)
            surely_recent = sum(at >= now - 9.0 for at in requests)
            held = sum(at > now - 10.0 for at in copies)
            held_at_most = sum(at > now - 11.0 for at in copies)
            if budget.withdraw(now):
                copies.append(now)
                assert held + 1 <= ratio * recent + floor * 10.0
            else:
                # It is no tighter than one bucket at either end explains.
                assert held_at_most + 1 > ratio * surely_recent + floor * 10.0
            assert budget.balance(now) >= 0.0
            assert 0.0 <= budget.remaining_ratio(now) <= 1.0
