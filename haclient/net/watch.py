"""One watch over every outstanding request.

A time-out, a keep-alive timer and a task for each request would cost more than the request. Here
there is one task for all: an exchange that starts to wait puts itself on the list, one that ends
takes itself off; that is all the common request pays (two dictionary calls and a comparison). The
task sleeps until the first look is due. Only a request that has been silent for FIRST_LOOK makes
it read TCP_INFO, and only one silent for a second has an option set.

The watch decides nothing: `core.detector` does. What it finds out it leaves as `news` on the
Outstanding and wakes the reader; the exchange acts. Nothing is closed here.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import NoReturn, assert_never

import trio

from haclient import events
from haclient.core.detector import Clear, DeclareDead, Detector, Probe, Suspect, TcpInfo
from haclient.core.keepalive import FIRST_LOOK, LOOK_EVERY, SILENCE_BEFORE_PROBE
from haclient.net import Transport
from haclient.types import Endpoint, Evidence, Instant

__all__ = ["Outstanding", "Watch"]


class Outstanding:
    """One request on one connection, from its first byte sent to the last byte of its answer.

    `dead` and `suspicion` hold evidence once there is any; `is_overdue` says that the server is
    alive and was silent for longer than the back-stop. All three are news to the reader, which
    `receive_some` raises as InterruptedReceive.

    The back-stop counts from when the last byte moved on the wire, as the kernel tells it; the
    hot path keeps no instant. Where it tells nothing (no TCP_INFO) it is up to a look late, and
    never early.

    An answer that has begun is not silent, and may still never come to the end of its head. So once the
    request is out, the time of the back-stop counts anew from the first byte of an answer (its first
    interim head, for one) until `is_answered` is set; `is_head_late` is news like the others.
    """

    __slots__ = (
        "answer_since",
        "attempt",
        "backstop",
        "dead",
        "detector",
        "head_counts",
        "held",
        "is_answered",
        "is_head_late",
        "is_left_to_kernel",
        "look_at",
        "moved_at",
        "observe",
        "overdue_count",
        "received",
        "received_at",
        "sent",
        "started_at",
        "suspicion",
        "transport",
        "was_unread",
    )

    def __init__(
        self,
        transport: Transport,
        now: Instant,
        backstop: float,
        attempt: int = 1,
        observe: events.Observer | None = None,
    ) -> None:
        self.transport = transport
        self.started_at = self.moved_at = now
        self.backstop = backstop
        self.attempt = attempt
        self.observe = observe
        self.look_at = now + min(FIRST_LOOK, backstop)
        self.received = transport.bytes_received
        self.received_at: Instant | None = None
        self.sent = transport.bytes_sent
        self.held = 0
        self.was_unread = False
        self.is_left_to_kernel = False
        self.overdue_count = -1
        self.detector: Detector | None = None
        self.head_counts = self.sent, self.received
        self.answer_since: Instant | None = None
        self.is_answered = False
        self.is_head_late = False
        self.dead: Evidence | None = None
        self.suspicion: Evidence | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether the back-stop passed, and no byte has moved since.

        The reader may come upon late bytes first and the news second; then it is none any more.
        """
        return self.overdue_count == self.transport.bytes_received + self.transport.bytes_sent

    def look(self, now: Instant) -> None:
        """Asks the kernel, lets the detector weigh it, and leaves news for the reader."""
        info = self.transport.snapshot()
        is_moving = self._note_movement(now, info)
        if info is None or self.is_left_to_kernel:
            self._look_without_kernel(now)
        else:
            if self.detector is None:
                self.detector = Detector(self.started_at)
            for action in self.detector.look(now, info):
                self._act(action, now)
            self.look_at = self.detector.look_at
        if self.dead is None and not is_moving:
            self._check_backstop(now)
        if not self.is_answered:
            self._check_head(now)

    def _act(self, action: Probe | Suspect | Clear | DeclareDead, now: Instant) -> None:
        endpoint, tell = self.transport.endpoint, self.observe
        match action:
            case Probe(silent_for):
                try:
                    self.transport.probe()
                except OSError:
                    # A sandbox may forbid the option. A probe that never left proves nothing.
                    self.is_left_to_kernel = True
                    return
                if tell is not None:
                    tell(events.Probed(now, self.attempt, endpoint, silent_for))
            case Suspect(evidence):
                self.suspicion = evidence
                if tell is not None:
                    tell(events.Suspected(now, self.attempt, endpoint, evidence))
                self.transport.interrupt()
            case Clear():
                self.suspicion = None
                if tell is not None:
                    tell(events.Cleared(now, self.attempt, endpoint))
                self.transport.interrupt()
            case DeclareDead(evidence):
                self.dead = evidence
                if tell is not None:
                    tell(events.DeclaredDead(now, self.attempt, endpoint, evidence))
                self.transport.interrupt()
            case _:
                assert_never(action)

    def _look_without_kernel(self, now: Instant) -> None:
        """No TCP_INFO: the kernel's own keep-alive is switched on, once, and judges."""
        due_at = self.started_at + SILENCE_BEFORE_PROBE
        if now < due_at:
            self.look_at = due_at
            return
        if not self.is_left_to_kernel:
            self.is_left_to_kernel = True
            with contextlib.suppress(OSError):
                self.transport.probe()
        self.look_at = now + SILENCE_BEFORE_PROBE

    def _note_movement(self, now: Instant, info: TcpInfo | None) -> bool:
        """Finds out when the last byte moved, if any has since the last look.

        Returns whether some are under way at this very moment.
        """
        transport = self.transport
        received, sent = transport.bytes_received, transport.bytes_sent
        was_unread, self.was_unread = self.was_unread, not transport.is_quiet()
        if was_unread or self.was_unread:
            # It is the reader's turn, not the server's, whose window may be shut meanwhile.
            self.moved_at = now
        elif received == self.received and sent == self.sent and not self._has_drained(info):
            return False
        elif info is None:
            self.moved_at = now
        elif info.unacked:
            return True  # the look that finds them acknowledged can tell when it was
        elif received != self.received:
            self.moved_at = max(self.moved_at, now - info.last_received)
        else:
            # What is sent is acknowledged a round trip later.
            self.moved_at = max(self.moved_at, now - info.last_received - info.rtt)
        if received != self.received:
            self.received_at = self.moved_at
        self.received, self.sent = received, sent
        self.held = info.notsent_bytes if info is not None else 0
        return False

    def _has_drained(self, info: TcpInfo | None) -> bool:
        """Whether the kernel sent some of what it held: a slow reader opens its window bit by bit."""
        # There is room to hand it more only once a third of the send buffer is free.
        return info is not None and info.notsent_bytes < self.held

    def _check_backstop(self, now: Instant) -> None:
        """Alive, and no byte either way for `backstop` seconds: not dead, but long enough."""
        if self.is_overdue:
            return
        due_at = self.moved_at + self.backstop
        if now < due_at:
            self.look_at = min(self.look_at, due_at)
            return
        self.overdue_count = self.transport.bytes_received + self.transport.bytes_sent
        self.transport.interrupt()

    def _check_head(self, now: Instant) -> None:
        """The head of an answer that has begun goes on for longer than an answer may take."""
        transport = self.transport
        sent, received = self.head_counts
        if transport.bytes_sent != sent:
            # 100 (Continue), or a hint beside the upload: the request is not out yet.
            self.head_counts, self.answer_since = (transport.bytes_sent, received), None
        elif transport.bytes_received != received:
            if self.answer_since is None:
                self.answer_since = now
            due_at = self.answer_since + self.backstop
            self.look_at = min(self.look_at, max(due_at, now + LOOK_EVERY))
            if now >= due_at:
                self.is_head_late = True
                transport.interrupt()

    def doubt(self, now: Instant, evidence: Evidence, since: Instant) -> None:
        """The server's application may hang, and has done nothing since `since`."""
        if self.suspicion is None and self.dead is None and self._is_still(since):
            self._act(Suspect(evidence), now)

    def clear_doubt(self, now: Instant) -> None:
        """The application gave a sign of life."""
        if self.suspicion is not None and self.suspicion.is_of_health:
            self._act(Clear(), now)

    def _is_still(self, since: Instant) -> bool:
        """Whether nothing of an answer has come since then, or since the request began to go out.

        Acknowledgements do not count: the kernel of a hung process sends them, up to 40 ms late.
        """
        if self.transport.bytes_received != self.received or not self.transport.is_quiet():
            return False
        if self.received_at is not None:
            return self.received_at <= since
        return not self.is_answered and self.answer_since is None

    def forgive(self, now: Instant) -> None:
        """It was somebody else's turn: silence, and the time of a head, count from now on."""
        self.moved_at, self.overdue_count = now, -1
        self.answer_since, self.is_head_late = None, False


class Watch:
    """The list of outstanding requests, and the one task that looks after them."""

    def __init__(self) -> None:
        self._outstanding: dict[Outstanding, None] = {}
        self._wake_at = math.inf
        self._scope = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._outstanding)

    def __contains__(self, entry: Outstanding) -> bool:
        return entry in self._outstanding

    def add(self, entry: Outstanding) -> None:
        """From now on `entry` is looked after. No checkpoint."""
        self._outstanding[entry] = None
        if entry.look_at < self._wake_at:
            self._wake_at = entry.look_at
            # What rides along may be due before that.
            self._scope.deadline = min(self._scope.deadline, entry.look_at)

    def remove(self, entry: Outstanding) -> None:
        """The request was answered or given up: no probe leaves for it any more."""
        self._outstanding.pop(entry, None)
        entry.transport.stop_probing()

    def doubt(self, endpoint: Endpoint, now: Instant, evidence: Evidence, since: Instant) -> None:
        """Health requests there were not answered since `since`: news for whoever waits there."""
        for entry in self._outstanding:
            if entry.transport.endpoint == endpoint:
                entry.doubt(now, evidence, since)

    def clear_doubt(self, endpoint: Endpoint, now: Instant) -> None:
        """The application there answers."""
        for entry in self._outstanding:
            if entry.transport.endpoint == endpoint:
                entry.clear_doubt(now)

    async def run(self, also: Callable[[Instant], Instant] | None = None) -> NoReturn:
        """Looks whenever a look is due, until cancelled.

        Args:
            also: called with the present instant; returns when it wants to be called next (the
                pool's idle limit rides along). Infinity means "with the next wake-up": every
                exchange causes one.
        """
        next_also = math.inf
        while True:
            now = trio.current_time()
            self._look_at_all(now)
            if also is not None and (now >= next_also or next_also == math.inf):
                next_also = also(now)
            with trio.CancelScope(deadline=min(self._wake_at, next_also)) as self._scope:
                await trio.sleep_forever()

    def _look_at_all(self, now: Instant) -> None:
        wake_at = math.inf
        for entry in self._outstanding:
            if entry.look_at <= now:
                entry.look(now)
            wake_at = min(wake_at, entry.look_at)
        # Steady traffic of quick requests would otherwise set the alarm anew for each of them:
        # one look at an empty list every FIRST_LOOK is cheaper.
        self._wake_at = max(wake_at, now + LOOK_EVERY / 10)
