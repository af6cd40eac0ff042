"""The rest of an answer that broke off, from another server.

Most of a download is in the caller's hands when its server dies. Asking again from the beginning,
the naive way, is what the caller cannot want; appending what any server says comes next is worse,
for it may be serving a newer version. `core.resume` says which answers can go on at all, what to ask
for, and whether what comes is the same representation from the right byte on; the course of
attempts, its rules and its limits are those of the exchange. Here the two are put together, and the
bytes are counted: what the first answer has delivered is dropped where the second begins again, and
one that ends too soon, or goes on for too long, is broken off like the first.

A suspect is read on while another server is asked, and the first to have something has it: whoever
was only cut off for a moment loses nothing. What the suspect delivers in the very moment in which
the other one answers is dropped, for the rest begins with it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from msgspec.structs import replace

from haclient.core.resume import GoOn, Refuse, plan, why_no_plan
from haclient.engine.attempt import Attempt
from haclient.engine.course import Course
from haclient.engine.outcome import BrokenOff, Failed, Request
from haclient.errors import Error
from haclient.net.http1 import Head
from haclient.types import Evidence, Verdict

__all__ = ["Rest", "read_beside", "resume"]

Judge = Callable[[Head], GoOn | Refuse]


class Rest:
    """The content of a further answer, from where the one before it stopped."""

    __slots__ = ("_left", "_skip", "attempt")

    def __init__(self, attempt: Attempt, go_on: GoOn) -> None:
        self.attempt = attempt
        self._skip = go_on.skip
        self._left = go_on.take

    async def read_chunk(self, *, bears_suspicion: bool = True) -> bytes:
        """As Attempt.read_chunk."""
        while data := await self.attempt.read_chunk(bears_suspicion=bears_suspicion):
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
    question = _question(course, head, received)
    if outcome.error is not None or question is None:
        raise course.error_for_rest(attempt, outcome, _why_not(course, head))
    return Rest(*await course.go_on(attempt, outcome, *question))


async def read_beside(
    course: Course, source: Attempt | Rest, evidence: Evidence, head: Head, received: int
) -> Rest | bytes:
    """Reads on from a suspect, and asks another server for the rest where one may be asked.

    Returns the next piece of content (empty at its end), or the rest, whichever is there first; the
    suspect is closed then.

    Raises:
        BrokenOff: the suspect's end, and nobody had the rest.
    """
    suspect = source if isinstance(source, Attempt) else source.attempt
    question = _question(course, head, received)
    if question is None:
        return await source.read_chunk()
    found: list[Rest] = []
    pieces: list[bytes | BrokenOff] = []

    async def read_on() -> None:
        try:
            pieces.append(await source.read_chunk())
        except BrokenOff as broken:
            # Whoever is being asked is on the way already.
            pieces.append(broken)
        else:
            nursery.cancel_scope.cancel()

    async def ask() -> None:
        try:
            rest = await course.go_on_beside(suspect, evidence, *question)
        except Error:
            return  # the suspect may come back; its end will say what to do
        if rest is not None:
            found.append(Rest(*rest))
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_on)
            nursery.start_soon(ask)
    except BaseException:
        # The caller may be cancelled with the rest in hand already.
        for rest in found:
            rest.attempt.abandon(Verdict.CANCELLED)
        raise
    if found:
        suspect.abandon(Verdict.SUPERSEDED)
        return found[0]
    [piece] = pieces
    if isinstance(piece, BrokenOff):
        raise piece
    return piece


def _why_not(course: Course, head: Head) -> str:
    """Why the rest could not be asked for, where that is in somebody's hands."""
    if course.request.method != "GET":
        return ""
    if not course.may_resume:
        return "resume is off, or the request has content"
    return why_no_plan(head.status, head.fields)


def _question(course: Course, head: Head, received: int) -> tuple[Request, Judge] | None:
    """What to ask for, and how to judge the answer; None where there is nothing to be asked for."""
    request = course.request
    how = plan(request.method, request.fields, head.status, head.fields)
    if not course.may_resume or how is None or how.remaining(received) == 0:
        # With nothing owed, and the last line missing, there is no range to ask for.
        return None
    rest = replace(
        request,
        fields=how.fields(request.fields, received),
        is_whole_wanted=False,
        is_upgrade=False,
        on_interim=None,
    )
    return rest, lambda answer: how.judge(received, answer.status, answer.fields)
