"""What the doors of a configuration ask whoever comes, as it is in their files at this moment.

A reload reads certificates and users again also where the configuration's own file is the same: they are
renewed by other programs. All of it is read before anything changes, so that one broken file changes
nothing.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator

import msgspec

from haclient.core.config import Config, DoorTls, ListenerSettings, Mode
from haclient.core.users import Users
from haclient.net.tls import TlsFileError
from haclient.net.tls_server import make_server_context
from haclient.net.users_file import read_users
from haclient.regular_file import read_regular

__all__ = ["GuardError", "Guards", "read_guards", "renewed"]


class GuardError(Exception):
    """What says who may enter a door cannot be had; one line says which, and why."""


class Guards(msgspec.Struct, frozen=True):
    """By the listener's name; `prints` are of the files of TLS, by what they hold."""

    users: dict[str, Users]
    contexts: dict[str, ssl.SSLContext]
    prints: dict[str, bytes]


def read_guards(config: Config) -> Guards:
    """Reads every file that says who may enter a door.

    Raises:
        GuardError: one cannot be used.
    """
    guards = Guards({}, {}, {})
    for one in config.listeners:
        try:
            _read(one, guards)
        except (ValueError, OSError, TlsFileError) as exc:
            raise GuardError(f"listener {one.name}: {exc}") from None
    return guards


def _read(one: ListenerSettings, guards: Guards) -> None:
    if one.auth is not None:
        guards.users[one.name] = read_users(one.auth.users_file)
    if one.tls is not None:
        is_http = one.mode is not Mode.TCP
        guards.contexts[one.name] = make_server_context(one.tls, is_http=is_http)
        guards.prints[one.name] = _print_of(one.tls)


def _print_of(tls: DoorTls) -> bytes:
    digest = hashlib.sha256()
    for path in (tls.cert_file, tls.key_file, tls.client_ca_file):
        if path is not None:
            digest.update(read_regular(path))
    return digest.digest()


def renewed(before: Guards, after: Guards) -> Iterator[str]:
    """A line for each file that holds something else than before."""
    for name, users in after.users.items():
        if before.users.get(name, users) != users:
            yield f"listener {name}: users, {len(users.by_name)} of them"
    for name, print_ in after.prints.items():
        if before.prints.get(name, print_) != print_:
            yield f"listener {name}: certificates"
