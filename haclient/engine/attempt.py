"""One try of a request, and its record.

`advance` goes as far as it can and returns what there is to decide about: an answer, a suspicion,
a suspicion taken back, or a failure. After a suspicion it may be called again and goes on where it
stood; the connection stays open all the while. So the same straight-line code serves the common
request, in the caller's task and with nothing started, and the rare one that races with a second
attempt, in a task of its own.

Ownership: the attempt owns its connection (haclient.engine.talk) from lease to `finish` (back to the pool,
only from the clean end state) or `abandon` (closed). Whoever creates an attempt calls one of the two.
"""

from __future__ import annotations

import trio
from msgspec.structs import replace

from haclient import events
from haclient.core.retry import GIVEN_UP, Failure
from haclient.engine import recording
from haclient.engine.breakage import end_of
from haclient.engine.holding import Holding
from haclient.engine.leasing import idle_connection, max_idle_for, try_out_passed_over
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import (
    Answered,
    BrokenOff,
    CallerFailed,
    ClearedUp,
    Failed,
    Outcome,
    Request,
    Suspicion,
    Wavering,
)
from haclient.engine.reach import Reach
from haclient.engine.sticky import reach_of
from haclient.engine.talk import Talk
from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.http1 import Endless
from haclient.types import AttemptRecord, Endpoint, Evidence, Instant, Phase, Verdict

__all__ = ["Attempt"]


class Attempt:
    """See the module's docstring for the life of one.

    Attributes:
        reach: its way to a connection, where no idle one would do.
        tried: addresses that the exchange has met in trouble, or is asking.
    """

    __slots__ = (
        "_end",
        "_is_suspect",
        "_may_return",
        "_observe",
        "_record",
        "_talk",
        "ended_at",
        "number",
        "reach",
        "request",
        "started_at",
        "target",
        "tried",
    )

    def __init__(
        self,
        number: int,
        target: LiveTarget,
        request: Request,
        tried: set[Endpoint],
        observe: events.Observer | None,
        *,
        may_return: bool = True,
    ) -> None:
        self.number = number
        self.target = target
        self.request = request
        self.tried = tried
        self.started_at: Instant = trio.current_time()
        self.reach: Reach | None = None
        self._talk: Talk | None = None
        self.ended_at: Instant | None = None
        self._may_return = may_return
        self._observe = observe
        self._is_suspect = False
        self._record: AttemptRecord | None = None
        self._end: tuple[Verdict, str, Evidence | None, str] = (Verdict.CANCELLED, "", None, "")

    def __repr__(self) -> str:
        return (
            f"<Attempt {self.number} at {recording.where(self)}, {recording.phase_of(self).value}>"
        )

    # --- the way of an attempt ---------------------------------------------------------------

    async def advance(self) -> Outcome:
        """Goes on until there is something to decide about."""
        while True:
            try:
                talk = self._talk
                if talk is None:
                    connection, drawn = idle_connection(
                        self.target, self.request, self.tried, self.started_at
                    )
                    connection = connection or await self._reach_out(drawn)
                    if connection is None:
                        return self._fail(Verdict.REFUSED)
                    talk = self._talk_on(connection)
                    since = self.started_at if self.reach is None else trio.current_time()
                    await talk.begin(since)
                head = await talk.read_head()
                if self.request.is_whole_wanted:
                    await talk.read_whole()
                return Answered(head)
            except InterruptedReceive:
                if (outcome := self._take_news()) is not None:
                    return outcome
            except Exception as exc:
                return self._explain(exc)

    async def _reach_out(self, drawn: Endpoint | None) -> Connection | None:
        client = self.request.known_client
        self.reach = reach = reach_of(self.target, self.number, self._observe, client, drawn)
        connection = await reach.connection(
            self.tried, max_idle=max_idle_for(self.request), may_return=self._may_return
        )
        self.tried.update(reach.met.refused())
        return connection

    def _talk_on(self, connection: Connection) -> Talk:
        target, request, observe = self.target, self.request, self._observe
        self._talk = talk = Talk(target, connection, request, self.number, observe)
        self.tried.add(connection.endpoint)
        try_out_passed_over(target, request.known_client, connection)
        if observe is not None:
            observe(recording.connected(self.number, connection, reused=talk.is_reused))
        return talk

    async def read_chunk(self, *, bears_suspicion: bool = True) -> bytes:
        """Returns the next piece of content as it comes, empty at the end.

        Raises:
            BrokenOff: it bears the outcome.
            Wavering: the server is suspect, and that is not to be borne.
        """
        while True:
            try:
                return await self.talk.read_content()
            except InterruptedReceive:
                outcome = self._take_news()
                if isinstance(outcome, Failed):
                    raise BrokenOff(outcome) from None
                if isinstance(outcome, Suspicion) and not bears_suspicion:
                    raise Wavering(outcome.evidence) from None
            except Exception as exc:
                raise BrokenOff(self._explain(exc)) from exc

    @property
    def holding(self) -> Holding | None:
        """Its connection, once it has one."""
        return self._talk

    @property
    def talk(self) -> Talk:
        """What it said and heard; of one that has a connection."""
        assert self._talk is not None
        return self._talk

    # --- news and ends -----------------------------------------------------------------------

    def _take_news(self) -> Outcome | None:
        """What the watch, or the upload, woke the receiver for; None if it is no news any more."""
        talk = self.talk
        entry = talk.entry
        assert entry is not None
        if talk.sending is not None and talk.sending.error is not None:
            error = talk.sending.error
            return self._fail(Verdict.FAILED, str(error), error=error)
        if entry.dead is not None:
            return self._fail(Verdict.DEAD, evidence=entry.dead)
        if too_late := talk.what_is_too_late():
            return self._fail(Verdict.SLOW, too_late)
        if entry.suspicion is not None and talk.heeds(entry.suspicion):
            self._is_suspect = True
            return Suspicion(entry.suspicion)
        if self._is_suspect:
            self._is_suspect = False
            return ClearedUp()
        return None

    def _explain(self, exc: Exception) -> Failed:
        """Turns what the connection raised into the attempt's end."""
        if isinstance(exc, Endless):
            # A response has begun: not a server of another protocol, but one without an end.
            self.talk.phase = Phase.RECEIVING
        end = end_of(exc)
        if isinstance(exc, CallerFailed):
            return self._fail(Verdict.FAILED, str(exc.__cause__), error=exc)
        if end is None:
            # The request's own fault (a field that cannot be sent), or a bug.
            return self._fail(Verdict.FAILED, str(exc), error=exc)
        return self._fail(*end)

    def _fail(
        self,
        verdict: Verdict,
        detail: str = "",
        evidence: Evidence | None = None,
        error: Exception | None = None,
    ) -> Failed:
        talk = self._talk
        failure = Failure(
            verdict=verdict,
            bytes_sent=talk.bytes_sent if talk is not None else 0,
            is_replayable=self.request.content.is_replayable,
            is_reused=talk is not None and talk.is_reused,
            is_elsewhere=self.target.has_untried(self.tried),
            evidence=evidence,
        )
        if verdict is Verdict.REFUSED and self.reach is not None:
            met = self.reach.met
            detail = met.describe()
            failure = replace(failure, timed_out_after=met.silent_for(trio.current_time()))
            if met.has_only_names_failed:
                verdict = Verdict.FAILED  # as it is told; the machine goes by the failure
        self.abandon(verdict, detail, evidence)
        return Failed(failure, error)

    def refuse(self, verdict: Verdict, detail: str) -> Failed:
        """What came is of no use: ends the attempt, and says how."""
        return self._fail(verdict, detail)

    def stop_sending(self) -> None:
        """What is left of the request is not wanted any more; its answer may be."""
        if self._talk is not None:
            self._talk.stop_sending()

    async def finish(self) -> None:
        """The answer is whole: the connection goes back to the pool if it may serve again."""
        talk, now = self.talk, trio.current_time()
        self._note_end(now, Verdict.ANSWERED)
        talk.note_served(now)
        try:
            # Stopped in its last bytes, an upload leaves a connection on which nothing may follow.
            await talk.give_back(is_whole=talk.sending is not None and talk.sending.is_whole)
        finally:
            self._tell_end(now)

    def abandon(self, verdict: Verdict, detail: str = "", evidence: Evidence | None = None) -> None:
        """The attempt is over and its connection with it. Harmless when it was over already."""
        if self.is_over:
            return
        now, talk = trio.current_time(), self._talk
        entry = talk.entry if talk is not None else None
        if evidence is None and entry is not None and verdict in GIVEN_UP:
            evidence = entry.suspicion
        self._note_end(now, verdict, detail, evidence)
        if talk is not None:
            talk.close(verdict, evidence, detail)
        self._tell_end(now)

    def _note_end(
        self, now: Instant, verdict: Verdict, detail: str = "", evidence: Evidence | None = None
    ) -> None:
        """From here on there is a record; it is made when somebody asks for it."""
        self.ended_at = now
        self._end = (verdict, detail, evidence, self.request.content.lost)
        if self._talk is not None:
            self._talk.end(verdict)

    def _tell_end(self, now: Instant) -> None:
        """Last of all: whatever an observer does, the connection is where it belongs."""
        if self._observe is not None:
            assert self.record is not None
            self._observe(events.AttemptEnded(now, self.number, self.record))

    @property
    def is_over(self) -> bool:
        """Whether `finish` or `abandon` was called."""
        return self.ended_at is not None

    @property
    def record(self) -> AttemptRecord | None:
        """The whole result, once it is over."""
        if self._record is None and self.ended_at is not None:
            self._record = recording.record_of(self, self.ended_at, *self._end)
        return self._record
