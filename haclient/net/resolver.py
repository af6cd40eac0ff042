"""Turns a host into endpoints: literals, the hosts file, `localhost`, what is known, the name servers.

Port 0 stands for a service, whose servers and ports its SRV records name: see service_records.

The naive resolver asks when a TTL has run out, and the request that has come by just then waits; when
the name servers are down it waits for their time-out, and fails, though the servers are well whose
addresses were known a second ago. Here a request waits for a lookup where nothing is known; where there
is an old answer, for CLIENT_RESPONSE_TIMER; and not at all once the name servers are known to fail (RFC
8767, section 5). How names are kept known: name_memory, and core.dns_cache, which decides.

What is at hand is returned without a checkpoint: it costs 2 to 4 us (measured).

Left out: a search list of the caller's own, mDNS, and queries over TLS or HTTPS.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec
import trio

from haclient import errors
from haclient.core.config import ResolverSettings
from haclient.core.dns_cache import DnsCache, Entry
from haclient.core.lookup import Found, NotFound
from haclient.core.names import (
    LOOPBACK_ADDRESSES,
    ResolvConf,
    describe_nameserver,
    ip_literal,
    is_localhost,
    parse_hosts,
    parse_nameserver,
    parse_resolv_conf,
    to_ascii,
)
from haclient.core.saved_names import SERVICE
from haclient.net import NameReport, Resolution
from haclient.net.name_lookup import Exchange
from haclient.net.name_memory import Flight, NameMemory, ResolverEvent
from haclient.net.resolve_errors import resolve_error
from haclient.net.service_records import Known, peek_service, resolve_service
from haclient.net.watched_file import WatchedFile
from haclient.types import Endpoint, Instant, Phase

__all__ = ["Exchange", "ResolverConfiguration", "SystemResolver"]

OWN_NAMESERVERS = "[resolver] nameservers"
"""Where whoever was given name servers names others: in the file it is so called."""


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


class SystemResolver:
    """The machine's resolver. Safe to share between tasks, not between threads.

    Args:
        hosts_path: the hosts file, always read before a name server is asked.
        resolv_conf_path: whom to ask, and the search list.
        nameservers: asked instead of those in resolv.conf ("10.0.0.53", "127.0.0.1:5353",
            "[::1]:5353").
        min_ttl: seconds for which an answer is kept at the least.
        max_ttl: seconds for which it is kept at the most.
        stale_for: seconds for which the last good answer serves while name servers fail.
        state_file: where answers outlive a restart; read and written by `run`.
        exchange: stands in for the network in tests.
        tell: called when an answer begins to serve beyond its time, and when that ends; and when
            something is wrong with the state file.
        chance: gives a number in [0, 1).

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
        stale_for: float = 3600.0,
        state_file: str | None = None,
        exchange: Exchange | None = None,
        tell: Callable[[ResolverEvent], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._nameservers = tuple(map(parse_nameserver, nameservers or ()))
        self._hosts = WatchedFile(hosts_path, parse_hosts)
        self._resolv_conf = WatchedFile(resolv_conf_path, self._parse_resolv_conf)
        self._chance = chance
        self._cache = DnsCache(min_ttl=min_ttl, max_ttl=max_ttl, stale_for=stale_for)
        self._memory = NameMemory(
            self._conf_at, self._cache, exchange=exchange, tell=tell, chance=chance
        )
        self._memory.use_state_file(state_file)

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

    def apply(self, settings: ResolverSettings) -> None:
        """Takes other settings; what is known stays. Within trio."""
        self._cache.limit(settings.min_ttl, settings.max_ttl, settings.stale_for)
        nameservers = tuple(map(parse_nameserver, settings.nameservers))
        if nameservers != self._nameservers:
            self._nameservers = nameservers
            self._resolv_conf = WatchedFile(self._resolv_conf.path, self._parse_resolv_conf)
        self._memory.use_state_file(settings.state_file)

    def keep(self, places: Iterable[tuple[str, int]]) -> None:
        """See haclient.net.RemembersNames."""
        names = set()
        for host, port in places:
            with contextlib.suppress(ValueError):  # an address, or nothing that can be asked for
                names.add(_name(host, port))
        self._cache.keep(names)

    async def run(self) -> None:
        """Keeps names in use fresh, and the state file up to date, until cancelled."""
        await self._memory.run()

    # --- what is told ------------------------------------------------------------------------

    @property
    def stale_served(self) -> int:
        """How often an answer was given beyond its time."""
        return self._memory.stale_served

    def report(self, now: Instant) -> tuple[NameReport, ...]:
        """A line for each host that a name server was asked for."""
        return self._memory.report(now)

    # --- answers -----------------------------------------------------------------------------

    async def resolve(self, host: str, port: int) -> Resolution:
        """Every address of `host`, each with `port`; with 0 those of a service, "_orders._tcp.example".

        Raises:
            haclient.errors.ResolveError: the subclass says why, the message who was asked. Without
                a subclass: the host is no name that anybody could be asked for.
        """
        now = trio.current_time()
        try:
            found = self._without_query(host, port, now)
        except ValueError as error:
            raise errors.ResolveError(
                f"cannot resolve {host!r}: {error}; nobody was asked", stage=Phase.RESOLVING
            ) from None
        if isinstance(found, Resolution):
            return found
        entry = self._memory.get(found, now)
        if entry is None:
            known = await self._look_up(host, found)
        else:
            known = self._known(host, entry, now)
        if not port:
            return await resolve_service(host, known, self, self._chance)
        return _resolution(host, port, known)

    def peek(self, host: str, port: int) -> Resolution | None:
        """What is known without waiting, an old answer included; None where nothing good is.

        The host counts as asked for. While `run` runs it is kept fresh, and looked up the first time.
        """
        now = trio.current_time()
        try:
            found = self._without_query(host, port, now)
        except ValueError:
            return None
        if isinstance(found, Resolution):
            return found
        entry = self._memory.peek(found, now)
        if entry is None or isinstance(entry.outcome, NotFound):
            return None
        known = self._known(host, entry, now)
        return _resolution(host, port, known) if port else peek_service(host, known, self)

    def _without_query(self, host: str, port: int, now: Instant) -> Resolution | str:
        """The answer that needs no name server; or the name to ask for.

        Raises:
            ValueError: there can be no such name.
        """
        if not port:
            return _name(host, port)
        literal = ip_literal(host)
        if literal is not None:
            return _resolution(host, port, Known((literal,), "literal"))
        name = _name(host, port)
        addresses = self._hosts.get(now).lookup(name)
        if addresses:
            return _resolution(host, port, Known(addresses, "hosts"))
        if is_localhost(name):
            return _resolution(host, port, Known(LOOPBACK_ADDRESSES, "localhost"))
        return name

    async def _look_up(self, host: str, name: str) -> Known:
        """Nothing is known that may be believed unasked."""
        while True:
            now = trio.current_time()
            stale = self._memory.stale(name, now)
            if stale is not None:
                return self._known(host, stale, now, "stale")
            flight = await self._memory.look_up(name)
            if flight is not None:
                return self._learnt(host, flight)
            # An old answer is to be had now; or the task whose lookup this was is gone, and the
            # first to come by here takes over.
            now = trio.current_time()
            entry = self._memory.get(name, now)
            if entry is not None:
                return self._known(host, entry, now)

    def _known(self, host: str, entry: Entry, now: Instant, source: str = "cache") -> Known:
        left = max(0.0, entry.expires_at - now)
        if isinstance(entry.outcome, NotFound):
            raise self._error(host, entry.outcome, left)
        return _as_known(entry.outcome, source, left, entry.former_at(now))

    def _learnt(self, host: str, flight: Flight) -> Known:
        """What a lookup came to that was waited for."""
        now = trio.current_time()
        if not isinstance(flight.outcome, Found):
            assert flight.outcome is not None
            raise self._error(host, flight.outcome, None)
        entry = self._cache.stale(flight.name, now)
        former = () if entry is None else entry.former_at(now)
        return _as_known(flight.outcome, "dns", max(0.0, flight.expires_at - now), former)

    def _error(
        self, host: str, outcome: NotFound, remembered_for: float | None
    ) -> errors.ResolveError:
        named_in = OWN_NAMESERVERS if self._nameservers else self._resolv_conf.path
        return resolve_error(host, outcome, remembered_for, (self._hosts.path, named_in))

    # --- resolv.conf -------------------------------------------------------------------------

    def _conf_at(self, now: Instant) -> ResolvConf:
        return self._resolv_conf.get(now)

    def _parse_resolv_conf(self, text: str) -> ResolvConf:
        conf = parse_resolv_conf(text)
        return (
            msgspec.structs.replace(conf, nameservers=self._nameservers)
            if self._nameservers
            else conf
        )


def _name(host: str, port: int) -> str:
    """By which it is remembered.

    Raises:
        ValueError: there can be no such name.
    """
    return to_ascii(host) if port else SERVICE + to_ascii(host)


def _as_known(found: Found, source: str, ttl: float, former: tuple[str, ...]) -> Known:
    server = "" if found.server is None else describe_nameserver(found.server)
    return Known(found.addresses, source, ttl, server, former)


def _resolution(host: str, port: int, known: Known) -> Resolution:
    endpoints = tuple(Endpoint(address, port) for address in known.addresses)
    former = tuple(Endpoint(each, port) for each in known.former) if known.former else ()
    return Resolution(host, endpoints, known.source, known.ttl, known.server, former)
