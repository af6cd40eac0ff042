"""Any course of an exchange, with a driver that does what is decided, against the promises.

The model keeps what a bystander would: who is outstanding, who is suspect, what was sent, which
answers came, when the first server in trouble was last heard of. It foretells no decision; it says
which ones would break a promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from haclient.core.idempotency import RequestFacts
from haclient.core.retry import LAST_WORD, Again, Decision, Failure, GiveUp, Relay, Retry, Wait
from haclient.types import Evidence, EvidenceKind, Verdict
from tests.core.counted_budget import CountedBudget

SAFE = {"GET", "HEAD", "OPTIONS", "TRACE"}
CARRIED_BY_A_LIVING_SERVER = (Verdict.SLOW, Verdict.GARBLED)
LOST = (Verdict.DEAD, Verdict.CLOSED, Verdict.SLOW, Verdict.GARBLED)

Kind = tuple[str, bool, int, float, int, int]

exchanges = st.tuples(
    st.sampled_from(["GET", "GET", "GET", "GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"]),
    st.booleans(),  # bears an Idempotency-Key
    st.sampled_from([1, 2, 3, 3, 4]),  # attempts
    st.sampled_from([3.6, 4.0, 10.0]),  # window
    st.sampled_from([0, 1, 3, 3]),  # copies in the budget
    st.sampled_from([0, 1, 1, 700]),  # bytes that the first attempt sends
)
# Mostly what lets an exchange go on, so that short runs come to something.
usually = st.sampled_from([True, True, True, False])
verdicts = st.sampled_from(
    [*LOST, *LOST, *(verdict for verdict in Verdict if verdict is not Verdict.ANSWERED)]
)
picks = st.integers(0, 99)
silences = st.sampled_from([0.0, 0.45, 1.1, 2.5, 3.9, 6.0])


@dataclass
class Attempt:
    number: int
    bytes_sent: int
    is_suspect: bool = False
    is_doubtful: bool = False

    @property
    def is_in_doubt(self) -> bool:
        return self.is_suspect or self.is_doubtful


class RetryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.final: Decision | None = None

    @initialize(kind=exchanges)
    def the_first_exchange_begins(self, kind: Kind) -> None:
        self.begin(*kind)

    @precondition(lambda self: self.final is not None)
    @rule(kind=exchanges)
    def the_next_exchange_begins(self, kind: Kind) -> None:
        """The last one had its last word, and what was outstanding was closed with it."""
        self.begin(*kind)

    def begin(
        self, method: str, has_key: bool, max_attempts: int, window: float, copies: int, sent: int
    ) -> None:
        self.outstanding: list[Attempt] = []
        self.attempts: list[Attempt] = []
        self.answers: list[int] = []
        self.final = None
        self.wait_until = self.trouble = math.inf
        self.asked = 0
        self.is_safe = method in SAFE
        self.is_idempotent = self.is_safe or method in {"PUT", "DELETE"} or has_key
        self.max_attempts, self.window, self.copies = max_attempts, window, copies
        self.budget = CountedBudget(copies)
        self.retry = Retry(
            RequestFacts(method, has_key),
            window=window,
            max_attempts=max_attempts,
            failover_statuses=frozenset({502, 503}),
            budget=self.budget,
        )
        self.start(sent)

    # The driver: does what is decided.

    def start(self, bytes_sent: int) -> None:
        attempt = Attempt(self.retry.started(), bytes_sent)
        self.attempts.append(attempt)
        self.outstanding.append(attempt)
        assert attempt.number == len(self.attempts)

    def obey(self, decision: Decision, bytes_sent: int = 1) -> None:
        match decision:
            case Again():
                self.check_again()
                self.start(bytes_sent)
                self.wait_until = self.retry.window_ends_at
            case Wait(until):
                assert self.outstanding, "waiting for nobody"
                self.wait_until = until
            case Relay(number):
                # The latest answer that there was, be it a held one.
                assert number == self.answers[-1]
                self.final = decision
            case GiveUp(reason, limit):
                assert reason
                assert limit is None or reason == limit.value
                assert not self.answers, "an answer was there to be relayed"
                assert all(attempt.is_suspect for attempt in self.outstanding)
                self.final = decision

    def check_again(self) -> None:
        assert len(self.attempts) < self.max_attempts
        assert self.now < self.trouble + self.window - LAST_WORD
        # At the most one living copy of what may not be run twice, or not side by side.
        if not self.is_safe:
            assert not self.outstanding
        if not self.is_idempotent:
            assert not any(attempt.bytes_sent for attempt in self.attempts)
        assert all(attempt.is_in_doubt for attempt in self.outstanding)

    # The bystander

    def trouble_seen(self, last_sign_of_life: float) -> None:
        if last_sign_of_life >= self.trouble + self.window - LAST_WORD:
            self.trouble = math.inf
        self.trouble = min(self.trouble, last_sign_of_life)

    def copies_taken(self, decision: Decision, is_carried: bool) -> None:
        """One for each start that a living server pays for, none for any other."""
        taken = self.copies - max(self.budget.copies, 0)
        assert taken == (isinstance(decision, Again) and is_carried)
        if not is_carried:
            assert self.budget.asked == self.asked
        self.copies, self.asked = self.copies - taken, self.budget.asked

    # Events

    @precondition(lambda self: self.final is None)
    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now = min(self.now + seconds, self.wait_until)

    @precondition(
        lambda self: self.final is None and not all(a.is_suspect for a in self.outstanding)
    )
    @rule(
        pick=picks,
        silent_for=silences,
        is_replayable=usually,
        is_elsewhere=usually,
        sent=st.integers(0, 1),
    )
    def suspect(
        self, pick: int, silent_for: float, is_replayable: bool, is_elsewhere: bool, sent: int
    ) -> None:
        healthy = [attempt for attempt in self.outstanding if not attempt.is_suspect]
        attempt = healthy[pick % len(healthy)]
        attempt.is_suspect = True
        self.trouble_seen(self.now - silent_for)
        decision = self.retry.suspected(
            attempt.number,
            Evidence(EvidenceKind.KEEPALIVE_PROBES, 1, silent_for),
            self.now,
            is_replayable=is_replayable,
            is_elsewhere=is_elsewhere,
        )
        assert isinstance(decision, Again | Wait)
        if isinstance(decision, Again):
            assert self.is_safe
            assert is_replayable
            assert is_elsewhere
        self.copies_taken(decision, is_carried=True)
        self.obey(decision, sent)

    @precondition(lambda self: self.final is None and self.outstanding)
    @rule(
        pick=picks,
        silent_for=silences,
        is_replayable=usually,
        is_elsewhere=usually,
        sent=st.integers(0, 1),
    )
    def doubt(
        self, pick: int, silent_for: float, is_replayable: bool, is_elsewhere: bool, sent: int
    ) -> None:
        """Health requests are not answered: that ends nothing, and hurries nobody."""
        attempt = self.outstanding[pick % len(self.outstanding)]
        attempt.is_doubtful = True
        before = self.retry.window_ends_at
        decision = self.retry.suspected(
            attempt.number,
            Evidence(EvidenceKind.HEALTH_REQUESTS, 2, silent_for, "/health"),
            self.now,
            is_replayable=is_replayable,
            is_elsewhere=is_elsewhere,
        )
        assert self.retry.window_ends_at == before
        assert isinstance(decision, Again | Wait)
        if isinstance(decision, Again):
            assert self.is_safe
            assert is_replayable
            assert is_elsewhere
        self.copies_taken(decision, is_carried=True)
        self.obey(decision, sent)

    @precondition(lambda self: self.final is None and any(a.is_in_doubt for a in self.outstanding))
    @rule(pick=picks)
    def clear(self, pick: int) -> None:
        in_doubt = [attempt for attempt in self.outstanding if attempt.is_in_doubt]
        attempt = in_doubt[pick % len(in_doubt)]
        attempt.is_suspect = attempt.is_doubtful = False
        self.trouble = math.inf
        decision = self.retry.cleared(attempt.number)
        assert decision == Wait(math.inf)
        self.obey(decision)

    @precondition(lambda self: self.final is None)
    @rule(
        pick=picks,
        status=st.sampled_from([200, 500, 502, 503, 503, 503]),
        is_replayable=usually,
        is_elsewhere=usually,
        sent=st.integers(0, 1),
    )
    def answer(
        self, pick: int, status: int, is_replayable: bool, is_elsewhere: bool, sent: int
    ) -> None:
        attempt = self.outstanding.pop(pick % len(self.outstanding))
        self.answers.append(attempt.number)
        if not self.outstanding and self.now >= self.trouble + self.window - LAST_WORD:
            self.trouble = math.inf
        decision = self.retry.answered(
            attempt.number,
            status,
            self.now,
            is_replayable=is_replayable,
            is_elsewhere=is_elsewhere,
        )
        if status not in {502, 503} or not self.is_idempotent:
            assert decision == Relay(attempt.number)
        if isinstance(decision, Again):
            assert is_replayable
            assert is_elsewhere
        self.copies_taken(decision, is_carried=True)
        self.obey(decision, sent)

    @precondition(lambda self: self.final is None)
    @rule(
        pick=picks,
        verdict=verdicts,
        silent_for=st.none() | silences,
        connect=st.none() | st.sampled_from([0.2, 1.0]),
        is_replayable=usually,
        is_reused=st.booleans(),
        is_elsewhere=usually,
        sent=st.integers(0, 1),
    )
    def fail(
        self,
        pick: int,
        verdict: Verdict,
        silent_for: float | None,
        connect: float | None,
        is_replayable: bool,
        is_reused: bool,
        is_elsewhere: bool,
        sent: int,
    ) -> None:
        attempt = self.outstanding.pop(pick % len(self.outstanding))
        evidence = None
        if silent_for is not None and verdict in {Verdict.DEAD, Verdict.CLOSED}:
            evidence = Evidence(EvidenceKind.RETRANSMITS, 2, silent_for)
        timed_out_after = None
        if verdict is Verdict.REFUSED:
            attempt.bytes_sent, timed_out_after = 0, connect
        if verdict in LOST:
            self.trouble_seen(self.now - (evidence.silent_for if evidence else 0.0))
        elif timed_out_after is not None:
            self.trouble_seen(self.now - timed_out_after)
        failure = Failure(
            verdict,
            attempt.bytes_sent,
            is_replayable,
            is_reused,
            is_elsewhere,
            evidence,
            timed_out_after,
        )
        decision = self.retry.failed(attempt.number, failure, self.now)
        if isinstance(decision, Again):
            assert timed_out_after is not None or (verdict in LOST and is_replayable)
            assert self.is_idempotent or not attempt.bytes_sent
        self.copies_taken(decision, is_carried=verdict in CARRIED_BY_A_LIVING_SERVER)
        self.obey(decision, sent)

    @precondition(lambda self: isinstance(self.final, Relay))
    @rule(
        verdict=st.sampled_from(LOST),
        silent_for=silences,
        seconds=st.sampled_from([0.0, 1.0, 30.0]),
        is_elsewhere=usually,
        sent=st.integers(0, 1),
    )
    def the_answer_breaks_off(
        self, verdict: Verdict, silent_for: float, seconds: float, is_elsewhere: bool, sent: int
    ) -> None:
        """What was beside it was closed when it came, and its like cannot go on for it."""
        assert isinstance(self.final, Relay)
        attempt = self.attempts[self.final.attempt - 1]
        self.final = None
        self.outstanding, self.answers = [], []
        self.now += seconds
        evidence = None
        if verdict is Verdict.DEAD:
            evidence = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, silent_for)
        self.trouble = self.now - (silent_for if evidence else 0.0)
        failure = Failure(verdict, attempt.bytes_sent, True, False, is_elsewhere, evidence)
        decision = self.retry.broke_off(attempt.number, failure, self.now)
        assert isinstance(decision, Again | GiveUp)
        self.copies_taken(decision, is_carried=verdict in CARRIED_BY_A_LIVING_SERVER)
        self.obey(decision, sent)

    @precondition(lambda self: self.final is None and self.now >= self.wait_until)
    @rule()
    def the_window_ends(self) -> None:
        decision = self.retry.window_ended()
        assert not isinstance(decision, Again)
        if isinstance(decision, Wait):
            assert not all(attempt.is_suspect for attempt in self.outstanding)
            self.trouble = math.inf
        self.copies_taken(decision, is_carried=False)
        self.obey(decision)

    # What must hold at every step

    @invariant()
    def attempts_are_bounded(self) -> None:
        assert len(self.attempts) <= self.max_attempts

    @invariant()
    def somebody_is_outstanding_until_the_last_word(self) -> None:
        assert self.outstanding or self.final

    @invariant()
    def what_may_not_be_run_twice_was_sent_once_at_the_most(self) -> None:
        sent = sum(bool(attempt.bytes_sent) for attempt in self.attempts)
        assert self.is_idempotent or sent <= 1

    @invariant()
    def what_is_not_safe_is_with_one_server_at_a_time(self) -> None:
        assert self.is_safe or len(self.outstanding) <= 1

    @invariant()
    def it_is_hopeless_when_all_are_suspect(self) -> None:
        everyone = all(attempt.is_suspect for attempt in self.outstanding)
        assert self.retry.is_hopeless is everyone
        if self.final is None:
            assert self.retry.window_ends_at == self.trouble + self.window - LAST_WORD

    def teardown(self) -> None:
        """The caller goes away: each attempt is cancelled, and the last one has the last word."""
        while self.final is None:
            attempt = self.outstanding.pop()
            failure = Failure(Verdict.CANCELLED, attempt.bytes_sent, True, False, True)
            decision = self.retry.failed(attempt.number, failure, self.now)
            assert isinstance(decision, Wait) == bool(self.outstanding)
            self.obey(decision)


TestRetryMachine = RetryMachine.TestCase
TestRetryMachine.settings = settings(max_examples=100, stateful_step_count=80, deadline=None)
