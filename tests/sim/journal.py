"""One ordered record of what happened, with instants, asserted slice by slice.

A test that asserts on many separate lists cannot say what came before what. Here the network, the
origins, the resolver and the client's observer all write into one record, and a test states the
slice that it expects as lines of text:

    journal.expect('''
        0.000  network   10.0.0.1:80 connected, 1
        0.000  origin a  1: GET / whole
        1.500  client    Suspected 10.0.0.1:80
    ''')

`expect` takes what was written since the last one, so a scenario reads as phases. A mismatch shows
both sides as a diff.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import trio

from haclient.events import Event

__all__ = ["Entry", "Journal"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `at` is an instant on trio's clock, seconds."""

    at: float
    source: str
    text: str
    event: Event | None = None
    """The client's own event, where it is one."""

    def __str__(self) -> str:
        return f"{self.at:.3f}  {self.source}: {self.text}"


class Journal:
    """The record of one test."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._asserted = 0

    def __repr__(self) -> str:
        return f"<Journal, {len(self.entries)} entries>\n" + "\n".join(map(str, self.entries))

    def note(self, source: str, text: str, event: Event | None = None) -> None:
        """Writes an entry with the instant of now."""
        self.entries.append(Entry(trio.current_time(), source, text, event))

    def observer(self, source: str = "client") -> Callable[[Event], None]:
        """Returns an observer for the client (haclient.events.Observer)."""

        def observe(event: Event) -> None:
            where = getattr(event, "endpoint", None)
            name = type(event).__name__
            self.note(source, f"{name} {where}" if where is not None else name, event)

        return observe

    def take(self, *sources: str) -> tuple[Entry, ...]:
        """Returns the entries since the last slice, of these sources only; of all by default."""
        fresh = self.entries[self._asserted :]
        self._asserted = len(self.entries)
        return tuple(entry for entry in fresh if not sources or entry.source in sources)

    def expect(self, text: str, *sources: str) -> None:
        """Asserts the slice since the last one, as `seconds  source: text` lines.

        Spaces between the parts do not count; instants are compared to the millisecond.

        Raises:
            AssertionError: with a diff.
        """
        expected = [" ".join(line.split()) for line in textwrap.dedent(text).splitlines()]
        actual = [" ".join(str(entry).split()) for entry in self.take(*sources)]
        expected = [line for line in expected if line]
        if expected != actual:
            diff = difflib.ndiff(expected, actual)
            raise AssertionError(
                "the journal is not as expected (- expected, + happened)\n" + "\n".join(diff)
            )

    def instants(self, source: str, text: str) -> tuple[float, ...]:
        """When a source wrote exactly this."""
        return tuple(e.at for e in self.entries if e.source == source and e.text == text)
