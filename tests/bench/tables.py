"""Figures as a table on stdout."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["median", "print_table"]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown, so that it can go into docs/performance.md as it is."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |"

    print(f"\n{title}\n")
    print(line(head))
    print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for row in rows:
        print(line(row))
