"""TLS from a connected transport: a context for a target, and one handshake.

The name that is verified is the origin's, at every address and after every failover: the address
is never asked for. Trust is the system's (truststore finds the bundle where a Python built
elsewhere does not), unless the target names its own. One context serves all connections of a
target; loading the bundle takes 18 ms, so it is made when the first https connection needs it, and
read this once. The daemon makes those with files of their own at its start, and again at a reload.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable

import msgspec
import trio

from haclient.core.certificate import NO_KEY, lacks_key
from haclient.core.spec import TlsSettings
from haclient.errors import BadRequestError, CertificateError, ProxyStatus, TlsError
from haclient.net import Transport
from haclient.regular_file import MAX_PEM_BYTES, held_regular, read_regular

__all__ = [
    "ALPN",
    "VERSIONS",
    "Certificates",
    "TlsFileError",
    "describe_tls",
    "load",
    "load_own",
    "make_context",
    "start_tls",
    "tls_words",
]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

ALPN = ["http/1.1"]
"""RFC 7301; the only protocol that haclient speaks."""


class Certificates(msgspec.Struct, frozen=True, eq=False):
    """What was made of the files of a table's `tls`, and a digest of what they held."""

    context: ssl.SSLContext
    digest: bytes


class TlsFileError(BadRequestError):
    """A certificate, key or CA file cannot be used; `path` and `role` say which."""

    proxy_status = ProxyStatus.PROXY_CONFIGURATION_ERROR

    def __init__(self, role: str, path: str, why: str) -> None:
        super().__init__(f"the {role} file {path} cannot be used: {why}")
        self.role = role
        self.path = path


def make_context(settings: TlsSettings) -> ssl.SSLContext:
    """Returns a client context: verifying, ALPN http/1.1, the target's own files loaded.

    Raises:
        TlsFileError: a file is missing, unreadable, or not what it should be.
        ValueError: an unknown `min_version`.
    """
    if settings.min_version not in VERSIONS:
        raise ValueError(f'min_version must be "1.2" or "1.3", not "{settings.min_version}"')
    context = _trusting(settings)
    context.minimum_version = VERSIONS[settings.min_version]
    context.set_alpn_protocols(ALPN)
    if settings.cert_file is not None:
        load_own(context, settings.cert_file, settings.key_file)
    return context


def no_password() -> str:
    """An encrypted key has no one to ask for its password in an automated program."""
    raise ValueError("the key is encrypted; store it decrypted, with tight file permissions")


def _trusting(settings: TlsSettings) -> ssl.SSLContext:
    if not settings.verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if settings.ca_file is not None:
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load("CA", settings.ca_file, own.load_verify_locations)
        return own
    return _trusting_system()


def _trusting_system() -> ssl.SSLContext:
    """A context with the system's trust, read here and now.

    truststore knows where each system keeps its bundle, and reads it anew for every connection:
    18 ms (measured) in which nothing else runs. So it is asked only where OpenSSL's own default
    (SSL_CERT_FILE and SSL_CERT_DIR among it) holds nothing.
    """
    if sys.platform == "linux":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_default_verify_paths()
        directory = ssl.get_default_verify_paths().capath
        if context.cert_store_stats()["x509_ca"] or (directory and _has_certificates(directory)):
            return context
    import truststore  # 22 ms: only for whoever needs it

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _has_certificates(directory: str) -> bool:
    """Whether it is one that OpenSSL looks into: files named by a hash and a number."""
    return any(name[:-1].endswith(".") and name[-1].isdigit() for name in os.listdir(directory))


def load_own(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    """Our own certificate and its key; what is wrong is found out file by file."""
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def load_chain(key: str) -> None:
        if lacks_key(read_regular(key, MAX_PEM_BYTES)):
            raise ValueError(NO_KEY)
        with held_regular(cert_file, MAX_PEM_BYTES) as chain:
            context.load_cert_chain(chain, key, no_password)

    load("certificate", cert_file, certificate.load_verify_locations)
    load("key", key_file or cert_file, load_chain)


def load(role: str, path: str, read: Callable[[str], None]) -> None:
    """Has a file read by a path that leads to it; what is wrong is told with its own.

    Raises:
        TlsFileError: it cannot be used.
    """
    try:
        with held_regular(path, MAX_PEM_BYTES) as file:
            read(file)
    except FileNotFoundError:
        raise TlsFileError(role, path, "no such file") from None
    except ssl.SSLError as exc:
        raise TlsFileError(role, path, _why_not_loaded(exc)) from exc
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else None
        raise TlsFileError(role, path, why or str(exc)) from exc


def _why_not_loaded(exc: ssl.SSLError) -> str:
    if exc.reason == "KEY_VALUES_MISMATCH":
        return "it does not belong to the certificate"
    return f"not valid PEM ({exc.reason or exc})"


async def start_tls(
    transport: Transport, context: ssl.SSLContext, server_name: str
) -> trio.abc.Stream:
    """Shakes hands over a connected transport and returns the stream for the plain text.

    EOF without close_notify is an error, so that an answer delimited by the end of the connection
    cannot be cut short by a stranger (RFC 8446, section 6.1).

    Raises:
        CertificateError: the chain or the name does not hold for `server_name`.
        TlsError: anything else that keeps the handshake from finishing.
        trio.BrokenResourceError: the connection broke.
    """
    stream = trio.SSLStream(transport, context, server_hostname=server_name)  # type: ignore[type-var]
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as exc:
        cause = exc.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise CertificateError(certificate_words(cause)) from exc
        if isinstance(cause, ssl.SSLEOFError):
            raise TlsError("the server closed the connection in the handshake") from exc
        if isinstance(cause, ssl.SSLError):
            raise TlsError(tls_words(cause)) from exc
        raise
    return stream


def certificate_words(exc: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate, as OpenSSL says it, without its file and line."""
    return exc.verify_message.rstrip(".") or tls_words(exc)


def tls_words(exc: ssl.SSLError) -> str:
    """OpenSSL's reason in small letters ("wrong version number": often a plain-text server)."""
    return (exc.reason or "TLS error").replace("_", " ").lower()


def describe_tls(stream: object) -> str:
    """Version and cipher of a TLS stream ("TLSv1.3 TLS_AES_256_GCM_SHA384"), or empty."""
    if not isinstance(stream, trio.SSLStream):
        return ""
    cipher = stream.cipher()
    return f"{stream.version()} {cipher[0]}" if cipher else str(stream.version())
