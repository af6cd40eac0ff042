"""A status report as a page for a person: what serves, what is thought of each address, what failed.

Nothing is coloured but what deviates, so that a page without colour is one where nothing is wrong. All
texts come from elsewhere (paths from clients, names from DNS), so each is made printable first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from haclient.ops.style import Colour, Sign, Style, printable

TYPE_CHECKING = False  # as typing's, whose import takes longer than all else here
if TYPE_CHECKING:
    from haclient.ops.status_report import (
        DestinationReport,
        DnsReport,
        EndpointReport,
        FailoverReport,
        ListenerReport,
        StatusReport,
        TargetReport,
    )

__all__ = ["page", "span"]

MARKS: Mapping[str, tuple[Sign, tuple[Colour, ...]]] = {
    "ok": (Sign.DONE, (Colour.GREEN,)),
    "untried": (Sign.SUSPECT, ()),
    "suspect": (Sign.SUSPECT, (Colour.YELLOW,)),
    "unavailable": (Sign.WARNING, (Colour.YELLOW,)),
    "failed": (Sign.FAILED, (Colour.RED,)),
    "held down": (Sign.FAILED, (Colour.RED,)),
}

SCARCE = 0.2
"""A retry budget below this share is worth a look."""

Cells = Sequence[str]
Clock = Callable[[float], str]
"""Unix time as a text."""


def local_clock(at: float) -> str:
    """Hours, minutes and seconds here."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def page(
    report: StatusReport,
    style: Style,
    rates: Mapping[str, float] | None = None,
    clock: Clock = local_clock,
) -> list[str]:
    """All of it, line by line.

    Args:
        report: what the daemon said.
        style: what the stream can show.
        rates: requests a second of each target, where two reports were compared.
        clock: for what happened at an instant.
    """
    lines = list(_head(report, style))
    if report.listeners:
        lines += ["", *_listeners(report.listeners, style)]
    for target in report.targets:
        rate = None if rates is None else rates.get(target.name, 0.0)
        lines += ["", *_target(target, style, rate)]
    lines += _destinations(getattr(report, "destinations", ()), style)  # an older daemon has none
    if report.last_failovers:
        lines += ["", _title("last failovers", style), *_failovers(report, style, clock)]
    if report.dns:
        lines += ["", _title("names", style), *_names(report.dns, style)]
    return lines


def span(seconds: float) -> str:
    """`3 d 4 h`, `4 h 12 min`, `12 min 5 s`, `5 s`: two units are enough."""
    rest = max(0, int(seconds))
    for unit, smaller, word, below in (
        (86400, 3600, "d", "h"),
        (3600, 60, "h", "min"),
        (60, 1, "min", "s"),
    ):
        if rest >= unit:
            return f"{rest // unit} {word} {rest % unit // smaller} {below}"
    return f"{rest} s"


def counted(count: int, word: str) -> str:
    """`1 failover`, `2 failovers`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _head(report: StatusReport, style: Style) -> Iterator[str]:
    state = printable(report.state)
    runs = f"running for {span(report.uptime)}"
    if state == "running":
        told = style.paint("running", Colour.BOLD, Colour.GREEN) + runs.removeprefix("running")
    else:
        told = f"{runs}, {style.paint(state, Colour.BOLD, Colour.YELLOW)}"
    yield f"haclient {printable(report.version)}, pid {report.pid}: {told}"
    times = "" if report.generation == 1 else f", loaded {report.generation} times"
    yield f"{printable(report.config_file)}{times}"
    kept = f"; {_size(report.replay_bytes)} kept for resends" if report.replay_bytes else ""
    yield f"{report.outstanding} outstanding{kept}"


def _listeners(listeners: Sequence[ListenerReport], style: Style) -> Iterator[str]:
    yield _title("listeners", style)
    rows = [
        (
            printable(one.name),
            printable(one.bind),
            f"{one.connections} of {counted(one.limit, 'connection')}",
            f"{one.outstanding} outstanding",
            counted(one.requests, "request"),
        )
        for one in listeners
    ]
    for one, line in zip(listeners, _columns(rows), strict=True):
        paused = style.paint("  accepting is paused", Colour.YELLOW) if one.is_paused else ""
        yield f"  {line}{paused}"


def _target(target: TargetReport, style: Style, rate: float | None) -> Iterator[str]:
    parts = [counted(target.requests, "request")]
    if rate is not None:
        parts.append(f"{rate:.0f}/s")
    parts += [f"{target.outstanding} outstanding", counted(target.failovers, "failover")]
    parts.append(f"{target.resent} resent")
    budget = f"budget {target.budget_remaining * 100:.0f} %"
    parts.append(style.paint(budget, *((Colour.RED,) if target.budget_remaining < SCARCE else ())))
    yield f"{_title(f'target {printable(target.name)}', style)}  {', '.join(parts)}"
    yield from _rows(target.endpoints, style)
    if not target.endpoints:
        yield "  no address is known yet"


def _destinations(destinations: Sequence[DestinationReport], style: Style) -> Iterator[str]:
    """How many each listener has; of these only those in trouble, for there may be hundreds."""
    for listener in dict.fromkeys(one.listener for one in destinations):
        kept = [one for one in destinations if one.listener == listener]
        troubled = [one for one in kept if any(not _is_well(each) for each in one.endpoints)]
        yield ""
        title = _title(f"destinations of {printable(listener)}", style)
        yield f"{title}  {len(kept)} kept, {len(troubled)} with an address in trouble"
        yield from _rows([each for one in troubled for each in one.endpoints], style)


def _is_well(one: EndpointReport) -> bool:
    return one.state in {"ok", "untried"}


def _rows(endpoints: Sequence[EndpointReport], style: Style) -> Iterator[str]:
    rows = [_endpoint(one) for one in endpoints]
    for one, line in zip(endpoints, _columns(rows), strict=True):
        sign, colours = MARKS.get(one.state, (Sign.WARNING, (Colour.YELLOW,)))
        mark = style.paint(style.sign(sign), Colour.BOLD, *colours)
        yield f"  {mark} {line if one.state == 'ok' else style.paint(line, *colours)}"


def _endpoint(one: EndpointReport) -> Cells:
    state = printable(one.state)
    if one.held_for is not None:
        state += f", asked again in {one.held_for:.1f} s"
    if one.failures:
        state += f", {counted(one.failures, 'failure')}"
    if one.state == "failed" and one.leased:
        state += ", no answer since"  # whoever is connected waits for the first one
    if one.health:
        state += f", health request {printable(one.health)}"
    return (
        printable(one.address),
        printable(one.origin) + (" (backup)" if one.tier else ""),
        state,
        f"{one.leased} in use, {one.idle} idle",
        printable(one.source),
    )


def _failovers(report: StatusReport, style: Style, clock: Clock) -> Iterator[str]:
    return (
        f"  {line}"
        for line in _columns([_failover(one, style, clock) for one in report.last_failovers])
    )


def _failover(one: FailoverReport, style: Style, clock: Clock) -> Cells:
    evidence = f" ({printable(one.evidence)})" if one.evidence else ""
    return (
        clock(one.at),
        printable(one.target),
        f"{printable(one.method)} {printable(one.path)}",
        f"{printable(one.source)} {style.sign(Sign.SENT)} {printable(one.to) or 'none'}",
        f"{one.seconds:.2f} s",
        f"{printable(one.verdict)}{evidence}",
    )


def _names(names: Sequence[DnsReport], style: Style) -> Iterator[str]:
    rows = [
        (
            printable(one.name),
            printable(", ".join(one.addresses)) or "no address",
            printable(one.source),
            "" if one.ttl is None else f"TTL {one.ttl:.0f} s",
        )
        for one in names
    ]
    for one, line in zip(names, _columns(rows), strict=True):
        stale = style.paint("  stale", Colour.YELLOW) if one.is_stale else ""
        error = style.paint(f"  {printable(one.error)}", Colour.RED) if one.error else ""
        yield f"  {line}{stale}{error}"


def _columns(rows: Sequence[Cells]) -> list[str]:
    """Rows of the same number of cells, one below the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _title(text: str, style: Style) -> str:
    return style.paint(text, Colour.BOLD)


def _size(count: int) -> str:
    for unit, word in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {word}"
    return counted(count, "byte")
