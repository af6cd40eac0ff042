"""The steady load of the demonstration, and what came of each request.

Ten GETs and two POSTs a second, started by the clock and not by the answers: a load that waits for
its answers (a loop that asks again when it was answered) goes quiet while a server hangs, and so
hides the very requests that suffer.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import trio

from haclient.ops.demo_client import NoReply, Reply, send
from haclient.ops.demo_sidecar import PATHS, Front
from haclient.types import AttemptRecord, Instant

__all__ = ["GETS_A_SECOND", "POSTS_A_SECOND", "Load", "Problem", "Sample", "ask", "median"]

GETS_A_SECOND = 10
POSTS_A_SECOND = 2

OK = 200


class Problem(msgspec.Struct, frozen=True):
    """An error as the client was told it (RFC 9457, and a member of haclient's own)."""

    detail: str
    status: int = 0
    """0: there was no answer at all."""
    may_have_been_processed: bool | None = None

    @property
    def reason(self) -> str:
        """Its first line; the attempts follow below."""
        return self.detail.partition("\n")[0]


class Served(msgspec.Struct, frozen=True):
    """The content of a server's answer."""

    served_by: str


class Sample(msgspec.Struct, frozen=True):
    """One request and what came of it; exactly one of `served_by` and `problem` is set."""

    name: str
    """Method and number ("POST 17"): what the server that executes it reports."""
    started_at: Instant
    ended_at: Instant
    attempts: tuple[AttemptRecord, ...]
    """The sidecar's; the client knows of none."""
    served_by: str = ""
    """The address that answered."""
    problem: Problem | None = None

    @property
    def is_post(self) -> bool:
        """Whether it may run only once."""
        return self.name.startswith("POST")

    @property
    def took(self) -> float:
        """Seconds to the answer or error."""
        return self.ended_at - self.started_at


async def ask(front: Front, method: str, number: str, query: str = "") -> Sample:
    """Sends one request to a sidecar and returns what came of it."""
    request_id = f"{method}-{number}"
    content = b"one of each" if method == "POST" else b""
    started_at = trio.current_time()
    served_by, problem = "", None
    try:
        path = f"{PATHS[method]}/{number}{query}"
        reply = await send(front.port, method, path, request_id, content)
    except NoReply as error:
        problem = Problem(str(error))
    else:
        if reply.status == OK:
            served_by = msgspec.json.decode(reply.content, type=Served).served_by
        else:
            problem = _problem(reply)
    ended_at = trio.current_time()
    record = front.records.pop(request_id, None)
    attempts = record.attempts if record is not None else ()
    return Sample(f"{method} {number}", started_at, ended_at, attempts, served_by, problem)


def _problem(reply: Reply) -> Problem:
    if reply.content_type == "application/problem+json":
        return msgspec.json.decode(reply.content, type=Problem)
    return Problem(f"answered {reply.status}, without a problem+json", reply.status)


class Load:
    """The load, from `run` to `stop`.

    Attributes:
        samples: of every request that is over, in the order of their ends.
    """

    def __init__(self, front: Front) -> None:
        self.samples: list[Sample] = []
        self._posts_outstanding = 0
        self._no_post = trio.Event()
        self._front = front
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
        self.samples.append(await ask(self._front, "GET", number))

    async def _post(self, number: str) -> None:
        if not self._posts_outstanding:
            self._no_post = trio.Event()
        self._posts_outstanding += 1
        try:
            self.samples.append(await ask(self._front, "POST", number))
        finally:
            self._posts_outstanding -= 1
            if not self._posts_outstanding:
                self._no_post.set()


def median(numbers: Iterable[float]) -> float:
    """The middle one; 0 of none."""
    ordered = sorted(numbers)
    return ordered[len(ordered) // 2] if ordered else 0.0
