"""Carries one DNS query to one name server, over UDP or TCP.

The UDP socket is connected: the kernel then drops what comes from elsewhere, chooses a random
source port for each query, and reports "connection refused" when nothing listens there, which an
unconnected socket would take for silence.

Nothing here waits for a limited time: core.question decides how long a server may be silent, and
the resolver cancels what is left over when the lookup ends.
"""

from __future__ import annotations

import os

import trio

from haclient.core.dns_answer import Fault, NoAnswer, Reply
from haclient.core.question import Ask, Transport
from haclient.net.dns_wire import Query

__all__ = ["exchange"]

_MAX_MESSAGE = 65535
"""The longest DNS message over TCP (RFC 1035, section 4.2.2); a datagram is shorter still."""


async def exchange(ask: Ask) -> Reply:
    """Sends the query and returns what came of it; waits for ever if nothing does."""
    query = Query(ask)
    try:
        if ask.transport is Transport.TCP:
            return await _over_tcp(ask, query)
        return await _over_udp(ask, query)
    except trio.BrokenResourceError as error:
        return NoAnswer(Fault.UNREACHABLE, f"connection lost ({error})")
    except OSError as error:
        return NoAnswer(Fault.UNREACHABLE, os.strerror(error.errno or 0).lower())


async def _over_udp(ask: Ask, query: Query) -> Reply:
    with trio.socket.socket(_family(ask), trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((ask.server.address, ask.server.port))
        await sock.send(query.wire)
        while True:
            reply = query.read(await sock.recv(_MAX_MESSAGE))
            if reply is not None:
                return reply


async def _over_tcp(ask: Ask, query: Query) -> Reply:
    with trio.socket.socket(_family(ask), trio.socket.SOCK_STREAM) as sock:
        await sock.connect((ask.server.address, ask.server.port))
        stream = trio.SocketStream(sock)
        # Length and message in one segment (RFC 7766, section 8).
        await stream.send_all(len(query.wire).to_bytes(2, "big") + query.wire)
        length = await _receive_exactly(stream, 2)
        wire = await _receive_exactly(stream, int.from_bytes(length, "big"))
        # One connection carries one query, so whatever else comes back is a mistake.
        return query.read(wire) or NoAnswer(Fault.MALFORMED, "not an answer to the query")


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = await stream.receive_some(count - len(received))
        if not chunk:
            raise trio.BrokenResourceError("closed in mid-answer")
        received += chunk
    return bytes(received)


def _family(ask: Ask) -> int:
    return trio.socket.AF_INET6 if ask.server.is_ipv6 else trio.socket.AF_INET
