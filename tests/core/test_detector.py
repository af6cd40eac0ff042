"""The detector's verdicts: by looks whose every answer is written down, and on a simulated kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from haclient.core.detector import (
    Action,
    Clear,
    DeclareDead,
    Detector,
    Probe,
    Suspect,
    TcpInfo,
)
from haclient.types import Evidence, EvidenceKind
from tests.core.sim_kernel import SimKernel, drive, names, rounded

RETRANSMITS = EvidenceKind.RETRANSMITS
KEEPALIVE = EvidenceKind.KEEPALIVE_PROBES
WINDOW = EvidenceKind.WINDOW_PROBES

LAN = (0.001, 0.0005)
"""srtt and rttvar in seconds; it is settled after the least time, 0.1 s."""
FAR = (0.2, 0.05)
"""Settled after 0.4 s."""
FARTHEST = (0.3, 0.1)
"""Settled after 0.7 s, which is more than the least gap between probes."""
SATELLITE = (0.6, 0.14)
"""Settled after 1.16 s, which is more than the kernel's window probes are apart."""


def silent(segs_in: int, last_received: float, path: tuple[float, float] = LAN) -> TcpInfo:
    """Everything is acknowledged, an answer is owed."""
    return TcpInfo(0, 0, 0, segs_in, 0, *path, last_received)


def in_flight(
    segs_in: int, retransmits: int, last_received: float, path: tuple[float, float] = LAN
) -> TcpInfo:
    return TcpInfo(1, retransmits, 0, segs_in, 0, *path, last_received)


def shut(
    segs_in: int, probes: int, last_received: float, path: tuple[float, float] = LAN
) -> TcpInfo:
    return TcpInfo(0, 0, probes, segs_in, 65536, *path, last_received)


def suspect(kind: EvidenceKind, count: int, silent_for: float) -> Suspect:
    return Suspect(Evidence(kind, count, silent_for))


def dead(kind: EvidenceKind, count: int, silent_for: float) -> DeclareDead:
    return DeclareDead(Evidence(kind, count, silent_for))


@dataclass(frozen=True)
class Look:
    """One look at instant `at`, and the whole answer: actions and the next look."""

    at: float
    info: TcpInfo
    actions: tuple[Action, ...]
    look_at: float


SCENARIOS = [
    pytest.param(
        [Look(0.45, silent(9, 0.449), (), 1.001)],
        id="acknowledged at once: the next look is when a probe can be sent",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(1.1, silent(10, 0.099), (), 2.001),
            Look(2.001, silent(10, 1.0), (Probe(1.0),), 2.101),
            Look(2.101, silent(11, 0.099), (), 3.002),
        ],
        id="thinking and alive: a probe each second, every one answered",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(1.1, silent(9, 1.1), (suspect(KEEPALIVE, 1, 1.1),), 1.5),
            Look(1.5, silent(9, 1.5), (Probe(1.5),), 1.6),
            Look(1.6, silent(9, 1.6), (), 2.0),
            Look(2.0, silent(9, 2.0), (Probe(2.0),), 2.1),
            Look(2.1, silent(9, 2.1), (), 2.5),
            Look(2.5, silent(9, 2.5), (dead(KEEPALIVE, 3, 2.5),), math.inf),
        ],
        id="blackholed while thinking: suspect at 1.1, dead at 2.5",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.25, FAR), (), 1.2),
            Look(1.2, silent(9, 1.0, FAR), (Probe(1.0),), 1.6),
            Look(1.6, silent(9, 1.4, FAR), (suspect(KEEPALIVE, 1, 1.4),), 1.7),
            Look(1.7, silent(9, 1.5, FAR), (Probe(1.5),), 2.1),
            Look(2.1, silent(9, 1.9, FAR), (), 2.2),
            Look(2.2, silent(9, 2.0, FAR), (Probe(2.0),), 2.6),
            Look(2.6, silent(9, 2.4, FAR), (), 2.7),
            Look(2.7, silent(9, 2.5, FAR), (dead(KEEPALIVE, 3, 2.5),), math.inf),
        ],
        id="blackholed while thinking, 200 ms away: suspect later, dead as soon",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.15, FARTHEST), (), 1.3),
            Look(1.3, silent(9, 1.0, FARTHEST), (Probe(1.0),), 2.0),
            Look(2.0, silent(9, 1.7, FARTHEST), (suspect(KEEPALIVE, 1, 1.7), Probe(1.7)), 2.7),
            Look(2.7, silent(9, 2.4, FARTHEST), (Probe(2.4),), 3.4),
            Look(3.4, silent(9, 3.1, FARTHEST), (dead(KEEPALIVE, 3, 3.1),), math.inf),
        ],
        id="where answers take longer than the gap, probes go as far apart as answers take",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(1.1, silent(9, 1.1), (suspect(KEEPALIVE, 1, 1.1),), 1.5),
            Look(1.5, silent(9, 1.5), (Probe(1.5),), 1.6),
            Look(1.6, silent(10, 0.099), (Clear(),), 1.7),
            Look(1.7, silent(10, 0.199), (), 2.501),
            Look(2.501, silent(10, 1.0), (Probe(1.0),), 2.601),
            Look(2.601, silent(10, 1.1), (suspect(KEEPALIVE, 1, 1.1),), 3.001),
        ],
        id="one probe lost, the next answered: taken back, and counted from the beginning",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(7, 1, 0.45), (suspect(RETRANSMITS, 1, 0.45),), 0.55),
            Look(0.55, in_flight(7, 1, 0.55), (), 0.65),
            Look(0.85, in_flight(7, 2, 0.85), (), 0.95),
            Look(0.95, in_flight(7, 2, 0.95), (dead(RETRANSMITS, 2, 0.95),), math.inf),
        ],
        id="blackholed before the ACK: suspect at the first look, dead once the second is settled",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(7, 0, 0.45, FAR), (), 0.55),
            Look(0.85, in_flight(7, 1, 0.85, FAR), (suspect(RETRANSMITS, 1, 0.85),), 0.95),
            Look(1.65, in_flight(7, 2, 1.65, FAR), (), 1.75),
            Look(1.95, in_flight(7, 2, 1.95, FAR), (), 2.05),
            Look(2.05, in_flight(7, 2, 2.05, FAR), (dead(RETRANSMITS, 2, 2.05),), math.inf),
        ],
        id="blackholed before the ACK, 200 ms away: the answer to the last one is waited for",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(7, 1, 0.45), (suspect(RETRANSMITS, 1, 0.45),), 0.55),
            Look(0.55, silent(8, 0.09), (Clear(),), 0.65),
            Look(0.65, silent(8, 0.19), (), 1.46),
        ],
        id="a packet lost: suspect, and taken back with the acknowledgement",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(7, 1, 0.45), (suspect(RETRANSMITS, 1, 0.45),), 0.55),
            Look(0.85, in_flight(7, 2, 0.85), (), 0.95),
            Look(0.95, silent(8, 0.01), (Clear(),), 1.05),
            Look(1.05, silent(8, 0.11), (), 1.94),
        ],
        id="acknowledged while the second time-out settles: alive",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(7, 0, 60.45), (), 0.55),
            Look(0.55, in_flight(7, 1, 60.55), (suspect(RETRANSMITS, 1, 0.55),), 0.65),
            Look(0.85, in_flight(7, 2, 60.85), (), 0.95),
            Look(0.95, in_flight(7, 2, 60.95), (dead(RETRANSMITS, 2, 0.95),), math.inf),
        ],
        id="silent in the pool for a minute before: the silence counts from the request",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 60.45), (Probe(60.45),), 0.55),
            Look(0.55, silent(9, 60.55), (suspect(KEEPALIVE, 1, 0.55),), 0.95),
        ],
        id="silent in the pool, and nothing sent yet: a probe at the first look",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(7, 0, 0.45), (), 0.55),
            Look(0.95, in_flight(8, 1, 0.05), (), 1.05),
            Look(1.05, in_flight(9, 1, 0.05), (), 1.15),
            Look(1.15, in_flight(9, 1, 0.15), (), 1.25),
            Look(1.55, in_flight(9, 2, 0.55), (suspect(RETRANSMITS, 1, 0.55),), 1.65),
            Look(1.65, in_flight(10, 2, 0.05), (Clear(),), 1.75),
            Look(1.75, in_flight(10, 2, 0.15), (), 1.85),
            Look(3.25, in_flight(10, 3, 1.65), (suspect(RETRANSMITS, 1, 1.65),), 3.35),
            Look(6.45, in_flight(10, 4, 4.85), (), 6.55),
            Look(6.55, in_flight(10, 4, 4.95), (dead(RETRANSMITS, 2, 4.95),), math.inf),
        ],
        id="segments come in and acknowledge nothing: only time-outs after the last one count",
    ),
    pytest.param(
        [
            Look(0.45, in_flight(9, 1, 0.2), (suspect(RETRANSMITS, 1, 0.2),), 0.55),
            Look(0.65, in_flight(9, 2, 0.4), (), 0.75),
            Look(0.75, in_flight(9, 2, 0.5), (dead(RETRANSMITS, 2, 0.5),), math.inf),
        ],
        id="blackholed in mid-upload: a time-out before the first look counts",
    ),
    pytest.param(
        [
            Look(10.0, in_flight(9, 4, 0.2), (), 10.1),
            Look(10.1, in_flight(9, 4, 0.3), (), 10.2),
            Look(13.2, in_flight(9, 5, 3.4), (suspect(RETRANSMITS, 1, 3.4),), 13.3),
        ],
        id="a first look 10 s late, something came in a moment ago: older time-outs do not count",
    ),
    pytest.param(
        [
            Look(10.0, in_flight(9, 4, 4.0), (suspect(RETRANSMITS, 1, 4.0),), 10.1),
            Look(10.1, in_flight(9, 4, 4.1), (), 10.2),
            Look(10.2, in_flight(10, 4, 0.01), (Clear(),), 10.3),
        ],
        id="a first look 10 s late, something came in long ago: one time-out is surely newer",
    ),
    pytest.param(
        [
            Look(0.45, silent(8, 0.45), (), 1.0),
            Look(1.0, silent(9, 0.0), (), 2.0),
            Look(2.0, in_flight(10, 2, 0.95), (suspect(RETRANSMITS, 1, 0.95),), 2.1),
            Look(2.1, in_flight(10, 2, 1.05), (), 2.2),
            Look(2.7, in_flight(10, 3, 1.65), (), 2.8),
            Look(2.8, in_flight(10, 3, 1.75), (dead(RETRANSMITS, 2, 1.75),), math.inf),
        ],
        id="an upload goes on after a pause, and time-outs come before the next look",
    ),
    pytest.param(
        [
            Look(10.0, in_flight(7, 4, 10.0), (suspect(RETRANSMITS, 4, 10.0),), 10.1),
            Look(10.1, in_flight(7, 4, 10.1), (dead(RETRANSMITS, 4, 10.1),), math.inf),
        ],
        id="a first look 10 s late, nothing came in: all count, once they are settled",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4), (), 0.55),
            Look(1.05, shut(9, 1, 1.0), (), 1.15),
            Look(1.15, shut(9, 1, 1.1), (), 1.25),
            Look(2.05, shut(9, 2, 2.0), (), 2.15),
            Look(2.15, shut(9, 2, 2.1), (suspect(WINDOW, 2, 2.1),), 2.25),
            Look(3.05, shut(9, 3, 3.0), (), 3.15),
            Look(3.15, shut(9, 3, 3.1), (dead(WINDOW, 3, 3.1),), math.inf),
        ],
        id="window shut and dead: three window probes unanswered, the last one settled",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4, SATELLITE), (), 0.55),
            Look(1.05, shut(9, 1, 1.0, SATELLITE), (), 1.15),
            Look(2.05, shut(9, 2, 2.0, SATELLITE), (), 2.15),
            Look(2.25, shut(9, 2, 2.2, SATELLITE), (), 2.35),
            Look(3.15, shut(9, 3, 3.1, SATELLITE), (), 3.25),
            Look(3.25, shut(9, 3, 3.2, SATELLITE), (suspect(WINDOW, 3, 3.2),), 3.35),
            Look(4.25, shut(9, 4, 4.2, SATELLITE), (), 4.35),
            Look(4.35, shut(9, 4, 4.3, SATELLITE), (dead(WINDOW, 4, 4.3),), math.inf),
        ],
        id="window shut, answers take longer than probes are apart: suspect once one is settled",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4), (), 0.55),
            Look(0.65, shut(9, 1, 0.2), (), 0.75),
            Look(1.45, shut(9, 1, 1.0), (), 1.55),
            Look(1.55, shut(10, 0, 0.01), (), 1.65),
        ],
        id="window shut and alive: the second probe comes too soon to be answered",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4), (), 0.55),
            Look(3.05, shut(9, 3, 3.0), (), 3.15),
            Look(3.15, shut(9, 3, 3.1), (dead(WINDOW, 3, 3.1),), math.inf),
        ],
        id="window shut, a late look finds three probes: dead without having been suspect",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4), (), 0.55),
            Look(1.05, shut(9, 1, 1.0), (), 1.15),
            Look(1.15, shut(10, 0, 0.099), (), 1.25),
        ],
        id="window shut and alive: a probe on its way is no evidence",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4), (), 0.55),
            Look(2.05, shut(9, 2, 2.0), (), 2.15),
            Look(2.15, shut(9, 2, 2.1), (suspect(WINDOW, 2, 2.1),), 2.25),
            Look(2.25, in_flight(10, 0, 0.05), (Clear(),), 2.35),
            Look(2.35, in_flight(10, 0, 0.15), (), 2.45),
            Look(2.75, in_flight(10, 1, 0.55), (suspect(RETRANSMITS, 1, 0.55),), 2.85),
        ],
        id="the window opens, and what goes out is not acknowledged",
    ),
    pytest.param(
        [
            Look(0.45, shut(9, 0, 0.4), (), 0.55),
            Look(1.55, shut(10, 3, 1.5), (), 1.65),
            Look(1.65, shut(10, 3, 1.6), (), 1.75),
            Look(2.55, shut(10, 4, 2.5), (), 2.65),
            Look(2.65, shut(10, 4, 2.6), (), 2.75),
            Look(3.55, shut(10, 5, 3.5), (), 3.65),
            Look(3.65, shut(10, 5, 3.6), (suspect(WINDOW, 2, 3.6),), 3.75),
        ],
        id="window shut: the peer's own keep-alive is a sign of life, and acknowledges nothing",
    ),
    pytest.param(
        [
            Look(0.45, silent(8, 0.0), (), 1.45),
            Look(1.45, shut(9, 2, 0.95), (), 1.55),
            Look(1.55, shut(9, 2, 1.05), (suspect(WINDOW, 2, 1.05),), 1.65),
        ],
        id="the window shut between two looks: probes after the acknowledgement count",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(1.1, silent(9, 1.1), (suspect(KEEPALIVE, 1, 1.1),), 1.5),
            Look(1.5, in_flight(9, 0, 1.5), (), 1.6),
            Look(1.6, in_flight(9, 0, 1.6), (), 1.7),
            Look(1.9, in_flight(9, 1, 1.9), (), 2.0),
            Look(2.3, in_flight(9, 2, 2.3), (), 2.4),
            Look(2.4, in_flight(9, 2, 2.4), (dead(RETRANSMITS, 2, 2.4),), math.inf),
        ],
        id="more of the upload goes out while suspect: still suspect, time-outs now count",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(11.0, silent(10, 9.999), (Probe(9.999),), 11.1),
            Look(11.1, silent(11, 0.099), (), 12.001),
        ],
        id="the loop blocked for 10 s, the probe was answered meanwhile: no verdict",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(11.0, silent(9, 11.0), (suspect(KEEPALIVE, 1, 11.0), Probe(11.0)), 11.1),
            Look(11.1, silent(9, 11.1), (), 11.5),
            Look(11.5, silent(9, 11.5), (Probe(11.5),), 11.6),
            Look(12.0, silent(9, 12.0), (dead(KEEPALIVE, 3, 12.0),), math.inf),
        ],
        id="the loop blocked for 10 s, nothing came in: the one probe counts once",
    ),
    pytest.param(
        [
            Look(0.45, silent(9, 0.45), (), 1.0),
            Look(0.7, silent(9, 0.7), (), 1.0),
            Look(1.0, silent(9, 1.0), (Probe(1.0),), 1.1),
            Look(1.05, silent(9, 1.05), (), 1.1),
            Look(1.1, silent(9, 1.1), (suspect(KEEPALIVE, 1, 1.1),), 1.5),
            Look(1.2, silent(9, 1.2), (), 1.5),
        ],
        id="looks before their time change nothing",
    ),
]


@pytest.mark.parametrize("looks", SCENARIOS)
def test_each_look_is_answered_exactly(looks: list[Look]) -> None:
    detector = Detector(0.0)
    assert detector.look_at == 0.45
    for look in looks:
        # The sums of the table and of the detector may differ in their last bit.
        is_due = look.at == pytest.approx(detector.look_at, abs=1e-9)
        answer = detector.look(detector.look_at if is_due else look.at, look.info)
        expected = tuple(rounded(action) for action in look.actions)
        assert tuple(rounded(action) for action in answer) == expected, f"at {look.at}"
        assert detector.look_at == pytest.approx(look.look_at, abs=1e-9), f"at {look.at}"


def test_dead_is_the_last_word() -> None:
    detector = Detector(0.0)
    detector.look(0.45, in_flight(7, 2, 0.45))
    detector.look(0.55, in_flight(7, 2, 0.55))
    assert detector.is_dead
    assert detector.look(0.6, silent(12, 0.01)) == ()
    assert (detector.is_dead, detector.look_at) == (True, math.inf)


def test_repr_says_how_it_stands() -> None:
    detector = Detector(2.0)
    assert repr(detector) == "<Detector alive, heard at 2.000, look at 2.450>"
    detector.look(2.45, in_flight(7, 1, 0.45))
    assert repr(detector) == "<Detector suspect, heard at 2.000, look at 2.550>"
    detector.look(2.55, in_flight(7, 2, 0.55))
    detector.look(2.65, in_flight(7, 2, 0.65))
    assert repr(detector) == "<Detector dead, heard at 2.000, look at inf>"


# On the simulated kernel: whole courses, with nothing but the looks that the detector asks for.


def test_thinking_for_half_a_minute_is_never_suspect() -> None:
    kernel = SimKernel()
    kernel.send()
    log = drive(Detector(0.0), kernel, until=30.0)
    assert {name for _, name in names(log)} == {"Probe"}
    # One a second of silence, each a round trip after the second: 1.001, 2.002, ...
    assert [at for at, _ in names(log)] == [round(n * 1.001, 3) for n in range(1, 30)]
    assert len(kernel.keepalives_sent) == 29


def test_streaming_is_never_asked() -> None:
    kernel = SimKernel()
    kernel.send()
    for n in range(1, 300):
        kernel.at(n / 10, kernel.peer_sends)
    assert drive(Detector(0.0), kernel, until=30.0) == []


def test_an_upload_into_a_shut_window_for_a_minute_is_never_suspect() -> None:
    kernel = SimKernel(rtt=0.08)
    kernel.shut_window()
    kernel.at(60.0, kernel.open_window)
    log = drive(Detector(0.0), kernel, until=61.0)
    assert log == []
    assert kernel.transmissions == 61  # 60 window probes and the data


@pytest.mark.parametrize(
    ("kernel", "course"),
    [
        pytest.param(
            SimKernel(dies_at=0.5),
            [
                (1.001, "Probe"),
                (1.101, "Suspect"),
                (1.501, "Probe"),
                (2.001, "Probe"),
                (2.501, "DeclareDead"),
            ],
            id="while thinking",
        ),
        pytest.param(
            SimKernel(dies_at=2.5),
            [
                (1.001, "Probe"),
                (2.002, "Probe"),
                (3.003, "Probe"),
                (3.103, "Suspect"),
                (3.503, "Probe"),
                (4.003, "Probe"),
                (4.503, "DeclareDead"),
            ],
            id="while thinking, later: 2.5 s after the last answer",
        ),
        pytest.param(
            SimKernel(dies_at=0.0),
            [(0.45, "Suspect"), (0.95, "DeclareDead")],
            id="before the ACK",
        ),
        pytest.param(
            SimKernel(dies_at=0.0, rtt=0.2, rttvar=0.05),
            [(0.85, "Suspect"), (2.05, "DeclareDead")],
            id="before the ACK, 200 ms away",
        ),
    ],
)
def test_a_server_that_dies(kernel: SimKernel, course: list[tuple[float, str]]) -> None:
    kernel.send()
    assert names(drive(Detector(0.0), kernel, until=20.0)) == course


@pytest.mark.parametrize(
    ("lost", "course"),
    [
        pytest.param(
            (1, 2),
            [(1.403, "Probe"), (2.404, "Probe")],
            id="the request and its tail loss probe: over before the first look",
        ),
        pytest.param(
            (1, 2, 3),
            [(0.45, "Suspect"), (0.85, "Clear"), (1.805, "Probe")],
            id="the first retransmission too",
        ),
    ],
)
def test_a_server_that_lives_though_segments_are_lost(
    lost: tuple[int, ...], course: list[tuple[float, str]]
) -> None:
    kernel = SimKernel(lost=lost)
    kernel.send()
    assert names(drive(Detector(0.0), kernel, until=2.5)) == course


def test_a_server_that_dies_with_its_window_shut() -> None:
    kernel = SimKernel(dies_at=2.1)
    kernel.shut_window()
    log = drive(Detector(0.0), kernel, until=9.0)
    # The last answer came at 1.401; the window probes of 2.42, 3.44 and 4.46 s went unanswered.
    assert names(log) == [(3.55, "Suspect"), (4.65, "DeclareDead")]
    assert rounded(log[-1][1]) == dead(WINDOW, 3, 3.249)


def test_a_blocked_loop_misses_nothing_that_came_in() -> None:
    kernel = SimKernel()
    kernel.send()
    log = drive(Detector(0.0), kernel, until=60.0, late_by=(0.0, 0.0, 10.0))
    assert {name for _, name in names(log)} == {"Probe"}


def test_the_peers_own_keepalive_is_a_sign_of_life() -> None:
    """Its probes count as segments, and are no acknowledgement: the silence goes on."""
    kernel = SimKernel(lost=range(2, 99))
    kernel.send()
    for n in range(1, 60):
        kernel.at(n / 2, kernel.peer_probes)
    log = drive(Detector(0.0), kernel, until=29.0)
    assert "DeclareDead" not in {name for _, name in names(log)}
    assert sum(name == "Clear" for _, name in names(log)) > 10
