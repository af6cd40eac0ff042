"""What is known of one URL's transfer so far: for -w, for -i, and for the error line.

The events count what goes over the wire, every attempt of it; the transfer itself notes what only it
knows (redirects, the head that is the answer). A second URL gets a meter of its own.
"""

from __future__ import annotations

import msgspec

from haclient import events
from haclient.core.url import Url
from haclient.ops.output import Output, head_lines
from haclient.response import Response
from haclient.types import AttemptRecord, Endpoint, Instant

__all__ = ["Meter"]


class Meter(msgspec.Struct, eq=False):
    """One of the client's observers, and the transfer's notebook.

    Attributes:
        started_at: when the transfer began; the first request of a row of redirects.
        url, method: of the last request; None and empty before there is one.
        referer, has_idempotency_key: of the first.
        response: the last answer.
        attempts: of every request that is over, redirects included.
        redirected_at: when the last request of a row of redirects began.
        location: where a redirect points that was not followed.
        interim_heads: of the attempt that the last answer came from.
        connects: connections that were opened.
        head_bytes_sent, content_bytes_sent: handed to the kernel, by every attempt.
        head_bytes_received: of the answers, interim heads included.
        remote, local: the ends of the last connection.
        output: where the answer goes, once that is known.
    """

    started_at: Instant
    url: Url | None = None
    method: str = ""
    referer: bytes = b""
    has_idempotency_key: bool = False
    response: Response | None = None
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)
    redirects: int = 0
    redirected_at: Instant | None = None
    location: str = ""
    interim_heads: list[bytes] = msgspec.field(default_factory=list)
    connects: int = 0
    head_bytes_sent: int = 0
    content_bytes_sent: int = 0
    head_bytes_received: int = 0
    remote: Endpoint | None = None
    local: Endpoint | None = None
    output: Output | None = None
    _interim_of: int = 0

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        match event:
            case events.Connected(_, _, _, endpoint, local, reused, _):
                self.connects += not reused
                self.remote, self.local = endpoint, local
            case events.RequestSent(_, _, _, head, bytes_sent):
                self.head_bytes_sent += len(head)
                self.content_bytes_sent += max(0, bytes_sent - len(head))
            case events.InterimReceived(_, attempt, status, fields, reason, http_version):
                self._forget_others(attempt)
                self.interim_heads.append(head_lines(http_version, status, reason, fields))
            case events.ResponseStarted(_, attempt, _, _, _, _, _):
                self._forget_others(attempt)
            case _:
                pass

    def _forget_others(self, attempt: int) -> None:
        """An attempt that was given up may have had interim heads, too."""
        if attempt != self._interim_of:
            self._interim_of = attempt
            self.interim_heads.clear()
