"""The feature table: what it claims of haclient has a page that says it and a test that shows it.

Whether a test shows what the row says, only a reader can tell; that it is there, and that a "no" claims nothing, this
can. Links are followed by test_docs.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")

SYSTEMS = ("datasnap", "vaadin", "diffusion", "grijjy", "high-availability-http")

WIDTHS = {"shown": 6, "not shown": 5}
"""Cells of a row: a feature, haclient, by which test, three others; without a test where there is nothing to show."""


def rows() -> list[list[str]]:
    """The cells of every row, without those of the tables' heads."""
    lines = [
        line for line in PAGE.splitlines() if line.startswith("| ") and "| haclient |" not in line
    ]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def shown() -> list[list[str]]:
    return [row for row in rows() if len(row) == WIDTHS["shown"]]


def named(source: str) -> set[str]:
    """The test functions of a file, those in classes too."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, functions)}


def test_there_are_rows_and_no_crooked_ones() -> None:
    assert len(shown()) > 40
    assert {len(row) for row in rows()} == set(WIDTHS.values())
    assert all(cell for row in rows() for cell in row)


@pytest.mark.parametrize("row", shown(), ids=lambda row: row[0])
def test_what_is_claimed_has_a_page_and_a_test(row: list[str]) -> None:
    links = re.findall(r"\]\(([\w/.-]+\.md)(?:#[\w-]+)?\)", row[1])
    found = re.fullmatch(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", row[2])

    assert links
    assert found, f"{row[2]} names no test"
    path = ROOT / found[1]
    assert path.exists()
    assert found[2] is None or found[2] in named(path.read_text(encoding="utf-8"))


def test_what_is_not_done_claims_nothing() -> None:
    denied = [row for row in rows() if len(row) == WIDTHS["not shown"]]

    assert len(denied) >= 5
    assert all(row[1].startswith("no") for row in denied)
    assert not [row for row in shown() if row[1].startswith("no")]


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_has_its_example_in_the_table(system: str) -> None:
    assert f"](examples/{system}.md)" in PAGE
