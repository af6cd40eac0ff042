"""`haclient serve -c FILE`: reads the file, and runs the daemon until it is told to end.

What can be said before anything starts is said here, in one line each: an unknown option, a file that
cannot be read, a mistake in it. Only then is the data plane imported.
"""

from __future__ import annotations

import argparse
import sys

from haclient.ops.command_line import CommandError, CommandParser
from haclient.ops.options import DEFAULT_CONFIG

__all__ = ["run"]


def build_parser() -> CommandParser:
    """The options of `haclient serve`."""
    parser = CommandParser(
        "haclient serve",
        usage="haclient serve [-c FILE]",
        description="The daemon: a local door to each target of the file.",
        epilog="SIGTERM ends it in good order, SIGHUP reads the file again. Exits with 0 once it has "
        "drained, with 78 if the file is wrong or an address in it cannot be listened on.",
    )
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=DEFAULT_CONFIG,
        help=f"the configuration ({DEFAULT_CONFIG})",
    )
    parser.add_argument("-h", "--help", action="help", help="print this")
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    return parser


def run(argv: list[str]) -> int:
    """Runs the daemon; returns when it has drained.

    Raises:
        CommandError: exit code 2 for the command line, 78 for the file or an address in it.
    """
    parser = build_parser()
    options = parser.parse_args(parser.canonical(argv))
    if options.words:
        raise CommandError(f"{options.words[0]!r} is not wanted here; see 'haclient serve --help'")

    # Not at the top: the page of help needs neither.
    from haclient.ops.config_file import check_file
    from haclient.ops.exit_codes import ExitCode

    checked = check_file(options.config)
    for warning in checked.warnings:
        sys.stderr.write(f"haclient: warning: {warning}\n")
    for error in checked.errors:
        sys.stderr.write(f"haclient: ({ExitCode.CONFIGURATION:d}) {error}\n")
    if checked.config is None:
        return ExitCode.CONFIGURATION

    from haclient.ops.daemon import run_daemon

    return run_daemon(options.config, checked.config)
