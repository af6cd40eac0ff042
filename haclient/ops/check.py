"""`haclient check -c FILE`: everything that is wrong with a configuration, and what it promises.

For whoever writes the file, the editor that he writes it in, and the pipeline that it goes through
before a machine is told to reload it. Every mistake comes at once, `file:line: …`, on stderr. On
stdout, for each target, what its failover window works out to: when a server is suspect, and dead, in
each phase; what that adds up to at the worst; up to which round trip it holds. For each forward proxy the same,
and whom it may be used to reach. A window that cannot be
kept is refused here, with the smallest that can, and not found out in an outage.

The exit code is 0, with or without warnings, or 78 (EX_CONFIG of sysexits).

It takes no part of the engine, so it comes at once, and asks nobody on the network. Left out: whether
names have addresses and servers answer (`haclient explain -c FILE TARGET`), whether a port is free.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from haclient.core.config import ListenerSettings, Mode
from haclient.core.config_check import largest_round_trip, window_plan
from haclient.core.keepalive import Refusal
from haclient.core.spec import Target
from haclient.ops.command_line import CommandError, CommandParser
from haclient.ops.config_file import Checked, check_file
from haclient.ops.exit_codes import ExitCode
from haclient.ops.options import DEFAULT_CONFIG
from haclient.ops.style import Colour, Sign, Style, json_text
from haclient.ops.window_text import plan_json

__all__ = ["as_json", "build_parser", "complaints", "run", "timers"]


def build_parser() -> CommandParser:
    """Returns the command's parser."""
    parser = CommandParser(
        "haclient check",
        usage="%(prog)s [-c FILE] [--json] | --schema",
        description="Validates the daemon's configuration file, and prints for each target the "
        "timers that its window works out to and the worst case they add up to.",
        epilog="Exits with 0, or with 78 if anything is wrong; a warning is not.",
    )
    add = parser.add_argument
    add(
        "-c",
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help=f"the file to check ({DEFAULT_CONFIG})",
    )
    add("--json", action="store_true", help="print JSON")
    add("--schema", action="store_true", help="print a JSON schema of the file, for editors")
    add("-h", "--help", action="help", help="print this")
    add("rest", nargs="*", help=argparse.SUPPRESS)
    return parser


def run(argv: list[str]) -> int:
    """Checks the file; returns 0 or 78."""
    parser = build_parser()
    options = parser.parse_args(parser.canonical(argv))
    if options.rest:
        raise CommandError(f"what is {options.rest[0]!r}? The file goes behind -c")
    if options.schema:
        from haclient.ops.config_schema import schema

        sys.stdout.write(json_text(schema()))
        return ExitCode.OK
    checked = check_file(options.config)
    if options.json:
        sys.stdout.write(json_text(as_json(checked)))
    else:
        style = Style.of(sys.stdout, os.environ)
        sys.stdout.write("".join(f"{line}\n" for line in timers(checked, style)))
        sys.stdout.flush()
        sys.stderr.write("".join(f"{line}\n" for line in complaints(checked)))
    return ExitCode.CONFIGURATION if checked.errors else ExitCode.OK


# --- for a person ---------------------------------------------------------------------------------


def complaints(checked: Checked) -> Iterator[str]:
    """What is wrong, in the order of the file, and how many mistakes there are."""
    for one in sorted((*checked.warnings, *checked.errors), key=lambda one: one.line):
        if one in checked.warnings:
            yield one.text("warning")
        else:
            # What is wrong with the file as a whole has no line that an editor could jump to.
            yield str(one) if one.line else f"haclient: ({ExitCode.CONFIGURATION:d}) {one}"
    if len(checked.errors) > 1:
        yield f"{len(checked.errors)} errors"


def timers(checked: Checked, style: Style) -> Iterator[str]:
    """What each target's window works out to; at the end, whether the file is in order."""
    for name, target in checked.targets.items():
        yield style.paint(f"target {name}", Colour.BOLD)
        yield from _target(target, style)
    for listener in _forward(checked):
        yield style.paint(f"listener {listener.name}, a forward proxy", Colour.BOLD)
        yield f"    may be used to reach: {', '.join(rule.text for rule in listener.allow.rules)}"
        assert checked.config is not None
        yield from _target(checked.config.defaults, style)
    if not checked.errors:
        count = len(checked.targets), len(checked.config.listeners) if checked.config else 0
        yield _marked(style, Sign.DONE, Colour.GREEN, f"in order: {_counted(*count)}")


def _forward(checked: Checked) -> list[ListenerSettings]:
    """The forward proxies; their destinations have the window of [defaults]."""
    listeners = checked.config.listeners if checked.config is not None else ()
    return [one for one in listeners if one.mode is Mode.FORWARD]


def _counted(targets: int, listeners: int) -> str:
    words = (targets, "target"), (listeners, "listener")
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in words)


def _target(target: Target, style: Style) -> Iterator[str]:
    plan = window_plan(target)
    head, *phases = plan.explain()
    if isinstance(plan, Refusal):
        yield "  " + _marked(style, Sign.FAILED, Colour.RED, head)
        return
    yield "  " + _marked(style, Sign.DONE, Colour.GREEN, head)
    yield from (f"    {phase}" for phase in phases)
    if target.is_tcp:
        yield "    alive and silent: waited for; what a server was sent is never sent to another one"
    else:
        yield f"    alive and silent: given up after {target.response_timeout:g} s"
    yield f"    with a server beside us; the window holds up to {_round_trip(target)}"


def _round_trip(target: Target) -> str:
    return f"a round trip of {largest_round_trip(target) * 1000:.0f} ms"


def _marked(style: Style, sign: Sign, colour: Colour, text: str) -> str:
    return f"{style.paint(style.sign(sign), Colour.BOLD, colour)} {text}"


# --- for a program --------------------------------------------------------------------------------


def as_json(checked: Checked) -> dict[str, Any]:
    """Seconds throughout; null: not bounded."""
    return {
        "ok": not checked.errors,
        "errors": checked.errors,
        "warnings": checked.warnings,
        "targets": {name: _target_json(target) for name, target in checked.targets.items()},
        "forward": {one.name: _forward_json(one, checked) for one in _forward(checked)},
    }


def _forward_json(listener: ListenerSettings, checked: Checked) -> dict[str, Any]:
    assert checked.config is not None
    allow = [rule.text for rule in listener.allow.rules]
    return {"allow": allow, **_target_json(checked.config.defaults)}


def _target_json(target: Target) -> dict[str, Any]:
    return {
        **plan_json(window_plan(target)),
        "connect_timeout": target.connect_timeout,
        "response_timeout": None if target.is_tcp else target.response_timeout,
        "largest_round_trip": largest_round_trip(target),
    }
