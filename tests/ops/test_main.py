"""The entry point: quick, and one line for whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import trio

from haclient import errors
from haclient._version import __version__
from haclient.ops import main as entry
from haclient.ops.command_line import CommandError
from haclient.ops.main import COMMANDS, main

HEAVY = {"trio", "h11", "dns", "ssl", "rich", "asyncio", "argparse", "dataclasses", "difflib"}
ROOT = Path(__file__).parents[2]


def started(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    script = """
import sys
from haclient.ops.main import main
try:
    code = main(sys.argv[1:])
finally:
    print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""
    return subprocess.run(
        [sys.executable, "-c", code or script, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("word", ["--help", "-h", "help", "--version", "-V", "nonsense"])
def test_a_page_of_text_imports_nothing_heavy(word: str) -> None:
    ran = started(word)

    loaded = set(ran.stderr.splitlines()[-1].split())
    heavy = HEAVY - ({"difflib", "dataclasses"} if word == "nonsense" else set())
    assert not loaded & heavy
    assert "haclient.ops.main" in loaded


def test_the_options_of_request_import_nothing_of_the_engine() -> None:
    ran = started(
        code="import sys, haclient.ops.options as o\n"
        "try:\n    o.parse_options(['--help'])\n"
        "except SystemExit:\n    print(*sys.modules, file=sys.stderr)"
    )

    assert not set(ran.stderr.split()) & (HEAVY - {"argparse"})


def test_help_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert len(shown.splitlines()) <= 24
    assert all(len(line) <= 79 for line in shown.splitlines())


def test_no_command_is_a_mistake_that_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: haclient COMMAND" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"haclient {__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("requst", "; did you mean request?"),
        ("zzz", ""),
        ("http://h.test/", "; did you mean 'haclient request http://h.test/'?"),
        ("h.test", "; did you mean 'haclient request h.test'?"),
    ],
)
def test_an_unknown_command(word: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert capsys.readouterr().err == (
        f"haclient: (2) there is no command {word!r}{hint}; see 'haclient --help'\n"
    )


class Command(ModuleType):
    """A command's module that does what the test says."""

    def __init__(self, name: str, effect: object) -> None:
        super().__init__(name)
        self.effect = effect
        self.words: list[str] = []

    def run(self, words: list[str]) -> int:
        self.words = words
        if isinstance(self.effect, BaseException):
            raise self.effect
        assert isinstance(self.effect, int)
        return self.effect


def command(monkeypatch: pytest.MonkeyPatch, effect: object) -> Command:
    module = Command("tests.ops.a_command", effect)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(entry.COMMANDS, "try", (module.__name__, "x"))
    return module


def test_a_command_gets_its_words_and_gives_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    module = command(monkeypatch, 7)

    assert main(["try", "-x", "y"]) == 7
    assert module.words == ["-x", "y"]


def test_commands_may_share_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = command(monkeypatch, 7)
    monkeypatch.setattr(module, "run_try", lambda words: 9, raising=False)

    assert main(["try"]) == 9


ENDS: list[tuple[BaseException, int, str]] = [
    (CommandError("no", 26), 26, "haclient: (26) no\n"),
    (errors.UrlError("bad"), 3, "haclient: (3) bad\n"),
    (BaseExceptionGroup("g", [errors.UrlError("bad")]), 3, "haclient: (3) bad\n"),
    (
        ZeroDivisionError("a\nb"),
        70,
        "haclient: (70) haclient itself failed: ZeroDivisionError: a; b; please report it\n",
    ),
    (KeyboardInterrupt(), 130, ""),
    (BaseExceptionGroup("g", [trio.TrioInternalError("x"), KeyboardInterrupt()]), 130, ""),
    (SystemExit(0), 0, ""),
    (SystemExit(5), 5, ""),
    (SystemExit(), 0, ""),
]


@pytest.mark.parametrize(("effect", "code", "shown"), ENDS, ids=lambda value: repr(value)[:40])
def test_no_traceback_reaches_a_user(
    effect: BaseException,
    code: int,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(monkeypatch, effect)

    assert main(["try"]) == code
    assert capsys.readouterr().err == shown


def test_a_traceback_reaches_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, ZeroDivisionError("x"))
    monkeypatch.setenv("HACLIENT_TRACEBACK", "1")

    with pytest.raises(ZeroDivisionError):
        main(["try"])


def test_a_command_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(entry.COMMANDS, "try", ("haclient.ops.nowhere", "x"))

    assert main(["try"]) == 2
    assert capsys.readouterr().err == (
        "haclient: (2) the command 'try' is not part of this installation\n"
    )


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "haclient.ops.main", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=20,
        cwd=ROOT,
    )
    os.close(writing)

    assert (ran.returncode, ran.stderr) == (23, b"")


def test_a_broken_module_is_not_taken_for_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "haclient_broken.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(entry.COMMANDS, "try", ("haclient_broken", "x"))

    assert main(["try"]) == 70
    assert "ModuleNotFoundError: No module named 'no_such_module'" in capsys.readouterr().err
