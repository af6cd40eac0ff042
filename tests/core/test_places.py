"""Room, reservations and waiters, one scenario at a time; every expectation is exact.

test_pool_state_machine.py asks whether any sequence can break them, together with connections.
"""

from __future__ import annotations

import pytest

from haclient.core.places import Connection, EndpointCounts, Places, Reserve
from haclient.types import Endpoint, Origin

KEY = Origin("http", "a.test", 80)
OTHER_KEY = (KEY, "client certificate 1")
A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)


def taken(places: Places, *endpoints: Endpoint, key: object = KEY) -> None:
    """A connection to each has a place."""
    for endpoint in endpoints:
        assert places.reserve(key, [endpoint]) == (endpoint,)
        places.take(key, endpoint)


def give_back(places: Places, endpoint: Endpoint, now: float = 0.0) -> tuple[Reserve, ...]:
    """A connection there is closed."""
    group = places.groups[KEY]
    return places.give_back(group, group.places[endpoint], now)


def full(*waiters: tuple[int, tuple[Endpoint, ...]]) -> Places:
    """A and B at their limit, with waiters in this order."""
    places = Places(max_connections=1)
    taken(places, A, B)
    for waiter_id, endpoints in waiters:
        assert places.wait(KEY, waiter_id, endpoints) == ()
    return places


def is_empty(places: Places) -> bool:
    return not places.groups and not places.counts() and not places.waiting


# Room


def test_a_limit_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="max_connections must be at least 1"):
        Places(0)


def test_a_race_gets_a_place_wherever_there_is_room() -> None:
    places = Places(max_connections=2)
    taken(places, A, A)
    assert places.reserve(KEY, [A, B, B]) == (B,)
    assert places.counts() == (EndpointCounts(KEY, A, 2, 0, 0), EndpointCounts(KEY, B, 0, 0, 1))


def test_reserved_places_count_towards_the_limit() -> None:
    places = Places(max_connections=1)
    assert places.reserve(KEY, [A, B]) == (A, B)
    assert places.reserve(KEY, [A, B]) == ()
    places.take(KEY, B)
    assert places.unreserve(KEY, A, now=0.0) == ()
    assert places.reserve(KEY, [A, B]) == (A,)


def test_no_key_takes_the_room_of_another() -> None:
    places = full()
    taken(places, A, key=OTHER_KEY)
    assert places.reserve(OTHER_KEY, [A, B]) == (B,)
    assert places.reserve(KEY, [A, B]) == ()


def test_what_nobody_uses_is_forgotten() -> None:
    places = Places()
    places.reserve(KEY, [A, B])
    places.unreserve(KEY, A, now=0.0)
    assert places.endpoints(KEY) == (B,)
    places.unreserve(KEY, B, now=0.0)
    assert is_empty(places)
    assert places.reserve(KEY, []) == ()
    assert is_empty(places)


def test_a_place_that_is_vacated_is_nobodys() -> None:
    places = full((10, (A,)))
    group = places.groups[KEY]
    places.vacate(group, group.places[A])
    assert places.waiting == 1
    assert places.reserve(KEY, [A, B]) == (A,)


def test_of_two_places_one_remains() -> None:
    places = Places()
    taken(places, A, A)
    group = places.groups[KEY]
    places.vacate(group, group.places[A])
    assert places.counts() == (EndpointCounts(KEY, A, 1, 0, 0),)


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
@pytest.mark.parametrize("endpoint", [A, B])
def test_a_place_that_was_never_reserved_is_a_mistake(key: object, endpoint: Endpoint) -> None:
    places = Places()
    taken(places, A)
    with pytest.raises(RuntimeError, match=r"no place is reserved on 10\.0\.0\."):
        places.take(key, endpoint)
    with pytest.raises(RuntimeError, match=r"no place is reserved on 10\.0\.0\."):
        places.unreserve(key, endpoint, now=0.0)


# Waiters


def test_the_place_that_comes_free_goes_to_the_first_waiter() -> None:
    places = full((10, (A,)), (11, (A, B)))
    assert give_back(places, A) == (Reserve(10, A),)
    assert places.reserve(KEY, [A]) == (), "no newcomer snatches it"
    assert places.unreserve(KEY, A, now=0.0) == (Reserve(11, A),)
    assert places.unreserve(KEY, A, now=0.0) == ()
    assert places.waiting == 0


def test_a_waiter_gets_no_place_that_it_cannot_use() -> None:
    places = full((10, (A,)), (11, (B,)))
    assert give_back(places, B) == (Reserve(11, B),)
    assert places.waiting == 1


def test_whoever_waits_where_there_is_room_has_it_at_once() -> None:
    assert Places().wait(KEY, 10, (B, A)) == (Reserve(10, B),)
    places = full()
    give_back(places, A)
    assert places.wait(KEY, 10, (B, A)) == (Reserve(10, A),)
    assert places.waiting == 0


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(1.999, (Reserve(10, A),), id="just before its deadline it is served"),
        pytest.param(2.0, (), id="from then on it is passed over"),
    ],
)
def test_a_waiters_deadline(now: float, expected: tuple[Reserve, ...]) -> None:
    places = full()
    places.wait(KEY, 10, (A,), deadline=2.0)
    assert give_back(places, A, now) == expected


def test_a_cancelled_waiter_is_not_served() -> None:
    places = full((10, (A,)), (11, (A,)))
    places.cancel_wait(KEY, 10)
    assert give_back(places, A) == (Reserve(11, A),)


def test_cancelling_what_nobody_knows_changes_nothing() -> None:
    places = full((10, (A,)))
    places.cancel_wait(KEY, 11)
    places.cancel_wait(OTHER_KEY, 10)
    assert places.waiting == 1


def test_a_waiter_that_outlives_every_place_is_forgotten_when_it_goes() -> None:
    places = full()
    places.wait(KEY, 10, (A,), deadline=1.0)
    give_back(places, A, now=2.0)
    give_back(places, B, now=2.0)
    assert places.waiting == 1
    places.cancel_wait(KEY, 10)
    assert is_empty(places)


def test_waiting_for_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        Places().wait(KEY, 10, ())


# How things stand


def test_the_endpoints_of_a_group_are_those_with_a_place_in_use() -> None:
    places = Places()
    assert places.endpoints(KEY) == ()
    taken(places, A)
    places.reserve(KEY, [B])
    taken(places, A, key=OTHER_KEY)
    assert places.endpoints(KEY) == (A, B)


def test_an_idle_connection_is_counted_as_one() -> None:
    places = Places()
    taken(places, A, A, B)
    group = places.groups[KEY]
    group.idle.append(Connection(1, group, group.places[A], 0, is_leased=False))
    assert places.counts() == (EndpointCounts(KEY, A, 1, 1, 0), EndpointCounts(KEY, B, 1, 0, 0))


def test_the_repr_counts() -> None:
    places = full((10, (A,)))
    places.reserve(OTHER_KEY, [A, B])
    assert places.reserved == 2
    assert repr(places) == "<Places 2 reserved, 1 waiting>"
