"""The head of a response as bytes, as it goes to the client.

A server's field is foreign text. One that could begin a line of its own there would split the
response in two, the second of them of the server's making ("response splitting"), and h11, which
read it, lets control characters pass. So the lines are put together first and checked at once, by
one pattern over the whole head and a count of its lines, as core.framing does with requests.

What the fields say of framing and of the connection was decided before (core.fields); here nothing
is decided. The version is always 1.1: it says what the sender speaks, whatever the client does
(RFC 9110, section 2.5).
"""

from __future__ import annotations

import re

from haclient.core.framing import TOKEN, VALUE, write_field_lines
from haclient.types import Fields

__all__ = ["write_interim_head", "write_response_head"]

_WHOLE = re.compile(
    rb"HTTP/1\.1 [1-9][0-9]{2} [\t -~\x80-\xff]*\r\n(?:%b:(?: %b)?\r\n)*\r\n" % (TOKEN, VALUE)
)


def write_response_head(
    status: int, reason: bytes, fields: Fields, *, connection: bytes | None = None
) -> bytes:
    """Puts the head of a final response together, or of 101; order and letter case are kept.

    Args:
        status: 101, or 200 to 999.
        reason: for a person; may be empty (RFC 9112, section 4).
        fields: as `core.fields.response_fields` gives them, or our own.
        connection: "close", or "keep-alive" for an HTTP/1.0 client whose connection goes on.

    Raises:
        ValueError: something cannot be put on the wire; the message says what.
    """
    if not 200 <= status <= 999 and status != 101:
        raise ValueError(f"status {status} is not that of a final response")
    if connection is not None:
        fields = (*fields, (b"Connection", connection))
    return _write(status, reason, fields)


def write_interim_head(status: int, reason: bytes, fields: Fields) -> bytes:
    """Puts the head of an interim response together: 100, 103 and their like.

    Not for an HTTP/1.0 client, which knows none (RFC 9110, section 15.2).

    Raises:
        ValueError: something cannot be put on the wire; the message says what.
    """
    if not 100 <= status < 200 or status == 101:
        raise ValueError(f"status {status} is not that of an interim response")
    return _write(status, reason, fields)


def _write(status: int, reason: bytes, fields: Fields) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (status, reason)]
    lines += [b"%b: %b" % field if field[1] else field[0] + b":" for field in fields]
    lines += (b"", b"")
    data = b"\r\n".join(lines)
    if _WHOLE.fullmatch(data) is None or data.count(b"\n") != len(lines) - 1:
        write_field_lines(fields)  # says which field it is
        raise ValueError(f"the reason {reason[:40]!r} has a control character")
    return data
