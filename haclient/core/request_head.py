"""A client's request head, judged: what it asks for and how its content is framed, or why not.

The naive answer passes on what the parser let through. Two readers of one message that differ on
where it ends or whom it is for are how one client's bytes become another one's request ("request
smuggling", RFC 9112, section 11.2), and h11 leaves half of it to its user: Host and the target may
be anything, control bytes stand in values, a length may accompany chunked content. So every head is
judged once more, here, and all that is behind acts on this one decision.

Strict where servers differ: a second Content-Length is refused even if it agrees, and so is
Transfer-Encoding in HTTP/1.0. Lenient where nobody can be misled: the target may hold characters
that RFC 3986 wants encoded, and content may come with any method.

It runs for every request, so a common head takes few calls: one `translate` over all names, one
over all values, a set look-up for each field, and a dictionary of the six that matter (4 us for
eight fields). Values are taken as a parser gives them, without the blanks around.

What a forward proxy is asked is judged here too, but for the target (core.destination).

Left out: CONNECT, for which a reverse listener has no use; Max-Forwards; and checks of any field
that neither frames nor routes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from itertools import chain

import msgspec

from haclient.core.framing import TOKEN, VALUE_BYTES, Framing
from haclient.core.loops import MOST_PASSES, times_passed
from haclient.core.names import ip_literal
from haclient.errors import ProxyStatus
from haclient.types import Fields

__all__ = ["MAX_LENGTH", "Refusal", "RequestLine", "Where", "host_of", "judge", "where_of"]

MAX_LENGTH = 10**15
"""Bytes of content, a petabyte: more is a mistake, or an attempt at somebody's integers."""

MAX_AUTHORITY = 300
"""Bytes: a name of 253 (RFC 1035, section 2.3.4) and a port fit, and few remembered ones are small."""

JUDGED = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"via"}
)
SINGLE = frozenset({b"host", b"content-length"})

NO_TUNNEL = frozenset({b"h2c", b"h2", b"http", b"tls"})
"""Never taken as an upgrade: inside one of these, requests would run past routes and logs ("h2c
smuggling"). The request is answered as if it had not asked (RFC 9110, section 7.8)."""

VERSIONS = frozenset({b"1.1", b"1.0"})

NO_CONTENT: tuple[Framing, int | None] = (Framing.NONE, 0)
CHUNKED: tuple[Framing, int | None] = (Framing.CHUNKED, None)

NO_OPTIONS: frozenset[bytes] = frozenset()
USUAL_OPTIONS = {
    word: frozenset({word.lower()}) for word in (b"keep-alive", b"Keep-Alive", b"close")
}
"""The Connection fields of nearly all requests, ready made."""

# What `bytes.translate` takes out; anything that remains does not belong there.
_TOKEN_BYTES = bytes(byte for byte in range(256) if re.fullmatch(TOKEN, bytes([byte])))

_METHOD = re.compile(TOKEN)
# Visible ASCII without "#": a fragment is the client's own (RFC 9110, section 4.2.5).
_ORIGIN_FORM = re.compile(rb'/[!"$-~]*')
_ABSOLUTE_FORM = re.compile(rb'https?://([^/?]*)(/[!"$-~]*)?(\?[!"$-~]*)?', re.IGNORECASE)
# RFC 3986, section 3.2.2, without userinfo (RFC 9110, section 4.2.4), and never empty (4.2.1); and
# without the comma, by which others would join or divide two hosts (RFC 9110, section 5.3).
_AUTHORITY = re.compile(
    rb"(?:((?:[A-Za-z0-9._~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+)|\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\])(?::([0-9]{0,5}))?"
)
_PROTOCOLS = re.compile(rb"%b(?:/%b)?(?:[\t ]*,[\t ]*%b(?:/%b)?)*" % (TOKEN, TOKEN, TOKEN, TOKEN))


class Refusal(msgspec.Struct, frozen=True):
    """The request is not served: the status to answer with, and one line that says why.

    What follows on the connection cannot be trusted: it is closed after the answer. `error` is for
    Proxy-Status, `challenge` a whole field that says which credentials would do, `host` whom it was for,
    as a RequestLine has it, where that is known.
    """

    status: int
    reason: str
    error: ProxyStatus = ProxyStatus.HTTP_REQUEST_ERROR
    challenge: bytes = b""
    host: str = ""


class RequestLine(msgspec.Struct, frozen=True):
    """What a request asks for, and all that its head decides about the connection.

    Attributes:
        target: in origin-form, as the client wrote it, whatever form it came in; or "*".
        host: for routing: lower case, no port, no brackets; empty where HTTP/1.0 named none.
        authority: the Host to forward: as sent, or that of a target in absolute-form.
        length: bytes of content; None where it is chunked.
        is_persistent: whether the connection may go on after the answer.
        expects_continue: the content comes only after 100 (Continue).
        upgrade: what the connection is to become, as the Upgrade field says it; None if nothing.
        connection_options: what Connection names, lower case.
        names: of the fields, lower case, in their order.
    """

    method: str
    target: str
    host: str
    authority: bytes
    framing: Framing
    length: int | None
    is_persistent: bool
    is_http10: bool
    expects_continue: bool
    upgrade: bytes | None
    connection_options: frozenset[bytes]
    names: list[bytes]


Where = Callable[[bytes, bytes, bytes | None, bool], tuple[str, str, bytes] | Refusal]
"""Method, target, the Host field or None, and whether it is HTTP/1.0, as the target in origin-form, the
host and the authority of a RequestLine."""


def judge(
    method: bytes,
    target: bytes,
    http_version: bytes,
    fields: Fields,
    where: Where | None = None,
) -> RequestLine | Refusal:
    """The one decision on a request head: what it means, or why it is refused.

    Args:
        method: as read, like the others.
        target: in whatever form.
        http_version: "1.1" without the "HTTP/" before it.
        fields: without blanks around their values.
        where: what may stand as a target; None: as `where_of` has it, for a reverse listener.
    """
    if http_version not in VERSIONS:
        return Refusal(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    names = [name.lower() for name, _ in fields]
    if (
        b"".join(names).translate(None, _TOKEN_BYTES)
        or b"".join(chain.from_iterable(fields)).translate(None, VALUE_BYTES)
        or b"" in names
    ):
        return _malformed(fields)
    seen = _seen(names, fields)
    if isinstance(seen, Refusal):
        return seen
    if b"via" in seen and (passes := times_passed(seen[b"via"])) >= MOST_PASSES:
        return _goes_in_circles(passes)
    is_http10 = http_version == b"1.0"
    found = (where or where_of)(method, target, seen.get(b"host"), is_http10)
    if isinstance(found, Refusal):
        return found
    framing = _framing(seen.get(b"content-length"), seen.get(b"transfer-encoding"), is_http10)
    if isinstance(framing, Refusal):
        return framing
    connection = seen.get(b"connection")
    options = NO_OPTIONS if connection is None else _options(connection)
    expectation = None if is_http10 else seen.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        return Refusal(417, "the only expectation that can be met is 100-continue")
    has_content = framing[1] != 0
    may_upgrade = method == b"GET" and not has_content and not is_http10
    return RequestLine(
        method.decode(),
        *found,
        *framing,
        b"close" not in options and (not is_http10 or b"keep-alive" in options),
        is_http10,
        expectation is not None and has_content,
        _upgrade(seen.get(b"upgrade", b"")) if may_upgrade and b"upgrade" in options else None,
        options,
        names,
    )


def _goes_in_circles(passes: int) -> Refusal:
    reason = (
        f"the request has come through haclient {passes} times, as its Via says: it goes in circles; "
        "look where the targets of each one on the way lead"
    )
    return Refusal(ProxyStatus.PROXY_LOOP_DETECTED.status, reason, ProxyStatus.PROXY_LOOP_DETECTED)


def _malformed(fields: Fields) -> Refusal:
    """Which field it is."""
    name, value = next(
        (name, value)
        for name, value in fields
        if not name or name.translate(None, _TOKEN_BYTES) or value.translate(None, VALUE_BYTES)
    )
    if not name or name.translate(None, _TOKEN_BYTES):
        return Refusal(400, f"the field name {name[:40]!r} is not a token (RFC 9110, section 5.1)")
    found = value.translate(None, VALUE_BYTES)[:1]
    return Refusal(400, f"the value of {name.decode()[:40]} has the control character {found!r}")


def _seen(names: list[bytes], fields: Fields) -> dict[bytes, bytes] | Refusal:
    """The fields that matter; one that came in several lines is put together (RFC 9110, 5.3)."""
    seen: dict[bytes, bytes] = {}
    for name, field in zip(names, fields, strict=True):
        if name in JUDGED:
            if name not in seen:
                seen[name] = field[1]
            elif name in SINGLE:
                return Refusal(400, f"more than one {name.decode().title()} field")
            else:
                seen[name] += b", " + field[1]
    return seen


def where_of(
    method: bytes, target: bytes, authority: bytes | None, is_http10: bool
) -> tuple[str, str, bytes] | Refusal:
    """Target, host and authority."""
    if _METHOD.fullmatch(method) is None:
        return Refusal(400, f"the method {method[:40]!r} is not a token (RFC 9110, section 9.1)")
    if method == b"CONNECT":
        return Refusal(501, "CONNECT is not served here: this is no forward proxy")
    if authority is not None:
        host = host_of(authority)
    elif is_http10:
        authority, host = b"", ""
    else:
        return Refusal(400, "no Host field, which HTTP/1.1 demands (RFC 9112, section 3.2)")
    if host is None:
        return Refusal(400, "the Host field is not a host, with or without a port")
    if _ORIGIN_FORM.fullmatch(target) is not None or (target == b"*" and method == b"OPTIONS"):
        return target.decode(), host, authority
    return _absolute(method, target)


def _absolute(method: bytes, target: bytes) -> tuple[str, str, bytes] | Refusal:
    """RFC 9112, section 3.2.2: the target's own authority stands in place of Host."""
    found = _ABSOLUTE_FORM.fullmatch(target)
    if found is None:
        return Refusal(400, "the request target is no path that begins with a slash, nor a URL")
    authority, path, query = found.groups(b"")
    host = host_of(authority)
    if host is None:
        return Refusal(400, "the host in the request target is not a host, with or without a port")
    if not path and not query and method == b"OPTIONS":
        path = b"*"  # RFC 9112, section 3.2.4
    return (path or b"/").decode() + query.decode(), host, authority


@functools.lru_cache(maxsize=256)
def host_of(authority: bytes) -> str | None:
    """The host as it is routed by; None where the syntax is wrong."""
    found = _AUTHORITY.fullmatch(authority) if len(authority) <= MAX_AUTHORITY else None
    if found is None:
        return None
    name, literal, port = found.groups(b"")
    if port and int(port) > 65535:
        return None
    return name.decode().lower() or ip_literal(literal.decode())


def _framing(
    length: bytes | None, coding: bytes | None, is_http10: bool
) -> tuple[Framing, int | None] | Refusal:
    """RFC 9112, section 6.3, without its leniencies."""
    if coding is not None:
        return _chunked(length, coding.lower(), is_http10)
    if length is None:
        return NO_CONTENT
    # Of bytes, isdigit() knows ASCII only; int() would take "+1", "1_0" and " 1" besides.
    if not length.isdigit():
        return Refusal(400, "Content-Length is not a number of bytes (RFC 9110, section 8.6)")
    digits = length.lstrip(b"0") or b"0"
    if len(digits) > len(str(MAX_LENGTH)) or int(digits) > MAX_LENGTH:
        return Refusal(413, f"Content-Length is more than {MAX_LENGTH} bytes")
    return Framing.COUNTED, int(digits)


def _chunked(
    length: bytes | None, coding: bytes, is_http10: bool
) -> tuple[Framing, int | None] | Refusal:
    if length is not None:
        return Refusal(400, "both Content-Length and Transfer-Encoding (RFC 9112, section 6.1)")
    if is_http10:
        return Refusal(400, "Transfer-Encoding in HTTP/1.0 (RFC 9112, section 6.1)")
    if coding == b"chunked":
        return CHUNKED
    *others, final = [each.strip(b"\t ") for each in coding.split(b",")]
    if final != b"chunked" or b"chunked" in others:
        return Refusal(400, "the end of the content cannot be told: chunked is not the last coding")
    return Refusal(501, "the only transfer coding that is understood is chunked")


def _options(connection: bytes) -> frozenset[bytes]:
    usual = USUAL_OPTIONS.get(connection)
    if usual is not None:
        return usual
    return frozenset(each.strip(b"\t ") for each in connection.lower().split(b","))


def _upgrade(protocols: bytes) -> bytes | None:
    """What is asked for, if it may be had."""
    if _PROTOCOLS.fullmatch(protocols) is None:
        return None
    names = {each.strip(b"\t ").partition(b"/")[0] for each in protocols.lower().split(b",")}
    return protocols if names.isdisjoint(NO_TUNNEL) else None
