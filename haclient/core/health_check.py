"""What the health requests to one endpoint say of it.

TCP proves a host and the path to it. It says nothing of a process that is stopped, or waits for ever for
its own lock: its kernel accepts connections and acknowledges requests in its place. A request of our own to
a path that always answers tells. The naive reading of it, as a balancer does it, takes every failure for
death and cuts off what is outstanding; then a server that works on one request at a time loses each one
that takes longer than two health requests.

Ours: what a health request can prove depends on how it failed.

    result           says                                          follows
    ok, rejected     the application answers (with 4xx the path    fit after `successes` in a row; not
                     is wrong, and that is told)                   silent any more at once
    silent           connected and acknowledged, and no answer     after `failures` in a row: silent
    unavailable      it answers with 5xx: no new requests, please  after `failures` in a row: unavailable
    broken           the connection ended without an answer        as unavailable
    not connected    nothing of the application                    nothing here: a failed connect is held
                                                                   against it by haclient.core.health

As many good ones as make it fit also end what haclient.core.health holds against the address, as one answer
to a user's request would: without traffic nobody else says that a server is back. What began before its last
failure is not counted: who failed since has to answer anew.

    opinion        new requests       outstanding requests
    fit            as by the order    are waited for
    silent         ask others first   those with a safe method get a second try elsewhere, while the first goes on
    unavailable    ask others first   are waited for

A client that has a server of its own leaves it for unavailable alone: silence is a suspicion, and no verdict
(haclient.engine.sticky).

Nothing here ever ends a request. And whoever answers requests is alive: an answer to anybody takes silence
back, and a health request during which one came was not unanswered for want of life. So a single-threaded
server, whose health requests wait behind its work, is thought silent for as long as it takes to answer one.

While an opinion is about to change the next health request follows sooner, so that a hung process is known
`1.1 * interval + failures * timeout` after it hung, at the latest (JITTER; 9.5 s by default); where more than
`race_width` addresses of the target hang at once each timeout counts once for as many (17.5 s with 24 of them:
haclient.engine.checks).
"""

from __future__ import annotations

import enum
from collections import deque
from typing import assert_never

import msgspec

from haclient.core.spec import HealthRequests
from haclient.types import Evidence, EvidenceKind, Instant

__all__ = ["Action", "Clear", "HealthCheck", "Opinion", "Result", "Suspect", "result_of"]

JITTER = 0.1
"""Of the interval, to either side: ten daemons that were started together do not stay in step."""


class Result(enum.Enum):
    """How a health request ended; the values are the metrics' labels."""

    OK = "ok"
    REJECTED = "rejected"
    """4xx: there is no such path, or it is not for us."""
    UNAVAILABLE = "unavailable"
    SILENT = "silent"
    BROKEN = "broken"
    NOT_CONNECTED = "not connected"


class Opinion(enum.Enum):
    """What follows for the endpoint."""

    FIT = "fit"
    SILENT = "silent"
    UNAVAILABLE = "unavailable"


class Suspect(msgspec.Struct, frozen=True):
    """Requests outstanding there, with no byte of an answer since `since`, may be with a process that hangs.

    `since` is when the last `failures` of the unanswered ones began. It moves on with each: a byte that came
    during the first one, of a process that hangs since then, gainsays the first one only.
    """

    evidence: Evidence
    since: Instant


class Clear(msgspec.Struct, frozen=True):
    """The application gave a sign of life."""


Action = Suspect | Clear

NOTHING: tuple[Action, ...] = ()


def result_of(status: int) -> Result:
    """What a final status says. A redirect is an answer like any other (HAProxy takes 2xx and 3xx, too)."""
    if status >= 500:
        return Result.UNAVAILABLE
    return Result.REJECTED if status >= 400 else Result.OK


class HealthCheck:
    """The health requests to one endpoint, one at a time.

    Attributes:
        opinion: what follows from them.
        due_at: when the next one is to begin.
    """

    __slots__ = (
        "_bad",
        "_began_at",
        "_generation",
        "_good",
        "_heard_at",
        "_is_suspect",
        "_settings",
        "_silent",
        "_silent_since",
        "_unanswered",
        "due_at",
        "opinion",
    )

    def __init__(self, settings: HealthRequests, now: Instant, chance: float) -> None:
        """`chance` from [0, 1) places the first one within the interval."""
        self._settings = settings
        self.opinion = Opinion.FIT
        self.due_at = now + settings.interval * chance
        self._began_at = self._heard_at = self._silent_since = float("-inf")
        # In a row, up to now: failures, of them the last ones that were silence; successes.
        self._bad = self._silent = self._good = 0
        self._generation = 0
        # When the last ones of the silence began.
        self._unanswered: deque[Instant] = deque(maxlen=settings.failures)
        self._is_suspect = False

    def __repr__(self) -> str:
        return f"<HealthCheck {self.opinion.value}, {self._bad} bad, {self._good} good>"

    @property
    def is_well(self) -> bool:
        """Whether it has answered as often in a row as makes it fit."""
        return self._good >= self._settings.successes

    @property
    def progress(self) -> tuple[int, int] | None:
        """How many results in a row are alike, and how many there must be to say something; None where they do."""
        for count, wanted in (
            (self._good, self._settings.successes),
            (self._bad, self._settings.failures),
        ):
            if 0 < count < wanted:
                return count, wanted
        return None

    def began(self, now: Instant, generation: int = 0) -> None:
        """A health request begins; `generation` is the address's (haclient.core.health)."""
        self._began_at = now
        if generation != self._generation:
            self._generation, self._good = generation, 0

    def heard(self, now: Instant) -> tuple[Action, ...]:
        """A request, of whomever, was answered there."""
        self._heard_at = now
        self._bad -= self._silent
        self._silent = 0
        if self.opinion is Opinion.SILENT:
            self.opinion = Opinion.FIT
        return self._no_suspect()

    def ended(self, result: Result, now: Instant, chance: float) -> tuple[Action, ...]:
        """The health request ended; `chance` from [0, 1) places the next one."""
        actions = self._weigh(result, now)
        self.due_at = max(now, self._began_at + self._delay(chance))
        return actions

    def _weigh(self, result: Result, now: Instant) -> tuple[Action, ...]:
        match result:
            case Result.OK | Result.REJECTED:
                return self._went_well()
            case Result.SILENT if self._heard_at >= self._began_at:
                return NOTHING  # it is at work, and this one waits its turn
            case Result.SILENT:
                return self._was_silent(now)
            case Result.UNAVAILABLE | Result.BROKEN:
                return self._was_declined()
            case Result.NOT_CONNECTED:
                return NOTHING
            case _:
                assert_never(result)

    def _went_well(self) -> tuple[Action, ...]:
        self._bad = self._silent = 0
        self._good += 1
        if self.is_well:
            self.opinion = Opinion.FIT
        return self._no_suspect()

    def _was_silent(self, now: Instant) -> tuple[Action, ...]:
        self._good = 0
        self._bad += 1
        if not self._silent:
            self._silent_since = self._began_at
        self._silent += 1
        self._unanswered.append(self._began_at)
        failures = self._settings.failures
        if self._silent < failures:
            if self._bad >= failures and self.opinion is Opinion.FIT:
                self.opinion = Opinion.UNAVAILABLE
            return NOTHING
        self.opinion, self._is_suspect = Opinion.SILENT, True
        # Each time: for requests that went there meanwhile, with nobody else to ask.
        lasted, path = now - self._silent_since, self._settings.path
        evidence = Evidence(EvidenceKind.HEALTH_REQUESTS, self._silent, lasted, path)
        return (Suspect(evidence, self._unanswered[0]),)

    def _was_declined(self) -> tuple[Action, ...]:
        self._good = self._silent = 0
        self._bad += 1
        if self._bad >= self._settings.failures:
            self.opinion = Opinion.UNAVAILABLE
        return self._no_suspect()

    def _no_suspect(self) -> tuple[Action, ...]:
        if not self._is_suspect:
            return NOTHING
        self._is_suspect = False
        return (Clear(),)

    def _delay(self, chance: float) -> float:
        """From the beginning of this health request to that of the next one."""
        settings = self._settings
        is_about_to_change = (self._bad if self.opinion is Opinion.FIT else self._good) > 0
        # Who answered once and is silent again may hang with the requests that were sent there since.
        if is_about_to_change or 0 < self._silent < settings.failures:
            return min(settings.interval, settings.timeout)
        return settings.interval * (1 - JITTER + 2 * JITTER * chance)
