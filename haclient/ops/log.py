"""The daemon's own log: one line for each thing that happened.

Not the logging module: its StreamHandler blocks where stderr's reader sleeps, prints a traceback where
it has left, and a line through it takes 8.4 µs where one from here takes 3.2 (two fields, to
/dev/null, CPython 3.11), and each request has one. What is wanted of it is little: a level, a format,
one destination.

    text            2026-11-27T12:00:00.123Z info listening name=orders bind=127.0.0.1:8080
    under systemd   <6>listening name=orders bind=127.0.0.1:8080
    json            {"time":"2026-11-27T12:00:00.123Z","level":"info","message":"listening","name":"orders",…}

Under systemd the journal has the time already, and reads the priority from sd-daemon(3)'s prefix; the
prefix stands before a line of JSON, too, and is taken off.

Whatever a field holds, a line is one line: see log_text. How it is written: see line_writer.
"""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from haclient.core.config import LogSettings
from haclient.ops.line_writer import LineWriter
from haclient.ops.log_text import value, visible

__all__ = ["Level", "Log", "is_journal"]


class Level(enum.IntEnum):
    """The values are syslog's priorities (sd-daemon(3)); lower is graver."""

    ERROR = 3
    WARNING = 4
    INFO = 6
    DEBUG = 7


WORDS = {level: level.name.lower() for level in Level}
"""As in the configuration file."""


class Stream(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """Its number."""
        ...


def wall_clock() -> int:
    """Nanoseconds of Unix time: for a log's stamp alone, no duration is reckoned with it."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def is_journal(stream: Stream, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `stream` is the journal's own socket, as JOURNAL_STREAM says (systemd.exec(5)).

    Numbers are compared, for the variable is inherited also where stderr leads elsewhere by now.
    """
    try:
        is_at = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{is_at.st_dev}:{is_at.st_ino}"


class Log:
    """Writes lines to `stream`, of which it has a descriptor of its own.

    Args:
        settings: format and level.
        stream: stderr.
        under_journal: priorities in place of times; see `is_journal`.
        now: nanoseconds of Unix time.
    """

    def __init__(
        self,
        settings: LogSettings,
        stream: Stream,
        under_journal: bool,
        now: Callable[[], int] = wall_clock,
    ) -> None:
        self._writer = LineWriter(stream.fileno(), self._notice)
        self._under_journal = under_journal
        self._stamp = _Stamp(now)
        self.apply(settings)

    def apply(self, settings: LogSettings) -> None:
        """Takes other settings from the next line on."""
        self.is_json = settings.format == "json"
        self._level = Level[settings.level.upper()]

    @property
    def dropped(self) -> int:
        """Lines that stderr did not take."""
        return self._writer.dropped

    def is_on(self, level: Level) -> bool:
        """Whether lines of `level` are written: asked before an expensive one is put together."""
        return level <= self._level

    def debug(self, message: str, **fields: object) -> None:
        """What only a developer needs."""
        self._log(Level.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        """What an operator wants to find later."""
        self._log(Level.INFO, message, fields)

    def warning(self, message: str, **fields: object) -> None:
        """What somebody should look at."""
        self._log(Level.WARNING, message, fields)

    def error(self, message: str, **fields: object) -> None:
        """What does not work."""
        self._log(Level.ERROR, message, fields)

    def text_line(self, level: Level, text: str) -> None:
        """Writes a line of text that is harmless already; the caller asked `is_on`."""
        self._writer.write(self._text(level, text))

    def json_line(self, level: Level, members: Mapping[str, object]) -> None:
        """Writes an object; the caller asked `is_on`."""
        self._writer.write(self._json(level, members))

    def close(self) -> None:
        """No more is written."""
        self._writer.close()

    def _log(self, level: Level, message: str, fields: Mapping[str, object]) -> None:
        if level <= self._level:
            self._writer.write(self._line(level, message, fields))

    def _line(self, level: Level, message: str, fields: Mapping[str, object]) -> bytes:
        if self.is_json:
            return self._json(level, {"message": message, **fields})
        return self._text(level, visible(message) + "".join(map(_pair, fields.items())))

    def _notice(self, count: int) -> bytes:
        message = "log lines were dropped, for stderr did not take them"
        return self._line(Level.WARNING, message, {"count": count})

    def _text(self, level: Level, text: str) -> bytes:
        if self._under_journal:
            return f"<{level:d}>{text}\n".encode()
        return f"{self._stamp.now()} {WORDS[level]} {text}\n".encode()

    def _json(self, level: Level, members: Mapping[str, object]) -> bytes:
        prefix = f"<{level:d}>" if self._under_journal else ""
        head = {"time": self._stamp.now(), "level": WORDS[level]}
        return f"{prefix}{_json_text(head | dict(members))}\n".encode()


class _Stamp:
    """RFC 3339 in UTC with milliseconds; the second's text is made once a second."""

    __slots__ = ("_now", "_second", "_text")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._second = -1
        self._text = ""

    def now(self) -> str:
        """The present instant."""
        second, rest = divmod(self._now() // 1_000_000, 1000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{rest:03d}Z"


def _pair(pair: tuple[str, object]) -> str:
    """` key=value`; nothing for what is not known."""
    key, given = pair
    match given:
        case None:
            return ""
        case bool():
            return f" {key}={'yes' if given else 'no'}"
        case float():
            return f" {key}={given:.3f}"
        case int():
            return f" {key}={given}"
        case _:
            return f" {key}={value(str(given))}"


def _json_text(members: Mapping[str, object]) -> str:
    try:
        text = msgspec.json.encode(members, enc_hook=str).decode()
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 has no bytes for
        clean = {k: visible(v) if isinstance(v, str) else v for k, v in members.items()}
        text = msgspec.json.encode(clean, enc_hook=repr).decode()
    # What JSON would let pass (DEL, C1, bidirectional overrides) can only stand within a text.
    return visible(text)
