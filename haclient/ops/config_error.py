"""What is wrong in a configuration file, as a value and as one line.

    haclient.toml:7: [target.orders] order = "fast": one of "fastest", … is wanted; did you mean fastest?

`file:line:` is the form that editors and CI jump to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from haclient.core.config_check import KeyPath
from haclient.ops.style import printable

__all__ = ["ConfigError", "key_name", "nearest", "shown", "table_name"]

LONGEST_SHOWN = 100
"""Characters of a value: enough to know it by, and the error stays one line of a terminal or two."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CREDENTIALS = re.compile(r"//[^/?#@\s\"]*@")

WITH_NAMES = {"target", "listener"}
"""Tables of tables: [target.NAME]."""


class ConfigError(msgspec.Struct, frozen=True):
    """One mistake.

    Attributes:
        line: from 1 on; 0 where the file has no such place.
        table: without brackets; empty for the file as a whole.
        key: empty for the table as a whole.
        found: the value as it would be written, if there is one.
        wanted: what is wrong, and what would do.
        nearest: what was probably meant.
    """

    file: str
    line: int
    table: str
    key: str
    found: str
    wanted: str
    nearest: str = ""

    def __str__(self) -> str:
        return self.text()

    def text(self, label: str = "") -> str:
        """One line; `label` stands behind the place, where compilers have "warning"."""
        parts = [f"{self.file}:{self.line}" if self.line else self.file, *filter(None, [label])]
        subject = f"[{self.table}] {self.key}".strip() if self.table else self.key
        if self.found:
            subject += f" = {self.found}"
        parts += [part for part in (subject, self.wanted) if part]
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return printable(": ".join(parts) + hint)


def nearest(word: str, known: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """The likely misspelt word of those that are known; empty: none.

    Args:
        word: what was found.
        known: what would have been right.
        others: what a word is called elsewhere, and which of `known` that is.
    """
    known = list(known)
    meant = (others or {}).get(word.lower())
    if meant in known:
        return meant
    import difflib  # for a misspelling alone

    found = difflib.get_close_matches(word, known, n=1)
    return found[0] if found else ""


def table_name(path: KeyPath) -> str:
    """The table that `path` leads into, as its header has it."""
    return ".".join(map(_quoted, path[: _depth(path)]))


def key_name(path: KeyPath) -> str:
    """What of `path` is behind the table: "tls.ca_file", "routes[1].path"."""
    name = ""
    for part in path[_depth(path) :]:
        name += (
            f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" if name else _quoted(part)
        )
    return name


def _depth(path: KeyPath) -> int:
    return 2 if path and path[0] in WITH_NAMES else 1


def _quoted(part: str | int) -> str:
    text = str(part)
    return text if _BARE.fullmatch(text) else msgspec.json.encode(text).decode()


def shown(value: object) -> str:
    """A value as TOML would have it, on one line, not endless, and without a password."""
    text = _CREDENTIALS.sub("//***@", _toml(value))
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_quoted(key)} = {_toml(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return str(value).lower() if isinstance(value, bool) else str(value)
