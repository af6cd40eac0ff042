"""The configuration in force, in the names of the file, without secrets: `GET /config`.

What is shown is what was understood: every key with its value, defaults included, durations in seconds
and sizes in bytes (the file takes both as plain numbers). The tables of keys say what belongs where, so
a key that the file has cannot be missing here. What a URL hides is masked; the path of a key file is no
secret, what is in it is not read.
"""

from __future__ import annotations

import enum

import msgspec

from haclient.core.allow import AllowList
from haclient.core.config import Config
from haclient.core.url import Url
from haclient.ops.config_keys import (
    ADMIN,
    DAEMON,
    LISTENER,
    LOG,
    RESOLVER,
    TARGET,
    Keys,
)
from haclient.ops.config_kinds import Kind, ListOf, TableOf
from haclient.ops.log_text import masked

__all__ = ["config_view"]


def config_view(config: Config) -> dict[str, object]:
    """All of it, as JSON can hold it."""
    return {
        "target": {name: _table(each, TARGET) for name, each in config.targets.items()},
        "listener": {each.name: _table(each, LISTENER) for each in config.listeners},
        "resolver": _table(config.resolver, RESOLVER),
        "admin": None if config.admin is None else _table(config.admin, ADMIN),
        "log": _table(config.log, LOG),
        "daemon": _table(config, DAEMON),
    }


def _table(values: msgspec.Struct, keys: Keys) -> dict[str, object]:
    return {
        name: _shown(getattr(values, key.attribute or name), _inner(key.kind))
        for name, key in keys.items()
        if not key.is_later
    }


def _inner(kind: Kind) -> Keys:
    """Of a table within the table."""
    match kind:
        case TableOf():
            return kind.keys
        case ListOf():
            return _inner(kind.item)
        case _:
            return {}


def _shown(value: object, inner: Keys) -> object:
    match value:
        case Url():
            return masked(str(value))
        case enum.Enum():
            return value.value
        case AllowList():
            return [rule.text for rule in value.rules]
        case frozenset():
            return sorted(value)
        case list() | tuple():
            return [_shown(each, inner) for each in value]
        case msgspec.Struct() if inner:
            return _table(value, inner)
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
