"""What is kept of an attempt."""

from __future__ import annotations

from trio.testing import MockClock

from haclient.engine.recording import record_of
from haclient.types import Evidence, EvidenceKind, Phase, Verdict
from tests.engine.world import ONE, A, world


async def test_the_record_of_an_attempt(autojump_clock: MockClock) -> None:
    async with world() as w:
        first = await w.ask("GET", target=ONE)
        again = await w.ask("GET", target=ONE)
        assert first.response is not None
        assert again.response is not None
        [fresh], [reused] = first.response.attempts, again.response.attempts
    assert (fresh.endpoint, fresh.status, fresh.phase) == (A, 200, Phase.DONE)
    assert fresh.verdict is Verdict.ANSWERED
    course = (fresh.started_at, fresh.connected_at, fresh.sent_at, fresh.first_byte_at)
    instants = [instant for instant in course if instant is not None]
    assert len(instants) == 4
    assert instants == sorted(instants)
    # The connect was the first one's; the second found the connection made.
    assert (fresh.reused, reused.reused, reused.connected_at) == (False, True, None)
    assert reused.connection_attempts == ()


async def test_what_is_given_for_its_end_is_kept(autojump_clock: MockClock) -> None:
    evidence = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)
    async with world() as w:
        outcome = await w.ask("GET", target=ONE)
        assert outcome.response is not None
        attempt = outcome.response._answer.attempt
        record = record_of(attempt, 7.0, Verdict.DEAD, "gone", evidence, "past replay_limit")
    assert (record.ended_at, record.verdict, record.detail) == (7.0, Verdict.DEAD, "gone")
    assert (record.evidence, record.replay) == (evidence, "past replay_limit")
