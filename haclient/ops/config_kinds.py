"""What kinds of values a configuration key can have: how each is read, and what it is to an editor.

A kind holds both, so that the daemon, `haclient check` and an editor's JSON schema cannot disagree.
`OneValue` reads what has no parts that an error could be about; `ListOf` and `TableOf` are read part by
part (haclient.ops.config_read), so that a mistake in the second route is told with its own line.

TOML is strict about types, and so is this: true is no number, 1.0 is no count, and nothing is
guessed from a text but durations and sizes, which have units. Ranges are asked here, where the key is
known; `core` asks once more for those who build its values by hand.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from haclient.core.affinity import WANTED, parse_affinity
from haclient.core.allow import AllowList, Rule, parse_rule
from haclient.core.config import LOG_FORMATS, LOG_LEVELS, parse_bind
from haclient.core.names import ip_literal, parse_nameserver, to_ascii
from haclient.core.url import parse_target_url
from haclient.errors import UrlError
from haclient.ops.command_line import parse_duration

__all__ = [
    "Kind",
    "ListOf",
    "OneValue",
    "TableOf",
    "parse_size",
]

Read = Callable[[object], object]
"""A value of the file, as what it stands for; ValueError says what would do."""

Schema = dict[str, Any]
"""A JSON schema (draft 2020-12)."""


class OneValue(msgspec.Struct, frozen=True):
    """A value that is right or wrong as a whole; `words` are for the manual's column "type"."""

    words: str
    read: Read
    schema: Schema
    is_path: bool = False
    """Of a file; one that is not absolute starts from the configuration's own folder."""


class ListOf(msgspec.Struct, frozen=True):
    """An array; `build` makes one value of those of its elements."""

    words: str
    item: Kind
    wanted: str
    """What is said where there is no list, or one that is too short."""
    build: Callable[[tuple[Any, ...]], object] = tuple
    least: int = 0


class TableOf(msgspec.Struct, frozen=True):
    """An inline table with keys of its own; `build` gets their values by attribute."""

    words: str
    keys: Mapping[str, Any]
    build: Callable[..., object]


Kind = OneValue | ListOf | TableOf


# --- numbers --------------------------------------------------------------------------------------

_SIZE = re.compile(r"([0-9]{1,12})(KiB|MiB|GiB)?")
_UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_DURATION_PATTERN = r"^ *([0-9]*\.?[0-9]+|[0-9]+\.)([eE][+-]?[0-9]{1,2})?(ms|s|m|h)? *$"
_SIZE_PATTERN = r"^[0-9]{1,12}(KiB|MiB|GiB)?$"


def parse_size(value: object) -> int:
    """Returns bytes for "64KiB", "1MiB" or a number of bytes.

    Raises:
        ValueError: it is neither.
    """
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
    if match is None or isinstance(value, bool):
        raise ValueError('a size is "64KiB", "1MiB" or a number of bytes')
    return int(match[1]) * _UNITS[match[2]]


def duration(*, above_zero: bool) -> OneValue:
    """Seconds; 0 is a duration too where nothing breaks by it."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError('a duration is "250ms", "4s", "2m" or a number of seconds')
        seconds = parse_duration(str(value))
        if above_zero and not seconds > 0:
            raise ValueError("it must be more than 0 seconds")
        return seconds

    bound = {"exclusiveMinimum": 0} if above_zero else {"minimum": 0}
    number: Schema = {"type": "number", **bound}
    text: Schema = {"type": "string", "pattern": _DURATION_PATTERN}
    return OneValue(
        "duration above 0" if above_zero else "duration", read, {"anyOf": [number, text]}
    )


def size(least: int = 0, most: int | None = None) -> OneValue:
    """Bytes, from `least` to `most`."""

    def read(value: object) -> int:
        found = parse_size(value)
        if found < least or (most is not None and found > most):
            raise ValueError(f"it must be {between(least, most, size_text)}")
        return found

    number: Schema = {"type": "integer", "minimum": least}
    if most is not None:
        number["maximum"] = most
    text: Schema = {"type": "string", "pattern": _SIZE_PATTERN}
    words = "size" if not least else f"size, {between(least, most, size_text)}"
    return OneValue(words, read, {"anyOf": [number, text]})


def count(least: int) -> OneValue:
    """A whole number."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("a whole number is wanted")
        if value < least:
            raise ValueError(f"it must be at least {least}")
        return value

    return OneValue(f"whole number, at least {least}", read, {"type": "integer", "minimum": least})


def _ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number is wanted, as 0.2")
    if not 0 <= value < float("inf"):
        raise ValueError("it must not be negative, nor without end")
    return float(value)


RATIO = OneValue("number, at least 0", _ratio, {"type": "number", "minimum": 0})


def _status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 300 <= value <= 599:
        raise ValueError("a status code from 300 to 599 is wanted")
    return value


STATUSES = ListOf(
    "list of status codes, 300 to 599",
    OneValue("status code", _status, {"type": "integer", "minimum": 300, "maximum": 599}),
    "a list of status codes from 300 to 599 is wanted, as [502, 503]",
    frozenset,
)


def between(least: int, most: int | None, text: Callable[[int], str]) -> str:
    """A range in words."""
    if most is None:
        return f"at least {text(least)}"
    return f"from {text(least)} to {text(most)}"


def size_text(number: int) -> str:
    """A size as one would write it."""
    for unit in ("GiB", "MiB", "KiB"):
        if number and number % (_UNITS[unit]) == 0:
            return f"{number // _UNITS[unit]}{unit}"
    return str(number)


# --- words ----------------------------------------------------------------------------------------


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is wanted")
    return value


BOOLEAN = OneValue("true or false", _boolean, {"type": "boolean"})


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a text is wanted")
    return value


TEXT = OneValue("text", _text, {"type": "string", "minLength": 1})

FILE = OneValue("path of a file", _text, {"type": "string", "minLength": 1}, is_path=True)


def one_of(words: tuple[str, ...]) -> OneValue:
    """One of some words."""
    return _choice(words, lambda word: word)


def member_of(kind: type[enum.Enum]) -> OneValue:
    """The member of an enumeration whose value is given."""
    return _choice(tuple(str(member.value) for member in kind), kind)


def _choice(words: tuple[str, ...], make: Callable[[str], object]) -> OneValue:
    listed = ", ".join(f'"{word}"' for word in words)
    wanted = f"one of {listed} is wanted" if len(words) > 1 else f"{listed} is wanted"

    def read(value: object) -> object:
        if isinstance(value, str) and value in words:
            return make(value)
        raise ValueError(wanted)

    return OneValue(listed.replace(", ", " or "), read, {"enum": list(words)})


def _affinity(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(WANTED)
    return parse_affinity(value)


AFFINITY = OneValue(
    '"none", "client", "cookie:NAME" or "header:NAME"',
    _affinity,
    {
        "type": "string",
        "pattern": "^(none|client|(cookie|header):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
    },
)

LOG_FORMAT = one_of(LOG_FORMATS)
LOG_LEVEL = one_of(LOG_LEVELS)


# --- names and addresses --------------------------------------------------------------------------

_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def _url(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('a text is wanted, as "http://a.internal"')
    try:
        url = parse_target_url(value)
    except UrlError as error:
        raise ValueError(str(error)) from None
    if not _WITH_SCHEME.match(value):
        # Typed once, a host alone is http; in a file it leaves open whether https was forgotten.
        raise ValueError(f'it has no scheme: write "http://{"HOST" if "@" in value else value}"')
    if "?" in url.path_and_query:
        raise ValueError("a path may be put before that of a request, and a query not: remove it")
    return url


URL = OneValue(
    "URL",
    _url,
    {"type": "string", "minLength": 1, "pattern": r"^[A-Za-z][A-Za-z0-9+.-]*:/[^?\s]+$"},
)


def _bind(value: object) -> object:
    return parse_bind(_text(value))


BIND = OneValue(
    "address and port, `unix:PATH` or `systemd:NAME`",
    _bind,
    {
        "type": "string",
        "pattern": r"^(unix:/.+|systemd:[^:]+|[0-9.]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+(%.+)?\]:[0-9]{1,5})$",
    },
)


def _nameserver(value: object) -> str:
    text = _text(value)
    parse_nameserver(text)
    return text


NAMESERVER = OneValue("address, with or without a port", _nameserver, {"type": "string"})


def _host(value: object) -> str:
    text = _text(value)
    asterisk = "*." if text.startswith("*.") else ""
    try:
        return ip_literal(text.strip("[]")) or asterisk + to_ascii(text[len(asterisk) :])
    except ValueError as error:
        raise ValueError(f"{error}; write the host alone, without a port") from None


def _name(value: object) -> str:
    host = _host(value)
    if host.startswith("*"):
        raise ValueError("a certificate is for one name; write it without an asterisk")
    return host


HOST = OneValue("host name, or `*.` and one", _host, {"type": "string", "minLength": 1})

NAME = OneValue("host name", _name, {"type": "string", "minLength": 1, "pattern": r"^[^*]"})


def _rule(value: object) -> Rule:
    return parse_rule(_text(value))


ALLOW = ListOf(
    "list of `HOST:PORT`",
    OneValue(
        "`HOST:PORT`",
        _rule,
        {"type": "string", "pattern": r"^[^:\[]+:[0-9*-]+$|^\[[^]]+\]:[0-9*-]+$"},
    ),
    'a list of texts is wanted, as ["*.internal:443", "10.0.0.0/8:*"]',
    AllowList,
)


def _path(value: object) -> str:
    text = _text(value)
    if not text.startswith("/") or not text.isascii() or not text.isprintable():
        raise ValueError('a path begins with "/", as "/v1/"')
    if any(sign in text for sign in " ?#"):
        raise ValueError("a path is without query, fragment and space")
    if "//" in text or {".", ".."} & set(text.split("/")):
        raise ValueError('a path is without empty segments, "." and ".."')
    return text


def _health_path(value: object) -> str:
    text = _text(value)
    if not text.startswith("/") or not text.isascii() or not text.isprintable():
        raise ValueError('a path begins with "/", as "/health"')
    if " " in text or "#" in text:
        raise ValueError("a path is without fragment and space")
    return text


HEALTH_PATH = OneValue("path", _health_path, {"type": "string", "pattern": "^/[^ #]*$"})

PATH = OneValue("path", _path, {"type": "string", "pattern": "^/[^ ?#]*$"})
