"""One request, answered once: the way in for whoever has one to make.

Every way out of `exchange` ends every attempt that was started: the one that answered belongs to
the Answer that is returned, all others are finished or abandoned (their connections closed). The
request's content is the caller's: an answer may come, and be read, while it is still being sent.
"""

from __future__ import annotations

import trio

from haclient import events
from haclient.engine.attempt import Attempt
from haclient.engine.course import Course
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import BrokenOff, Request, Wavering
from haclient.engine.resume import Rest, read_beside, resume
from haclient.net.connection import Connection
from haclient.net.http1 import Head
from haclient.types import AttemptRecord, Evidence, Fields, Verdict

__all__ = ["Answer", "exchange"]


async def exchange(
    target: LiveTarget,
    request: Request,
    observe: events.Observer | None = None,
    timeout: float | None = None,
    attempts: list[Attempt] | None = None,
) -> Answer:
    """Returns the answer, its head read (and its content, if wanted whole).

    Args:
        target: whom to ask.
        request: what to ask.
        observe: told what happens.
        timeout: seconds for all attempts together; None, the common case, costs no cancel scope.
        attempts: gets each attempt as it begins, for a caller who may be cancelled meanwhile and has
            to tell of them.

    Raises:
        haclient.errors.Error: no answer; the error bears every attempt.
    """
    target.budget.deposit(trio.current_time())
    course = Course(target, request, observe, attempts)
    try:
        if timeout is None:
            return Answer(course, await course.run())
        with trio.move_on_after(timeout):
            return Answer(course, await course.run())
        raise course.deadline_error(timeout)
    except Exception as exc:
        course.tell_end(exc)
        raise
    finally:
        course.close()


class Answer:
    """What the caller gets: a head, and content as it arrives.

    Whoever has one calls `finish`, after the content's end, or `abandon`; the second of several such
    calls does nothing.

    Attributes:
        attempt: the one that the content comes from.
        head: of the final response; of 101 where that was asked for.
        resumes: how many times the content went on from another server.
    """

    __slots__ = (
        "_course",
        "_error",
        "_is_over",
        "_is_whole",
        "_received",
        "_source",
        "attempt",
        "head",
        "resumes",
    )

    def __init__(self, course: Course, attempt: Attempt) -> None:
        head = attempt.talk.head
        assert head is not None
        self.attempt = attempt
        self.head: Head = head
        self.resumes = 0
        self._course = course
        self._source: Attempt | Rest = attempt
        self._received = 0
        self._error: Exception | None = None
        self._is_whole = False
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Answer {self.head.status} from {self.attempt!r}>"

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """The record of each attempt that is over, in the order of their numbers."""
        return self._course.records()

    @property
    def content(self) -> bytes:
        """The whole content, where it was wanted whole."""
        return self.attempt.talk.content

    @property
    def trailers(self) -> Fields:
        """Trailer fields of chunked content, once it was read to its end.

        Those of another server's answer may speak of a part of the content; there are none then.
        """
        return self.attempt.talk.trailers if not self.resumes else ()

    @property
    def connection(self) -> Connection:
        """What the answer comes on; after 101, the caller's to speak another protocol on."""
        return self.attempt.talk.connection

    def leftover(self) -> bytes:
        """After 101: what came behind the head already."""
        return self.connection.http.leftover()

    async def read_chunk(self) -> bytes:
        """Returns the next piece of content as it comes, empty at its end.

        One that breaks off goes on from another server, where it can.

        Raises:
            ResponseIncompleteError, ResponseTimeoutError, ProtocolError: it broke off.
            RuntimeError: it was given up before its end.
        """
        if self._error is not None:
            raise self._error
        while not self._is_whole:
            try:
                try:
                    data = await self._source.read_chunk(bears_suspicion=False)
                except Wavering as wavering:
                    data = await self._read_beside(wavering.evidence)
            except BrokenOff as broken:
                await self._go_on(broken)
            else:
                self._is_whole = not data
                self._received += len(data)
                return data
        return b""

    async def _read_beside(self, evidence: Evidence) -> bytes:
        found = await read_beside(self._course, self._source, evidence, self.head, self._received)
        if isinstance(found, bytes):
            return found
        self._switch(found)
        return await found.read_chunk()

    async def _go_on(self, broken: BrokenOff) -> None:
        try:
            rest = await resume(
                self._course, self.attempt, broken.outcome, self.head, self._received
            )
        except Exception as error:
            self._error = error
            self._is_over = True
            self._course.tell_end(error)
            own = broken.outcome.error
            raise error from (broken.__cause__ if own is None else own.__cause__)
        self._switch(rest)

    def _switch(self, rest: Rest) -> None:
        self._source, self.attempt = rest, rest.attempt
        self.resumes += 1

    async def finish(self) -> None:
        """The content was read: the connection goes back to the pool if it may serve again."""
        if not self._is_over:
            self._is_over = self._is_whole = True
            await self.attempt.finish()
            self._course.tell_end(None)

    def abandon(
        self,
        verdict: Verdict = Verdict.CANCELLED,
        detail: str = "",
        evidence: Evidence | None = None,
    ) -> None:
        """Gives the rest up: closes the connection, unless `finish` was called."""
        if not self._is_over:
            self._is_over = True
            self._error = RuntimeError("the response was closed before its content was read")
            self.attempt.abandon(verdict, detail, evidence)
            self._course.tell_end(None)
