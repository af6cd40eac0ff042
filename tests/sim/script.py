"""What an origin is told to do, and what it has seen; shared by all of its connections."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from haclient.types import Endpoint, Fields
from tests.sim.effects import Fault
from tests.sim.journal import Journal
from tests.sim.network import SimNetwork

__all__ = ["Framing", "OriginState", "ReceivedRequest", "Reply", "Scripted", "ranged"]


class Framing(enum.Enum):
    """How the end of a response's content is told (RFC 9112, section 6.3)."""

    COUNTED = "Content-Length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "the connection's end"


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """What an origin read of a request. `connection` is the network's number, from 1.

    `at` is when it was read whole; or, of a part, when its first byte arrived.
    """

    at: float
    connection: int
    method: bytes = b""
    target: bytes = b""
    fields: Fields = ()
    content: bytes = b""
    is_whole: bool = False

    def value(self, name: bytes) -> bytes | None:
        """The first field line of this name (lower case)."""
        return next((value for key, value in self.fields if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """How to answer. Without `content`, one line that says who answers what."""

    status: int = 200
    content: bytes | None = None
    framing: Framing = Framing.COUNTED
    fields: Fields = ()
    think: float = 0.0
    """Seconds between the whole request and the first byte of the response."""
    interim: tuple[int, ...] = ()
    """1xx statuses, sent before thinking."""
    closes: bool = False
    """Whether "Connection: close" is said, and done."""


def ranged(content: bytes, etag: bytes) -> Callable[[ReceivedRequest], Reply]:
    """Answers with all of it, or from a byte on where "Range: bytes=N-" asks for that.

    If-Range, where there is one, must be the entity tag (RFC 9110, sections 13.1.5 and 14.2).
    """

    def reply(request: ReceivedRequest) -> Reply:
        fields = ((b"ETag", etag), (b"Accept-Ranges", b"bytes"))
        unit, _, span = (request.value(b"range") or b"").partition(b"=")
        if unit != b"bytes" or not span.endswith(b"-"):
            return Reply(200, content, fields=fields)
        first = int(span[:-1])
        if (request.value(b"if-range") or etag) != etag or first >= len(content):
            return Reply(200, content, fields=fields)
        span = b"bytes %d-%d/%d" % (first, len(content) - 1, len(content))
        return Reply(206, content[first:], fields=(*fields, (b"Content-Range", span)))

    return reply


@dataclass(slots=True)
class Scripted:
    """A fault, and how many of its occasions have come."""

    fault: Fault
    occasions: int = 0

    def is_due(self) -> bool:
        """Counts an occasion; returns whether it is one to suffer at."""
        skip, times = self.fault.skip, self.fault.times
        self.occasions += 1
        return self.occasions > skip and (times is None or self.occasions <= skip + times)


@dataclass(slots=True, eq=False)
class OriginState:
    """What all connections of an origin share."""

    network: SimNetwork
    endpoint: Endpoint
    name: str
    reply: Reply | Callable[[ReceivedRequest], Reply]
    journal: Journal | None
    scripted: list[Scripted] = field(default_factory=list)
    executed: list[ReceivedRequest] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Writes into the journal, if there is one."""
        if self.journal is not None:
            self.journal.note(self.name, text)

    def due(self, is_meant: Callable[[Fault], bool]) -> list[Fault]:
        """The faults to be suffered at the occasion that comes now, for the faults meant."""
        meant = [scripted for scripted in self.scripted if is_meant(scripted.fault)]
        return [scripted.fault for scripted in meant if scripted.is_due()]
