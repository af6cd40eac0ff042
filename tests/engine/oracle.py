"""What must hold of every exchange, whatever was done to its servers.

No case says what it expects here; these are the promises themselves. A request that may not be
resent reaches one server at the most. There is one answer: a whole one, or an error of our own. The
answer belongs to its request. The error is honest about what may have been executed. The records
tell all attempts, in order and without contradiction, and the events tell the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from haclient import events
from haclient.errors import Error
from haclient.events import Event
from haclient.response import Response
from haclient.types import AttemptRecord, Phase, Verdict
from tests.sim.origin import SimOrigin

__all__ = ["Outcome", "check_events", "check_outcome", "check_records"]


@dataclass
class Outcome:
    """What the caller got, and when: instants on trio's clock.

    `content` is what was handed over, also where it broke off; `head_at` is None for an answer
    that was read whole. `is_repeatable` says whether the request may run more than once.
    """

    number: int
    is_repeatable: bool
    response: Response | None
    content: bytes
    error: Error | None
    began_at: float
    head_at: float | None
    ended_at: float

    @property
    def took(self) -> float:
        """Seconds."""
        return self.ended_at - self.began_at

    @property
    def records(self) -> tuple[AttemptRecord, ...]:
        """Every attempt."""
        if self.error is not None:
            return self.error.attempts
        assert self.response is not None
        return self.response.attempts

    @property
    def server(self) -> str:
        """The name of the origin that answered; empty for an error."""
        if self.error is not None or self.response is None:
            return ""
        return self.response.headers["x-origin"]

    @property
    def verdicts(self) -> list[Verdict]:
        """Of the attempts, in order."""
        return [record.verdict for record in self.records]


def check_outcome(outcome: Outcome, origins: Iterable[SimOrigin]) -> None:
    """One answer, of this request; and nothing was done twice that may not be."""
    response, error, records = outcome.response, outcome.error, outcome.records
    wanted = b"%d" % outcome.number
    runs = [
        origin
        for origin in origins
        for request in origin.executed
        if request.value(b"x-request-id") == wanted
    ]
    sent = [record for record in records if record.bytes_sent]
    assert len(runs) <= len(sent)
    if not outcome.is_repeatable:
        assert len(sent) <= 1
    if error is not None:
        assert type(error) is not Error
        assert error.may_have_been_processed == bool(sent)
    else:
        assert response is not None
        assert response.headers["x-request-id"] == f"{outcome.number}"
        assert outcome.server in {origin.name for origin in runs}
    check_records(records, is_answered=error is None)


def check_records(records: Sequence[AttemptRecord], *, is_answered: bool) -> None:
    """All attempts, in order; each without contradiction in itself."""
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    if is_answered:
        assert Verdict.ANSWERED in [record.verdict for record in records]
    for record in records:
        instants = [
            record.started_at,
            record.resolved_at,
            *((record.connected_at, record.usable_at) if not record.reused else ()),
            record.sent_at,
            record.ended_at,
        ]
        known = [at for at in instants if at is not None]
        assert known == sorted(known), record
        if record.first_byte_at is not None:
            assert record.started_at <= record.first_byte_at <= record.ended_at
            assert record.status is not None
        assert bool(record.bytes_sent) <= (record.endpoint is not None)
        assert (record.sent_at is not None) <= bool(record.bytes_sent)
        match record.verdict:
            case Verdict.ANSWERED:
                assert record.phase is Phase.DONE
                assert record.status is not None
            case Verdict.REFUSED:
                assert record.endpoint is None
                assert record.bytes_sent == 0
            case Verdict.DEAD:
                assert record.evidence is not None
        assert record.describe()
    for earlier, later in pairwise(records):
        assert earlier.started_at <= later.started_at


def check_events(told: Sequence[Event], outcome: Outcome) -> None:
    """The events of one exchange tell the same as its records, in the order of time."""
    instants = [event.at for event in told]
    assert instants == sorted(instants)
    assert isinstance(told[-1], events.ExchangeEnded)
    assert told[-1].error is outcome.error
    assert told[-1].attempts == outcome.records
    assert sum(isinstance(event, events.ExchangeEnded) for event in told) == 1
    begun: list[int] = []
    ended: dict[int, AttemptRecord] = {}
    for event in told[:-1]:
        assert not isinstance(event, events.ExchangeEnded)
        assert event.attempt not in ended, f"after its end: {event}"
        if isinstance(event, events.AttemptStarted):
            begun.append(event.attempt)
        elif isinstance(event, events.AttemptEnded):
            ended[event.attempt] = event.record
        assert event.attempt in begun, f"before its beginning: {event}"
    assert begun == [record.number for record in outcome.records]
    assert [ended[number] for number in begun] == list(outcome.records)
