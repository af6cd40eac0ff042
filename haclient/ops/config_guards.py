"""What says who may use a door, in the file: users by number, the mode of a socket.

Kinds of values as in haclient.ops.config_kinds; what guards nothing where it stands is told by
haclient.core.config_check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from haclient.core.config import ListenerSettings, Mode
from haclient.core.config_check import KeyPath
from haclient.core.spec import TlsSettings
from haclient.ops.config_kinds import ListOf, OneValue
from haclient.ops.config_tls import file_faults

__all__ = ["REALM", "SOCKET_MODE", "UIDS", "guard_faults"]

LAST_UID = 2**32 - 2
"""2**32 - 1 is no user: the kernel takes it for "leave as it is" (chown(2))."""


def _uid(value: object) -> int:
    if isinstance(value, str):
        raise ValueError("a user is given by number: what 'id -u NAME' prints")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LAST_UID:
        raise ValueError("a user id is wanted, as 1000")
    return value


UIDS = ListOf(
    "list of user ids, at least one",
    OneValue("user id", _uid, {"type": "integer", "minimum": 0, "maximum": LAST_UID}),
    "a list of user ids is wanted, as [1000]; it must have at least one",
    frozenset,
    least=1,
)


_SOCKET_MODE = re.compile(r"0?[0-7]{3}")


def _socket_mode(value: object) -> str:
    # A number would be read as a decimal one: 660 is 0o1224.
    if not isinstance(value, str) or not _SOCKET_MODE.fullmatch(value):
        raise ValueError('a mode is three octal digits in a text, as "0660"')
    return value.zfill(4)


SOCKET_MODE = OneValue(
    'octal mode, as "0660"', _socket_mode, {"type": "string", "pattern": r"^0?[0-7]{3}$"}
)


_REALM = re.compile(r"[ -~]{1,100}")


def _realm(value: object) -> str:
    if not isinstance(value, str) or not _REALM.fullmatch(value) or set(value) & {'"', "\\"}:
        raise ValueError("a realm is up to 100 ASCII characters, without quotes and backslashes")
    return value


REALM = OneValue("text", _realm, {"type": "string", "pattern": r"^[ !#-\[\]-~]{1,100}$"})


def guard_faults(listener: ListenerSettings) -> Iterator[tuple[KeyPath, str]]:
    """The key below the listener's and what is wrong, for each file of its that cannot be used."""
    if listener.auth is not None and listener.mode is not Mode.TCP:
        from haclient.net.users_file import read_users  # scrypt: most files name no users

        try:
            read_users(listener.auth.users_file)
        except ValueError as exc:
            yield ("auth", "users_file"), str(exc)
    if listener.tls is not None:
        tls = listener.tls
        files = TlsSettings(
            ca_file=tls.client_ca_file, cert_file=tls.cert_file, key_file=tls.key_file
        )
        for key, what in file_faults(files):
            yield ("tls", "client_ca_file" if key == "ca_file" else key), what
