"""Colours and signs, as far as a stream has them.

Colours that are always on fill log files with escape codes; a library for them costs more than
haclient's whole start. So: a dozen codes of ECMA-48, on a terminal alone, and the conventions that
people set once for all programs: NO_COLOR (not empty: none), FORCE_COLOR (not empty: also into a
pipe), TERM=dumb (none). A sign that the stream's encoding lacks has a stand-in of one character, so
that columns stay columns.

What a peer sent is not to be trusted with a terminal: `printable` shows its control characters
instead of obeying them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TextIO

__all__ = ["Colour", "Sign", "Style", "can_encode", "json_text", "printable"]


class Colour(enum.Enum):
    """Select Graphic Rendition codes (ECMA-48, section 8.3.117), the eight of every palette."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"
    MAGENTA = "35"
    CYAN = "36"


class Sign(enum.Enum):
    """A sign, and what stands in for it where the encoding has ASCII only."""

    def __init__(self, sign: str, stand_in: str) -> None:
        self.sign = sign
        self.stand_in = stand_in

    DONE = ("✔", "+")
    FAILED = ("✘", "x")
    WARNING = ("!", "!")
    SENT = ("→", ">")
    RECEIVED = ("←", "<")
    SILENT = ("…", ".")
    SUSPECT = ("?", "?")
    AGAIN = ("↻", "@")
    NOTE = ("·", "-")


class Style:
    """What a stream can show.

    Args:
        is_coloured: escape codes are understood.
        is_unicode: more than ASCII is.
    """

    __slots__ = ("is_coloured", "is_unicode")

    def __init__(self, *, is_coloured: bool = False, is_unicode: bool = True) -> None:
        self.is_coloured = is_coloured
        self.is_unicode = is_unicode

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Style:
        """What `stream` can show, and what the environment wants of it."""
        return cls(
            is_coloured=wants_colour(stream, environ),
            is_unicode=can_encode(stream, "".join(each.sign for each in Sign)),
        )

    def paint(self, text: str, *colours: Colour) -> str:
        """`text` in these colours, or as it is."""
        if not self.is_coloured or not colours or not text:
            return text
        return f"\x1b[{';'.join(colour.value for colour in colours)}m{text}\x1b[0m"

    def sign(self, sign: Sign) -> str:
        """The sign, or its stand-in."""
        return sign.sign if self.is_unicode else sign.stand_in


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether to colour what goes to `stream`; NO_COLOR has the last word."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environ.get("TERM") != "dumb"


def can_encode(stream: TextIO, text: str) -> bool:
    """Whether the stream's encoding has every character of `text`."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def printable(text: str) -> str:
    r"""`text` with its control characters written out (ESC as "\x1b")."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def json_text(value: object) -> str:
    """`value` as indented JSON, with a line end."""
    import msgspec  # most that is printed is no JSON

    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
