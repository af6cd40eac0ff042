"""Chunked content (RFC 9112, section 7.1), read strictly, in whatever pieces it comes.

The naive reader takes what comes before the first LF, hands its beginning to int() and drops the rest.
So it takes "+5", skips any two bytes behind a chunk, and reads an extension for as long as somebody
sends one; and wherever two readers differ in such a thing, one of them can be made to see a request
where the other sees content ("request smuggling", section 11.2). h11 is stricter, but lets bare CR and
NUL stand in extensions, and bounds neither them nor trailers in all.

Here a line ends in CRLF, a size is 1 to 16 hexadecimal digits, what stands behind it has the form of
extensions or is an error, and all extensions and all trailers of a message are bounded. Extensions are
dropped (section 7.1.1): they mean something to one hop only, and nobody has agreed on any.

`feed` takes what has come and returns the content in it. Then one of three holds: more is due,
`is_whole`, or there is an `error`. What is said depends on the bytes alone, never on how they were cut:
a line is judged when its end is here, or when no end within its limit can come any more.

This is a file of the hot path: one loop, in which a plain chunk takes one pattern and one copy.

Left out: blanks behind a size, with which some servers pad it ("5  "). The grammar has none there.
"""

from __future__ import annotations

import enum
import re

from haclient.core.framing import TOKEN, VALUE
from haclient.types import Fields

__all__ = ["MAX_EXTENSION_BYTES", "MAX_TRAILERS", "MAX_TRAILER_BYTES", "Chunked"]

MAX_EXTENSION_BYTES = 16384
"""Of one message. Go bounds them since CVE-2023-39326; without a bound, a client has a server read a
gigabyte of them for no content at all."""

MAX_TRAILER_BYTES = 16384
"""Of one message, line ends included; HAProxy's and Apache's limits for whole heads are about that."""

MAX_TRAILERS = 100
"""Fields of a trailer section; as many as a head may have."""

SIZE_DIGITS = 16
"""As many as an unsigned integer of 64 bits has; more are refused even if they are zeros."""

CRLF = b"\r\n"

LAST = b"0\r\n\r\n"
"""How nearly all chunked content ends."""

_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")

_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
# RFC 9112, section 7.1.1: blanks around ";" and "=" are bad, and must be taken.
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[\t ]*+;[\t ]*+%b(?:[\t ]*+=[\t ]*+(?:%b|%b))?)*+)"
    % (TOKEN, TOKEN, _QUOTED)
)

_LINE = re.compile(rb"([^\r\n]*+)(?:(\r\n)|\n|\r[^\n])")
"""A line as far as its end; or as far as what is no end of a line, though some take it for one."""

_NAME = re.compile(TOKEN)
_VALUE = re.compile(VALUE)


class Due(enum.Enum):
    """What the next byte belongs to."""

    SIZE = "the line with a chunk's size"
    DATA = "a chunk's data"
    END = "the CRLF behind a chunk's data"
    TRAILER = "a line of the trailer section"
    NOTHING = "no part of this message"


SIZE, DATA, END, TRAILER, NOTHING = Due


class Chunked:
    """One message's content.

    Attributes:
        error: what is wrong with it; empty while nothing is. Nothing more is read then.
        is_endless: what is wrong is that a bound was passed.
        trailers: once it is whole.
        rest: what came behind it.
    """

    __slots__ = (
        "_due",
        "_extension_left",
        "_fields",
        "_held",
        "_left",
        "_trailer_left",
        "error",
        "is_endless",
        "rest",
        "trailers",
    )

    def __init__(self) -> None:
        self._due = SIZE
        self._held = b""
        self._left = 0
        self._extension_left = MAX_EXTENSION_BYTES
        self._trailer_left = MAX_TRAILER_BYTES
        self._fields: list[tuple[bytes, bytes]] = []
        self.error = ""
        self.is_endless = False
        self.trailers: Fields = ()
        self.rest = b""

    def __repr__(self) -> str:
        return f"<Chunked, {self.error or self._due.value} is next>"

    @property
    def is_whole(self) -> bool:
        """Whether it was read to its end."""
        return self._due is NOTHING and not self.error

    def feed(self, data: bytes) -> bytes:
        """Takes in what has come; returns the content in it, which may be empty.

        Content that came before an error is returned, as it would be had it come alone.
        """
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            due = self._due
            if due is SIZE:
                plain = _PLAIN_SIZE.match(data, at)
                size = int(plain[1], 16) if plain is not None else 0
                if plain is None or not size:
                    at = self._read_size(data, at)
                    continue
                at = plain.end()
                if data.startswith(CRLF, at + size):
                    pieces.append(data[at : at + size])
                    at += size + 2
                    continue
                self._due, self._left = DATA, size
            elif due is DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._due = END
            elif due is END:
                at = self._read_end(data, at)
            elif due is TRAILER:
                at = self._read_trailer(data, at)
            else:
                self.rest = data[at:]
                break
        return b"".join(pieces)

    def _read_size(self, data: bytes, at: int) -> int:
        """A size with extensions, the last one, or part of one; returns where to go on."""
        if data.startswith(LAST, at):
            self._due = NOTHING
            return at + len(LAST)
        line = self._line(data, at, SIZE_DIGITS + self._extension_left, "chunk extensions")
        if line is None:
            return len(data)
        found = _SIZE_LINE.fullmatch(line)
        if found is None:
            return self._fail(f"{line[:40]!r} is no chunk size (RFC 9112, section 7.1)", data)
        self._extension_left -= len(found[2])
        if self._extension_left < 0:
            return self._pass_bound(
                f"more than {MAX_EXTENSION_BYTES} bytes of chunk extensions", data
            )
        self._left = int(found[1], 16)
        self._due = DATA if self._left else TRAILER
        return at + len(line) + 2

    def _read_end(self, data: bytes, at: int) -> int:
        if data.startswith(CRLF, at):
            self._due = SIZE
            return at + 2
        if data[at:] == b"\r":
            self._held = b"\r"
            return at + 1
        return self._fail("a chunk is longer than it says (RFC 9112, section 7.1)", data)

    def _read_trailer(self, data: bytes, at: int) -> int:
        line = self._line(data, at, self._trailer_left - 2, "trailers")
        if line is None:
            return len(data)
        self._trailer_left -= len(line) + 2
        if not line:
            self.trailers = tuple(self._fields)
            self._due = NOTHING
            return at + 2
        name, colon, value = line.partition(b":")
        value = value.strip(b"\t ")
        if not colon or not _NAME.fullmatch(name) or (value and not _VALUE.fullmatch(value)):
            return self._fail(f"{line[:40]!r} is no trailer field (RFC 9112, section 7.1.2)", data)
        if len(self._fields) == MAX_TRAILERS:
            return self._pass_bound(f"more than {MAX_TRAILERS} trailer fields", data)
        self._fields.append((name, value))
        return at + len(line) + 2

    def _line(self, data: bytes, at: int, limit: int, what: str) -> bytes | None:
        """The line that begins at `at`, without its end; None where it is not whole, or is none."""
        stop = at + limit + 2
        found = _LINE.match(data, at, stop)
        if found is None:
            if len(data) >= stop:
                self._pass_bound(f"too many bytes of {what}", data)
            else:
                self._held = data[at:]
            return None
        if found[2] is None:
            self._fail("a line in chunked content that does not end in CRLF", data)
            return None
        return found[1]

    def _fail(self, error: str, data: bytes) -> int:
        """Nothing that follows is read."""
        self.error = error
        self._due = NOTHING
        return len(data)

    def _pass_bound(self, error: str, data: bytes) -> int:
        self.is_endless = True
        return self._fail(error, data)
