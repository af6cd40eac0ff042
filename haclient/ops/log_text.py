r"""What may stand in a line of a log, whoever wrote it.

A client chooses its path, a server its reason phrase, and a log line is read by terminals, by grep and
by programs: a line end forges a second line, an escape code rewrites the screen of whoever looks, a
quote moves the fields that follow. So nothing that is not printable (str.isprintable: controls of
C0 and C1, DEL, bidirectional overrides, line and paragraph separators, lone surrogates) is written
as it is, in either format.

What a URL hides: credentials in front of a host, and in a query the values of keys that are named
like secrets (`SECRET` below). They become ***. This is a net, not a wall: a secret in a path segment
is not to be told from any other word.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

__all__ = ["masked", "quoted", "value", "visible"]

MASK = "***"

SECRET = re.compile(
    r"token|secret|passw|pwd|signature|credential|authori[sz]ation"
    r"|(?:api|access|private|auth)[-_.]?key|(?<![a-z])(?:key|sig|auth|jwt)(?![a-z])"
)
"""In a key of a query, lower case: token, access_token, client_secret, api_key, X-Amz-Signature, sig,
user[password]; not author, keyword or monkey."""

_MAYBE_SECRET = re.compile(
    r"token|secret|passw|pwd|sig|credential|auth|key|jwt|%", re.IGNORECASE | re.ASCII
)
"""Where it finds nothing in a query, no key of it is a secret."""

_USERINFO = re.compile(r"(?<=//)[^/?#\s]*@|^[^/?#\s]*@")

_BARE = re.compile(r"[!#-<>-\[\]-~]+", re.ASCII)
r"""Printable ASCII without space, quote, "=" and backslash: needs no quotes."""


def quoted(text: str) -> str:
    """`text` in quotes, on one line, harmless."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(escaped)}"'


def value(text: str) -> str:
    """`text` as the value of a field: in quotes where it needs them."""
    return text if _BARE.fullmatch(text) else quoted(text)


def visible(text: str) -> str:
    r"""`text` with what is not printable written as JSON and Python both read it: \u001b."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def masked(target: str) -> str:
    """A request target (any form of it), a URL or a Host, without its secrets."""
    if "@" in target:
        target = _USERINFO.sub(f"{MASK}@", target)
    # No request target has a fragment (RFC 9112, section 3.2); one that is refused for it may hold what
    # a browser was to keep to itself.
    before, has_fragment, _ = target.partition("#")
    if has_fragment:
        return f"{masked(before)}#{MASK}"
    path, mark, query = target.partition("?")
    if not mark or not _MAYBE_SECRET.search(query):
        return target
    return f"{path}?{_masked_query(query)}"


def _masked_query(query: str) -> str:
    # Both separators are in use, and a server decides which one it heeds.
    return "".join(_masked_pair(part) for part in re.split("([&;])", query))


def _masked_pair(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    name = unquote_to_bytes(key).decode("latin-1").lower() if "%" in key else key.lower()
    return f"{key}={MASK}" if equals and SECRET.search(name) else pair


def _escape(each: str) -> str:
    code = ord(each)
    if code > 0xFFFF:  # a surrogate pair (RFC 8259, section 7)
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"
