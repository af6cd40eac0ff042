"""One try of a request on one connection, and its record.

`advance` goes as far as it can and returns what there is to decide about: an answer, a suspicion,
a suspicion taken back, or a failure. After a suspicion it may be called again and goes on where it
stood; the connection stays open all the while. So the same straight-line code serves the common
request, in the caller's task and with nothing started, and the rare one that races with a second
attempt, in a task of its own.

Ownership: the attempt owns its connection from lease to `finish` (back to the pool, only from the
clean end state) or `abandon` (closed). Whoever creates an attempt calls one of the two.
"""

from __future__ import annotations

from contextlib import nullcontext

import trio
from msgspec.structs import replace

from haclient import events
from haclient.core.retry import GIVEN_UP, Failure
from haclient.engine import recording
from haclient.engine.breakage import end_of
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
from haclient.engine.sending import Sending
from haclient.engine.sticky import reach_of
from haclient.errors import ContentTooLargeError
from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.http1 import Endless, Head
from haclient.net.watch import Outstanding
from haclient.types import (
    AttemptRecord,
    Endpoint,
    Evidence,
    Fields,
    Instant,
    Phase,
    Verdict,
)

__all__ = ["Attempt"]


class Attempt:
    """See the module's docstring for the life of one."""

    __slots__ = (
        "_bytes_before",
        "_bytes_sent",
        "_end_of",
        "_generation",
        "_is_suspect",
        "_observe",
        "_received",
        "_record",
        "connection",
        "ended_at",
        "entry",
        "first_byte_at",
        "head",
        "may_return",
        "number",
        "phase",
        "reach",
        "request",
        "reused",
        "sending",
        "sent_at",
        "started_at",
        "target",
        "trailers",
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
        self.may_return = may_return
        self.started_at: Instant = trio.current_time()
        self.phase = Phase.RESOLVING
        self.connection: Connection | None = None
        self.entry: Outstanding | None = None
        self.head: Head | None = None
        self.reach: Reach | None = None
        self.ended_at: Instant | None = None
        self.reused = False
        self.sent_at: Instant | None = None
        self.first_byte_at: Instant | None = None
        self.trailers: Fields = ()
        self._observe = observe
        self._record: AttemptRecord | None = None
        self._end_of: tuple[Verdict, str, Evidence | None, str] = (Verdict.CANCELLED, "", None, "")
        self._bytes_before = 0
        self._bytes_sent = 0
        self._generation = 0
        self._is_suspect = False
        # Not a list of pieces: a server may send them two bytes at a time.
        self._received = bytearray()
        self.sending: Sending | None = None

    def __repr__(self) -> str:
        where = self.connection.endpoint if self.connection else self.target.first_tier[0].origin
        return f"<Attempt {self.number} at {where}, {self.phase.value}>"

    # --- the way of an attempt ---------------------------------------------------------------

    async def advance(self) -> Outcome:
        """Goes on until there is something to decide about."""
        while True:
            try:
                if self.connection is None:
                    if not await self._lease():
                        return self._fail(Verdict.REFUSED)
                    await self._send()
                await self._final_head()
                assert self.head is not None
                if self.request.is_whole_wanted:
                    await self._read_whole()
                return Answered(self.head)
            except InterruptedReceive:
                if (outcome := self._take_news()) is not None:
                    return outcome
            except Exception as exc:
                return self._explain(exc)

    async def _lease(self) -> bool:
        target, request = self.target, self.request
        connection, drawn = idle_connection(target, request, self.tried, self.started_at)
        if connection is None:
            connection = await self._reach_out(drawn)
        if connection is None:
            return False
        try_out_passed_over(target, request.known_client, connection)
        self.connection = connection
        # Also one that was waited for may have served others meanwhile.
        self.reused = connection.exchanges > 0
        self.tried.add(connection.endpoint)
        self._generation = self.target.engine.health.generation(connection.endpoint)
        self._bytes_before = connection.transport.bytes_sent
        if self._observe is not None:
            self._observe(recording.connected(self.number, connection, reused=self.reused))
        return True

    async def _reach_out(self, drawn: Endpoint | None) -> Connection | None:
        client = self.request.known_client
        self.reach = reach = reach_of(self.target, self.number, self._observe, client, drawn)
        connection = await reach.connection(
            self.tried, max_idle=max_idle_for(self.request), may_return=self.may_return
        )
        self.tried.update(reach.met.refused())
        return connection

    async def _send(self) -> None:
        connection, request = self._leased, self.request
        self.phase = Phase.SENDING
        prefix = "" if request.is_target_whole else self.target.prefixes[connection.origin]
        sending = self.sending = Sending(connection, request, prefix)
        standby = self.target.standby if request.facts.is_idempotent else None
        self.entry = (Outstanding if standby is None else standby.entry)(
            connection.transport,
            trio.current_time() if self.reach is not None else self.started_at,
            self.target.spec.response_timeout,
            self.number,
            self._observe,
        )
        engine = self.target.engine
        engine.watch.add(self.entry)
        await sending.start(engine.nursery, self._note_sent, self._note_interim)
        if sending.early_head is not None:
            self._note_head(sending.early_head)

    async def _final_head(self) -> None:
        http = self._leased.http
        while self.head is None:
            head = await http.read_head()
            if head.status >= 200:
                self._note_head(head)
            elif head.status == 101:
                self._note_switch(head)
            else:
                await self._note_interim(head)

    def _note_switch(self, head: Head) -> None:
        """What follows is another protocol's: no silence of it means anything here."""
        self._note_head(head)
        assert self.entry is not None
        self.target.engine.watch.remove(self.entry)
        self._leased.transport.forget_interrupt()

    async def _note_interim(self, head: Head) -> None:
        if self._observe is not None:
            self._observe(recording.interim_received(self.number, head))
        tell, turn = self.request.on_interim, self.request.turn
        if tell is None or head.status == 100:
            return
        try:
            async with turn or nullcontext():
                await tell(head)
        except Exception as exc:
            raise CallerFailed from exc

    def _note_head(self, head: Head) -> None:
        now = self.first_byte_at = trio.current_time()
        self.head = head
        assert self.entry is not None
        self.entry.is_answered = True
        self.phase = Phase.RECEIVING
        if self.target.checks is not None:
            self.target.checks.heard(self._leased.endpoint)
        if self._observe is not None:
            self._observe(recording.response_started(now, self.number, self._leased, head))

    async def _read_whole(self) -> None:
        while data := await self._read_content():
            if len(self._received) + len(data) > self.request.max_content:
                raise ContentTooLargeError(
                    f"the response's content is larger than {self.request.max_content} bytes: "
                    "stream it instead of reading it whole"
                )
            self._received += data

    async def _read_content(self) -> bytes:
        http = self._leased.http
        data = await http.read_content()
        if not data:
            # The connection's own are gone as soon as it is made ready for another exchange.
            self.trailers = http.trailers
        return data

    @property
    def content(self) -> bytes:
        """The whole content, where it was wanted whole."""
        return bytes(self._received)

    async def read_chunk(self, *, bears_suspicion: bool = True) -> bytes:
        """Returns the next piece of content as it comes, empty at the end.

        Raises:
            BrokenOff: it bears the outcome.
            Wavering: the server is suspect, and that is not to be borne.
        """
        while True:
            try:
                return await self._read_content()
            except InterruptedReceive:
                outcome = self._take_news()
                if isinstance(outcome, Failed):
                    raise BrokenOff(outcome) from None
                if isinstance(outcome, Suspicion) and not bears_suspicion:
                    raise Wavering(outcome.evidence) from None
            except Exception as exc:
                raise BrokenOff(self._explain(exc)) from exc

    def _note_sent(self) -> None:
        """The last byte of the request was handed to the kernel."""
        if self.is_over:
            return  # the upload ended in the very moment in which it was stopped
        now = self.sent_at = trio.current_time()
        if self.phase is Phase.SENDING:
            self.phase = Phase.WAITING
        if self._observe is not None:
            assert self.sending is not None
            self._observe(
                events.RequestSent(
                    now, self.number, self._leased.endpoint, self.sending.head.data, self.bytes_sent
                )
            )

    # --- news and ends -----------------------------------------------------------------------

    def _take_news(self) -> Outcome | None:
        """What the watch, or the upload, woke the receiver for; None if it is no news any more."""
        entry = self.entry
        assert entry is not None
        if self.sending is not None and self.sending.error is not None:
            error = self.sending.error
            return self._fail(Verdict.FAILED, str(error), error=error)
        if entry.dead is not None:
            return self._fail(Verdict.DEAD, evidence=entry.dead)
        if too_late := self._what_is_too_late(entry):
            return self._fail(Verdict.SLOW, too_late)
        endpoint, suspicion = self._leased.endpoint, entry.suspicion
        if suspicion is not None and self.target.heeds(suspicion, endpoint, self._generation):
            self._is_suspect = True
            return Suspicion(suspicion)
        if self._is_suspect:
            self._is_suspect = False
            return ClearedUp()
        return None

    def _what_is_too_late(self, entry: Outstanding) -> str:
        """What has lasted longer than the back-stop; empty where nothing has."""
        limit = self.target.spec.response_timeout
        if entry.is_overdue:
            too_late = f"silent for {limit:g} s, and alive"
        elif entry.is_head_late and self.head is None:
            too_late = f"no whole head within {limit:g} s of its first byte"
        else:
            return ""
        if self.sending is not None and self.sending.is_short_of_content:
            # Silent for as long as we are: the server waits for the caller's content as well.
            entry.forgive(trio.current_time())
            return ""
        return too_late

    def _explain(self, exc: Exception) -> Failed:
        """Turns what the connection raised into the attempt's end."""
        if isinstance(exc, Endless):
            # A response has begun: not a server of another protocol, but one without an end.
            self.phase = Phase.RECEIVING
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
        failure = Failure(
            verdict=verdict,
            bytes_sent=self.bytes_sent,
            is_replayable=self.request.content.is_replayable,
            is_reused=self.reused,
            is_elsewhere=self.target.has_untried(self.tried),
            evidence=evidence,
        )
        if verdict is Verdict.REFUSED and self.reach is not None:
            detail = self.reach.met.describe()
            failure = replace(
                failure, timed_out_after=self.reach.met.silent_for(trio.current_time())
            )
            if self.reach.met.has_only_names_failed:
                verdict = Verdict.FAILED  # as it is told; the machine goes by the failure
        self.abandon(verdict, detail, evidence)
        return Failed(failure, error)

    @property
    def bytes_sent(self) -> int:
        """Of this request, handed to the kernel."""
        if self.connection is None or self._bytes_sent:
            return self._bytes_sent
        return self.connection.transport.bytes_sent - self._bytes_before

    @property
    def _leased(self) -> Connection:
        assert self.connection is not None
        return self.connection

    def refuse(self, verdict: Verdict, detail: str) -> Failed:
        """What came is of no use: ends the attempt, and says how."""
        return self._fail(verdict, detail)

    async def finish(self) -> None:
        """The answer is whole: the connection goes back to the pool if it may serve again."""
        connection, engine = self._leased, self.target.engine
        now = trio.current_time()
        self._bytes_sent = self.bytes_sent
        self._end(now, Verdict.ANSWERED)
        engine.health.report_success(connection.endpoint, now, self._generation)
        # Stopped in its last bytes, an upload leaves a connection on which nothing else may follow.
        is_whole = self.sending is not None and self.sending.is_whole
        is_ready = False
        try:
            is_ready = is_whole and await connection.make_ready_again()
        finally:
            self.target.pool.release(connection, is_ready)
            self._tell_end(now)

    def abandon(self, verdict: Verdict, detail: str = "", evidence: Evidence | None = None) -> None:
        """The attempt is over and its connection with it. Harmless when it was over already."""
        if self.is_over:
            return
        now = trio.current_time()
        self._bytes_sent = self.bytes_sent
        if evidence is None and self.entry is not None and verdict in GIVEN_UP:
            evidence = self.entry.suspicion
        self._end(now, verdict, detail, evidence)
        if self.connection is not None:
            engine, connection = self.target.engine, self.connection
            connection.close()
            # Whom another one overtook while it was suspect is not watched to its end: what else
            # is idle there would cost the next requests the same second.
            # Not so for health requests unanswered: its host lives, and it may be at work.
            is_lost = verdict is Verdict.DEAD or (
                verdict is Verdict.SUPERSEDED and evidence is not None and not evidence.is_of_health
            )
            if is_lost:
                self.target.pool.retire_endpoint(connection.key, connection.endpoint, connection)
            self.target.pool.release(connection, False)
            if is_lost or (verdict is Verdict.CLOSED and not self.reused):
                # A reused connection may have been closed for its age; that is no fault.
                engine.health.report_failure(connection.endpoint, now, self._generation)
        self._tell_end(now)

    def _end(
        self, now: Instant, verdict: Verdict, detail: str = "", evidence: Evidence | None = None
    ) -> None:
        """From here on there is a record; it is made when somebody asks for it."""
        self.ended_at = now
        self._end_of = (verdict, detail, evidence, self.request.content.lost)
        if verdict is Verdict.ANSWERED:
            self.phase = Phase.DONE
        elif self.connection is None and self.reach is not None:
            self.phase = self.reach.met.phase
        if self.entry is not None:
            self.target.engine.watch.remove(self.entry)
        # An answer may come before all of the request.
        self.stop_sending()

    def stop_sending(self) -> None:
        """What is left of the request is not wanted any more; its answer may be."""
        if self.sending is not None:
            self.sending.stop()

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
            self._record = recording.record_of(self, self.ended_at, *self._end_of)
        return self._record
