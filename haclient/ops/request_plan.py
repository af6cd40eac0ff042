"""From the options to the exact request: method, URL, fields in curl's order, content.

"The same request as curl" is more than the same meaning: people compare captures, servers sign
heads, and mocks match bytes. So the order of the fields and their letter case are those that curl
7.88 was seen to send (tests/ops/test_request_plan.py asks it again wherever it is installed):

    Host · Proxy-Authorization · Authorization · Range or Content-Range · User-Agent · Accept ·
    Referer · Proxy-Connection · Transfer-Encoding · Cookie · the user's own, in their order ·
    Content-Length · Content-Type · Expect

where a field of the user's takes the place of the one that would be sent by itself, and stands
among the user's own (Host alone keeps its place).

It goes in two steps, because of redirects. An `Intent` is what the user asked for, with every file
read; `compose` makes of it the request for one URL. A redirect changes the intent (`redirects`) and
composes again.

Different from curl on purpose, for each would be a request that nobody should send: no Host field,
a Content-Length that is not the content's, or none, two kinds of framing at once, a field value with
a line end, white space around a value.
"""

from __future__ import annotations

import base64
import enum
import os
import re
from collections.abc import Callable

import msgspec

from haclient._version import __version__
from haclient.core.idempotency import new_key
from haclient.core.url import Url, parse_url
from haclient.ops.command_line import CommandError
from haclient.ops.content import (
    Content,
    InlineContent,
    StandardInput,
    join_data,
    percent_encode,
    upload,
)
from haclient.ops.header_lines import FieldLine, check_value, read_field_lines
from haclient.ops.options import DataKind, RequestOptions
from haclient.types import Fields

__all__ = ["Intent", "Kind", "RequestPlan", "compose", "read_intent"]

USER_AGENT = f"haclient/{__version__}".encode()

EXPECT_ABOVE = 1 << 20
"""Bytes of a POST from which on curl 7.88 asks "100-continue" first; a PUT with content always does."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


class Kind(enum.Enum):
    """What is done; -X changes only the word for it, as in curl."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"

    @property
    def has_content(self) -> bool:
        """Whether a request of this kind bears content, if only of length 0."""
        return self in {Kind.POST, Kind.PUT}


class Intent(msgspec.Struct, frozen=True):
    """What the user asked for, for one URL; every file but that of -T is read.

    `cookies` is what -b said itself; what a cookie file or an earlier answer gave comes in at
    `compose`. `referer_follows` is -e ";auto".
    """

    kind: Kind
    custom_method: str | None = None
    lines: tuple[FieldLine, ...] = ()
    content: Content | None = None
    credentials: tuple[bytes, bytes] | None = None
    user_agent: bytes = USER_AGENT
    referer: bytes = b""
    referer_follows: bool = False
    range: bytes = b""
    cookies: bytes = b""

    @property
    def method(self) -> str:
        """The word on the wire."""
        return self.custom_method or self.kind.value

    def has_line(self, name: bytes) -> bool:
        """Whether the user said anything of the field `name` (lower case), be it to remove it."""
        return any(line.is_named(name) for line in self.lines)

    def sends_line(self, name: bytes) -> bool:
        """Whether the user gave the field `name` (lower case) a value."""
        return any(line.is_named(name) and line.value is not None for line in self.lines)


class RequestPlan(msgspec.Struct, frozen=True):
    """One request, whole.

    `fields` are in order and without Host, unless the user gave one (then it is first): Host is the
    authority of whatever origin is asked.
    """

    url: Url
    method: str
    fields: Fields
    content: Content | None

    @property
    def expects_continue(self) -> bool:
        """Whether the content waits for a 100 (RFC 9110, section 10.1.1)."""
        return (b"expect", b"100-continue") in ((n.lower(), v.lower()) for n, v in self.fields)

    @property
    def is_chunked(self) -> bool:
        """Whether the content goes out in chunks."""
        return any(name.lower() == b"transfer-encoding" for name, _ in self.fields)

    def head(self) -> bytes:
        """The head's bytes as they are sent to the URL's own origin."""
        fields = self.fields
        if not fields or fields[0][0] != b"Host":
            fields = ((b"Host", self.url.origin.authority.encode()), *fields)
        lines = [f"{self.method} {self.url.path_and_query} HTTP/1.1".encode()]
        lines += [name + b": " + value if value else name + b":" for name, value in fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"


# --- what the user asked for ---------------------------------------------------------------------


def read_intent(
    options: RequestOptions,
    index: int,
    *,
    base: Url | None = None,
    read_stdin: Callable[[], bytes],
    ask_password: Callable[[str], str],
) -> tuple[Intent, Url]:
    """Reads the options for the URL number `index`, and its files.

    Args:
        options: the command line.
        index: which of `options.urls`; -T and -o count along with it.
        base: with --target, what a URL that is only a path is put behind.
        read_stdin: for "@-"; is called once, whatever the number of URLs, by whoever gives it.
        ask_password: for -u without one; gets the user's name.

    Raises:
        CommandError: something cannot be sent as asked (2), or read (26).
        haclient.errors.UrlError: the URL is malformed.
    """
    url = _read_url(options.urls[index], base)
    content: Content | None = None
    kind = Kind.HEAD if options.head else Kind.GET
    if options.data:
        data = join_data(options.data, read_stdin)
        if options.get:
            url = _with_query(url, data)
        else:
            kind, content = Kind.POST, InlineContent(data)
    if index < len(options.uploads) and options.uploads[index]:
        kind, content = Kind.PUT, upload(options.uploads[index])
        if not isinstance(content, StandardInput):
            url = _with_file_name(url, options.uploads[index])
    referer, _, auto = (options.referer or "").partition(";")
    intent = Intent(
        kind=kind,
        custom_method=_method(options.method),
        lines=_lines(options, read_stdin),
        content=content,
        credentials=_credentials(options.user, url, ask_password),
        user_agent=USER_AGENT if options.user_agent is None else _value(options.user_agent, "-A"),
        referer=_value(referer if auto == "auto" else options.referer, "-e"),
        referer_follows=auto == "auto",
        range=_range(options.range),
        cookies=_value(";".join(text for text in options.cookies if "=" in text), "-b"),
    )
    return _with_sound_framing(intent), url.without_userinfo


def _read_url(text: str, base: Url | None) -> Url:
    return base.join(text) if base is not None and text.startswith("/") else parse_url(text)


def _method(text: str | None) -> str | None:
    if text is not None and not _TOKEN.fullmatch(text):
        raise CommandError(f"-X {text!r}: a method is one word, as GET or PURGE")
    return text


def _value(text: str | None, option: str) -> bytes:
    return check_value(os.fsencode(text or ""), option)


def _range(text: str | None) -> bytes:
    # curl adds what "-r 5" lacks.
    return _value(f"{text}-" if text is not None and text.isdigit() else text, "-r")


def _lines(options: RequestOptions, read_stdin: Callable[[], bytes]) -> tuple[FieldLine, ...]:
    lines = list(read_field_lines(options.headers, read_stdin))
    if any(kind is DataKind.JSON for kind, _ in options.data):
        for name in (b"Content-Type", b"Accept"):
            if not any(line.is_named(name.lower()) for line in lines):
                lines.append(FieldLine(name, b"application/json"))
    if options.idempotency_key is not None:
        key = _value(options.idempotency_key, "--idempotency-key") or new_key(os.urandom(16))
        lines.append(FieldLine(b"Idempotency-Key", key))
    return tuple(lines)


def _credentials(
    user: str | None, url: Url, ask_password: Callable[[str], str]
) -> tuple[bytes, bytes] | None:
    if user is None:
        return url.credentials
    name, colon, password = user.partition(":")
    return os.fsencode(name), os.fsencode(password if colon else ask_password(name))


def _with_query(url: Url, data: bytes) -> Url:
    """-G. Escapes in lower case, as curl makes them."""
    if not data:
        return url
    whole = str(url)
    joint = "" if whole.endswith(("?", "&")) else "&" if "?" in whole else "?"
    added = _ESCAPE.sub(lambda found: found.group().lower(), os.fsdecode(data))
    return parse_url(whole + joint + added)


def _with_file_name(url: Url, path: str) -> Url:
    """-T: a URL that ends in a slash is a directory."""
    if not url.path.endswith("/"):
        return url
    _, question, query = url.path_and_query.partition("?")
    name = percent_encode(os.fsencode(os.path.basename(path))).decode()
    # Escapes in lower case, as curl makes them here, and in upper case in --data-urlencode.
    name = _ESCAPE.sub(lambda found: found.group().lower(), name)
    return msgspec.structs.replace(url, path_and_query=url.path + name + question + query)


def _with_sound_framing(intent: Intent) -> Intent:
    """Refuses framing that the content would belie."""
    for line in intent.lines:
        if line.is_named(b"host") and line.value is None:
            raise CommandError("-H 'Host:': HTTP/1.1 needs a Host field; write -H 'Host: NAME'")
        if line.is_named(b"transfer-encoding"):
            _check_coding(intent, line.value)
        if line.is_named(b"content-length"):
            intent = _with_length(intent, line.value)
    return intent


def _check_coding(intent: Intent, value: bytes | None) -> None:
    if value is None and (intent.content is None or intent.content.length is not None):
        return
    if value is None or value.lower() != b"chunked":
        raise CommandError("-H Transfer-Encoding: only 'chunked' can be sent")
    if intent.content is None:
        raise CommandError("-H 'Transfer-Encoding: chunked' without content: add -d or -T")
    if intent.sends_line(b"content-length"):
        raise CommandError("-H: either Transfer-Encoding or Content-Length")


def _with_length(intent: Intent, value: bytes | None) -> Intent:
    if value is None and (intent.content is None or intent.sends_line(b"transfer-encoding")):
        return intent
    if value is None or not value.isdigit() or intent.content is None:
        raise CommandError("-H Content-Length: it is the length of the content, and sent by itself")
    content = intent.content
    if content.length is None:
        return msgspec.structs.replace(
            intent, content=msgspec.structs.replace(content, length=int(value))
        )
    if content.length != int(value):
        raise CommandError(f"-H Content-Length: the content has {content.length} bytes")
    return intent


# --- the request for one URL ---------------------------------------------------------------------


def compose(
    intent: Intent, url: Url, jar_cookies: bytes = b"", proxy: Url | None = None
) -> RequestPlan:
    """Returns the request for `url`.

    Args:
        intent: what the user asked for.
        url: without userinfo.
        jar_cookies: what the cookie jar has for it.
        proxy: the forward proxy that is told the whole request; none where it is a tunnel.
    """
    fields: list[tuple[bytes, bytes]] = []

    def add(name: bytes, value: bytes) -> None:
        if value and not intent.has_line(name.lower()):
            fields.append((name, value))

    own = [(line.name, line.value) for line in intent.lines if line.value is not None]
    fields += [(b"Host", value) for name, value in own if name.lower() == b"host"][:1]
    if proxy is not None and proxy.credentials is not None:
        add(b"Proxy-Authorization", _basic(proxy.credentials))
    if intent.credentials is not None:
        add(b"Authorization", _basic(intent.credentials))
    if intent.range and intent.content is None:
        add(b"Range", b"bytes=" + intent.range)
    elif intent.range:
        add(b"Content-Range", b"bytes %b/%b" % (intent.range, _length(intent.content) or b"*"))
    add(b"User-Agent", intent.user_agent)
    add(b"Accept", b"*/*")
    add(b"Referer", intent.referer)
    if proxy is not None:
        add(b"Proxy-Connection", b"Keep-Alive")
    is_unmeasured = intent.content is not None and intent.content.length is None
    if is_unmeasured:
        add(b"Transfer-Encoding", b"chunked")
    said = b"" if intent.has_line(b"cookie") else intent.cookies
    cookies = b"; ".join(filter(None, (jar_cookies, said)))
    if cookies:
        # The user's own Cookie field does not keep the jar's from being sent.
        fields.append((b"Cookie", cookies))
    fields += [field for field in own if field[0].lower() != b"host"]
    if (
        intent.kind.has_content
        and not is_unmeasured
        and not intent.sends_line(b"transfer-encoding")
    ):
        add(b"Content-Length", _length(intent.content) or b"0")
    if intent.kind is Kind.POST:
        add(b"Content-Type", b"application/x-www-form-urlencoded")
    if _asks_first(intent):
        add(b"Expect", b"100-continue")
    return RequestPlan(url, intent.method, tuple(fields), intent.content)


def _basic(credentials: tuple[bytes, bytes]) -> bytes:
    """RFC 7617, section 2."""
    return b"Basic " + base64.b64encode(b":".join(credentials))


def _length(content: Content | None) -> bytes:
    return b"" if content is None or content.length is None else b"%d" % content.length


def _asks_first(intent: Intent) -> bool:
    if intent.content is None:
        return False
    length = intent.content.length
    return length is None or length > (EXPECT_ABOVE if intent.kind is Kind.POST else 0)
