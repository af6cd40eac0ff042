"""Who is who, at the doors and at the servers, as it is at this moment in the files that a configuration names.

A reload reads certificates and users again also where the configuration's own file is the same: they are
renewed by other programs. All of it is read before anything changes, so that one broken file changes
nothing; what the first request would find is found at the start.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import msgspec

from haclient.core.config import Config, ListenerSettings, Mode
from haclient.core.spec import Target
from haclient.core.users import Users
from haclient.net.tls import Certificates, TlsFileError, make_context
from haclient.net.tls_server import make_server_context
from haclient.net.users_file import read_users
from haclient.regular_file import MAX_PEM_BYTES, read_regular

__all__ = ["Trust", "TrustError", "of_listener", "of_target", "read_trust", "renewed"]


class TrustError(Exception):
    """A file that says who is who cannot be used; one line says which, and why."""


class Trust(msgspec.Struct, frozen=True):
    """By `of_listener` and `of_target`; a target without files of its own trusts whom the system trusts."""

    users: dict[str, Users]
    certificates: dict[str, Certificates]


def of_listener(name: str) -> str:
    """The key of a listener in Trust, and its name to a person."""
    return f"listener {name}"


def of_target(name: str) -> str:
    """The same of a target."""
    return f"target {name}"


def read_trust(config: Config) -> Trust:
    """Reads every file that says who is who, at a door or at a target's servers.

    Raises:
        TrustError: one cannot be used.
    """
    trust = Trust({}, {})
    for listener in config.listeners:
        with _named(table := of_listener(listener.name)):
            _read_door(table, listener, trust)
    for name, target in config.targets.items():
        with _named(table := of_target(name)):
            _read_target(table, target, trust)
    return trust


@contextlib.contextmanager
def _named(table: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, TlsFileError) as exc:
        raise TrustError(f"{table}: {exc}") from None


def _read_door(table: str, listener: ListenerSettings, trust: Trust) -> None:
    if listener.auth is not None:
        trust.users[table] = read_users(listener.auth.users_file)
    if (tls := listener.tls) is not None:
        digest = _digest(tls.cert_file, tls.key_file, tls.client_ca_file)
        context = make_server_context(tls, is_http=listener.mode is not Mode.TCP)
        trust.certificates[table] = Certificates(context, digest)


def _read_target(table: str, target: Target, trust: Trust) -> None:
    tls = target.tls
    files = tls.ca_file, tls.cert_file, tls.key_file
    if any(files):
        digest = _digest(*files)
        trust.certificates[table] = Certificates(make_context(tls), digest)


def _digest(*files: str | None) -> bytes:
    """Of what they hold before they are loaded: one that is renewed in between is another to the next reload."""
    digest = hashlib.sha256()
    for path in filter(None, files):
        with contextlib.suppress(OSError):  # whoever loads it says what is wrong
            digest.update(read_regular(path, MAX_PEM_BYTES))
    return digest.digest()


def renewed(before: Trust, after: Trust) -> Iterator[str]:
    """A line for each file that holds something else than before."""
    for table, users in after.users.items():
        if before.users.get(table, users) != users:
            yield f"{table}: users, {len(users.by_name)} of them"
    for table, each in after.certificates.items():
        if before.certificates.get(table, each).digest != each.digest:
            yield f"{table}: certificates"
