"""Imports go downward only, and core/ imports nothing that acts.

    ops → proxy → engine → net → core → types, errors, events, _version

`client` and `response`, and the package itself, which only names what they hold, are the face of
`engine`: ops may use them, the doors of `proxy` stand beside them. A name imported inside a
function, behind TYPE_CHECKING or by `import_module` counts like any other: each of them has hidden
a cycle before.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "haclient"

LAYERS = {
    "types": "values",
    "errors": "values",
    "events": "values",
    "_version": "values",
    "regular_file": "values",  # what every layer but core reads files by
    "whole_file": "values",  # and what writes them
    "core": "core",
    "net": "net",
    "engine": "engine",
    "client": "face",
    "response": "face",
    "haclient": "face",  # the package itself
    "proxy": "proxy",
    "ops": "ops",
    "__main__": "ops",
}
"""Module of the package, or its subpackage → its layer."""

MAY_IMPORT = {
    "values": {"values"},
    "core": {"core"},  # and of the values those in CORE_VALUES
    "net": {"values", "core", "net"},
    "engine": {"values", "core", "net", "engine"},
    "face": {"values", "core", "net", "engine", "face"},
    "proxy": {"values", "core", "net", "engine", "proxy"},
    "ops": {"values", "core", "net", "engine", "face", "proxy", "ops"},
}

CORE_VALUES = {"types", "errors"}
"""Not the events: policy is not observed, its drivers are."""

PURE = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "binascii",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "math",
    "operator",
    "re",
    "string",
    "types",
    "typing",
    "msgspec",  # values
    "idna",  # tables of letters
}
"""What core/ may import besides: nothing that knows the time, chance, files, sockets or a log."""


def module_name(path: Path) -> str:
    parts = ("haclient", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of all that is imported, wherever it stands.

    Args:
        source: of the module.
        package: what its relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module, names, level):
                base = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                home = ".".join([*base, module] if module else base)
                yield from ((node.lineno, full_name(home, alias.name)) for alias in names)
            case ast.Call(
                ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"),
                [ast.Constant(str(name)), *_],
            ):
                yield node.lineno, name


def full_name(home: str, name: str) -> str:
    """`from haclient import Client` is an import of the package itself, and no module's."""
    is_module = name in LAYERS or (PACKAGE / name).exists() or (PACKAGE / f"{name}.py").exists()
    return home if home == "haclient" and not is_module else f"{home}.{name}"


def layer_of(name: str) -> tuple[str, str]:
    """The part of the package that a full name belongs to, and that part's layer, if it has one."""
    part = ("haclient", *name.split(".")[1:2])[-1]
    return part, LAYERS.get(part, "")


def faults(module: str, source: str, is_package: bool = False) -> list[str]:
    """What the module imports and must not, each in a sentence that says what to do."""
    part, layer = layer_of(module)
    if not layer:
        return [f"{module}: say in tests/meta/test_layers.py which layer haclient.{part} is of"]
    found = []
    for line, name in imported(source, module if is_package else module.rpartition(".")[0]):
        where = f"{module}, line {line}: imports {name}"
        if name.split(".")[0] == "haclient":
            found += [f"{where}, {why}" for why in upward(layer, name)]
        elif layer == "core" and name.split(".")[0] not in PURE:
            found.append(
                f"{where}, and core/ decides without clock, chance, files, sockets or log: take "
                "what it gives as an argument, or let the driver in net/ or engine/ do it; a module "
                "that is as pure as math goes into PURE in tests/meta/test_layers.py"
            )
    return found


def upward(layer: str, name: str) -> Iterator[str]:
    other_part, other = layer_of(name)
    if not other:
        yield f"and haclient.{other_part} is of no layer: name it in tests/meta/test_layers.py"
    elif layer == "core" and other_part in CORE_VALUES:
        return
    elif other not in MAY_IMPORT[layer]:
        yield (
            f"of the layer {other!r}, from the layer {layer!r}: imports go downward only. Move what "
            "is needed down, take it as an argument, or say by a Protocol what is expected of it"
        )


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_go_downward_only(path: Path) -> None:
    found = faults(module_name(path), path.read_text(), path.name == "__init__.py")
    assert not found, "\n" + "\n".join(found)


def test_the_package_was_found() -> None:
    assert {"haclient", "haclient.core.race", "haclient.ops.main"} <= set(map(module_name, FILES))


# The rule itself


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param("haclient.core.race", "import trio", id="core imports trio"),
        pytest.param("haclient.core.race", "import os.path as p, math", id="core imports a path"),
        pytest.param("haclient.core.race", "from time import monotonic", id="core reads the clock"),
        pytest.param("haclient.core.race", "def f():\n    import random", id="core rolls dice"),
        pytest.param("haclient.core.race", "import logging", id="core logs"),
        pytest.param(
            "haclient.core.race",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket",
            id="core imports sockets for types",
        ),
        pytest.param(
            "haclient.core.race", "import importlib\nimportlib.import_module('ssl')", id="by name"
        ),
        pytest.param("haclient.core.race", "from haclient import events", id="core is observed"),
        pytest.param("haclient.core.race", "import haclient.net.pool", id="core imports net"),
        pytest.param("haclient.core.race", "from haclient.net import Dialer", id="a seam of net"),
        pytest.param("haclient.core.race", "from ..net import pool", id="net, relatively"),
        pytest.param("haclient.core.race", "from .. import client", id="client, relatively"),
        pytest.param("haclient.core.race", "from haclient import Client", id="the face"),
        pytest.param("haclient.core.race", "import haclient", id="the package itself"),
        pytest.param("haclient.net.pool", "from haclient.engine import live", id="net, engine"),
        pytest.param(
            "haclient.net.pool", "__import__('haclient.ops.main')", id="net imports ops by name"
        ),
        pytest.param("haclient.engine.live", "from haclient.client import Client", id="its face"),
        pytest.param("haclient.engine.live", "from haclient import *", id="all names of the face"),
        pytest.param("haclient.client", "from haclient.proxy import relay", id="client, a door"),
        pytest.param("haclient.client", "from haclient.ops import trace", id="client, the command"),
        pytest.param(
            "haclient.proxy.relay", "from haclient.client import Client", id="a neighbour"
        ),
        pytest.param("haclient.proxy.relay", "import haclient.ops.log", id="proxy imports ops"),
        pytest.param("haclient.types", "from haclient.core.url import Url", id="values, core"),
        pytest.param("haclient", "from .ops.main import main", id="the package imports ops"),
        pytest.param("haclient.net.pool", "from haclient.extra import x", id="of no layer"),
        pytest.param("haclient.extra", "import math", id="itself of no layer"),
    ],
)
def test_what_is_not_allowed(module: str, source: str) -> None:
    found = faults(module, source, is_package=module == "haclient")
    assert found
    assert all(fault.startswith(module) for fault in found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        pytest.param(
            "haclient.core.race",
            "import math, re\nfrom collections.abc import Callable\nfrom haclient.types import Order",
            id="core, what is pure",
        ),
        pytest.param("haclient.core.race", "from haclient import errors, types", id="core, values"),
        pytest.param("haclient.core.race", "from . import url", id="core, a sibling"),
        pytest.param("haclient.errors", "from haclient.types import Phase", id="values, values"),
        pytest.param(
            "haclient.net.pool", "import trio, random, logging", id="net, anything outside"
        ),
        pytest.param("haclient.net.pool", "from haclient.core import race", id="net, core"),
        pytest.param("haclient.net", "from haclient import events", id="net, events"),
        pytest.param("haclient.engine.live", "from haclient.net import Dialer", id="engine, net"),
        pytest.param("haclient.client", "from haclient.engine import live", id="client, engine"),
        pytest.param("haclient", "from haclient.client import Client", id="the package, client"),
        pytest.param(
            "haclient.proxy.relay", "from haclient.engine import live", id="proxy, engine"
        ),
        pytest.param("haclient.ops.demo", "import haclient\nfrom haclient import Client", id="ops"),
        pytest.param("haclient.__main__", "from haclient.ops.main import main", id="python -m"),
    ],
)
def test_what_is_allowed(module: str, source: str) -> None:
    assert faults(module, source, is_package=module == "haclient") == []


def test_a_fault_says_what_to_do() -> None:
    clock, upwards = faults("haclient.core.race", "import time\nfrom haclient.net import pool")
    assert clock == (
        "haclient.core.race, line 1: imports time, and core/ decides without clock, chance, files, "
        "sockets or log: take what it gives as an argument, or let the driver in net/ or engine/ "
        "do it; a module that is as pure as math goes into PURE in tests/meta/test_layers.py"
    )
    assert upwards == (
        "haclient.core.race, line 2: imports haclient.net.pool, of the layer 'net', from the layer "
        "'core': imports go downward only. Move what is needed down, take it as an argument, or "
        "say by a Protocol what is expected of it"
    )
