"""What a machine knows about names before it asks anybody.

The naive answer is the C library's getaddrinfo in a thread. It reads the same two files as we do,
but it gives no TTL, cannot be cancelled, says "temporary failure" for four different things, and
holds a thread for as long as a name server is silent. So the files are read here: as text, by
functions that never fail on any text, because an editor may save them half written.

    parse_hosts        hosts(5): what needs no query
    parse_resolv_conf  resolv.conf(5): whom to ask, how patiently, and under which names
    to_ascii           the host as it is compared and asked: lower case, A-labels, or a ValueError
    query_names        the host with the search list, in the order in which it is to be asked

Left out: nsswitch.conf (the order is always files, then dns), the host's own domain as a search
list where none is given, LOCALDOMAIN and RES_OPTIONS, `sortlist`, `rotate` (a name server that
answers is kept instead), `single-request`, and the library's `edns0` and `trust-ad`, which say what
we do in any case: EDNS always, the AD bit never believed.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from haclient.types import Endpoint

__all__ = [
    "DNS_PORT",
    "LOOPBACK_ADDRESSES",
    "Hosts",
    "ResolvConf",
    "describe_nameserver",
    "ip_literal",
    "is_ip_literal",
    "is_localhost",
    "is_loopback",
    "parse_hosts",
    "parse_nameserver",
    "parse_resolv_conf",
    "query_names",
    "to_ascii",
    "whom_kernel_dials",
]

DNS_PORT = 53

LOOPBACK_ADDRESSES = ("::1", "127.0.0.1")
"""What `localhost` means where the hosts file is silent (RFC 6761, section 6.3)."""

MAX_NAMESERVERS = 3
"""As many as glibc and musl read (MAXNS, resolv.conf(5)): a fourth one would be asked by nobody
else on the machine, and each silent one costs a time-out."""

MAX_SEARCH_DOMAINS = 32
"""glibc has had no limit since 2.26; this is what Kubernetes lets a pod have (KEP-2595), and keeps
one lookup bounded."""

MAX_NDOTS, MAX_TIMEOUT, MAX_ATTEMPTS = 15, 30, 5
"""The caps of resolv.conf(5)."""

DEFAULT_TIMEOUT = 2
"""Seconds of silence after which the next name server is asked, where the file does not say.

resolv.conf(5) has 5 s, longer than the whole failover window (4 s): one dead name server would fail
every request that meets it. dnspython takes 2 s. A server that is only slow loses nothing by it,
for an earlier query is heard until its question is settled (core.question).
"""

MAX_NAME_LENGTH = 253
"""255 octets on the wire (RFC 1035, section 2.3.4), less the length octets at both ends."""

# Letters, digits, hyphen (RFC 1123, section 2.1), and the underscore that Docker and Windows names
# bear. What else DNS would carry (RFC 2181, section 11) cannot be the host of a URL.
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")

# A host that ends in a number is an IPv4 address or an error for every browser (WHATWG URL, "ends
# in a number"), and a shortened address for inet_aton: asking DNS would be a third opinion, and a
# way around an allow list.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

_ADDRESS_AND_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,5}))?")


class Hosts(msgspec.Struct, frozen=True):
    """The hosts file: each name with its addresses in the order of the file."""

    addresses: Mapping[str, tuple[str, ...]] = msgspec.field(
        default_factory=lambda: MappingProxyType({})
    )

    def lookup(self, host: str) -> tuple[str, ...]:
        """Every address of `host` (as `to_ascii` gives it); empty where the file has none."""
        return self.addresses.get(host.removesuffix("."), ())


class ResolvConf(msgspec.Struct, frozen=True):
    """Whom to ask and how (resolv.conf(5)). `timeout` is in seconds, for one try."""

    nameservers: tuple[Endpoint, ...] = (Endpoint("127.0.0.1", DNS_PORT),)
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = DEFAULT_TIMEOUT
    attempts: int = 2
    uses_tcp_only: bool = False
    """`use-vc`."""
    asks_for_ipv6: bool = True
    """Not with `no-aaaa` (glibc 2.36)."""


def parse_hosts(text: str) -> Hosts:
    """Reads hosts(5). A line that makes no sense is passed over, as the C library does."""
    found: dict[str, dict[str, None]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        literal = ip_literal(address)
        if literal is not None:
            for name in names:
                found.setdefault(name.lower().removesuffix("."), {})[literal] = None
    return Hosts(MappingProxyType({name: tuple(each) for name, each in found.items()}))


def parse_resolv_conf(text: str) -> ResolvConf:
    """Reads resolv.conf(5). What makes no sense is passed over; no name server means 127.0.0.1."""
    nameservers: list[Endpoint] = []
    search: tuple[str, ...] = ()
    options: dict[str, str] = {}
    for line in text.splitlines():
        keyword, *values = line.split() or [""]
        if keyword == "nameserver" and values:
            address = ip_literal(values[0])
            if address is not None:
                nameservers.append(Endpoint(address, DNS_PORT))
        elif keyword in {"search", "domain"}:
            # The last one counts; `domain` is a search list of one.
            search = _search_list(values if keyword == "search" else values[:1])
        elif keyword == "options":
            options.update(_option(value) for value in values)
    return ResolvConf(
        nameservers=tuple(dict.fromkeys(nameservers))[:MAX_NAMESERVERS] or ResolvConf().nameservers,
        search=search,
        ndots=_number(options, "ndots", default=1, least=0, most=MAX_NDOTS),
        timeout=_number(options, "timeout", default=DEFAULT_TIMEOUT, least=1, most=MAX_TIMEOUT),
        attempts=_number(options, "attempts", default=2, least=1, most=MAX_ATTEMPTS),
        uses_tcp_only="use-vc" in options,
        asks_for_ipv6="no-aaaa" not in options,
    )


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name, value


def _number(options: dict[str, str], name: str, *, default: int, least: int, most: int) -> int:
    value = options.get(name, "")
    if not (value.isascii() and value.isdigit()):
        return default
    # Ten digits are beyond every cap, and thousands of them are an error for int() itself.
    return min(max(int(value), least), most) if len(value) < 10 else most


def _search_list(values: list[str]) -> tuple[str, ...]:
    domains = [value.lower().strip(".") for value in values]
    return tuple(dict.fromkeys(d for d in domains if not _fault(d)))[:MAX_SEARCH_DOMAINS]


def parse_nameserver(text: str) -> Endpoint:
    """Reads "10.0.0.53", "10.0.0.53:5353", "::1" or "[::1]:5353".

    Raises:
        ValueError: it is none of these; the message says what would do.
    """
    found = _ADDRESS_AND_PORT.fullmatch(text)
    address, port = text, DNS_PORT
    if found is not None:
        address, port = found[1] or found[2], int(found[3] or DNS_PORT)
    literal = ip_literal(address)
    if literal is None or not 0 < port <= 65535:
        raise ValueError(
            f"{text!r} is not a name server: give an IP address, with a port if it is not 53 "
            '("10.0.0.53", "127.0.0.1:5353", "[::1]:5353")'
        )
    return Endpoint(literal, port)


def describe_nameserver(server: Endpoint) -> str:
    """The address, and the port only where it is not 53."""
    return server.address if server.port == DNS_PORT else str(server)


def ip_literal(host: str) -> str | None:
    """`host` in its shortest form if it is an IPv4 or IPv6 address (with or without a zone).

    Without brackets: those belong to the URL. None for everything else, shortened IPv4
    ("127.1") included.
    """
    if ":" not in host and not host[-1:].isdigit():
        return None  # the common case, without the price of two exceptions
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def is_ip_literal(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    return ip_literal(host) is not None


def is_localhost(host: str) -> bool:
    """Whether `host` (as `to_ascii` gives it) is this machine by definition (RFC 6761, 6.3)."""
    name = host.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


def is_loopback(address: str) -> bool:
    """Whether nobody but this machine has the address.

    Raises:
        ValueError: it is none.
    """
    # Of ::ffff:127.0.0.1, Python 3.11 says that it is no loopback address.
    return whom_kernel_dials(address).is_loopback


def whom_kernel_dials(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address without its zone; of an IPv4-mapped one the IPv4 address, to which the kernel connects.

    Raises:
        ValueError: it is none.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


@functools.lru_cache(maxsize=1024)
def to_ascii(host: str) -> str:
    """The host as it is compared and asked: lower case, A-labels; a trailing dot stays.

    Names beyond ASCII follow IDNA 2008 with the mapping of UTS 46, as curl and the browsers do; the
    codec of the standard library is IDNA 2003, which takes `straße` to another host.

    Raises:
        ValueError: no name server could know such a name; the message says why.
    """
    name = host.lower()
    if not host.isascii():
        # Here, because its tables cost 10 ms that a plain name need not pay. trio brings it along.
        import idna

        try:
            name = idna.encode(host, uts46=True).decode("ascii")
        except UnicodeError as error:
            raise ValueError(f"{host!r} is not a host name: {error}") from error
    fault = _fault(name.removesuffix("."))
    if fault:
        raise ValueError(f"{host!r} is not a host name: {fault}")
    return name


def _fault(name: str) -> str:
    """Why no name server is to be asked for `name` (without its trailing dot); empty if none."""
    if not name:
        return "it is empty"
    if len(name) > MAX_NAME_LENGTH:
        return f"it has {len(name)} characters, {MAX_NAME_LENGTH} is the most (RFC 1035, 2.3.4)"
    labels = name.split(".")
    for label in labels:
        if not label:
            return "there is nothing between two of its dots"
        if len(label) > 63:
            return (
                f"{label[:20]!r}... has {len(label)} characters, 63 is the most (RFC 1035, 2.3.4)"
            )
        if not _LABEL.fullmatch(label):
            return f"{label!r} has a character that is no letter, digit, hyphen or underscore"
    if _NUMBER.fullmatch(labels[-1]):
        return "it ends in a number, so it would be an IPv4 address, and it is none"
    return ""


def query_names(host: str, conf: ResolvConf) -> tuple[str, ...]:
    """The names to ask for, in order, each absolute (resolv.conf(5), `search` and `ndots`).

    A host with as many dots as `ndots` is asked as it is first and with the search list then, a
    shorter one the other way round; one that ends in a dot only as it is. `host` is as `to_ascii`
    gives it.
    """
    if host.endswith("."):
        return (host,)
    searched = [f"{host}.{domain}" for domain in conf.search]
    names = [host, *searched] if host.count(".") >= conf.ndots else [*searched, host]
    return tuple(dict.fromkeys(f"{name}." for name in names if len(name) <= MAX_NAME_LENGTH))
