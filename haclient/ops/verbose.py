"""-v: what goes over the wire, in curl's form, as a reader of haclient.events.

    * what happens, > what is sent, < what comes in

Unlike curl, credentials are masked: this ends up in logs and tickets. A stream that cannot be
written to any more is given up in silence: whoever watches must not harm what is watched.
"""

from __future__ import annotations

import re
from typing import TextIO, assert_never

from haclient import events
from haclient.ops.output import head_lines
from haclient.ops.style import printable
from haclient.types import ConnectFailure

__all__ = ["Verbose"]

_SECRET = re.compile(
    r"^((?:proxy-)?authorization|(?:set-)?cookie|[^:\n]*(?:token|secret|passw|api-?key)[^:\n]*):.+$",
    re.IGNORECASE | re.MULTILINE,
)
"""The fields that are credentials by their definition, and those that say so in their name."""


class Verbose:
    """Writes to `stream` what passes; of an event that curl knows nothing of, one "*" line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._sent: set[int] = set()
        self._early: list[bytes] = []

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        match event:
            case events.NameResolved(_, _, host, endpoints, source, _):
                if source != "literal":
                    self._note(f"{host}: {', '.join(map(str, endpoints))} ({source})")
            case events.ConnectionAttemptStarted(_, _, endpoint):
                self._note(f"Trying {endpoint}...")
            case events.ConnectionAttemptEnded(_, _, endpoint, failure, detail):
                if failure is not None and failure is not ConnectFailure.LOST:
                    self._note(f"{endpoint}: {failure.value}{f' ({detail})' if detail else ''}")
            case events.Connected(_, _, origin, endpoint, _, reused, tls):
                how = "Re-using connection" if reused else "Connected"
                self._note(f"{how} to {origin} ({endpoint}){f', {tls}' if tls else ''}")
            case events.RequestSent(_, attempt, _, head, _):
                self._sent.add(attempt)
                self._lines(">", head)
                self._release()
            case events.InterimReceived(_, attempt, status, fields, reason, http_version):
                # The request is told of when its last byte is sent, and a 100 comes before that.
                self._early.append(head_lines(http_version, status, reason, fields))
                if attempt in self._sent:
                    self._release()
            case events.ResponseStarted(_, _, _, status, reason, http_version, fields):
                self._release()
                self._lines("<", head_lines(http_version, status, reason, fields))
            case events.Probed(_, _, endpoint, silent_for):
                self._note(f"{endpoint} silent for {silent_for:.2f} s: TCP keep-alive probe sent")
            case events.Suspected(_, _, endpoint, evidence):
                self._note(f"{endpoint} suspect: {evidence}")
            case events.Cleared(_, _, endpoint):
                self._note(f"{endpoint} is alive after all")
            case events.DeclaredDead(_, _, endpoint, evidence):
                self._note(f"{endpoint} dead: {evidence}")
            case events.AttemptStarted(_, attempt, _, reason):
                if reason:
                    self._note(f"Attempt {attempt}: {reason}")
            case events.ExchangeEnded():
                self._sent.clear()
            case events.AttemptEnded():
                pass
            case _:
                assert_never(event)

    def _release(self) -> None:
        heads, self._early = self._early, []
        for head in heads:
            self._lines("<", head)

    def _note(self, text: str) -> None:
        self._write(f"* {printable(text)}\n")

    def _lines(self, sign: str, head: bytes) -> None:
        text = head.decode("latin-1").removesuffix("\r\n\r\n").replace("\r\n", "\n")
        text = _SECRET.sub(r"\1: (masked)", text)
        lines = [f"{sign} {printable(line)}\n" for line in (*text.split("\n"), "")]
        self._write("".join(lines))

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            self._stream = None
