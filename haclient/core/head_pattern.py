"""A head in the form that nearly every peer writes, read by one pattern; every other one is h11's.

h11 reads a head in some thirty calls, each of which looks at one thing: 24 us for a request with eight
fields, and it is done twice for each request that crosses the sidecar. Most heads are in one form:
CRLF, one blank behind each colon, no empty value, and one Content-Length, or chunked, or neither.
Those are read here, in 5 us, by one pattern over the whole. Whatever differs in anything is not read at
all: None, and h11 is asked. So nothing is accepted that h11 would not accept, and it means the same
(tests/core/test_head_pattern.py holds the two against each other).

This is a file of the hot path: two functions with few names are quicker than many small ones.
"""

from __future__ import annotations

import re

import msgspec

from haclient.core.framing import LENGTH, TOKEN, VALUE
from haclient.core.response_judge import CHUNKED, NO_CONTENT, UNTIL_CLOSE
from haclient.types import Fields

__all__ = ["PlainResponse", "fields_of", "read_request", "read_response"]

_FIELDS = rb"((?:%b: %b\r\n)+)\r\n" % (TOKEN, VALUE)

_REQUEST = re.compile(rb"(%b) ([!-~]+) HTTP/(1\.[01])\r\n%b" % (TOKEN, _FIELDS))
_RESPONSE = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2}) ([ -~]*)\r\n%b" % _FIELDS)

# Within a block that the patterns above have taken whole.
_FIELD = re.compile(rb"([^:]+): ([^\r]+)\r\n")

_LENGTH = re.compile(LENGTH)


def read_request(head: bytes) -> tuple[bytes, bytes, bytes, Fields] | None:
    """Method, target, version ("1.1") and fields of a whole head; None for one that h11 must read.

    Never None but for the form: what a request means is judged elsewhere.
    """
    match = _REQUEST.fullmatch(head)
    if match is None:
        return None
    method, target, version, block = match.groups()
    lowered = b"\n" + block.lower()
    if b"\ntransfer-encoding:" in lowered and not _is_chunked(lowered):
        return None
    if lowered.count(b"\ncontent-length:") > 1:
        return None
    return method, target, version, tuple(_FIELD.findall(block))


class PlainResponse(msgspec.Struct, frozen=True):
    """A final response's head; its content is counted or chunked, or there is none.

    Attributes:
        size: bytes of the head.
        length: bytes of content that follow it, or CHUNKED.
    """

    status: int
    reason: bytes
    fields: Fields
    size: int
    length: int


def read_response(data: bytes | bytearray, method: str) -> PlainResponse | None:
    """The head at the beginning of `data`; None for one that h11 must read, or is not whole.

    Args:
        data: what has come in.
        method: of the request: the answer to HEAD has no content.
    """
    match = _RESPONSE.match(data)
    if match is None:
        return None
    code, reason, block = match.groups()
    lowered = b"\n" + block.lower()
    if b"\nupgrade:" in lowered:
        return None
    if b"\nconnection:" in lowered and b"\nconnection: keep-alive\r" not in lowered:
        return None
    if lowered.count(b"\nconnection:") > 1:
        return None
    fields = tuple(_FIELD.findall(block))
    status = int(code)
    length = _length(lowered)
    if length is None:
        return None
    if method == "HEAD" or status in NO_CONTENT:
        length = 0
    elif length == UNTIL_CLOSE:
        return None
    return PlainResponse(status, reason, fields, match.end(), length)


def _length(lowered: bytes) -> int | None:
    """Bytes of content, CHUNKED, or UNTIL_CLOSE; None where it is not said plainly."""
    if b"\ntransfer-encoding:" in lowered:
        return CHUNKED if _is_chunked(lowered) else None
    at = lowered.find(b"\ncontent-length: ")
    if at < 0:
        return UNTIL_CLOSE
    if lowered.find(b"\ncontent-length: ", at + 1) >= 0:
        return None
    end = lowered.index(b"\r", at)
    value = lowered[at + 17 : end]
    return int(value) if _LENGTH.fullmatch(value) is not None else None


def _is_chunked(lowered: bytes) -> bool:
    """Whether it says "chunked", once, and nothing else that frames."""
    return (
        b"\ntransfer-encoding: chunked\r" in lowered
        and lowered.count(b"\ntransfer-encoding:") == 1
        and b"\ncontent-length:" not in lowered
    )


def fields_of(head: bytes) -> Fields:
    """The fields of a whole head that h11 has read, as they came.

    h11 itself gives a length once that came twice, and codings in small letters; whoever judges a head
    is to see what stands there.

    Args:
        head: its lines end in CRLF, and none is folded.
    """
    lines = [line.partition(b":") for line in head[:-4].split(b"\r\n")[1:]]
    return tuple((name, value.strip(b"\t ")) for name, _, value in lines)
