"""What a simulated connection is made of: paths, segments, and how the round trip is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

__all__ = ["MIN_RTO", "Path", "RoundTrip", "Segment", "Tripwire"]

MIN_RTO = 0.2
"""TCP_RTO_MIN of Linux, seconds; RFC 6298 would have 1 s."""


@dataclass(slots=True)
class Path:
    """What lies between the client and a server, as it is now."""

    delay: float = 0.0
    """One way, seconds."""
    cut_until: float = -inf
    """Until this instant nothing arrives."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What travels. Numbers count bytes from 0; a FIN takes one number, as in RFC 9293."""

    seq: int
    ack: int
    edge: int
    """The first byte that its receiver may not send yet: acknowledgement plus window."""
    data: bytes = b""
    is_fin: bool = False
    is_reset: bool = False
    is_probe: bool = False


@dataclass(slots=True)
class RoundTrip:
    """The estimator of RFC 6298, section 2; one segment is timed at a time, none sent twice."""

    rtt: float
    rttvar: float
    timed_seq: int = -1
    timed_at: float = 0.0

    def time_segment(self, end_seq: int, now: float) -> None:
        if self.timed_seq < 0:
            self.timed_seq, self.timed_at = end_seq, now

    def acknowledge(self, ack: int, now: float) -> None:
        if not 0 <= self.timed_seq <= ack:
            return
        sample = now - self.timed_at
        self.timed_seq = -1
        self.rttvar += (abs(self.rtt - sample) - self.rttvar) / 4
        self.rtt += (sample - self.rtt) / 8

    @property
    def rto(self) -> float:
        return self.rtt + max(4 * self.rttvar, MIN_RTO)


@dataclass(slots=True)
class Tripwire:
    """Tells a script that so many bytes have arrived, before any further one is taken.

    `next_at` gives the number of bytes, or None; `fire` is called with the instant once they are
    there, and `next_at` must then give another number or None.
    """

    next_at: Callable[[], int | None] = lambda: None
    fire: Callable[[float], None] = field(default=lambda _at: None)
