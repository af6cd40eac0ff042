"""The rest of an answer that broke off, from another server.

Most of a download is in the caller's hands when its server dies. Asking again from the beginning,
the naive way, is what the caller cannot want; appending what any server says comes next is worse,
for it may be serving a newer version. `core.resume` says which answers can go on at all, what to ask
for, and whether what comes is the same representation from the right byte on; the course of
attempts, its rules and its limits are those of the exchange. Here the two are put together, and the
bytes are counted: what the first answer has delivered is dropped where the second begins again, and
one that ends too soon, or goes on for too long, is broken off like the first.

Left out: a second server beside a suspect. In mid-response only proof is acted on.
"""

from __future__ import annotations

from msgspec.structs import replace

from haclient.core.resume import GoOn, ResumePlan, plan
from haclient.engine.attempt import Attempt
from haclient.engine.course import Course
from haclient.engine.outcome import BrokenOff, Failed
from haclient.net.http1 import Head
from haclient.types import Verdict

__all__ = ["Rest", "resume"]


class Rest:
    """The content of a further answer, from where the one before it stopped."""

    __slots__ = ("_left", "_skip", "attempt")

    def __init__(self, attempt: Attempt, go_on: GoOn) -> None:
        self.attempt = attempt
        self._skip = go_on.skip
        self._left = go_on.take

    async def read_chunk(self) -> bytes:
        """As Attempt.read_chunk."""
        while data := await self.attempt.read_chunk():
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            if skipped < len(data):
                return self._taken(data[skipped:])
        if self._skip or self._left:
            raise BrokenOff(self._refuse("it ended before what it announced"))
        return b""

    def _taken(self, data: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise BrokenOff(self._refuse("it went on past what it announced"))
        return data

    def _refuse(self, detail: str) -> Failed:
        return self.attempt.refuse(Verdict.GARBLED, detail)


async def resume(
    course: Course, attempt: Attempt, outcome: Failed, head: Head, received: int
) -> Rest:
    """Returns the rest of an answer.

    Args:
        course: of the exchange that it is the answer of.
        attempt: which delivered it until now.
        outcome: how that ended.
        head: the answer's, as the caller has it.
        received: bytes of content that the caller has.

    Raises:
        haclient.errors.Error: it cannot go on, or nobody has the rest.
    """
    how = _plan(course, outcome, head)
    if how is None or how.remaining(received) == 0:
        # Nothing is owed and its last line is missing: there is no range to ask for.
        raise course.error_for_rest(attempt, outcome)
    request = replace(
        course.request,
        fields=how.fields(course.request.fields, received),
        is_whole_wanted=False,
        is_upgrade=False,
        on_interim=None,
    )
    return Rest(
        *await course.go_on(
            attempt,
            outcome,
            request,
            lambda answer: how.judge(received, answer.status, answer.fields),
        )
    )


def _plan(course: Course, outcome: Failed, head: Head) -> ResumePlan | None:
    request = course.request
    if not course.may_resume or outcome.error is not None:
        return None
    return plan(request.method, request.fields, head.status, head.fields)
