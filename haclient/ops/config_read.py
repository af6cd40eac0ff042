"""Tables of the file, as values, by the tables of keys; every mistake is noted, none stops the reading.

A reader that stops at the first mistake makes its user start five times to learn of five. Here each
value is read by itself, and what is wrong becomes an error in a list; what could not be read is
MISSING, and whatever needs it is not built. So every error is about something that stands in the file.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from haclient.core.config_check import Fault, KeyPath
from haclient.ops.config_error import ConfigError, key_name, nearest, shown, table_name
from haclient.ops.config_keys import OTHER_NAMES, Key
from haclient.ops.config_kinds import Kind, ListOf, OneValue, TableOf
from haclient.ops.toml_lines import line_of, toml_lines

__all__ = ["MISSING", "Missing", "Source", "is_whole"]

Made = TypeVar("Made")


class Missing(enum.Enum):
    """Stands for a value that could not be read."""

    MISSING = "missing"


MISSING = Missing.MISSING


def is_whole(value: object) -> bool:
    """Whether all of it could be read."""
    return value is not MISSING and not (isinstance(value, tuple) and MISSING in value)


class Source:
    """A file that is being read, and what is wrong in it."""

    __slots__ = ("_lines", "_text", "errors", "path", "tables", "warnings")

    def __init__(self, path: str, text: str, tables: Mapping[str, Any]) -> None:
        self.path = path
        self.tables = tables
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self._text = text
        self._lines: dict[KeyPath, int] | None = None

    # what is wrong

    def error(self, path: KeyPath, wanted: str, nearest: str = "") -> None:
        """Notes a mistake in what stands at `path`."""
        entry = self._entry(path, wanted, nearest)
        if entry not in self.errors:  # else what is wrong in [defaults] is told for each target
            self.errors.append(entry)

    def warn(self, path: KeyPath, wanted: str) -> None:
        """Notes what is no mistake, and probably not meant."""
        self.warnings.append(self._entry(path, wanted))

    def fault(self, fault: Fault) -> None:
        """Notes what `core` found wrong."""
        value = self._at(fault.path)
        near = nearest(value, fault.nearest) if isinstance(value, str) else ""
        problem = fault.problem
        if fault.because:
            problem += f" {shown(self._at(fault.because))} (line {self.line(fault.because)})"
        self.error(fault.path, f"{problem}; {fault.wanted}", near)

    def _entry(self, path: KeyPath, wanted: str, nearest: str = "") -> ConfigError:
        key, value = key_name(path), self._at(path)
        found = shown(value) if key and value is not MISSING else ""
        if not key and not isinstance(value, dict | Missing):
            # A value stands where a table belongs: what should be the table's name is its key.
            return ConfigError(
                self.path, self.line(path), "", table_name(path), shown(value), wanted
            )
        return ConfigError(
            self.path, self.line(path), table_name(path), key, found, wanted, nearest
        )

    def line(self, path: KeyPath) -> int:
        """The line of what stands at `path`, or of what it is missing from."""
        if self._lines is None:
            self._lines = toml_lines(self._text)
        return line_of(self._lines, path)

    def _at(self, path: KeyPath) -> object:
        value: Any = self.tables
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return MISSING
        return value

    # what there is

    def names(self, path: KeyPath) -> list[str]:
        """What the table at `path` has; nothing where there is no table."""
        value = self._at(path)
        return list(value) if isinstance(value, dict) else []

    def table(self, path: KeyPath) -> dict[str, Any]:
        """The table at `path`; empty where there is none, or something else."""
        value = self._at(path)
        if isinstance(value, dict):
            return value
        if value is not MISSING:
            self._no_table(path)
        return {}

    def _no_table(self, path: KeyPath) -> None:
        inside = f"; a key goes into [{path[0]}.NAME]" if len(path) > 1 else ""
        self.error(path, f"a table is wanted, as [{table_name(path)}]{inside}")

    def values(
        self,
        path: KeyPath,
        keys: Mapping[str, Key],
        *,
        ignored: Collection[str] = (),
        may_lack: bool = False,
    ) -> dict[str, Any]:
        """The values of the table at `path`, by attribute; each, or an element, may be MISSING.

        Args:
            path: of a table.
            keys: those that it may have.
            ignored: those that are not even looked at.
            may_lack: whether what is required is so elsewhere.
        """
        given = self._at(path)
        if given is MISSING:
            given = {}
        if not isinstance(given, dict):
            self._no_table(path)
            return {key.attribute or name: MISSING for name, key in keys.items() if key.is_required}
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name in ignored:
                continue
            if (key := keys.get(name)) is None:
                self._unknown((*path, name), name, keys)
                continue
            found = self._value((*path, name), key.kind, value)
            if not key.is_later:
                values[key.attribute or name] = found
        if not may_lack:
            values |= self.lacking(path, keys, given)
        return values

    def _unknown(self, path: KeyPath, name: str, keys: Mapping[str, Key]) -> None:
        near = nearest(name, keys, OTHER_NAMES)
        there_are = ", ".join(known for known, key in keys.items() if not key.is_later)
        self.error(path, "unknown key" if near else f"unknown key; there are {there_are}", near)

    def lacking(
        self, path: KeyPath, keys: Mapping[str, Key], given: Collection[str]
    ) -> dict[str, Any]:
        """What has to be given and is not, as MISSING."""
        names = [name for name, key in keys.items() if key.is_required and name not in given]
        for name in names:
            self.error((*path, name), f"it is missing; write {name} = {keys[name].example}")
        return {keys[name].attribute or name: MISSING for name in names}

    def _value(self, path: KeyPath, kind: Kind, given: object) -> object:
        match kind:
            case OneValue():
                return self._one_value(path, kind, given)
            case ListOf():
                return self._list(path, kind, given)
            case TableOf():
                if not isinstance(given, dict):
                    names = ", ".join(kind.keys)
                    self.error(path, f"a table with {names} is wanted")
                    return MISSING
                return self.build(path, kind.build, self.values(path, kind.keys))

    def _one_value(self, path: KeyPath, kind: OneValue, given: object) -> object:
        try:
            value = kind.read(given)
        except ValueError as exc:
            self.error(path, str(exc))
            return MISSING
        if kind.is_path:
            # Absolute, for a reload is to find the same path, whatever the file was called at the start.
            return os.path.join(os.path.dirname(os.path.abspath(self.path)), str(value))
        return value

    def _list(self, path: KeyPath, kind: ListOf, given: object) -> object:
        if not isinstance(given, list) or len(given) < kind.least:
            self.error(path, kind.wanted)
            return MISSING
        items = tuple(
            self._value((*path, number), kind.item, item) for number, item in enumerate(given)
        )
        return items if MISSING in items else kind.build(items)

    def build(
        self, path: KeyPath, build: Callable[..., Made], values: Mapping[str, Any]
    ) -> Made | Missing:
        """What `build` makes of the values; MISSING if one is, or if they do not go together."""
        if not all(map(is_whole, values.values())):
            return MISSING
        try:
            return build(**values)
        except ValueError as exc:
            self.error(path, str(exc))
            return MISSING
