"""How many copies of requests the living servers have to carry.

A resend helps one request and costs all servers one request more. When a server is slow because it
is overloaded, clients that ask again double its load at the worst moment: a storm. The naive limit
counts resends for each request, and a storm is made of requests that each stay within it. A token
bucket bounds the total, but its rate is a number somebody has to guess for a load nobody knows.

Ours, as Finagle and tower have it: each request deposits a share of a copy, each copy withdraws a
whole one, deposits last ten seconds, and a floor of a few copies a second lets a client with few
requests have any at all. So whatever happens, servers carry no more than a fifth above the load.

Only copies that a living server has to carry are to be withdrawn: second tries on suspicion,
resends after an answer or the back-stop. After dead or refused nobody carries the first one.

`deposit` is called for every request and spends elegance: one comparison and one addition. Time
is counted in buckets, a tenth of the window each. Copies are held against the budget until they
are surely older than the window (one bucket too long), requests count only while they are surely
younger (up to one bucket too short): so the bound is exact, and the budget at most a tenth tighter.

Left out: a budget for each server. The suspicion that a server is overloaded is the retry policy's.
"""

from __future__ import annotations

import math
from collections import deque

from haclient.types import Instant

__all__ = ["Budget"]

RATIO = 0.2
"""Copies for each request. Envoy's and Finagle's 20 %."""

FLOOR_PER_SECOND = 10.0
"""Copies a second that need no request. Finagle's."""

WINDOW = 10.0
"""Seconds for which a request and a copy count. Finagle's."""

BUCKETS = 10


class Budget:
    """Copies granted over any window: at most `ratio` x requests + `floor_per_second` x window.

    Precisely: whenever a copy is granted, the copies of the `window` seconds before, itself
    included, are no more than that share of the requests of the same seconds, plus the floor.

    Args:
        ratio: copies for each request, at least 0.
        floor_per_second: copies a second that are always allowed, at least 0.
        window: seconds, above 0.

    Raises:
        ValueError: one of them is out of range.
    """

    __slots__ = (
        "_bucket",
        "_bucket_ends_at",
        "_copies",
        "_floor",
        "_ratio",
        "_requests",
        "_requests_before",
        "_width",
    )

    def __init__(
        self,
        ratio: float = RATIO,
        floor_per_second: float = FLOOR_PER_SECOND,
        window: float = WINDOW,
    ) -> None:
        if not (0 <= ratio < math.inf and 0 <= floor_per_second < math.inf):
            raise ValueError("ratio and floor_per_second must be at least 0")
        if not 0 < window < math.inf:
            raise ValueError("window must be above 0")
        self._ratio = ratio
        self._floor = floor_per_second * window
        self._width = window / BUCKETS
        self._bucket = 0
        self._bucket_ends_at = -math.inf
        self._requests = 0
        """In the present bucket; whole ones that are young enough are in `_requests_before`."""
        self._requests_before = deque([0] * (BUCKETS - 1), maxlen=BUCKETS - 1)
        self._copies = deque([0] * (BUCKETS + 1), maxlen=BUCKETS + 1)
        """The present bucket is last."""

    def deposit(self, now: Instant) -> None:
        """A request begins. Once for each, not for its copies."""
        if now >= self._bucket_ends_at:
            self._turn(now)
        self._requests += 1

    def withdraw(self, now: Instant) -> bool:
        """Whether one more copy may be sent; if so, it counts as sent."""
        if self.balance(now) < 1:
            return False
        self._copies[-1] += 1
        return True

    def balance(self, now: Instant) -> float:
        """Copies that may be sent now; never negative, also when many requests just expired."""
        return max(0.0, self._allowance(now) - sum(self._copies))

    def remaining_ratio(self, now: Instant) -> float:
        """The share that is left of what is allowed, 0 to 1, for the metrics; 0 if nothing is."""
        balance = self.balance(now)
        return balance / self._allowance(now) if balance else 0.0

    def __repr__(self) -> str:
        requests = self._requests + sum(self._requests_before)
        allowance = self._ratio * requests + self._floor
        return f"<Budget {sum(self._copies)} of {allowance:g} copies, {requests} requests>"

    def _allowance(self, now: Instant) -> float:
        if now >= self._bucket_ends_at:
            self._turn(now)
        return self._ratio * (self._requests + sum(self._requests_before)) + self._floor

    def _turn(self, now: Instant) -> None:
        """Moves on to the bucket of `now`, past the empty ones between."""
        bucket = math.floor(now / self._width)
        for _ in range(min(bucket - self._bucket, BUCKETS + 1)):
            self._requests_before.append(self._requests)
            self._requests = 0
            self._copies.append(0)
        self._bucket = bucket
        self._bucket_ends_at = (bucket + 1) * self._width
