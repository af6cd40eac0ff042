"""For each method, whether a request would be sent again, and in which case.

A table in a manual is right until somebody changes the code. This one is asked of the very machine
that decides (engine.keyed, core.retry), with a fresh course of an exchange for each of its cells.
"""

from __future__ import annotations

import enum
from typing import assert_never

import msgspec

from haclient.core.budget import Budget
from haclient.core.idempotency import RequestFacts
from haclient.core.retry import Again, Decision, Failure, GiveUp, Retry
from haclient.core.spec import IdempotencyKey, Target
from haclient.engine.keyed import as_keyed
from haclient.types import Evidence, EvidenceKind, Verdict

__all__ = ["METHODS", "Case", "Resend", "resends"]

METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH")

ITS_KEY = (b"Idempotency-Key", b'"of the client"')


class Case(enum.Enum):
    """What may befall a request; the value heads a column."""

    NOT_SENT = "not sent"
    """The connection was gone before a byte of the request was handed to the kernel."""
    SUSPECT = "suspect"
    DEAD = "dead"
    CLOSED = "closed"
    UNAVAILABLE = "503"
    TOO_SLOW = "too slow"
    """Alive, and silent for longer than response_timeout."""


class Resend(msgspec.Struct, frozen=True):
    """One line of the table."""

    method: str
    has_idempotency_key: bool
    cases: dict[Case, bool]
    why_not: str
    """Why it may not be sent again once its server died; empty where it may."""

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.method} with Idempotency-Key" if self.has_idempotency_key else self.method


def resends(target: Target, *, is_elsewhere: bool) -> tuple[Resend, ...]:
    """Returns a line for each method, and one for a POST with an Idempotency-Key.

    Args:
        target: with its window, attempts and statuses.
        is_elsewhere: whether there is a second address.
    """
    requests = [RequestFacts(method) for method in METHODS]
    requests.append(RequestFacts("POST", has_idempotency_key=True))
    return tuple(_resend(target, facts, is_elsewhere) for facts in requests)


def _as_it_goes(facts: RequestFacts, meaning: IdempotencyKey) -> RequestFacts:
    """The request as servers get it: a key may be added, or mean nothing."""
    fields = (ITS_KEY,) if facts.has_idempotency_key else ()
    return as_keyed(facts.method, fields, meaning)[1]


def _resend(target: Target, facts: RequestFacts, is_elsewhere: bool) -> Resend:
    goes = _as_it_goes(facts, target.idempotency_key)
    decisions = {case: _decide(target, goes, case, is_elsewhere) for case in Case}
    died = decisions[Case.DEAD]
    return Resend(
        facts.method,
        facts.has_idempotency_key,
        {case: isinstance(decision, Again) for case, decision in decisions.items()},
        died.reason if isinstance(died, GiveUp) else "",
    )


def _decide(target: Target, facts: RequestFacts, case: Case, is_elsewhere: bool) -> Decision:
    """Plays one exchange up to its first trouble: a second into it, with small content."""
    retry = Retry(
        facts,
        window=target.window,
        max_attempts=target.max_attempts,
        failover_statuses=target.failover_statuses,
        budget=Budget(target.retry_budget),
    )
    number, now = retry.started(), 1.0
    silence = Evidence(EvidenceKind.KEEPALIVE_PROBES, 1, now)

    def failed(verdict: Verdict, bytes_sent: int, evidence: Evidence | None = None) -> Decision:
        is_reused = bytes_sent == 0
        failure = Failure(verdict, bytes_sent, True, is_reused, is_elsewhere, evidence)
        return retry.failed(number, failure, now)

    match case:
        case Case.NOT_SENT:
            return failed(Verdict.CLOSED, 0)
        case Case.SUSPECT:
            return retry.suspected(
                number, silence, now, is_replayable=True, is_elsewhere=is_elsewhere
            )
        case Case.DEAD:
            return failed(Verdict.DEAD, 1, silence)
        case Case.CLOSED:
            return failed(Verdict.CLOSED, 1)
        case Case.UNAVAILABLE:
            return retry.answered(number, 503, now, is_replayable=True, is_elsewhere=is_elsewhere)
        case Case.TOO_SLOW:
            return failed(Verdict.SLOW, 1)
        case _:
            assert_never(case)
