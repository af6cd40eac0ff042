"""HTTP/1.1 on one connection, seen from the client: h11 behind two narrow seams.

`read a head` and `relay content` are all that the rest of haclient knows of the wire. h11 is strict
and slow (about 100 us an exchange); a faster reader of the canonical form can stand here one day,
with h11 as its judge, and nothing else would change.

Content of a known length does not go through h11: it would be copied twice (166 ns/KiB in pieces of
64 KiB, 430 in pieces of 16; counted here, 9 and 34). The bytes are the stream's own, and the next
exchange gets an h11 of its own: a fresh one costs 1 us, less than to tell the old one of the end.

What h11 leaves to its user and is done here: a bound on interim answers; 101 only where it was
asked for; an end of the connection told apart from garbage; and a check that nothing unread is
left behind before the connection serves again.
"""

from __future__ import annotations

import functools
import re

import h11
import msgspec
import trio

from haclient.core.framing import Framing, RequestHead, write_field_lines
from haclient.core.head_pattern import read_response
from haclient.net import InterruptedReceive, Transport
from haclient.types import Fields

__all__ = ["ConnectionLost", "Endless", "Garbled", "Head", "Http1"]

MAX_HEAD_BYTES = 65536
"""Of a response head, and of any line within chunked content. nginx 8 KiB by default, HAProxy
16 KiB, curl 300 KiB; servers that set many cookies pass the smaller ones."""

MAX_INTERIM_HEADS = 32
"""1xx answers before the final one; a server needs one or two, an endless row is an attack."""

RECEIVE_BYTES = 65536


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


NO_CONTENT = frozenset({204, 304})
"""Whatever their fields say (RFC 9112, section 6.3)."""

NOT_COUNTED, AT_END = -1, -2
"""In place of the bytes of content that are left: h11 reads it; it was read to its end."""

END = h11.EndOfMessage()

TOO_LONG = 431
"""What h11 would answer to a head that passes its limit (RFC 6585, section 5)."""

_BYTEARRAY = re.compile(r"bytearray\((.*)\)", re.DOTALL)
"""How h11 shows what it could not read; the bytes alone say it to a person."""


@functools.lru_cache(maxsize=64)
def _stand_in(method: str, is_close: bool, is_upgrade: bool) -> h11.Request:
    """What h11 is told of a request: what the reading of its answer depends on, and no more.

    The head itself is written by core.framing. The method decides whether the answer has content,
    "close" whether the connection may go on, "upgrade" whether 101 is an answer.
    """
    fields = [("Host", "stand-in")]
    if is_close:
        fields.append(("Connection", "close"))
    if is_upgrade:
        fields += [("Connection", "upgrade"), ("Upgrade", "stand-in")]
    return h11.Request(method=method, target="/", headers=fields)


class Http1:
    """The state of one connection, one exchange after another."""

    __slots__ = (
        "_asked",
        "_early",
        "_framing",
        "_h11",
        "_has_eof",
        "_interim_seen",
        "_is_request_whole",
        "_left",
        "_method",
        "_stream",
        "_unread",
        "trailers",
    )

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._h11: h11.Connection | None = None
        self._asked = ("", False, False)
        self._early = b""
        self._unread = NOT_COUNTED
        self._method = ""
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
        self._method = head.method
        self._asked = head.method, head.is_close, is_upgrade

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

    async def read_head(self) -> Head:
        """Returns the next head, interim ones (1xx) included, and 101 where it was asked for.

        May be called again after InterruptedReceive: nothing is lost.

        Raises:
            ConnectionLost: the connection ended first.
            Garbled: not HTTP/1.1; Endless: too long a head, or more than 32 interim answers.
            InterruptedReceive: the watch has news.
        """
        if self._h11 is None and (plain := await self._read_plain()) is not None:
            return plain
        http = self._use_h11()
        event = await self._next_event(http)
        if isinstance(event, h11.Response):
            self._unread = _length_of(event, self._method)
            if self._unread >= 0:
                self._early = bytes(http.trailing_data[0])
            return _head(event)
        if isinstance(event, h11.InformationalResponse):
            self._interim_seen += 1
            if self._interim_seen > MAX_INTERIM_HEADS:
                raise Endless(f"more than {MAX_INTERIM_HEADS} interim responses")
            if event.status_code == 101 and not self._is_request_whole:
                raise Garbled("101 Switching Protocols before the request was whole")
            return _head(event)
        raise Garbled(f"a response head was due, not {type(event).__name__}")

    async def _read_plain(self) -> Head | None:
        """The head in its common form, at the first read; None where h11 has to be asked.

        A request that asked for the connection's end, or for another protocol, is none of the
        common ones.
        """
        if not self._early:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
            self._has_eof = not data
            self._early = data
        method, is_close, is_upgrade = self._asked
        if is_close or is_upgrade:
            return None
        plain = read_response(self._early, method)
        if plain is None:
            return None
        self._early = self._early[plain.size :]
        self._unread = plain.length
        return Head(plain.status, plain.reason, b"1.1", plain.fields)

    def _use_h11(self) -> h11.Connection:
        """From here on this answer is h11's to read: what came in already, and what follows."""
        if self._h11 is None:
            self._h11 = http = _new_h11()
            http.send(_stand_in(*self._asked))
            http.send(END)
            if self._early or self._has_eof:
                http.receive_data(self._early)
            self._early = b""
        return self._h11

    @property
    def has_content_at_hand(self) -> bool:
        """Whether `read_content` returns without waiting: the end, or what came with the head."""
        if self._unread != NOT_COUNTED:
            return self._unread <= 0 or bool(self._early)
        return self._h11 is not None and bool(self._h11.trailing_data[0])

    async def read_content(self) -> bytes:
        """Returns the next piece of content, empty at its end.

        Raises:
            As `read_head`.
        """
        if self._unread != NOT_COUNTED:
            return await self._read_counted()
        event = await self._next_event(self._use_h11())
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self.trailers = tuple(event.headers.raw_items())
            return b""
        raise Garbled(f"content was due, not {type(event).__name__}")

    async def _read_counted(self) -> bytes:
        left = self._unread
        if left <= 0:
            self._unread = AT_END
            return b""
        data, self._early = (
            self._early or bytes(await self._stream.receive_some(RECEIVE_BYTES)),
            b"",
        )
        if not data:
            self._has_eof = True
            raise ConnectionLost("the server closed the connection")
        if len(data) > left:
            # What is behind belongs to nobody: the connection does not serve again.
            data, self._early = data[:left], data[left:]
        self._unread = left - len(data)
        return data

    async def _next_event(self, http: h11.Connection) -> h11.Event:
        while True:
            is_head_due = http.their_state is h11.SEND_RESPONSE
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as exc:
                if self._has_eof and not (is_head_due and _is_no_http(http)):
                    raise ConnectionLost("the server closed the connection") from exc
                if exc.error_status_hint == TOO_LONG:
                    what = "head" if is_head_due else "line within the content"
                    raise Endless(f"a {what} of more than {MAX_HEAD_BYTES} bytes") from exc
                raise Garbled(_BYTEARRAY.sub(r"\1", str(exc))) from exc
            if event is h11.NEED_DATA:
                data = await self._stream.receive_some(RECEIVE_BYTES)
                self._has_eof = not data
                http.receive_data(bytes(data))
            elif isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                raise ConnectionLost("the server closed the connection")
            else:
                assert isinstance(event, h11.Event)
                return event

    def leftover(self) -> bytes:
        """What was read past the head of a 101 answer: the first bytes of the other protocol."""
        return bytes(self._use_h11().trailing_data[0])

    @property
    def is_content_complete(self) -> bool:
        """Whether all that the head announced, byte by byte, went through `content_bytes`."""
        return self._framing is Framing.COUNTED and self._left == 0

    @property
    def is_content_due(self) -> bool:
        """Whether the response has more to say."""
        if self._unread != NOT_COUNTED:
            return self._unread != AT_END
        return self._h11 is not None and self._h11.their_state is h11.SEND_BODY

    def start_next(self) -> bool:
        """Makes ready for the next exchange; False where the connection must be closed.

        True only from the clean end state: both messages whole, neither side asked to close, not a
        byte left over.
        """
        http = self._h11
        if not self._is_request_whole or self._has_eof:
            return False
        if http is not None and http.our_state is not h11.DONE:
            return False
        if self._unread == AT_END:
            if self._early:
                return False
            self._unread = NOT_COUNTED
        elif http is None or http.their_state is not h11.DONE or http.trailing_data[0]:
            return False
        self._h11 = None
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


def _is_no_http(http: h11.Connection) -> bool:
    """Whether what came in place of a head begins as none does ("SSH-2.0-...")."""
    return not b"HTTP/".startswith(bytes(http.trailing_data[0][:5]))


def _new_h11() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)


def _length_of(event: h11.Response, method: str) -> int:
    """Bytes of content where that is known beforehand, else NOT_COUNTED (RFC 9112, section 6.3).

    h11 has refused what is malformed or contradicts itself.
    """
    if method == "HEAD" or event.status_code in NO_CONTENT:
        return 0
    length = NOT_COUNTED
    for name, value in event.headers:
        if name == b"transfer-encoding":
            return NOT_COUNTED
        if name == b"content-length":
            length = int(value)
    return length


def _head(event: h11.Response | h11.InformationalResponse) -> Head:
    return Head(
        event.status_code, event.reason, event.http_version, tuple(event.headers.raw_items())
    )
