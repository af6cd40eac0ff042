"""A target in use, and what all targets of a process share.

`Engine` is the process: one resolver, one watch, its pools, one memory of failed addresses.
`LiveTarget` is one target on it: its retry budget, its TLS context, what its names last answered.

A busy pool connects nowhere for hours, and whoever asks for a name only to connect learns nothing
meanwhile: a server taken out of DNS goes on being asked, and the name is looked up at last in the very
outage. So once a second the names of each target that has connections count as wanted, those of its
backups too; the resolver keeps them fresh, and connections to who is gone are retired. That rides on the
watch's wake-ups, and costs an idle process nothing.
"""

from __future__ import annotations

import math
import random
import ssl
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import trio
from msgspec.structs import replace

from haclient.core.affinity import NO_AFFINITY
from haclient.core.allow import AllowList
from haclient.core.budget import Budget
from haclient.core.health import Health
from haclient.core.health_check import Opinion
from haclient.core.owners import Owners
from haclient.core.spec import Target
from haclient.core.spread import Spread
from haclient.core.trial import Trials
from haclient.core.url import Url
from haclient.net import Dialer, RemembersNames, Resolution, Resolver
from haclient.net.connection import Connection
from haclient.net.pool import Pool
from haclient.net.tls import Certificates, make_context
from haclient.net.watch import Watch
from haclient.types import Endpoint, Evidence, Instant, Order, Origin

if TYPE_CHECKING:
    from haclient.engine.checks import Checks
    from haclient.engine.standby import Standby

__all__ = ["Engine", "LiveTarget", "PoolKey"]

NAMES_EVERY = 1.0
"""Seconds between two looks at the names of targets in use; as short as the shortest TTL that is kept."""


class PoolKey:
    """What may share a connection: an origin, spoken to in one way.

    Equal only to itself, so that the pool's dictionaries, asked for each request, hash an identity
    and not a dozen fields.
    """

    __slots__ = ("__weakref__", "origin")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin

    def __repr__(self) -> str:
        return f"<PoolKey {self.origin}>"


class Engine(msgspec.Struct, eq=False):
    """What every exchange of a process stands on.

    `nursery` carries the tasks that outlive a call: the watch, and uploads that go on while their
    answer is read.
    """

    nursery: trio.Nursery
    resolver: Resolver
    dialer: Dialer
    watch: Watch = msgspec.field(default_factory=Watch)
    health: Health = msgspec.field(default_factory=Health)
    chance: Callable[[], float] = random.random
    pools: dict[tuple[int, float], Pool[Connection]] = msgspec.field(default_factory=dict)
    keys: weakref.WeakValueDictionary[object, PoolKey] = msgspec.field(
        default_factory=weakref.WeakValueDictionary
    )
    """Of the targets and the connections that there are: a client may ask any number of origins."""
    targets: weakref.WeakSet[LiveTarget] = msgspec.field(default_factory=weakref.WeakSet)
    names_at: Instant = -math.inf
    """When the names of targets in use are next looked at."""

    def start(self) -> None:
        """Starts the watch; the pool's idle limit and the names ride along."""
        self.nursery.start_soon(self.watch.run, self._sweep)
        if isinstance(self.resolver, RemembersNames):
            self.nursery.start_soon(self.resolver.run)

    def pool_for(self, spec: Target) -> Pool[Connection]:
        """The pool of those targets that have the same limits."""
        limits = (spec.max_connections, spec.pool_idle_timeout)
        pool = self.pools.get(limits)
        if pool is None:
            pool = self.pools[limits] = Pool(*limits)
        return pool

    def close(self) -> None:
        """Closes every connection, leased or not."""
        for pool in self.pools.values():
            pool.close_all()

    def shed_idle(self) -> None:
        """Closes what is idle in any pool."""
        for pool in self.pools.values():
            pool.shed()

    def _sweep(self, now: Instant) -> Instant:
        if self.health.has_entries:
            self.health.expire(now)
        pools = self.pools.values()
        next_at = min(
            self._keep_names(now), min((pool.sweep(now) for pool in pools), default=math.inf)
        )
        # Without a connection: with the next exchange, which wakes the watch.
        return next_at if any(pool.has_connections for pool in pools) else math.inf

    def _keep_names(self, now: Instant) -> Instant:
        """Returns when to do so again; infinity, where nothing is connected."""
        resolver = self.resolver
        if now >= self.names_at and isinstance(resolver, RemembersNames):
            is_in_use = [target.keep_names(resolver, now) for target in tuple(self.targets)]
            self.names_at = now + NAMES_EVERY if any(is_in_use) else -math.inf
        return math.inf if self.names_at == -math.inf else self.names_at


class LiveTarget:
    """One target's course: budget, TLS, and what is known of its addresses.

    With `allow`, no address is known, and so none is dialled, but those that it lets through; and it
    shares connections with those alone who have the same list. So it is with `certificates`, read before: what
    was connected with others is not used.
    """

    def __init__(
        self,
        spec: Target,
        engine: Engine,
        proxy: Url | None = None,
        allow: AllowList | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.spec = spec
        self.engine = engine
        self.pool = engine.pool_for(spec)
        self.proxy = proxy
        self.allow = allow
        self.budget = Budget(ratio=spec.retry_budget)
        self.tiers: tuple[tuple[Url, ...], ...] = (
            (spec.urls, spec.backups) if spec.backups else (spec.urls,)
        )
        self.known: dict[Origin, tuple[Endpoint, ...]] = {}
        self.is_ranked = bool(spec.backups) or spec.order is Order.LISTED
        """Whether one address is better than another, whoever is quicker."""
        self.trials = Trials()
        self.checks: Checks | None = None
        """Who sends its health requests, where it has any."""
        self.standby: Standby | None = None
        """Who keeps a connection ready for a resend, where that is wanted."""
        self.unfit: dict[Endpoint, Opinion] = {}
        """Whom they speak against: asked last. Empty where all is well, or nobody looks."""
        self._context = certificates.context if certificates is not None else None
        self._digest = digest_of(certificates)
        self.ranks = tuple(tuple(url.origin for url in tier) for tier in self.tiers)
        """The origins of each tier."""
        self.owners = Owners(self.ranks) if spec.affinity != NO_AFFINITY else None
        """Whose each client is; None where all servers are alike to all of them."""
        self.spread = Spread(self.ranks[0]) if spec.order is Order.SHUFFLED else None
        """Whose turn it is; None where requests are not spread."""
        origins = [origin for rank in self.ranks for origin in rank]
        self._keys = {
            origin: engine.keys.setdefault(
                (origin, spec.tls, self._digest, proxy, allow), PoolKey(origin)
            )
            for origin in origins
        }
        self.first_keys = tuple(self._keys[url.origin] for url in spec.urls)
        self.prefixes = {url.origin: prefix_of(url) for tier in self.tiers for url in tier}
        engine.targets.add(self)

    def key(self, origin: Origin) -> PoolKey:
        """The pool's group: connections that serve this origin in this way."""
        return self._keys[origin]

    @property
    def first_tier(self) -> tuple[Url, ...]:
        """The URLs, without the backups."""
        return self.tiers[0]

    def asked_at(self, origin: Origin) -> Origin:
        """Whose name is looked up to reach `origin`: the proxy's, where there is one."""
        return self.proxy.origin if self.proxy is not None else origin

    def admitted(self, origin: Origin, answer: Resolution) -> tuple[Resolution, str]:
        """What of an answer may be dialled; and why the first of its addresses that may not, may not."""
        allow = self.allow
        if allow is None:
            return answer, ""
        refused: list[str] = []

        def admits(endpoint: Endpoint) -> bool:
            why = allow.judge_address(origin.host, origin.port, endpoint.address)
            refused.extend([] if why is None else [why.reason])
            return why is None

        endpoints = tuple(filter(admits, answer.endpoints))
        former = tuple(filter(admits, answer.former))
        later = tuple(tuple(filter(admits, level)) for level in answer.later)
        admitted = replace(answer, endpoints=endpoints, former=former, later=later)
        return admitted, "".join(refused[:1])

    def know(self, origin: Origin, answer: Resolution) -> None:
        """Takes down where `origin` is, and was a moment ago."""
        self.known[origin] = sum(answer.later, answer.endpoints) + answer.former
        if self.owners is not None:
            # Of a service's former servers nobody knows the priority.
            levels = answer.levels
            first = levels[0] if answer.later else levels[0] + answer.former
            last = (answer.former,) if answer.later else ()
            self.owners.learn(origin, (first, *answer.later, *last))
        if self.spread is not None:
            self.spread.learn(origin, answer.endpoints)

    def know_nowhere(self, origin: Origin) -> None:
        """Takes down that its name gave no address."""
        self.known[origin] = ()
        if self.owners is not None:
            self.owners.lacks(origin)
        if self.spread is not None:
            self.spread.learn(origin, ())

    def is_like(self, spec: Target, certificates: Certificates | None) -> bool:
        """Whether one with these would be the same as this."""
        return self.spec == spec and self._digest == digest_of(certificates)

    def take_over(self, before: LiveTarget) -> None:
        """The same target had other settings until now: its clients stay with their servers."""
        is_alike = self.spec.affinity == before.spec.affinity
        if is_alike and self.owners is not None and before.owners is not None:
            self.owners.take_over(before.owners)

    def addresses(self) -> Iterator[tuple[Origin, tuple[Endpoint, ...]]]:
        """Where each origin is, as names said, or as there are connections: then nobody may have asked."""
        for origin, key in self._keys.items():
            yield origin, (*self.known.get(origin, ()), *self.pool.endpoints(key))

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to any of its servers."""
        return any(self.pool.endpoints(key) for key in self._keys.values())

    def keep_names(self, resolver: RemembersNames, now: Instant) -> bool:
        """Has its names kept fresh, if it has connections; returns whether it has.

        Connections to an address that is no longer among the answers, nor was lately, are retired:
        idle ones are closed, the others when their exchange is over. So are those to a service's
        further priorities, once the first may be asked again.
        """
        connected = {origin: self.pool.endpoints(key) for origin, key in self._keys.items()}
        if not any(connected.values()):
            return False
        for origin, endpoints in connected.items():
            at = self.asked_at(origin)
            answer = resolver.peek(at.host, at.port)
            if answer is None:
                continue  # what works goes on
            answer, _ = self.admitted(origin, answer)
            self.know(origin, answer)
            wanted = answer.endpoints if self._is_first_fit(answer, now) else self.known[origin]
            for endpoint in endpoints:
                if endpoint not in wanted:
                    self.pool.retire_endpoint(self._keys[origin], endpoint)
        return True

    def _is_first_fit(self, answer: Resolution, now: Instant) -> bool:
        """Whether somebody of a service's first priority may be asked, and there are further ones."""
        return bool(answer.later) and not all(
            self.is_held_down(endpoint, now) for endpoint in answer.endpoints
        )

    def tls_context(self) -> ssl.SSLContext:
        """Made when first needed, if nobody has before: loading the trust takes 20 ms.

        Raises:
            haclient.net.tls.TlsFileError: a file of the target's cannot be used.
        """
        if self._context is None:
            self._context = make_context(self.spec.tls)
        return self._context

    def is_held_down(self, endpoint: Endpoint, now: Instant) -> bool:
        """Whether it is to be asked last: it failed, is suspect, or health requests speak against it."""
        return endpoint in self.unfit or self.engine.health.is_held_down(endpoint, now)

    def has_verdict(self, endpoint: Endpoint, now: Instant) -> bool:
        """As `is_held_down`, but for suspicion, the detector's or of health requests: that is no verdict."""
        is_unavailable = self.unfit.get(endpoint) is Opinion.UNAVAILABLE
        return is_unavailable or self.engine.health.has_verdict(endpoint, now)

    def heeds(self, suspicion: Evidence, endpoint: Endpoint, generation: int) -> bool:
        """Takes a suspicion down; whether it means us: another target may send health requests there."""
        if suspicion.is_of_health:
            return endpoint in self.unfit
        self.engine.health.report_suspect(endpoint, trio.current_time(), generation)
        return True

    def has_untried(self, tried: set[Endpoint]) -> bool:
        """Whether an address remains that is not in `tried`; a name not yet asked counts."""
        for origin in self._keys:
            endpoints = self.known.get(origin)
            if endpoints is None or any(endpoint not in tried for endpoint in endpoints):
                return True
        return False


def digest_of(certificates: Certificates | None) -> bytes:
    """Empty where there are none."""
    return certificates.digest if certificates is not None else b""


def prefix_of(url: Url) -> str:
    """The path of a target's URL, to be put before a request's own."""
    path = url.path_and_query.partition("?")[0]
    return path.rstrip("/")
