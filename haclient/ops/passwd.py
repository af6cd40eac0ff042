"""`haclient passwd FILE USER`: writes a user's hashed password into a users file.

A password on the command line can be read by every user of the machine (ps), and stays in the shell's
history. So it is asked for on the terminal, twice and without echo; elsewhere one line of stdin is it. The
file is written anew beside the old one and put in its place at once: a daemon that reloads sees the one or
the other, whole.

Of two that change the file at once, the naive later one writes what it read before the earlier one's change, and a
user who was removed is back. So the file itself is locked (flock(2)), which leaves nothing behind, and is read
again under the lock. Who gets the lock of a file that was replaced meanwhile asks for the new one's. A symbolic
link is followed once: whoever asks for each step where it leads may lock one file, read another and write a third.
Whoever may read the file can hold its lock for as long as he likes. So it is waited for aloud, and not for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from haclient.ops.command_line import CommandError, CommandParser
from haclient.whole_file import put_in_place

if TYPE_CHECKING:
    from haclient.core.users import User

__all__ = ["build_parser", "run"]

NOT_WRITTEN, CONFIGURATION = 23, 78
"""Of `exit_codes`, whose import this need not pay for."""

LONGEST_LINE = 1 << 16

TOLD_AFTER, LONGEST_WAIT, BETWEEN_TRIES = 1.0, 30.0, 0.05
"""Seconds for which another's lock is waited for: in silence, in all, and from one try to the next. Another `passwd`
holds it for some ms, the longest of them the disk's."""


def build_parser() -> CommandParser:
    """Returns the parser of `haclient passwd`."""
    parser = CommandParser(
        "haclient passwd",
        usage="%(prog)s [--stdin | --delete] FILE USER",
        description="Writes a user of a listener's 'auth' into its users file, the password hashed by scrypt.",
        epilog="The password is asked for twice; where stdin is no terminal, one line of it is the "
        "password. 'haclient reload' puts the file in force.",
    )
    add = parser.add_argument
    add("--stdin", action="store_true", help="read the password from stdin, also at a terminal")
    add("--delete", action="store_true", help="remove the user")
    add("-h", "--help", action="help", help="print this")
    add("file", metavar="FILE", help="made if it is not there, with mode 0600")
    add("user", metavar="USER", help="without a colon")
    return parser


def run(argv: list[str]) -> int:
    """Writes the file; 0 when it is in place."""
    parser = build_parser()
    options = parser.parse_args(parser.canonical(argv))
    # scrypt comes with OpenSSL, which --help has no use for.
    from haclient.core.users import checked_name, with_user

    path: str = options.file
    if options.delete or os.path.lexists(path):
        _text_of(path)  # nobody types a password in vain
    try:
        name = checked_name(options.user)
        user = None if options.delete else _asked(name, is_piped=options.stdin)
    except ValueError as exc:
        raise CommandError(str(exc)) from None
    with _locked(path, may_make=not options.delete) as real:
        after, had = with_user(_text_of(real), name, user)
        if user is None and not had:
            raise CommandError(f"{path} has no user {name!r}; nothing was changed")
        _put_in_place(real, after)
    done = "removed" if user is None else "changed" if had else "added"
    sys.stdout.write(f"{name}: {done}; a daemon that runs knows it after 'haclient reload'\n")
    return 0


def _text_of(path: str) -> str:
    from haclient.net.users_file import read_users_text, users_in

    try:
        text = read_users_text(path)
        users_in(path, text)
    except ValueError as exc:
        raise CommandError(str(exc), CONFIGURATION) from None
    return text


@contextlib.contextmanager
def _locked(path: str, *, may_make: bool) -> Iterator[str]:
    """Nobody else changes the file meanwhile, whose path, without links, it gives.

    Where there is none one is made, and removed unless it is replaced.
    """
    pauses = _pauses(path)
    while True:
        with contextlib.ExitStack() as closing:
            try:
                real = os.path.realpath(path)
                descriptor, is_new = _opened(real, may_make=may_make)
                closing.callback(os.close, descriptor)
                while not _could_lock(descriptor):
                    next(pauses)
            except FileExistsError:
                continue  # somebody made it meanwhile
            except OSError as exc:
                raise _not_written(path, exc) from None
            if _is_at(real, descriptor):
                if is_new:
                    closing.callback(_remove_unless_replaced, real, descriptor)
                yield real
                return


def _could_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pauses(path: str) -> Iterator[None]:
    """Waits between two tries, and says so where it takes long; ends in an error where it takes too long."""
    for tries in range(round(LONGEST_WAIT / BETWEEN_TRIES)):
        if tries == round(TOLD_AFTER / BETWEEN_TRIES):
            sys.stderr.write(
                f"haclient: another process holds the lock of {path}; waiting for it, "
                f"{LONGEST_WAIT:g} s at the most\n"
            )
        time.sleep(BETWEEN_TRIES)  # noqa: TID251  (no loop runs here)
        yield
    raise CommandError(
        f"{path} cannot be written: another process has held its lock for {LONGEST_WAIT:g} s; "
        f"'fuser -v {path}' names it",
        NOT_WRITTEN,
    )


def _opened(path: str, *, may_make: bool) -> tuple[int, bool]:
    """A descriptor to lock, and whether the file was made. On NFS only one that may write can be locked so."""
    flags = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR), False
    except FileNotFoundError:
        if not may_make:
            raise
        return os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), True
    except PermissionError:
        return os.open(path, flags | os.O_RDONLY), False


def _remove_unless_replaced(path: str, descriptor: int) -> None:
    if _is_at(path, descriptor):
        os.unlink(path)


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _asked(name: str, *, is_piped: bool) -> User:
    """The user, with the password that is typed, or stands on a line of stdin."""
    from haclient.core.users import SALT_BYTES, new_user

    return new_user(name, _password(is_piped=is_piped), os.urandom(SALT_BYTES))


def _password(*, is_piped: bool) -> str:
    """Never echoed, never an argument."""
    if is_piped or not sys.stdin.isatty():
        line = sys.stdin.buffer.readline(LONGEST_LINE)
        return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")  # refused, if it is no UTF-8
    import getpass

    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise CommandError("the two are not the same; nothing was changed")
    return first


def _put_in_place(path: str, text: str) -> None:
    """With the owner and the mode of the file that it replaces; 0600 where there was none."""
    try:
        put_in_place(path, text.encode(), lambda descriptor: _become(descriptor, path))
    except OSError as exc:
        raise _not_written(path, exc) from None


def _not_written(path: str, exc: OSError) -> CommandError:
    return CommandError(f"{path} cannot be written: {exc.strerror}", NOT_WRITTEN)


def _become(descriptor: int, path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, found.st_uid, found.st_gid)
        os.fchmod(descriptor, found.st_mode & 0o640)
