"""Whom a forward proxy may be used to reach: the rules of `allow`, and the two questions put to them.

The naive answer compares the host in the request with a list of names. The name then leads to 127.0.0.1,
or to the address from which a cloud hands out its machines' credentials (169.254.169.254), and whoever may
use the proxy is inside. Or the list forbids 127.0.0.1, and 0x7f.1 gets there, or [::ffff:127.0.0.1]. So:

1. Nothing is allowed that no rule allows.
2. What is not an address in its one canonical spelling is a name (core.destination), and no name that
   ends in a number is ever looked up (core.names).
3. A request is judged twice: by what it asks for, before any name is looked up; and each address that the
   name has, before it is dialled. What was judged is what is dialled, without a second look-up.
4. Addresses that mean another thing than "a server out there" (loopback, link-local, metadata, multicast,
   and forms of IPv6 with an IPv4 address inside) are allowed only by a rule that names them: an address
   or range within their block, or the very name asked for. "*", "*.internal" and 0.0.0.0/0 do not.

An IPv4-mapped address is its IPv4 address, for that is whom the kernel connects to.

Left out: rules that forbid (the first version of each such list forgets one), rules by user or path, and
the Public Suffix List.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

import msgspec

from haclient.core.names import ip_literal, to_ascii, whom_kernel_dials

__all__ = ["AllowList", "Forbidden", "Rule", "parse_rule"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_PORT = 65535

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

NO_RULE = "allowed by no rule of the list"

MOST_SHOWN = 8
"""Rules that a refusal names; a head has room for 400 characters of them (core.proxy_status)."""

_WANTED = (
    'write "HOST:PORT", as "*.internal:443", "10.0.0.0/8:443", "[fd00::/8]:*" or "host:8000-8100"'
)
_LENGTH = re.compile(r"[^/%]+(?:/[0-9]{1,3})?")
_RULE = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+):(\*|[0-9]{1,5}(?:-[0-9]{1,5})?)")


Holds = Callable[[int], tuple[int, ...]]
"""From an IPv6 address to the IPv4 addresses in it."""

_LOW = 0xFFFFFFFF
"""The last 32 bits: where most forms have it."""


def _holds_none(address: int) -> tuple[int, ...]:
    return ()


def _holds_last(address: int) -> tuple[int, ...]:
    return (address & _LOW,)


def _in_6to4(address: int) -> tuple[int, ...]:
    return (address >> 80 & _LOW,)


def _in_teredo(address: int) -> tuple[int, ...]:
    """The client's, with all its bits inverted, and that of its server (RFC 4380, section 4)."""
    return ~address & _LOW, address >> 64 & _LOW


def _in_local_nat64(address: int) -> tuple[int, ...]:
    """In each place that it may have.

    A network chooses a prefix of 48, 56, 64 or 96 bits within the /48 (RFC 8215, section 5), and the IPv4
    address follows, with a gap for bits 64 to 71 (RFC 6052, section 2.2). Which one we do not know, so all
    count, but for 0.0.0.0/8: that is how the zeros of another layout read.
    """
    without_gap = address >> 64 << 56 | address & (1 << 56) - 1
    readings = (without_gap >> 40, without_gap >> 32, without_gap >> 24, address)
    return tuple(found for each in readings if (found := each & _LOW) >> 24)


class Block(msgspec.Struct, frozen=True):
    """Addresses that are no server's among others.

    Attributes:
        kind: what they are, with its article.
        by_name: whether a rule with the very name that was asked for lets them in.
        inside: the IPv4 addresses that one of them holds, as numbers.
    """

    network: Network
    kind: str
    by_name: bool = True
    inside: Holds = _holds_none


def _block(network: str, kind: str, *, by_name: bool = True, inside: Holds = _holds_none) -> Block:
    return Block(ipaddress.ip_network(network), kind, by_name, inside)


METADATA = "a cloud's metadata address"

BLOCKS = tuple(
    sorted(
        (
            # RFC 6890's registry, where connecting has another meaning than "that server".
            _block("0.0.0.0/8", "an unspecified address", by_name=False),
            _block("127.0.0.0/8", "a loopback address"),
            _block("169.254.0.0/16", "a link-local address"),
            _block("224.0.0.0/4", "a multicast address", by_name=False),
            _block("240.0.0.0/4", "a reserved address", by_name=False),
            _block("255.255.255.255/32", "the broadcast address", by_name=False),
            # What clouds hand credentials out from: AWS, Azure, Google, OpenStack; AWS's containers
            # and pods; Azure's host; Oracle; Alibaba.
            _block("169.254.169.254/32", METADATA),
            _block("169.254.170.2/32", METADATA),
            _block("169.254.170.23/32", METADATA),
            _block("168.63.129.16/32", METADATA),
            _block("192.0.0.192/32", METADATA),
            _block("100.100.100.200/32", METADATA),
            _block("fd00:ec2::254/128", METADATA),
            _block("fd00:ec2::23/128", METADATA),
            _block("fd20:ce::254/128", METADATA),
            _block("::/128", "an unspecified address", by_name=False),
            _block("::1/128", "a loopback address"),
            _block("fe80::/10", "a link-local address"),
            _block("ff00::/8", "a multicast address", by_name=False),
            # An IPv4 address inside: to which it leads depends on a gateway that we do not know.
            _block("::/96", "an IPv4-compatible address", inside=_holds_last),
            _block("::ffff:0:0:0/96", "an IPv4-translated address", inside=_holds_last),
            _block("64:ff9b::/96", "a NAT64 address", inside=_holds_last),
            _block("64:ff9b:1::/48", "a NAT64 address", inside=_in_local_nat64),
            _block("2002::/16", "a 6to4 address", inside=_in_6to4),
            _block("2001::/32", "a Teredo address", inside=_in_teredo),
        ),
        key=lambda block: block.network.prefixlen,
        reverse=True,
    )
)
"""The smallest first: the first that has an address says what it is."""


_ISATAP, _UNIVERSAL = 0x00005EFE, 0x02000000
"""Bits 64 to 95 of an ISATAP address, and the one of them that says whether its IPv4 address is unique."""


class Rule(msgspec.Struct, frozen=True):
    """One entry of the list.

    Attributes:
        text: as it was written.
        host: a name, "*.name" or "*"; empty where it is a rule for addresses.
        network: whose addresses; None where it is a rule for names.
        first_port, last_port: the ports from one to the other.
    """

    text: str
    host: str
    network: Network | None
    first_port: int
    last_port: int

    def takes_port(self, port: int) -> bool:
        """Whether it is for this port."""
        return self.first_port <= port <= self.last_port

    def takes_name(self, name: str) -> bool:
        """Whether it is for this name, which is without a last dot; "*" takes addresses too."""
        if self.host.startswith("*."):
            return name.endswith(self.host[1:]) and len(name) > len(self.host) - 1
        return self.host in ("*", name)

    def takes_address(self, address: Address) -> bool:
        """Whether it is for this address."""
        return self.network is not None and address in self.network


class Forbidden(msgspec.Struct, frozen=True):
    """It may not be reached; why, in one line, and which rule would let it in.

    Of the list it names no rules but those that come near: the client who reads it need not know the others.
    """

    reason: str


class AllowList(msgspec.Struct, frozen=True):
    """All rules of one listener. Equal lists allow the same."""

    rules: tuple[Rule, ...] = ()

    def judge(self, host: str, port: int) -> Forbidden | None:
        """By what was asked for; None: not forbidden so far.

        A name may be none of the list's and its addresses still be: they are judged when they are known.

        Args:
            host: as core.destination gives it.
            port: 1 to 65535.
        """
        if ip_literal(host) is not None:
            return self.judge_address(host, port, host)
        name = host.removesuffix(".")
        fitting = [rule for rule in self.rules if rule.takes_name(name) or rule.network is not None]
        if any(rule.takes_port(port) for rule in fitting):
            return None
        return _unlisted(host, port, [rule for rule in fitting if rule.network is None])

    def judge_address(self, host: str, port: int, address: str) -> Forbidden | None:
        """By an address that `host` has; None: it may be dialled.

        Args:
            host: as core.destination gives it; the address itself where no name was asked for.
            port: 1 to 65535.
            address: an IP literal, as it would be dialled.
        """
        parsed = whom_kernel_dials(address)
        name = host.removesuffix(".")
        fitting = [
            rule for rule in self.rules if rule.takes_name(name) or rule.takes_address(parsed)
        ]
        taking = [rule for rule in fitting if rule.takes_port(port)]
        special = _special(parsed)
        if special is None:
            return None if taking else _unlisted(host, port, fitting, address)
        block, within = special
        naming = [rule for rule in fitting if _names(rule, name, block, within)]
        if any(rule in taking for rule in naming):
            return None
        wanted = f'"{_bracketed(str(parsed))}:{port}"'
        if naming:
            return _unlisted(host, port, naming, address, wanted)
        where = address if host == address else f"{address} (of {host})"
        given = f"which {_quoted(taking)} leaves out" if taking else NO_RULE
        return Forbidden(f"{where} is {block.kind}, {given}; a rule has to name it, as {wanted}")


def _unlisted(
    host: str, port: int, fitting: list[Rule], address: str = "", wanted: str = ""
) -> Forbidden:
    where = f"{_bracketed(host)}:{port}"
    remedy = f"""a rule that allows it is {wanted or f'"{where}"'}"""
    if address and address != host:
        where += f" at {address}"
    given = f"not allowed: {_quoted(fitting)} is for other ports" if fitting else NO_RULE
    return Forbidden(f"{where} is {given}; {remedy}")


def parse_rule(text: str) -> Rule:
    """Reads "*.internal:*", "host.example:443", "10.0.0.0/8:443", "[fd00::/8]:8000-8100".

    Raises:
        ValueError: it is none of these; the message says what would do.
    """
    found = _RULE.fullmatch(text)
    if found is None:
        raise ValueError(_WANTED)
    host, ports = found.groups()
    first, last = _ports(ports)
    if host.startswith("["):
        return Rule(text, "", _network(host[1:-1], 6), first, last)
    if "/" in host or ip_literal(host) is not None:
        return Rule(text, "", _network(host, 4), first, last)
    return Rule(text, _pattern(host), None, first, last)


def _ports(text: str) -> tuple[int, int]:
    if text == "*":
        return 1, MAX_PORT
    first, _, last = text.partition("-")
    ports = int(first), int(last or first)
    if not 1 <= ports[0] <= ports[1] <= MAX_PORT:
        raise ValueError(f"{text} is no port, nor a range of them: 1 to 65535, the lower one first")
    return ports


def _network(text: str, version: int) -> Network:
    kind = "an IPv6 address or range" if version == 6 else "an IPv4 address or range"
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or network.version != version or not _LENGTH.fullmatch(text):
        raise ValueError(f"{text} is not {kind}; {_WANTED}")
    if ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{text} has bits beyond its length; write {network}")
    if _lies_in(network, MAPPED):
        raise ValueError(f"{text} is IPv4 in another dress; write the IPv4 address or range")
    return network


def _lies_in(inner: Network, outer: Network) -> bool:
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _pattern(host: str) -> str:
    if host == "*":
        return host
    asterisk = "*." if host.startswith("*.") else ""
    return asterisk + to_ascii(host[len(asterisk) :]).removesuffix(".")


def _special(address: Address) -> tuple[Block, Network] | None:
    """What it is, and within which range a rule has to be that names it; None: a server among others."""
    block = next((one for one in BLOCKS if address in one.network), None)
    isatap = _isatap(address)
    block = block or isatap
    if block is None:
        return None
    held = (*block.inside(int(address)), *(isatap.inside(int(address)) if isatap else ()))
    if any(_special(ipaddress.IPv4Address(each)) is not None for each in held):
        # Two disguises, one over the other: its range is not enough.
        return block, ipaddress.ip_network(address)
    return block, block.network


def _isatap(address: Address) -> Block | None:
    """Behind any prefix (RFC 5214, section 6.1), and so of no one network."""
    is_one = address.version == 6 and int(address) >> 32 & ~_UNIVERSAL & _LOW == _ISATAP
    if not is_one:
        return None
    return _block(
        f"{ipaddress.IPv6Address(int(address) & ~_LOW)}/96", "an ISATAP address", inside=_holds_last
    )


def _names(rule: Rule, name: str, block: Block, within: Network) -> bool:
    if rule.network is None:
        return block.by_name and rule.host == name
    return _lies_in(rule.network, within)


def _quoted(rules: list[Rule]) -> str:
    more = [f"and {len(rules) - MOST_SHOWN} more"] if len(rules) > MOST_SHOWN else []
    return ", ".join([f'"{rule.text}"' for rule in rules[:MOST_SHOWN]] + more)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
