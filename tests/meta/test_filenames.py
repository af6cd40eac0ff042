"""Where a module's tests are: no need to search, and no module without any.

core/ has a test file of each module's name, and no test file there is of no module. A module of
net/, engine/ or proxy/ has one too, in any of the places where its layer is tested (on the simulated
network, on loopback sockets, on the wire's bytes), or a test file there imports it: one may do for a
module and what that drives.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "haclient", ROOT / "tests"

MORE = ("", "_properties", "_machine")
"""What a test file's name may add to the module's: Hypothesis properties, a state machine."""

TESTED_IN = {
    "net": ("net", "loopback", "wire"),
    "engine": ("engine", "loopback"),
    "proxy": ("proxy", "loopback"),
}


def modules(layer: str) -> list[str]:
    files = sorted((PACKAGE / layer).glob("*.py"))
    return [path.stem for path in files if path.stem != "__init__"]


def untested(names: list[str], test_files: list[str]) -> list[str]:
    """The modules that no test file is named for."""
    return [name for name in names if f"test_{name}.py" not in test_files]


def homeless(names: list[str], test_files: list[str]) -> list[str]:
    """The test files that are named for no module."""
    known = {f"test_{name}{more}.py" for name in names for more in MORE}
    return [file for file in test_files if file not in known]


def imports(source: str) -> Iterator[str]:
    """The full name of each module that is imported, or looked for a name in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


CORE_TESTS = sorted(path.name for path in (TESTS / "core").glob("test_*.py"))


def test_each_module_of_core_has_its_test_file() -> None:
    missing = untested(modules("core"), CORE_TESTS)
    assert not missing, f"write tests/core/test_NAME.py for {', '.join(missing)}"


def test_each_test_file_of_core_has_its_module() -> None:
    strays = homeless(modules("core"), CORE_TESTS)
    assert not strays, (
        f"{', '.join(strays)}: name a test file for its module, test_NAME.py, "
        "test_NAME_properties.py or test_NAME_machine.py"
    )


@pytest.mark.parametrize("layer", TESTED_IN)
def test_each_module_of_a_layer_that_acts_is_tested_there(layer: str) -> None:
    files = [path for place in TESTED_IN[layer] for path in (TESTS / place).glob("test_*.py")]
    imported = {name for path in files for name in imports(path.read_text())}
    unnamed = untested(modules(layer), [path.name for path in files])
    missing = [name for name in unnamed if f"haclient.{layer}.{name}" not in imported]
    places = " or ".join(f"tests/{place}" for place in TESTED_IN[layer])
    assert not missing, f"{', '.join(missing)}: write test_NAME.py in {places}, or import it there"


def test_the_package_was_found() -> None:
    assert "race" in modules("core")
    assert "pool" in modules("net")
    assert "exchange" in modules("engine")
    assert "service" in modules("proxy")


# The search itself


def test_what_is_untested_and_what_is_homeless() -> None:
    names = ["race", "pool_state"]
    files = ["test_race.py", "test_race_properties.py", "test_pool_state_machine.py", "test_old.py"]
    assert untested(names, files) == ["pool_state"]
    assert homeless(names, files) == ["test_old.py"]
    assert homeless(["pool"], ["test_pool_state.py"]) == ["test_pool_state.py"]


@pytest.mark.parametrize(
    "source",
    [
        "import haclient.net.pool",
        "from haclient.net import pool",
        "from haclient.net.pool import Pool",
        "def test() -> None:\n    from haclient.net.pool import Pool",
    ],
)
def test_what_counts_as_imported(source: str) -> None:
    assert "haclient.net.pool" in set(imports(source))


def test_a_word_in_a_comment_does_not_count() -> None:
    assert not set(imports("# haclient.net.pool\nname = 'haclient.net.pool'"))
