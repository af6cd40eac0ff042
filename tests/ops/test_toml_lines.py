"""On which line each key stands: known files, and files that are written by chance."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.config_check import KeyPath
from haclient.ops.toml_lines import line_of, toml_lines

WHOLE = '''\
# order = "a comment"
title = """
order = 1
[target.orders]
"""

[target.orders]
urls = [  # the first
  "http://a.test/#order",
  # "http://b.test"
  "http://c.test",
]
tls.ca_file = 'C:\\path\\'
tls."key_file" = "a \\" ] }"
order = "listed"

[listener."a.b"]
routes = [{ path = "/", target = "x" }, { path = "/y" },
  { target = "]" }]
when = 1979-05-27 07:32:00  # a space

[[many]]
key = 1
[[many]]
key = 2
[many.below]
[[many.deep]]
key = [[1], [
  2]]
'''


def test_a_file_with_every_form() -> None:
    lines = toml_lines(WHOLE)

    assert tomllib.loads(WHOLE)
    assert lines == {
        ("title",): 2,
        ("target",): 7,
        ("target", "orders"): 7,
        ("target", "orders", "urls"): 8,
        ("target", "orders", "urls", 0): 9,
        ("target", "orders", "urls", 1): 11,
        ("target", "orders", "tls"): 13,
        ("target", "orders", "tls", "ca_file"): 13,
        ("target", "orders", "tls", "key_file"): 14,
        ("target", "orders", "order"): 15,
        ("listener",): 17,
        ("listener", "a.b"): 17,
        ("listener", "a.b", "routes"): 18,
        ("listener", "a.b", "routes", 0): 18,
        ("listener", "a.b", "routes", 0, "path"): 18,
        ("listener", "a.b", "routes", 0, "target"): 18,
        ("listener", "a.b", "routes", 1): 18,
        ("listener", "a.b", "routes", 1, "path"): 18,
        ("listener", "a.b", "routes", 2): 19,
        ("listener", "a.b", "routes", 2, "target"): 19,
        ("listener", "a.b", "when"): 20,
        ("many",): 22,
        ("many", 0): 22,
        ("many", 0, "key"): 23,
        ("many", 1): 24,
        ("many", 1, "key"): 25,
        ("many", 1, "below"): 26,
        ("many", 1, "deep"): 27,
        ("many", 1, "deep", 0): 27,
        ("many", 1, "deep", 0, "key"): 28,
        ("many", 1, "deep", 0, "key", 0): 28,
        ("many", 1, "deep", 0, "key", 0, 0): 28,
        ("many", 1, "deep", 0, "key", 1): 28,
        ("many", 1, "deep", 0, "key", 1, 0): 29,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing", "  \t\n#\n"])
def test_a_file_without_keys(text: str) -> None:
    assert toml_lines(text) == {}


def test_line_ends_of_windows() -> None:
    assert toml_lines('a = """\r\n"""\r\nb = 1\r\n') == {("a",): 1, ("b",): 3}


def test_the_line_of_what_is_not_there_is_that_of_what_it_is_in() -> None:
    lines = toml_lines("\n[a]\nb = 1")

    assert line_of(lines, ("a", "b")) == 3
    assert line_of(lines, ("a", "c")) == 2
    assert line_of(lines, ("a", "c", 0, "d")) == 2
    assert line_of(lines, ("z",)) == 0
    assert line_of(lines, ()) == 0


# --- written by chance ----------------------------------------------------------------------------

NASTY = st.text(st.sampled_from("abz09._-=#[]{},\"'\\\n \té"), max_size=8)
"""Everything that ends something in TOML."""


class Writer:
    """Writes TOML, and notes what it wrote where."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.names = 0

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def write(self, *choices: str) -> None:
        self.text += self.draw(st.sampled_from(choices))

    def note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def file(self) -> None:
        self.pairs(())
        for _ in range(self.draw(st.integers(0, 4))):
            self.table()

    def table(self) -> None:
        name, word = self.key()
        if self.draw(st.booleans()):
            for number in range(self.draw(st.integers(1, 3))):
                self.write("[[", "[[ ")
                self.note((name,))
                self.note((name, number))
                self.text += word
                self.write("]]\n", " ]] # ]\n")
                self.pairs((name, number))
                if self.draw(st.booleans()):
                    self.header([name, number], [word])
        else:
            self.header([], [])

    def header(self, path: list[str | int], words: list[str]) -> None:
        """[a.b], in which the tables above may be new."""
        for _ in range(self.draw(st.integers(1, 2))):
            name, word = self.key()
            path, words = [*path, name], [*words, word]
        self.write("", " ", "\n", "# [x]\n")
        self.write("[", "[ ")
        for end in range(1, len(path) + 1):
            self.note(tuple(path[:end]))
        self.text += self.draw(st.sampled_from([".", " . "])).join(words)
        self.write("]\n", " ] # ]\n")
        self.pairs(tuple(path))

    def pairs(self, path: KeyPath) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.write("", "\n", "  ", "# a = 1\n", "\t\n")
            self.pair(path, may_break=True)
            self.write("\n", " # = [\n", "\n\n")

    def pair(self, path: KeyPath, *, may_break: bool) -> None:
        for _ in range(self.draw(st.integers(1, 2))):
            name, word = self.key()
            path = (*path, name)
            self.note(path)
            self.text += word
            if self.draw(st.booleans()):
                break
            self.write(".", " . ")
        else:
            # A dot was written last.
            name, word = self.key()
            path = (*path, name)
            self.note(path)
            self.text += word
        self.write("=", " = ", "\t=")
        self.value(path, depth=0, may_break=may_break)

    def key(self) -> tuple[str, str]:
        """A key that there is no other of, and how it is written."""
        self.names += 1
        name = f"{self.draw(NASTY)}{self.names}"
        forms = [quoted(name)]
        if re.fullmatch(r"[A-Za-z0-9_-]+", name):
            forms.append(name)
        if not re.search(r"['\n]", name):
            forms.append(f"'{name}'")
        return name, self.draw(st.sampled_from(forms))

    def value(self, path: KeyPath, *, depth: int, may_break: bool) -> None:
        kind = self.draw(st.sampled_from(["word", "text", "long", "array", "table"][: 5 - depth]))
        if kind == "array":
            self.array(path, depth, may_break)
        elif kind == "table":
            self.inline_table(path)
        elif kind == "long" and may_break:
            self.long_text()
        elif kind == "text":
            self.text += quoted(self.draw(NASTY))
        else:
            self.write(
                "1", "-0.5e3", "true", "1979-05-27 07:32:00", "07:32:00", "0x_f".replace("_", "")
            )

    def long_text(self) -> None:
        text = self.draw(NASTY)
        if self.draw(st.booleans()):
            body = text.replace("\\", "\\\\").replace('"""', '""\\"')
            body = re.sub(r'"{3,}\Z|"\Z', lambda found: found[0].replace('"', '\\"'), body)
            self.text += f'"""{body}"""'
        else:
            self.text += f"'''{text.replace(chr(39) * 3, '')}'''"

    def array(self, path: KeyPath, depth: int, may_break: bool) -> None:
        blanks = ("", " ", "\n", " # ],\n  ") if may_break else ("", " ")
        self.text += "["
        count = self.draw(st.integers(0, 3))
        for number in range(count):
            self.write(*blanks)
            self.note((*path, number))
            self.value((*path, number), depth=depth + 1, may_break=may_break)
            self.write(*blanks)
            if number < count - 1:
                self.text += ","
        if count:
            self.write("", ",")
        self.write(*blanks)
        self.text += "]"

    def inline_table(self, path: KeyPath) -> None:
        self.write("{", "{ ")
        count = self.draw(st.integers(0, 2))
        for number in range(count):
            self.pair(path, may_break=False)
            if number < count - 1:
                self.write(",", ", ")
        self.write("}", " }")


def quoted(text: str) -> str:
    return json.dumps(text)


def paths(value: object, path: KeyPath = ()) -> set[KeyPath]:
    """Every path into a value."""
    if isinstance(value, dict):
        items: list[tuple[str | int, object]] = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return {path}
    return {path}.union(*(paths(one, (*path, part)) for part, one in items))


@given(st.data())
def test_each_key_is_found_where_it_was_written(data: st.DataObject) -> None:
    writer = Writer(data)
    writer.file()

    assert paths(tomllib.loads(writer.text)) - {()} == set(writer.lines), writer.text
    assert toml_lines(writer.text) == writer.lines, writer.text
