"""One end of a TCP connection, as far as TCP_INFO shows it: what the detector's tests look at.

It does what was measured of Linux (docs/failure.md): a tail loss probe and then time-outs that
double while data is unacknowledged, window probes ever further and at last a second apart while
the peer's window is shut, a keep-alive probe when asked for one and nothing came in for a second.
The peer answers within `rtt` until `dies_at`, bare probes at most once in 500 ms; from then on
nothing comes in. Transmissions are numbered from 1, and those in `lost` get no answer.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Collection, Iterable

from haclient.core.detector import (
    Action,
    Clear,
    DeclareDead,
    Detector,
    Probe,
    Suspect,
    TcpInfo,
)
from haclient.types import Evidence

__all__ = ["Log", "SimKernel", "drive", "names", "rounded"]

Log = list[tuple[float, Action]]

FIRST_WINDOW_PROBE = 0.2
WINDOW_PROBE_EVERY = 1.02
ANSWERS_PROBES_EVERY = 0.5


class SimKernel:
    """Starts at instant 0, everything acknowledged, silent for `idle_for` seconds."""

    def __init__(
        self,
        *,
        rtt: float = 0.001,
        rttvar: float = 0.0005,
        dies_at: float = math.inf,
        idle_for: float = 0.0,
        lost: Collection[int] = (),
        acknowledges_nothing_new: bool = False,
    ) -> None:
        self.now = 0.0
        self.rtt, self.rttvar, self.dies_at = rtt, rttvar, dies_at
        self.lost = frozenset(lost)
        self.acknowledges_nothing_new = acknowledges_nothing_new
        """The peer answers, and drops what it was sent (no memory left): duplicate ACKs."""
        self.rto = rtt + max(0.2, 4 * rttvar)
        self.unacked = self.retransmits = self.probes = self.notsent = 0
        self.segs_in = 7
        self.last_in = -idle_for
        self.last_sent = 0.0
        self.transmissions = 0
        self.keepalives_sent: list[float] = []
        self._probe_answered_at = -math.inf
        self._flight = self._shut = 0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, instant: float, event: Callable[[], None]) -> None:
        """Has `event` happen at `instant`."""
        heapq.heappush(self._events, (instant, next(self._order), event))

    def info(self, now: float) -> TcpInfo:
        """What TCP_INFO says at `now`, which never goes back."""
        while self._events and self._events[0][0] <= now:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = now
        return TcpInfo(
            unacked=self.unacked,
            retransmits=self.retransmits,
            probes=self.probes,
            segs_in=self.segs_in,
            notsent_bytes=self.notsent,
            rtt=self.rtt,
            rttvar=self.rttvar,
            last_received=round(now - self.last_in, 6),
        )

    # What our side does

    def send(self) -> None:
        """Data goes out; it is in flight until acknowledged."""
        self.unacked += 1
        if self.unacked > 1:
            return  # rides on the timers of what is out already
        self.last_sent = self.now
        flight, start = self._flight, self.now
        self._transmit(lambda: self._acknowledged(flight))
        self.at(start + self.rto, lambda: self._tail_loss_probe(flight))
        self.at(start + 2 * self.rto, lambda: self._time_out(flight, start, 2))

    def shut_window(self) -> None:
        """The peer tells us, if it is there, that it takes no more; bytes wait to be sent."""
        if self.unacked or self.now >= self.dies_at:
            return
        self._heard()
        self.notsent = 65536
        self._shut += 1
        shut = self._shut
        self.at(self.now + FIRST_WINDOW_PROBE, lambda: self._window_probe(shut, 0.4))

    def open_window(self) -> None:
        """The peer reads again, if it is there to say so; what waited goes out."""
        if not self.notsent or self.now >= self.dies_at:
            return
        self._heard()
        self._shut += 1
        self.notsent = self.probes = 0
        self.send()

    def keepalive(self) -> None:
        """TCP_KEEPIDLE is set to a second once more."""
        if self.unacked or self.notsent or round(self.now - self.last_in, 6) < 1:
            return
        self.keepalives_sent.append(self.now)
        self._transmit(self._probe_arrived)

    # What the peer's side does

    def peer_sends(self) -> None:
        """A segment of the peer's own, with an acknowledgement that tells nothing new."""
        if self.now < self.dies_at:
            self._heard()

    def peer_probes(self) -> None:
        """The peer's own keep-alive: a segment that counts, and no acknowledgement."""
        if self.now < self.dies_at:
            self.segs_in += 1

    def _transmit(self, answer: Callable[[], None]) -> None:
        self.transmissions += 1
        arrives_at = self.now + self.rtt
        if self.transmissions not in self.lost and arrives_at < self.dies_at:
            self.at(arrives_at, answer)

    def _heard(self) -> None:
        self.segs_in += 1
        self.last_in = self.now

    def _acknowledged(self, flight: int) -> None:
        self._heard()
        if flight == self._flight and not self.acknowledges_nothing_new:
            self._flight += 1
            self.unacked = self.retransmits = 0

    def _tail_loss_probe(self, flight: int) -> None:
        if flight == self._flight:
            self._transmit(lambda: self._acknowledged(flight))

    def _time_out(self, flight: int, start: float, factor: int) -> None:
        if flight == self._flight:
            self.retransmits += 1
            self._transmit(lambda: self._acknowledged(flight))
            due_at = start + 2 * factor * self.rto
            self.at(due_at, lambda: self._time_out(flight, start, 2 * factor))

    def _window_probe(self, shut: int, next_in: float) -> None:
        if shut == self._shut:
            self.probes += 1
            self._transmit(self._probe_arrived)
            later = min(2 * next_in, WINDOW_PROBE_EVERY)
            self.at(self.now + next_in, lambda: self._window_probe(shut, later))

    def _probe_arrived(self) -> None:
        # Linux answers bare probes at most once in 500 ms (tcp_invalid_ratelimit).
        if self.now - self._probe_answered_at >= ANSWERS_PROBES_EVERY - 1e-9:
            self._probe_answered_at = self.now
            self._heard()
            self.probes = 0


def drive(
    detector: Detector, kernel: SimKernel, until: float, late_by: Iterable[float] = (0.0,)
) -> Log:
    """Looks whenever the detector wants to, each time `late_by` too late (over and over again).

    Holds every look to what must always be so: the next look lies ahead, and after death there is
    none.
    """
    log: Log = []
    lateness = itertools.cycle(late_by)
    while detector.look_at <= until:
        now = detector.look_at + next(lateness)
        info = kernel.info(now)
        for action in detector.look(now, info):
            assert not any(isinstance(done, DeclareDead) for _, done in log)
            log.append((now, action))
            if isinstance(action, Probe):
                kernel.keepalive()
        assert detector.look_at > now
        assert detector.is_dead == math.isinf(detector.look_at)
    return log


def rounded(action: Action) -> Action:
    """The same with seconds to the microsecond, so that it can be compared."""
    match action:
        case Probe(silent_for):
            return Probe(round(silent_for, 6))
        case Suspect(evidence) | DeclareDead(evidence):
            seen = Evidence(evidence.kind, evidence.count, round(evidence.silent_for, 6))
            return Suspect(seen) if isinstance(action, Suspect) else DeclareDead(seen)
        case Clear():
            return action


def names(log: Log, digits: int = 3) -> list[tuple[float, str]]:
    """When, to the millisecond, and what: the log without its evidence."""
    return [(round(at, digits), type(action).__name__) for at, action in log]
