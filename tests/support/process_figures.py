"""What a process of ours has cost so far: processor time and memory, from /proc (proc(5))."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peak", "cpu_seconds", "peak_memory", "pss_bytes"]

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

SAMPLED_EACH = 0.05
"""Seconds. A buffer that fills at 1 GB/s is seen once it has grown by 50 MB."""


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads, in steps of 10 ms."""
    # The command's name stands in parentheses and may hold spaces; what follows it does not.
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / TICKS_A_SECOND


def pss_bytes(pid: int) -> int:
    """Its share of memory: what it alone has, and its part of what it has with others."""
    found = re.search(r"^Pss: +([0-9]+) kB", _rollup(pid), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _rollup(pid: int) -> str:
    return Path(f"/proc/{pid}/smaps_rollup").read_text()


@dataclass
class Peak:
    """The most that was seen."""

    before: int
    highest: int

    @property
    def growth(self) -> int:
        """Bytes above where it began."""
        return self.highest - self.before


@contextmanager
def peak_memory(pid: int) -> Iterator[Peak]:
    """Watches a process's memory until the block ends, from a thread of its own."""
    now = pss_bytes(pid)
    peak, is_over = Peak(now, now), threading.Event()

    def watch() -> None:
        while not is_over.wait(SAMPLED_EACH):
            peak.highest = max(peak.highest, pss_bytes(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        is_over.set()
        thread.join()
        peak.highest = max(peak.highest, pss_bytes(pid))
