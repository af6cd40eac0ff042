"""What last happened at each address, for whoever asks how it is.

The engine's memory of failures (core.health) forgets on purpose: an address that is not in it may be
asked like any other. To show it as well for that would be a guess: it may never have been tried, or have
failed whenever it was. So the last thing that happened is kept beside it, for telling alone:

    ok          it answered, or could be connected, and nothing has failed there since
    failed      it failed when it was last tried; it is asked again with the next need
    untried     nothing came of it yet, good or bad
    held down   it failed a moment ago, and is asked last
    suspect     it gives no sign of life where a living one would, or its application none to health requests
    unavailable its health requests are answered with 5xx, or not to the end: it wants no new requests

A look costs the common request one question to a dictionary.
"""

from __future__ import annotations

import math

from haclient.core.health import (
    MAX_ENDPOINTS,
    Condition,
    EndpointHealth,
    counts_against,
    end_words,
)
from haclient.core.health_check import Opinion
from haclient.types import AttemptRecord, Endpoint, Instant, Verdict

__all__ = ["STATES", "LastKnown"]

STATES = ("ok", "untried", "suspect", "unavailable", "failed", "held down")
"""Of an address, the best first."""

OF_HEALTH = {
    Condition.SUSPECT: "suspect",
    Condition.HELD_DOWN: "held down",
    Condition.ON_PROBATION: "failed",
    Condition.RECOVERED: "ok",
}

OF_HEALTH_REQUESTS = {Opinion.SILENT: "suspect", Opinion.UNAVAILABLE: "unavailable"}


UNTRIED = ("", -math.inf)


class LastKnown:
    """By address; of the oldest ones no more than the engine itself keeps in mind."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[Endpoint, tuple[str | None, Instant]] = {}
        """Why the last thing that happened was not good, None where it was; and since when it is so."""

    def __repr__(self) -> str:
        return f"<LastKnown of {len(self._last)} addresses>"

    def note(
        self, endpoint: Endpoint, *, is_good: bool, why: str = "", at: Instant | None = None
    ) -> None:
        """Something good or bad happened there; a reason replaces none, and no reason one.

        Args:
            endpoint: where.
            is_good: whether it was good.
            why: it was not.
            at: when, where that may be long ago: what is older than a change to the contrary is no news.
        """
        known = self._last
        before, since = known.get(endpoint, UNTRIED)
        if is_good and before is None:
            return
        if at is not None and at < since and is_good != (before is None):
            return
        known[endpoint] = (None if is_good else why or before or "", since if at is None else at)
        if len(known) > MAX_ENDPOINTS:
            del known[next(iter(known))]

    def note_attempt(self, attempt: AttemptRecord) -> None:
        """Takes down how its connects ended, and then itself."""
        for one in attempt.connection_attempts:
            if one.usable_at is not None:
                self.note(one.endpoint, is_good=True, at=one.usable_at)
            elif one.failure is not None and counts_against(one.failure):
                self.note(one.endpoint, is_good=False, why=one.failure.value, at=one.ended_at)
        if attempt.endpoint is None:
            return
        if attempt.verdict is Verdict.ANSWERED:
            self.note(attempt.endpoint, is_good=True, at=attempt.ended_at)
        elif _is_failure(attempt):
            why = end_words(attempt.verdict, attempt.evidence, attempt.detail)
            self.note(attempt.endpoint, is_good=False, why=why, at=attempt.ended_at)

    def why(self, endpoint: Endpoint) -> str:
        """How it failed; empty where it did not, or that is not known."""
        return self._last.get(endpoint, UNTRIED)[0] or ""

    def state(
        self,
        endpoint: Endpoint,
        health: EndpointHealth | None,
        *,
        is_connected: bool = False,
        opinion: Opinion | None = None,
    ) -> str:
        """One of STATES.

        Args:
            endpoint: whose.
            health: what the engine remembers of it, if anything.
            is_connected: whether there are connections to it at this moment.
            opinion: of its health requests, where they speak against it.
        """
        if opinion is not None and (health is None or health.condition is not Condition.HELD_DOWN):
            return OF_HEALTH_REQUESTS[opinion]
        if health is not None:
            return OF_HEALTH[health.condition]
        if endpoint in self._last:
            return "ok" if self._last[endpoint][0] is None else "failed"
        return "ok" if is_connected else "untried"


def _is_failure(attempt: AttemptRecord) -> bool:
    """As the engine holds it against the address: a used connection may have been closed for its age."""
    match attempt.verdict:
        case Verdict.DEAD:
            return True
        case Verdict.CLOSED:
            return not attempt.reused
        case Verdict.SUPERSEDED:
            return attempt.evidence is not None and not attempt.evidence.is_of_health
    return False
