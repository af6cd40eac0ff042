"""The attempts of one exchange, begun and ended as `core.retry` says.

The common course is one attempt in the caller's own task. Only when that attempt is suspect and a
second one may run beside it is a nursery opened: each attempt then has a task, outcomes come
through one channel, the first answer wins and what else is outstanding is closed with the nursery.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

import trio
from msgspec.structs import replace

from haclient import events
from haclient.core.resume import GoOn, Refuse
from haclient.core.retry import Again, Decision, Failure, GiveUp, Relay, Retry, Wait
from haclient.engine.attempt import Attempt
from haclient.engine.failure import deadline_error_for, error_for
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import (
    Answered,
    ClearedUp,
    Failed,
    Outcome,
    Request,
    Suspicion,
)
from haclient.engine.sticky import note_answer
from haclient.errors import DeadlineError, QueueTimeoutError
from haclient.net.http1 import Head
from haclient.types import AttemptRecord, Endpoint, Evidence, Verdict

__all__ = ["Course"]


class Course:
    """The attempts of one exchange, from the first to the answer.

    Attributes:
        request: the caller's; what is asked of servers is another one once the rest of an answer is.
    """

    __slots__ = (
        "_answered",
        "_attempts",
        "_kept",
        "_last_failed",
        "_may_return",
        "_observe",
        "_request",
        "_retry",
        "_target",
        "_told",
        "_tried",
        "_winner",
        "request",
    )

    def __init__(
        self,
        target: LiveTarget,
        request: Request,
        observe: events.Observer | None,
        attempts: list[Attempt] | None = None,
    ) -> None:
        spec = target.spec
        self._target = target
        self.request = self._request = request
        self._observe = observe
        self._attempts: list[Attempt] = attempts if attempts is not None else []
        self._answered: set[int] = set()
        self._tried: set[Endpoint] = set()
        # Whose answer is relayed; of whom an error tells (by default of whom there is most to tell);
        # who is read on from while others are asked, and is not ours to end.
        self._winner: Attempt | None = None
        self._told: Attempt | None = None
        self._kept: Attempt | None = None
        self._last_failed: Failed | None = None
        # Whether a server in trouble may be asked again where there is no other one.
        self._may_return = True
        self._retry = Retry(
            request.facts,
            window=spec.window,
            max_attempts=spec.max_attempts,
            failover_statuses=spec.failover_statuses,
            budget=target.budget,
        )

    async def run(self, reason: str = "") -> Attempt:
        """The common way: one attempt at a time, in this task."""
        attempt = self._begin(reason)
        while True:
            outcome = await attempt.advance()
            decision = self._decide(attempt, outcome)
            match decision:
                case Relay(number):
                    return self._relay(number)
                case Again(reason) if isinstance(outcome, Suspicion):
                    return await self._run_beside(attempt, reason)
                case Again(reason):
                    # It may have answered in the midst of an upload, and be held: content that is
                    # read once must not have two readers.
                    attempt.stop_sending()
                    attempt = self._begin(reason)
                case Wait():
                    pass
                case GiveUp():
                    raise self._error(decision)
                case _:
                    assert_never(decision)

    async def go_on(
        self,
        broken: Attempt,
        outcome: Failed,
        request: Request,
        judge: Callable[[Head], GoOn | Refuse],
    ) -> tuple[Attempt, GoOn]:
        """Asks another server for the rest of an answer that broke off.

        Args:
            broken: the attempt whose answer it was.
            outcome: how it ended.
            request: asks for the rest.
            judge: whether an answer is the rest.

        Raises:
            haclient.errors.Error: the rest was not to be had; it tells of `broken`.
        """
        self._told = broken
        self._note_failed(outcome)
        failure = replace(outcome.failure, is_elsewhere=self._is_elsewhere(broken))
        decision = self._retry.broke_off(broken.number, failure, trio.current_time())
        return await self._ask_for_rest(decision, request, judge)

    async def go_on_beside(
        self,
        suspect: Attempt,
        evidence: Evidence,
        request: Request,
        judge: Callable[[Head], GoOn | Refuse],
    ) -> tuple[Attempt, GoOn] | None:
        """As `go_on`, while the first server may come back; None where nobody may be asked.

        `suspect` stays open, and is the caller's to end.

        Raises:
            haclient.errors.Error: the rest was not to be had.
        """
        is_elsewhere = self._is_elsewhere(suspect)
        decision = self._retry.wavers(
            suspect.number, evidence, trio.current_time(), is_elsewhere=is_elsewhere
        )
        if not isinstance(decision, Again):
            return None
        self._told = self._kept = suspect
        self._may_return = False
        return await self._ask_for_rest(decision, request, judge)

    def _is_elsewhere(self, broken: Attempt) -> bool:
        # Who failed before this answer began may be back by now: a long one sees many a restart.
        self._tried = {broken.talk.connection.endpoint}
        return self._target.has_untried(self._tried)

    async def _ask_for_rest(
        self, decision: Decision, request: Request, judge: Callable[[Head], GoOn | Refuse]
    ) -> tuple[Attempt, GoOn]:
        self._request, self._winner = request, None
        try:
            while isinstance(decision, Again):
                attempt = await self.run(decision.reason)
                assert attempt.talk.head is not None
                judgement = judge(attempt.talk.head)
                if isinstance(judgement, GoOn):
                    return attempt, judgement
                decision = self._refuse(attempt, judgement.reason)
            assert isinstance(decision, GiveUp)
            raise self._error(decision)
        finally:
            self.close()
            self._kept = None

    def _refuse(self, attempt: Attempt, reason: str) -> Decision:
        """A good answer, and not to this question; its server is not to blame."""
        self._winner, self._may_return = None, False
        failure = attempt.refuse(Verdict.ANSWERED, reason).failure
        # To the machine it is an answer that is none.
        failure = replace(failure, verdict=Verdict.GARBLED)
        return self._retry.refused(attempt.number, failure, trio.current_time())

    @property
    def may_resume(self) -> bool:
        """Whether the target, and the request, allow it."""
        return self._target.spec.resume and self.request.content.small == b""

    def error_for_rest(self, broken: Attempt, outcome: Failed, why: str) -> Exception:
        """The error for an answer that broke off and is not of the kind that can go on, and why."""
        self._note_failed(outcome)
        self._told = broken
        cannot = f", and the rest cannot be asked for: {why}" if why else ""
        return self._error(GiveUp(f"part of it was handed over already{cannot}"))

    async def _run_beside(self, suspect: Attempt, reason: str) -> Attempt:
        """The rare way: the suspect goes on while others try."""
        send, receive = trio.open_memory_channel[tuple[Attempt, Outcome]](math.inf)
        # An interim answer is handed over whole, also by the attempt that loses.
        turn = self._request.turn = trio.Lock()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drive, suspect, send)
            nursery.start_soon(_drive, self._begin(reason), send)
            decision: Decision = Wait(self._retry.window_ends_at)
            while True:
                match decision:
                    case Relay() | GiveUp():
                        break
                    case Again(reason):
                        nursery.start_soon(_drive, self._begin(reason), send)
                        decision = Wait(self._retry.window_ends_at)
                    case Wait(until):
                        decision = await self._next_decision(receive, until)
                    case _:
                        assert_never(decision)
            async with turn:
                nursery.cancel_scope.cancel()
        # Only now, with every task gone: one that had just got its connection would send on it,
        # and a cancellation of the caller may still come while the tasks end.
        if isinstance(decision, Relay):
            return self._relay(decision.attempt)
        raise self._error(decision)

    async def _next_decision(
        self, receive: trio.MemoryReceiveChannel[tuple[Attempt, Outcome]], until: float
    ) -> Decision:
        # The window may be over already: what has come in until now is heard first all the same.
        with suppress(trio.WouldBlock):
            return self._decide(*receive.receive_nowait())
        with trio.move_on_at(until):
            return self._decide(*await receive.receive())
        return self._retry.window_ended()

    def _decide(self, attempt: Attempt, outcome: Outcome) -> Decision:
        """Puts what happened to the machine."""
        now = trio.current_time()
        retry, content, number = self._retry, self._request.content, attempt.number
        # A server that answered, or is alive and silent, is not helped by the same request again.
        self._may_return = not isinstance(outcome, Answered)
        match outcome:
            case Answered(head):
                self._answered.add(number)
                may_ask_on = retry.calls_for_another(head.status)
                return retry.answered(
                    number,
                    head.status,
                    now,
                    is_replayable=may_ask_on and content.is_replayable,
                    is_elsewhere=may_ask_on and self._target.has_untried(self._tried),
                )
            case Suspicion(evidence):
                return retry.suspected(
                    number,
                    evidence,
                    now,
                    is_replayable=content.is_shareable,
                    is_elsewhere=self._target.has_untried(self._tried),
                )
            case ClearedUp():
                return retry.cleared(number)
            case Failed(failure, error):
                self._note_failed(outcome)
                self._return_to_own(attempt, failure)
                if error is not None and not isinstance(error, QueueTimeoutError):
                    return GiveUp(str(error))
                return retry.failed(number, failure, now)
            case _:
                assert_never(outcome)

    def _note_failed(self, outcome: Failed) -> None:
        self._last_failed = outcome
        self._may_return = outcome.failure.verdict not in (Verdict.SLOW, Verdict.GARBLED)

    def _return_to_own(self, attempt: Attempt, failure: Failure) -> None:
        """A connection that was closed for its age says nothing of its server: a client whose own it is stays."""
        client = self._request.known_client
        if client is not None and failure.verdict is Verdict.CLOSED and failure.is_reused:
            self._tried.discard(attempt.talk.connection.endpoint)
            client.wants_fresh = True

    def _begin(self, reason: str) -> Attempt:
        attempt = Attempt(
            self._retry.started(),
            self._target,
            self._request,
            self._tried,
            self._observe,
            may_return=self._may_return,
        )
        self._attempts.append(attempt)
        if self._observe is not None:
            origins = tuple(url.origin for url in self._target.first_tier)
            self._observe(
                events.AttemptStarted(attempt.started_at, attempt.number, origins, reason)
            )
        return attempt

    def _relay(self, number: int) -> Attempt:
        """The others are closed first, so that their records are whole."""
        self._winner = winner = self._attempts[number - 1]
        self.close()
        if self._request.sticky is not None:
            talk = winner.talk
            assert talk.head is not None
            endpoint, fields = talk.connection.endpoint, talk.head.fields
            note_answer(self._target, self._request.sticky, endpoint, fields)
        return winner

    def _error(self, why_not_again: GiveUp) -> Exception:
        self.close()
        error = self._last_failed.error if self._last_failed is not None else None
        told = self._told.record if self._told is not None else None
        return error_for(self.records(), why_not_again, self._attempts[-1].reach, error, told)

    def deadline_error(self, timeout: float) -> DeadlineError:
        """The caller's time is up; whatever is outstanding is closed."""
        self.close()
        return deadline_error_for(self.records(), timeout)

    def records(self) -> tuple[AttemptRecord, ...]:
        """Of every attempt that is over, in the order of their numbers."""
        return tuple(one.record for one in self._attempts if one.record is not None)

    def tell_end(self, error: Exception | None) -> None:
        """The caller has all that it will get."""
        if self._observe is not None:
            self._observe(events.ExchangeEnded(trio.current_time(), self.records(), error))

    def close(self) -> None:
        """Ends what is still outstanding, but for the winner."""
        is_settled = self._winner is not None or self._kept is not None
        given_up = Verdict.SUPERSEDED if is_settled else Verdict.CANCELLED
        for attempt in self._attempts:
            if attempt is self._kept:
                continue
            if attempt.number in self._answered and attempt is not self._winner:
                attempt.abandon(Verdict.ANSWERED, "another server was asked")
            elif attempt is not self._winner:
                attempt.abandon(given_up)


async def _drive(attempt: Attempt, send: trio.MemorySendChannel[tuple[Attempt, Outcome]]) -> None:
    """Reports every turn of an attempt until it is over."""
    while True:
        outcome = await attempt.advance()
        send.send_nowait((attempt, outcome))
        if isinstance(outcome, Answered | Failed):
            return
