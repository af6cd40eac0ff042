"""A command on a terminal of its own: what a person would see.

    ran = on_terminal([COMMAND, "request", url])          # stdout and stderr are the terminal
    ran = on_terminal(words, stdout=PIPE)                  # stderr alone

The terminal is a pseudo-terminal of 80 columns and 24 lines; its line ends are "\\r\\n".
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import environment

__all__ = ["Shown", "on_terminal"]


@dataclass(frozen=True)
class Shown:
    """What came of it."""

    returncode: int
    terminal: str
    """Every character that was sent there, escape codes included."""
    stdout: bytes
    """Where stdout was a pipe."""


def on_terminal(
    words: Sequence[str | Path],
    *,
    stdout: int | None = None,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    replies: Mapping[str, str] | None = None,
    timeout: float = 30,
) -> Shown:
    """Runs `words` to their end on a terminal; what `replies` has for a prompt is typed there."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown: list[bytes] = []
    try:
        process = subprocess.Popen(
            words,
            stdin=its,
            stdout=its if stdout is None else stdout,
            stderr=its,
            cwd=cwd,
            env=environment(TERM="xterm-256color", **(variables or {})),
            start_new_session=True,
        )
        os.close(its)
        reader = threading.Thread(target=_read_all, args=(ours, shown, dict(replies or {})))
        reader.start()
        with process:
            try:
                piped = process.communicate(timeout=timeout)[0]
            finally:
                process.kill()
        reader.join(10)
    finally:
        os.close(ours)
    return Shown(process.returncode, b"".join(shown).decode(), piped or b"")


def _read_all(terminal: int, shown: list[bytes], replies: dict[str, str]) -> None:
    """Reads until nobody has the other end open any more."""
    with suppress(OSError):  # EIO
        while data := os.read(terminal, 65536):
            shown.append(data)
            for prompt in [one for one in replies if one.encode() in b"".join(shown)]:
                os.write(terminal, replies.pop(prompt).encode() + b"\n")
