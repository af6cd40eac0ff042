"""What of a message's fields crosses the sidecar, and what is put in their place.

The naive answer removes eight names. Connection names more of them (RFC 9110, section 7.6.1), and a
client may name there what is not his to take away: with "Connection: X-Forwarded-For" it once
removed what proxies had added (CVE-2022-31813). So what Connection names goes first, our own comes
afterwards, and what frames, routes or authorises a message, or says what its content is, cannot be
named away at all.

Everything else keeps its order and its letter case. Framing is written anew in the place where it
stood, so that what goes out carries exactly one of Content-Length and Transfer-Encoding, and a
server never sees a length in any spelling but digits (RFC 9112, section 6).

`request_fields` and `response_fields` run for every request (2 us each); the usual field costs one
look into a set.

Left out: TE, so no server is asked for trailers, though those that come are passed on; Max-Forwards;
and 426's Upgrade field.
"""

from __future__ import annotations

import enum
import re

import msgspec

from haclient.core.framing import LENGTH, TOKEN, VALUE
from haclient.core.names import ip_literal
from haclient.core.request_head import RequestLine
from haclient.types import Fields

__all__ = [
    "ResponseEnd",
    "ResponseFraming",
    "forwarded_value",
    "request_fields",
    "request_id_of",
    "response_fields",
    "response_framing",
    "trailer_fields",
]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"upgrade",
        b"http2-settings",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"proxy-authentication-info",
    }
)
"""RFC 9110, sections 7.6.1, 7.8 and 11.7; RFC 7540, section 3.2.1."""

FRAMING = frozenset({b"content-length", b"transfer-encoding"})

END_TO_END = FRAMING | {
    b"host",
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"etag",
    b"expect",
    b"idempotency-key",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"range",
    b"set-cookie",
    b"vary",
    b"www-authenticate",
}
"""Stays even if Connection names it: without it the message would mean something else."""

UPGRADING = frozenset({b"connection", b"upgrade"})
"""Put back for a protocol that is switched to, and named by Connection then."""

NAMES_NOTHING_ELSE = frozenset({b"keep-alive", b"Keep-Alive"})
"""Connection, as most servers write it: what it names goes anyway."""

RESPONSE_LOOKED_AT = HOP_BY_HOP | FRAMING
LOOKED_AT = HOP_BY_HOP | FRAMING | {b"host", b"expect", b"x-request-id", b"traceparent"}
"""Of a request; every other field passes, unless Connection names it."""

NOT_IN_TRAILERS = (
    HOP_BY_HOP
    | END_TO_END
    | {
        b"age",
        b"expires",
        b"max-forwards",
        b"pragma",
        b"retry-after",
        b"trailer",
        b"warning",
    }
)
"""What frames, routes, modifies, authorises or describes cannot come late (RFC 9110, 6.5.1)."""

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")

# W3C Trace Context, section 3.2: version 00 as it is, later ones with what they may append.
_PARENT = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rb"00%b|(?!00|ff)[0-9a-f]{2}%b(?:-.*)?" % (_PARENT, _PARENT))

_LENGTH = re.compile(LENGTH)
_NAME = re.compile(TOKEN)
_VALUE = re.compile(VALUE)

# --- requests ------------------------------------------------------------------------------------


def request_fields(
    line: RequestLine,
    fields: Fields,
    *,
    preserve_host: bool,
    via: bytes | None = None,
    forwarded: bytes | None = None,
    request_id: bytes | None = None,
    traceparent: bytes | None = None,
) -> Fields:
    """The fields as they go to a server.

    Args:
        line: the judgement on the head whose `fields` these are.
        fields: as read.
        preserve_host: whether Host goes along, that of the target where the two differ; without it
            whoever writes the head puts the next hop's there.
        via: "1.1 haclient"; added behind the client's own, as is `forwarded`.
        forwarded: as `forwarded_value` gives it.
        request_id: X-Request-Id, where the client sent none that is well-formed.
        traceparent: where the client sent none that is well-formed; his tracestate goes with his.
    """
    special, named = LOOKED_AT, line.connection_options
    if named:
        named = named - END_TO_END
        special = special | named
    kept: list[tuple[bytes, bytes]] = []
    passed: set[bytes] = set()
    for name, field in zip(line.names, fields, strict=True):
        if name not in special:
            kept.append(field)
        elif name not in passed and (name not in named or name in UPGRADING):
            value = _rewritten(line, name, field[1], preserve_host)
            if value is not None:
                passed.add(name)
                kept.append((field[0], value))
    if preserve_host and line.authority and b"host" not in passed:
        kept.insert(0, (b"Host", line.authority))  # HTTP/1.0, its target in absolute-form
    if b"tracestate" in line.names and b"traceparent" not in passed:
        kept = [each for each in kept if each[0].lower() != b"tracestate"]
    if via is not None:
        kept.append((b"Via", via))
    if forwarded is not None:
        kept.append((b"Forwarded", forwarded))
    if request_id is not None and b"x-request-id" not in passed:
        kept.append((b"X-Request-Id", request_id))
    if traceparent is not None and b"traceparent" not in passed:
        kept.append((b"traceparent", traceparent))
    return tuple(kept)


def request_id_of(fields: Fields) -> str:
    """The X-Request-Id that the client sent; empty where it sent none that is well-formed."""
    for name, value in fields:
        if name.lower() == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    return ""


def _rewritten(line: RequestLine, name: bytes, value: bytes, preserve_host: bool) -> bytes | None:
    """The value that goes out in this one's place; None for none."""
    match name:
        case b"host":
            return line.authority if preserve_host else None
        case b"connection":
            return None if line.upgrade is None else b"Upgrade"
        case b"upgrade":
            return line.upgrade
        case b"content-length":
            return b"%d" % line.length if line.length is not None else None
        case b"transfer-encoding":
            return b"chunked"
        case b"expect":
            return b"100-continue" if line.expects_continue else None
        case b"x-request-id":
            return value if _REQUEST_ID.fullmatch(value) else None
        case b"traceparent":
            return value if _TRACEPARENT.fullmatch(value) else None
        case _:
            return None


def forwarded_value(client_address: str, host: bytes, proto: str) -> bytes:
    """Forwarded's value for one client (RFC 7239, section 4).

    Args:
        client_address: an IP literal without brackets; empty for a Unix socket.
        host: as `judge` found it; may be empty.
        proto: "http" or "https".
    """
    address = client_address.partition("%")[0]
    literal = ip_literal(address) if address else None
    if literal is None:
        node = b"unknown"
    else:
        node = b'"[%b]"' % literal.encode() if ":" in literal else literal.encode()
    if not host:
        return b"for=%b;proto=%b" % (node, proto.encode())
    shown = host if _NAME.fullmatch(host) else b'"%b"' % host
    return b"for=%b;host=%b;proto=%b" % (node, shown, proto.encode())


# --- responses -----------------------------------------------------------------------------------


class ResponseEnd(enum.Enum):
    """How the client is told where the content ends."""

    NONE = "no content"
    COUNTED = "Content-Length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "the end of the connection"


class ResponseFraming(msgspec.Struct, frozen=True):
    """The one decision on a response's framing.

    `length` is the bytes of content where they are counted; and with NONE what a HEAD or 304 says
    the content would have. None elsewhere.
    """

    end: ResponseEnd
    length: int | None = None


_NO_CONTENT = ResponseFraming(ResponseEnd.NONE)
_CHUNKED = ResponseFraming(ResponseEnd.CHUNKED)
_UNTIL_CLOSE = ResponseFraming(ResponseEnd.UNTIL_CLOSE)


def response_framing(
    method: str, status: int, fields: Fields, *, client_is_http10: bool
) -> ResponseFraming:
    """Decides how a server's answer is framed for the client (RFC 9112, section 6.3).

    Raises:
        ValueError: the server's own framing is ambiguous; the message says how.
    """
    if status < 200 or status == 204:
        return _NO_CONTENT
    length = _length(fields)
    if method == "HEAD" or status == 304:
        return _NO_CONTENT if length is None else ResponseFraming(ResponseEnd.NONE, length)
    if length is not None:
        return ResponseFraming(ResponseEnd.COUNTED, length)
    return _UNTIL_CLOSE if client_is_http10 else _CHUNKED


def _length(fields: Fields) -> int | None:
    """What a server says of its content's length; None where it is chunked, or nothing is said."""
    found = None
    for field in fields:
        if field[0].lower() in FRAMING:
            if found is not None:
                raise ValueError("more than one Content-Length or Transfer-Encoding field")
            found = field
    if found is None or found[0].lower() == b"transfer-encoding":
        return None
    if _LENGTH.fullmatch(found[1]) is None:
        raise ValueError(f"Content-Length is not a number of bytes: {found[1][:40]!r}")
    return int(found[1])


def response_fields(
    status: int, fields: Fields, framing: ResponseFraming, *, via: bytes | None = None
) -> Fields:
    """The fields as they go to the client, framing included.

    Only 101 keeps Connection and Upgrade; whether it was asked for is not looked at here.

    Args:
        status: of the answer.
        fields: the server's.
        framing: what `response_framing` decided.
        via: "1.1 haclient", by the version that the server speaks.
    """
    names = [name.lower() for name, _ in fields]
    special = RESPONSE_LOOKED_AT
    if b"connection" in names and not _names_nothing_else(names, fields):
        special = special | _named(names, fields)
    kept: list[tuple[bytes, bytes]] = []
    own = _framing_field(framing)
    for name, field in zip(names, fields, strict=True):
        if name not in special:
            kept.append(field)
        elif name in FRAMING:
            if own is not None:
                kept.append((field[0], own[1]) if name == own[0].lower() else own)
                own = None
        elif status == 101 and name in UPGRADING:
            kept.append((field[0], b"Upgrade") if name == b"connection" else field)
    if own is not None:
        kept.append(own)
    if via is not None:
        kept.append((b"Via", via))
    return tuple(kept)


def _names_nothing_else(names: list[bytes], fields: Fields) -> bool:
    """Whether the one Connection field names nothing but what goes anyway."""
    at = names.index(b"connection")
    return fields[at][1] in NAMES_NOTHING_ELSE and names.count(b"connection") == 1


def _named(names: list[bytes], fields: Fields) -> frozenset[bytes]:
    """What Connection names and may take away."""
    values = [f[1].lower() for name, f in zip(names, fields, strict=True) if name == b"connection"]
    return frozenset(each.strip(b"\t ") for each in b",".join(values).split(b",")) - END_TO_END


def _framing_field(framing: ResponseFraming) -> tuple[bytes, bytes] | None:
    if framing.length is not None:
        return b"Content-Length", b"%d" % framing.length
    return (b"Transfer-Encoding", b"chunked") if framing.end is ResponseEnd.CHUNKED else None


# --- trailers ------------------------------------------------------------------------------------


def trailer_fields(fields: Fields) -> Fields:
    """What of a trailer section may pass, either way; what is malformed does not."""
    return tuple(
        (name, value)
        for name, value in fields
        if name.lower() not in NOT_IN_TRAILERS
        and _NAME.fullmatch(name) is not None
        and (not value or _VALUE.fullmatch(value) is not None)
    )
