"""Where an answer goes: stdout or a file, whole or as it arrives, and the bar that shows it coming.

What is written is the content, and with -i and -I the heads before it, in curl's form; everything
else belongs on stderr. Binary content is not written to a terminal, as in curl: a NUL in the first
piece is what tells it. A file is opened when its first byte comes, so that a request that fails
leaves an old one as it was.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import unquote

from haclient.core.url import Url
from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import ExitCode

__all__ = ["Output", "file_name_of"]


def file_name_of(url: Url) -> str:
    """-O: the last part of the URL's path.

    Raises:
        CommandError: it has none (23, as curl).
    """
    name = os.path.basename(unquote(url.path))
    if not name or name in {".", ".."} or "\0" in name:
        raise CommandError(
            f"-O: the URL {url} has no file name; give one with -o", ExitCode.WRITE_ERROR
        )
    return name


class Output:
    """One URL's output: stdout where `path` is None or "-".

    Attributes:
        written: bytes of content so far.
        is_terminal: what is written is read by a person at once.
    """

    def __init__(self, path: str | None, *, may_be_binary: bool = False) -> None:
        self.path = None if path == "-" else path
        self.written = 0
        self._file: BinaryIO | None = None
        self.is_terminal = self.path is None and sys.stdout.isatty()
        self._is_checked = may_be_binary or not self.is_terminal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None and self.path is not None:
            self._file.close()

    def write_head(self, data: bytes) -> None:
        """A head among the output (-i, -I)."""
        self._write(data)

    def write(self, data: bytes) -> None:
        """A piece of content.

        Raises:
            CommandError: it is binary, and the output a terminal (23); or it cannot be written (23).
        """
        if not self._is_checked:
            self._is_checked = True
            if b"\0" in data[:2000]:
                raise CommandError(
                    "the content is binary and would mess up the terminal: "
                    "save it with -o FILE, or insist with -o -",
                    ExitCode.WRITE_ERROR,
                )
        self._write(data)
        self.written += len(data)

    def touch(self) -> None:
        """An answer without content still makes its file, as curl's does."""
        if self.path is not None:
            self._open()

    def flush(self) -> None:
        """What was written is with the operating system."""
        if self._file is not None:
            self._guarded(self._file.flush)

    def _write(self, data: bytes) -> None:
        file = self._open()
        self._guarded(lambda: file.write(data))
        if self.path is None:
            self._guarded(file.flush)

    def _open(self) -> BinaryIO:
        if self._file is None:
            if self.path is None:
                self._file = sys.stdout.buffer
            else:
                try:
                    self._file = open(self.path, "wb")  # noqa: SIM115  (closed by __exit__)
                except (OSError, ValueError) as exc:
                    raise self._failed(exc) from exc
        return self._file

    def _guarded(self, do: object) -> None:
        try:
            do()  # type: ignore[operator]
        except BrokenPipeError:
            raise
        except OSError as exc:
            raise self._failed(exc) from exc

    def _failed(self, exc: Exception) -> CommandError:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        where = f"the file {self.path!r}" if self.path is not None else "the output"
        return CommandError(f"{where} cannot be written: {why}", ExitCode.WRITE_ERROR)
