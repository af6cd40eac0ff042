"""A retry budget of a few copies that writes down who asked for one."""

from __future__ import annotations

from haclient.core.budget import Budget
from haclient.types import Instant

__all__ = ["CountedBudget"]


class CountedBudget(Budget):
    """`copies` and no more, whatever time it is."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.copies = copies
        self.asked = 0
        """How often a copy was asked for, granted or not."""

    def withdraw(self, now: Instant) -> bool:
        self.asked += 1
        self.copies -= 1
        return self.copies >= 0
