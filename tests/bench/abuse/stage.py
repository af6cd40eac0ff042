"""What an abuse has to work with, and what it tells of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.abuse.child import Child
from tests.bench.abuse.hostile import Hostile
from tests.support.sidecar import Sidecar

__all__ = [
    "BODY_TIMEOUT",
    "CUT_WITHIN",
    "HEADER_TIMEOUT",
    "RESPONSE_TIMEOUT",
    "Abuse",
    "Outcome",
    "Stage",
    "outcome_of",
]

HEADER_TIMEOUT = 2.0
BODY_TIMEOUT = 3.0
RESPONSE_TIMEOUT = 5.0
"""Of the daemon under abuse."""

CUT_WITHIN = 4.0
"""Seconds after its time-out within which an abuser must be gone."""


@dataclass
class Stage:
    """One daemon, its server, and how many make a crowd of 500."""

    door: Sidecar
    server: Child
    crowd: int = 500


@dataclass
class Outcome:
    """What became of an abuse.

    Attributes:
        told: for a person.
        cut: when the last abuser was gone, in seconds from its first byte; None where none is to be.
        bound: what that may be.
        failures: what should not have been.
    """

    told: str
    cut: float | None = None
    bound: float = 0.0
    failures: list[str] = field(default_factory=list)

    def require(self, holds: bool, failure: str) -> None:
        """Notes what does not hold."""
        if not holds:
            self.failures.append(failure)


@dataclass(frozen=True)
class Abuse:
    """One of them.

    Attributes:
        name: of its row.
        run: what is done; returns when it is over.
        target: further keys of the target's table.
        descriptors: how many files the daemon may have open.
        servers: addresses that the server has.
        most_cpu: share of a processor that the daemon may take meanwhile.
    """

    name: str
    run: Callable[[Stage], Awaitable[Outcome]]
    target: Mapping[str, object] = field(default_factory=dict)
    descriptors: int | None = None
    servers: int = 1
    most_cpu: float | None = None


def outcome_of(
    who: Sequence[Hostile], count: int, bound: float, statuses: Sequence[int]
) -> Outcome:
    """Of abusers that are all to be answered with one of these statuses, or not at all, and cut."""
    got = Counter(str(one.statuses[0]) if one.statuses else "cut" for one in who)
    told = ", ".join(f"{number} {what}" for what, number in sorted(got.items()))
    cuts = [one.cut_at for one in who if one.cut_at is not None]
    outcome = Outcome(told, max(cuts, default=None), bound)
    outcome.require(len(who) == count, f"{len(who)} of {count} were connected")
    outcome.require(len(cuts) == len(who), f"{len(who) - len(cuts)} were not cut")
    allowed = {"cut", *map(str, statuses)}
    outcome.require(set(got) <= allowed, f"answered with {sorted(set(got) - allowed)}")
    return outcome
