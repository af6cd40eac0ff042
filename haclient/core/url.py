"""URLs: what a person or a Location field writes, as the origin to ask and the target to ask for.

The naive answer is urllib.parse.urlsplit. It accepts nearly everything (spaces, port 0x50, two
"@"), changes some of it in silence (it drops tabs and line ends) and resolves no dot-segments. Two
readers of one URL that differ on its host are a way around every allow list, so this one is strict,
reads once, and gives one canonical form:

    scheme     http or https, any letter case; none at all means http, as for curl
    userinfo   kept as written, at most one "@"
    host       a name in lower case with A-labels (IDNA 2008), an IPv4 address in four decimal parts
               however it was written, or an IPv6 literal in its shortest form, zone allowed
    port       1 to 65535
    path       dot-segments removed (RFC 3986, section 5.2.4), never empty
    query      as written; what is not ASCII, here and in the path, is percent-encoded
    fragment   dropped (RFC 9110, section 4.2.5: it is the client's own)

Where curl and RFC 3986 differ, curl is followed where it accepts more and means the same ("http:/a",
"http:///a", "127.1", "[" in a path). Space and control characters are refused in what a person
writes; in a Location they are servers' sloppiness, and a space is encoded.

A target may also be a service ("srv+http://_orders._tcp.example"), or speak another protocol than HTTP
("tcp://db.internal:5432"): host and port are all that such a URL has.

The usual URL is read by one pattern in about 2 us; everything else takes the long way round. Left
out: globbing ("{a,b}", "[1-9]"), guessing a scheme from the host name ("ftp.…"), percent-encoded
dots as dot-segments (curl leaves them to the server too).
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from haclient.core.names import ip_literal, to_ascii
from haclient.errors import UnsupportedSchemeError, UrlError
from haclient.types import DEFAULT_PORTS, Origin

__all__ = ["Url", "parse_target_url", "parse_url"]

# The canonical form, whose parts need no more work. The last label starts with a letter, so that no
# shortened IPv4 address passes ("10.0x1"); the path holds no "#", and its dots are looked at apart.
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_CANONICAL = re.compile(
    rf"(https?)://((?:{_LABEL}\.){{0,8}}[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?|{_OCTET}(?:\.{_OCTET}){{3}})"
    r'(?::([1-9][0-9]{0,4}))?(/[!"$-~]*)?'
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f]")
_NOT_ASCII = re.compile(rb"[^\x00-\x7f]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_CREDENTIALS = re.compile(r"(^|/)[^/?#]*@")
_IPV4_PART = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|0[0-7]{0,11}|[1-9][0-9]{0,9}")
_SERVICE = re.compile(r"(srv\+(?:https?|tcp))://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_TCP = re.compile(r"tcp://(.*)", re.IGNORECASE | re.DOTALL)
_HOST_AND_PORT = re.compile(r"[^/?#@]*:[0-9]+")
_SERVICE_NAME = re.compile(r"_[a-z0-9-]+\._tcp\..+")
_MAX_SHOWN = 100


class Url(msgspec.Struct, frozen=True):
    """An http, https or tcp URL in its canonical form; srv+http and so on where its origin is a service.

    `path_and_query` is ASCII and starts with "/"; `userinfo` is as written, percent-encoded, and
    None where there was no "@". `str` gives the whole URL, secrets included; `repr` masks them.
    """

    origin: Origin
    path_and_query: str = "/"
    userinfo: str | None = None

    @property
    def path(self) -> str:
        """The path alone, without the query."""
        return self.path_and_query.partition("?")[0]

    @property
    def credentials(self) -> tuple[bytes, bytes] | None:
        """User and password, decoded; None where the URL has no userinfo."""
        if self.userinfo is None:
            return None
        user, _, password = self.userinfo.partition(":")
        return _unescape(user.encode("ascii")), _unescape(password.encode("ascii"))

    @property
    def without_userinfo(self) -> Url:
        """The same without user and password: fit for a log line or a Referer field."""
        return self if self.userinfo is None else Url(self.origin, self.path_and_query)

    def join(self, reference: str) -> Url:
        """Resolves `reference` against this URL (RFC 3986, section 5.2), as a Location is.

        Spaces around it are ignored; within it they become "%20", in the query "+", as curl has it.

        Raises:
            UrlError: what results is malformed; UnsupportedSchemeError: not http or https.
        """
        text = _without_spaces(reference.partition("#")[0].strip(" "))
        if _SCHEME.match(text):
            return _parse(text, may_lack_scheme=False)
        if text.startswith("//"):
            return _parse(f"{self.origin.scheme}:{text}", may_lack_scheme=False)
        if not text:
            return self
        _check_characters(text)
        if text.startswith("?"):
            text = self.path + text
        elif not text.startswith("/"):
            text = self.path.rpartition("/")[0] + "/" + text
        return Url(self.origin, _target(text, text), self.userinfo)

    def __str__(self) -> str:
        host, port = self.origin.host, self.origin.port
        if ":" in host:
            # RFC 6874: the percent sign of a zone is itself encoded.
            host = "[" + host.replace("%", "%25") + "]"
        at = "" if self.userinfo is None else f"{self.userinfo}@"
        if self.origin.is_tcp:
            return str(self.origin)
        if self.origin.is_service:
            return f"{self.origin}{self.path_and_query}"
        suffix = "" if DEFAULT_PORTS[self.origin.scheme] == port else f":{port}"
        return f"{self.origin.scheme}://{at}{host}{suffix}{self.path_and_query}"

    def __repr__(self) -> str:
        shown = str(self.without_userinfo)
        return f"Url({shown!r})" if self.userinfo is None else f"Url({shown!r}, with credentials)"


def parse_url(text: str) -> Url:
    """Reads a URL as a person writes it; without a scheme it is http.

    Raises:
        UnsupportedSchemeError: a scheme other than http and https.
        UrlError: malformed; the message says what is wrong, where, and what would do.
    """
    match = _CANONICAL.fullmatch(text)
    if match is not None:
        scheme, host, port_digits, target = match.groups("")
        port = int(port_digits) if port_digits else DEFAULT_PORTS[scheme]
        if port <= 65535 and len(host) <= 253 and "/." not in target:
            return Url(Origin(scheme, host, port), target or "/")
    return _parse(text, may_lack_scheme=True)


def parse_target_url(text: str) -> Url:
    """Reads a target's URL: as `parse_url`, or of a service, or of any protocol over TCP.

    "srv+http://_orders._tcp.example/v1", "tcp://db.internal:5432", "srv+tcp://_redis._tcp.example".

    Raises:
        UnsupportedSchemeError, UrlError: as `parse_url`.
    """
    if (tcp := _TCP.fullmatch(text)) is not None:
        return _tcp_url(text, tcp[1])
    match = _SERVICE.fullmatch(text)
    if match is None:
        return _http_url(text)
    scheme, authority, rest = match.groups()
    plain = scheme.lower().removeprefix("srv+")
    url = parse_url(f"{plain.replace('tcp', 'http')}://{authority}{rest}")
    if not _SERVICE_NAME.fullmatch(url.origin.host) or authority.lower() != url.origin.host:
        raise UrlError(
            f"the URL {_shown(text)} names no service: write srv+{plain}://_SERVICE._tcp.DOMAIN, "
            "without a port (the SRV records have it), user and password"
        )
    if plain == "tcp" and url.path_and_query != "/":
        raise UrlError(f"the URL {_shown(text)} has a path, and TCP has none: remove it")
    return Url(Origin(plain, url.origin.host, 0), url.path_and_query)


def _http_url(text: str) -> Url:
    try:
        return parse_url(text)
    except UnsupportedSchemeError as error:
        raise UnsupportedSchemeError(
            f"{error}; a target may also be srv+http://_SERVICE._tcp.DOMAIN (srv+https, srv+tcp) or "
            "tcp://HOST:PORT"
        ) from None


def _tcp_url(text: str, rest: str) -> Url:
    _check_characters(text)
    hostport = rest.removesuffix("/")
    if not _HOST_AND_PORT.fullmatch(hostport):
        raise UrlError(
            f"the URL {_shown(text)} is not a host and a port and nothing more: write tcp://HOST:PORT"
        )
    host, port = _host_and_port(text, len(text) - len(rest), hostport, "tcp")
    return Url(Origin("tcp", host, port))


def _parse(text: str, *, may_lack_scheme: bool) -> Url:
    _check_characters(text)
    scheme, start = _scheme(text, may_lack_scheme)
    end = min(i for i in (*(text.find(c, start) for c in "/?#"), len(text)) if i >= 0)
    userinfo, at, hostport = text[start:end].rpartition("@")
    if "@" in userinfo:
        _refuse(text, start + userinfo.index("@"), "a second @", "write %40 for an @ in a password")
    host, port = _host_and_port(text, start + len(userinfo) + len(at), hostport, scheme)
    return Url(
        Origin(scheme, host, port),
        _target(text[end:].partition("#")[0], text),
        _userinfo(text, start, userinfo) if at else None,
    )


def _check_characters(text: str) -> None:
    found = _NOT_IN_URL.search(text)
    if found is None:
        return
    at, character = found.start(), found.group()
    if character == " ":
        _refuse(text, at, "a space", "write %20, or + in a query")
    _refuse(
        text,
        at,
        f"the control character {character!r}",
        f"remove it or write %{ord(character):02X}",
    )


def _scheme(text: str, may_lack_scheme: bool) -> tuple[str, int]:
    """The scheme, and where the authority starts."""
    match = _SCHEME.match(text)
    # "localhost:80" and "user:password@host" have a colon too; a scheme's is followed by a slash.
    if match is None or (may_lack_scheme and not text.startswith("/", match.end())):
        slashes = len(text) - len(text.lstrip("/"))
        if slashes or not text:
            _refuse(text, 0, "no host", "write http://HOST/PATH")
        return "http", 0
    scheme = match.group(1).lower()
    if scheme not in DEFAULT_PORTS:
        raise UnsupportedSchemeError(
            f"{_shown(text)} has the scheme {scheme!r}, and only http and https are spoken: "
            "begin it with http:// or https://"
        )
    slashes = len(text) - match.end() - len(text[match.end() :].lstrip("/"))
    if not 1 <= slashes <= 3:
        # One and three are slips of the hand that curl forgives; what four mean, nobody knows.
        _refuse(text, match.end(), f"{slashes or 'no'} slashes", f"write {scheme}://HOST/PATH")
    return scheme, match.end() + slashes


def _host_and_port(text: str, at: int, hostport: str, scheme: str) -> tuple[str, int]:
    """Reads "host", "host:port" and "[v6]:port", which stand at `at`."""
    if hostport.startswith("["):
        literal, bracket, rest = hostport[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            _refuse(text, at, "an IPv6 address that is not closed", "write it as [::1]:PORT")
        host, colon, digits = _ipv6(text, at, literal), rest[:1], rest[1:]
    else:
        name, colon, digits = hostport.partition(":")
        if ":" in digits:
            _refuse(text, at, "more than one colon", "put an IPv6 address in brackets, [::1]:PORT")
        host = _host(text, at, name)
    if not colon or not digits:
        return host, DEFAULT_PORTS[scheme]
    # int() would take "+80", "8_0" and digits of other scripts.
    is_number = digits.isascii() and digits.isdigit() and len(digits.lstrip("0")) <= 5
    if not is_number or not 0 < int(digits) <= 65535:
        where = at + len(hostport) - len(digits)
        _refuse(text, where, f"the port {digits[:20]!r}", "a port is a number from 1 to 65535")
    return host, int(digits)


def _ipv6(text: str, at: int, literal: str) -> str:
    address, percent, zone = literal.partition("%")
    zone = zone.removeprefix("25")  # RFC 6874; curl also takes a bare "%"
    is_zone_sound = bool(re.fullmatch(r"[A-Za-z0-9._~-]+", zone)) if percent else True
    host = ip_literal(address) if ":" in address else None
    if host is None or not is_zone_sound:
        _refuse(
            text,
            at,
            f"{literal[:50]!r} is no IPv6 address",
            "write it as [::1] or [fe80::1%25eth0]",
        )
    return f"{host}%{zone}" if percent else host


def _host(text: str, at: int, name: str) -> str:
    """A name or an IPv4 address, canonical."""
    if not name:
        _refuse(text, at, "no host", "write http://HOST/PATH")
    if "%" in name or not name.isascii():
        raw = _unescape(_encode(text, name))
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            _refuse(
                text,
                at,
                "a host that is not UTF-8",
                "write the name itself, or its A-label (xn--…)",
            )
    try:
        return _ipv4(name) or to_ascii(name)
    except ValueError as error:
        _refuse(text, at, str(error), "give a host name or an IP address")


def _ipv4(name: str) -> str | None:
    """As inet_aton(3): one to four parts, the last one fills what is left; None for a name."""
    parts = name.split(".")
    if len(parts) > 4 or not all(_IPV4_PART.fullmatch(part) for part in parts):
        return None
    *heads, last = (int(part, _base(part)) for part in parts)
    if any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        return None
    value = sum(head << 8 * (3 - i) for i, head in enumerate(heads)) + last
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def _base(part: str) -> int:
    return 16 if part[:2] in {"0x", "0X"} else 8 if part.startswith("0") else 10


def _userinfo(text: str, at: int, userinfo: str) -> str:
    encoded = _escape(_encode(text, userinfo))
    if any(byte < 0x20 or byte == 0x7F for byte in _unescape(encoded.encode("ascii"))):
        _refuse(text, at, "a control character in user or password", "remove it")
    return encoded


def _target(text: str, whole: str) -> str:
    """Path and query as they go on the wire."""
    path, question, query = text.partition("?")
    if "/." in path:
        path = _without_dot_segments(path)
    target = (path or "/") + question + query
    return target if target.isascii() else _escape(_encode(whole, target))


def _without_dot_segments(path: str) -> str:
    """RFC 3986, section 5.2.4, for a path that starts with a slash."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _without_spaces(reference: str) -> str:
    path, question, query = reference.partition("?")
    return path.replace(" ", "%20") + question + query.replace(" ", "+")


def _encode(text: str, part: str) -> bytes:
    """UTF-8; bytes that the command line could not decode (PEP 383) are themselves again."""
    try:
        return part.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        _refuse(text, 0, "half of a UTF-16 surrogate pair", "write the character itself")


def _escape(raw: bytes) -> str:
    # Lower case, as curl writes them.
    return _NOT_ASCII.sub(lambda found: b"%%%02x" % found.group()[0], raw).decode("ascii")


def _unescape(raw: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes([int(found.group(1), 16)]), raw)


def _shown(text: str) -> str:
    """The URL for a message: quoted, not endless, and without a password."""
    masked = _CREDENTIALS.sub(r"\1***@", text, count=1)
    return repr(masked if len(masked) <= _MAX_SHOWN else masked[:_MAX_SHOWN] + "…")


def _refuse(text: str, at: int, what: str, remedy: str) -> NoReturn:
    raise UrlError(f"the URL {_shown(text)} is malformed at character {at + 1}: {what}; {remedy}")
