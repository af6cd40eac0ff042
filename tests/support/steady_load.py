"""So many GET and so many POST a second through a door, as a program would send them: httpx.

    load = SteadyLoad("http://127.0.0.1:8080")
    await load.run(seconds=30, each_second=50)
    load.errors("GET"), load.times("POST", since=5.0, until=10.0)

A request is sent when its time has come, whatever became of those before it: a door that stalls does not
slow the load down, which would hide the stall.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import httpx
import trio

__all__ = ["Sent", "SteadyLoad", "quantile"]

GIVEN_UP_AFTER = 30.0
"""Seconds; a client error, then."""


@dataclass(frozen=True)
class Sent:
    """A request: when it was sent, from the start of the load on, what it took, what became of it."""

    method: str
    request_id: str
    at: float
    took: float
    outcome: str
    """"200", another status, or the name of an error."""

    @property
    def is_error(self) -> bool:
        """Whether the client had no use of it."""
        return self.outcome != "200"


class SteadyLoad:
    """Requests at a steady rate; every one of them is kept."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.sent: list[Sent] = []
        self.started_at = math.nan

    async def run(self, seconds: float, each_second: float, posts: bool = True) -> None:
        """Sends until the time is over, and waits for the answers."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self.started_at = trio.current_time()
        async with (
            httpx.AsyncClient(trust_env=False, timeout=GIVEN_UP_AFTER, limits=limits) as client,
            trio.open_nursery() as nursery,
        ):
            for number in range(round(seconds * each_second)):
                await trio.sleep_until(self.started_at + number / each_second)
                nursery.start_soon(self._ask, client, "GET", f"g{number}")
                if posts:
                    await trio.sleep_until(self.started_at + (number + 0.5) / each_second)
                    nursery.start_soon(self._ask, client, "POST", f"p{number}")

    async def _ask(self, client: httpx.AsyncClient, method: str, request_id: str) -> None:
        at = trio.current_time()
        content = b"order=%b" % request_id.encode() if method == "POST" else None
        try:
            answer = await client.request(method, f"{self._url}/{request_id}", content=content)
            outcome = str(answer.status_code)
        except httpx.HTTPError as error:
            outcome = type(error).__name__
        took = trio.current_time() - at
        self.sent.append(Sent(method, request_id, at - self.started_at, took, outcome))

    def errors(self, method: str) -> Counter[str]:
        """How often each kind of error came."""
        return Counter(one.outcome for one in self.sent if one.method == method and one.is_error)

    def times(self, method: str, since: float, until: float) -> list[float]:
        """What the requests took that were sent between two moments, shortest first."""
        chosen = [one for one in self.sent if one.method == method and since <= one.at < until]
        return sorted(one.took for one in chosen)


def quantile(ordered: list[float], share: float) -> float:
    """Of a sorted list: the value that `share` of the others do not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
