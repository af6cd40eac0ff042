"""The measurement itself, on this machine's kernel: dead peers are noticed, a living one is not."""

from __future__ import annotations

import errno
import socket

import pytest

from haclient.core.keepalive import WatchPhase
from haclient.ops import doctor_bound
from haclient.ops.doctor_bound import Measured, measure

LATE = 1.0
"""Seconds that other work may cost; the bounds themselves are judged by the command."""


async def test_every_dead_peer_is_noticed_within_its_bound_and_the_living_is_left_alone() -> None:
    *dead, living = await measure(caps_window_probes=True)
    assert [one.phase for one in dead] == [
        WatchPhase.SILENT,
        WatchPhase.IN_FLIGHT,
        WatchPhase.WINDOW_SHUT,
    ]
    for one in dead:
        assert one.bounds is not None
        assert one.suspect is not None
        assert one.dead is not None
        assert one.suspect < one.dead < one.bounds.dead + LATE
        assert one.suspect < one.bounds.suspect + LATE
    assert dead[0].probes == 3
    assert (living.phase, living.suspect, living.dead) == (None, None, None)
    assert living.probes >= 1


async def test_a_verdict_that_does_not_come_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor_bound, "PATIENCE", 0.05)
    results = await measure(caps_window_probes=True)
    assert [(one.suspect, one.dead) for one in results] == [(None, None)] * 4


async def test_a_filter_that_is_not_allowed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket.socket) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(doctor_bound, "blackhole", refuse)
    with pytest.raises(ExceptionGroup) as caught:
        await measure(caps_window_probes=True)
    assert caught.value.subgroup(OSError) is not None


async def test_without_the_cap_a_shut_window_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_bound, "PATIENCE", 0.0)
    results = await measure(caps_window_probes=False)
    (shut,) = (one for one in results if one.phase is WatchPhase.WINDOW_SHUT)
    assert isinstance(shut, Measured)
    assert shut.bounds is not None
    assert shut.bounds.dead == float("inf")
