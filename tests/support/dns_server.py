"""A small DNS server on loopback that does what a test tells it to, UDP and TCP on one port.

    async with serve_dns() as server:
        server.script("orders.internal.", Behaviour(addresses=("10.0.0.1", "::1"), ttl=5))
        server.script("slow.internal.", Behaviour(delay=0.2), rdtype="AAAA")
        resolver = SystemResolver(nameservers=[server.nameserver])

What is not scripted does not exist (NXDOMAIN). Every query is kept in `queries`. Not for the mock
clock: the sockets are real.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import trio

__all__ = ["SPOOFED_ADDRESS", "Behaviour", "DnsServer", "ReceivedQuery", "serve_dns"]

SPOOFED_ADDRESS = "203.0.113.66"


@dataclass(frozen=True)
class Behaviour:
    """What the server does with the queries for one name. Durations in seconds."""

    addresses: tuple[str, ...] = ()
    ttl: int = 60
    alias: str = ""
    """The absolute name that this one stands for; its addresses come along if it is scripted."""
    rcode: str = "NOERROR"
    delay: float = 0.0
    is_silent: bool = False
    is_truncated: bool = False
    """Over UDP: the TC bit and no record. Over TCP all of them."""
    is_garbage: bool = False
    """The right id, and then bytes that are no message."""
    is_spoofed: bool = False
    """Before the answer come others with another id and with another question."""
    has_strays: bool = False
    """The answer also has addresses of names that nobody asked for."""
    understands_edns: bool = True
    negative_ttl: int | None = 10
    """MINIMUM and TTL of the SOA record in a negative answer; None: no such record."""
    is_closing: bool = False
    """Over TCP: the connection is closed after the first byte of the answer."""


@dataclass(frozen=True)
class ReceivedQuery:
    qname: str
    rdtype: str
    transport: str
    has_edns: bool


@dataclass
class DnsServer:
    host: str
    port: int
    queries: list[ReceivedQuery] = field(default_factory=list)
    default: Behaviour = field(default_factory=lambda: Behaviour(rcode="NXDOMAIN"))
    _scripts: dict[tuple[str, str], Behaviour] = field(default_factory=dict)

    @property
    def nameserver(self) -> str:
        """As SystemResolver takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def script(self, name: str, behaviour: Behaviour, rdtype: str = "*") -> None:
        self._scripts[name.lower(), rdtype] = behaviour

    def count(self, qname: str) -> int:
        return sum(query.qname == qname for query in self.queries)

    def behaviour(self, qname: str, rdtype: str) -> Behaviour:
        found = self._scripts.get((qname, rdtype)) or self._scripts.get((qname, "*"))
        return found or self.default

    def closing_for(self, wire: bytes) -> bool:
        question = dns.message.from_wire(wire).question[0]
        rdtype = dns.rdatatype.to_text(question.rdtype)
        return self.behaviour(question.name.to_text().lower(), rdtype).is_closing

    async def answers(self, wire: bytes, transport: str) -> list[bytes]:
        """The messages to send for `wire`, when the time has come."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        qname = question.name.to_text().lower()
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.queries.append(ReceivedQuery(qname, rdtype, transport, query.edns >= 0))
        behaviour = self.behaviour(qname, rdtype)
        await trio.sleep(behaviour.delay)
        if behaviour.is_silent:
            return []
        if behaviour.is_garbage:
            return [wire[:2] + b"\x80\x00\x00\x01\x00\x09\x00\x00\x00\x00\xff\xff\xff"]
        reply = self._reply(query, behaviour, transport).to_wire(max_size=65535)
        return [*_spoofed(query), reply] if behaviour.is_spoofed else [reply]

    def _reply(
        self, query: dns.message.Message, behaviour: Behaviour, transport: str
    ) -> dns.message.Message:
        reply = dns.message.make_response(query, recursion_available=True)
        reply.set_rcode(dns.rcode.from_text(behaviour.rcode))
        if query.edns >= 0 and not behaviour.understands_edns:
            reply.use_edns(False)
            reply.set_rcode(dns.rcode.FORMERR)
            return reply
        if behaviour.is_truncated and transport == "UDP":
            reply.flags |= dns.flags.TC
            return reply
        question = query.question[0]
        self._add_records(reply, question.name.to_text().lower(), question.rdtype, behaviour)
        if behaviour.has_strays:
            _add(reply, "stray.example.", 60, question.rdtype, (SPOOFED_ADDRESS, "::66"))
        if behaviour.negative_ttl is not None and not _has(reply, question.rdtype):
            ttl = behaviour.negative_ttl
            soa = f"ns.example. admin.example. 1 3600 600 86400 {ttl}"
            reply.authority.append(dns.rrset.from_text("example.", ttl, "IN", "SOA", soa))
        return reply

    def _add_records(
        self,
        reply: dns.message.Message,
        name: str,
        rdtype: dns.rdatatype.RdataType,
        behaviour: Behaviour,
    ) -> None:
        _add(reply, name, behaviour.ttl, rdtype, behaviour.addresses)
        if behaviour.alias:
            target = behaviour.alias
            reply.answer.append(dns.rrset.from_text(name, behaviour.ttl, "IN", "CNAME", target))
            script = self._scripts.get((target, "*"))
            if script is not None and len(reply.answer) < 20:
                self._add_records(reply, target, rdtype, script)


def _add(
    reply: dns.message.Message,
    name: str,
    ttl: int,
    rdtype: dns.rdatatype.RdataType,
    addresses: tuple[str, ...],
) -> None:
    text = dns.rdatatype.to_text(rdtype)
    for address in addresses:
        if (":" in address) == (rdtype == dns.rdatatype.AAAA):
            # A set of its own for each: dnspython shuffles the records within one.
            reply.answer.append(dns.rrset.from_text(name, ttl, "IN", text, address))


def _has(reply: dns.message.Message, rdtype: dns.rdatatype.RdataType) -> bool:
    return any(rrset.rdtype == rdtype for rrset in reply.answer)


def _spoofed(query: dns.message.Message) -> list[bytes]:
    wrong_id = dns.message.make_response(query)
    _add(wrong_id, query.question[0].name.to_text(), 60, dns.rdatatype.A, (SPOOFED_ADDRESS,))
    wrong_id.id = (query.id + 1) % 65536
    other = dns.message.make_query("other.example.", query.question[0].rdtype, id=query.id)
    wrong_question = dns.message.make_response(other)
    _add(wrong_question, "other.example.", 60, dns.rdatatype.A, (SPOOFED_ADDRESS,))
    not_a_response = query.to_wire()
    return [wrong_id.to_wire(), wrong_question.to_wire(), not_a_response, b"short"]


@asynccontextmanager
async def serve_dns(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[DnsServer]:
    """Serves on a port of `host` until the block is left; on a free one where none is given."""
    udp, listener = await _bind(host, port)
    server = DnsServer(host, udp.getsockname()[1])
    with udp:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve_udp, server, udp)
            nursery.start_soon(trio.serve_listeners, _tcp_handler(server), [listener])
            yield server
            nursery.cancel_scope.cancel()


async def _bind(host: str, port: int) -> tuple[trio.socket.SocketType, trio.SocketListener]:
    family = trio.socket.AF_INET6 if ":" in host else trio.socket.AF_INET
    for _ in range(20):
        udp = trio.socket.socket(family, trio.socket.SOCK_DGRAM)
        await udp.bind((host, port))
        try:
            (listener,) = await trio.open_tcp_listeners(udp.getsockname()[1], host=host)
        except OSError:  # the same number is taken for TCP
            udp.close()
            continue
        return udp, listener
    raise AssertionError("no port that is free for both UDP and TCP")


async def _serve_udp(server: DnsServer, udp: trio.socket.SocketType) -> None:
    async def reply(wire: bytes, peer: tuple[object, ...]) -> None:
        for message in await server.answers(wire, "UDP"):
            await udp.sendto(message, peer)

    async with trio.open_nursery() as nursery:
        while True:
            wire, peer = await udp.recvfrom(65535)
            nursery.start_soon(reply, wire, peer)


def _tcp_handler(server: DnsServer) -> Callable[[trio.SocketStream], Awaitable[None]]:
    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            wire = await _receive_message(stream)
            messages = await server.answers(wire, "TCP")
            if server.closing_for(wire):
                await stream.send_all(b"\0")
                return
            for message in messages:
                await stream.send_all(len(message).to_bytes(2, "big") + message)
            if not messages:
                await trio.sleep_forever()

    return handle


async def _receive_message(stream: trio.SocketStream) -> bytes:
    received = b""
    while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
        received += await stream.receive_some()
    return received[2:]
