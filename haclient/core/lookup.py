"""One lookup of one host: which names are asked for, and when enough has been heard.

The naive way asks for A, then for AAAA, then for the next name of the search list: the waits add
up, and a server that never answers for AAAA (there are such) spoils the A records that came at
once. Here A and AAAA of a name are asked side by side, and:

    addresses of both types             done
    addresses of one, the other silent  done after the Resolution Delay (RFC 8305, section 3)
    addresses of one, the other failed  done: some addresses are better than an error
    neither has any, and that is known  the next name of the search list
    neither has any, a server failed    the next name too, as the C library does; but if nothing
                                        comes of it the failure is the result, for "no such name"
                                        is then not proven
    nobody answered at all              the end: nobody would answer for the next name either

NXDOMAIN for one type does not stop the other, though it means that the name has no records at all
(RFC 8020): there are servers that say it to AAAA and have an A record (RFC 4074, section 4.2). Said
to A it is believed, also where nothing was heard of AAAA.

    actions:  Ask (send a query), WakeAt (call `woke` then), Finished (with the outcome)
    events:   start, answered, woke

Left out: what arrives after Finished (the cache keeps an answer of one family for a few seconds
only), sorting by RFC 6724 (the race finds out what a sort could only guess).
"""

from __future__ import annotations

import enum
import itertools

import msgspec

from haclient.core.dns_answer import Addresses, Fault, NoData, NoName, RecordType, Reply
from haclient.core.names import describe_nameserver
from haclient.core.question import Ask, QueryPlan, Question
from haclient.types import Endpoint, Instant

__all__ = [
    "RESOLUTION_DELAY",
    "Action",
    "Finished",
    "Found",
    "Lookup",
    "NotFound",
    "Outcome",
    "Reason",
    "WakeAt",
]

RESOLUTION_DELAY = 0.05
"""Seconds that the addresses of one family wait for the other's (RFC 8305, section 3)."""

BOTH_FAMILIES = (RecordType.AAAA, RecordType.A)
"""AAAA first, as RFC 8305, section 3, has it."""


class Reason(enum.Enum):
    """Why a host has no address."""

    NO_SUCH_NAME = "no such name"
    NO_ADDRESS = "the name has no address"
    SERVER_FAILURE = "the name servers failed"
    REFUSED = "the name servers refused to answer"
    TIMED_OUT = "no name server answered"


class Found(msgspec.Struct, frozen=True):
    """The addresses of a host, IPv6 first; `ttl` in seconds, the least of all records used.

    `server` is None where the answer is of a time before this process.
    """

    addresses: tuple[str, ...]
    ttl: float
    server: Endpoint | None
    is_whole: bool
    """False where one family gave no answer; it is to be asked for again soon."""


class NotFound(msgspec.Struct, frozen=True):
    """The host has no address, as far as could be learnt.

    `names` were asked for, of `servers`; `faults` says of each server that was of no use why, and
    `rdtypes` then has the types that went without an answer. `ttl` is how long this may be
    believed, None if not at all.
    """

    reason: Reason
    names: tuple[str, ...]
    rdtypes: tuple[RecordType, ...]
    servers: tuple[Endpoint, ...]
    faults: tuple[tuple[Endpoint, str], ...] = ()
    ttl: float | None = None
    server: Endpoint | None = None
    """Who gave the answer, where one was given."""

    def __str__(self) -> str:
        """What happened, and what was asked of whom."""
        servers = ", ".join(map(describe_nameserver, self.servers))
        types = " and ".join(sorted(rdtype.name for rdtype in self.rdtypes))
        faults = "; ".join(f"{describe_nameserver(s)}: {detail}" for s, detail in self.faults)
        why = f"{self.reason.value}: {faults}" if faults else self.reason.value
        return f"{why} (asked {servers} for {types} of {', '.join(self.names)})"


Outcome = Found | NotFound


class WakeAt(msgspec.Struct, frozen=True):
    """Call `woke` at this instant. It takes the place of every earlier WakeAt."""

    at: Instant


class Finished(msgspec.Struct, frozen=True):
    """The lookup is over; nothing that comes in later matters."""

    outcome: Outcome


Action = Ask | WakeAt | Finished


class Lookup:
    """The machine. `names` are absolute, in the order in which they are to be asked for."""

    def __init__(
        self,
        names: tuple[str, ...],
        plan: QueryPlan,
        rdtypes: tuple[RecordType, ...] = BOTH_FAMILIES,
    ) -> None:
        self.is_finished = False
        self._names_left = list(names)
        self._plan = plan
        self._rdtypes = rdtypes
        self._numbers = itertools.count(1)
        self._questions: dict[RecordType, Question] = {}
        self._go_without_at: Instant | None = None
        # What earlier names came to.
        self._asked: list[str] = []
        self._servers: dict[Endpoint, None] = {}
        self._silent: set[Endpoint] = set()
        self._faults: dict[Endpoint, tuple[Fault, str]] = {}
        self._failed: dict[RecordType, None] = {}
        self._negative_ttls: list[float | None] = []
        self._name_exists = False
        self._answered_by: Endpoint | None = None

    def __repr__(self) -> str:
        questions = ", ".join(map(repr, self._questions.values()))
        return f"<Lookup asked={self._asked} left={self._names_left} {questions}>"

    def start(self, now: Instant) -> tuple[Action, ...]:
        """Asks for every type of the first name."""
        return self._step(self._next_name(now), now)

    def answered(self, ask: Ask, reply: Reply, now: Instant) -> tuple[Action, ...]:
        """`reply` came for `ask`; late and foreign news changes nothing."""
        if self.is_finished:
            return ()
        return self._step(self._questions[ask.rdtype].answered(ask, reply, now), now)

    def woke(self, now: Instant) -> tuple[Action, ...]:
        """Time has passed."""
        if self.is_finished:
            return ()
        asks = [ask for question in self._questions.values() for ask in question.woke(now)]
        return self._step(tuple(asks), now)

    def servers_silent_for(self, seconds: float, now: Instant) -> frozenset[Endpoint]:
        """The servers that have had a query for that long and said nothing."""
        each = (q.servers_silent_for(seconds, now) for q in self._questions.values())
        return frozenset(itertools.chain.from_iterable(each))

    def _step(self, asks: tuple[Ask, ...], now: Instant) -> tuple[Action, ...]:
        for ask in asks:
            self._servers[ask.server] = None
        outcome: Outcome | None = self._addresses(now)
        if outcome is None and all(q.is_settled for q in self._questions.values()):
            may_go_on = self._note_absence()
            if may_go_on and self._names_left:
                return self._step(self._next_name(now), now)
            outcome = self._absence()
        if outcome is None:
            return (*asks, WakeAt(self._wake_at()))
        self.is_finished = True
        return (Finished(outcome),)

    def _next_name(self, now: Instant) -> tuple[Ask, ...]:
        name = self._names_left.pop(0)
        self._asked.append(name)
        # Who said nothing for the last name is asked last for this one.
        servers = tuple(sorted(self._plan.servers, key=self._silent.__contains__))
        plan = msgspec.structs.replace(self._plan, servers=servers)
        self._questions = {
            rdtype: Question(name, rdtype, plan, self._numbers) for rdtype in self._rdtypes
        }
        return tuple(ask for q in self._questions.values() for ask in q.start(now))

    def _addresses(self, now: Instant) -> Found | None:
        """The outcome, if there are addresses and nothing is left to wait for."""
        found = [q for q in self._questions.values() if isinstance(q.finding, Addresses)]
        if not found:
            return None
        is_all_settled = all(q.is_settled for q in self._questions.values())
        if not is_all_settled:
            if self._go_without_at is None:
                self._go_without_at = now + RESOLUTION_DELAY
            if now < self._go_without_at:
                return None
        findings = [q.finding for q in found if isinstance(q.finding, Addresses)]
        servers = [q.server for q in found if q.server is not None]
        return Found(
            addresses=tuple(address for each in findings for address in each.addresses),
            ttl=min(each.ttl for each in findings),
            server=servers[0],
            is_whole=all(q.finding is not None for q in self._questions.values()),
        )

    def _note_absence(self) -> bool:
        """Takes down what this name came to; returns whether another one may be asked for."""
        questions = self._questions.values()
        is_denied = any(
            q.rdtype is RecordType.A and isinstance(q.finding, NoName) for q in questions
        )
        may_go_on = True
        for question in questions:
            self._silent |= {s for s, (f, _) in question.faults.items() if f is Fault.SILENT}
            if isinstance(question.finding, NoData | NoName):
                self._negative_ttls.append(question.finding.ttl)
                self._name_exists |= isinstance(question.finding, NoData)
                self._answered_by = question.server
            elif not is_denied:
                self._faults.update(question.faults)
                self._failed[question.rdtype] = None
                may_go_on &= not _nobody_answered(question)
        return may_go_on

    def _absence(self) -> NotFound:
        ttl = None
        if not self._faults and None not in self._negative_ttls:
            ttl = min(each for each in self._negative_ttls if each is not None)
        return NotFound(
            self._reason(),
            tuple(self._asked),
            tuple(self._failed) or self._rdtypes,
            tuple(self._servers),
            tuple((server, detail) for server, (_, detail) in self._faults.items()),
            ttl,
            self._answered_by,
        )

    def _reason(self) -> Reason:
        faults = {fault for fault, _ in self._faults.values()}
        if not faults:
            return Reason.NO_ADDRESS if self._name_exists else Reason.NO_SUCH_NAME
        if faults == {Fault.SILENT}:
            return Reason.TIMED_OUT
        return Reason.REFUSED if faults == {Fault.REFUSED} else Reason.SERVER_FAILURE

    def _wake_at(self) -> Instant:
        instants = [q.wake_at for q in self._questions.values()]
        if self._go_without_at is not None:
            instants.append(self._go_without_at)
        return min(instant for instant in instants if instant is not None)


def _nobody_answered(question: Question) -> bool:
    return all(f in {Fault.SILENT, Fault.UNREACHABLE} for f, _ in question.faults.values())
