"""`haclient doctor`: what this machine gives, and how fast a dead server is noticed on it.

For the moment when something is slower than promised, or before anything is: is it this kernel,
this container, this resolver? Each line is a fact that was tried here and now, with what to do where
it is not in order (haclient.ops.doctor_checks); then the detection bound, measured on loopback
peers that are blackholed (haclient.ops.doctor_bound), beside the arithmetic of core.keepalive that
all windows are reckoned with.

No packet leaves the machine, unless `--host` names a host to be looked up.

Left out: the way to the user's own servers. `haclient explain URL` goes there.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import msgspec
import trio

from haclient.core.keepalive import WatchPhase
from haclient.errors import ResolveError
from haclient.net.resolver import SystemResolver
from haclient.net.sockopts import tcp_info_works
from haclient.ops.command_line import CommandParser
from haclient.ops.doctor_bound import Measured, measure
from haclient.ops.doctor_checks import Check, Grade, caps_window_probes, checks
from haclient.ops.exit_codes import ExitCode
from haclient.ops.style import Colour, Sign, Style, json_text, printable

__all__ = ["Diagnosis", "build_parser", "diagnose", "run"]

NOT_IN_ORDER = 1

LATENESS = 0.15
"""Seconds that a verdict may be late on a machine in order: timer slack, and others that compute.
Measured without load: up to 0.01."""

NAME_COLUMN = 17

PHASES = {
    WatchPhase.SILENT: "dead, thinking",
    WatchPhase.IN_FLIGHT: "dead, in flight",
    WatchPhase.WINDOW_SHUT: "dead, not reading",
}

SIGNS = {
    Grade.OK: (Sign.DONE, Colour.GREEN),
    Grade.WARN: (Sign.WARNING, Colour.YELLOW),
    Grade.FAIL: (Sign.FAILED, Colour.RED),
}


class Diagnosis(msgspec.Struct, frozen=True):
    """All checks, and what was measured (nothing where it could not be)."""

    checks: tuple[Check, ...]
    measured: tuple[Measured, ...]

    @property
    def is_in_order(self) -> bool:
        """Whether no check failed."""
        return all(check.grade is not Grade.FAIL for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For `--json`. Seconds; null: no such verdict, or no bound."""
        return {
            "checks": [
                {"name": c.name, "grade": c.grade.value, "found": c.found, "advice": c.advice}
                for c in self.checks
            ],
            "detection": [
                {
                    "phase": m.phase.name.lower() if m.phase is not None else "alive",
                    "suspect": m.suspect,
                    "suspect_bound": _finite(m.bounds.suspect if m.bounds is not None else None),
                    "dead": m.dead,
                    "dead_bound": _finite(m.bounds.dead if m.bounds is not None else None),
                }
                for m in self.measured
            ],
            "in_order": self.is_in_order,
        }


def build_parser() -> CommandParser:
    """Returns the command's parser."""
    parser = CommandParser(
        "haclient doctor",
        usage="%(prog)s [--host NAME] [--json]",
        description="What this machine gives: kernel options, resolver, CA bundle, limits; and how "
        "long it takes here until a dead server is known to be dead. Takes 3 s; no packet leaves "
        "the machine without --host.",
        epilog="Exits with 0 if nothing failed, else with 1; a warning is no failure.",
    )
    parser.add_argument("--host", metavar="NAME", help="look this host up, too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-h", "--help", action="help", help="print this")
    return parser


def run(argv: list[str]) -> int:
    """Prints the diagnosis and returns 0 if nothing failed."""
    options = build_parser().parse_args(argv)
    diagnosis = trio.run(diagnose, options.host)
    if options.json:
        sys.stdout.write(json_text(diagnosis.as_json()))
    else:
        style = Style.of(sys.stdout, os.environ)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        sys.stdout.write("\n".join(lines(diagnosis.checks, style, width)) + "\n")
    return ExitCode.OK if diagnosis.is_in_order else NOT_IN_ORDER


async def diagnose(host: str | None) -> Diagnosis:
    """Everything; the look-up and the measurement go side by side.

    Args:
        host: to be looked up; None: no query is sent.
    """
    found = list(checks())
    measured: tuple[Measured, ...] = ()
    looked_up: list[Check] = []
    async with trio.open_nursery() as nursery:
        if host is not None:
            nursery.start_soon(_look_up, host, looked_up)
        if tcp_info_works():
            try:
                measured = await measure(caps_window_probes=caps_window_probes())
            except* OSError:
                pass  # the socket filter's own line says so
    found += looked_up
    found += [judge(each) for each in measured]
    if not measured:
        found.append(
            Check("detection bound", Grade.WARN, "cannot be measured here", "see the lines above")
        )
    return Diagnosis(tuple(found), measured)


async def _look_up(host: str, result: list[Check]) -> None:
    name, began_at = f"host {printable(host)}", trio.current_time()
    try:
        answer = await SystemResolver().resolve(host, 80)
    except ResolveError as error:
        result.append(Check(name, Grade.FAIL, printable(str(error)), "see the name servers above"))
        return
    took = trio.current_time() - began_at
    addresses = ", ".join(endpoint.address for endpoint in answer.endpoints)
    source = f"{answer.source} {answer.server}".strip()
    ttl = f", TTL {answer.ttl:.0f} s" if answer.ttl is not None else ""
    result.append(Check(name, Grade.OK, f"{addresses} ({source}{ttl}) in {took * 1000:.1f} ms"))


def judge(measured: Measured) -> Check:
    """What was measured, beside its bound."""
    if measured.phase is None:
        return _judge_living(measured)
    assert measured.bounds is not None
    name, bounds = PHASES[measured.phase], measured.bounds
    if measured.dead is None or measured.suspect is None:
        advice = "the kernel does not show it: is this a sandbox with a network of its own?"
        return Check(name, Grade.FAIL, "not noticed", advice)
    found = (
        f"suspect after {measured.suspect:.2f} s (bound {bounds.suspect:.2f}), "
        f"dead after {measured.dead:.2f} s (bound {bounds.dead:.2f})"
    )
    late = max(measured.suspect - bounds.suspect, measured.dead - bounds.dead)
    if late <= LATENESS:
        return Check(name, Grade.OK, found)
    advice = f"{late:.2f} s late: this machine is busy, and verdicts come as much later"
    return Check(name, Grade.WARN, found, advice)


def _judge_living(measured: Measured) -> Check:
    name = "alive and silent"
    if measured.dead is not None:
        advice = "a living server would be given up here; please report it with this output"
        return Check(name, Grade.FAIL, f"held dead after {measured.dead:.2f} s", advice)
    if measured.suspect is not None:
        advice = "living servers get second requests here: is this machine very busy?"
        return Check(name, Grade.WARN, f"suspect after {measured.suspect:.2f} s", advice)
    return Check(name, Grade.OK, f"no verdict; {measured.probes} probes sent and answered")


def lines(found: Sequence[Check], style: Style, width: int | None) -> list[str]:
    """The checks for a person, `width` columns wide; None: a line is as long as it is."""
    told: list[str] = []
    indent = " " * (NAME_COLUMN + 4)
    for check in found:
        sign, colour = SIGNS[check.grade]
        mark = style.paint(style.sign(sign), Colour.BOLD, colour)
        head = f"  {check.name:<{NAME_COLUMN}}  "
        first, *rest = _wrapped(check.found, head, indent, width)
        told += [mark + first[1:], *rest]
        if check.advice:
            advice = _wrapped(
                f"{style.sign(Sign.SENT)} {check.advice}", indent, indent + "  ", width
            )
            told += [style.paint(line, colour) for line in advice]
    return told


def _wrapped(text: str, first: str, rest: str, width: int | None) -> list[str]:
    if width is None or width < len(rest) + 20:
        return [first + text]
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _finite(seconds: float | None) -> float | None:
    """JSON has no infinity."""
    return None if seconds is None or seconds == float("inf") else round(seconds, 3)
