"""DNS messages as bytes: the only file that imports dnspython.

It is imported when the first query is about to be sent (net.resolver), for it takes about 40 ms of
start-up that literals, `localhost` and the hosts file need not pay. Only dns.message and what it
stands on: dns.resolver, dns.query and dns.asyncquery would load an HTTP client if one is installed.

A datagram is an answer only if id, question and the QR bit are those of our query (RFC 5452,
section 9.1); one that is not is passed over, not taken as a failure, or else whoever can send us a
datagram could make every lookup fail.
"""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from haclient.core.dns_answer import Answer, Fault, NoAnswer, Record, RecordType, Reply
from haclient.core.names import ip_literal
from haclient.core.question import Ask
from haclient.core.services import Service, service_text

__all__ = ["EDNS_PAYLOAD", "MAX_RECORDS", "Query"]

EDNS_PAYLOAD = 1232
"""What fits one IPv6 packet of the least MTU, 1280 - 40 - 8: no fragments (DNS flag day 2020)."""

MAX_RECORDS = 512
"""Records that a message may announce. An answer of 64 KiB holds four thousand, and reading them
takes 83 ms in which the event loop stands still; 512 take 11 ms (measured)."""

_HEADER = struct.Struct("!6H")
_QR, _OPCODE = 0x8000, 0x7800


class Query:
    """One query: its bytes, and what makes of other bytes the reply to it.

    Id and source port are random: the one from dnspython's generator, the other from the kernel.
    """

    def __init__(self, ask: Ask) -> None:
        self._message = dns.message.make_query(
            ask.qname,
            dns.rdatatype.RdataType(ask.rdtype.value),
            use_edns=0 if ask.uses_edns else False,
            payload=EDNS_PAYLOAD if ask.uses_edns else None,
        )
        self.wire = self._message.to_wire()

    def read(self, wire: bytes) -> Reply | None:
        """The reply that `wire` is; None if it has nothing to do with this query."""
        if len(wire) < _HEADER.size:
            return None
        ident, flags, _, *counts = _HEADER.unpack_from(wire)
        if ident != self._message.id or not flags & _QR or flags & _OPCODE:
            return None
        if sum(counts) > MAX_RECORDS:
            return NoAnswer(Fault.MALFORMED, f"an answer of {sum(counts)} records")
        is_truncated = bool(flags & dns.flags.TC)
        try:
            # A truncated message may end in the middle of a record, and nothing of it is used.
            message = dns.message.from_wire(wire, question_only=is_truncated, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError, struct.error) as error:
            return NoAnswer(Fault.MALFORMED, f"malformed answer ({type(error).__name__})")
        if not self._message.is_response(message):
            return None
        return _answer(message, is_truncated)


def _answer(message: dns.message.Message, is_truncated: bool) -> Answer:
    negative_ttl = _negative_ttl(message)
    is_empty = not message.answer and negative_ttl is None
    knows = message.flags & (dns.flags.AA | dns.flags.RA)
    return Answer(
        rcode=int(message.rcode()),
        records=tuple(record for rrset in message.answer for record in _records(rrset)),
        negative_ttl=negative_ttl,
        is_truncated=is_truncated,
        is_lame=is_empty
        and not knows
        and message.rcode() == dns.rcode.NOERROR
        and not is_truncated,
    )


def _records(rrset: dns.rrset.RRset) -> list[Record]:
    if rrset.rdclass != dns.rdataclass.IN:
        return []
    name = rrset.name.to_text().lower()
    if rrset.rdtype == dns.rdatatype.CNAME:
        return [
            Record(name, RecordType.CNAME, rdata.target.to_text().lower(), float(rrset.ttl))
            for rdata in rrset
        ]
    if rrset.rdtype == dns.rdatatype.SRV:
        services = [
            Service(rdata.priority, rdata.weight, rdata.port, rdata.target.to_text().lower())
            for rdata in rrset
        ]
        ttl = float(rrset.ttl)
        return [Record(name, RecordType.SRV, service_text(each), ttl) for each in services]
    if rrset.rdtype not in {dns.rdatatype.A, dns.rdatatype.AAAA}:
        return []
    rdtype, ttl = RecordType(int(rrset.rdtype)), float(rrset.ttl)
    # dnspython writes "::ffff:10.0.0.1"; everywhere else an address has the one spelling of core.names.
    addresses = (ip_literal(rdata.address) for rdata in rrset)
    return [Record(name, rdtype, address, ttl) for address in addresses if address is not None]


def _negative_ttl(message: dns.message.Message) -> float | None:
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA and rrset.rdclass == dns.rdataclass.IN:
            return float(min(rrset.ttl, *(rdata.minimum for rdata in rrset)))
    return None
