"""`haclient status`: how the daemon is, for a person or as JSON; with `--watch` again each second.

The report comes from the daemon's admin endpoint. It is not decoded by msgspec, whose import takes 20 ms
where the rest of this command takes 25: the objects of JSON become namespaces with the same attributes,
and are typed as the report. A daemon of another version may lack one; that is told, and `--json` shows
what there is.

On a terminal `--watch` draws on the alternate screen, which leaves the scroll-back as it was; into a
pipe it writes one report after the other. It ends at Ctrl-C, with 0: that is what it was asked to do.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

from haclient.ops.admin_client import GARBLED, admin_parser, ask, endpoint
from haclient.ops.command_line import CommandError, CommandParser
from haclient.ops.status_table import page
from haclient.ops.style import Colour, Sign, Style

TYPE_CHECKING = False  # as typing's, whose import takes longer than all else here
if TYPE_CHECKING:
    from haclient.ops.status_report import StatusReport

__all__ = ["build_parser", "run"]

PATIENCE = 10.0

HTTP_ERROR = 22

INTERVAL = 1.0
"""Seconds between two looks of --watch."""

# ECMA-48, and xterm's private modes that all terminals have taken over.
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def build_parser() -> CommandParser:
    """Returns the command's parser."""
    parser = admin_parser(
        "status",
        "[--json] [--watch] [-c FILE | --admin ADDRESS]",
        "How the daemon is: listeners, targets, addresses and what is thought of them, outstanding "
        "requests, the last failovers.",
        "Exits with 7 if the daemon cannot be reached. --watch ends at Ctrl-C, with 0.",
        PATIENCE,
    )
    parser.add_argument("--json", action="store_true", help="print what the daemon says, as JSON")
    parser.add_argument("--watch", action="store_true", help="again each second")
    return parser


def run(argv: list[str]) -> int:
    """Prints the report, once or again and again."""
    options, address = endpoint(build_parser(), argv)
    patience = options.max_time
    if options.watch:
        return _watch(address, patience, as_json=options.json)
    content = _fetch(address, patience)
    if options.json:
        sys.stdout.write(_reformatted(content, indent=2))
    else:
        style = Style.of(sys.stdout, os.environ)
        sys.stdout.write("".join(f"{line}\n" for line in _page(content, style, None)))
    return 0


def _fetch(address: str, patience: float) -> bytes:
    answer = ask(address, "GET", "/status", patience)
    if not answer.is_successful or answer.media_type != "application/json":
        raise CommandError(
            f"GET /status was answered with {answer.status} ({answer.media_type or 'no type'}) at "
            f"{address}; name the daemon's admin endpoint with --admin",
            HTTP_ERROR,
        )
    return answer.content


def _report(content: bytes) -> StatusReport:
    import json

    try:
        report: StatusReport = json.loads(content, object_hook=_namespace)
    except (ValueError, RecursionError, TypeError):
        raise _no_json() from None
    return report


def _namespace(members: dict[str, object]) -> SimpleNamespace:
    if "from" in members:  # no name in Python
        members["source"] = members.pop("from")
    return SimpleNamespace(**members)


def _reformatted(content: bytes, indent: int | None) -> str:
    import json

    try:
        return json.dumps(json.loads(content), indent=indent) + "\n"
    except (ValueError, RecursionError):
        raise _no_json() from None


def _no_json() -> CommandError:
    return CommandError("the daemon's report is no JSON; is that its admin endpoint?", GARBLED)


def _page(content: bytes, style: Style, rates: _Rates | None) -> list[str]:
    report = _report(content)
    try:
        return page(report, style, None if rates is None else rates.of(report))
    except (AttributeError, TypeError) as error:
        raise CommandError(
            f"the daemon's report is of another version ({error}); see it with --json", GARBLED
        ) from None


class _Rates:
    """Requests a second of each target, from two reports that came one after the other."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._uptime = 0.0

    def of(self, report: StatusReport) -> Mapping[str, float]:
        """Since the report before; of the daemon's clock, for ours may have slept."""
        now = {target.name: target.requests for target in report.targets}
        took = report.uptime - self._uptime
        rates = {
            name: (count - self._before[name]) / took
            for name, count in now.items()
            if took > 0 and self._before.get(name, count + 1) <= count
        }
        self._before, self._uptime = now, report.uptime
        return rates


# --- again and again ------------------------------------------------------------------------------


def _watch(address: str, patience: float, *, as_json: bool) -> int:
    content = _fetch(address, patience)  # a wrong address ends it at once
    style, rates = Style.of(sys.stdout, os.environ), _Rates()
    is_screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not as_json
    try:
        with _alternate_screen() if is_screen else nullcontext():
            for shown in _again(address, patience, content):
                if isinstance(shown, CommandError):
                    _tell_trouble(
                        f"haclient: ({shown.exit_code}) {shown}", style, is_screen=is_screen
                    )
                elif as_json:
                    _write(_reformatted(shown, None))
                elif is_screen:
                    _draw(_page(shown, style, rates), style)
                else:
                    _write("".join(f"{line}\n" for line in [*_page(shown, style, rates), ""]))
    except KeyboardInterrupt:
        pass
    return 0


def _again(address: str, patience: float, content: bytes) -> Iterator[bytes | CommandError]:
    """The report each second, without end; a daemon that is away is waited for."""
    due = time.perf_counter()
    shown: bytes | CommandError = content
    while True:
        yield shown
        due = max(due + INTERVAL, time.perf_counter())
        select.select([], [], [], max(0.0, due - time.perf_counter()))
        try:
            shown = _fetch(address, patience)
        except CommandError as error:
            shown = error


def _tell_trouble(line: str, style: Style, *, is_screen: bool) -> None:
    if is_screen:
        columns, _ = _size()
        parts = [line[at : at + columns] for at in range(0, len(line), columns)]
        _draw([style.paint(part, Colour.RED) for part in parts], style)
    else:
        sys.stderr.write(f"{line}\n")


def _draw(lines: list[str], style: Style) -> None:
    """As much as there is room for; what is cut off leaves a sign."""
    columns, rows = _size()
    more = style.sign(Sign.SILENT) if style.is_unicode else ">"
    shown = [_cut(line, columns, more) for line in lines[: rows - 1]]
    if len(lines) > len(shown) > 0:
        hidden = len(lines) - len(shown) + 1
        shown[-1] = _cut(f"{more} {hidden} lines more, on a higher screen", columns, more)
    _write(HOME + "".join(f"{line}{REST_OF_LINE}\n" for line in shown) + REST_OF_SCREEN)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _size() -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns = rows = 0
    return columns or 80, rows or 24  # a serial line says 0


def _cut(line: str, columns: int, more: str) -> str:
    """The line, or its first columns with `more` in the last of them; escape codes take none."""
    shown: list[str] = []
    at, width = 0, 0
    while at < len(line):
        if line[at] == "\x1b":
            end = line.index("m", at) + 1
        elif width < columns:
            end, width = at + 1, width + 1
        else:
            last = max(index for index, part in enumerate(shown) if len(part) == 1)
            shown[last] = more
            return "".join(shown[: last + 1]) + ("\x1b[0m" if "\x1b" in line else "")
        shown.append(line[at:end])
        at = end
    return line


@contextmanager
def _alternate_screen() -> Iterator[None]:
    # Ended by anything but Ctrl-C it would leave a terminal without a cursor.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _write(ENTER)
    try:
        yield
    finally:
        _write(LEAVE)
