"""Turns a host into endpoints: literals, the hosts file, `localhost`, the cache, the name servers.

The driver of core.lookup. A lookup runs in the task of whoever asks first; the others wait for it,
so that a thousand requests for one host are one query. No task outlives its caller here, which
leaves one question: what if the first asker is cancelled? Then its lookup ends with it, and one of
those that wait begins a new one. It begins with another name server if the first had been silent,
for else callers with less patience than the server's time-out would meet the same silence for ever.

What is at hand is returned without a checkpoint: it costs 2 to 4 us (measured), and requests on
pooled connections come by here as well.

Left out: serving expired answers (core.dns_cache keeps them), a search list of the caller's own,
mDNS, and queries over TLS or HTTPS.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

import msgspec
import trio

from haclient import errors
from haclient.core.dns_answer import RecordType, Reply
from haclient.core.dns_cache import DnsCache
from haclient.core.lookup import (
    BOTH_FAMILIES,
    Action,
    Finished,
    Found,
    Lookup,
    NotFound,
    Outcome,
    Reason,
    WakeAt,
)
from haclient.core.names import (
    LOOPBACK_ADDRESSES,
    ResolvConf,
    describe_nameserver,
    ip_literal,
    is_localhost,
    parse_hosts,
    parse_nameserver,
    parse_resolv_conf,
    query_names,
    to_ascii,
)
from haclient.core.question import Ask, QueryPlan, Transport
from haclient.core.server_order import SILENCE_COUNTS_AFTER, ServerOrder
from haclient.net import Resolution
from haclient.net.watched_file import WatchedFile
from haclient.types import Endpoint, Instant, Phase

__all__ = ["Exchange", "ResolverConfiguration", "SystemResolver"]

Exchange = Callable[[Ask], Awaitable[Reply]]
"""Sends one query and returns what came of it; it may wait for ever, and is cancelled then."""

_ERRORS: dict[Reason, tuple[type[errors.ResolveError], str]] = {
    Reason.NO_SUCH_NAME: (
        errors.NameNotFoundError,
        "Check the spelling; if the name is right, add it to DNS or to {hosts}",
    ),
    Reason.NO_ADDRESS: (
        errors.NoAddressError,
        "Add an A or AAAA record, or ask for the host that offers the service",
    ),
    Reason.SERVER_FAILURE: (
        errors.NameServerError,
        "See what the name server logs, or name another one in {resolv_conf}",
    ),
    Reason.REFUSED: (
        errors.NameRefusedError,
        "Let the name server serve this machine, or name another one in {resolv_conf}",
    ),
    Reason.TIMED_OUT: (
        errors.NameTimeoutError,
        "Check that the name server can be reached on UDP and TCP, or name another one in "
        "{resolv_conf}",
    ),
}


class ResolverConfiguration(msgspec.Struct, frozen=True):
    """What is in force: for `haclient explain` and `haclient doctor`. Durations in seconds."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int
    timeout: float
    attempts: int
    hosts_path: str
    resolv_conf_path: str
    min_ttl: float
    max_ttl: float


class _Flight:
    """A lookup under way: whoever asks for the same host waits for it."""

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.resolution: tuple[Outcome, Instant] | None = None
        """The outcome and when it expires; None where the lookup was cancelled."""


class SystemResolver:
    """The machine's resolver. Safe to share between tasks, not between threads.

    Args:
        hosts_path: the hosts file, always read before a name server is asked.
        resolv_conf_path: whom to ask, and the search list.
        nameservers: asked instead of those in resolv.conf ("10.0.0.53", "127.0.0.1:5353",
            "[::1]:5353").
        min_ttl: seconds for which an answer is kept at the least.
        max_ttl: seconds for which it is kept at the most.
        exchange: stands in for the network in tests.

    Raises:
        ValueError: a name server that is none; TTL limits that contradict each other.
    """

    def __init__(
        self,
        *,
        hosts_path: str = "/etc/hosts",
        resolv_conf_path: str = "/etc/resolv.conf",
        nameservers: Sequence[str] | None = None,
        min_ttl: float = 1.0,
        max_ttl: float = 300.0,
        exchange: Exchange | None = None,
    ) -> None:
        self._nameservers = tuple(map(parse_nameserver, nameservers or ()))
        self._hosts = WatchedFile(hosts_path, parse_hosts)
        self._resolv_conf = WatchedFile(resolv_conf_path, self._parse_resolv_conf)
        self._exchange = exchange if exchange is not None else _ask_over_the_network
        self._conf = self._resolv_conf.check()
        self._cache = DnsCache(min_ttl=min_ttl, max_ttl=max_ttl)
        self._order = ServerOrder()
        self._flights: dict[str, _Flight] = {}

    def __repr__(self) -> str:
        return f"<SystemResolver {self._resolv_conf.path} {self._cache!r}>"

    def configuration(self) -> ResolverConfiguration:
        """What is in force now; reads resolv.conf anew. May be called outside of trio."""
        conf = self._resolv_conf.check()
        return ResolverConfiguration(
            tuple(map(describe_nameserver, conf.nameservers)),
            conf.search,
            conf.ndots,
            conf.timeout,
            conf.attempts,
            self._hosts.path,
            self._resolv_conf.path,
            self._cache.min_ttl,
            self._cache.max_ttl,
        )

    async def resolve(self, host: str, port: int) -> Resolution:
        """Every address of `host`, each with `port`.

        Raises:
            haclient.errors.ResolveError: the subclass says why, the message who was asked. Without
                a subclass: the host is no name that anybody could be asked for.
        """
        literal = ip_literal(host)
        if literal is not None:
            return _resolution(host, port, (literal,), "literal")
        try:
            name = to_ascii(host)
        except ValueError as error:
            raise errors.ResolveError(
                f"cannot resolve {host!r}: {error}; nobody was asked", stage=Phase.RESOLVING
            ) from None
        now = trio.current_time()
        addresses = self._hosts.get(now).lookup(name)
        if addresses:
            return _resolution(host, port, addresses, "hosts")
        if is_localhost(name):
            return _resolution(host, port, LOOPBACK_ADDRESSES, "localhost")
        return await self._resolve_by_dns(host, port, name)

    async def _resolve_by_dns(self, host: str, port: int, name: str) -> Resolution:
        while True:
            now = trio.current_time()
            conf = self._current_conf(now)
            entry = self._cache.get(name, now)
            if entry is not None:
                return self._answer(host, port, entry.outcome, entry.expires_at, "cache")
            flight = self._flights.get(name)
            if flight is None:
                outcome, expires_at = await self._fly(name, conf)
                return self._answer(host, port, outcome, expires_at, "dns")
            await flight.landed.wait()
            if flight.resolution is not None:
                return self._answer(host, port, *flight.resolution, "dns")
            # The task whose lookup this was is gone; the first to come by here takes over.

    async def _fly(self, name: str, conf: ResolvConf) -> tuple[Outcome, Instant]:
        flight = self._flights[name] = _Flight()
        try:
            outcome = await self._look_up(name, conf)
            expires_at = now = trio.current_time()
            if conf is self._conf:  # else other servers are in force by now: not to be kept
                entry = self._cache.put(name, outcome, now)
                expires_at = now if entry is None else entry.expires_at
            flight.resolution = outcome, expires_at
            return flight.resolution
        finally:
            if self._flights.get(name) is flight:
                del self._flights[name]
            flight.landed.set()

    async def _look_up(self, name: str, conf: ResolvConf) -> Outcome:
        servers = self._order.order(conf.nameservers, trio.current_time())
        transport = Transport.TCP if conf.uses_tcp_only else Transport.UDP
        lookup = Lookup(
            query_names(name, conf),
            QueryPlan(servers, conf.attempts, conf.timeout, transport),
            BOTH_FAMILIES if conf.asks_for_ipv6 else (RecordType.A,),
        )
        try:
            async with trio.open_nursery() as nursery:
                outcome = await self._drive(lookup, nursery)
                nursery.cancel_scope.cancel()
        finally:
            now = trio.current_time()
            if not lookup.is_finished:
                silent = lookup.servers_silent_for(SILENCE_COUNTS_AFTER, now)
                self._order.was_silent(silent, servers, now)
        self._order.answered(outcome.server, servers, now)
        return outcome

    async def _drive(self, lookup: Lookup, nursery: trio.Nursery) -> Outcome:
        send, receive = trio.open_memory_channel[tuple[Ask, Reply]](math.inf)

        async def ask_and_report(ask: Ask) -> None:
            send.send_nowait((ask, await self._exchange(ask)))

        actions: tuple[Action, ...] = lookup.start(trio.current_time())
        wake_at = math.inf
        while True:
            for action in actions:
                match action:
                    case Ask():
                        nursery.start_soon(ask_and_report, action)
                    case WakeAt(at):
                        wake_at = at
                    case Finished(outcome):
                        return outcome
                    case _:
                        assert_never(action)
            with trio.move_on_at(wake_at) as waiting:
                ask, reply = await receive.receive()
            if waiting.cancelled_caught:
                actions = lookup.woke(trio.current_time())
            else:
                actions = lookup.answered(ask, reply, trio.current_time())

    def _current_conf(self, now: Instant) -> ResolvConf:
        conf = self._resolv_conf.get(now)
        if conf is not self._conf:
            # Other servers may know other names (a VPN came up): nothing is believed unasked.
            self._conf = conf
            self._cache.expire_all(now)
            self._flights = {}
        return conf

    def _parse_resolv_conf(self, text: str) -> ResolvConf:
        conf = parse_resolv_conf(text)
        return (
            msgspec.structs.replace(conf, nameservers=self._nameservers)
            if self._nameservers
            else conf
        )

    def _answer(
        self, host: str, port: int, outcome: Outcome, expires_at: Instant, source: str
    ) -> Resolution:
        left = max(0.0, expires_at - trio.current_time())
        if isinstance(outcome, Found):
            server = describe_nameserver(outcome.server)
            return _resolution(host, port, outcome.addresses, source, left, server)
        raise self._error(host, outcome, left if source == "cache" else None)

    def _error(self, host: str, outcome: NotFound, left: float | None) -> errors.ResolveError:
        kind, advice = _ERRORS[outcome.reason]
        advice = advice.format(hosts=self._hosts.path, resolv_conf=self._resolv_conf.path)
        remembered = "" if left is None else f"; remembered for another {left:.0f} s"
        return kind(
            f"cannot resolve {host}: {outcome}{remembered}", stage=Phase.RESOLVING, remedy=advice
        )


async def _ask_over_the_network(ask: Ask) -> Reply:
    # Not at the top of the file: it brings dnspython, which only a real query needs.
    from haclient.net import dns_client

    return await dns_client.exchange(ask)


def _resolution(
    host: str,
    port: int,
    addresses: tuple[str, ...],
    source: str,
    ttl: float | None = None,
    server: str = "",
) -> Resolution:
    endpoints = tuple(Endpoint(address, port) for address in addresses)
    return Resolution(host, endpoints, source, ttl, server)
