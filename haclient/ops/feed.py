"""What happens, as server-sent events (WHATWG HTML, section 9.2) to whoever listens.

    id: 1795780800123
    event: failover
    data: {"at":1795780800.1,"target":"orders","from":"10.0.0.2:8080","to":"10.0.0.3:8080",…}

A server that dies under five hundred outstanding requests makes five hundred events in one turn of the
loop. The naive queue grows without a bound for whoever reads slowly; a bounded one that drops its reader
when full throws out quick readers too, at the very moment that they listen for. Here each has the last
hundred, and is told how many it missed (`missed`); slow readers are dropped by the clock, for a send
that makes no progress (admin.py).

Ids go up by one from the Unix time in milliseconds at which the feed began, so they go up across
restarts too, and a browser that comes back with Last-Event-ID gets what it missed, if that is among the
last hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec
import trio

from haclient.ops.log import wall_clock

__all__ = ["MAX_QUEUED", "MAX_READERS", "Event", "Feed", "Reader"]

MAX_QUEUED = 100
"""Events kept for a reader, and for one that comes back."""

MAX_READERS = 16
"""Each is a connection that never ends, of the admin endpoint's 64."""


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. `data` is what msgspec can encode."""

    id: int
    kind: str
    data: object

    def encoded(self) -> bytes:
        """As it stands in the stream; JSON has no line end in it."""
        data = msgspec.json.encode(self.data)
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.id, self.kind.encode(), data)


class Reader:
    """One who listens; `take` what there is, `wait` for more."""

    def __init__(self) -> None:
        self._queued: deque[Event] = deque()
        self._missed = 0
        self._wake = trio.Event()

    def put(self, event: Event) -> None:
        """Adds an event, in place of the oldest where there are too many."""
        if len(self._queued) == MAX_QUEUED:
            self._queued.popleft()
            self._missed += 1
        self._queued.append(event)
        self._wake.set()

    async def wait(self) -> None:
        """Until there is something."""
        await self._wake.wait()

    def take(self) -> bytes:
        """All that is there, encoded; empty where nothing is."""
        missed, self._missed = self._missed, 0
        events = [each.encoded() for each in self._queued]
        self._queued.clear()
        self._wake = trio.Event()
        if missed:
            # No id: whoever comes back is to count from the last event that it has seen.
            events.insert(0, b'event: missed\ndata: {"count":%d}\n\n' % missed)
        return b"".join(events)


class Feed:
    """Hands what is published to every reader. `now` gives nanoseconds of Unix time."""

    def __init__(self, now: Callable[[], int] = wall_clock) -> None:
        self._next_id = now() // 1_000_000
        self._history: deque[Event] = deque(maxlen=MAX_QUEUED)
        self._readers: set[Reader] = set()

    def __repr__(self) -> str:
        return f"<Feed with {len(self._readers)} readers>"

    @property
    def readers(self) -> int:
        """How many listen."""
        return len(self._readers)

    def publish(self, kind: str, data: object) -> None:
        """Tells everybody. Nothing is encoded unless somebody reads it."""
        event = Event(self._next_id, kind, data)
        self._next_id += 1
        self._history.append(event)
        for reader in self._readers:
            reader.put(event)

    def join(self, last_id: int | None = None) -> Reader | None:
        """Returns a reader, or None where there are too many already; end it with `leave`.

        Args:
            last_id: what it has seen; it gets what came after that.
        """
        if len(self._readers) >= MAX_READERS:
            return None
        reader = Reader()
        if last_id is not None:
            for event in self._history:
                if event.id > last_id:
                    reader.put(event)
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Nothing is kept for it any more."""
        self._readers.discard(reader)
