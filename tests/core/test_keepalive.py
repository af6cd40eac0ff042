"""The arithmetic of detection: against what was measured, and for every window."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.keepalive import (
    DEAD_AFTER_PROBES,
    FIRST_LOOK,
    KERNEL_ALONE_KEEPCNT,
    KERNEL_KEEPCNT,
    KERNEL_KEEPINTVL,
    LOOK_EVERY,
    MIN_PROBE_GAP,
    MIN_SETTLE,
    RTO_MAX_MS,
    SILENCE_BEFORE_PROBE,
    Bounds,
    Plan,
    Refusal,
    WatchPhase,
    detection_bounds,
    probe_gap,
    settle_time,
)
from haclient.core.spec import Target

seconds = st.floats(min_value=0.0, max_value=2.0)
windows = st.floats(min_value=-1.0, max_value=600.0)
connect_timeouts = st.floats(min_value=0.001, max_value=60.0)


def rounded(bounds: Bounds) -> tuple[float, float]:
    return round(bounds.suspect, 6), round(bounds.dead, 6)


# Bounds


@pytest.mark.parametrize(
    ("phase", "suspect", "dead"),
    [
        pytest.param(WatchPhase.CONNECT, 1.0, 1.0, id="connecting: connect_timeout"),
        pytest.param(WatchPhase.IN_FLIGHT, 0.55, 1.2, id="in flight: two retransmissions"),
        pytest.param(WatchPhase.SILENT, 1.1, 2.5, id="silent: a second, and three probes"),
        pytest.param(WatchPhase.WINDOW_SHUT, 2.34, 3.36, id="window shut: three window probes"),
    ],
)
def test_bounds_without_a_round_trip(phase: WatchPhase, suspect: float, dead: float) -> None:
    assert rounded(detection_bounds()[phase]) == (suspect, dead)


@pytest.mark.parametrize(
    ("phase", "suspect", "dead"),
    [
        pytest.param(WatchPhase.IN_FLIGHT, 1.45, 3.5, id="in flight: the time-out is 0.6 s"),
        pytest.param(WatchPhase.SILENT, 1.6, 2.8, id="silent: probes 0.6 s apart"),
        pytest.param(WatchPhase.WINDOW_SHUT, 2.84, 3.86, id="window shut: 0.6 s to settle"),
    ],
)
def test_bounds_at_200_ms_after_one_sample(phase: WatchPhase, suspect: float, dead: float) -> None:
    assert rounded(detection_bounds(srtt=0.2, rttvar=0.1)[phase]) == (suspect, dead)


@pytest.mark.parametrize(
    ("srtt", "rttvar", "first", "second"),
    [
        pytest.param(0.0, 0.0, 0.41, 0.85, id="no round trip"),
        pytest.param(0.2, 0.1, 1.28, 2.50, id="200 ms, one sample"),
    ],
)
def test_the_retransmissions_that_were_measured_lie_within_the_bounds(
    srtt: float, rttvar: float, first: float, second: float
) -> None:
    bounds = detection_bounds(srtt, rttvar)[WatchPhase.IN_FLIGHT]
    assert first + LOOK_EVERY <= bounds.suspect < 1.3 * (first + LOOK_EVERY)
    settled = second + settle_time(srtt, rttvar) + 2 * LOOK_EVERY
    assert settled <= bounds.dead < 1.1 * settled


def test_a_shut_window_has_no_bound_where_the_kernel_spaces_its_probes_out() -> None:
    bounds = detection_bounds(caps_window_probes=False)
    assert bounds[WatchPhase.WINDOW_SHUT] == Bounds(math.inf, math.inf)
    assert bounds[WatchPhase.SILENT] == detection_bounds()[WatchPhase.SILENT]


def test_the_kernel_never_gives_its_verdict_before_ours() -> None:
    kernel = SILENCE_BEFORE_PROBE + KERNEL_KEEPINTVL * (KERNEL_KEEPCNT - DEAD_AFTER_PROBES)
    assert detection_bounds()[WatchPhase.SILENT].dead < kernel
    assert DEAD_AFTER_PROBES < KERNEL_KEEPCNT <= 127
    assert 1000 <= RTO_MAX_MS <= 120_000


@given(srtt=seconds, rttvar=seconds)
def test_an_answer_under_way_is_waited_for(srtt: float, rttvar: float) -> None:
    assert settle_time(srtt, rttvar) >= max(MIN_SETTLE, srtt + 4 * rttvar)
    assert probe_gap(srtt, rttvar) >= max(MIN_PROBE_GAP, settle_time(srtt, rttvar))


@given(srtt=seconds, rttvar=seconds, more=seconds, connect_timeout=connect_timeouts)
def test_suspicion_comes_no_later_than_proof_and_distance_hastens_neither(
    srtt: float, rttvar: float, more: float, connect_timeout: float
) -> None:
    near = detection_bounds(srtt, rttvar, connect_timeout)
    far = detection_bounds(srtt + more, rttvar + more, connect_timeout)
    assert set(near) == set(WatchPhase)
    for phase in WatchPhase:
        assert 0 < near[phase].suspect <= near[phase].dead
        assert near[phase].suspect <= far[phase].suspect
        assert near[phase].dead <= far[phase].dead
    assert near[WatchPhase.IN_FLIGHT].suspect >= FIRST_LOOK


@pytest.mark.parametrize(
    ("srtt", "rttvar", "connect_timeout"),
    [(-0.1, 0.0, 1.0), (0.0, -0.1, 1.0), (0.0, 0.0, 0.0), (math.nan, 0.0, 1.0)],
)
def test_times_that_cannot_be_are_refused(
    srtt: float, rttvar: float, connect_timeout: float
) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        detection_bounds(srtt, rttvar, connect_timeout)


# Plans


@pytest.mark.parametrize(
    ("window", "connect_timeout", "worst_case"),
    [
        pytest.param(4.0, 1.0, 3.5, id="the defaults"),
        pytest.param(3.5, 1.0, 3.5, id="just enough"),
        pytest.param(3.36, 0.5, 3.0, id="just enough for the shut window"),
        pytest.param(60.0, 20.0, 40.0, id="two tiers that do not answer"),
    ],
)
def test_a_window_that_is_kept(window: float, connect_timeout: float, worst_case: float) -> None:
    plan = Plan.for_window(window, connect_timeout)
    assert isinstance(plan, Plan)
    assert plan.worst_case == worst_case


@pytest.mark.parametrize(
    ("window", "connect_timeout", "smallest", "reason"),
    [
        pytest.param(
            3.0,
            1.0,
            3.5,
            "silent, a server is proved dead within 2.5 s, and connect_timeout is 1 s",
            id="no room to connect after the probes",
        ),
        pytest.param(
            8.0,
            5.0,
            10.0,
            "connecting, a server is proved dead within 5 s, and connect_timeout is 5 s",
            id="two connects take longer",
        ),
        pytest.param(
            3.0,
            0.25,
            3.36,
            "with its window shut, a server is proved dead within 3.36 s",
            id="no room for three window probes",
        ),
        pytest.param(
            -1.0,
            1.0,
            3.5,
            "silent, a server is proved dead within 2.5 s, and connect_timeout is 1 s",
            id="no window at all",
        ),
    ],
)
def test_a_window_that_cannot_be_kept(
    window: float, connect_timeout: float, smallest: float, reason: str
) -> None:
    assert Plan.for_window(window, connect_timeout) == Refusal(window, smallest, reason)


def test_the_shut_window_is_not_judged_where_it_has_no_bound() -> None:
    assert isinstance(Plan.for_window(3.0, 0.25, caps_window_probes=False), Plan)


def test_a_plan_explains_itself() -> None:
    assert Plan.for_window(4.0, 1.0).explain() == (
        "window 4 s, connect_timeout 1 s: kept, worst case 3.5 s; one exception, 4.36 s",
        "connecting: given up after 1 s, resent within 2 s",
        "data in flight: suspect within 0.55 s, dead within 1.2 s, resent within 2.2 s",
        "silent: suspect within 1.1 s, dead within 2.5 s, resent within 3.5 s",
        "window shut: suspect within 2.34 s, dead within 3.36 s, resent within 4.36 s",
        "the exception: an upload that the server had stopped reading (its TCP window is shut). That"
        " it is dead is proved inside 4 s, which is promised; only if the next connect then takes all"
        " of its 1 s, the resend would come 0.36 s late",
    )


def test_a_window_that_holds_everywhere_has_no_exception() -> None:
    head, *phases = Plan.for_window(4.5, 1.0).explain()
    assert head == "window 4.5 s, connect_timeout 1 s: kept, worst case 3.5 s"
    assert phases[-1].startswith("window shut: ")


def test_a_plan_says_what_the_kernel_does_not_bound() -> None:
    lines = Plan.for_window(10.0, 1.0, caps_window_probes=False).explain()
    assert lines[-1] == "window shut: not bounded by this kernel (no TCP_RTO_MAX_MS)"


def test_a_refusal_says_what_would_do() -> None:
    assert Plan.for_window(2.0, 1.0).explain() == (
        "a window of 2 s cannot be kept: silent, a server is proved dead within 2.5 s,"
        " and connect_timeout is 1 s; the smallest is 3.5 s",
    )


@given(window=windows, connect_timeout=connect_timeouts, srtt=seconds, rttvar=seconds)
def test_a_plan_adds_up_or_is_refused_with_the_smallest_that_does(
    window: float, connect_timeout: float, srtt: float, rttvar: float
) -> None:
    plan = Plan.for_window(window, connect_timeout, srtt, rttvar)
    if isinstance(plan, Refusal):
        assert window < plan.smallest
        smallest = Plan.for_window(plan.smallest, connect_timeout, srtt, rttvar)
        assert isinstance(smallest, Plan)
        # It is indeed the smallest: no millisecond of it is to spare.
        assert isinstance(
            Plan.for_window(plan.smallest - 0.0011, connect_timeout, srtt, rttvar), Refusal
        )
        plan = smallest
    assert plan.worst_case <= plan.window + 1e-6
    for phase in WatchPhase:
        assert plan.bounds[phase].dead <= plan.window + 1e-6
        assert phase is WatchPhase.WINDOW_SHUT or plan.resent_within(phase) <= plan.worst_case


# The kernel's own


def test_where_the_kernel_judges_one_lost_probe_ends_nothing_and_the_usual_window_is_kept() -> None:
    assert KERNEL_ALONE_KEEPCNT >= 2
    dead = SILENCE_BEFORE_PROBE + KERNEL_KEEPINTVL * KERNEL_ALONE_KEEPCNT
    assert dead == 3.0
    usual = Target(urls="http://a.test")
    assert dead + usual.connect_timeout <= usual.window
