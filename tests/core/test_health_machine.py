"""Any sequence of reports, in any order and however late, against a model of the promises.

The model knows no generations. It numbers everything that happens, and calls a report stale if a
failure that counted, and is still remembered, came after the reporting attempt had begun.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from haclient.core.health import Condition, Health
from haclient.types import Endpoint

ENDPOINTS = [Endpoint("192.0.2.1", 80), Endpoint("192.0.2.2", 80), Endpoint("2001:db8::1", 80)]


@dataclass(frozen=True)
class Attempt:
    """A request on its way: where, born when, and what it has to bear in its reports."""

    endpoint: Endpoint
    born: int
    generation: int


@dataclass
class Memory:
    """What the model remembers of one endpoint."""

    last_failure: int = -1
    hold: float = 0.0
    held_until: float = -math.inf
    suspect_until: float = -math.inf
    remembered_until: float = -math.inf


class HealthMachine(RuleBasedStateMachine):
    attempts = Bundle("attempts")

    def __init__(self) -> None:
        super().__init__()
        self.health = Health()
        self.now = 0.0
        self.step = 0
        self.memory = {endpoint: Memory() for endpoint in ENDPOINTS}
        self.newest = dict.fromkeys(ENDPOINTS, 0)

    def remembered(self, endpoint: Endpoint) -> Memory:
        memory = self.memory[endpoint]
        if self.now >= memory.remembered_until:
            memory = self.memory[endpoint] = Memory()
        return memory

    def is_stale(self, attempt: Attempt) -> bool:
        self.step += 1
        return attempt.born < self.remembered(attempt.endpoint).last_failure

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 5.0, 20.0, 60.0, 119.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=attempts, endpoint=st.sampled_from(ENDPOINTS))
    def an_attempt_begins(self, endpoint: Endpoint) -> Attempt:
        self.step += 1
        return Attempt(endpoint, self.step, self.health.generation(endpoint))

    @rule(attempt=consumes(attempts))
    def it_fails(self, attempt: Attempt) -> None:
        is_stale = self.is_stale(attempt)
        before = self.health.snapshot(self.now)
        self.health.report_failure(attempt.endpoint, self.now, attempt.generation)
        if is_stale:
            assert self.health.snapshot(self.now) == before
            return
        memory = self.memory[attempt.endpoint]
        if memory.hold == 0.0:
            memory.hold = 5.0
        elif self.now >= memory.held_until:
            memory.hold = min(2 * memory.hold, 60.0)
        memory.last_failure = self.step
        memory.held_until = self.now + memory.hold
        memory.suspect_until = -math.inf
        memory.remembered_until = memory.held_until + 60.0

    @rule(attempt=attempts)
    def it_is_suspect(self, attempt: Attempt) -> None:
        is_stale = self.is_stale(attempt)
        before = self.health.snapshot(self.now)
        self.health.report_suspect(attempt.endpoint, self.now, attempt.generation)
        if is_stale:
            assert self.health.snapshot(self.now) == before
            return
        memory = self.memory[attempt.endpoint]
        memory.suspect_until = self.now + 2.0
        memory.remembered_until = max(memory.remembered_until, memory.suspect_until)

    @rule(attempt=attempts)
    def it_succeeds(self, attempt: Attempt) -> None:
        is_stale = self.is_stale(attempt)
        before = self.health.snapshot(self.now)
        self.health.report_success(attempt.endpoint, self.now, attempt.generation)
        if is_stale:
            assert self.health.snapshot(self.now) == before
            return
        assert not self.health.is_held_down(attempt.endpoint, self.now)
        memory = self.memory[attempt.endpoint]
        was_in_trouble = memory.hold > 0.0 or self.now < memory.suspect_until
        memory.hold = 0.0
        memory.held_until = memory.suspect_until = -math.inf
        if memory.last_failure < 0:
            memory.remembered_until = -math.inf
        elif was_in_trouble:
            memory.remembered_until = self.now + 60.0

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        conditions = {one.endpoint: one for one in self.health.snapshot(self.now)}
        for endpoint in ENDPOINTS:
            memory = self.remembered(endpoint)
            is_asked_last = self.now < memory.held_until or self.now < memory.suspect_until
            assert self.health.is_held_down(endpoint, self.now) is is_asked_last
            assert (endpoint in conditions) is (self.now < memory.remembered_until)
            if endpoint in conditions:
                found = conditions[endpoint]
                in_trouble = found.condition in {Condition.HELD_DOWN, Condition.SUSPECT}
                assert in_trouble is is_asked_last
                assert found.until > self.now

    @invariant()
    def no_generation_comes_twice(self) -> None:
        for endpoint in ENDPOINTS:
            generation = self.health.generation(endpoint)
            assert generation == 0 or generation >= self.newest[endpoint]
            self.newest[endpoint] = max(self.newest[endpoint], generation)

    @invariant()
    def every_state_expires(self) -> None:
        assert self.health.snapshot(self.now + 60.0 + 60.0) == ()


TestHealthMachine = HealthMachine.TestCase
