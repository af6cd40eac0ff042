"""`haclient ready`, `drain` and `reload`: a probe and two orders, for scripts and unit files.

The exit code is the answer: 0 done (or ready), 1 not; what the daemon has to say about it is printed,
on stdout where it is done, on stderr where it is not. `reload` waits until the new configuration is in
force or was refused, which a signal cannot: `kill -HUP` has succeeded when nothing has happened yet.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from haclient.ops.admin_client import Answer, admin_parser, ask, endpoint
from haclient.ops.command_line import CommandError, CommandParser
from haclient.ops.style import printable

__all__ = [
    "build_drain_parser",
    "build_ready_parser",
    "build_reload_parser",
    "run_drain",
    "run_ready",
    "run_reload",
]

DONE, NOT_DONE, HTTP_ERROR = 0, 1, 22

PATIENCE, RELOAD_PATIENCE = 10.0, 60.0
"""Seconds. A reload reads files and binds sockets, and waits for a drain that was ordered before."""

REFUSALS = {409, 422, 503}
"""Statuses of a daemon that understood: refused, wrong, not ready. Any other one is another's."""


def build_ready_parser() -> CommandParser:
    """Returns the parser of `haclient ready`."""
    return admin_parser(
        "ready",
        "[-c FILE | --admin ADDRESS]",
        "Whether the daemon takes requests, for a probe; not whether servers answer: 'haclient status' "
        "says that.",
        "Exits with 0 if it does, with 1 if not, with 7 if it cannot be reached.",
        PATIENCE,
    )


def build_drain_parser() -> CommandParser:
    """Returns the parser of `haclient drain`."""
    return admin_parser(
        "drain",
        "[-c FILE | --admin ADDRESS]",
        "Tells the daemon to take no new connections, finish what is outstanding, and end.",
        "Returns at once, with 0, or with 7 if the daemon cannot be reached; 'haclient status' shows "
        "what is still outstanding.",
        PATIENCE,
    )


def build_reload_parser() -> CommandParser:
    """Returns the parser of `haclient reload`."""
    return admin_parser(
        "reload",
        "[-c FILE | --admin ADDRESS]",
        "Tells the daemon to read its file again, waits, and prints what changed.",
        "Exits with 1 if the file was refused: the old configuration stays in force, and no request is lost; "
        "with 7 if the daemon cannot be reached.",
        RELOAD_PATIENCE,
    )


def run_ready(argv: list[str]) -> int:
    """Asks whether the daemon takes requests."""
    return _order(build_ready_parser(), argv, "GET", "/readyz")


def run_drain(argv: list[str]) -> int:
    """Tells the daemon to end in good order."""
    return _order(build_drain_parser(), argv, "POST", "/drain")


def run_reload(argv: list[str]) -> int:
    """Tells the daemon to read its file again."""
    return _order(build_reload_parser(), argv, "POST", "/reload")


def _order(parser: CommandParser, argv: list[str], method: str, path: str) -> int:
    options, address = endpoint(parser, argv)
    answer = ask(address, method, path, options.max_time)
    if not answer.is_successful and answer.status not in REFUSALS:
        raise CommandError(
            f"{method} {path} was answered with {answer.status} at {address}; name the daemon's "
            "admin endpoint with --admin",
            HTTP_ERROR,
        )
    stream = sys.stdout if answer.is_successful else sys.stderr
    stream.write("".join(f"{printable(line)}\n" for line in _lines(answer)))
    return DONE if answer.is_successful else NOT_DONE


def _lines(answer: Answer) -> list[str]:
    """What was said, for a person."""
    text = answer.content.decode("utf-8", "replace")
    if answer.media_type == "application/json":
        import json  # the probe that is answered in plain text needs none

        with suppress(ValueError, LookupError, TypeError, RecursionError):
            return [str(line) for line in json.loads(text)["lines"]]
    return text.splitlines()
