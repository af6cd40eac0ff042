"""The entry point: `haclient COMMAND ...`.

A command is often started thousands of times from a script, and `haclient --help` must come at once;
trio, ssl and dnspython take 150 ms to import. So nothing is imported here but what prints a page of
text; each command's module comes when the command is run.

A command is a function `run(argv: list[str]) -> int` in its own module: it gets the words behind its
name and returns the exit code. What it lets through ends here, in one line: no traceback ever
reaches a user, unless HACLIENT_TRACEBACK is set in the environment.
"""

from __future__ import annotations

import gc
import os
import sys

from haclient._version import __version__
from haclient.ops.importing import INTERRUPTED, ends_at_once

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "request": ("haclient.ops.request", "one highly available request, with curl's options"),
    "serve": ("haclient.ops.serve", "the daemon: a local door to each target"),
    "check": ("haclient.ops.check", "validates the daemon's file, and prints what it promises"),
    "explain": ("haclient.ops.explain", "a dry run: addresses, a connect race, the plan"),
    "status": ("haclient.ops.status", "how the running daemon is; --watch: as a live table"),
    "ready": ("haclient.ops.orders", "whether the running daemon takes requests"),
    "drain": ("haclient.ops.orders", "tells the running daemon to finish and end"),
    "reload": ("haclient.ops.orders", "tells the running daemon to read its file again"),
    "passwd": ("haclient.ops.passwd", "writes a user's password into a door's users file"),
    "doctor": (
        "haclient.ops.doctor",
        "what this machine gives, and how fast it notices a dead server",
    ),
    "demo": ("haclient.ops.demo", "a proof without root or network: servers die, requests do not"),
    "completion": ("haclient.ops.completion", "a completion script for bash, zsh or fish"),
}
"""Each command's module and its line in `--help`."""

USAGE, WRITE_ERROR = 2, 23
"""Of `exit_codes`, whose import `--help` need not pay for."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; `argv` is without the program's name."""
    _fill_closed_streams()
    code = _guarded(sys.argv[1:] if argv is None else argv)
    _let_go_of_broken_streams()
    return code


def _fill_closed_streams() -> None:
    """Gives a stream that the command was started without (">&-") its number back, to fail on.

    Else Python has None in its place, and the first socket opened has its number, which gets what is
    meant for the terminal. stdin cannot be read and stdout not written then; stderr takes everything.
    """
    if sys.stdin is None:
        reading, writing = os.pipe()
        os.dup2(writing, 0)
        os.close(writing)
        if reading != 0:
            os.close(reading)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    # A descriptor that is opened gets the lowest number that is free.
    if sys.stdout is None:
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)  # noqa: SIM115


def _let_go_of_broken_streams() -> None:
    """What nobody reads any more, the interpreter must not try to write at its end (exit code 120)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _guarded(words: list[str]) -> int:
    """Runs one command; whatever goes wrong becomes an exit code and one line."""
    name = words[0] if words else "--help"
    try:
        if name in {"-h", "--help", "help"}:
            _print(help_text())
            return 0 if words else USAGE
        if name in {"-V", "--version"}:
            _print(f"haclient {__version__}\n")
            return 0
        if name not in COMMANDS:
            return _complain(f"there is no command {name!r}{_nearest(name)}; see 'haclient --help'")
        return _run(name, words[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left (`haclient --help | head -1`); nothing more can be said.
        return WRITE_ERROR
    except (Exception, BaseExceptionGroup) as error:
        if os.environ.get("HACLIENT_TRACEBACK"):
            raise
        return _report(error)


def _report(error: BaseException) -> int:
    """The one line for what a command let through."""
    from haclient.ops.exit_codes import ExitCode, error_line, exit_code_for

    code = exit_code_for(error)
    if code is not ExitCode.INTERRUPTED:
        sys.stderr.write(error_line(error) + "\n")
    return int(code)


def _run(name: str, words: list[str]) -> int:
    from importlib import import_module

    # What an import makes is no garbage; looking through it again and again is a tenth of the start
    # (13 of 133 ms, CPython 3.11). The default is (700, 10, 10).
    gc.set_threshold(100_000, 10, 10)
    module_name, _ = COMMANDS[name]
    try:
        with ends_at_once():
            module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        return _complain(f"the command {name!r} is not part of this installation")
    # Several commands may share a module; each then has a function of its own name.
    run = getattr(module, f"run_{name}", None) or module.run
    try:
        code: int = run(words)
    except SystemExit as end:
        # argparse, after --help.
        code = end.code if isinstance(end.code, int) else 0
    if code != WRITE_ERROR:  # else that was told already
        sys.stdout.flush()
    return code


def help_text() -> str:
    """One screen."""
    lines = [f"  {name:<11} {line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: haclient COMMAND ...",
            "",
            "Asks another server when one dies, within a bounded time.",
            "",
            *lines,
            "",
            "haclient COMMAND --help says more; haclient --version prints the version.",
            "",
        ]
    )


def _nearest(name: str) -> str:
    import difflib  # for a misspelling alone

    if "://" in name or "." in name:
        return f"; did you mean 'haclient request {name}'?"
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _complain(message: str) -> int:
    sys.stderr.write(f"haclient: ({USAGE}) {message}\n")
    return USAGE


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
