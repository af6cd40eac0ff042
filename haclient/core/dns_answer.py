"""What one DNS answer says about one question.

An answer section is a bag of records (RFC 1034, section 4.3.2), not a list of addresses: it may
hold the aliases that lead to them, in any order, or the aliases alone, or records of a name that
nobody asked for. Taking every address in it, as the naive reader does, lets a name server, or
whoever speaks in its place, slip an address under a name. So `read_answer` starts at the name that
was asked for and follows aliases from there; what it does not come by does not count.

Whether an answer belongs to the query at all (id, question) is decided where bytes are read, in
net.dns_wire. Left out: DNAME (a server sends the CNAME that follows from it as well, RFC 6672,
section 3.1), DNSSEC.
"""

from __future__ import annotations

import enum
import math

import msgspec

__all__ = [
    "MAX_ADDRESSES",
    "MAX_ALIASES",
    "Addresses",
    "Alias",
    "Answer",
    "Fault",
    "Finding",
    "NoAnswer",
    "NoData",
    "NoName",
    "Rcode",
    "Record",
    "RecordType",
    "Reply",
    "Unusable",
    "read_answer",
]

MAX_ALIASES = 16
"""Aliases followed for one question. dnspython follows 16; chains of nine are in use (Unbound's
issue 438, where a limit of eight broke a large provider's sign-in)."""

MAX_ADDRESSES = 256
"""Addresses of one family taken from one answer. A message of 64 KiB has room for four thousand,
and every one of them would become a racer, a pool and a line of the status page; the large sets in
use (headless services) have some hundred."""


class RecordType(enum.Enum):
    """The record types that lead to an address (RFC 1035, section 3.2.2; RFC 3596; RFC 2782)."""

    A = 1
    CNAME = 5
    AAAA = 28
    SRV = 33


class Rcode(enum.IntEnum):
    """The response codes that are told apart (RFC 1035, section 4.1.1; RFC 6891, section 9)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class Fault(enum.Enum):
    """Why a name server was of no use."""

    SILENT = "no answer"
    UNREACHABLE = "unreachable"
    """The system would not carry the query there: ICMP, no route, connection refused."""
    REFUSED = "REFUSED"
    FAILED = "failed"
    """SERVFAIL, or another response code that says nothing about the name."""
    MALFORMED = "malformed answer"


class Record(msgspec.Struct, frozen=True):
    """A record. Names are absolute, in lower case; `ttl` is in seconds.

    The value of an SRV record is as `core.services` writes it.
    """

    name: str
    rdtype: RecordType
    value: str
    ttl: float


class Answer(msgspec.Struct, frozen=True):
    """A response that belongs to the query.

    `negative_ttl` is how long the absence of records may be believed, in seconds: the lesser of the
    TTL and the MINIMUM field of the SOA record in the authority section, or None where there is no
    such record (RFC 2308, section 5).
    """

    rcode: int
    records: tuple[Record, ...] = ()
    negative_ttl: float | None = None
    is_truncated: bool = False
    is_lame: bool = False
    """No error, no record, and from a server that is neither an authority nor willing to ask one:
    it says nothing about the name."""


class NoAnswer(msgspec.Struct, frozen=True):
    """What came instead of a response, or why nothing can come."""

    fault: Fault
    detail: str


Reply = Answer | NoAnswer


class Addresses(msgspec.Struct, frozen=True):
    """Here they are, in the order of the answer."""

    addresses: tuple[str, ...]
    ttl: float


class NoData(msgspec.Struct, frozen=True):
    """The name exists, without a record of this type. `ttl` None: not to be remembered."""

    ttl: float | None


class NoName(msgspec.Struct, frozen=True):
    """There is no such name. `ttl` None: not to be remembered."""

    ttl: float | None


class Alias(msgspec.Struct, frozen=True):
    """The name stands for `target`, of which the answer says nothing; `ttl` is that of the chain."""

    target: str
    ttl: float
    length: int
    """Aliases that lead there."""


class Unusable(msgspec.Struct, frozen=True):
    """The server says nothing about the name."""

    fault: Fault
    detail: str


Finding = Addresses | NoData | NoName | Alias | Unusable


def read_answer(answer: Answer, qname: str, rdtype: RecordType, max_aliases: int) -> Finding:
    """What `answer` says of `qname`, which is absolute and in lower case."""
    if answer.rcode == Rcode.NXDOMAIN:
        # Also where aliases come first: it is the last one that does not exist (RFC 2308, 2.1).
        return NoName(answer.negative_ttl)
    if answer.rcode == Rcode.REFUSED:
        return Unusable(Fault.REFUSED, "REFUSED")
    if answer.rcode != Rcode.NOERROR:
        return Unusable(Fault.FAILED, _rcode_name(answer.rcode))
    if answer.is_lame:
        return Unusable(Fault.FAILED, "a referral instead of an answer")
    return _follow_aliases(answer, qname, rdtype, max_aliases)


def _follow_aliases(answer: Answer, qname: str, rdtype: RecordType, max_aliases: int) -> Finding:
    aliases = {r.name: r for r in answer.records if r.rdtype is RecordType.CNAME}
    name, ttl = qname, math.inf
    for length in range(max_aliases + 1):
        found = [r for r in answer.records if r.rdtype is rdtype and r.name == name]
        if found:
            addresses = tuple(dict.fromkeys(r.value for r in found))[:MAX_ADDRESSES]
            return Addresses(addresses, min(ttl, *(r.ttl for r in found)))
        alias = aliases.get(name)
        if alias is None:
            return _nothing_at(name, ttl, length, answer.negative_ttl)
        name, ttl = alias.value, min(ttl, alias.ttl)
    return Unusable(Fault.FAILED, f"more than {MAX_ALIASES} aliases, or a loop of them")


def _nothing_at(name: str, ttl: float, length: int, negative_ttl: float | None) -> Finding:
    # A recursive server that followed the aliases to a name without an address says so with a SOA
    # record; one that did not follow them (it is no authority for the target) leaves it to us.
    if negative_ttl is not None:
        return NoData(min(ttl, negative_ttl))
    return Alias(name, ttl, length) if length else NoData(None)


def _rcode_name(rcode: int) -> str:
    known = {each.value: each.name for each in Rcode}
    return known.get(rcode, f"response code {rcode}")
