"""A users file on the disk: read only where nobody else can read or change it.

A hash can be guessed at, on other machines and in peace, by whoever can read it; whoever can write the
file is any user he likes. So a file that every user of the machine can read, or that anybody but its owner
can write, is refused, as ssh does with keys. Its group may read it: a file of root's is so
given to a service (mode 0640).
"""

from __future__ import annotations

import errno
import os
import stat

from haclient.core.users import MAX_BYTES, Users
from haclient.regular_file import NotRegularError, open_regular

__all__ = ["read_users", "read_users_text", "users_in"]

OF_OTHERS, WRITABLE = 0o007, 0o022


def read_users(path: str) -> Users:
    """The users of the file at `path`.

    Raises:
        ValueError: one line that says what is wrong, where, and what would do.
    """
    users = users_in(path, read_users_text(path))
    if not users.by_name:
        raise ValueError(
            f"{path} has no user, so nobody could enter; add one with 'haclient passwd'"
        )
    return users


def users_in(path: str, text: str) -> Users:
    """The users whose lines the file at `path` has.

    Raises:
        ValueError: as `read_users`.
    """
    try:
        return Users.parse(text)
    except ValueError as exc:
        raise ValueError(f"{path}, {exc}") from None


def read_users_text(path: str) -> str:
    """The text of the file at `path`, if it is one to be trusted.

    Raises:
        ValueError: as `read_users`.
    """
    try:
        with open_regular(path) as file:
            if why := _why_refused(path, os.fstat(file.fileno())):
                raise ValueError(why)
            return file.read(MAX_BYTES + 1).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no UTF-8; write it with 'haclient passwd'") from None
    except NotRegularError:
        what = f"{path} is no regular file; name the one that 'haclient passwd' writes"
        raise ValueError(what) from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; name a file in it") from None
    except OSError as exc:
        remedy = _remedy(exc.errno)
        raise ValueError(f"{path} cannot be read: {exc.strerror}; {remedy}") from None


def _remedy(number: int | None) -> str:
    if number == errno.ENOENT:
        return "make it with 'haclient passwd'"
    if number == errno.EACCES:
        return (
            f"chown it to user {os.geteuid()}, or chgrp it to a group of his and chmod 640, "
            "and let him into its folder"
        )
    return "name another file"


def _why_refused(path: str, found: os.stat_result) -> str:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {found.st_uid}, who could write himself in; chown it"
    if mode & OF_OTHERS or mode & WRITABLE:
        return f"{path} has mode {mode:04o}: {_who_may(mode)}; chmod 600 it, or 640 for a service's group"
    if found.st_size > MAX_BYTES:
        return f"{path} has more than {MAX_BYTES >> 20} MiB"
    return ""


def _who_may(mode: int) -> str:
    if not mode & OF_OTHERS:
        return "its group can change it"
    rights = [
        word for bit, word in ((stat.S_IROTH, "read"), (stat.S_IWOTH, "change")) if mode & bit
    ]
    return f"everybody can {' and '.join(rights)} it" if rights else "everybody has a right to it"
