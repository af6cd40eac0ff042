"""`haclient completion SHELL`: a script that completes without starting Python.

The naive answer, argcomplete and the like, runs the program at each TAB: 60 ms and more before a
letter appears. A command's options are known when it is installed, so they are written out here as
plain shell, from the same parsers that read them:

    haclient completion bash > ~/.local/share/bash-completion/completions/haclient
    haclient completion zsh > ~/.zfunc/_haclient
    haclient completion fish > ~/.config/fish/completions/haclient.fish

A command whose module has a function `build_parser` has its options completed, others their name
alone. An option's metavar says what its value is: FILE and PATH are files, a set of choices is those
words, everything else is left to the user.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from haclient.ops.command_line import CommandError, takes_value
from haclient.ops.main import COMMANDS

__all__ = ["CommandWords", "OptionWords", "bash", "commands", "fish", "run", "zsh"]

PARSERS = {"request": "haclient.ops.options"}
"""Where a command's parser is, if not in the command's own module."""

FILES = {"FILE", "PATH"}


@dataclass(frozen=True, slots=True)
class OptionWords:
    """An option, as completion sees it."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    takes_file: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandWords:
    """A command, as completion sees it."""

    name: str
    help: str
    options: tuple[OptionWords, ...]
    words: tuple[str, ...] = ()
    """What may stand behind it instead of a URL or file."""

    @property
    def names(self) -> str:
        """Every spelling of every option."""
        return " ".join(name for option in self.options for name in option.names)


def run(argv: list[str]) -> int:
    """Prints the script for the shell that `argv` names."""
    if argv in (["-h"], ["--help"]):
        sys.stdout.write(
            f"usage: haclient completion SHELL\n\nSHELL is one of {', '.join(SHELLS)}.\n"
        )
        return 0
    if len(argv) != 1 or argv[0] not in SHELLS:
        raise CommandError(f"completion needs one shell: {', '.join(SHELLS)}")
    sys.stdout.write(SHELLS[argv[0]](commands()))
    return 0


def commands() -> tuple[CommandWords, ...]:
    """Every command with its options."""
    return tuple(
        CommandWords(name, line, _options(name), tuple(SHELLS) if name == "completion" else ())
        for name, (_, line) in COMMANDS.items()
    )


def _options(name: str) -> tuple[OptionWords, ...]:
    try:
        module = import_module(PARSERS.get(name, COMMANDS[name][0]))
    except ModuleNotFoundError:
        return ()
    build = getattr(module, f"build_{name}_parser", None) or getattr(module, "build_parser", None)
    parser: argparse.ArgumentParser | None = build() if build is not None else None
    if parser is None:
        return ()
    return tuple(_words(action) for action in parser._actions if action.option_strings)


def _words(action: argparse.Action) -> OptionWords:
    # "DATA|FILE" may be a file, too.
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return OptionWords(
        names=tuple(action.option_strings),
        help=(action.help or "").replace("%%", "%").replace("%(default)s", str(action.default)),
        takes_value=takes_value(action) and action.nargs != argparse.OPTIONAL,
        takes_file=bool(FILES & set(metavar.split("|"))),
        choices=tuple(str(choice) for choice in action.choices or ()),
    )


# --- bash ----------------------------------------------------------------------------------------


def bash(all_commands: tuple[CommandWords, ...]) -> str:
    """The script for bash 4 and later; needs no bash-completion."""
    lines = [
        "# bash completion for haclient",
        "_haclient() {",
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}",
        "    local command=${COMP_WORDS[1]} options= words=",
        "    COMPREPLY=()",
        "    if ((COMP_CWORD == 1)); then",
        f'        COMPREPLY=($(compgen -W "{" ".join(c.name for c in all_commands)} --help --version" -- "$word"))',
        "        return",
        "    fi",
        "    case $command in",
    ]
    for command in all_commands:
        if command.options or command.words:
            lines += _bash_command(command)
    lines += [
        "    esac",
        "    if [[ $word == -* ]]; then",
        '        COMPREPLY=($(compgen -W "$options" -- "$word"))',
        "    elif [[ $words ]]; then",
        '        COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "    fi",
        "}",
        "complete -o bashdefault -o default -F _haclient haclient",
        "",
    ]
    return "\n".join(lines)


def _bash_command(command: CommandWords) -> list[str]:
    lines = [f"    {command.name})"]
    cases = [o for o in command.options if o.takes_value]
    if cases:
        lines.append("        case $before in")
    for option in cases:
        if option.choices:
            what = f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$word"))'
            lines.append(f"        {'|'.join(option.names)}) {what}; return ;;")
    files = [name for o in cases if o.takes_file for name in o.names]
    if files:
        lines.append(f"        {'|'.join(files)})")
        lines.append('            COMPREPLY=($(compgen -f -- "$word")); return ;;')
    others = [name for o in cases if not o.takes_file and not o.choices for name in o.names]
    if others:
        lines.append(f"        {'|'.join(others)}) return ;;")
    if cases:
        lines.append("        esac")
    lines.append(f'        options="{command.names}" words="{" ".join(command.words)}" ;;')
    return lines


# --- zsh -----------------------------------------------------------------------------------------


def zsh(all_commands: tuple[CommandWords, ...]) -> str:
    """The script for zsh's completion system."""
    lines = ["#compdef haclient", "_haclient() {", "  local -a commands", "  commands=("]
    lines += [f"    {_single(f'{c.name}:{c.help}')}" for c in all_commands]
    lines += [
        "  )",
        "  if ((CURRENT == 2)); then",
        "    _describe command commands",
        "    return",
        "  fi",
        "  local command=$words[2]",
        "  shift words",
        "  ((CURRENT--))",
        "  case $command in",
    ]
    for command in all_commands:
        specs = [spec for option in command.options for spec in _zsh_specs(option)]
        specs.append(f"'*: :({' '.join(command.words)})'" if command.words else "'*: :_default'")
        lines += [f"  {command.name})", "    _arguments -s " + " \\\n      ".join(specs) + " ;;"]
    return "\n".join([*lines, "  esac", "}", '_haclient "$@"', ""])


def _zsh_specs(option: OptionWords) -> list[str]:
    text = (
        option.help.replace("\\", "\\\\")
        .replace("[", "\\[")
        .replace("]", "\\]")
        .replace(":", "\\:")
    )
    value = ""
    if option.takes_value:
        value = ": :" + (
            f"({' '.join(option.choices)})"
            if option.choices
            else "_files"
            if option.takes_file
            else " "
        )
    # "*" lets an option be given again; "+" lets the value be attached to a short one.
    specs = []
    for name in option.names:
        join = "" if not option.takes_value else "+" if not name.startswith("--") else "="
        specs.append(_single(f"*{name}{join}[{text}]{value}"))
    return specs


# --- fish ----------------------------------------------------------------------------------------


def fish(all_commands: tuple[CommandWords, ...]) -> str:
    """The script for fish 3 and later."""
    lines = ["# fish completion for haclient"]
    first = "complete -c haclient -n __fish_use_subcommand -f"
    lines += [f"{first} -a {command.name} -d {_single(command.help)}" for command in all_commands]
    for command in all_commands:
        seen = f"complete -c haclient -n {_single(f'__fish_seen_subcommand_from {command.name}')}"
        if command.words:
            lines.append(f"{seen} -f -a {_single(' '.join(command.words))}")
        lines += [f"{seen} {_fish_option(option)}" for option in command.options]
    return "\n".join([*lines, ""])


def _fish_option(option: OptionWords) -> str:
    names = [f"-l {n[2:]}" if n.startswith("--") else f"-s {_single(n[1:])}" for n in option.names]
    value = ""
    if option.choices:
        value = f" -x -a {_single(' '.join(option.choices))}"
    elif option.takes_value:
        value = " -r -F" if option.takes_file else " -x"
    return " ".join(names) + value + f" -d {_single(option.help)}"


def _single(text: str) -> str:
    """In single quotes, for any of the three shells."""
    return "'" + text.replace("'", "'\\''") + "'"


SHELLS: dict[str, Callable[[tuple[CommandWords, ...]], str]] = {
    "bash": bash,
    "zsh": zsh,
    "fish": fish,
}
