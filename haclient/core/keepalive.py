"""The arithmetic of detection: which timers there are, what they add up to, what a window can keep.

The problem is to know within a bounded time that a server died, whatever it was doing. The naive
answer is three kernel options, "TCP keep-alive after 1 s, every 1 s, twice", and it holds in one
phase of four: keep-alive is inert while data is in flight or the peer's window is shut, and does
not exist while connecting. TCP_USER_TIMEOUT, added to mend that, ends a living server that does
not read an upload, and makes the kernel ignore TCP_KEEPCNT, so that one lost probe ends a living
connection. So the detector counts by itself, and TCP_USER_TIMEOUT stays 0.

Here are the constants that detector, watch and socket options share, each with its evidence, and
what follows from them: when suspicion and death come in each phase at the latest
(`detection_bounds`), whether a failover window has room for that and a new connection
(`Plan.for_window`). Measured means: on Linux 6.18, between network namespaces, at 0 to 200 ms round
trip and 0 to 10 % loss.

Left out: loss. A lost segment costs a retransmission more before the verdict, and three lost
probes in a row make a false one: 0.1 % of silent spells at 5 % loss each way. A process or virtual
machine of our own that stood still delays a verdict by as long.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import msgspec

__all__ = [
    "DEAD_AFTER_PROBES",
    "DEAD_AFTER_RETRANSMITS",
    "DEAD_AFTER_WINDOW_PROBES",
    "FIRST_LOOK",
    "KERNEL_ALONE_KEEPCNT",
    "KERNEL_KEEPCNT",
    "KERNEL_KEEPINTVL",
    "LOOK_EVERY",
    "MIN_PROBE_GAP",
    "MIN_SETTLE",
    "RTO_MAX_MS",
    "SILENCE_BEFORE_PROBE",
    "SUSPECT_AFTER_WINDOW_PROBES",
    "Bounds",
    "Plan",
    "Refusal",
    "WatchPhase",
    "detection_bounds",
    "probe_gap",
    "settle_time",
]

# When to look

FIRST_LOOK = 0.45
"""Seconds after the send. With nothing but a LAN between, the kernel retransmits for the first
time, after its tail loss probe, at 0.41 s (measured): a look before that sees nothing."""

LOOK_EVERY = 0.1
"""Seconds. What a look may come late by; each costs one system call, and only on a request that
was not answered within FIRST_LOOK."""

# Probes of our own, while nothing is in flight

SILENCE_BEFORE_PROBE = 1.0
"""Seconds. The least TCP_KEEPIDLE there is (tcp(7): whole seconds). SO_KEEPALIVE set first and
TCP_KEEPIDLE second sends a probe at once after that much silence (measured, within 5 ms)."""

MIN_PROBE_GAP = 0.5
"""Seconds. A peer answers bare probes at most once in 500 ms (Linux: tcp_invalid_ratelimit;
measured: of probes 200 ms apart every third was answered), so closer ones prove nothing."""

MIN_SETTLE = 0.1
"""Seconds for an answer that is on its way. A round trip on a LAN takes far less; this is for a
busy host. No false verdict in 40 connections x 15 s at 0 to 5 % loss (measured)."""

DEAD_AFTER_PROBES = 3
"""One probe fails with 1 - (1 - p)^2 at a loss of p each way. At 5 %: one in ten, three in a row
one in a thousand."""

DEAD_AFTER_RETRANSMITS = 2
"""Unanswered time-outs; by then the segment went out four times, the tail loss probe included."""

SUSPECT_AFTER_WINDOW_PROBES = 2
"""A living peer answers bare probes at most once in 500 ms (tcp_invalid_ratelimit), and the second
window probe comes 0.4 s after the first: one unanswered is no sign of death (measured on loopback:
tcpi_probes stands at 1 from 1.06 to 1.86 s with a server that is merely not reading, and never
reaches 2)."""

DEAD_AFTER_WINDOW_PROBES = 3
"""As DEAD_AFTER_PROBES: these are probes as well, only that the kernel sends them."""

# What the kernel is set to, for the life of a connection

KERNEL_KEEPINTVL = 1
"""Seconds, TCP_KEEPINTVL: the least. The kernel's own probes must not be what we wait for."""

KERNEL_KEEPCNT = 10
"""TCP_KEEPCNT. Each probe that we ask for counts towards it (measured), so it lies well above
DEAD_AFTER_PROBES: the verdict is ours."""

KERNEL_ALONE_KEEPCNT = 2
"""TCP_KEEPCNT where the system does not answer the detector's questions, and the kernel judges: after a
silence of SILENCE_BEFORE_PROBE and this many probes, KERNEL_KEEPINTVL apart, 3 s (measured: idle + count x
interval). With 1 one lost probe ends a living connection; with more no window of 4 s could be kept."""

RTO_MAX_MS = 1000
"""Milliseconds, TCP_RTO_MAX_MS (Linux 6.15): the least that it takes. It keeps window probes
a second apart, which else go two minutes apart."""

# What the kernel does by itself

KERNEL_RTO_MIN = 0.2
"""Seconds. TCP_RTO_MIN of Linux; RFC 6298 asks for a second."""

KERNEL_TIMER_SLACK = 1.125
"""A kernel timer fires up to an eighth of its length late: each level of the timer wheel is eight
times as coarse as the one below. Measured: 4 to 7 % late."""

WINDOW_PROBE_EVERY = 1.02
"""Seconds, measured with TCP_RTO_MAX_MS at 1000."""


class WatchPhase(enum.Enum):
    """What is going on with a connection, as far as proof of death goes."""

    CONNECT = "connecting"
    IN_FLIGHT = "data in flight"
    """Sent and not acknowledged. Proof: retransmissions."""
    SILENT = "silent"
    """All is acknowledged, and an answer, or the rest of it, is owed. Proof: our own probes."""
    WINDOW_SHUT = "window shut"
    """An upload that the peer does not read. Proof: the kernel's window probes."""


class Bounds(msgspec.Struct, frozen=True):
    """When the signs come at the latest, in seconds.

    Counted from the last segment that came in, or, in flight, from the send if that was later.
    """

    suspect: float
    dead: float


def settle_time(srtt: float, rttvar: float) -> float:
    """Seconds after which an answer is not on its way any more: RFC 6298's time-out, own floor."""
    return max(MIN_SETTLE, srtt + 4 * rttvar)


def probe_gap(srtt: float, rttvar: float) -> float:
    """Seconds between two probes of ours, for each to be evidence of its own."""
    return max(MIN_PROBE_GAP, settle_time(srtt, rttvar))


def detection_bounds(
    srtt: float = 0.0,
    rttvar: float = 0.0,
    connect_timeout: float = 1.0,
    caps_window_probes: bool = True,
) -> dict[WatchPhase, Bounds]:
    """When a dead server is held suspect, and dead, in each phase, if no segment gets lost.

    Args:
        srtt: smoothed round-trip time in seconds (tcpi_rtt).
        rttvar: its variation in seconds (tcpi_rttvar).
        connect_timeout: seconds.
        caps_window_probes: whether the kernel has TCP_RTO_MAX_MS. Without it window probes go up
            to two minutes apart, and that phase has no bound worth the name.

    Raises:
        ValueError: a time is negative, or connect_timeout not above 0.
    """
    if not (srtt >= 0 and rttvar >= 0 and connect_timeout > 0):
        raise ValueError("srtt and rttvar must be at least 0, connect_timeout above 0")
    settle = settle_time(srtt, rttvar)
    # The tail loss probe goes first, no later than the time-out would have, and restarts it
    # (RFC 8985, section 7.3): so time-out n comes 2^n time-outs after the send at the latest, and
    # the first of them after FIRST_LOOK.
    rto = (srtt + max(KERNEL_RTO_MIN, 4 * rttvar)) * KERNEL_TIMER_SLACK
    first, fatal = 2 * rto, 2**DEAD_AFTER_RETRANSMITS * rto
    # A sign that the kernel counts is seen a look late, and found settled another look late. Our own
    # probes are sent and weighed at instants of our choosing.
    late = 2 * LOOK_EVERY
    window_probe = WINDOW_PROBE_EVERY if caps_window_probes else math.inf
    return {
        WatchPhase.CONNECT: Bounds(connect_timeout, connect_timeout),
        WatchPhase.IN_FLIGHT: Bounds(first + LOOK_EVERY, fatal + settle + late),
        WatchPhase.SILENT: Bounds(
            SILENCE_BEFORE_PROBE + settle,
            SILENCE_BEFORE_PROBE + DEAD_AFTER_PROBES * probe_gap(srtt, rttvar),
        ),
        WatchPhase.WINDOW_SHUT: Bounds(
            SUSPECT_AFTER_WINDOW_PROBES * window_probe + settle + late,
            DEAD_AFTER_WINDOW_PROBES * window_probe + settle + late,
        ),
    }


class Refusal(msgspec.Struct, frozen=True):
    """Why a window cannot be kept. All in seconds."""

    window: float
    smallest: float
    """The smallest window that can be, all else as it was; in whole milliseconds."""
    reason: str

    def explain(self) -> tuple[str, ...]:
        """One line: what was found, why not, what would do."""
        return (
            f"a window of {self.window:g} s cannot be kept: {self.reason};"
            f" the smallest is {self.smallest:g} s",
        )


class Plan(msgspec.Struct, frozen=True):
    """A failover window, and how it is kept. All in seconds.

    The time to resend is reckoned as one whole connect_timeout: where every endpoint of a tier is
    dead, a race lasts as long before the backups are asked; and where one SYN to a living server
    is lost, the next goes out a second later (RFC 6298, section 2.1).
    """

    window: float
    connect_timeout: float
    bounds: Mapping[WatchPhase, Bounds]

    @classmethod
    def for_window(
        cls,
        window: float,
        connect_timeout: float,
        srtt: float = 0.0,
        rttvar: float = 0.0,
        caps_window_probes: bool = True,
    ) -> Plan | Refusal:
        """Reckons up whether the window has room for a verdict and a new connection.

        In each phase the verdict must fall within the window, and so must a connect after it that
        runs to its time-out. The latter is not asked where the window is shut, which befalls
        large uploads only: `resent_within` may be longer there, and `explain` says so.

        Args:
            window: seconds from the server's death to its request being with another one.
            connect_timeout: seconds.
            srtt: smoothed round-trip time in seconds, where one was measured.
            rttvar: its variation.
            caps_window_probes: as in `detection_bounds`; without it that phase is not judged.

        Raises:
            ValueError: as `detection_bounds`.
        """
        bounds = detection_bounds(srtt, rttvar, connect_timeout, caps_window_probes)
        plan = cls(window, connect_timeout, bounds)
        slowest = max(
            (p for p in WatchPhase if p is not WatchPhase.WINDOW_SHUT), key=plan.resent_within
        )
        smallest, dead = plan.worst_case, bounds[slowest].dead
        reason = (
            f"{slowest.value}, a server is proved dead within {dead:.3g} s,"
            f" and connect_timeout is {connect_timeout:g} s"
        )
        shut = bounds[WatchPhase.WINDOW_SHUT].dead
        if smallest < shut < math.inf:
            smallest = shut
            reason = f"with its window shut, a server is proved dead within {shut:.3g} s"
        smallest = _rounded_up(smallest)
        return plan if window >= smallest else Refusal(window, smallest, reason)

    @property
    def worst_case(self) -> float:
        """Seconds from death to a new connection, over all phases but the shut window."""
        return max(self.resent_within(p) for p in WatchPhase if p is not WatchPhase.WINDOW_SHUT)

    def resent_within(self, phase: WatchPhase) -> float:
        """Seconds from death in this phase until a request that may be resent has a connection."""
        return self.bounds[phase].dead + self.connect_timeout

    def explain(self) -> tuple[str, ...]:
        """Lines for a person: the sum, then each phase; at the end what the sum leaves out, and why."""
        head = (
            f"window {self.window:g} s, connect_timeout {self.connect_timeout:g} s:"
            f" kept, worst case {self.worst_case:.3g} s"
        )
        phases = map(self._explain_phase, WatchPhase)
        resent = self.resent_within(WatchPhase.WINDOW_SHUT)
        if not self.window < resent < math.inf:
            return (head, *phases)
        return (
            f"{head}; one exception, {resent:.3g} s",
            *phases,
            "the exception: an upload that the server had stopped reading (its TCP window is shut)."
            f" That it is dead is proved inside {self.window:g} s, which is promised; only if the next"
            f" connect then takes all of its {self.connect_timeout:g} s, the resend would"
            f" come {resent - self.window:.3g} s late",
        )

    def _explain_phase(self, phase: WatchPhase) -> str:
        bounds, resent = self.bounds[phase], self.resent_within(phase)
        if math.isinf(resent):
            return f"{phase.value}: not bounded by this kernel (no TCP_RTO_MAX_MS)"
        if phase is WatchPhase.CONNECT:
            return f"{phase.value}: given up after {bounds.dead:g} s, resent within {resent:.3g} s"
        return (
            f"{phase.value}: suspect within {bounds.suspect:.3g} s, dead within {bounds.dead:.3g} s,"
            f" resent within {resent:.3g} s"
        )


def _rounded_up(seconds: float) -> float:
    """To whole milliseconds, so that it can be typed; what is off by rounding only stays."""
    return math.ceil(round(seconds * 1000, 6)) / 1000
