"""HTTP/1.1 as the two ends of a corpus case read it: the whole so far, by the grammar and by nothing else.

The server and the client beside the proxy under test use this. It shares no line with haclient or h11: a
mistake that a reader makes must not hide the same one in what is read. It is slow and simple, looks at
all bytes again each time, and takes no liberties where two readers might take lines, fields or framing
differently: that is Ambiguous, and a proxy that passes such a thing on has failed (RFC 9112, sections
2.2, 5.1, 5.2, 6.1 and 6.3, 7.1). What is merely invalid (a missing Host, a status of two digits) is
read, for the case to say that it should not have come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Ambiguous", "Message", "read_head", "read_request", "read_response"]

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
REQUEST_LINE = re.compile(rb"(%b) ([^\x00-\x20\x7f]+) HTTP/([0-9]\.[0-9])" % TOKEN)
STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{1,4})(?: ([^\x00\r\n]*))?")
FIELD = re.compile(rb"([^\x00-\x20:\x7f]+):[\t ]*([^\x00\r\n]*)")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[\t ]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")


class Ambiguous(Exception):
    """Another reader may take these bytes for something else; the message says which."""


@dataclass(frozen=True)
class Message:
    """A message that is whole, but for one whose end is the connection's and has not come.

    Attributes:
        first: method and target, or status and reason.
        size: bytes of it.
    """

    first: tuple[bytes, bytes]
    version: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes = b""
    size: int = 0
    trailers: tuple[tuple[bytes, bytes], ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        """Of the fields so called, in small letters."""
        return [value for key, value in self.fields if key.lower() == name]


def read_head(data: bytes, first: re.Pattern[bytes]) -> Message | None:
    """The head that `data` begins with; None where it is not whole.

    Raises:
        Ambiguous
    """
    lines, size = _lines(data)
    if not lines:
        return None
    found = first.fullmatch(lines[0])
    if found is None:
        raise Ambiguous(f"a first line that is none: {lines[0][:60]!r}")
    groups = found.groups(b"")
    if first is STATUS_LINE:
        groups = (groups[1], groups[2], groups[0])
    return Message((groups[0], groups[1]), groups[2], _fields(lines[1:]), size=size)


def _lines(data: bytes) -> tuple[list[bytes], int]:
    """Up to the empty line, and how many bytes that is; none where it has not come."""
    lines: list[bytes] = []
    at = 0
    while True:
        end = data.find(b"\n", at)
        line = data[at : end if end >= 0 else None]
        if b"\r" in line[:-1] or b"\0" in line:
            raise Ambiguous(f"a bare CR or a NUL: {line[:60]!r}")
        if end < 0:
            return [], 0
        if not line.endswith(b"\r"):
            raise Ambiguous(f"a line that ends in LF alone: {line[:60]!r}")
        at = end + 1
        if line == b"\r":
            if not lines:
                raise Ambiguous("an empty line in place of a head")
            return lines, at
        lines.append(line[:-1])


def _fields(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    found = []
    for line in lines:
        field = FIELD.fullmatch(line)
        if field is None:
            raise Ambiguous(f"a field line that is none: {line[:60]!r}")
        found.append((field[1], field[2].rstrip(b"\t ")))
    return tuple(found)


def _framing(head: Message) -> int | str | None:
    """A length, "chunked", or None."""
    lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Ambiguous("more than one length or coding")
    if codings:
        if codings[0].lower() != b"chunked" or head.version == b"1.0":
            raise Ambiguous(f"Transfer-Encoding: {codings[0]!r} in HTTP/{head.version.decode()}")
        return "chunked"
    if not lengths:
        return None
    if re.fullmatch(rb"[0-9]+", lengths[0]) is None:
        raise Ambiguous(f"Content-Length: {lengths[0]!r}")
    return int(lengths[0])


def _whole(data: bytes, head: Message, framing: int | str) -> Message | None:
    if framing == "chunked":
        return _chunked(data, head)
    assert isinstance(framing, int)
    end = head.size + framing
    if len(data) < end:
        return None
    return Message(head.first, head.version, head.fields, data[head.size : end], end)


def _chunked(data: bytes, head: Message) -> Message | None:
    content, at = b"", head.size
    while True:
        end = data.find(b"\n", at)
        if end < 0:
            return None
        size = CHUNK_SIZE.fullmatch(data[at : end - 1])
        if size is None or data[end - 1 : end] != b"\r":
            raise Ambiguous(f"a chunk's first line that is none: {data[at : end + 1][:60]!r}")
        at, length = end + 1, int(size[1], 16)
        if not length:
            break
        behind = data[at + length : at + length + 2]
        if not b"\r\n".startswith(behind):
            raise Ambiguous(f"behind a chunk: {behind!r}")
        if len(behind) < 2:
            return None
        content += data[at : at + length]
        at += length + 2
    if data[at : at + 2] == b"\r\n":
        return Message(head.first, head.version, head.fields, content, at + 2)
    lines, size_of_trailers = _lines(data[at:])
    if not lines:
        return None
    end = at + size_of_trailers
    return Message(head.first, head.version, head.fields, content, end, _fields(lines))


def read_request(data: bytes) -> Message | None:
    """The request that `data` begins with; None where it is not whole.

    Raises:
        Ambiguous
    """
    head = read_head(data, REQUEST_LINE)
    if head is None:
        return None
    hosts = head.values(b"host")
    if len(hosts) > 1:
        raise Ambiguous(f"more than one Host: {hosts}")
    return _whole(data, head, _framing(head) or 0)


def read_response(data: bytes, method: str, *, is_end: bool) -> Message | None:
    """The response that `data` begins with; None where it is not whole.

    Args:
        data: interim answers are not skipped.
        method: of the request.
        is_end: nothing comes behind `data`, and the connection ended in good order.

    Raises:
        Ambiguous
    """
    head = read_head(data, STATUS_LINE)
    if head is None:
        return None
    status = int(head.first[0])
    framing = _framing(head)
    if method == "HEAD" or 100 <= status < 200 or status in (204, 304):
        return _whole(data, head, 0)
    if framing is not None:
        return _whole(data, head, framing)
    return _whole(data, head, len(data) - head.size) if is_end else None
