"""The steady load of the demonstration, and what came of each request.

Ten GETs and two POSTs a second, started by the clock and not by the answers: a load that waits for
its answers (a loop that asks again when it was answered) goes quiet while a server hangs, and so
hides the very requests that suffer.

A POST has a connection of its own here: a server that fails takes with it the POSTs that are
outstanding at that moment, and nobody can know whether they ran. The show has one such POST, for
all to see, and keeps the steady ones out of its way.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import trio

from haclient.client import Client
from haclient.errors import Error
from haclient.types import AttemptRecord, Instant

__all__ = ["GETS_A_SECOND", "POSTS_A_SECOND", "Load", "Sample", "ask", "median"]

GETS_A_SECOND = 10
POSTS_A_SECOND = 2


class Sample(msgspec.Struct, frozen=True):
    """One request and what came of it; exactly one of `served_by` and `error` is set."""

    name: str
    """Method and number ("POST 17"): what the server that executes it reports."""
    started_at: Instant
    ended_at: Instant
    attempts: tuple[AttemptRecord, ...]
    served_by: str = ""
    """The address that answered."""
    error: Error | None = None

    @property
    def is_post(self) -> bool:
        """Whether it may run only once."""
        return self.name.startswith("POST")

    @property
    def took(self) -> float:
        """Seconds to the answer or error."""
        return self.ended_at - self.started_at


async def ask(client: Client, method: str, url: str, number: str, query: str = "") -> Sample:
    """Sends one request and returns what came of it."""
    started_at = trio.current_time()
    try:
        response = await client.request(
            method, f"{url}/{number}{query}", content=b"one of each" if method == "POST" else None
        )
    except Error as error:
        now = trio.current_time()
        return Sample(f"{method} {number}", started_at, now, error.attempts, error=error)
    attempts = response.attempts
    served_by = attempts[-1].endpoint
    assert served_by is not None
    return Sample(
        f"{method} {number}", started_at, trio.current_time(), attempts, served_by.address
    )


class Load:
    """The load, from `run` to `stop`.

    Attributes:
        samples: of every request that is over, in the order of their ends.
    """

    def __init__(self, url: str, reader: Client, writer: Client) -> None:
        self.samples: list[Sample] = []
        self._posts_outstanding = 0
        self._no_post = trio.Event()
        self._url = url
        self._reader = reader
        self._writer = writer
        self._issue = trio.CancelScope()

    async def run(self) -> None:
        """Asks until `stop`, then waits for what is outstanding."""
        async with trio.open_nursery() as nursery:
            with self._issue:
                due_at, number = trio.current_time(), 0
                while True:
                    number += 1
                    nursery.start_soon(self._get, f"{number}")
                    if number % (GETS_A_SECOND // POSTS_A_SECOND) == 0:
                        nursery.start_soon(self._post, f"{number}")
                    due_at += 1 / GETS_A_SECOND
                    await trio.sleep_until(due_at)

    def stop(self) -> None:
        """No new request from now on."""
        self._issue.cancel()

    async def without_post(self) -> None:
        """Waits for a moment in which no POST is outstanding."""
        while self._posts_outstanding:
            await self._no_post.wait()

    async def _get(self, number: str) -> None:
        self.samples.append(await ask(self._reader, "GET", self._url, number))

    async def _post(self, number: str) -> None:
        if not self._posts_outstanding:
            self._no_post = trio.Event()
        self._posts_outstanding += 1
        try:
            self.samples.append(await ask(self._writer, "POST", self._url, number))
        finally:
            self._posts_outstanding -= 1
            if not self._posts_outstanding:
                self._no_post.set()


def median(numbers: Iterable[float]) -> float:
    """The middle one; 0 of none."""
    ordered = sorted(numbers)
    return ordered[len(ordered) // 2] if ordered else 0.0
