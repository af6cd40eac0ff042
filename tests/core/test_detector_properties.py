"""What holds of the detector for any path, any course of an exchange, and looks that come any late.

The living kernel answers everything; the dead one lets nothing in from some instant on. The
detector's bounds are those that core.keepalive reckons with, and what a look comes late by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.detector import DeclareDead, Detector, Probe, Suspect, TcpInfo
from haclient.core.keepalive import (
    FIRST_LOOK,
    LOOK_EVERY,
    RTO_MAX_MS,
    SILENCE_BEFORE_PROBE,
    Bounds,
    WatchPhase,
    detection_bounds,
)
from tests.core.sim_kernel import Log, SimKernel, drive

ROUNDING = 1e-3
"""Seconds: a look a hair before the second of silence is over is repeated a millisecond later."""

lateness = st.lists(
    st.sampled_from([0.0, 0.0, 0.0, 0.013, 0.3, 2.0, 10.0]) | st.floats(0.0, 15.0),
    min_size=1,
    max_size=8,
)
little_lateness = st.lists(st.floats(0.0, 0.05), min_size=1, max_size=8)


@dataclass(frozen=True)
class Path:
    rtt: float
    rttvar: float


@st.composite
def paths(draw: st.DrawFn) -> Path:
    rtt = draw(st.sampled_from([0.0, 0.0005, 0.03, 0.1, 0.2]) | st.floats(0.0, 0.4))
    return Path(rtt, rtt * draw(st.sampled_from([0.1, 0.25, 0.5])))


@dataclass(frozen=True)
class Step:
    """Something that goes on for `seconds`."""

    kind: str
    seconds: float


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["think", "send", "upload", "shut", "stream", "peer's keep-alive"]),
        st.sampled_from([0.02, 0.4, 1.0, 2.7, 6.0]) | st.floats(0.01, 12.0),
    ),
    max_size=5,
)


def play(kernel: SimKernel, course: list[Step]) -> float:
    """Puts a course into the kernel's calendar; returns when it is over. It begins with a send."""
    kernel.send()
    at = 0.0
    for step in course:
        match step.kind:
            case "send":
                kernel.at(at, kernel.send)
            case "upload":
                for n in range(int(step.seconds / 0.05)):
                    kernel.at(at + n * 0.05, kernel.send)
            case "shut":
                kernel.at(at, kernel.shut_window)
                kernel.at(at + step.seconds, kernel.open_window)
            case "stream":
                for n in range(int(step.seconds / 0.3)):
                    kernel.at(at + n * 0.3, kernel.peer_sends)
            case "peer's keep-alive":
                for n in range(int(step.seconds)):
                    kernel.at(at + n, kernel.peer_probes)
        at += step.seconds
    return at


def kinds(log: Log) -> set[type]:
    return {type(action) for _, action in log}


@given(paths(), steps, lateness, st.floats(0.0, 120.0))
def test_a_living_server_is_never_even_suspect(
    path: Path, course: list[Step], late_by: list[float], idle_for: float
) -> None:
    """Nothing lost, every answer within the round trip: then a probe is all that ever happens.

    The peer's own keep-alive is left out, for a probe of ours may then follow one that was just
    answered, and be one too many for the peer's limit of one answer in 500 ms.
    """
    kernel = SimKernel(rtt=path.rtt, rttvar=path.rttvar, idle_for=idle_for)
    until = 20.0 + play(kernel, [step for step in course if step.kind != "peer's keep-alive"])
    assert kinds(drive(Detector(0.0), kernel, until, late_by)) <= {Probe}


@given(paths(), steps, lateness, st.sets(st.integers(1, 60)))
def test_a_living_server_is_not_declared_dead_for_lost_segments(
    path: Path, course: list[Step], late_by: list[float], lost: set[int]
) -> None:
    """As long as no two in a row are lost."""
    alone = {number for number in lost if number - 1 not in lost}
    kernel = SimKernel(rtt=path.rtt, rttvar=path.rttvar, lost=alone)
    until = 20.0 + play(kernel, course)
    assert DeclareDead not in kinds(drive(Detector(0.0), kernel, until, late_by))


@given(paths(), steps, lateness)
@example(Path(0.0005, 0.0), [], [0.0])
@example(Path(0.0005, 0.0), [Step("stream", 12.0)], [10.0])
def test_a_living_server_is_not_declared_dead_for_what_it_cannot_take(
    path: Path, course: list[Step], late_by: list[float]
) -> None:
    """It answers every segment with a duplicate acknowledgement: time-outs pile up, and it lives."""
    kernel = SimKernel(rtt=path.rtt, rttvar=path.rttvar, acknowledges_nothing_new=True)
    until = 20.0 + play(kernel, course)
    assert DeclareDead not in kinds(drive(Detector(0.0), kernel, until, late_by))


def phase_bounds(kernel: SimKernel) -> Bounds:
    """Of the phase that the dead kernel is in for good.

    In flight there is one case more: an upload went on after a pause, and two time-outs came
    before the look that was due a second after the last segment. Then the third has to tell.
    """
    bounds = detection_bounds(kernel.rtt, kernel.rttvar)
    if not kernel.unacked:
        return bounds[WatchPhase.WINDOW_SHUT if kernel.notsent else WatchPhase.SILENT]
    suspect, dead = bounds[WatchPhase.IN_FLIGHT].suspect, bounds[WatchPhase.IN_FLIGHT].dead
    if 4 * kernel.rto < SILENCE_BEFORE_PROBE:
        return Bounds(SILENCE_BEFORE_PROBE, dead + 4 * kernel.rto)
    return Bounds(max(suspect, SILENCE_BEFORE_PROBE), dead)


def die(
    path: Path, course: list[Step], dies_at: float, late_by: list[float]
) -> tuple[SimKernel, Log]:
    """A course until its server dies, and a day after."""
    kernel = SimKernel(rtt=path.rtt, rttvar=path.rttvar, dies_at=dies_at)
    before: list[Step] = []
    for step in course:  # what our side does after death is not the detector's matter
        if sum(s.seconds for s in before) + step.seconds < dies_at or step.kind == "shut":
            before.append(step)
    play(kernel, before)
    return kernel, drive(Detector(0.0), kernel, 86400.0, late_by)


@given(paths(), steps, st.floats(0.0, 30.0), little_lateness)
@example(Path(0.375, 0.1875), [Step("think", 0.4), Step("shut", 1.0)], 1.0, [0.0])
def test_a_dead_server_is_declared_dead_within_the_bounds(
    path: Path, course: list[Step], dies_at: float, late_by: list[float]
) -> None:
    kernel, log = die(path, course, dies_at, late_by)
    late = max(late_by)
    bounds = phase_bounds(kernel)
    since = max(kernel.last_in, kernel.last_sent)
    dead_at, last = log[-1]
    assert isinstance(last, DeclareDead)
    # Each look on the way may be late: to notice the last segment, and one for each sign.
    assert dead_at <= since + bounds.dead + LOOK_EVERY + 5 * late + ROUNDING
    suspected_at = next(at for at, action in log if isinstance(action, Suspect) and at >= since)
    assert suspected_at <= since + bounds.suspect + LOOK_EVERY + 3 * late + ROUNDING
    assert suspected_at <= dead_at


@given(paths(), steps, st.floats(0.0, 30.0), lateness)
def test_a_dead_server_is_declared_dead_however_late_the_looks(
    path: Path, course: list[Step], dies_at: float, late_by: list[float]
) -> None:
    """A very late look cannot tell whether time-outs came before or after the last segment. Then
    it counts from there, and two more take up to four times as long as it was late."""
    kernel, log = die(path, course, dies_at, late_by)
    late = max(late_by)
    since = max(kernel.last_in, kernel.last_sent)
    dead_at, last = log[-1]
    assert isinstance(last, DeclareDead)
    again = 4 * (FIRST_LOOK + late) + 3 * RTO_MAX_MS / 1000
    assert dead_at <= since + phase_bounds(kernel).dead + LOOK_EVERY + 5 * late + again


numbers = st.integers(0, 12)
seconds = st.floats(0.0, 100.0)
infos = st.builds(
    TcpInfo, numbers, numbers, numbers, numbers, numbers, st.floats(0, 3), st.floats(0, 3), seconds
)


@given(st.floats(0.0, 1e6), st.lists(st.tuples(st.floats(0.0, 5.0), infos), max_size=30))
def test_whatever_the_kernel_says(start: float, looks: list[tuple[float, TcpInfo]]) -> None:
    """No answer is an error, no look asks for one at the same instant, death is the end."""
    detector = Detector(start)
    now = start
    is_suspect = False
    for delay, info in looks:
        now += delay
        was_dead = detector.is_dead
        actions = detector.look(now, info)
        if was_dead:
            assert actions == ()
        assert detector.look_at > now
        assert (detector.look_at == math.inf) is detector.is_dead
        for action in actions:
            if isinstance(action, Suspect):
                assert not is_suspect
            is_suspect = isinstance(action, Suspect) or (is_suspect and isinstance(action, Probe))
        assert detector.is_dead or detector.is_suspect is is_suspect
