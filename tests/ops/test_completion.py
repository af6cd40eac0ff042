"""The completion scripts: whole, in step with the options, and understood by the shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from haclient.ops.command_line import CommandError
from haclient.ops.completion import CommandWords, OptionWords, bash, commands, fish, run, zsh
from haclient.ops.main import COMMANDS
from haclient.ops.options import build_parser

SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}

AWKWARD = (
    CommandWords(
        "try",
        "it's a: try",
        (
            OptionWords(("-f", "--file"), "a [file]: it's 100%", True, True, ()),
            OptionWords(("--kind",), "which", True, False, ("one", "two")),
            OptionWords(("-v",), "more", False, False, ()),
            OptionWords(("--text",), "any", True, False, ()),
        ),
    ),
    CommandWords("words", "w", (), ("first", "second")),
    CommandWords("plain", "p", ()),
)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([shell]) == 0

    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    for action in build_parser()._actions:
        for name in action.option_strings:
            assert (name.lstrip("-") if shell == "fish" else name) in script


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("words", [commands(), AWKWARD], ids=["ours", "awkward"])
def test_the_shell_understands_it(shell: str, words: tuple[CommandWords, ...]) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")

    ran = subprocess.run(
        [program, "-n"],
        input=SHELLS[shell](words),
        text=True,
        capture_output=True,
        check=False,
        timeout=10,
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def completed(*words: str, script: str) -> set[str]:
    """What bash offers for the last word."""
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed")
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _haclient; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(
        [program, "--norc", "-c", code], text=True, capture_output=True, check=True, timeout=10
    )
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["haclient", "re"], {"request", "ready", "reload"}),
        (
            ["haclient", "status", "--"],
            {"--config", "--admin", "--max-time", "--json", "--watch", "--help"},
        ),
        (["haclient", "reload", "--a"], {"--admin"}),
        (["haclient", "drain", "-m", ""], set()),
        (["haclient", "--v"], {"--version"}),
        (["haclient", "request", "--max"], {"--max-time", "--max-redirs"}),
        (["haclient", "request", "--order", ""], {"fastest", "listed", "shuffled"}),
        (["haclient", "request", "--order", "l"], {"listed"}),
        (["haclient", "request", "-X", "--"], set()),
        (["haclient", "request", "x"], set()),
        (["haclient", "completion", ""], {"bash", "zsh", "fish"}),
        (["haclient", "completion", "z"], {"zsh"}),
        (["haclient", "nonsense", "--"], set()),
    ],
)
def test_what_bash_offers(words: list[str], expected: set[str]) -> None:
    assert completed(*words, script=bash(commands())) == expected


def test_bash_offers_files_where_a_file_is_due(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "one").touch()
    (folder / "two").touch()
    script = bash(commands())

    assert completed("haclient", "request", "-o", f"{folder}/o", script=script) == {f"{folder}/one"}
    assert completed("haclient", "request", "-s", f"{folder}/o", script=script) == set()
    assert completed("haclient", "ready", "-c", f"{folder}/t", script=script) == {f"{folder}/two"}


def test_what_zsh_and_fish_are_told() -> None:
    assert "'*-f+[a \\[file\\]\\: it'\\''s 100%]: :_files'" in zsh(AWKWARD)
    assert "'*--kind=[which]: :(one two)'" in zsh(AWKWARD)
    assert "'*-v[more]'" in zsh(AWKWARD)
    assert "'*: :(first second)'" in zsh(AWKWARD)
    lines = fish(AWKWARD).splitlines()
    first = "complete -c haclient -n '__fish_seen_subcommand_from try'"
    assert f"{first} -s 'f' -l file -r -F -d 'a [file]: it'\\''s 100%'" in lines
    assert f"{first} -l kind -x -a 'one two' -d 'which'" in lines
    assert f"{first} -s 'v' -d 'more'" in lines
    assert f"{first} -l text -x -d 'any'" in lines


@pytest.mark.parametrize("words", [[], ["ksh"], ["bash", "zsh"]])
def test_another_shell_is_a_mistake(words: list[str]) -> None:
    with pytest.raises(CommandError, match="completion needs one shell: bash, zsh, fish"):
        run(words)


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert "usage: haclient completion SHELL" in capsys.readouterr().out
