"""A request and its answer on one connection: what is said, what is heard, and when.

Here is one step after another, each of them short, and nothing to decide: what an interruption or an
exception means for the exchange is the attempt's to say (haclient.engine.attempt). After an interruption every
step may be called again and goes on where it stood; the connection stays open all the while.

While the request is outstanding the watch looks after it, until the end of its answer, or until the connection
is switched to another protocol, whose silence means nothing here.
"""

from __future__ import annotations

from contextlib import nullcontext

import trio

from haclient import events
from haclient.engine import recording
from haclient.engine.holding import Holding
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import CallerFailed, Request
from haclient.engine.sending import Sending
from haclient.errors import ContentTooLargeError
from haclient.net.connection import Connection
from haclient.net.http1 import Head
from haclient.net.watch import Outstanding
from haclient.types import Fields, Instant, Phase, Verdict

__all__ = ["Talk"]


class Talk(Holding):
    """One attempt's.

    Attributes:
        head: of the final answer, once it is here.
        trailers: behind its content, once that was read to its end.
        entry: the watch's; None until something is sent.
        sending: the request's way out; as `entry`.
    """

    __slots__ = (
        "_number",
        "_observe",
        "_received",
        "_request",
        "entry",
        "head",
        "sending",
        "trailers",
    )

    def __init__(
        self,
        target: LiveTarget,
        connection: Connection,
        request: Request,
        number: int,
        observe: events.Observer | None,
    ) -> None:
        super().__init__(target, connection)
        self._request = request
        self._number = number
        self._observe = observe
        self.entry: Outstanding | None = None
        self.sending: Sending | None = None
        self.head: Head | None = None
        self.trailers: Fields = ()
        # Not a list of pieces: a server may send them two bytes at a time.
        self._received = bytearray()

    async def begin(self, since: Instant) -> None:
        """Hands the request to the kernel, or starts to; it is outstanding since then."""
        connection, request, target = self.connection, self._request, self.target
        self.phase = Phase.SENDING
        prefix = "" if request.is_target_whole else target.prefixes[connection.origin]
        sending = self.sending = Sending(connection, request, prefix)
        standby = target.standby
        self.entry = (
            standby.entry if standby is not None and request.facts.is_idempotent else Outstanding
        )(connection.transport, since, target.spec.response_timeout, self._number, self._observe)
        engine = target.engine
        engine.watch.add(self.entry)
        await sending.start(engine.nursery, self._note_sent, self._note_interim)
        if sending.early_head is not None:
            self._note_head(sending.early_head)

    async def read_head(self) -> Head:
        """Returns the head of the final answer."""
        http = self.connection.http
        while self.head is None:
            head = await http.read_head()
            if head.status >= 200:
                self._note_head(head)
            elif head.status == 101:
                self._note_switch(head)
            else:
                await self._note_interim(head)
        return self.head

    async def read_whole(self) -> None:
        """Reads the content to its end, into `content`.

        Raises:
            ContentTooLargeError: it is larger than the request allows.
        """
        while data := await self.read_content():
            if len(self._received) + len(data) > self._request.max_content:
                raise ContentTooLargeError(
                    f"the response's content is larger than {self._request.max_content} bytes: "
                    "stream it instead of reading it whole"
                )
            self._received += data

    async def read_content(self) -> bytes:
        """Returns the next piece of content as it comes, empty at the end."""
        http = self.connection.http
        data = await http.read_content()
        if not data:
            # The connection's own are gone as soon as it is made ready for another exchange.
            self.trailers = http.trailers
        return data

    @property
    def content(self) -> bytes:
        """The whole content, where it was wanted whole."""
        return bytes(self._received)

    @property
    def status(self) -> int | None:
        """Of the final answer, once its head is here."""
        return self.head.status if self.head is not None else None

    def what_is_too_late(self) -> str:
        """What has lasted longer than the back-stop; empty where nothing has."""
        entry, limit = self.entry, self.target.spec.response_timeout
        assert entry is not None
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

    def stop_sending(self) -> None:
        """What is left of the request is not wanted any more; its answer may be."""
        if self.sending is not None:
            self.sending.stop()

    def end(self, verdict: Verdict) -> None:
        """As Holding.end; nobody watches it any more."""
        super().end(verdict)
        if self.entry is not None:
            self.target.engine.watch.remove(self.entry)
        if self.sending is not None:
            # An answer may come before all of the request.
            self.sending.stop()

    # --- what is noted on the way ----------------------------------------------------------------

    def _note_sent(self) -> None:
        """The last byte of the request was handed to the kernel."""
        if self.is_over:
            return  # the upload ended in the very moment in which it was stopped
        now = self.sent_at = trio.current_time()
        if self.phase is Phase.SENDING:
            self.phase = Phase.WAITING
        if self._observe is not None:
            assert self.sending is not None
            head, endpoint = self.sending.head.data, self.connection.endpoint
            self._observe(events.RequestSent(now, self._number, endpoint, head, self.bytes_sent))

    def _note_head(self, head: Head) -> None:
        now = self.first_byte_at = trio.current_time()
        self.head = head
        assert self.entry is not None
        self.entry.is_answered = True
        self.phase = Phase.RECEIVING
        if self.target.checks is not None:
            self.target.checks.heard(self.connection.endpoint)
        if self._observe is not None:
            self._observe(recording.response_started(now, self._number, self.connection, head))

    def _note_switch(self, head: Head) -> None:
        """What follows is another protocol's: no silence of it means anything here."""
        self._note_head(head)
        assert self.entry is not None
        self.target.engine.watch.remove(self.entry)
        self.connection.transport.forget_interrupt()

    async def _note_interim(self, head: Head) -> None:
        if self._observe is not None:
            self._observe(recording.interim_received(self._number, head))
        tell, turn = self._request.on_interim, self._request.turn
        if tell is None or head.status == 100:
            return
        try:
            async with turn or nullcontext():
                await tell(head)
        except Exception as exc:
            raise CallerFailed from exc
