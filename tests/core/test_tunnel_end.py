"""What a tunnel came to: clean, broken off, or dead."""

from __future__ import annotations

from haclient.core.tunnel_end import TunnelEnd, judge_end
from haclient.types import Evidence, EvidenceKind, Verdict

EVIDENCE = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)


def test_a_clean_end() -> None:
    assert judge_end(9, 6, None, "") == TunnelEnd("9 bytes up, 6 down")


def test_a_reset_is_told_and_not_held_against_the_address() -> None:
    end = judge_end(9, 6, None, "reset by peer")
    assert end.detail == "9 bytes up, 6 down; the server broke off: reset by peer"
    assert end.verdict is Verdict.ANSWERED
    assert end.why == "the tunnel broke off: reset by peer"
    assert end.error == "connection_terminated"
    assert end.evidence is None


def test_a_death_is_told_with_its_evidence() -> None:
    end = judge_end(1, 0, EVIDENCE, "")
    assert end.detail == f"1 bytes up, 0 down; the server is dead: {EVIDENCE}"
    assert (end.verdict, end.evidence) == (Verdict.DEAD, EVIDENCE)
    assert end.error == "connection_terminated"
    assert end.why == ""


def test_of_a_dead_server_the_reset_that_followed_is_not_told() -> None:
    assert judge_end(1, 0, EVIDENCE, "reset by peer") == judge_end(1, 0, EVIDENCE, "")
