"""One connection of a client of the soak: requests out, answers judged to the last byte.

h11 reads what comes, strictly. An answer counts as whole only if its framing says so; whether it is also
right is then known, for both ends can make its content.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import h11
import trio

from tests.bench.soak.content import PIECE_BYTES, content_of, digest
from tests.bench.soak.history import Ended, Sent

__all__ = ["Line", "Upload", "target_of"]

STUCK_AFTER = 60.0
"""Seconds: three attempts, the back-stop and a slow reader together take half of it."""

CONTINUES_AFTER = 2.0
"""Seconds for which "100 Continue" is waited for (RFC 9110, section 10.1.1: not for ever)."""

Stream = trio.SocketStream


class Upload:
    """A request's content, and the manner of sending it."""

    def __init__(
        self,
        content: bytes = b"",
        *,
        is_chunked: bool = False,
        pause: float = 0.0,
        expects: bool = False,
        ends_at: int | None = None,
    ) -> None:
        self.content = content
        self.is_chunked = is_chunked
        self.pause = pause
        self.expects = expects
        self.ends_at = ends_at
        """The client leaves once so many bytes are out."""

    @property
    def fields(self) -> list[tuple[str, str]]:
        fields = [("Expect", "100-continue")] if self.expects else []
        if self.is_chunked:
            return [*fields, ("Transfer-Encoding", "chunked")]
        if self.content:
            return [*fields, ("Content-Length", str(len(self.content)))]
        return fields


NOTHING = Upload()


def target_of(sent: Sent, think: int = 0) -> str:
    """The request target that asks a server for this answer."""
    options = f"size={sent.down_bytes}&etag={sent.etag}&framing={sent.framing}&think={think}"
    return f"/{sent.request_id}?{options}"


class Line:
    """A connection to the daemon; requests go over it one after another."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._leftover = b""
        self._http = h11.Connection(h11.CLIENT)
        self._has_eof = False
        self.may_go_on = True
        self.pause = 0.0
        """Seconds between two reads: a slow reader."""

    async def exchange(
        self,
        sent: Sent,
        fields: Sequence[tuple[str, str]] = (),
        *,
        upload: Upload = NOTHING,
        think: int = 0,
        is_old: bool = False,
        half_closes: bool = False,
    ) -> None:
        """One request and its answer; `sent` says afterwards what became of it."""
        head = self._begin(sent, [*fields, *upload.fields], think, is_old=is_old)
        with trio.move_on_after(STUCK_AFTER):
            continues = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, head, upload, continues, half_closes)
                sent.ended = await self.read_answer(sent, continues)
                nursery.cancel_scope.cancel()
        sent.ended_at = trio.current_time()
        self._finish()

    async def send_ahead(self, many: Sequence[Sent]) -> None:
        """Pipelining: all requests at once; read the answers with `next_answer`."""
        heads = [self._begin(sent, [], 0) for sent in many]
        self._leftover = b""
        await self._send_quietly(b"".join(heads))

    async def next_answer(self, sent: Sent) -> None:
        """The answer to the next of those."""
        self._begin(sent, [], 0, at=sent.began_at)
        self._http.send(h11.EndOfMessage())
        with trio.move_on_after(STUCK_AFTER):
            sent.ended = await self.read_answer(sent, trio.Event())
        sent.ended_at = trio.current_time()
        self._finish()

    # --- out ---------------------------------------------------------------------------------

    def _begin(
        self,
        sent: Sent,
        fields: Sequence[tuple[str, str]],
        think: int,
        *,
        is_old: bool = False,
        at: float | None = None,
    ) -> bytes:
        self._http = h11.Connection(h11.CLIENT)
        if self._leftover:
            self._http.receive_data(self._leftover)
            self._leftover = b""
        sent.began_at = at if at is not None else trio.current_time()
        given = [("Host", "soak.test"), ("X-Request-Id", sent.request_id), *fields]
        if sent.has_key:
            given.append(("Idempotency-Key", f'"{sent.request_id}"'))
        target = target_of(sent, think)
        data = self._http.send(h11.Request(method=sent.method, target=target, headers=given))
        assert data is not None
        return data.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", 1) if is_old else data

    async def _send(
        self, head: bytes, upload: Upload, continues: trio.Event, half_closes: bool
    ) -> None:
        if not await self._send_quietly(head):
            return
        if upload.expects:
            with trio.move_on_after(CONTINUES_AFTER):
                await continues.wait()
        content = upload.content[: upload.ends_at]
        for start in range(0, len(content), PIECE_BYTES):
            data = self._http.send(h11.Data(data=content[start : start + PIECE_BYTES]))
            if not await self._send_quietly(data):
                return
            await trio.sleep(upload.pause)
        if upload.ends_at is not None:
            return
        if not await self._send_quietly(self._http.send(h11.EndOfMessage())):
            return
        if half_closes:
            await self._stream.send_eof()

    async def _send_quietly(self, data: bytes | None) -> bool:
        """Whoever reads the answer finds out why it failed."""
        try:
            await self._stream.send_all(data or b"")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    # --- in ----------------------------------------------------------------------------------

    async def read_answer(self, sent: Sent, continues: trio.Event) -> Ended:
        """Reads one, and judges it."""
        content = bytearray()
        try:
            async with aclosing(self._events()) as events:
                async for event in events:
                    if isinstance(event, h11.Data):
                        content += event.data
                    elif self._takes_head(event, sent, continues):
                        return Ended.OK
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            sent.detail += f" [{exc!r} after {len(content)} bytes]"
            return Ended.BROKEN if sent.status else Ended.LOST
        except h11.RemoteProtocolError as exc:
            sent.detail += f" [{exc} after {len(content)} bytes]"
            if not self._has_eof:
                return Ended.WRONG
            return Ended.BROKEN if sent.status else Ended.LOST
        if not sent.status:
            return Ended.LOST
        return judge(sent, bytes(content))

    def _takes_head(self, event: object, sent: Sent, continues: trio.Event) -> bool:
        """Writes down what a head says; whether it is the last event, for a tunnel begins."""
        if not isinstance(event, h11.Response | h11.InformationalResponse):
            return False
        if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            continues.set()
            return False
        sent.status, sent.origin = event.status_code, _field(event, b"x-origin")
        sent.detail = _field(event, b"proxy-status")
        return event.status_code == 101

    async def _events(self) -> AsyncGenerator[object, None]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = bytes(await self._stream.receive_some(PIECE_BYTES))
                self._has_eof = not data
                self._http.receive_data(data)
                await trio.sleep(self.pause)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
                return
            else:
                yield event

    def _finish(self) -> None:
        http = self._http
        self._leftover = bytes(http.trailing_data[0])
        self.may_go_on = http.their_state is h11.DONE and http.our_state is h11.DONE

    # --- a tunnel ----------------------------------------------------------------------------

    async def echo(self, message: bytes) -> bool | None:
        """Whether a message comes back as it went; None where the tunnel ended."""
        self._leftover, back = b"", bytearray(self._leftover)
        if not await self._send_quietly(message):
            return None
        with trio.move_on_after(STUCK_AFTER):
            while len(back) < len(message):
                try:
                    data = await self._stream.receive_some(PIECE_BYTES)
                except trio.BrokenResourceError:
                    return None
                if not data:
                    return None
                back += data
            return bytes(back) == message
        return False

    # --- the end -----------------------------------------------------------------------------

    async def close(self, *, resets: bool = False) -> None:
        """With a FIN, or with a reset."""
        if resets:
            linger = struct.pack("ii", 1, 0)
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await trio.aclose_forcefully(self._stream)


def judge(sent: Sent, content: bytes) -> Ended:
    """What a whole answer is worth."""
    if sent.status not in {200, 206} or (sent.status == 206) != bool(sent.first_byte):
        sent.detail += f" {content[:600]!r}"
        return Ended.STATUS if sent.status >= 400 else Ended.WRONG
    whole = expected(sent)
    if content == whole:
        return Ended.OK
    if sent.framing == "close" and whole.startswith(content):
        # Its server's own FIN ended it early: no one on the way can tell (RFC 9112, section 6.3).
        return Ended.BROKEN
    sent.detail += f" [{len(content)} bytes, {digest(content)}]"
    return Ended.WRONG


def expected(sent: Sent) -> bytes:
    """The content of the right answer."""
    if sent.method == "HEAD":
        return b""
    if sent.method != "GET":
        said = f"{sent.origin} {sent.method} {sent.request_id} {sent.up_bytes} {sent.up_hash}\n"
        return said.encode()
    mixed = "" if sent.etag == "strong" else f":{sent.origin}"
    return content_of(sent.request_id + mixed, sent.down_bytes)[sent.first_byte :]


def _field(event: h11.Response | h11.InformationalResponse, name: bytes) -> str:
    return b", ".join([value for key, value in event.headers if key == name]).decode("latin-1")
