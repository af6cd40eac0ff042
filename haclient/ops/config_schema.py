"""The configuration file as a JSON schema, for editors that complete and check TOML by one.

    haclient check --schema > haclient.schema.json

Even Better TOML, taplo and others take it. It is made from the tables of keys, so it knows what the
daemon knows: each key with its kind, default and meaning. What it cannot say, for a schema sees one
value at a time, `haclient check` does: windows, targets that nobody defines, doors that collide.
"""

from __future__ import annotations

from typing import Any

from haclient.ops.config_keys import ADMIN, DAEMON, LISTENER, LOG, RESOLVER, TARGET, Keys
from haclient.ops.config_kinds import Kind, ListOf, OneValue, Schema, TableOf

__all__ = ["schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

NAME = {"pattern": r"^[A-Za-z0-9_.-]{1,64}$"}


def schema() -> Schema:
    """The schema of the whole file."""
    return {
        "$schema": DIALECT,
        "title": "haclient.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "defaults": _table(TARGET, may_lack=True, help="any key of a target, for all of them"),
            # What is required may stand in [defaults].
            "target": _named(_table(TARGET, may_lack=True, help="a named service")),
            "listener": _named(_table(LISTENER, help="one local door")),
            "resolver": _table(RESOLVER, help="whom names are asked of"),
            "admin": _table(ADMIN, help="where the daemon is asked how it is"),
            "log": _table(LOG, help="how the daemon tells what happens"),
            "daemon": _table(DAEMON, help="the process as a whole"),
        },
    }


def _named(table: Schema) -> Schema:
    return {"type": "object", "propertyNames": NAME, "additionalProperties": table}


def _table(keys: Keys, *, may_lack: bool = False, help: str = "") -> Schema:  # noqa: A002
    table: Schema = {"type": "object", "additionalProperties": False}
    if help:
        table["description"] = help
    required = [name for name, key in keys.items() if key.is_required]
    if required and not may_lack:
        table["required"] = required
    table["properties"] = {}
    for name, key in keys.items():
        more: dict[str, Any] = {"description": key.help}
        if key.default is not None:
            more["default"] = key.default
        table["properties"][name] = {**_kind(key.kind), **more}
    return table


def _kind(kind: Kind) -> Schema:
    match kind:
        case OneValue():
            return kind.schema
        case ListOf():
            found: Schema = {"type": "array", "items": _kind(kind.item)}
            return {**found, "minItems": kind.least} if kind.least else found
        case TableOf():
            return _table(kind.keys)
