"""The head of a request as bytes, and the one decision on how its content is framed.

h11 would write it, at a third of what a whole small exchange may cost: it normalises and checks
each field by itself. Here the lines are put together first and checked at once, by one pattern
over the whole head and a count of its lines, so that nothing a caller gives can begin a line of its
own (RFC 9112, sections 2.2 and 5; "request splitting"). tests/core/test_framing.py holds it
against h11 on generated heads: what passes here h11 reads back as the same request, field for
field.

Framing (RFC 9112, section 6): the caller's own Content-Length or Transfer-Encoding stands if it is
single and well formed, never both; otherwise a known length is counted and an unknown one chunked.
"""

from __future__ import annotations

import enum
import re

import msgspec

from haclient.core.connection_auth import CREDENTIALS, is_of_connection
from haclient.types import Fields

__all__ = ["Framing", "RequestHead", "write_field_lines", "write_request_head"]

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110, section 5.6.2."""

VALUE = rb"[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?"
"""RFC 9110, section 5.5: visible characters and obs-text, with blanks between, none around."""

VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
"""The same byte by byte, for `bytes.translate` to take out: what remains may not stand in a value."""

LENGTH = rb"[0-9]{1,18}"
"""RFC 9110, section 8.6, bounded: no content has more, and it is an integer of 64 bits."""

_WHOLE = re.compile(rb"%b [!-~]+ HTTP/1\.1\r\n(?:%b:(?: %b)?\r\n)*\r\n" % (TOKEN, TOKEN, VALUE))
_FIELD_LINES = re.compile(rb"(?:%b:(?: %b)?\r\n)*" % (TOKEN, VALUE))
_FIELD_NAME = re.compile(TOKEN)
_FIELD_VALUE = re.compile(VALUE)
_METHOD = re.compile(TOKEN)
_TARGET = re.compile(rb"[!-~]+")
_LENGTH = re.compile(LENGTH)

METHODS_WITH_CONTENT = frozenset({"POST", "PUT", "PATCH"})


class Framing(enum.Enum):
    """How the end of the content is told."""

    NONE = "no content"
    COUNTED = "Content-Length"
    CHUNKED = "chunked"


class RequestHead(msgspec.Struct, frozen=True):
    """A head ready for the wire, and what the rest of the exchange needs to know of it.

    `length` is the bytes of content announced, where the framing is COUNTED.
    """

    data: bytes
    method: str
    framing: Framing
    length: int
    is_last: bool
    """Whether no other may follow on its connection: it asks for its end, or it logs in on it."""
    expects_continue: bool


def write_request_head(
    method: str, target: str, fields: Fields, authority: str, length: int | None
) -> RequestHead:
    """Puts a head together; Host first where it is missing, the rest in order, letter case kept.

    Args:
        method: a token, case-sensitive (RFC 9110, section 9.1).
        target: the request target in whatever form the next hop wants (RFC 9112, section 3.2).
        fields: the caller's.
        authority: the Host field's value where the caller gave none.
        length: bytes of content; 0 for none, None where it is not known beforehand.

    Raises:
        ValueError: something cannot be put on the wire; the message says what.
    """
    framing, is_last, expects_continue, has_host = None, False, False, False
    lines = [b"%b %b HTTP/1.1" % (_ascii(method, "method"), _ascii(target, "request target"))]
    for name, value in fields:
        lowered = name.lower()
        if lowered in SPECIAL:
            if lowered == b"host":
                if has_host:
                    raise ValueError("two Host fields (RFC 9110, section 7.2, allows one)")
                has_host = True
            elif lowered == b"connection":
                is_last = is_last or b"close" in value.lower()
            elif lowered in CREDENTIALS:
                is_last = is_last or is_of_connection(value)
            elif lowered == b"expect":
                expects_continue = value.lower() == b"100-continue"
            else:
                framing, length = _framing_field(lowered, value, framing, length)
        lines.append(b"%b: %b" % (name, value) if value else name + b":")
    if not has_host:
        lines.insert(1, b"Host: " + authority.encode("ascii"))
    if framing is None:
        framing = _own_framing(method, length, lines)
    lines += (b"", b"")
    data = b"\r\n".join(lines)
    if _WHOLE.fullmatch(data) is None or data.count(b"\n") != len(lines) - 1:
        raise ValueError(_culprit(method, target, fields))
    return RequestHead(data, method, framing, length or 0, is_last, expects_continue)


def write_field_lines(fields: Fields) -> bytes:
    """The lines of a trailer section (RFC 9112, section 7.1.2), in order, letter case kept.

    Raises:
        ValueError: a field cannot be put on the wire; the message says which.
    """
    lines = [b"%b: %b\r\n" % (name, value) if value else name + b":\r\n" for name, value in fields]
    data = b"".join(lines)
    if _FIELD_LINES.fullmatch(data) is None or data.count(b"\n") != len(lines):
        raise ValueError(_culprit_of(fields))
    return data


SPECIAL = CREDENTIALS | {b"host", b"connection", b"expect", b"content-length", b"transfer-encoding"}


def _own_framing(method: str, length: int | None, lines: list[bytes]) -> Framing:
    if length is None:
        lines.append(b"Transfer-Encoding: chunked")
        return Framing.CHUNKED
    if length or method in METHODS_WITH_CONTENT:
        # RFC 9110, section 8.6: a method that means content announces it even when empty.
        lines.append(b"Content-Length: %d" % length)
        return Framing.COUNTED
    return Framing.NONE


def _framing_field(
    lowered: bytes, value: bytes, framing: Framing | None, length: int | None
) -> tuple[Framing, int | None]:
    """The caller's own framing field, which must be the only one."""
    if framing is not None:
        raise ValueError("more than one Content-Length or Transfer-Encoding field")
    if lowered == b"transfer-encoding":
        if value.lower() != b"chunked":
            raise ValueError(f"Transfer-Encoding can only be chunked, not {value!r}")
        return Framing.CHUNKED, None
    if _LENGTH.fullmatch(value) is None:
        raise ValueError(f"Content-Length must be a number of bytes, not {value!r}")
    if length is not None and length != int(value):
        raise ValueError(f"Content-Length says {int(value)} bytes, and the content has {length}")
    return Framing.COUNTED, int(value)


def _ascii(text: str, what: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise ValueError(f"the {what} {text!r} has a character that is not ASCII") from None


def _culprit(method: str, target: str, fields: Fields) -> str:
    """Which part is not fit for the wire."""
    if _METHOD.fullmatch(method.encode()) is None:
        return f"the method {method!r} is not a token (RFC 9110, section 9.1)"
    if _TARGET.fullmatch(target.encode()) is None:
        return f"the request target {target!r} has a blank or a control character"
    return _culprit_of(fields) or "the Host field's own value is not fit for the wire"


def _culprit_of(fields: Fields) -> str:
    """Which field is not fit for the wire; empty where all are."""
    for name, value in fields:
        if _FIELD_NAME.fullmatch(name) is None:
            return f"the field name {name!r} is not a token (RFC 9110, section 5.1)"
        if value and _FIELD_VALUE.fullmatch(value) is None:
            return f"the value of {name.decode()} has a control character, or a blank around it"
    return ""
