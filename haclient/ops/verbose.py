"""-v: what goes over the wire, in curl's form, as a reader of haclient.events.

    * what happens, > what is sent, < what comes in

Unlike curl, credentials are masked: this ends up in logs and tickets.
"""

from __future__ import annotations

import re
from typing import TextIO

from haclient import events
from haclient.ops.style import printable
from haclient.types import ConnectFailure, Fields

__all__ = ["Verbose", "head_lines"]

_SECRET = re.compile(
    r"^(authorization|proxy-authorization|cookie|set-cookie): .*$", re.IGNORECASE | re.MULTILINE
)


def head_lines(http_version: bytes, status: int, reason: bytes, fields: Fields) -> bytes:
    """A response's head as it came, but for white space that has no meaning."""
    lines = [b"HTTP/%b %d %b" % (http_version, status, reason)]
    lines += [name + b": " + value if value else name + b":" for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Verbose:
    """Writes to `stream` what passes; of an event that curl knows nothing of, one "*" line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        match event:
            case events.NameResolved(_, _, host, endpoints, source, _):
                self._note(f"{host}: {', '.join(map(str, endpoints))} ({source})")
            case events.ConnectionAttemptStarted(_, _, endpoint):
                self._note(f"Trying {endpoint}...")
            case events.ConnectionAttemptEnded(_, _, endpoint, failure, detail):
                if failure is not None and failure is not ConnectFailure.LOST:
                    self._note(f"{endpoint}: {failure.value}{f' ({detail})' if detail else ''}")
            case events.Connected(_, _, origin, endpoint, _, reused, tls):
                how = "Re-using connection" if reused else "Connected"
                self._note(f"{how} to {origin} ({endpoint}){f', {tls}' if tls else ''}")
            case events.RequestSent(_, _, _, head, _):
                self._lines(">", head)
            case events.InterimReceived(_, _, status, fields):
                self._lines("<", head_lines(b"1.1", status, b"", fields))
            case events.ResponseStarted():
                self._lines(
                    "<",
                    head_lines(event.http_version, event.status, event.reason, event.fields),
                )
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
            case events.AttemptEnded() | events.ExchangeEnded():
                pass

    def _note(self, text: str) -> None:
        self._stream.write(f"* {printable(text)}\n")

    def _lines(self, sign: str, head: bytes) -> None:
        text = head.decode("latin-1").removesuffix("\r\n\r\n").replace("\r\n", "\n")
        text = _SECRET.sub(r"\1: (masked)", text)
        for line in (*text.split("\n"), ""):
            self._stream.write(f"{sign} {printable(line)}\n")
