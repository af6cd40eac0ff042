"""-L: what the next request after a 3xx is.

The standard leaves it to the client whether a POST becomes a GET after 301 and 302 (RFC 9110,
section 15.4), and says nothing of credentials. The naive answer, the same request at another URL,
hands a password to whoever can make a server redirect. These are curl's rules:

    301, 302        POST becomes GET, its content is dropped; PUT stays PUT
    303             everything but HEAD becomes GET
    any other 3xx   the same again, content included
    -X METHOD       keeps its word through all of them, as in curl
    Location        the first one; without it the 3xx is the answer

Toward another origin (scheme, host or port) Authorization, Cookie and Host are left out, those of -u
and -b as well as those of -H. Stricter than curl: it sends `-b a=1` on to every host, and a Referer
with ";auto" also from https to http (RFC 9110, section 10.1.3 forbids it). A request that turns into a
GET also loses the user's own Content-Length, Transfer-Encoding and Expect, with which curl makes the
server wait for content that never comes.
"""

from __future__ import annotations

import os

import msgspec

from haclient.core.url import Url
from haclient.errors import TooManyRedirectsError, UrlError
from haclient.ops.command_line import CommandError
from haclient.ops.content import StandardInput
from haclient.ops.request_plan import Intent, Kind
from haclient.types import Fields

__all__ = ["Hop", "location_of", "next_hop"]

CANNOT_REWIND = 65
"""CURLE_SEND_FAIL_REWIND."""

SECRETS = {b"authorization", b"cookie"}
FRAMING = {b"content-length", b"transfer-encoding", b"expect"}


class Hop(msgspec.Struct, frozen=True):
    """Where a redirect leads, and with what.

    `is_same_origin` says whether the backups of the first request still stand in for it.
    """

    intent: Intent
    url: Url
    is_same_origin: bool


def location_of(status: int, fields: Fields) -> str | None:
    """The Location that a response redirects to; None where it does not."""
    if not 300 <= status <= 399:
        return None
    for name, value in fields:
        if name.lower() == b"location":
            return os.fsdecode(value.strip()) or None
    return None


def next_hop(
    intent: Intent, url: Url, status: int, location: str, *, followed: int, limit: int
) -> Hop:
    """Returns the next request.

    Args:
        intent: the request that was redirected.
        url: where it went.
        status: of the answer.
        location: as `location_of` gives it.
        followed: how many redirects have been followed already.
        limit: of --max-redirs; -1 is none.

    Raises:
        TooManyRedirectsError: the limit is reached.
        haclient.errors.UrlError: the location is malformed, or neither http nor https.
        CommandError: the content was stdin, and is needed again (65).
    """
    if 0 <= limit <= followed:
        raise TooManyRedirectsError(
            f"{url} redirects to {location!r} after {followed} redirects, and {limit} is the most "
            "that --max-redirs allows"
        )
    try:
        target = url.join(location)
    except UrlError as error:
        raise type(error)(f"{url} redirects to where nobody can go: {error}") from None
    is_same_origin = target.origin == url.origin
    changed = _with_kind(intent, _kind(intent.kind, status))
    if isinstance(changed.content, StandardInput):
        raise CommandError(
            f"{url} redirects the request to {target.without_userinfo} and stdin cannot be read a "
            "second time: put it into a file and name that with -T",
            CANNOT_REWIND,
        )
    if not is_same_origin:
        # Those that the Location itself bears, too: curl sends them to its own origin only.
        changed = _without_secrets(changed)
    elif target.credentials is not None:
        changed = msgspec.structs.replace(changed, credentials=target.credentials)
    if intent.referer_follows:
        is_downgrade = url.origin.is_secure and not target.origin.is_secure
        changed = msgspec.structs.replace(
            changed, referer=b"" if is_downgrade else str(url.without_userinfo).encode()
        )
    return Hop(changed, target.without_userinfo, is_same_origin)


def _kind(kind: Kind, status: int) -> Kind:
    if (status in {301, 302} and kind is Kind.POST) or (status == 303 and kind is not Kind.HEAD):
        return Kind.GET
    return kind


def _with_kind(intent: Intent, kind: Kind) -> Intent:
    if kind is intent.kind:
        return intent
    lines = tuple(line for line in intent.lines if line.name.lower() not in FRAMING)
    return msgspec.structs.replace(intent, kind=kind, content=None, lines=lines)


def _without_secrets(intent: Intent) -> Intent:
    left_out = SECRETS | {b"host"}
    lines = tuple(line for line in intent.lines if line.name.lower() not in left_out)
    return msgspec.structs.replace(intent, lines=lines, credentials=None, cookies=b"")
