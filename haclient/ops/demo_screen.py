"""What the spectator sees: a timeline that grows, the servers' state below it, a table at the end.

On a terminal, with rich: the lines stay in the scroll-back, and the last four of the screen are
redrawn. Everywhere else (a pipe, a log, TERM=dumb) the same lines are plain text and rich is not
imported.
"""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TextIO

from haclient.ops.demo_figures import HEADINGS, Figures
from haclient.ops.demo_load import Sample, median
from haclient.ops.demo_servers import Condition, Server
from haclient.ops.style import Sign, Style, can_encode
from haclient.ops.trace import milliseconds

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["PlainScreen", "RichScreen", "Screen", "Tone", "screen_for"]

PLAIN_WIDTH = 80


SPARKS = "▁▂▃▄▅▆▇█"

SPARK_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Seconds; what took longer than the n-th has the n-th spark's successor."""

CONDITIONS: Mapping[Condition, tuple[str, str]] = {
    Condition.STARTING: ("◌", "dim"),
    Condition.UP: ("●", "green"),
    Condition.KILLED: ("✘", "red"),
    Condition.BLACKHOLED: ("○", "red"),
}


class Tone(enum.Enum):
    """How a line is meant; the value is rich's style."""

    PLAIN = ""
    FAINT = "dim"
    GOOD = "green"
    WARNING = "yellow"
    BAD = "red"


class Screen(Protocol):
    """Where the show is shown. Times are seconds since its beginning."""

    def open(self, servers: Sequence[Server], samples: Sequence[Sample]) -> None:
        """The show begins; these are looked at whenever the screen is redrawn."""
        ...

    def heading(self, text: str) -> None:
        """A scene begins."""
        ...

    def line(self, at: float, text: str, tone: Tone = Tone.PLAIN) -> None:
        """Something happened."""
        ...

    def refresh(self) -> None:
        """Redraws what changes all the time."""
        ...

    def close(self) -> None:
        """The show is over, or was broken off."""
        ...

    def finale(self, figures: Figures) -> None:
        """The closing table and the promises."""
        ...


def screen_for(stream: TextIO, environ: Mapping[str, str]) -> Screen:
    """The best that `stream` can show."""
    signs = SPARKS + "".join(sign for sign, _ in CONDITIONS.values())
    is_terminal = stream.isatty() and environ.get("TERM", "dumb") != "dumb"
    if is_terminal and can_encode(stream, signs):
        return RichScreen(stream)
    return PlainScreen(stream, Style.of(stream, environ))


class PlainScreen:
    """Lines of text."""

    def __init__(self, stream: TextIO, style: Style) -> None:
        self._stream = stream
        self._style = style

    def open(self, servers: Sequence[Server], samples: Sequence[Sample]) -> None:
        """As Screen."""

    def heading(self, text: str) -> None:
        """As Screen."""
        self._write(f"\n{text}")

    def line(self, at: float, text: str, tone: Tone = Tone.PLAIN) -> None:
        """As Screen."""
        self._write(f"{at:8.3f}  {text}")

    def refresh(self) -> None:
        """As Screen."""

    def close(self) -> None:
        """As Screen."""

    def finale(self, figures: Figures) -> None:
        """As Screen."""
        heads = [heading.replace("\n", " ") for heading in HEADINGS]
        lines = [heads, *(list(row.cells()) for row in figures.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        self._write("")
        for cells in lines:
            first, *rest = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            self._write("  ".join([first.strip().ljust(widths[0]), *rest]))
        self._write("")
        for promise in figures.promises:
            sign = self._style.sign(Sign.DONE if promise.held else Sign.FAILED)
            self._write(
                textwrap.fill(
                    f"{sign} {promise.text}",
                    PLAIN_WIDTH,
                    subsequent_indent="  ",
                    break_long_words=False,
                )
            )

    def _write(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class RichScreen:
    """A terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        for module in ("box", "rule", "table", "text"):
            # All that is drawn later, so that no import falls into the middle of a race.
            import_module(f"rich.{module}")
        self._console = Console(file=stream, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False
        )
        self._footer: Callable[[], RenderableType] | None = None

    def open(self, servers: Sequence[Server], samples: Sequence[Sample]) -> None:
        """As Screen."""
        self._footer = lambda: self._draw(servers, samples)
        self._live.start()

    def heading(self, text: str) -> None:
        """As Screen."""
        from rich.text import Text

        self._console.print()
        self._console.print(Text(f" {text}", "bold"))

    def line(self, at: float, text: str, tone: Tone = Tone.PLAIN) -> None:
        """As Screen."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=8, justify="right")
        grid.add_column()
        grid.add_row(Text(f"{at:.3f}", "dim"), Text(text, tone.value))
        self._console.print(grid)
        self.refresh()

    def refresh(self) -> None:
        """As Screen."""
        if self._footer is not None:
            self._live.update(self._footer(), refresh=True)

    def close(self) -> None:
        """As Screen."""
        self._footer = None
        self._live.stop()

    def finale(self, figures: Figures) -> None:
        """As Screen."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="bold")
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left")
        for row in figures.rows:
            table.add_row(*row.cells())
        self._console.print()
        self._console.print(table)
        for promise in figures.promises:
            grid = Table.grid(padding=(0, 1))
            mark = Text(" ✔", "bold green") if promise.held else Text(" ✘", "bold red")
            grid.add_row(mark, Text(promise.text, "" if promise.held else "red"))
            self._console.print(grid)

    def _draw(self, servers: Sequence[Server], samples: Sequence[Sample]) -> RenderableType:
        from rich.console import Group
        from rich.rule import Rule
        from rich.text import Text

        state = Text("  ")
        for server in servers:
            sign, style = CONDITIONS[server.condition]
            state.append(f"{server.address} ")
            state.append(f"{sign} {server.condition.value}".ljust(14), style)
        lost = sum(each.problem is not None for each in samples)
        recent = samples[-50:]
        count = Text(f"  {len(samples)} requests answered, ")
        count.append(f"{lost} lost", "bold red" if lost else "green")
        count.append(
            f", half of the last {len(recent)} within {milliseconds(median(each.took for each in recent))}"
        )
        sparks = Text("  ")
        for each in samples[-(self._console.width - 4) :]:
            step = sum(each.took > limit for limit in SPARK_STEPS)
            sparks.append(
                SPARKS[step], "red" if each.problem else "yellow" if step > 3 else "green"
            )
        return Group(Rule(style="dim"), state, count, sparks)
