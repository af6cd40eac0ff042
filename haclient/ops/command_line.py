"""A command line in curl's way of writing, and its errors as one line.

People write curl's options from memory, so they must be read by curl's rules. The naive answer is
argparse as it comes. It takes `-d -1` for two options, eats the "=" of `-d=1`, lets `--max` stand
for three options, and prints its usage above every error. So the command line is first brought into
one form, `--name=value`, by curl's rules (an option that takes a value takes the next word,
whatever it looks like; short ones combine, the last may have its value attached), and argparse does
the rest: types, defaults, help.

No module of haclient is imported here, so that `--help` is quick.

Left out, against curl: abbreviated long options, `--no-NAME` for every switch, `--next`, `.curlrc`.
In addition: `--name=value`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from typing import NoReturn

__all__ = ["CommandError", "CommandParser", "count", "duration", "parse_duration", "takes_value"]

_DURATION = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)(?:[eE]([+-]?[0-9]{1,2}))?(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class CommandError(Exception):
    """What the command line asks for cannot be carried out; the message says why and what would do.

    `exit_code` is curl's for the case, 2 where it has none of its own.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def parse_duration(text: str) -> float:
    """Returns seconds for "250ms", "4s", "2m", "1h" or a number of seconds.

    Raises:
        ValueError: it is none of these.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f'{text!r} is no duration: write "250ms", "4s", "2m" or a number of seconds'
        )
    number, exponent, unit = match.groups()
    return float(f"{number}e{exponent or 0}") * _UNITS[unit or "s"]


def duration(text: str) -> float:
    """`parse_duration` as an option's type."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def count(text: str) -> int:
    """A whole number as an option's type."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)


def _columns() -> int:
    """As shutil.get_terminal_size, whose import, bz2 and lzma with it, is a tenth of the start.

    argparse asks for each option that is added, also where no help is printed.
    """
    columns = os.environ.get("COLUMNS", "")
    if re.fullmatch("[1-9][0-9]{0,8}", columns):
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class _Formatter(argparse.HelpFormatter):
    """`-X, --request METHOD`, where argparse before Python 3.13 repeats METHOD after each name."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=_columns() - 2)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or not takes_value(action):
            return super()._format_action_invocation(action)
        metavar = f"[={action.metavar}]" if action.nargs == "?" else f" {action.metavar}"
        return ", ".join(action.option_strings) + metavar


class CommandParser(argparse.ArgumentParser):
    """argparse, fed with curl's way of writing a command line."""

    def __init__(self, prog: str, *, usage: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog,
            usage=usage,
            description=description,
            epilog=epilog,
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )

    def canonical(self, argv: Sequence[str]) -> list[str]:
        """`argv` with each option as `--name` or `--name=value`, URLs last, behind "--".

        Raises:
            CommandError: an option that does not exist, or lacks its value.
        """
        options: list[str] = []
        urls: list[str] = []
        words = iter(argv)
        for word in words:
            if word == "--":
                urls += words
            elif word.startswith("--"):
                options.append(self._long(word, words))
            elif word.startswith("-") and word != "-":
                options += self._short(word, words)
            else:
                urls.append(word)
        return [*options, "--", *urls]

    def _long(self, word: str, words: Iterator[str]) -> str:
        name, equals, _ = word.partition("=")
        action = self._find(name, word)
        if not takes_value(action):
            if equals:
                self.error(f"option {name} takes no value")
            return name
        if equals or action.nargs == argparse.OPTIONAL:
            return word
        return f"{name}={self._value(name, words)}"

    def _short(self, word: str, words: Iterator[str]) -> list[str]:
        found: list[str] = []
        for at, letter in enumerate(word[1:], start=2):
            action = self._find(f"-{letter}", word)
            name = action.option_strings[-1]
            if not takes_value(action):
                found.append(name)
                continue
            found.append(f"{name}={word[at:] or self._value(f'-{letter}', words)}")
            break
        return found

    def _find(self, name: str, word: str) -> argparse.Action:
        action = self._option_string_actions.get(name)
        if action is None:
            inside = "" if name == word.partition("=")[0] else f" (in {word!r})"
            self.error(f"option {name} is unknown{inside}{self._nearest(name)}")
        return action

    def _nearest(self, name: str) -> str:
        import difflib  # for a misspelling alone

        near = difflib.get_close_matches(name, self._option_string_actions, n=1, cutoff=0.7)
        return f"; did you mean {near[0]}?" if near else ""

    def _value(self, name: str, words: Iterator[str]) -> str:
        word = next(words, None)
        if word is None:
            self.error(f"option {name} needs a value")
        return word

    def error(self, message: str) -> NoReturn:
        """Raises CommandError, where argparse writes its usage and leaves."""
        raise CommandError(f"{message}; see '{self.prog} --help'")


def takes_value(action: argparse.Action) -> bool:
    """Whether an option is followed by a value."""
    return action.nargs != 0
