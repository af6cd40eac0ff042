"""-H: what one line asks for, and what is not put on the wire.

curl sends such a line as it is written, line ends and all, so that whoever may choose a value may
add fields or a second request. Here a line is a field (RFC 9110, section 5) or an error:

    Name: value   the field, white space around the value taken off
    Name:         the field of that name that would be sent by itself is not sent
    Name;         the field with an empty value
    @FILE         one of these on each line; empty lines and those that start with "#" are not

Unlike curl, a line with neither ":" nor ";" is an error: it would be left out without a word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

import msgspec

from haclient.ops.command_line import CommandError
from haclient.ops.content import read_local

__all__ = ["FieldLine", "check_value", "read_field_lines"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class FieldLine(msgspec.Struct, frozen=True):
    """A field of the user's; `value` None removes the one that would be sent by itself."""

    name: bytes
    value: bytes | None

    def is_named(self, name: bytes) -> bool:
        """Whether it is about the field `name`, given in lower case."""
        return self.name.lower() == name


def read_field_lines(
    texts: Sequence[str], read_stdin: Callable[[], bytes]
) -> tuple[FieldLine, ...]:
    """Reads what -H was given, in order.

    Raises:
        CommandError: a line is no field (2), a file cannot be read (26).
    """
    found: list[FieldLine] = []
    for text in texts:
        if text.startswith("@"):
            lines = read_local(text[1:], "-H", read_stdin).splitlines()
            found += [_line(line) for line in lines if line.strip() and not line.startswith(b"#")]
        elif text.strip():
            found.append(_line(os.fsencode(text)))
    return tuple(found)


def _line(line: bytes) -> FieldLine:
    name, colon, value = line.partition(b":")
    if colon:
        field = FieldLine(name, check_value(value, "-H " + _shown(line)) or None)
    elif line.rstrip().endswith(b";"):
        field = FieldLine(line.rstrip()[:-1], b"")
    else:
        raise CommandError(f"-H {_shown(line)}: write 'Name: value', 'Name:' or 'Name;'")
    if not _TOKEN.fullmatch(field.name):
        raise CommandError(
            f"-H {_shown(line)}: {_shown(field.name)} is no field name; "
            "a name has letters, digits and hyphens, and no space before the colon"
        )
    return field


def check_value(value: bytes, option: str) -> bytes:
    """Returns the value without white space around it.

    Raises:
        CommandError: a control character in it, a line end above all.
    """
    stripped = value.strip(b" \t")
    found = _NOT_IN_VALUE.search(stripped)
    if found is not None:
        raise CommandError(f"{option}: a field value holds no {_shown(found.group())}; take it out")
    return stripped


def _shown(raw: bytes) -> str:
    return repr(os.fsdecode(raw[:100]))
