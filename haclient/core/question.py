"""One question (a name and a record type), put to the name servers until one of them answers.

The naive way is a loop: ask, wait for the time-out, close the socket, ask the next. It throws away
the answer of a server that needs a little longer than the time-out, so with a single slow server
it never has one at all; hence the long time-outs of resolvers, and the long wait on a dead server.
Here a query that has been silent for `timeout` seconds only stops being waited for: the next server
is asked, and whoever answers first settles the question, late or not. So the time-out may be short.

    silence for `timeout`            the next server, `attempts` rounds of all of them
    SERVFAIL, REFUSED, garbage, ICMP the next server at once; this one is not asked again
    truncated                        the same server over TCP (RFC 1035, section 4.2.1; RFC 7766)
    FORMERR, NOTIMP, BADVERS         the same server without EDNS (RFC 6891, section 7)
    an alias and nothing behind it   the alias's target, of the same server first

The same thing is never asked of the same server again before it has been silent for `timeout`.
Left out: asking several servers at once from the start, dropping EDNS because of silence (the
workaround that DNS flag day 2019 ended), a random order of servers.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterator

import msgspec

from haclient.core.dns_answer import (
    MAX_ALIASES,
    Addresses,
    Alias,
    Answer,
    Fault,
    NoAnswer,
    NoData,
    NoName,
    Rcode,
    RecordType,
    Reply,
    Unusable,
    read_answer,
)
from haclient.types import Endpoint, Instant

__all__ = ["MAX_FOLLOWED_QUERIES", "Ask", "QueryPlan", "Question", "Transport"]

MAX_FOLLOWED_QUERIES = 4
"""New queries for the sake of aliases that an answer leaves open. Recursive servers leave none
open; a server without recursion one for each zone border that it does not serve itself."""

_EDNS_NOT_UNDERSTOOD = frozenset({Rcode.FORMERR, Rcode.NOTIMP, Rcode.BADVERS})


class Transport(enum.Enum):
    """What carries a query."""

    UDP = "UDP"
    TCP = "TCP"


class Ask(msgspec.Struct, frozen=True):
    """Send this query, and report what comes back for it. `number` is unique in its lookup."""

    number: int
    qname: str
    rdtype: RecordType
    server: Endpoint
    transport: Transport = Transport.UDP
    uses_edns: bool = True


class QueryPlan(msgspec.Struct, frozen=True):
    """Whom to ask in what order, and how patiently (`timeout` in seconds, for one try)."""

    servers: tuple[Endpoint, ...]
    attempts: int = 2
    timeout: float = 2.0
    transport: Transport = Transport.UDP

    def __post_init__(self) -> None:
        if not self.servers or self.attempts < 1 or self.timeout <= 0:
            raise ValueError(f"nobody would be asked, or nobody waited for: {self}")


class _Outstanding(msgspec.Struct, eq=False):
    ask: Ask
    asked_at: Instant
    waited_for_until: Instant


class Question:
    """One record type of one name.

    Every method that takes an event returns the queries to send now. Once `is_settled`, `finding`
    says what the name servers said, or is None if none of them was of use; `faults` then says why.
    `wake_at` is when `woke` is next to be called; calling it too early or too often does no harm.
    """

    def __init__(
        self, qname: str, rdtype: RecordType, plan: QueryPlan, numbers: Iterator[int]
    ) -> None:
        self.qname = qname
        self.rdtype = rdtype
        self.finding: Addresses | NoData | NoName | None = None
        self.server: Endpoint | None = None
        """Who settled it."""
        self.faults: dict[Endpoint, tuple[Fault, str]] = {}
        self.is_settled = False
        self._plan = plan
        self._numbers = numbers
        self._turns = deque(plan.servers * plan.attempts)
        self._outstanding: dict[int, _Outstanding] = {}
        self._useless: set[Endpoint] = set()
        self._aliases = 0
        self._followed = 0
        self._alias_ttl = float("inf")

    def __repr__(self) -> str:
        state = f"{self.finding}" if self.is_settled else f"{len(self._outstanding)} outstanding"
        return f"<Question {self.rdtype.name} of {self.qname}: {state}>"

    @property
    def wake_at(self) -> Instant | None:
        """When the query that is waited for has been silent for long enough."""
        return max((o.waited_for_until for o in self._outstanding.values()), default=None)

    def start(self, now: Instant) -> tuple[Ask, ...]:
        """Asks the first server."""
        return self._go_on(now)

    def woke(self, now: Instant) -> tuple[Ask, ...]:
        """Time has passed."""
        return () if self.is_settled else self._go_on(now)

    def answered(self, ask: Ask, reply: Reply, now: Instant) -> tuple[Ask, ...]:
        """`reply` came for `ask`. News of a query that no longer matters changes nothing."""
        if self._outstanding.pop(ask.number, None) is None:
            return ()
        if isinstance(reply, NoAnswer):
            return self._found_useless(ask.server, reply.fault, reply.detail, now)
        if reply.is_truncated and ask.transport is Transport.UDP:
            return self._repeat(ask, now, Transport.TCP, ask.uses_edns)
        if ask.uses_edns and reply.rcode in _EDNS_NOT_UNDERSTOOD:
            return self._repeat(ask, now, ask.transport, uses_edns=False)
        return self._read(ask, reply, now)

    def servers_silent_for(self, seconds: float, now: Instant) -> frozenset[Endpoint]:
        """The servers that have had a query for that long and said nothing."""
        return frozenset(
            o.ask.server for o in self._outstanding.values() if o.asked_at <= now - seconds
        )

    def _read(self, ask: Ask, answer: Answer, now: Instant) -> tuple[Ask, ...]:
        finding = read_answer(answer, ask.qname, self.rdtype, MAX_ALIASES - self._aliases)
        if isinstance(finding, Unusable):
            return self._found_useless(ask.server, finding.fault, finding.detail, now)
        if isinstance(finding, Alias):
            return self._follow(finding, ask.server, now)
        if isinstance(finding, Addresses):
            finding = Addresses(finding.addresses, min(finding.ttl, self._alias_ttl))
        self.finding = finding
        self.server = ask.server
        self._settle()
        return ()

    def _follow(self, alias: Alias, server: Endpoint, now: Instant) -> tuple[Ask, ...]:
        self._aliases += alias.length
        self._followed += 1
        self._alias_ttl = min(self._alias_ttl, alias.ttl)
        self._outstanding.clear()  # whatever else is on its way answers a question of the past
        self._useless.clear()
        if self._followed > MAX_FOLLOWED_QUERIES:
            self.faults[server] = (Fault.FAILED, "aliases without an address, time and again")
            self._settle()
            return ()
        self.qname = alias.target
        others = [each for each in self._plan.servers if each != server]
        self._turns = deque([server, *others] * self._plan.attempts)
        return self._go_on(now)

    def _repeat(
        self, ask: Ask, now: Instant, transport: Transport, uses_edns: bool
    ) -> tuple[Ask, ...]:
        again = (ask.server, transport, uses_edns)
        for each in self._outstanding.values():
            # Where both copies of a query are answered late, the first answer has seen to it.
            same = (each.ask.server, each.ask.transport, each.ask.uses_edns) == again
            if same and each.waited_for_until > now:
                return ()
        return self._send(ask.server, now, transport, uses_edns)

    def _found_useless(
        self, server: Endpoint, fault: Fault, detail: str, now: Instant
    ) -> tuple[Ask, ...]:
        self.faults[server] = (fault, detail)
        self._useless.add(server)
        return self._go_on(now)

    def _go_on(self, now: Instant) -> tuple[Ask, ...]:
        """Waits while there is something to wait for; else asks the next server, or gives up."""
        if any(o.waited_for_until > now for o in self._outstanding.values()):
            return ()
        for silent in self._outstanding.values():
            self.faults.setdefault(silent.ask.server, (Fault.SILENT, "no answer"))
        while self._turns:
            server = self._turns.popleft()
            if server not in self._useless:
                return self._send(server, now, self._plan.transport)
        self._settle()
        return ()

    def _send(
        self, server: Endpoint, now: Instant, transport: Transport, uses_edns: bool = True
    ) -> tuple[Ask, ...]:
        ask = Ask(next(self._numbers), self.qname, self.rdtype, server, transport, uses_edns)
        self._outstanding[ask.number] = _Outstanding(ask, now, now + self._plan.timeout)
        return (ask,)

    def _settle(self) -> None:
        self.is_settled = True
        self._outstanding.clear()
