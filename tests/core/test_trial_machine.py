"""Order, hold-down and trials together: whoever is up answers, failback comes, and every ban ends.

The model is a target of two tiers whose servers come and go, and a short way through `arrange`, `Health` and
`Trials`, without sockets: whoever is asked and is down fails, whoever is up answers. That the engine's own way
through the tiers leaves nobody out, whatever is thought of the servers and whomever an exchange has met in
trouble, is held against it in tests/engine/test_reach_properties.py.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from haclient.core.balance import Candidate, arrange
from haclient.core.health import LONGEST_HOLD, Health
from haclient.core.trial import Trials, better
from haclient.types import Endpoint, Order, Origin

A, B, BACKUP = (Origin("http", f"{name}.test", 80) for name in ("a", "b", "backup"))
A1, A2, B1, C1 = (Endpoint(f"192.0.2.{n}", 80) for n in (1, 2, 11, 21))
KNOWN = {A: (A1, A2), B: (B1,), BACKUP: (C1,)}
TIERS = ((A, B), (BACKUP,))
EVERYBODY = {A1, A2, B1, C1}

A_TRIAL_IS_DUE_WITHIN = 13.0
"""Seconds of steady requests: a fifth of the longest hold, and the second before the first trial."""


class TargetMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.health, self.trials = Health(), Trials()
        self.now = 0.0
        self.up = set(EVERYBODY)
        self.order = Order.FASTEST

    @initialize(order=st.sampled_from(Order))
    def it_has_an_order(self, order: Order) -> None:
        self.order = order

    # The engine's way, without its sockets

    def tier(self, number: int) -> list[Candidate]:
        return arrange(
            [(origin, one) for origin in TIERS[number] for one in KNOWN[origin]],
            order=self.order,
            is_held_down=lambda endpoint: self.health.is_held_down(endpoint, self.now),
            chance=lambda: 0.5,
        )

    def in_turn(self) -> list[Candidate]:
        """Tiers with somebody fit first, those that are held down as a whole last."""
        tiers = [self.tier(number) for number in range(len(TIERS))]
        tiers.sort(key=lambda tier: all(one.is_held_down for one in tier))
        return [one for tier in tiers for one in tier]

    def ask(self) -> Candidate | None:
        """One request: whoever is down fails and is held down, the first that is up answers."""
        for one in self.in_turn():
            generation = self.health.generation(one.endpoint)
            if one.endpoint in self.up:
                self.health.report_success(one.endpoint, self.now, generation)
                self.try_out(one)
                return one
            self.health.report_failure(one.endpoint, self.now, generation)
        return None

    def try_out(self, used: Candidate) -> None:
        is_listed = self.order is Order.LISTED
        ranked = better(TIERS, KNOWN, used.origin, is_listed=is_listed)
        for one in self.trials.due(ranked, self.health.failures, self.now):
            generation = self.health.generation(one.endpoint)
            if one.endpoint in self.up:
                self.health.report_connected(one.endpoint, self.now, generation)
            else:
                self.health.report_failure(one.endpoint, self.now, generation)
            self.trials.ended(one.endpoint)

    # What happens

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 20.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(endpoint=st.sampled_from(sorted(EVERYBODY)))
    def one_dies(self, endpoint: Endpoint) -> None:
        self.up.discard(endpoint)

    @rule(endpoint=st.sampled_from(sorted(EVERYBODY)))
    def one_comes_back(self, endpoint: Endpoint) -> None:
        self.up.add(endpoint)

    @rule()
    def all_die(self) -> None:
        self.up.clear()

    @rule()
    def a_request_is_answered_whoever_is_up(self) -> None:
        found = self.ask()
        assert (found is None) is (not self.up)

    @rule(endpoint=st.sampled_from(sorted(EVERYBODY)))
    def one_is_suspect(self, endpoint: Endpoint) -> None:
        self.health.report_suspect(endpoint, self.now, self.health.generation(endpoint))

    @rule(seconds=st.sampled_from([0.5, 5.0]))
    def requests_go_on(self, seconds: float) -> None:
        for _ in range(int(seconds * 10)):
            assert (self.ask() is None) is (not self.up)
            self.now += 0.1

    @rule()
    def after_a_while_the_best_tier_that_is_up_serves(self) -> None:
        """Whatever happened before: failback, with its hysteresis, within a fifth of the longest hold."""
        if not self.up & {A1, A2, B1}:
            return
        for _ in range(int(A_TRIAL_IS_DUE_WITHIN * 10)):
            found = self.ask()
            self.now += 0.1
        assert found is not None
        assert found.origin != BACKUP
        if self.order is Order.LISTED and self.up & {A1, A2}:
            assert found.origin == A

    # What always holds

    @invariant()
    def who_is_fit_is_asked_before_who_is_held_down(self) -> None:
        for number in range(len(TIERS)):
            held_down = [one.is_held_down for one in self.tier(number)]
            assert held_down == sorted(held_down)

    @invariant()
    def every_ban_ends(self) -> None:
        then = self.now + LONGEST_HOLD
        assert not any(self.health.is_held_down(one, then) for one in EVERYBODY)


TestTarget = TargetMachine.TestCase
