"""The edges: the only place that owns sockets, sets options, resolves names and waits.

Some drive a machine of `haclient.core`, and run the actions that it returns:

    name_lookup      one name looked up                          core.lookup
    name_memory      what is known of names, and kept so         core.dns_cache
    racer            several connects, one connection            core.race
    pool             connections lent from exchange to exchange  core.places, core.pool_state
    watch            every outstanding request                   core.detector

The others:

    dialer           one endpoint in, one transport out
    socket_stream, transport    a socket as a stream, and what the kernel knows of it
    sockopts         its options, and TCP_INFO
    one_at_a_time    one task at a time may send
    connection       a transport, perhaps TLS, and HTTP/1.1 over it
    http1, http1_server    HTTP/1.1, seen from either side
    tls, tls_server    TLS to a server, and towards a client
    proxy_tunnel     CONNECT through a forward proxy
    listening        listening sockets
    own_doors        nobody dials this process's own
    peer_socket      whether a client that closed its side still wants its answer
    pipes, parking   bytes spliced, and sockets that rest
    resolver         from a host to endpoints
    static_resolver  addresses that the caller gave
    service_records  SRV records
    dns_client, dns_wire    a query carried, and as bytes
    resolve_errors   what a lookup that found nothing is to its caller
    state_file, users_file, watched_file    files: the last good answers, users, what changes
    blackhole        a server that hears nothing, for demo and tests

What the layers above need of an edge is said by the protocols below, so that the simulated
network of the tests can stand in for the real one: a `Resolver` gives endpoints, a `Dialer` a
`Transport` to one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import msgspec

from haclient.core.detector import TcpInfo
from haclient.types import Endpoint

__all__ = [
    "Dialer",
    "InterruptedReceive",
    "NameReport",
    "RemembersNames",
    "Resolution",
    "Resolver",
    "Transport",
]


class Resolution(msgspec.Struct, frozen=True):
    """The endpoints of a host, in the order of the answer.

    `source` is "literal", "hosts", "localhost" (by definition, without a file), "dns", "cache",
    "static" (given by the caller) or "stale" (beyond its time, for the name servers fail);
    `server` the name server asked, where one was; `ttl` the seconds that the answer is still good
    for, None where it does not age. `later` are those of a service's further priorities (RFC 2782),
    `former` what the answer had a moment ago: each for when none before can be had.
    """

    host: str
    endpoints: tuple[Endpoint, ...]
    source: str
    ttl: float | None = None
    server: str = ""
    former: tuple[Endpoint, ...] = ()
    later: tuple[tuple[Endpoint, ...], ...] = ()

    @property
    def levels(self) -> tuple[tuple[Endpoint, ...], ...]:
        """Whom to ask first, and whom only where none of those can be had."""
        return (self.endpoints, *self.later)


class NameReport(msgspec.Struct, frozen=True):
    """One name that was looked up: what is known of it.

    Attributes:
        source: the name server, or where else the answer is from.
        ttl: seconds that the answer holds still; negative where it has run out.
        is_stale: whether it serves beyond that.
        error: of the last lookup, empty where it went well.
    """

    name: str
    addresses: tuple[str, ...]
    source: str
    ttl: float
    is_stale: bool
    error: str


class Resolver(Protocol):
    """Turns a host into endpoints."""

    async def resolve(self, host: str, port: int) -> Resolution:
        """Returns every address of `host`, each with `port`; with 0 those of a service (SRV records).

        Raises:
            haclient.errors.ResolveError: the subclass says why, the message who was asked.
        """
        ...


@runtime_checkable
class RemembersNames(Protocol):
    """A resolver that keeps what it has learnt, and keeps it fresh while it is wanted."""

    async def run(self) -> None:
        """Does so until cancelled."""
        ...

    def peek(self, host: str, port: int) -> Resolution | None:
        """What is known without waiting; the name counts as wanted."""
        ...

    def keep(self, places: Iterable[tuple[str, int]]) -> None:
        """These hosts, each with its port, and no others: what is known of them gives way to nobody."""
        ...


class InterruptedReceive(Exception):
    """The watch has news of this connection; nothing was read, and reading may go on."""


class Transport(Protocol):
    """A connected byte stream that can be asked for signs of life.

    A `trio.abc.HalfCloseableStream` with seven calls more. The half that awaits follows trio's
    contract; `interrupt` alone adds to it: it makes one `receive_some`, the one that waits or
    else the next one that would wait, raise `InterruptedReceive`. Bytes that have come in are
    returned first.
    """

    endpoint: Endpoint
    local: Endpoint | None
    bytes_sent: int
    """Handed to the kernel so far."""
    bytes_received: int

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio.abc.SendStream. Counts in `bytes_sent` also what a failed call handed over."""
        ...

    async def wait_send_all_might_not_block(self) -> None:
        """As trio.abc.SendStream."""
        ...

    async def send_eof(self) -> None:
        """As trio.abc.HalfCloseableStream."""
        ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As trio.abc.ReceiveStream; also raises InterruptedReceive."""
        ...

    async def aclose(self) -> None:
        """As trio.abc.AsyncResource."""
        ...

    def close(self) -> None:
        """Closes at once; whoever waits in send or receive gets trio.ClosedResourceError."""
        ...

    def interrupt(self) -> None:
        """Wakes the receiver with InterruptedReceive."""
        ...

    def forget_interrupt(self) -> None:
        """Takes an `interrupt` back that no `receive_some` has raised yet."""
        ...

    def is_quiet(self) -> bool:
        """Whether an idle connection is fit for reuse: open, no EOF, no reset, no stray byte."""
        ...

    def snapshot(self) -> TcpInfo | None:
        """The kernel's view of the connection; None where there is none (Unix sockets)."""
        ...

    def probe(self) -> None:
        """Sends a TCP keep-alive probe now, if nothing has come in for a second."""
        ...

    def stop_probing(self) -> None:
        """Switches TCP keep-alive off again, if `probe` switched it on."""
        ...


class Dialer(Protocol):
    """Connects to one endpoint."""

    async def connect(self, endpoint: Endpoint) -> Transport:
        """Returns a connected transport, its options set for life.

        Raises:
            OSError: refused, unreachable, or not possible on this machine. There is no time-out
                here: the racer cancels.
        """
        ...
