"""The content of a request, from -d and its kin or from -T.

What -d gives is put together in memory, as curl does: several pieces are joined, and the length
must be known before the head is sent. What -T names may be larger than memory, so it is only looked
at here; whoever sends it opens it, as often as a resend or a redirect needs it.

Unlike curl 7.88, a file that cannot be read is an error (26, as in later versions), and not an
empty POST; and NUL bytes in a file of -d are left out, and do not cut the line short.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence

import msgspec

from haclient.ops.command_line import CommandError
from haclient.ops.options import DataKind

__all__ = [
    "Content",
    "InlineContent",
    "LocalFile",
    "StandardInput",
    "join_data",
    "percent_encode",
    "read_local",
    "upload",
]

READ_ERROR = 26
"""CURLE_READ_ERROR."""

REMEDY = "check its name and permissions"

STDIN_NAMES = {"-", "."}
"""-T: "." is stdin without blocking in curl; here no read blocks."""

_RESERVED = re.compile(rb"[^A-Za-z0-9._~-]")


class InlineContent(msgspec.Struct, frozen=True):
    """Bytes at hand."""

    data: bytes

    @property
    def length(self) -> int:
        """In bytes."""
        return len(self.data)


class LocalFile(msgspec.Struct, frozen=True):
    """A file to be read when it is sent; `length` None where it has none (a pipe, a device)."""

    path: str
    length: int | None


class StandardInput(msgspec.Struct, frozen=True):
    """stdin, to be read when it is sent, once. `length` only where the user says it."""

    length: int | None = None


Content = InlineContent | LocalFile | StandardInput


def read_local(path: str, option: str, read_stdin: Callable[[], bytes]) -> bytes:
    """Returns what a file holds, or stdin for "-".

    Raises:
        CommandError: it cannot be read (26).
    """
    if path == "-":
        return read_stdin()
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(
            f"{option}: the file {path!r} cannot be read: {why}; {REMEDY}", READ_ERROR
        ) from None


def join_data(parts: Sequence[tuple[DataKind, str]], read_stdin: Callable[[], bytes]) -> bytes:
    """Returns the content that -d, --data-*, and --json give together, in their order.

    Raises:
        CommandError: a file cannot be read (26).
    """
    pieces: list[bytes] = []
    for at, (kind, value) in enumerate(parts):
        if at and kind is not DataKind.JSON:
            pieces.append(b"&")
        pieces.append(_piece(kind, value, read_stdin))
    return b"".join(pieces)


def _piece(kind: DataKind, value: str, read_stdin: Callable[[], bytes]) -> bytes:
    if kind is DataKind.URLENCODE:
        return _urlencoded(value, read_stdin)
    if kind is DataKind.RAW or not value.startswith("@"):
        return os.fsencode(value)
    data = read_local(value[1:], f"--{kind.value}", read_stdin)
    return data.translate(None, b"\r\n\0") if kind is DataKind.FORM else data


def _urlencoded(value: str, read_stdin: Callable[[], bytes]) -> bytes:
    """TEXT, =TEXT, NAME=TEXT, @FILE or NAME@FILE; what comes first, "=" or else "@", decides."""
    mark = "=" if "=" in value else "@"
    name, found, rest = value.partition(mark)
    if not found:
        return percent_encode(os.fsencode(value)).replace(b"%20", b"+")
    is_file = mark == "@"
    data = read_local(rest, "--data-urlencode", read_stdin) if is_file else os.fsencode(rest)
    encoded = percent_encode(data).replace(b"%20", b"+")
    return os.fsencode(name) + b"=" + encoded if name else encoded


def percent_encode(data: bytes) -> bytes:
    """Everything but RFC 3986's unreserved characters as %XX."""
    return _RESERVED.sub(lambda found: b"%%%02X" % found.group()[0], data)


def upload(path: str) -> LocalFile | StandardInput:
    """Returns what -T names.

    Raises:
        CommandError: there is no such file, or it cannot be opened (26).
    """
    if path in STDIN_NAMES:
        return StandardInput()
    try:
        state = os.stat(path)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(None, "it is a directory")
        if not os.access(path, os.R_OK):
            raise PermissionError(None, "permission denied")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(
            f"-T: the file {path!r} cannot be read: {why}; {REMEDY}", READ_ERROR
        ) from None
    return LocalFile(path, state.st_size if stat.S_ISREG(state.st_mode) else None)
