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

from contextlib import aclosing
from dataclasses import dataclass

import trio

from haclient import events
from haclient.core.retry import Failure, RequestFacts
from haclient.engine.live import LiveTarget
from haclient.engine.reach import Reach
from haclient.engine.replay import Content
from haclient.errors import ContentError
from haclient.net import InterruptedReceive
from haclient.net.connection import Connection
from haclient.net.http1 import ConnectionLost, Garbled, Head
from haclient.net.watch import Outstanding
from haclient.types import (
    AttemptRecord,
    Endpoint,
    Evidence,
    EvidenceKind,
    Fields,
    Instant,
    Origin,
    Phase,
    Verdict,
)

__all__ = ["Answered", "Attempt", "ClearedUp", "Failed", "Outcome", "Request", "Suspicion"]

MAX_IDLE_NOT_RESENDABLE = 1.0
"""Seconds. A request that may not be resent rides only on a connection that was in use a moment
ago: servers close idle ones after 5 s (Node) to 75 s (nginx) and more, and a close that crosses
the request on the wire would leave it in doubt."""

EXPECT_WAIT = 1.0
"""Seconds that content is held back for "100 Continue" (RFC 9110, section 10.1.1 leaves the time to
the client; curl waits as long)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the engine takes it.

    `target` is origin-form ("/path?query"), before the target's own path prefix; `fields` go out
    in this order, Host put first where it is missing.
    """

    method: str
    target: str
    fields: Fields
    content: Content
    facts: RequestFacts
    is_target_whole: bool = False
    """Whether the target's own path prefix is in `target` already."""
    is_whole_wanted: bool = False
    """Whether the answer is read whole within the exchange, so that it may be tried again
    elsewhere for as long as the caller has seen nothing of it."""
    max_content: int = 1 << 26


@dataclass(frozen=True, slots=True)
class Answered:
    """The head of the final response is here; with is_whole_wanted all of the content too."""

    head: Head


@dataclass(frozen=True, slots=True)
class Suspicion:
    """The server may be dead; `advance` may be called again."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class ClearedUp:
    """The suspicion was wrong; call `advance` again."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt is over. `error` is set where the caller's own part failed."""

    failure: Failure
    error: Exception | None = None


Outcome = Answered | Suspicion | ClearedUp | Failed


class ContentLimitPassed(Exception):  # noqa: N818  (told to the caller as ContentTooLargeError)
    """The whole content was wanted and is larger than the limit."""


class Attempt:
    """See the module's docstring for the life of one."""

    __slots__ = (
        "_bytes_before",
        "_content_held",
        "_generation",
        "_is_suspect",
        "_observe",
        "_received",
        "_received_bytes",
        "_upload_error",
        "_upload_scope",
        "connection",
        "detail",
        "ended_at",
        "entry",
        "evidence",
        "first_byte_at",
        "head",
        "interim",
        "number",
        "phase",
        "reach",
        "record",
        "request",
        "reused",
        "sent_at",
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
    ) -> None:
        self.number = number
        self.target = target
        self.request = request
        self.tried = tried
        self.started_at: Instant = trio.current_time()
        self.phase = Phase.RESOLVING
        self.connection: Connection | None = None
        self.entry: Outstanding | None = None
        self.head: Head | None = None
        self.reach: Reach | None = None
        self.record: AttemptRecord | None = None
        self.reused = False
        self.sent_at: Instant | None = None
        self.first_byte_at: Instant | None = None
        self.ended_at: Instant | None = None
        self._observe = observe
        self._bytes_before = 0
        self._generation = 0
        self._is_suspect = False
        self._received: list[bytes] = []
        self._received_bytes = 0
        self._content_held = False
        self._upload_scope: trio.CancelScope | None = None
        self._upload_error: Exception | None = None

    def __repr__(self) -> str:
        where = self.connection.endpoint if self.connection else self.target.first_tier[0].origin
        return f"<Attempt {self.number} at {where}, {self.phase.value}>"

    # --- the way of an attempt ---------------------------------------------------------------

    async def advance(self) -> Outcome:
        """Goes on until there is something to decide about."""
        try:
            if self.connection is None:
                if not await self._lease():
                    return self._fail(Verdict.REFUSED)
                await self._send()
            if self.head is None:
                self.head = await self._final_head()
            if self.request.is_whole_wanted:
                await self._read_whole()
            return Answered(self.head)
        except InterruptedReceive:
            return self._take_news()
        except Exception as exc:
            return self._explain(exc)

    async def _lease(self) -> bool:
        target = self.target
        engine = target.engine
        max_idle = None if self.request.facts.is_idempotent else MAX_IDLE_NOT_RESENDABLE
        connection = None
        for url in target.first_tier:
            connection = engine.pool.try_lease(target.key(url.origin), self.tried, max_idle)
            if connection is not None:
                self.reused = connection.exchanges > 0
                break
        if connection is None:
            self.reach = Reach(target, self.number, self._observe)
            connection = await self.reach.connection(self.tried)
            if connection is None:
                return False
        self.connection = connection
        self.tried.add(connection.endpoint)
        self._generation = engine.health.generation(connection.endpoint)
        self._bytes_before = connection.transport.bytes_sent
        if self._observe is not None:
            self._tell_connected(connection)
        return True

    async def _send(self) -> None:
        connection, request = self._leased, self.request
        self.phase = Phase.SENDING
        fields = self._wire_fields(connection.origin)
        head = connection.http.request_head(
            request.method, self._request_target(connection), fields
        )
        self.entry = Outstanding(
            connection.transport,
            self.started_at if self.reused else trio.current_time(),
            self.target.spec.response_timeout,
            self.number,
            self._observe,
        )
        self.target.engine.watch.add(self.entry)
        small = request.content.small
        if small is not None:
            data = head
            if small:
                if await self._expects_continue(connection, head):
                    data = b""
                if not self._content_held:
                    data += connection.http.content_bytes(small)
            if not self._content_held:
                await connection.send(data + connection.http.end_of_request())
            self._note_sent(head)
        else:
            if not await self._expects_continue(connection, head):
                await connection.send(head)
            self._start_upload(head)

    async def _final_head(self) -> Head:
        http = self._leased.http
        while True:
            head = await http.read_head()
            if self.first_byte_at is None:
                self.first_byte_at = trio.current_time()
                self.phase = Phase.RECEIVING
            if head.status >= 200:
                self._tell_head(head)
                return head
            if self._observe is not None:
                self._observe(
                    events.InterimReceived(
                        trio.current_time(), self.number, head.status, head.fields
                    )
                )

    async def _read_whole(self) -> None:
        while data := await self._leased.http.read_content():
            self._received_bytes += len(data)
            if self._received_bytes > self.request.max_content:
                raise ContentLimitPassed
            self._received.append(data)

    @property
    def content(self) -> bytes:
        """The whole content, where it was wanted whole."""
        return b"".join(self._received)

    async def read_chunk(self) -> bytes:
        """Returns the next piece of content as it comes, empty at the end.

        A suspicion is borne here: the caller has seen part of the answer, and no other server can
        take over. Raises what `explain_break` then makes a failure of.
        """
        while True:
            try:
                return await self._leased.http.read_content()
            except InterruptedReceive:
                outcome = self._take_news()
                if isinstance(outcome, Failed):
                    raise BrokenOff(outcome) from None
            except Exception as exc:
                raise BrokenOff(self._explain(exc)) from exc

    # --- sending -----------------------------------------------------------------------------

    def _wire_fields(self, origin: Origin) -> Fields:
        """Host first, and a length or chunked where the request bears content."""
        fields = self.request.fields
        names = {name.lower() for name, _ in fields}
        if b"host" not in names:
            fields = ((b"Host", origin.authority.encode("ascii")), *fields)
        content = self.request.content
        if b"content-length" in names or b"transfer-encoding" in names:
            return fields
        if content.length is None:
            return (*fields, (b"Transfer-Encoding", b"chunked"))
        if content.length or self.request.method in ("POST", "PUT", "PATCH"):
            # RFC 9110, section 8.6: a method that means content announces it even when empty.
            return (*fields, (b"Content-Length", b"%d" % content.length))
        return fields

    def _request_target(self, connection: Connection) -> str:
        request = self.request
        if request.is_target_whole:
            target = request.target
        else:
            target = self.target.prefixes[connection.origin] + request.target
        # RFC 9112, section 3.2.2: a proxy is told the whole URL.
        return f"{connection.origin}{target}" if connection.is_absolute_form else target

    async def _expects_continue(self, connection: Connection, head: bytes) -> bool:
        """Where the request says Expect: 100-continue, sends the head and waits for the word.

        Returns whether the head was sent. A final answer instead of the word is kept as the head.
        """
        if not any(
            name.lower() == b"expect" and value.lower() == b"100-continue"
            for name, value in self.request.fields
        ):
            return False
        await connection.send(head)
        with trio.move_on_after(EXPECT_WAIT):
            try:
                answer = await connection.http.read_head()
            except InterruptedReceive:
                return True  # the news is still on the entry; the next wait will bring it
            if answer.status >= 200:
                self.first_byte_at = trio.current_time()
                self.head = answer
                self._content_held = True
                self._tell_head(answer)
        return True

    def _start_upload(self, head: bytes) -> None:
        """Long content goes out in a task of its own, so that an early answer is seen."""
        if self._content_held:
            self._note_sent(head)
            return
        self._upload_scope = trio.CancelScope()
        self.target.engine.nursery.start_soon(self._upload, head, self._upload_scope)

    async def _upload(self, head: bytes, scope: trio.CancelScope) -> None:
        connection = self._leased
        with scope:
            try:
                async with aclosing(self.request.content.chunks()) as chunks:
                    async for data in chunks:
                        await connection.send(connection.http.content_bytes(data))
                if end := connection.http.end_of_request():
                    await connection.send(end)
                self._note_sent(head)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # The receiver sees the same end, and perhaps an answer that was sent before it.
                return
            except (ContentError, ValueError) as exc:
                self._upload_error = (
                    exc if isinstance(exc, ContentError) else ContentError(str(exc))
                )
                connection.transport.interrupt()

    def _note_sent(self, head: bytes) -> None:
        self.sent_at = trio.current_time()
        if self.phase is Phase.SENDING:
            self.phase = Phase.WAITING
        if self._observe is not None:
            connection = self._leased
            self._observe(
                events.RequestSent(
                    self.sent_at, self.number, connection.endpoint, head, self.bytes_sent
                )
            )

    # --- news and ends -----------------------------------------------------------------------

    def _take_news(self) -> Outcome:
        """What the watch, or the upload, woke the receiver for."""
        entry = self.entry
        assert entry is not None
        if self._upload_error is not None:
            return self._fail(Verdict.FAILED, str(self._upload_error), error=self._upload_error)
        if entry.dead is not None:
            return self._fail(Verdict.DEAD, evidence=entry.dead)
        if entry.is_overdue:
            return self._fail(
                Verdict.SLOW, f"silent for {self.target.spec.response_timeout:g} s, and alive"
            )
        if entry.suspicion is not None:
            self._is_suspect = True
            return Suspicion(entry.suspicion)
        self._is_suspect = False
        return ClearedUp()

    def _explain(self, exc: Exception) -> Failed:
        """Turns what the connection raised into the attempt's end."""
        if isinstance(exc, trio.BrokenResourceError | trio.ClosedResourceError):
            return self._fail(Verdict.CLOSED, _cause(exc), evidence=_kernel_evidence(exc))
        if isinstance(exc, ConnectionLost):
            return self._fail(Verdict.CLOSED, str(exc))
        if isinstance(exc, Garbled):
            return self._fail(Verdict.GARBLED, str(exc))
        # What is left is the request's own fault (a field that cannot be sent) or a bug.
        return self._fail(Verdict.FAILED, str(exc), error=exc)

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
        self.abandon(verdict, detail, evidence)
        return Failed(failure, error)

    @property
    def bytes_sent(self) -> int:
        """Of this request, handed to the kernel."""
        if self.connection is None:
            return 0
        return self.connection.transport.bytes_sent - self._bytes_before

    @property
    def _leased(self) -> Connection:
        assert self.connection is not None
        return self.connection

    async def finish(self) -> None:
        """The answer is whole: the connection goes back to the pool if it may serve again."""
        connection, engine = self._leased, self.target.engine
        self._leave_watch()
        self._close_record(Verdict.ANSWERED)
        engine.health.report_success(connection.endpoint, trio.current_time(), self._generation)
        if self._upload_scope is not None:
            # An answer that came before all of the request: what is left of it is not wanted.
            self._upload_scope.cancel()
        is_reusable = False
        try:
            is_reusable = await connection.make_ready_again()
        finally:
            engine.pool.release(connection, is_reusable)

    def abandon(
        self, verdict: Verdict, detail: str = "", evidence: Evidence | None = None
    ) -> None:
        """The attempt is over and its connection with it. Harmless when it was over already."""
        if self.record is not None:
            return
        self._leave_watch()
        self._close_record(verdict, detail, evidence)
        if self._upload_scope is not None:
            self._upload_scope.cancel()
        if self.connection is not None:
            engine, connection = self.target.engine, self.connection
            connection.close()
            if verdict is Verdict.DEAD:
                engine.pool.retire_endpoint(connection.key, connection.endpoint, connection)
            engine.pool.release(connection, False)
            if verdict is Verdict.DEAD or (verdict is Verdict.CLOSED and not self.reused):
                # A reused connection may have been closed for its age; that is no fault.
                engine.health.report_failure(
                    connection.endpoint, trio.current_time(), self._generation
                )

    def _leave_watch(self) -> None:
        if self.entry is not None:
            self.target.engine.watch.remove(self.entry)

    def _close_record(
        self, verdict: Verdict, detail: str = "", evidence: Evidence | None = None
    ) -> None:
        now = self.ended_at = trio.current_time()
        connection, reach = self.connection, self.reach
        if connection is None and reach is not None:
            self.phase = reach.phase
        if verdict is Verdict.ANSWERED:
            self.phase = Phase.DONE
        self.record = AttemptRecord(
            number=self.number,
            origin=connection.origin if connection else self.target.first_tier[0].origin,
            endpoint=connection.endpoint if connection else None,
            phase=self.phase,
            verdict=verdict,
            started_at=self.started_at,
            ended_at=now,
            detail=detail,
            evidence=evidence,
            status=self.head.status if self.head else None,
            reused=self.reused,
            bytes_sent=self.bytes_sent,
            resolved_at=reach.resolved_at if reach else None,
            connected_at=connection.connected_at if connection and not self.reused else None,
            usable_at=connection.usable_at if connection and not self.reused else None,
            sent_at=self.sent_at,
            first_byte_at=self.first_byte_at,
            local=connection.transport.local if connection else None,
            connection_attempts=tuple(reach.attempts) if reach else (),
        )
        if self._observe is not None:
            self._observe(events.AttemptEnded(now, self.number, self.record))

    # --- telling -----------------------------------------------------------------------------

    def _tell_connected(self, connection: Connection) -> None:
        from haclient.net.tls import describe_tls

        assert self._observe is not None
        self._observe(
            events.Connected(
                trio.current_time(),
                self.number,
                connection.origin,
                connection.endpoint,
                connection.transport.local,
                self.reused,
                "" if connection.is_plain else describe_tls(connection.stream),
            )
        )

    def _tell_head(self, head: Head) -> None:
        if self._observe is not None:
            self._observe(
                events.ResponseStarted(
                    trio.current_time(),
                    self.number,
                    self._leased.endpoint,
                    head.status,
                    head.reason,
                    head.http_version,
                    head.fields,
                )
            )


class BrokenOff(Exception):  # noqa: N818  (carries an outcome to the reader of the content)
    """The content broke off."""

    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome.failure.verdict.value)
        self.outcome = outcome


def _cause(exc: BaseException) -> str:
    """The system's own words, where trio wrapped them."""
    cause = exc.__cause__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(exc) or "the connection broke"


def _kernel_evidence(exc: BaseException) -> Evidence | None:
    """What the kernel itself gave up for."""
    cause = exc.__cause__
    if isinstance(cause, TimeoutError):
        return Evidence(EvidenceKind.TIMED_OUT, 0, 0.0)
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return Evidence(EvidenceKind.RESET, 0, 0.0)
    if isinstance(cause, OSError):
        return Evidence(EvidenceKind.UNREACHABLE, 0, 0.0)
    return None
