"""What one run of a scenario came to, and whether that is a pass."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.peers.program import Answer
from tests.support.origin import Served

__all__ = ["BOUND", "Outcome", "executions", "judged_by_time", "judged_by_waiting"]

BOUND = 5.0
"""Seconds in which a fault is to be over: the peers' 4 s, and one for the rest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure. `error` is empty where the program got what it should."""

    took: float
    error: str = ""
    posts_run_twice: int = 0

    @property
    def passes(self) -> bool:
        """Right, and in time."""
        return not self.error


def judged_by_time(answer: Answer, since: float, posts_run_twice: int = 0) -> Outcome:
    """The right answer is to be there within the bound."""
    took = answer.at - since
    error = answer.error or ("late" if took > BOUND else "")
    return Outcome(took, error, posts_run_twice)


def judged_by_waiting(answer: Answer, since: float, ran: int) -> Outcome:
    """The server is only slow: it is to be asked once, and its answer waited for."""
    return Outcome(answer.at - since, answer.error or (f"asked {ran} times" if ran != 1 else ""))


def executions(request_id: str, *logs: list[Served]) -> int:
    """How many times the servers have executed a request."""
    return sum(one.request_id == request_id and one.is_whole for log in logs for one in log)
