"""The tables of keys against what is made of them, and against the manual."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from haclient.core.config import (
    AdminSettings,
    AuthSettings,
    Config,
    DoorTls,
    ListenerSettings,
    LogSettings,
    ResolverSettings,
    Route,
)
from haclient.core.spec import HealthRequests, Target, TlsSettings
from haclient.ops.config_error import shown
from haclient.ops.config_file import check_bytes
from haclient.ops.config_keys import (
    ADMIN,
    AUTH,
    DAEMON,
    HEALTH,
    LISTENER,
    LISTENER_TLS,
    LOG,
    RESOLVER,
    ROUTE,
    TARGET,
    TLS,
    Keys,
)
from haclient.ops.config_read import Source

MANUAL = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")

TABLES: dict[str, tuple[Keys, type[msgspec.Struct], set[str]]] = {
    "target": (TARGET, Target, set()),
    "target.health": (HEALTH, HealthRequests, set()),
    "target.tls": (TLS, TlsSettings, set()),
    "listener": (LISTENER, ListenerSettings, {"name"}),
    "listener.auth": (AUTH, AuthSettings, set()),
    "listener.tls": (LISTENER_TLS, DoorTls, set()),
    "listener.routes": (ROUTE, Route, set()),
    "resolver": (RESOLVER, ResolverSettings, set()),
    "admin": (ADMIN, AdminSettings, set()),
    "log": (LOG, LogSettings, set()),
    "daemon": (DAEMON, Config, {"targets", "defaults", "listeners", "resolver", "admin", "log"}),
}
"""The keys, what they become, and its fields that are no keys. The names are the manual's anchors."""

EACH = [(table, name) for table, (keys, _, _) in TABLES.items() for name in keys]


@pytest.mark.parametrize("table", TABLES)
def test_the_keys_are_the_fields(table: str) -> None:
    keys, struct, others = TABLES[table]
    attributes = [key.attribute or name for name, key in keys.items() if not key.is_later]

    assert sorted(attributes) == sorted(set(struct.__struct_fields__) - others)


@pytest.mark.parametrize("table", TABLES)
def test_the_defaults_are_those_of_the_fields(table: str) -> None:
    keys, struct, _ = TABLES[table]
    fields = {field.name: field for field in msgspec.structs.fields(struct)}
    source = Source(
        "f", "", {"x": {n: k.default for n, k in keys.items() if k.default is not None}}
    )
    values = source.values(("x",), keys, may_lack=True)

    assert not source.errors
    assert values or table == "admin"  # its one key has to be given
    for name, value in values.items():
        field = fields[name]
        made = field.default
        if made is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            made = field.default_factory()
        assert value == made, name


def test_what_has_no_default_is_required_or_none_or_later() -> None:
    for keys, struct, _ in TABLES.values():
        fields = {field.name: field for field in msgspec.structs.fields(struct)}
        for name, key in keys.items():
            if key.default is None and not key.is_later:
                default: Any = fields[key.attribute or name].default
                assert key.is_required == (default is msgspec.NODEFAULT), name
                assert key.is_required or default in (None, ""), name


@pytest.mark.parametrize(("table", "name"), EACH)
def test_what_is_not_in_this_version_is_refused_and_says_so(table: str, name: str) -> None:
    key = TABLES[table][0][name]
    assert key.is_later == ("this version" in key.help or "in this version" in key.help)


def test_an_example_is_read() -> None:
    text = ""
    for table, keys in (("target.NAME", TARGET), ("listener.l", LISTENER), ("admin", ADMIN)):
        text += f"[{table}]\n" + "".join(
            f"{name} = {key.example}\n" for name, key in keys.items() if key.example
        )
    text += "[listener.l2]\nbind = '127.0.0.1:1'\nroutes = [{ target = " + ROUTE["target"].example
    text = text.replace("[admin]", 'target = "NAME"\n[admin]') + " }]"

    assert check_bytes("f", text.encode()).errors == ()


# --- the manual -----------------------------------------------------------------------------------


def rows(table: str) -> dict[str, list[str]]:
    """The manual's rows of a table's section, by key."""
    section = MANUAL.partition(f'<a id="{table}"></a>')[2].partition("<a id=")[0]
    found = [line.strip("|").split(" | ") for line in section.split("\n") if line.startswith("| `")]
    return {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in found}


@pytest.mark.parametrize("table", TABLES)
def test_the_manual_has_the_keys_and_no_others(table: str) -> None:
    assert list(rows(table)) == list(TABLES[table][0])


@pytest.mark.parametrize(("table", "name"), EACH)
def test_the_manual_has_each_keys_kind_and_default(table: str, name: str) -> None:
    key = TABLES[table][0][name]
    kind, default, *rest = rows(table)[name]

    assert kind.replace("`", "") == key.kind.words.replace("`", "")
    if key.is_required:
        assert default == "none: it must be given"
    elif key.default is not None:
        assert default == f"`{shown(key.default)}`"
    else:
        assert re.fullmatch(r"none: .+", default)
    assert len(rest) >= 2, "what it means, who changes it"
    assert all(rest)
