"""What says who may use a door: what each kind of value takes, and that a schema says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from haclient.core.config import AuthSettings, DoorTls, ListenerSettings, TcpBind
from haclient.ops.config_guards import LAST_UID, REALM, SOCKET_MODE, UIDS, guard_faults
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


def test_each_file_of_a_door_that_cannot_be_used(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    listener = ListenerSettings(
        name="l",
        bind=TcpBind("127.0.0.1", 80),
        auth=AuthSettings(users_file=missing),
        tls=DoorTls(cert_file=missing, client_ca_file=missing),
    )
    found = dict(guard_faults(listener))

    assert list(found) == [("auth", "users_file"), ("tls", "client_ca_file"), ("tls", "cert_file")]
    assert all("No such file or directory" in what for what in found.values())


@pytest.mark.parametrize("value", ["orders", "a (b)!", "x" * 100])
def test_realms(value: str) -> None:
    assert REALM.read(value) == value
    assert faults(REALM.schema, value) == []


@pytest.mark.parametrize("value", ["", 'a"b', "a\\b", "ü", "a\nb", "x" * 101, 1])
def test_no_realms(value: object) -> None:
    with pytest.raises(ValueError, match="a realm is up to 100 ASCII characters"):
        REALM.read(value)
    assert faults(REALM.schema, value)
