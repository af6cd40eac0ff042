"""HTTP/1.1 on one connection, seen from the client: whole heads in, content as it comes.

The naive way feeds an h11 connection whatever comes in and asks it for events: slow (100 us an
exchange, content copied twice), and past what h11 is lenient about before anybody can look. Here a
head is cut out whole first, at the one terminator that RFC 9112 allows, then read: in its common form
by core.head_pattern, else by h11, and judged by core.response_judge. Content is counted, core.chunked
reads it, or the connection's end ends it; the bytes are the stream's own.

What h11 leaves to its user and is done here: lines end in CRLF and nothing else (a recipient may be
strict there, section 2.2), and are not folded (section 5.2); interim answers are bounded; 101 only
where it was asked for; whoever does not begin with "HTTP/" is not waited for; and a connection that
has anything unread behind an answer does not serve again. How long a head may take the watch knows.

This is a file of the hot path: what is unread of an answer is one number, and those below zero stand for
what is not counted.
"""

from __future__ import annotations

import re

import h11
import msgspec
import trio

from haclient.core.chunked import Chunked
from haclient.core.connection_auth import CHALLENGES, is_challenged
from haclient.core.framing import Framing, RequestHead, write_field_lines
from haclient.core.head_pattern import PlainResponse, fields_of, read_response
from haclient.core.response_judge import CHUNKED, UNTIL_CLOSE, judge_response
from haclient.net import InterruptedReceive, Transport
from haclient.types import Fields

__all__ = ["ConnectionLost", "Endless", "Garbled", "Head", "Http1"]

MAX_HEAD_BYTES = 65536
"""Of a response head. nginx 8 KiB by default, HAProxy 16 KiB, curl 300 KiB; servers that set many
cookies pass the smaller ones."""

MAX_INTERIM_HEADS = 32
"""1xx answers before the final one; a server needs one or two, an endless row is an attack."""

RECEIVE_BYTES = 65536

START = b"HTTP/"


class ConnectionLost(Exception):
    """The connection ended, in order or not, before the message did."""


class Garbled(Exception):
    """What came in is not HTTP/1.1; the message says where."""


class Endless(Garbled):
    """It began as HTTP/1.1, and went on for longer than anybody should listen."""


class Head(msgspec.Struct, frozen=True):
    """The head of a response (RFC 9112, section 2.1)."""

    status: int
    reason: bytes
    http_version: bytes
    fields: Fields


NO_ANSWER, AT_END, SWITCHED = -10, -11, -12
"""In place of the bytes of content that are left, beside CHUNKED and UNTIL_CLOSE: the head has not come;
all was read; what comes is another protocol's."""

# From the client's side, and the client has asked for everything that a server may grant.
_STAND_IN = h11.Request(
    method="GET",
    target="/",
    headers=[("Host", "stand-in"), ("Connection", "upgrade"), ("Upgrade", "stand-in")],
)

_STOP = re.compile(rb"(\r\n\r\n)|\n(?<!\r\n)|\r(?=[^\n])|\n(?=[\t ])")
"""The end of a head, or what makes it none: a bare LF, a bare CR, a folded line."""

_BYTEARRAY = re.compile(r"bytearray\((.*)\)", re.DOTALL)
"""How h11 shows what it could not read; the bytes alone say it to a person."""


class Http1:
    """The state of one connection, one exchange after another."""

    __slots__ = (
        "_chunked",
        "_early",
        "_framing",
        "_has_eof",
        "_interim_seen",
        "_is_last",
        "_is_persistent",
        "_is_request_whole",
        "_is_upgrade",
        "_left",
        "_method",
        "_ready",
        "_scanned",
        "_stream",
        "_unread",
        "trailers",
    )

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        # Of the request: it says how its answer is to be read.
        self._method = ""
        self._is_last = False
        self._is_upgrade = False
        # What came and was not taken yet; how much of it has been looked at for a head's end.
        self._early = b""
        self._scanned = 0
        self._unread = NO_ANSWER
        self._chunked = Chunked()
        self._ready = b""
        self._is_persistent = False
        self._has_eof = False
        self._interim_seen = 0
        self._framing = Framing.NONE
        self._left = 0
        self._is_request_whole = False
        self.trailers: Fields = ()

    def begin(self, head: RequestHead, *, is_upgrade: bool = False) -> None:
        """The request goes out with `head`; what follows is framed as it announced.

        With `is_upgrade` 101 is a final answer: what follows it is no HTTP, see `leftover`.
        """
        self._framing = head.framing
        self._left = head.length
        self._is_request_whole = False
        self._method, self._is_last, self._is_upgrade = head.method, head.is_last, is_upgrade

    def content_bytes(self, data: bytes) -> bytes:
        """Returns a piece of content as it goes on the wire (RFC 9112, sections 6.2 and 7.1).

        Raises:
            ValueError: more than the head announced.
        """
        if self._framing is Framing.CHUNKED:
            # An empty chunk is the last one: what came behind it would be taken for a request.
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"{-self._left} bytes more of content than its Content-Length says")
        return data

    def end_of_request(self, trailers: Fields = ()) -> bytes:
        """Returns what ends the request; trailer fields only chunked content can have.

        Raises:
            ValueError: less than the head announced, or a trailer field not fit for the wire.
        """
        if self._framing is Framing.CHUNKED:
            end = b"0\r\n%b\r\n" % write_field_lines(trailers)
            self._is_request_whole = True
            return end
        if self._left:
            raise ValueError(f"{self._left} bytes less of content than its Content-Length says")
        self._is_request_whole = True
        return b""

    # --- a head ------------------------------------------------------------------------------

    async def read_head(self) -> Head:
        """Returns the next head, interim ones (1xx) included, and 101 where it was asked for.

        May be called again after InterruptedReceive: nothing is lost.

        Raises:
            ConnectionLost: the connection ended first.
            Garbled: not HTTP/1.1; Endless: too long a head, or more than 32 interim answers.
            InterruptedReceive: the watch has news.
        """
        if not self._early:
            self._early = await self._receive()
        if not self._scanned and (plain := read_response(self._early, self._method)) is not None:
            # The common form, come at once: not looked at a second time.
            return self._take(plain)
        while (head := self._buffered_head()) is None:
            self._early += await self._receive()
        return head

    def _take(self, plain: PlainResponse) -> Head:
        self._drop(plain.size)
        head = Head(plain.status, plain.reason, b"1.1", plain.fields)
        self._begin_content(head, plain.length, True)
        return head

    def _drop(self, size: int) -> None:
        """So many bytes were a head."""
        self._early = self._early[size:]
        self._scanned = 0

    def _buffered_head(self) -> Head | None:
        """The next head, if it is here whole."""
        early = self._early
        if not early.startswith(START[: len(early)]):
            raise Garbled(f"no HTTP: {early[:40]!r}")
        found = _STOP.search(early, max(self._scanned - 3, 0), MAX_HEAD_BYTES)
        if found is None:
            if len(early) >= MAX_HEAD_BYTES:
                raise Endless(f"a head of more than {MAX_HEAD_BYTES} bytes")
            self._scanned = len(early)
            return None
        if found[1] is None:
            raise Garbled("a line of the head does not end in CRLF, or is folded")
        size = found.end()
        plain = read_response(early, self._method)
        return self._take(plain) if plain is not None else self._judge(early[:size])

    def _judge(self, data: bytes) -> Head:
        """A head that is not in the common form; it stays where it is if it is refused."""
        head = _by_h11(data)
        judged = judge_response(
            self._method, head.status, head.http_version, head.reason, head.fields
        )
        if isinstance(judged, str):
            raise Garbled(judged)
        if head.status < 200:
            self._check_interim(head.status)
        self._drop(len(data))
        if head.status >= 200:
            self._begin_content(head, judged.length, judged.is_persistent)
        elif head.status == 101:
            self._unread = SWITCHED
        return head

    def _check_interim(self, status: int) -> None:
        self._interim_seen += 1
        if self._interim_seen > MAX_INTERIM_HEADS:
            raise Endless(f"more than {MAX_INTERIM_HEADS} interim responses")
        if status == 101 and not self._is_upgrade:
            raise Garbled("101 Switching Protocols, which was not asked for")
        if status == 101 and not self._is_request_whole:
            raise Garbled("101 Switching Protocols before the request was whole")

    async def _receive(self) -> bytes:
        data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        if not data:
            self._has_eof = True
            raise ConnectionLost("the server closed the connection")
        return data

    # --- content -----------------------------------------------------------------------------

    def _begin_content(self, head: Head, length: int, is_persistent: bool) -> None:
        self._unread = length
        self._is_persistent = is_persistent and not self._is_last
        if head.status in CHALLENGES and is_challenged(head.status, head.fields):
            self._is_persistent = False
        if length == CHUNKED:
            self._chunked = Chunked()
            self._ready, self._early = self._chunked.feed(self._early), b""

    @property
    def has_content_at_hand(self) -> bool:
        """Whether `read_content` returns without waiting: the end, or what came with the head."""
        if self._unread == CHUNKED:
            return bool(self._ready) or self._chunked.is_whole
        return bool(self._early) or self._unread in (0, AT_END)

    async def read_content(self) -> bytes:
        """Returns the next piece of content, empty at its end.

        Raises:
            As `read_head`.
        """
        unread = self._unread
        if unread > 0:
            return await self._read_counted(unread)
        if unread == CHUNKED:
            return await self._read_chunked()
        if unread == UNTIL_CLOSE:
            return await self._read_until_close()
        assert unread in (0, AT_END), "no answer has begun"
        self._unread = AT_END
        return b""

    async def _read_counted(self, left: int) -> bytes:
        data, self._early = self._early or await self._receive(), b""
        if len(data) > left:
            # What is behind belongs to nobody: the connection does not serve again.
            data, self._early = data[:left], data[left:]
        self._unread = left - len(data)
        return data

    async def _read_chunked(self) -> bytes:
        chunked = self._chunked
        while not (data := self._ready):
            if chunked.is_whole:
                self.trailers = chunked.trailers
                self._early = chunked.rest
                self._unread = AT_END
                return b""
            if chunked.error:
                raise (Endless if chunked.is_endless else Garbled)(chunked.error)
            self._ready = chunked.feed(await self._receive())
        self._ready = b""
        return data

    async def _read_until_close(self) -> bytes:
        data, self._early = self._early, b""
        if not data:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
            if not data:
                self._has_eof = True
                self._unread = AT_END
        return data

    # --- behind it ---------------------------------------------------------------------------

    def leftover(self) -> bytes:
        """What was read past the head of a 101 answer: the first bytes of the other protocol."""
        return self._early

    def start_next(self) -> bool:
        """Makes ready for the next exchange; False where the connection must be closed.

        True only from the clean end state: both messages whole, neither side asked to close, not a
        byte left over.
        """
        if not (self._is_request_whole and self._is_persistent) or self._has_eof:
            return False
        if self._unread != AT_END or self._early:
            return False
        self._unread = NO_ANSWER
        self._interim_seen = 0
        self.trailers = ()
        return True

    async def has_leftovers(self, transport: Transport) -> bool:
        """Whether decrypted bytes are left in the TLS layer, where no poll can see them.

        Late session tickets (RFC 8446, section 4.6.1) are read and taken in on the way.
        """
        transport.interrupt()
        try:
            await self._stream.receive_some(1)
        except InterruptedReceive:
            return False
        return True


def _by_h11(data: bytes) -> Head:
    """A whole head, whose lines end as they should; what it says is not judged yet.

    Raises:
        Garbled: its lines are no status line and fields.
    """
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    http.send(_STAND_IN)
    http.send(h11.EndOfMessage())
    http.receive_data(data)
    try:
        event = http.next_event()
    except h11.RemoteProtocolError as exc:
        raise Garbled(_BYTEARRAY.sub(r"\1", str(exc))) from exc
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    return Head(event.status_code, event.reason, event.http_version, fields_of(data))
