"""What a forward proxy is asked to reach: the destination in a request's target.

The naive answer splits the target at its last colon and gives the host to getaddrinfo(3). That takes
2130706433, 0x7f.1, 0177.0.0.1 and 127.1 for 127.0.0.1, each of them another text to a list of what is
allowed. Here a host is an address in the one spelling that everybody reads the same way (four decimal
numbers without leading zeros, or an IPv6 literal in brackets), or it is a name; and a name that ends in a
number, that bears a percent-escape, or any character that no name has, is refused before anybody is asked
for it. Names are compared, and asked for, in lower case.

    CONNECT host:port              a tunnel; the port has to be there (RFC 9110, section 9.3.6)
    GET http://host[:port]/path    a request that goes on in origin-form (RFC 9112, section 3.2.2)

Left out: https:// in a request's target, which would have the proxy speak TLS in the client's place: a
client who wants https wants CONNECT; and ftp://.
"""

from __future__ import annotations

import functools
import re

import msgspec

from haclient.core.framing import Framing
from haclient.core.names import ip_literal, to_ascii
from haclient.core.request_head import Refusal, RequestLine, host_of, judge, where_of
from haclient.types import DEFAULT_PORTS, Fields

__all__ = ["Destination", "Forwarded", "judge_forward"]

HTTP = DEFAULT_PORTS["http"]

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://", re.IGNORECASE)
_PORT = re.compile(rb":([0-9]+)\Z")

NOT_A_PROXY_REQUEST = (
    "this is a forward proxy: it is asked for http://HOST/PATH, or by CONNECT HOST:PORT, and not for a "
    "path alone"
)


class Destination(msgspec.Struct, frozen=True):
    """Whom to reach: a name in lower case, perhaps with a last dot, or an address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Forwarded(msgspec.Struct, frozen=True):
    """A forward proxy's request: its line, whom it is for, and whether it wants a tunnel there."""

    line: RequestLine
    destination: Destination
    is_tunnel: bool


def judge_forward(
    method: bytes, target: bytes, http_version: bytes, fields: Fields
) -> Forwarded | Refusal:
    """The one decision on a head that a forward proxy was sent: as core.request_head's `judge`."""
    line = judge(method, target, http_version, fields, _where)
    if isinstance(line, Refusal):
        return line
    is_tunnel = method == b"CONNECT"
    if is_tunnel and line.framing is not Framing.NONE and line.length != 0:
        # Its bytes would be content to one reader, and the tunnel's first to another.
        return Refusal(400, "CONNECT with content, which has no meaning (RFC 9110, section 9.3.6)")
    destination = _destination(line.host, line.authority, 0 if is_tunnel else HTTP)
    if isinstance(destination, Refusal):
        return destination
    return Forwarded(line, destination, is_tunnel)


def _where(
    method: bytes, target: bytes, authority: bytes | None, is_http10: bool
) -> tuple[str, str, bytes] | Refusal:
    if method != b"CONNECT":
        scheme = _ABSOLUTE.match(target)
        if scheme is None:
            return Refusal(400, NOT_A_PROXY_REQUEST)
        if scheme[1].lower() != b"http":
            return _other_scheme(scheme[1].decode())
        return where_of(method, target, authority, is_http10)
    # The Host field has to be one, and says nothing beyond the target (RFC 9110, section 7.2).
    found = where_of(b"OPTIONS", b"*", authority, is_http10)
    if isinstance(found, Refusal):
        return found
    host = host_of(target)
    if host is None:
        return Refusal(400, "CONNECT is for HOST:PORT (RFC 9110, section 9.3.6)")
    return target.decode(), host, target


def _other_scheme(scheme: str) -> Refusal:
    if scheme.lower() == "https":
        words = "https:// is reached by CONNECT: this proxy speaks no TLS in its client's place"
    else:
        words = f"the scheme {scheme[:20]!r} is not spoken: http://, and by CONNECT any other, are"
    return Refusal(501, words)


@functools.lru_cache(maxsize=256)
def _destination(host: str, authority: bytes, default_port: int) -> Destination | Refusal:
    """`default_port` 0: there is none."""
    found = _PORT.search(authority)
    port = int(found[1]) if found is not None else default_port
    if not port:
        return Refusal(400, "the destination needs a port from 1 to 65535")
    try:
        return Destination(host if ":" in host else _name(host), port)
    except ValueError as error:
        return Refusal(400, f"the destination {error}")


def _name(name: str) -> str:
    if "%" in name:
        raise ValueError(f"{name[:80]!r} is not a host name: write what %XX stands for itself")
    return ip_literal(name) or to_ascii(name)
