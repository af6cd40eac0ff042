"""On which line of a TOML file each key stands.

An error that says "line 214" is mended at once; one that says only "[target.orders] order" is looked
for in a file of thirty targets. tomllib reads values and forgets where they stood, and the parsers
that remember are a dependency for one number. Looking for the key's name with a pattern finds it in
comments, in texts over several lines and in other tables.

So this walks over the file once more, statement by statement, and notes the line of each key, of each
header, and of each element of an array. It reads only what tomllib has accepted, so it need not
find mistakes, only boundaries: where a text, an array, an inline table ends. What a quoted key says is
asked of tomllib itself.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from haclient.core.config_check import KeyPath

__all__ = ["line_of", "toml_lines"]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# Up to two quotes more than the three that end it belong to the text.
_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]*")


def toml_lines(text: str) -> dict[KeyPath, int]:
    """Returns the line, from 1 on, of each key, header and array element; `text` is valid TOML.

    What is given several times, as the table "a" by [a.b] and [a.c], has its first line.
    """
    scan = _Scan(text.replace("\r\n", "\n"))
    scan.run()
    return scan.lines


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of `path`, or of what it is in, if it is not there; 0 if nothing of it is."""
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 0)


class _Scan:
    """One walk over a file."""

    __slots__ = ("_arrays", "_at", "_counted_at", "_line", "_text", "lines")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted_at = 0
        self._arrays: dict[KeyPath, int] = {}
        """Arrays of tables, made by [[headers]]: the index of the last element."""
        self.lines: dict[KeyPath, int] = {}

    def run(self) -> None:
        """Every statement of the file."""
        table: KeyPath = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        self._skip(_SPACE)
        line = self._count()
        *parents, last = self._key()
        path = self._walk((), parents, line)
        path = (*path, last)
        self.lines.setdefault(path, line)
        if is_array:
            self._arrays[path] = self._arrays.get(path, -1) + 1
        if path in self._arrays:
            path = (*path, self._arrays[path])
            self.lines.setdefault(path, line)
        self._at += 2 if is_array else 1
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._count()
        *parents, last = self._key()
        path = (*self._walk(table, parents, line), last)
        self.lines.setdefault(path, line)
        self._at += 1  # "="
        self._skip(_SPACE)
        self._value(path)

    def _walk(self, path: KeyPath, parts: list[str], line: int) -> KeyPath:
        """The path below `path`, through the last element of each array of tables."""
        for part in parts:
            path = (*path, part)
            self.lines.setdefault(path, line)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _key(self) -> list[str]:
        """A key's parts, up to what stands behind it."""
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            parts.append(self._part())
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _part(self) -> str:
        if self._text[self._at] in "\"'":
            token = self._skip(_TEXT)
            return str(tomllib.loads(f"key = {token}")["key"])
        return self._skip(_BARE)

    def _value(self, path: KeyPath) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._skip(_TEXT if first in "\"'" else _OTHER)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        while not self._closes("]"):
            element = (*path, number)
            self.lines[element] = self._count()
            self._value(element)
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while not self._closes("}"):
            self._pair(path)

    def _closes(self, bracket: str) -> bool:
        """Steps to the next element, or over the closing bracket."""
        self._skip(_BLANK)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_BLANK)
        is_end = self._text[self._at] == bracket
        self._at += is_end
        return is_end

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None, f"not TOML at character {self._at}"
        self._at = found.end()
        return found.group()

    def _count(self) -> int:
        """The line where the walk is."""
        self._line += self._text.count("\n", self._counted_at, self._at)
        self._counted_at = self._at
        return self._line
