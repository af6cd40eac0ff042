"""What a tunnel came to: clean, broken off, or dead."""

from __future__ import annotations

from haclient.core.tunnel_end import TunnelEnd, judge_end
from haclient.types import Evidence, EvidenceKind, Verdict

EVIDENCE = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)


def test_a_clean_end() -> None:
    assert judge_end(9, 6, None, "", is_unanswered=False) == TunnelEnd("9 bytes up, 6 down")


def test_a_reset_is_told_and_not_held_against_the_address() -> None:
    end = judge_end(9, 6, None, "reset by peer", is_unanswered=False)
    assert end.detail == "9 bytes up, 6 down; the server broke off: reset by peer"
    assert end.verdict is Verdict.ANSWERED
    assert end.why == "the tunnel broke off: reset by peer"
    assert end.error == "connection_terminated"
    assert end.evidence is None


def test_a_death_is_told_with_its_evidence() -> None:
    end = judge_end(1, 0, EVIDENCE, "", is_unanswered=False)
    assert end.detail == f"1 bytes up, 0 down; the server is dead: {EVIDENCE}"
    assert (end.verdict, end.evidence) == (Verdict.DEAD, EVIDENCE)
    assert end.error == "connection_terminated"
    assert end.why == ""


def test_of_a_dead_server_the_reset_that_followed_is_not_told() -> None:
    assert judge_end(1, 0, EVIDENCE, "reset by peer", is_unanswered=False) == judge_end(
        1, 0, EVIDENCE, "", is_unanswered=False
    )


def test_an_end_in_place_of_an_answer_is_told_and_not_held_against_the_address() -> None:
    end = judge_end(30, 0, None, "", is_unanswered=True)
    assert end.detail == "30 bytes up, 0 down; the server ended it and owed an answer"
    assert end.verdict is Verdict.ANSWERED
    assert end.why == "ended while it owed an answer"
    assert end.error == "connection_terminated"


def test_of_two_reasons_the_graver_one_is_told() -> None:
    for dead, broken in ((EVIDENCE, ""), (None, "reset by peer")):
        end = judge_end(1, 0, dead, broken, is_unanswered=True)
        assert end == judge_end(1, 0, dead, broken, is_unanswered=False)
