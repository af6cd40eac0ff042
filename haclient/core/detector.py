"""Tells a dead server from a slow one by what the kernel saw on the connection.

A time-out cannot do it: a server that computes for ten seconds and one that lost its power look
the same to a clock. TCP knows more. A living host acknowledges what it is sent, within a round
trip, however busy its application is; a dead one acknowledges nothing. So the question "is anybody
there" is put to the kernel's counters, and where nothing is under way that a host would have to
acknowledge, a keep-alive probe is sent that it must answer.

What the kernel cannot do by itself (measured, Linux 6.18; docs/failure.md has the figures):
SO_KEEPALIVE is inert while data is unacknowledged, TCP_USER_TIMEOUT never sees a server that died
while thinking and kills a living one that is not reading an upload. Hence three questions, one for
each state that an outstanding request can be in:

    state (from TCP_INFO)        sign of death                              suspect   dead
    in flight: unacked > 0       retransmissions unanswered                 1         2, settled
    window shut: notsent > 0     window probes unanswered                   2, settled   3, settled
    silent: nothing under way    our keep-alive probes unanswered           1, settled   3, a gap each

"Settled" means that since the sign was seen `srtt + 4 * rttvar` (at least 100 ms) went by without
a segment coming in: an answer that is still on its way is no evidence. That is the retransmission
time-out of RFC 6298, section 2, without its floor of a second.

Segments are counted, not time: a late look sees every segment that came in meanwhile, so a busy
event loop delays a verdict and cannot make a false one. Any segment that comes in takes everything
back, also one that acknowledges nothing new and leaves the kernel's own count as it was (a
duplicate acknowledgement, data of the peer's own): what was counted until then is no sign any
more. Slowness is never evidence.

Left out: the second opinion of an HTTP health request, which can tell a hung process from a
working one; TCP proves the host and the path only.
"""

from __future__ import annotations

import msgspec

from haclient.core.keepalive import (
    DEAD_AFTER_PROBES,
    DEAD_AFTER_RETRANSMITS,
    DEAD_AFTER_WINDOW_PROBES,
    FIRST_LOOK,
    KERNEL_RTO_MIN,
    LOOK_EVERY,
    SILENCE_BEFORE_PROBE,
    SUSPECT_AFTER_WINDOW_PROBES,
    probe_gap,
    settle_time,
)
from haclient.types import Evidence, EvidenceKind, Instant

__all__ = ["Action", "Clear", "DeclareDead", "Detector", "Probe", "Suspect", "TcpInfo"]


class TcpInfo(msgspec.Struct, frozen=True):
    """What the kernel knows of a connection, from TCP_INFO (linux/tcp.h), in seconds and counts."""

    unacked: int
    """Segments sent and not acknowledged."""
    retransmits: int
    """Unanswered retransmission time-outs in a row."""
    probes: int
    """Unanswered probes in a row (keep-alive or window)."""
    segs_in: int
    """Segments that came in since the connection began: the sign of life that is counted."""
    notsent_bytes: int
    """Bytes that the kernel holds and has not sent, because the peer's window is shut."""
    rtt: float
    rttvar: float
    last_received: float
    """Seconds since the last segment with data or an acknowledgement came in."""


class Probe(msgspec.Struct, frozen=True):
    """Send a keep-alive probe now."""

    silent_for: float


class Suspect(msgspec.Struct, frozen=True):
    """A living server would have given a sign of life by now."""

    evidence: Evidence


class Clear(msgspec.Struct, frozen=True):
    """The suspect gave a sign of life."""


class DeclareDead(msgspec.Struct, frozen=True):
    """The evidence is complete. The last action ever returned."""

    evidence: Evidence


Action = Probe | Suspect | Clear | DeclareDead

NOTHING: tuple[Action, ...] = ()

SUSPECT_AFTER = {
    EvidenceKind.RETRANSMITS: 1,
    EvidenceKind.WINDOW_PROBES: SUSPECT_AFTER_WINDOW_PROBES,
}


class Detector:
    """Watches one connection for as long as a request is outstanding on it.

    The driver calls `look` no later than `look_at` with a fresh TcpInfo, carries out what comes
    back, and reads `look_at` again. States: alive → suspect (first sign) → dead (final), and
    suspect → alive with any segment that comes in.
    """

    __slots__ = (
        "_heard_at",
        "_kind",
        "_looked_at",
        "_marked",
        "_next_probe_at",
        "_probes_sent",
        "_segs_in",
        "_settled_at",
        "_stale_probes",
        "_stale_retransmits",
        "_suspect_at",
        "is_dead",
        "is_suspect",
        "look_at",
    )

    def __init__(self, sent_at: Instant) -> None:
        """`sent_at` is when the request began to go out: no silence is older than that."""
        self.look_at = sent_at + FIRST_LOOK
        self.is_suspect = False
        self.is_dead = False
        self._segs_in = -1
        self._heard_at = self._looked_at = sent_at
        self._stale_retransmits = self._stale_probes = 0
        self._forget_signs()

    def __repr__(self) -> str:
        state = "dead" if self.is_dead else "suspect" if self.is_suspect else "alive"
        return f"<Detector {state}, heard at {self._heard_at:.3f}, look at {self.look_at:.3f}>"

    def _forget_signs(self) -> None:
        self._kind: EvidenceKind | None = None
        self._marked = 0
        self._probes_sent = 0
        # Kept as instants, for a difference of floats falls short of the sum it came from.
        self._settled_at: Instant = 0.0
        self._suspect_at: Instant = 0.0
        self._next_probe_at: Instant = 0.0

    def look(self, now: Instant, info: TcpInfo) -> tuple[Action, ...]:
        """Weighs the kernel's answer of this moment.

        Args:
            now: seconds on the driver's monotonic clock.
            info: read at this very moment; never an older one.
        """
        if self.is_dead:
            self.look_at = float("inf")
            return NOTHING
        cleared = self._hear(now, info)
        self._looked_at = now
        if info.unacked:
            fresh = info.retransmits - self._stale_retransmits
            return cleared or self._weigh_kernel_signs(
                now, info, EvidenceKind.RETRANSMITS, fresh, DEAD_AFTER_RETRANSMITS
            )
        if info.notsent_bytes:
            fresh = info.probes - self._stale_probes
            return cleared or self._weigh_kernel_signs(
                now, info, EvidenceKind.WINDOW_PROBES, fresh, DEAD_AFTER_WINDOW_PROBES
            )
        return cleared or self._weigh_silence(now, info)

    def _hear(self, now: Instant, info: TcpInfo) -> tuple[Action, ...]:
        """Takes every sign back if a segment came in since the last look."""
        if info.segs_in == self._segs_in:
            return NOTHING
        is_first = self._segs_in < 0
        self._segs_in = info.segs_in
        acknowledged_at = now - info.last_received
        is_acknowledged = acknowledged_at > self._looked_at
        self._heard_at = max(self._heard_at, acknowledged_at)
        if is_first and not is_acknowledged:
            # Nothing came in since the request began to go out: all that is counted is a sign.
            return NOTHING
        self._stale_retransmits = stale_retransmits(info)
        # Any acknowledgement makes the kernel count probes from 0, other segments do not.
        self._stale_probes = 0 if is_acknowledged else info.probes
        self._forget_signs()
        self.look_at = now + LOOK_EVERY
        if self.is_suspect:
            self.is_suspect = False
            return (Clear(),)
        return NOTHING

    def _weigh_kernel_signs(
        self, now: Instant, info: TcpInfo, kind: EvidenceKind, count: int, fatal: int
    ) -> tuple[Action, ...]:
        """Signs that the kernel counts by itself: retransmissions and window probes."""
        self.look_at = now + LOOK_EVERY
        if kind is not self._kind:
            self._forget_signs()
            self._kind = kind
        if count <= 0:
            return NOTHING
        if count > self._marked and self._marked < fatal:
            self._settled_at = now + settle_time(info.rtt, info.rttvar)
            if self._marked < SUSPECT_AFTER[kind] <= count:
                # A retransmission time-out is itself the settled absence of an acknowledgement
                # (RFC 6298); a window probe may have left a moment ago.
                is_settled = kind is EvidenceKind.RETRANSMITS
                self._suspect_at = now if is_settled else self._settled_at
            self._marked = count
        evidence = Evidence(kind, count, now - self._heard_at)
        if self._marked >= fatal and now >= self._settled_at:
            return self._condemn(evidence)
        is_sign = self._marked >= SUSPECT_AFTER[kind] and now >= self._suspect_at
        return self._suspect(evidence) if is_sign else NOTHING

    def _weigh_silence(self, now: Instant, info: TcpInfo) -> tuple[Action, ...]:
        """Nothing is under way: only a probe of our own can tell."""
        if self._kind is not EvidenceKind.KEEPALIVE_PROBES:
            self._forget_signs()
            self._kind = EvidenceKind.KEEPALIVE_PROBES
        silent_for = info.last_received
        if self._probes_sent == 0:
            if silent_for < SILENCE_BEFORE_PROBE:
                # The kernel lets no probe out before TCP_KEEPIDLE, whose least value is a second.
                self.look_at = now + max(SILENCE_BEFORE_PROBE - silent_for, 0.001)
                return NOTHING
            return self._probe(now, info)
        if now < self._settled_at:
            self.look_at = self._settled_at
            return NOTHING
        evidence = Evidence(EvidenceKind.KEEPALIVE_PROBES, self._probes_sent, now - self._heard_at)
        if now < self._next_probe_at:
            self.look_at = self._next_probe_at
            return self._suspect(evidence)
        if self._probes_sent >= DEAD_AFTER_PROBES:
            return self._condemn(evidence)
        return (*self._suspect(evidence), *self._probe(now, info))

    def _probe(self, now: Instant, info: TcpInfo) -> tuple[Action, ...]:
        self._probes_sent += 1
        self._settled_at = self.look_at = now + settle_time(info.rtt, info.rttvar)
        self._next_probe_at = now + probe_gap(info.rtt, info.rttvar)
        return (Probe(info.last_received),)

    def _suspect(self, evidence: Evidence) -> tuple[Action, ...]:
        if self.is_suspect:
            return NOTHING
        self.is_suspect = True
        return (Suspect(evidence),)

    def _condemn(self, evidence: Evidence) -> tuple[Action, ...]:
        self.is_dead = True
        self.look_at = float("inf")
        return (DeclareDead(evidence),)


def stale_retransmits(info: TcpInfo) -> int:
    """Of the time-outs that are counted, how many may be older than the segment that came in last.

    An acknowledgement of something new makes the kernel count from 0, others do not, and which it
    was nobody says. But time-outs double: so many take so long. If they cannot all have come since,
    none is held for newer; if they can, one is, and the next one will tell.
    """
    count = info.retransmits
    if info.last_received < KERNEL_RTO_MIN * (2**count - 1):
        return count
    return max(0, count - 1)
