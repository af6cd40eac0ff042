"""Whose each client is, who moved, and for how long that is remembered."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from haclient.core import owners as module
from haclient.core.affinity import in_order_of_weight
from haclient.core.balance import Candidate
from haclient.core.owners import Owners
from haclient.types import Endpoint, Origin

X, Y, BACKUP = (Origin("http", f"{name}.test", 80) for name in ("x", "y", "backup"))
X1, X2, X3, Y1, Y2, B1, B2 = (Endpoint(f"192.0.2.{n}", 80) for n in (1, 2, 3, 11, 12, 21, 22))

KEY = bytes(16)
OTHER_KEY = bytes(15) + b"\1"


def three() -> Owners:
    """One URL with three addresses, and a backup."""
    owners = Owners(((X,), (BACKUP,)))
    owners.learn(X, [[X1, X2, X3]])
    owners.learn(BACKUP, [[B1]])
    return owners


def owner_of(owners: Owners, key: bytes = KEY) -> Endpoint:
    owner = owners.owner(key)
    assert owner is not None
    return owner.endpoint


def by_weight(*endpoints: Endpoint) -> list[Endpoint]:
    return in_order_of_weight(KEY, endpoints)


# By weight


def test_a_client_is_his_who_weighs_most_in_the_first_tier() -> None:
    assert owner_of(three()) == by_weight(X1, X2, X3)[0]


def test_nobody_is_owned_before_all_names_of_the_first_tier_are_known() -> None:
    owners = Owners(((X, Y), (BACKUP,)))
    owners.learn(X, [[X1]])
    owners.learn(BACKUP, [[B1]])
    assert owners.owner(KEY) is None
    owners.lacks(Y)
    assert owners.owner(KEY) == Candidate(X, X1)


def test_nobody_is_owned_where_no_name_gives_an_address() -> None:
    owners = Owners(((X,),))
    owners.lacks(X)
    assert owners.owner(KEY) is None
    assert owners.in_order(KEY, 0) == []


def test_a_name_that_fails_takes_back_nothing() -> None:
    owners = three()
    before = owner_of(owners)
    owners.lacks(X)
    assert owner_of(owners) == before


def test_the_addresses_of_all_urls_of_a_tier_are_one_crowd() -> None:
    owners = Owners(((X, Y),))
    owners.learn(X, [[X1, X2]])
    owners.learn(Y, [[Y1, Y2]])
    [level] = owners.in_order(KEY, 0)
    assert [one.endpoint for one in level] == by_weight(X1, X2, Y1, Y2)
    assert {one.origin for one in level if one.endpoint in (Y1, Y2)} == {Y}


def test_an_address_of_two_urls_counts_once() -> None:
    owners = Owners(((X, Y),))
    owners.learn(X, [[X1]])
    owners.learn(Y, [[X1]])
    assert owners.in_order(KEY, 0) == [[Candidate(X, X1)]]


def test_the_priorities_of_a_service_come_one_after_another() -> None:
    owners = Owners(((X, Y),))
    owners.learn(X, [[X1], [], [X2, X3]])
    owners.learn(Y, [[Y1]])
    found = [[one.endpoint for one in level] for level in owners.in_order(KEY, 0)]
    assert found == [by_weight(X1, Y1), by_weight(X2, X3)]
    assert owner_of(owners) == by_weight(X1, Y1)[0]


def test_it_tells_how_many_moved() -> None:
    owners = three()
    owners.settle(KEY, B1)
    assert repr(owners) == "<Owners of 4 endpoints, 1 clients moved>"


# Who moved


def test_without_a_verdict_nobody_moves() -> None:
    owners = three()
    own, other, _ = by_weight(X1, X2, X3)
    owners.answered(KEY, other, is_displaced=False)
    assert owner_of(owners) == own


def test_where_it_moved_it_stays() -> None:
    owners = three()
    owners.answered(KEY, B1, is_displaced=True)
    assert owner_of(owners) == B1
    assert owners.moved_to(KEY) == (1, Candidate(BACKUP, B1))
    assert owners.home(KEY) == Candidate(X, by_weight(X1, X2, X3)[0])
    owners.answered(KEY, X1, is_displaced=False)
    assert owner_of(owners) == B1


def test_it_moves_on_with_the_next_verdict() -> None:
    owners = three()
    own = owner_of(owners)
    owners.answered(KEY, B1, is_displaced=True)
    owners.answered(KEY, own, is_displaced=True)
    assert owner_of(owners) == own


def test_an_address_that_leaves_the_answers_is_nobodys_place() -> None:
    owners = three()
    owners.settle(KEY, B1)
    owners.learn(BACKUP, [[B2]])
    assert owner_of(owners) == by_weight(X1, X2, X3)[0]
    owners.learn(BACKUP, [[B1]])
    assert owner_of(owners) == by_weight(X1, X2, X3)[0]


def test_the_same_answer_again_changes_nothing() -> None:
    owners = three()
    owners.settle(KEY, X2)
    owners.learn(X, [[X3, X2, X1]])
    assert owner_of(owners) == X2


def test_a_session_stays_where_it_began_when_others_join() -> None:
    owners = Owners(((X,),))
    owners.learn(X, [[X1]])
    for n in range(50):
        owners.settle(b"%16d" % n, X1)
    owners.learn(X, [[X1, X2, X3]])
    assert {owner_of(owners, b"%16d" % n) for n in range(50)} == {X1}


def test_clients_stay_when_the_target_has_new_settings() -> None:
    before = three()
    before.settle(KEY, B1)
    before.settle(OTHER_KEY, X1)
    owners = Owners(((Y,), (BACKUP,)))
    owners.take_over(before)
    owners.learn(Y, [[Y1]])
    assert owner_of(owners) == B1
    assert owner_of(owners, OTHER_KEY) == Y1


def test_whoever_was_quiet_for_longest_is_forgotten_first() -> None:
    owners = three()
    names = [n.to_bytes(16, "big") for n in range(1 << 20, (1 << 20) + module.MAX_MOVED)]
    for key in (KEY, OTHER_KEY, *names[2:]):
        owners.settle(key, B1)
    owners.answered(KEY, B1, is_displaced=False)
    owners.settle(names[0], B1)
    assert owners.moved_to(KEY) is not None
    assert owners.moved_to(OTHER_KEY) is None


def test_of_more_clients_than_are_at_hand_each_is_weighed_again() -> None:
    owners = three()
    names = [n.to_bytes(16, "big") for n in range(module.MAX_HOMES + 10)]
    found = [owner_of(owners, name) for name in names]
    assert [owner_of(owners, name) for name in names] == found
    owners.learn(X, [[X1, X2]])
    assert {owner_of(owners, name) for name in names} == {X1, X2}


everybody = st.sampled_from([X1, X2, X3, B1])


@given(
    st.lists(
        st.tuples(st.sampled_from([KEY, OTHER_KEY]), everybody, st.booleans()),
        max_size=20,
    )
)
def test_the_last_move_counts_and_each_client_moves_alone(
    answers: list[tuple[bytes, Endpoint, bool]],
) -> None:
    owners = three()
    expected = {key: owner_of(owners, key) for key in (KEY, OTHER_KEY)}
    for key, endpoint, is_displaced in answers:
        owners.answered(key, endpoint, is_displaced=is_displaced)
        if is_displaced:
            expected[key] = endpoint
    assert {key: owner_of(owners, key) for key in expected} == expected


def test_two_that_know_the_same_choose_alike_whatever_the_order_they_learnt_it_in() -> None:
    found = set()
    for order in itertools.permutations([X1, X2, X3]):
        owners = Owners(((X,),))
        owners.learn(X, [order])
        found.add(owner_of(owners))
    assert len(found) == 1
