"""Whether the files that TLS names can be used, how long, and who has the key, without making the context that uses them.

haclient.net.tls says the same when the first https connection is made, which is after the start, and in
front of a request. It stands on trio, which `haclient check` has no time for; so the files are tried
here once more, each by itself, and a test holds that both refuse the same ones.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator

from haclient.core.spec import TlsSettings
from haclient.regular_file import MAX_PEM_BYTES, held_regular, read_regular

__all__ = ["age_warning", "file_faults", "key_warning"]

ENCRYPTED = "the key is encrypted, and nobody is there to ask for the password; store it decrypted"


def file_faults(tls: TlsSettings) -> Iterator[tuple[str, str]]:
    """The key and what is wrong, for each file that cannot be used."""
    if tls.ca_file is not None:
        yield from _fault("ca_file", lambda: _load_certificates(tls.ca_file))
    if tls.cert_file is not None:
        found = list(_fault("cert_file", lambda: _load_certificates(tls.cert_file)))
        yield from found
        if not found:
            key = "key_file" if tls.key_file is not None else "cert_file"
            yield from _fault(key, lambda: _load_key(tls))


def age_warning(cert_file: str | None) -> str:
    """What is to be said of a certificate that has expired, or soon will have; empty if nothing."""
    if cert_file is None:
        return ""
    from haclient.core.certificate import trouble  # most files name none

    try:
        pem = read_regular(cert_file, MAX_PEM_BYTES)
    except OSError:
        return ""  # that is a fault
    return trouble(pem, time.clock_gettime(time.CLOCK_REALTIME))


def key_warning(key_file: str | None) -> str:
    """What is to be said of a private key that every user of the machine has; empty if nothing."""
    if key_file is None:
        return ""
    from haclient.core.certificate import lacks_key

    try:
        mode = stat.S_IMODE(os.stat(key_file).st_mode)
        if not mode & stat.S_IROTH or lacks_key(read_regular(key_file, MAX_PEM_BYTES)):
            return ""
    except OSError:
        return ""  # that is a fault
    return f"everybody can read the key (mode {mode:04o}); chmod 600 it, or 640 for a group"


def _load_certificates(path: str | None) -> None:
    import ssl  # 20 ms: most files name none

    assert path is not None
    with held_regular(path, MAX_PEM_BYTES) as file:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)


def _load_key(tls: TlsSettings) -> None:
    import ssl

    from haclient.core.certificate import NO_KEY, lacks_key

    def no_password() -> str:
        raise ValueError(ENCRYPTED)

    assert tls.cert_file is not None
    with (
        held_regular(tls.cert_file, MAX_PEM_BYTES) as chain,
        held_regular(tls.key_file or tls.cert_file, MAX_PEM_BYTES) as key,
    ):
        if lacks_key(read_regular(key, MAX_PEM_BYTES)):
            raise ValueError(NO_KEY)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(chain, key, no_password)


def _fault(key: str, load: Callable[[], None]) -> Iterator[tuple[str, str]]:
    try:
        load()
    except OSError as exc:  # ssl.SSLError is one
        yield key, f"{_why(exc)}; name a PEM file that this user can read"
    except ValueError as exc:
        yield key, str(exc)


def _why(exc: OSError) -> str:
    reason = getattr(exc, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "this key does not belong to the certificate"
    if hasattr(exc, "reason"):
        return f"not valid PEM ({reason or exc})"
    return os.strerror(exc.errno) if exc.errno else str(exc)
