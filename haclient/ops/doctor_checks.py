"""What this machine gives, one fact at a time: each is tried, not looked up.

A version number says little: a container runtime can refuse an option that its kernel has, and a
distribution can bring one to a kernel that is older. So an option is set on a socket and seen to be
taken, a file is opened, a bundle is loaded.
"""

from __future__ import annotations

import enum
import os
import platform
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from haclient.core.spec import TlsSettings
from haclient.net.blackhole import blackhole
from haclient.net.resolver import SystemResolver
from haclient.net.sockopts import (
    IP_RECVERR,
    TCP_RTO_MAX_MS,
    start_keepalive,
    tcp_info_works,
)
from haclient.net.tls import make_context

__all__ = ["Check", "Grade", "caps_window_probes", "checks"]

IS_LINUX = platform.system() == "Linux"

LIBRARIES = ("trio", "h11", "dnspython", "truststore", "rich")

ENOUGH_DESCRIPTORS = 1024
"""The usual soft limit. A proxied request takes two."""

FEW_DESCRIPTORS = 128
"""Below that, even a command that races eight addresses and asks a name server is at risk."""


class Grade(enum.Enum):
    """What to make of a fact."""

    OK = "ok"
    WARN = "warn"
    """haclient works; the advice says what is worse than it could be."""
    FAIL = "fail"
    """Something that haclient promises cannot be kept here."""


class Check(msgspec.Struct, frozen=True):
    """One line: what was found, and unless it is in order, what to do."""

    name: str
    grade: Grade
    found: str
    advice: str = ""


def checks() -> Iterator[Check]:
    """Every check that takes no time, in the order in which a person would ask."""
    yield _kernel()
    yield _tcp_info()
    yield _keepalive()
    yield _rto_max()
    yield _recverr()
    yield _socket_filter()
    yield _ipv6()
    resolver = SystemResolver()
    yield _name_servers(resolver)
    yield _hosts_file(resolver)
    yield _ca_bundle()
    yield _descriptors()
    yield _python()
    yield _libraries()


def _kernel() -> Check:
    found = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if IS_LINUX:
        return Check("kernel", Grade.OK, found)
    advice = "a dead server is noticed by the kernel's own keep-alive only; Linux does better"
    return Check("kernel", Grade.WARN, found, advice)


def _tcp_info() -> Check:
    if tcp_info_works():
        found = "readable, and its counters add up on a loopback connection"
        return Check("TCP_INFO", Grade.OK, found)
    return Check(
        "TCP_INFO",
        Grade.FAIL,
        "not readable, or of an unknown layout",
        "the kernel's own keep-alive stands in: no second try on suspicion, and a server that dies "
        "with data in flight is not noticed for minutes; use Linux 4.6 or newer, without a sandbox "
        "that has a network of its own",
    )


def refusal(
    option: Callable[[socket.socket], None], family: socket.AddressFamily = socket.AF_INET
) -> str:
    """Sets an option on a fresh socket; returns why that failed, or nothing."""
    try:
        with socket.socket(family) as sock:
            option(sock)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _keepalive() -> Check:
    if not (reason := refusal(start_keepalive)):
        return Check("keep-alive", Grade.OK, "SO_KEEPALIVE and TCP_KEEPIDLE can be set")
    advice = "a server that dies while it thinks is not noticed; allow setsockopt for TCP sockets"
    return Check("keep-alive", Grade.FAIL, f"cannot be set: {reason}", advice)


def _set_rto_max(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)


def caps_window_probes() -> bool:
    """Whether the kernel has TCP_RTO_MAX_MS (Linux 6.15)."""
    return IS_LINUX and not refusal(_set_rto_max)


def _rto_max() -> Check:
    if caps_window_probes():
        return Check("TCP_RTO_MAX_MS", Grade.OK, "window probes are 1 s apart at the most")
    return Check(
        "TCP_RTO_MAX_MS",
        Grade.WARN,
        "this kernel has not got it",
        "a server that dies while it does not read a large upload is noticed late: its window "
        "probes go up to 2 min apart; Linux 6.15 has it",
    )


def _set_recverr(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)


def _recverr() -> Check:
    if IS_LINUX and not (reason := refusal(_set_recverr)):
        return Check("IP_RECVERR", Grade.OK, "ICMP unreachable is an error at once")
    reason = reason if IS_LINUX else "not on this system"
    advice = 'a router\'s "unreachable" counts only once a time-out has passed'
    return Check("IP_RECVERR", Grade.WARN, f"cannot be set: {reason}", advice)


def _socket_filter() -> Check:
    if not (reason := refusal(blackhole)):
        return Check("socket filter", Grade.OK, "a socket can be blackholed")
    advice = "only 'haclient demo' and the bound below need it (SO_ATTACH_FILTER)"
    return Check("socket filter", Grade.WARN, f"not allowed: {reason}", advice)


def _ipv6() -> Check:
    reason = refusal(lambda sock: sock.bind(("::1", 0)), socket.AF_INET6)
    if not reason:
        return Check("IPv6", Grade.OK, "::1 is this machine")
    advice = "AAAA addresses are raced and fail at once; nothing is lost but their servers"
    return Check("IPv6", Grade.WARN, f"not usable: {reason}", advice)


def _name_servers(resolver: SystemResolver) -> Check:
    conf = resolver.configuration()
    search = " ".join(conf.search) or "none"
    found = (
        f"{', '.join(conf.nameservers)}; search {search}; ndots {conf.ndots}; "
        f"{conf.attempts} tries of {conf.timeout:g} s ({conf.resolv_conf_path})"
    )
    if _is_readable(conf.resolv_conf_path):
        return Check("name servers", Grade.OK, found)
    advice = f"{conf.resolv_conf_path} cannot be read; write 'nameserver ADDRESS' into it"
    return Check("name servers", Grade.WARN, found, advice)


def _hosts_file(resolver: SystemResolver) -> Check:
    path = resolver.configuration().hosts_path
    if _is_readable(path):
        return Check("hosts file", Grade.OK, f"{path}, read before any name server is asked")
    advice = "names are asked of the name servers alone (localhost is known in any case)"
    return Check("hosts file", Grade.WARN, f"{path} cannot be read", advice)


def _is_readable(path: str) -> bool:
    return os.access(path, os.R_OK)


# --- trust --------------------------------------------------------------------------------------

USUAL_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
"""Where distributions keep it; named only if it is there."""


def _ca_bundle() -> Check:
    advice = "no https server can be verified; install the distribution's ca-certificates, or set SSL_CERT_FILE"
    try:
        context = make_context(TlsSettings())
        # truststore loads the bundle with the first connection; this is one, over no wire.
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    except (ImportError, OSError) as error:
        return Check("CA bundle", Grade.FAIL, f"cannot be loaded: {error}", advice)
    where, count = _bundle(), context.cert_store_stats()["x509_ca"]
    if not count and os.path.isdir(where):
        # A directory of hashed names is looked into when a certificate is verified.
        count = len([name for name in os.listdir(where) if name.endswith(".0")])
    if not count:
        return Check("CA bundle", Grade.FAIL, "not found, or empty", advice)
    return Check("CA bundle", Grade.OK, f"{count} authorities, {where}")


def _bundle() -> str:
    defaults = ssl.get_default_verify_paths()
    usual = next((path for path in USUAL_BUNDLES if Path(path).is_file()), "found by truststore")
    return defaults.cafile or defaults.capath or usual


# --- the process --------------------------------------------------------------------------------


def _descriptors() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{_limit(soft)}, up to {_limit(hard)}"
    advice = "raise it with 'ulimit -n' or LimitNOFILE=: a proxied connection takes two"
    if 0 <= soft < FEW_DESCRIPTORS:
        return Check("descriptors", Grade.FAIL, found, advice)
    if 0 <= soft < ENOUGH_DESCRIPTORS:
        return Check("descriptors", Grade.WARN, found, advice)
    return Check("descriptors", Grade.OK, found)


def _limit(number: int) -> str:
    return "no limit" if number == resource.RLIM_INFINITY else str(number)


def _python() -> Check:
    found = (
        f"{platform.python_version()} ({platform.python_implementation()}), {ssl.OPENSSL_VERSION}"
    )
    return Check("Python", Grade.OK, found)


def _libraries() -> Check:
    found: list[str] = []
    missing: list[str] = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if not missing:
        return Check("libraries", Grade.OK, ", ".join(found))
    return Check(
        "libraries",
        Grade.FAIL,
        f"{', '.join(missing)} not installed",
        f"install it: python -m pip install {' '.join(missing)}",
    )
