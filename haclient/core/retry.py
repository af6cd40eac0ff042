"""Again, elsewhere, or stop: the decision after each turn of an exchange.

The naive answer is a number of retries and a list of status codes. It runs a POST twice, gives up
on a server that was only slow, and makes a storm of an outage. What matters instead:

1. *May the request be sent again at all?* Safe and idempotent methods may (RFC 9110, sections
   9.2.1 and 9.2.2), so may one that bears an honoured Idempotency-Key, and so may any request of
   which no byte was handed to the kernel. Nothing else, ever. And its content must still be there.
2. *What is known of the first try?* Refused: nothing was sent, and every address was asked. Dead or
   closed: nobody carries the first copy any more, so a second one is no load. Suspect: perhaps
   alive, so only a safe request gets a second try beside it, for two runs of a PUT, one of them
   late, can undo what the client did in between. Answered with 503, or silent past the back-stop:
   a living server carries both copies, so the budget must allow it. Doubtful, for its application
   gives no answer to health requests: as suspect, but that its host lives, so that nothing presses.
3. *How long already?* The window opens with the last sign of life of the first server in trouble
   and bounds everything after it. A server that is not suspect is waited for, window or not.

One machine serves one exchange. Attempts are known by their number.

    outstanding → suspect or doubtful ⇄ outstanding       suspected / cleared
    outstanding, suspect or doubtful → ended              failed / answered
"""

from __future__ import annotations

import math

import msgspec

from haclient.core.budget import Budget
from haclient.core.idempotency import RequestFacts
from haclient.types import Evidence, Instant, Limit, Verdict

__all__ = [
    "GIVEN_UP",
    "Again",
    "Decision",
    "Failure",
    "GiveUp",
    "Relay",
    "Retry",
    "Wait",
]

LOST = frozenset({Verdict.DEAD, Verdict.CLOSED, Verdict.SLOW, Verdict.GARBLED})
"""Verdicts on a server that had been connected: they open the window."""

GIVEN_UP = frozenset({Verdict.SUPERSEDED, Verdict.CANCELLED})
"""Our own ends, not the servers'; a suspicion may have been the reason."""


LAST_WORD = 0.05
"""Seconds of the window that are kept for what comes after its end: a failure is told, and a last
attempt sent, inside the window, on a busy machine too (measured: 1 to 4 ms; a loop that is late
by 50 ms is overloaded)."""


class Failure(msgspec.Struct, frozen=True):
    """How an attempt failed, as far as the decision needs it.

    Attributes:
        verdict: never ANSWERED.
        bytes_sent: of this request, handed to the kernel.
        is_replayable: the content can be had again from its beginning.
        is_reused: the connection had carried an exchange before.
        is_elsewhere: an address remains that this exchange has not tried.
        evidence: of a dead server.
        timed_out_after: of REFUSED, where every address was silent: seconds since the first
            connect. One lost SYN looks the same for as long as connect_timeout, for the kernel's
            second one leaves after a second (RFC 6298, section 2.1).
    """

    verdict: Verdict
    bytes_sent: int
    is_replayable: bool
    is_reused: bool
    is_elsewhere: bool
    evidence: Evidence | None = None
    timed_out_after: float | None = None


class Relay(msgspec.Struct, frozen=True):
    """The caller gets this attempt's answer."""

    attempt: int


class Again(msgspec.Struct, frozen=True):
    """Start one more attempt; `reason` is for a person."""

    reason: str


class Wait(msgspec.Struct, frozen=True):
    """Go on waiting for the attempts that are outstanding, until `window_ends_at` at the most."""

    window_ends_at: Instant


class GiveUp(msgspec.Struct, frozen=True):
    """The caller gets an error; `reason` says why nothing more was tried, `limit` whether that is ours."""

    reason: str
    limit: Limit | None = None

    @classmethod
    def at(cls, limit: Limit) -> GiveUp:
        """A limit of ours was reached."""
        return cls(limit.value, limit)


Decision = Relay | Again | Wait | GiveUp


class Retry:
    """The course of one exchange."""

    __slots__ = (
        "_budget",
        "_doubtful",
        "_facts",
        "_failover_statuses",
        "_held",
        "_max_attempts",
        "_outstanding",
        "_started",
        "_suspects",
        "_trouble_since",
        "_window",
    )

    def __init__(
        self,
        facts: RequestFacts,
        *,
        window: float,
        max_attempts: int,
        failover_statuses: frozenset[int],
        budget: Budget,
    ) -> None:
        self._facts = facts
        self._window = window
        self._max_attempts = max_attempts
        self._failover_statuses = failover_statuses
        self._budget = budget
        self._started = 0
        self._outstanding: set[int] = set()
        self._suspects: set[int] = set()
        self._doubtful: set[int] = set()
        self._held: int | None = None
        self._trouble_since = math.inf

    def __repr__(self) -> str:
        return (
            f"<Retry {self._facts.method}, attempt {self._started} of {self._max_attempts}, "
            f"outstanding {sorted(self._outstanding)}, suspect {sorted(self._suspects)}>"
        )

    @property
    def window_ends_at(self) -> Instant:
        """Nothing new is started after this; infinite while no server is in trouble."""
        return self._trouble_since + self._window - LAST_WORD

    @property
    def is_hopeless(self) -> bool:
        """Whether every outstanding attempt is suspect: the window's end then ends the exchange."""
        return self._outstanding <= self._suspects

    @property
    def _are_all_in_doubt(self) -> bool:
        """Whether there is nobody outstanding of whom an answer is to be expected."""
        return self._outstanding <= self._suspects | self._doubtful

    def started(self) -> int:
        """An attempt begins; returns its number, from 1 on."""
        self._started += 1
        self._outstanding.add(self._started)
        return self._started

    def suspected(
        self,
        attempt: int,
        evidence: Evidence,
        now: Instant,
        *,
        is_replayable: bool,
        is_elsewhere: bool,
    ) -> Decision:
        """The attempt's server gave no sign of life where a living one would have.

        Where only its application is silent, its host lives: that makes the attempt doubtful, opens no
        window, and never ends it: it may be at work.
        """
        if evidence.is_of_health:
            self._doubtful.add(attempt)
        else:
            self._suspects.add(attempt)
            self._in_trouble_since(now - evidence.silent_for)
        may_share = is_replayable and is_elsewhere and self._facts.is_safe
        return self._beside(attempt, evidence, now, may_share and self._are_all_in_doubt)

    def _beside(self, attempt: int, evidence: Evidence, now: Instant, may_share: bool) -> Decision:
        """A second try while the first goes on, where it does no harm."""
        if may_share and self._may_start(now) and self._budget.withdraw(now):
            return Again(f"attempt {attempt} is suspect: {evidence}")
        return Wait(self.window_ends_at)

    def cleared(self, attempt: int) -> Decision:
        """The suspect is alive after all; nothing is lost."""
        self._suspects.discard(attempt)
        self._doubtful.discard(attempt)
        self._trouble_since = math.inf
        return Wait(self.window_ends_at)

    def calls_for_another(self, status: int) -> bool:
        """Whether an answer with this status asks for another server's."""
        return status in self._failover_statuses and self._facts.is_idempotent

    def answered(
        self, attempt: int, status: int, now: Instant, *, is_replayable: bool, is_elsewhere: bool
    ) -> Decision:
        """The head of a final answer is here.

        An answer that calls for another server is held while that one is asked; should it fail,
        the held answer is relayed after all: it is the truth that was had.
        """
        self._end(attempt)
        if not self.calls_for_another(status):
            return Relay(attempt)
        if self._outstanding:
            self._held = attempt
            return Wait(self.window_ends_at)
        self._alive_at(now)
        if is_replayable and is_elsewhere and self._may_start(now) and self._budget.withdraw(now):
            self._held = attempt
            return Again(f"attempt {attempt} was answered with {status}")
        return Relay(attempt)

    def failed(self, attempt: int, failure: Failure, now: Instant) -> Decision:
        """The attempt is over without an answer."""
        self._end(attempt)
        if failure.verdict in LOST:
            # Without evidence (a FIN, a reset) the server showed itself until this moment.
            silent_for = failure.evidence.silent_for if failure.evidence else 0.0
            self._in_trouble_since(now - silent_for)
        elif failure.timed_out_after is not None:
            self._in_trouble_since(now - failure.timed_out_after)
        if not self._are_all_in_doubt:
            return Wait(self.window_ends_at)
        why_not = self._why_not_again(failure, now)
        if why_not is None:
            return Again(f"attempt {attempt} ended: {failure.evidence or failure.verdict.value}")
        if self._outstanding:
            return Wait(self.window_ends_at)
        return self._last_word(why_not)

    def broke_off(self, attempt: int, failure: Failure, now: Instant) -> Decision:
        """The answer that was relayed broke off in its content; one more attempt is for the rest.

        The window is a new one, for the server had answered. Returns Again or GiveUp.
        """
        self._trouble_since = math.inf
        return self.refused(attempt, failure, now)

    def wavers(
        self, attempt: int, evidence: Evidence, now: Instant, *, is_elsewhere: bool
    ) -> Decision:
        """The server of the answer that was relayed is suspect in the midst of its content.

        It goes on being read whatever is decided, and is none of the attempts for the rest.
        """
        self._forget_others()
        self._trouble_since = math.inf
        if not evidence.is_of_health:
            self._in_trouble_since(now - evidence.silent_for)
        return self._beside(attempt, evidence, now, is_elsewhere)

    def refused(self, attempt: int, failure: Failure, now: Instant) -> Decision:
        """The answer that was relayed is of no use. Returns Again or GiveUp."""
        self._forget_others()
        return self.failed(attempt, failure, now)

    def _forget_others(self) -> None:
        """An answer was relayed since: whoever else was outstanding is closed.

        And what was held is of no use, for the caller has part of another answer.
        """
        self._outstanding.clear()
        self._suspects.clear()
        self._doubtful.clear()
        self._held = None

    def window_ended(self) -> Decision:
        """The window is over: an exchange with a server that is not suspect goes on."""
        if self._outstanding and not self.is_hopeless:
            self._trouble_since = math.inf
            return Wait(self.window_ends_at)
        return self._last_word(GiveUp.at(Limit.WINDOW))

    def _last_word(self, why_not: GiveUp) -> Decision:
        return Relay(self._held) if self._held is not None else why_not

    def _why_not_again(self, failure: Failure, now: Instant) -> GiveUp | None:
        """Why the request may not be sent again; None where it may."""
        verdict = failure.verdict
        if verdict is Verdict.REFUSED:
            # Every address of every tier was asked by this very attempt. Where nothing was sent and
            # nobody said no, another SYN to each is worth it, if there is time for that to be lost as
            # well (measured at 5 % loss each way: 16 of 150 cold requests to one address failed without).
            silent = failure.timed_out_after
            if silent is not None and self._held is None and self._may_start(now + silent):
                return None
            return GiveUp("every address was tried")
        if verdict not in LOST:
            return GiveUp(verdict.value)
        if failure.bytes_sent and not self._facts.is_idempotent:
            return GiveUp(f"{self._facts.method} is not idempotent")
        if not failure.is_replayable:
            return GiveUp("its content cannot be sent again")
        if self._held is not None and not failure.is_elsewhere:
            # Who is left has answered already, and would be asked for the same answer again.
            return GiveUp("there is no other server")
        if self._started >= self._max_attempts:
            return GiveUp(f"{self._started} attempts were made")
        if now >= self.window_ends_at:
            return GiveUp.at(Limit.WINDOW)
        if not failure.is_elsewhere and verdict is not Verdict.DEAD and not failure.is_reused:
            # A fresh connection to the only server, ended by that server: it will do so again.
            # (Dead is a matter of the path, and a reused connection may have been closed for age.)
            return GiveUp("there is no other server")
        if verdict in (Verdict.SLOW, Verdict.GARBLED):
            if not failure.is_elsewhere:
                return GiveUp("there is no other server")
            if not self._budget.withdraw(now):
                return GiveUp.at(Limit.BUDGET)
        return None

    def _may_start(self, now: Instant) -> bool:
        return self._started < self._max_attempts and now < self.window_ends_at

    def _in_trouble_since(self, last_sign_of_life: Instant) -> None:
        self._alive_at(last_sign_of_life)
        self._trouble_since = min(self._trouble_since, last_sign_of_life)

    def _alive_at(self, sign_of_life: Instant) -> None:
        """A trouble whose window a living server has outlasted is over; the next is a new one."""
        if sign_of_life >= self.window_ends_at:
            self._trouble_since = math.inf

    def _end(self, attempt: int) -> None:
        self._outstanding.discard(attempt)
        self._suspects.discard(attempt)
        self._doubtful.discard(attempt)
