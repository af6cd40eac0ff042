"""The table in a layer's docstring names each of its modules, and no other.

A row is four spaces, the names, two spaces, and what they are for; the words may be missing.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "haclient"
LAYERS = ("core", "net", "engine", "proxy", "ops")
ROW = re.compile(r"^ {4}(\w+(?:, \w+)*)(?: {2,}\S.*)?$", re.MULTILINE)


def named(docstring: str) -> list[str]:
    return [name for row in ROW.findall(docstring) for name in row.split(", ")]


def modules(layer: str) -> set[str]:
    return {path.stem for path in (PACKAGE / layer).glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("layer", LAYERS)
def test_each_module_is_in_its_layers_table_once(layer: str) -> None:
    file = PACKAGE / layer / "__init__.py"
    names = Counter(named(ast.get_docstring(ast.parse(file.read_text())) or ""))
    missing, strays = modules(layer) - set(names), set(names) - modules(layer)
    assert not missing, f"name {', '.join(sorted(missing))} in the table of {file}"
    assert not strays, f"{', '.join(sorted(strays))}: no module; take it out of the table of {file}"
    assert names.total() == len(names), f"twice in the table of {file}: {names.most_common(2)}"


def test_each_core_module_is_in_the_design() -> None:
    page = (PACKAGE.parent / "docs" / "design.md").read_text()
    part = page.partition("## Machines")[2].partition("## Invariants")[0]
    missing = [name for name in sorted(modules("core")) if f"`{name}`" not in part]
    assert not missing, f"say in docs/design.md, Machines, what {', '.join(missing)} is for"


def test_the_layers_were_found() -> None:
    assert "race" in modules("core")
    assert "main" in modules("ops")


# The search itself


def test_what_a_row_is() -> None:
    table = "Words of prose.\n\n    race       which wins\n    pool, watch    two\n    demo\n    a line of words\n"
    assert named(table) == ["race", "pool", "watch", "demo"]
