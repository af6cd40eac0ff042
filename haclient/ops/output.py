"""Where an answer goes: stdout or a file, as it arrives.

What is written is the content, and with -i and -I the heads before it, in curl's form; everything
else belongs on stderr. Binary content is not written to a terminal, as in curl: a NUL in the first
piece is what tells it. A file is opened when its first byte comes, so that a request that fails
leaves an old one as it was.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Self

from haclient.core.url import Url
from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import ExitCode
from haclient.types import Fields

__all__ = ["Output", "file_name_of", "head_lines"]

LOOKED_AT_BYTES = 2000
"""Of the first piece, for a NUL; as curl has it."""


def file_name_of(url: Url) -> str:
    """-O: the last part of the URL's path.

    Raises:
        CommandError: it has none (23, as curl).
    """
    from urllib.parse import unquote  # 2 ms: for -O alone

    name = os.path.basename(unquote(url.path))
    if not name or name in {".", ".."} or "\0" in name:
        raise CommandError(
            f"-O: the URL {url} has no file name; give one with -o", ExitCode.WRITE_ERROR
        )
    return name


def head_lines(http_version: bytes, status: int, reason: bytes, fields: Fields) -> bytes:
    """A response's head as it came, but for white space that has no meaning."""
    lines = [b"HTTP/%b %d %b" % (http_version, status, reason)]
    lines += [name + b": " + value if value else name + b":" for name, value in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Output:
    """One URL's output: stdout where `path` is None or "-".

    Attributes:
        path: of the file; None is stdout.
        written: bytes of content so far.
        is_terminal: what is written is read by a person at once.
    """

    def __init__(self, path: str | None) -> None:
        self.path = None if path == "-" else path
        self.written = 0
        self.is_terminal = self.path is None and sys.stdout.isatty()
        # Who says "-o -" wants it there, whatever it is.
        self._is_checked = path == "-" or not self.is_terminal
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        file, self._file = self._file, None
        if file is None or self.path is None:
            return
        try:
            with self._telling_why():
                file.close()
        except CommandError:
            # What came first is what there is to tell.
            if exc is None:
                raise

    def write_head(self, data: bytes) -> None:
        """A head among the output (-i, -I).

        Raises:
            CommandError: it cannot be written (23).
            BrokenPipeError: whoever read stdout has left.
        """
        self._write(data)

    def write(self, data: bytes) -> None:
        """A piece of content.

        Raises:
            CommandError: it is binary, and the output a terminal (23); or it cannot be written (23).
            BrokenPipeError: whoever read stdout has left.
        """
        if not self._is_checked:
            self._is_checked = True
            if b"\0" in data[:LOOKED_AT_BYTES]:
                raise CommandError(
                    "the content is binary and would mess up the terminal: "
                    "save it with -o FILE, or insist with -o -",
                    ExitCode.WRITE_ERROR,
                )
        self._write(data)
        self.written += len(data)

    def finish(self) -> None:
        """The content is whole: its file is there even without a byte, and nothing is held back.

        Raises:
            As `write_head`.
        """
        if self.path is not None:
            with self._telling_why():
                self._opened().flush()

    def _write(self, data: bytes) -> None:
        with self._telling_why():
            file = self._opened()
            file.write(data)
            if self.path is None:
                file.flush()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            if self.path is None:
                self._file = sys.stdout.buffer
            else:
                self._file = open(self.path, "wb")  # noqa: SIM115  (closed by __exit__)
        return self._file

    @contextmanager
    def _telling_why(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            where = f"the file {self.path!r}" if self.path is not None else "the output"
            remedy = _REMEDIES.get(getattr(exc, "errno", None) or 0, "name another file with -o")
            raise CommandError(
                f"{where} cannot be written: {why}; {remedy}", ExitCode.WRITE_ERROR
            ) from exc


_REMEDIES = {
    errno.ENOSPC: "make room there, or name another file with -o",
    errno.ENOENT: "make its directory first",
}
