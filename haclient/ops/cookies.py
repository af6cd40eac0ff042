"""-b and -c: cookies between requests, and in the file format that curl and wget share.

The standard library's http.cookiejar would do it, but it wants urllib's request objects, imports
30 ms of http.client and urllib, and follows Netscape's rules where RFC 6265 has others. The rules
needed are few, so they are here: domain and path (RFC 6265, section 5.1), Max-Age and Expires (5.2), who
may set what (5.3, with the name prefixes of its successor), what is sent (5.4).

Time is an argument, in seconds of the wall clock: a cookie file outlives a process.

The order of several cookies is curl's: longer paths first (5.4), then longer domains, longer names, and
the newest first. Left out: the public suffix list (a Domain must have a dot in it, which keeps "com" out
and not "co.uk"; the command sends cookies only where the user points it), SameSite (there is no site),
limits on number and size beyond 4096 bytes a cookie.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from haclient.core.names import is_ip_literal
from haclient.core.url import Url
from haclient.types import Fields

__all__ = ["Cookie", "CookieJar", "open_jar", "save_jar", "wall_clock"]

FILE_HEAD = "# Netscape HTTP Cookie File\n# Written by haclient. It may hold secrets.\n\n"

HTTP_ONLY = "#HttpOnly_"

MAX_COOKIE_BYTES = 4096
"""Of name and value; what browsers and curl take (RFC 6265, section 6.1 asks for no less)."""

_NOT_IN_COOKIE = re.compile(r"[\x00-\x1f\x7f]")
_DATE_TOKEN = re.compile(r"[^\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_NUMBER = re.compile(r"([0-9]{1,4})(?![0-9])")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


class Cookie(msgspec.Struct, frozen=True):
    """One cookie. `expires` is seconds since 1970, 0 for the end of the session."""

    name: str
    value: str
    domain: str
    """Lower case, without a leading dot."""
    path: str = "/"
    expires: int = 0
    is_host_only: bool = True
    is_secure: bool = False
    is_http_only: bool = False

    def fits(self, url: Url) -> bool:
        """Whether it is sent with a request for `url` (RFC 6265, section 5.4)."""
        host = url.origin.host
        is_host = host == self.domain or (not self.is_host_only and _is_under(host, self.domain))
        return (
            is_host
            and _is_path_under(url.path, self.path)
            and (not self.is_secure or _is_safe(url))
        )


class CookieJar:
    """Every cookie, the oldest first."""

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def __repr__(self) -> str:
        return f"<CookieJar of {len(self._cookies)}>"

    def __iter__(self) -> Iterator[Cookie]:
        return iter(self._cookies.values())

    def put(self, cookie: Cookie, now: float) -> None:
        """Takes a cookie in, or, if it has expired, the one of its name out."""
        key = (cookie.domain, cookie.path, cookie.name)
        if cookie.expires and cookie.expires <= now:
            self._cookies.pop(key, None)
        else:
            self._cookies[key] = cookie

    def load(self, text: str, url: Url, now: float) -> None:
        """Reads a cookie file, or Set-Cookie lines, which then count as `url`'s.

        What makes no sense is passed over, as curl does.
        """
        for line in text.replace("\r\n", "\n").split("\n"):
            name, colon, value = line.partition(":")
            if colon and name.lower() == "set-cookie":
                self.store(((b"set-cookie", value.encode("utf-8", "surrogateescape")),), url, now)
            elif (cookie := _from_line(line)) is not None:
                self.put(cookie, now)

    def store(self, fields: Fields, url: Url, now: float) -> None:
        """Takes in what a response for `url` sets."""
        for name, value in fields:
            if name.lower() == b"set-cookie":
                cookie = _from_field(value.decode("utf-8", "surrogateescape"), url, now)
                if cookie is not None:
                    self.put(cookie, now)

    def field_for(self, url: Url, now: float) -> bytes:
        """The value of the Cookie field for `url`; empty where there is none."""
        fit = [one for one in self if one.fits(url) and not 0 < one.expires <= now]
        fit.reverse()
        fit.sort(key=lambda one: (-len(one.path), -len(one.domain), -len(one.name)))
        text = "; ".join(f"{one.name}={one.value}" for one in fit)
        return text.encode("utf-8", "surrogateescape")

    def dump(self, now: float) -> str:
        """The cookie file, the cookies of this session included, as curl's."""
        return FILE_HEAD + "".join(_to_line(one) for one in self if not 0 < one.expires <= now)


def open_jar(
    cookies: Sequence[str],
    jar_file: str | None,
    url: Url,
    now: float,
    read_stdin: Callable[[], bytes],
) -> CookieJar | None:
    """Returns the jar that -b FILE and -c ask for; None where neither is given.

    A file that is not there is an empty one, as in curl: -b and -c often name the same.
    """
    files = [text for text in cookies if "=" not in text]
    if not files and jar_file is None:
        return None
    jar = CookieJar()
    for name in files:
        with contextlib.suppress(OSError, ValueError):
            if name == "-":
                data = read_stdin()
            else:
                with open(name, "rb") as file:
                    data = file.read()
            jar.load(data.decode("utf-8", "surrogateescape"), url, now)
    return jar


def save_jar(path: str, text: str) -> None:
    """Writes a cookie file that nobody else may read, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    path = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe is written to, not put away (`-c /dev/null`, as root, for one).
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(text)
        return
    passing = f"{path}.{os.getpid()}.new"
    descriptor = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.replace(passing, path)
    except BaseException:
        os.unlink(passing)
        raise


def wall_clock() -> float:
    """Seconds since 1970: cookies expire by the calendar (RFC 6265, section 5.1.1)."""
    return datetime.now(UTC).timestamp()


# --- the file ------------------------------------------------------------------------------------


def _to_line(cookie: Cookie) -> str:
    domain = cookie.domain if cookie.is_host_only else f".{cookie.domain}"
    columns = (
        (HTTP_ONLY if cookie.is_http_only else "") + domain,
        "FALSE" if cookie.is_host_only else "TRUE",
        cookie.path,
        "TRUE" if cookie.is_secure else "FALSE",
        str(cookie.expires),
        cookie.name,
        cookie.value,
    )
    return "\t".join(columns) + "\n"


def _from_line(line: str) -> Cookie | None:
    is_http_only = line.startswith(HTTP_ONLY)
    line = line.removeprefix(HTTP_ONLY)
    if line.startswith("#"):
        return None
    columns = line.split("\t")
    if len(columns) == 6:
        columns.append("")  # curl writes no tab behind a name without a value
    if len(columns) != 7 or not re.fullmatch(r"[0-9]{1,18}", columns[4]) or not columns[5]:
        return None
    if _NOT_IN_COOKIE.search(columns[5] + columns[6]):
        return None
    domain, subdomains, path, secure, expires, name, value = columns
    return Cookie(
        name=name,
        value=value,
        domain=domain.removeprefix(".").lower(),
        path=path if path.startswith("/") else "/",
        expires=int(expires),
        is_host_only=subdomains.upper() != "TRUE",
        is_secure=secure.upper() == "TRUE",
        is_http_only=is_http_only,
    )


# --- the field -----------------------------------------------------------------------------------


def _from_field(text: str, url: Url, now: float) -> Cookie | None:
    """RFC 6265, sections 5.2 and 5.3; None where the cookie is not taken."""
    pair, *rest = text.split(";")
    name, equals, value = (part.strip(" \t") for part in pair.partition("="))
    is_sound = equals and name and not _NOT_IN_COOKIE.search(name + value)
    if not is_sound or len(name) + len(value) > MAX_COOKIE_BYTES:
        return None
    # The last one of a name counts.
    said = {
        key.strip().lower(): value.strip() for key, _, value in (one.partition("=") for one in rest)
    }
    domain = said.get("domain", "").removeprefix(".").lower()
    path = said.get("path", "")
    cookie = Cookie(
        name=name,
        value=value,
        domain=domain or url.origin.host,
        path=path
        if path.startswith("/") and not _NOT_IN_COOKIE.search(path)
        else _default_path(url),
        expires=_expiry(said, now),
        is_host_only=not domain or is_ip_literal(url.origin.host),
        is_secure="secure" in said,
        is_http_only="httponly" in said,
    )
    return cookie if _may_be_set(cookie, url) else None


def _may_be_set(cookie: Cookie, url: Url) -> bool:
    host, domain = url.origin.host, cookie.domain
    if domain != host and ("." not in domain or not _is_under(host, domain)):
        return False
    if cookie.is_secure and not _is_safe(url):
        return False
    if cookie.name.lower().startswith("__secure-"):
        return cookie.is_secure
    if cookie.name.lower().startswith("__host-"):
        return cookie.is_secure and cookie.is_host_only and cookie.path == "/"
    return True


def _is_under(host: str, domain: str) -> bool:
    return host == domain or (host.endswith(f".{domain}") and not is_ip_literal(host))


def _is_path_under(path: str, folder: str) -> bool:
    """RFC 6265, section 5.1.4."""
    return path == folder or (
        path.startswith(folder) and (folder.endswith("/") or path[len(folder)] == "/")
    )


def _default_path(url: Url) -> str:
    return url.path.rpartition("/")[0] or "/"


def _is_safe(url: Url) -> bool:
    """TLS, or this machine: what curl lets secure cookies through."""
    return url.origin.is_secure or url.origin.host in {"localhost", "127.0.0.1", "::1"}


def _expiry(said: dict[str, str], now: float) -> int:
    """Max-Age before Expires (RFC 6265, section 5.3); 1 is long ago."""
    age = said.get("max-age", "").strip('"')
    if re.fullmatch(r"-?[0-9]{1,18}", age):
        return int(now) + int(age) if int(age) > 0 else 1
    return _date(said["expires"]) if "expires" in said else 0


def _date(text: str) -> int:
    """RFC 6265, section 5.1.1: day, month, year and time in whatever order; 0 if it is none."""
    clock: tuple[int, int, int] | None = None
    day = month = year = None
    for token in _DATE_TOKEN.findall(text):
        if clock is None and (match := _CLOCK.match(token)):
            clock = (int(match[1]), int(match[2]), int(match[3]))
        elif day is None and (match := _NUMBER.match(token)) and len(match[1]) <= 2:
            day = int(match[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (match := _NUMBER.match(token)) and len(match[1]) in {2, 4}:
            year = int(match[1])
    if clock is None or day is None or month is None or year is None:
        return 0
    year += 1900 if 70 <= year <= 99 else 2000 if year < 70 else 0
    try:
        return max(1, int(datetime(year, month, day, *clock, tzinfo=UTC).timestamp()))
    except ValueError:
        return 0
