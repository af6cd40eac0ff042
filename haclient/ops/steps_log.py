"""The engine's steps as lines of the log, at level debug: what a fault is looked for with.

The access log says what came of a request; this says how: names, connects, probes, verdicts. A request
makes some ten lines, and requests that are outstanding together mix theirs; `local` tells connections
apart. Only what is listed below is told: heads hold credentials and are not among it.
"""

from __future__ import annotations

import enum
import re

from haclient.events import AttemptEnded, Event, ExchangeEnded
from haclient.ops.log import Log

__all__ = ["StepsLog"]

TOLD = (
    "attempt",
    "host",
    "endpoints",
    "source",
    "ttl",
    "endpoint",
    "local",
    "reused",
    "tls",
    "failure",
    "detail",
    "bytes_sent",
    "silent_for",
    "evidence",
    "status",
)
"""Members of events, in the order in which a line has them."""

_WORD = re.compile("(?<=[a-z])(?=[A-Z])")


class StepsLog:
    """An observer that writes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, event: Event) -> None:
        """Writes one line; the end of an exchange has its own in the access log."""
        if isinstance(event, ExchangeEnded):
            return
        words = _WORD.sub(" ", type(event).__name__).lower()
        if isinstance(event, AttemptEnded):
            self._log.debug(words, attempt=event.attempt, what=event.record.describe())
            return
        values = ((name, getattr(event, name, None)) for name in TOLD)
        self._log.debug(words, **{name: _shown(value) for name, value in values if value})


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return value.value if isinstance(value, enum.Enum) else value
