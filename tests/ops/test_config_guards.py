"""What says who may use a door: what each kind of value takes, and that a schema says the same."""

from __future__ import annotations

import pytest

from haclient.ops.config_guards import LAST_UID, SOCKET_MODE, UIDS
from haclient.ops.config_kinds import OneValue
from tests.support.json_schema import faults

assert isinstance(UIDS.item, OneValue)
UID: OneValue = UIDS.item


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (UID, 0, 0),
        (UID, 1000, 1000),
        (UID, LAST_UID, LAST_UID),
        (SOCKET_MODE, "0660", "0660"),
        (SOCKET_MODE, "666", "0666"),
        (SOCKET_MODE, "0000", "0000"),
    ],
)
def test_what_is_taken(kind: OneValue, value: object, read: object) -> None:
    assert kind.read(value) == read
    assert faults(kind.schema, value) == []


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (UID, -1, "a user id is wanted"),
        (UID, LAST_UID + 1, "a user id is wanted"),
        (UID, True, "a user id is wanted"),
        (UID, 1.0, "a user id is wanted"),
        (UID, "www-data", "id -u NAME"),
        (SOCKET_MODE, 660, "in a text"),
        (SOCKET_MODE, "0o660", "in a text"),
        (SOCKET_MODE, "1660", "in a text"),
        (SOCKET_MODE, "0668", "in a text"),
        (SOCKET_MODE, "rw-rw----", "in a text"),
    ],
)
def test_what_is_not(kind: OneValue, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        kind.read(value)
    # JSON knows no difference between 1 and 1.0.
    assert faults(kind.schema, value) or value == 1.0


def test_each_user_counts_once() -> None:
    assert UIDS.build((3, 1, 3)) == frozenset({1, 3})
