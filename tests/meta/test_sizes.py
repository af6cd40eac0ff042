"""No file of the package is longer than 500 lines, no function longer than 60.

What is longer does two things. The aim is lower (150 lines, ten lines); these are the walls.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "haclient"
FILES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE = 500
MAX_FUNCTION = 60
"""Lines, from its first decorator to its end, docstring and comments included."""


def too_long(name: str, source: str) -> Iterator[str]:
    """A line for each offender: what, where, how long."""
    lines = source.count("\n")
    if lines > MAX_FILE:
        yield f"{name} has {lines} lines, {MAX_FILE} are allowed: find the two things it does"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            length = (node.end_lineno or first) - first + 1
            if length > MAX_FUNCTION:
                yield (
                    f"{name}, line {first}: {node.name} has {length} lines, {MAX_FUNCTION} are "
                    "allowed: give a part of it a name of its own"
                )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_too_long(path: Path) -> None:
    found = list(too_long(str(path.relative_to(PACKAGE.parent)), path.read_text()))
    assert not found, "\n" + "\n".join(found)


def test_the_package_was_found() -> None:
    assert PACKAGE / "core" / "race.py" in FILES


# The measure itself


def function(lines: int, decorators: int = 0, indent: str = "", word: str = "def") -> str:
    heads = "".join(f"{indent}@d{n}\n" for n in range(decorators))
    return heads + f"{indent}{word} f():\n" + f"{indent}    pass\n" * (lines - decorators - 1)


@pytest.mark.parametrize(
    ("source", "where"),
    [
        pytest.param("x = 1\n" * 501, "m.py has 501 lines", id="a file"),
        pytest.param(function(61), "m.py, line 1: f has 61 lines", id="a function"),
        pytest.param(function(61, decorators=3), "line 1: f has 61 lines", id="its decorators"),
        pytest.param(function(61, word="async def"), "line 1: f has 61 lines", id="an async one"),
        pytest.param(
            "class C:\n" + function(61, indent="    "), "line 2: f has 61 lines", id="a method"
        ),
        pytest.param(
            "def outer():\n" + function(61, indent="    "),
            "line 2: f has 61 lines",
            id="a function within one",
        ),
    ],
)
def test_what_is_too_long(source: str, where: str) -> None:
    assert any(where in line for line in too_long("m.py", source))


def test_what_is_just_short_enough() -> None:
    assert list(too_long("m.py", "x = 1\n" * 440 + function(60))) == []
