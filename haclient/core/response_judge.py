"""A server's response head, judged: how its content is framed, and whether the connection goes on.

The naive answer asks the parser. h11 drops a Content-Length that came twice, prefers chunked where both
are there, takes chunked from an HTTP/1.0 server and any version, and lets control bytes stand in
values; each of these is a head that another reader takes for something else, and what one of them holds
for content is to the other the next user's answer ("response splitting", RFC 9112, section 11.1).

So the rule is the requests' one (core.request_head): one length or chunked, never both, never two; a
connection whose answer is anything else is closed, and what it said reaches nobody (section 6.3).

Lenient where nobody can be misled: any version that begins with 1., a reason phrase of any kind or
none, a length where there can be no content (HEAD, 204, 304, section 6.3) or in an interim answer.
"""

from __future__ import annotations

import re
from itertools import chain

import msgspec

from haclient.core.framing import LENGTH, VALUE_BYTES
from haclient.types import Fields

__all__ = ["CHUNKED", "NO_CONTENT", "UNTIL_CLOSE", "Judged", "judge_response"]

CHUNKED, UNTIL_CLOSE = -1, -2
"""In place of the bytes of content, where they are not counted."""

NO_CONTENT = frozenset({204, 304})
"""Whatever their fields say (RFC 9112, section 6.3)."""

_VERSION = re.compile(rb"1\.[0-9]")
_LENGTH = re.compile(LENGTH)


class Judged(msgspec.Struct, frozen=True):
    """The decision.

    Attributes:
        length: bytes of content that follow the head, CHUNKED, or UNTIL_CLOSE.
        is_persistent: whether the connection may serve again behind it.
    """

    length: int
    is_persistent: bool


def judge_response(
    method: str, status: int, http_version: bytes, reason: bytes, fields: Fields
) -> Judged | str:
    """The one decision on a response head; or in words what is wrong with it.

    Args:
        method: of the request: the answer to HEAD has no content.
        status: as read, like the rest.
        http_version: "1.1" without the "HTTP/" before it.
        reason: may be empty.
        fields: the names are tokens, and there are no blanks around the values.
    """
    if _VERSION.fullmatch(http_version) is None:
        return f"HTTP/{http_version.decode('latin-1')} is not spoken here"
    left = b"".join(chain((reason,), chain.from_iterable(fields))).translate(None, VALUE_BYTES)
    if left:
        return f"the control character {left[:1]!r} in the head (RFC 9110, section 5.5)"
    length = coding = None
    is_persistent = http_version != b"1.0"
    for name, value in fields:
        lowered = name.lower()
        if lowered == b"content-length":
            if length is not None:
                return "more than one Content-Length field"
            length = value
        elif lowered == b"transfer-encoding":
            if coding is not None:
                return "more than one Transfer-Encoding field"
            coding = value
        elif lowered == b"connection":
            is_persistent = is_persistent and b"close" not in _options(value)
    framed = _framing(length, coding, http_version)
    if isinstance(framed, str):
        return framed
    if status < 200 or status in NO_CONTENT or method == "HEAD":
        framed = 0
    return Judged(framed, is_persistent and framed != UNTIL_CLOSE)


def _framing(length: bytes | None, coding: bytes | None, http_version: bytes) -> int | str:
    if coding is not None:
        if length is not None:
            return "both Content-Length and Transfer-Encoding (RFC 9112, section 6.1)"
        if http_version == b"1.0":
            return "Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1)"
        if coding.lower() != b"chunked":
            return f"the transfer coding {coding[:40]!r} is not understood"
        return CHUNKED
    if length is None:
        return UNTIL_CLOSE
    if _LENGTH.fullmatch(length) is None:
        return f"Content-Length is no number of bytes: {length[:40]!r}"
    return int(length)


def _options(value: bytes) -> list[bytes]:
    return [each.strip(b"\t ") for each in value.lower().split(b",")]
