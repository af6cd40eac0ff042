"""Runs a target under atheris, with a corpus that is kept.

Coverage is counted in haclient and h11, not in the tests' own network: a new way through that is no news.
What atheris writes into the corpus is what reached something new; `-merge=1` makes it small again.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["CORPUS", "fuzz"]

CORPUS = Path(__file__).parent / "corpus"
MEASURED = ("haclient.core", "haclient.net", "haclient.engine", "haclient.proxy", "h11")


def fuzz(one: Callable[[bytes], None], name: str, seeds: Sequence[bytes]) -> None:
    """Until it is told to end, or finds something; options and folders are libFuzzer's."""
    atheris: Any = importlib.import_module("atheris")
    for package in MEASURED:
        instrument(atheris, package)
    # libFuzzer starts itself again, through a shell, to merge.
    itself = f"{sys.executable} -m tests.fuzz.fuzz_{name}"
    arguments = [itself, "-timeout=20", "-max_len=4096", *sys.argv[1:]]
    if not any(not argument.startswith("-") for argument in sys.argv[1:]):
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        arguments.append(str(CORPUS / name))
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / f"{number}").write_bytes(seed)
        atheris.Setup([*arguments, folder], one)
        atheris.Fuzz()


def instrument(atheris: Any, package: str) -> None:
    """Every function of a package's modules, where it is imported from now on or was before."""
    module = importlib.import_module(package)
    names = [package, *(one.name for one in pkgutil.walk_packages(module.__path__, f"{package}."))]
    for name in names:
        if "test" not in name:
            for value in vars(importlib.import_module(name)).values():
                instrument_all_of(atheris, value, name)


def instrument_all_of(atheris: Any, value: Any, name: str) -> None:
    """A function, or the methods of a class."""
    if getattr(value, "__module__", "") != name:
        return
    if callable(value) and hasattr(value, "__code__"):
        atheris.instrument_func(value)
    elif isinstance(value, type):
        for method in vars(value).values():
            if hasattr(method, "__code__"):
                atheris.instrument_func(method)
