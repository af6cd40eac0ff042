"""A whole lookup: both record types side by side, the search list, and how it ends.

`Play` feeds a lookup from a script of replies and takes down what is asked when, as the driver
would, on a clock of its own.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.dns_answer import Answer, Fault, NoAnswer, Record, RecordType, Reply
from haclient.core.lookup import (
    RESOLUTION_DELAY,
    Action,
    Finished,
    Found,
    Lookup,
    NotFound,
    Outcome,
    Reason,
    WakeAt,
)
from haclient.core.question import MAX_FOLLOWED_QUERIES, Ask, QueryPlan, Transport
from haclient.types import Endpoint

A, AAAA, CNAME = RecordType.A, RecordType.AAAA, RecordType.CNAME
ONE, TWO = (Endpoint(f"10.0.0.{i}", 53) for i in (1, 2))
TIMEOUT = 2.0

SERVFAIL, REFUSED = Answer(2), Answer(5)
NXDOMAIN, NODATA = Answer(3, negative_ttl=20), Answer(0, negative_ttl=30)
UNREACHABLE = NoAnswer(Fault.UNREACHABLE, "connection refused")
SILENCE = None

Told = tuple[float, Reply] | Reply | None
"""A reply (after that many seconds), or silence."""
Script = Callable[[Ask], Told]


def v4(name: str, *addresses: str, ttl: float = 60) -> Answer:
    return Answer(0, tuple(Record(name, A, address, ttl) for address in addresses))


def v6(name: str, *addresses: str, ttl: float = 60) -> Answer:
    return Answer(0, tuple(Record(name, AAAA, address, ttl) for address in addresses))


@dataclass
class Play:
    """What happened: the outcome, when, and every query with its instant."""

    lookup: Lookup
    script: Script
    now: float = 0.0
    asked: list[tuple[float, Ask]] = field(default_factory=list)
    outcome: Outcome | None = None
    _coming: list[tuple[float, int, Ask, Reply]] = field(default_factory=list)
    _wake_at: float = 0.0

    def run(self) -> Outcome:
        self._carry_out(self.lookup.start(self.now))
        for _ in range(10_000):
            if self.outcome is not None:
                return self.outcome
            if self._coming and self._coming[0][0] <= self._wake_at:
                self.now, _, ask, reply = heapq.heappop(self._coming)
                self._carry_out(self.lookup.answered(ask, reply, self.now))
            else:
                self.now = self._wake_at
                self._carry_out(self.lookup.woke(self.now))
        raise AssertionError("the lookup does not end")

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case Ask():
                    self.asked.append((self.now, action))
                    told = self.script(action)
                    if told is not None:
                        delay, reply = told if isinstance(told, tuple) else (0.01, told)
                        heapq.heappush(
                            self._coming, (self.now + delay, action.number, action, reply)
                        )
                case WakeAt(at):
                    self._wake_at = at
                case Finished(outcome):
                    self.outcome = outcome
        if self.outcome is None:
            assert isinstance(actions[-1], WakeAt)

    @property
    def queries(self) -> list[tuple[float, str, str, str]]:
        return [(at, ask.qname, ask.rdtype.name, ask.server.address) for at, ask in self.asked]


def table(entries: Mapping[tuple[str, RecordType], Told]) -> Script:
    return lambda ask: entries[ask.qname, ask.rdtype]


def play(script: Script, *names: str, servers: tuple[Endpoint, ...] = (ONE,)) -> Play:
    lookup = Lookup(names or ("x.",), QueryPlan(servers, attempts=2, timeout=TIMEOUT))
    return Play(lookup, script)


class TestBothFamilies:
    def test_both_are_asked_at_once_and_given_with_ipv6_first(self) -> None:
        p = play(
            table({("x.", A): v4("x.", "192.0.2.1", ttl=9), ("x.", AAAA): v6("x.", "2001:db8::1")})
        )
        assert p.run() == Found(("2001:db8::1", "192.0.2.1"), 9, ONE, is_whole=True)
        assert p.queries == [(0, "x.", "AAAA", "10.0.0.1"), (0, "x.", "A", "10.0.0.1")]

    @pytest.mark.parametrize(
        ("a", "aaaa", "ends_at", "addresses", "is_whole"),
        [
            pytest.param((0.1, v4("x.", "192.0.2.1")), (0.14, v6("x.", "::2")), 0.14,
                         ("::2", "192.0.2.1"), True, id="the other comes within the delay"),
            pytest.param((0.1, v4("x.", "192.0.2.1")), (0.2, v6("x.", "::2")), 0.15,
                         ("192.0.2.1",), False, id="IPv6 comes too late"),
            pytest.param((0.2, v4("x.", "192.0.2.1")), (0.1, v6("x.", "::2")), 0.15,
                         ("::2",), False, id="IPv4 comes too late"),
            pytest.param((0.1, v4("x.", "192.0.2.1")), SILENCE, 0.15,
                         ("192.0.2.1",), False, id="IPv6 is never answered"),
            pytest.param((0.1, v4("x.", "192.0.2.1")), (0.5, SERVFAIL), 0.15,
                         ("192.0.2.1",), False, id="IPv6 would have failed later"),
            pytest.param((0.5, v4("x.", "192.0.2.1")), (0.1, SERVFAIL), 0.5,
                         ("192.0.2.1",), False, id="IPv6 had failed: nothing to wait for"),
            pytest.param((0.5, v4("x.", "192.0.2.1")), (0.1, NODATA), 0.5,
                         ("192.0.2.1",), True, id="there is no IPv6: the answer is whole"),
            pytest.param((0.5, v4("x.", "192.0.2.1")), (0.1, NXDOMAIN), 0.5,
                         ("192.0.2.1",), True, id="a server that says NXDOMAIN to AAAA"),
        ],
    )  # fmt: skip
    def test_one_family_waits_for_the_other_for_the_resolution_delay(
        self, a: Told, aaaa: Told, ends_at: float, addresses: tuple[str, ...], is_whole: bool
    ) -> None:
        p = play(table({("x.", A): a, ("x.", AAAA): aaaa}))
        assert p.run() == Found(addresses, 60, ONE, is_whole)
        assert p.now == pytest.approx(ends_at)

    def test_one_family_alone_where_only_that_is_wanted(self) -> None:
        lookup = Lookup(("x.",), QueryPlan((ONE,)), (A,))
        p = Play(lookup, table({("x.", A): v4("x.", "192.0.2.1")}))
        assert p.run() == Found(("192.0.2.1",), 60, ONE, is_whole=True)
        assert p.queries == [(0, "x.", "A", "10.0.0.1")]


class TestSearchList:
    def test_the_next_name_is_asked_for_where_there_is_no_address(self) -> None:
        p = play(
            table({
                ("x.corp.", A): NXDOMAIN, ("x.corp.", AAAA): NXDOMAIN,
                ("x.lab.", A): NODATA, ("x.lab.", AAAA): NODATA,
                ("x.", A): v4("x.", "192.0.2.1"), ("x.", AAAA): NODATA,
            }), "x.corp.", "x.lab.", "x.", "x.never."
        )  # fmt: skip
        assert p.run() == Found(("192.0.2.1",), 60, ONE, is_whole=True)
        assert [(name, rdtype) for _, name, rdtype, _ in p.queries] == [
            ("x.corp.", "AAAA"), ("x.corp.", "A"), ("x.lab.", "AAAA"), ("x.lab.", "A"),
            ("x.", "AAAA"), ("x.", "A"),
        ]  # fmt: skip

    def test_a_server_that_fails_for_one_name_is_asked_for_the_next(self) -> None:
        entries = {("x.corp.", A): SERVFAIL, ("x.corp.", AAAA): SERVFAIL,
                   ("x.", A): v4("x.", "192.0.2.1"), ("x.", AAAA): NODATA}  # fmt: skip
        assert isinstance(play(table(entries), "x.corp.", "x.").run(), Found)

    def test_silence_ends_the_search(self) -> None:
        p = play(lambda ask: SILENCE, "x.corp.", "x.")
        outcome = p.run()
        assert isinstance(outcome, NotFound)
        assert (outcome.reason, outcome.names) == (Reason.TIMED_OUT, ("x.corp.",))
        assert p.now == 2 * TIMEOUT

    def test_a_server_that_was_silent_is_asked_last_for_the_next_name(self) -> None:
        def script(ask: Ask) -> Told:
            return SILENCE if ask.server == ONE else NXDOMAIN

        p = play(script, "x.corp.", "x.", servers=(ONE, TWO))
        assert p.run() == NotFound(
            Reason.NO_SUCH_NAME, ("x.corp.", "x."), (AAAA, A), (ONE, TWO), ttl=20, server=TWO
        )
        assert p.now == pytest.approx(TIMEOUT + 0.02)
        assert [server for _, name, _, server in p.queries if name == "x."] == ["10.0.0.2"] * 2

    def test_a_denial_of_the_ipv4_address_outweighs_silence_about_ipv6(self) -> None:
        p = play(lambda ask: NXDOMAIN if ask.rdtype is A else SILENCE, "x.corp.", "x.")
        outcome = p.run()
        assert isinstance(outcome, NotFound)
        assert outcome.reason is Reason.NO_SUCH_NAME
        assert outcome.names == ("x.corp.", "x.")
        assert outcome.faults == ()


def both(reply: Told) -> Script:
    return lambda ask: reply


def by_server(one: Told, two: Told) -> Script:
    return lambda ask: one if ask.server == ONE else two


class TestReasons:
    @pytest.mark.parametrize(
        ("script", "reason", "ttl", "message"),
        [
            pytest.param(
                both(NXDOMAIN), Reason.NO_SUCH_NAME, 20,
                "no such name (asked 10.0.0.1 for A and AAAA of x.)", id="no such name",
            ),
            pytest.param(
                both(NODATA), Reason.NO_ADDRESS, 30,
                "the name has no address (asked 10.0.0.1 for A and AAAA of x.)", id="no address",
            ),
            pytest.param(
                table({("x.", A): NODATA, ("x.", AAAA): NXDOMAIN}), Reason.NO_ADDRESS, 20,
                "the name has no address (asked 10.0.0.1 for A and AAAA of x.)",
                id="no address, denied to AAAA",
            ),
            pytest.param(
                both(Answer(3)), Reason.NO_SUCH_NAME, None,
                "no such name (asked 10.0.0.1 for A and AAAA of x.)",
                id="no such name, without a SOA record: not to be remembered",
            ),
            pytest.param(
                table({("x.", A): NODATA, ("x.", AAAA): SERVFAIL}), Reason.SERVER_FAILURE, None,
                "the name servers failed: 10.0.0.1: SERVFAIL (asked 10.0.0.1 for AAAA of x.)",
                id="no IPv4 address, and no word of IPv6",
            ),
            pytest.param(
                by_server(REFUSED, REFUSED), Reason.REFUSED, None,
                "the name servers refused to answer: 10.0.0.1: REFUSED; 10.0.0.2: REFUSED "
                "(asked 10.0.0.1, 10.0.0.2 for A and AAAA of x.)", id="all refused",
            ),
            pytest.param(
                by_server(SILENCE, REFUSED), Reason.SERVER_FAILURE, None,
                "the name servers failed: 10.0.0.1: no answer; 10.0.0.2: REFUSED "
                "(asked 10.0.0.1, 10.0.0.2 for A and AAAA of x.)", id="one silent, one refused",
            ),
            pytest.param(
                by_server(UNREACHABLE, SERVFAIL), Reason.SERVER_FAILURE, None,
                "the name servers failed: 10.0.0.1: connection refused; 10.0.0.2: SERVFAIL "
                "(asked 10.0.0.1, 10.0.0.2 for A and AAAA of x.)", id="one gone, one failed",
            ),
            pytest.param(
                both(SILENCE), Reason.TIMED_OUT, None,
                "no name server answered: 10.0.0.1: no answer (asked 10.0.0.1 for A and AAAA of x.)",
                id="silence",
            ),
        ],
    )  # fmt: skip
    def test_why_there_is_no_address(
        self, script: Script, reason: Reason, ttl: float | None, message: str
    ) -> None:
        outcome = play(script, servers=(ONE, TWO) if "10.0.0.2" in message else (ONE,)).run()
        assert isinstance(outcome, NotFound)
        assert (outcome.reason, outcome.ttl, str(outcome)) == (reason, ttl, message)

    def test_a_failure_for_one_name_leaves_no_such_name_unproven(self) -> None:
        entries = {("x.corp.", A): SERVFAIL, ("x.corp.", AAAA): SERVFAIL,
                   ("x.", A): NXDOMAIN, ("x.", AAAA): NXDOMAIN}  # fmt: skip
        outcome = play(table(entries), "x.corp.", "x.").run()
        assert isinstance(outcome, NotFound)
        assert (outcome.reason, outcome.ttl) == (Reason.SERVER_FAILURE, None)
        assert outcome.names == ("x.corp.", "x.")

    def test_nobody_there_ends_the_search_at_once(self) -> None:
        p = play(both(UNREACHABLE), "x.corp.", "x.")
        outcome = p.run()
        assert isinstance(outcome, NotFound)
        assert outcome.names == ("x.corp.",)
        assert p.now == 0.01


class TestMachine:
    def test_wake_ups_come_early_late_and_twice_without_harm(self) -> None:
        lookup = Lookup(("x.",), QueryPlan((ONE,)))
        *asks, wake = lookup.start(0.0)
        assert wake == WakeAt(2.0)
        assert lookup.woke(0.5) == (wake,)
        assert lookup.woke(0.5) == (wake,)
        assert len(asks) == 2

    def test_after_the_end_nothing_is_done(self) -> None:
        lookup = Lookup(("x.",), QueryPlan((ONE,)), (A,))
        ask, _ = lookup.start(0.0)
        assert isinstance(ask, Ask)
        assert lookup.answered(ask, NXDOMAIN, 0.1) == (
            Finished(NotFound(Reason.NO_SUCH_NAME, ("x.",), (A,), (ONE,), ttl=20, server=ONE)),
        )
        assert lookup.is_finished
        assert lookup.answered(ask, v4("x.", "192.0.2.1"), 0.2) == ()
        assert lookup.woke(9.0) == ()

    def test_the_addresses_of_a_late_server_count_after_the_next_was_asked(self) -> None:
        p = play(by_server((2.5, v4("x.", "192.0.2.1")), SILENCE), servers=(ONE, TWO))
        outcome = p.run()
        assert isinstance(outcome, Found)
        assert outcome.server == ONE

    def test_silent_servers_are_known(self) -> None:
        lookup = Lookup(("x.",), QueryPlan((ONE, TWO)))
        lookup.start(0.0)
        assert lookup.servers_silent_for(1.0, 0.5) == frozenset()
        assert lookup.servers_silent_for(1.0, 1.5) == {ONE}

    def test_repr_names_what_is_open(self) -> None:
        lookup = Lookup(("x.", "y."), QueryPlan((ONE,)), (A,))
        lookup.start(0.0)
        assert repr(lookup) == "<Lookup asked=['x.'] left=['y.'] <Question A of x.: 1 outstanding>>"


names = st.sampled_from(["x.", "y.", "z."])
records = st.lists(
    st.one_of(
        st.builds(Record, names, st.just(CNAME), names, st.integers(0, 99)),
        st.builds(Record, names, st.just(A), st.just("192.0.2.1"), st.integers(0, 99)),
        st.builds(Record, names, st.just(AAAA), st.just("2001:db8::1"), st.integers(0, 99)),
    ),
    max_size=3,
).map(tuple)
replies = st.one_of(
    st.builds(
        Answer,
        st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 9, 16]),
        records,
        st.none() | st.integers(0, 99),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(NoAnswer, st.sampled_from([Fault.UNREACHABLE, Fault.MALFORMED]), st.just("?")),
)
told = st.one_of(st.none(), st.tuples(st.floats(0, 9), replies), replies)


@given(
    st.lists(told, max_size=60),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(Transport),
)
def test_whatever_servers_say_a_lookup_ends_in_time_and_repeats_nothing(
    script: list[Told], servers: int, attempts: int, name_count: int, transport: Transport
) -> None:
    plan = QueryPlan(
        tuple(Endpoint(f"10.0.0.{i}", 53) for i in range(servers)), attempts, TIMEOUT, transport
    )
    search = tuple(f"{i}." for i in range(name_count - 1))
    replies_left = itertools.chain(script, itertools.repeat(None))
    p = Play(Lookup((*search, "x."), plan), lambda ask: next(replies_left))
    outcome = p.run()

    # Each try is waited for at the most `timeout` seconds, up to three times (without EDNS, and
    # over TCP), and the whole again for each alias that was left open and each name.
    tries = servers * attempts * 3 * (1 + MAX_FOLLOWED_QUERIES) * name_count
    assert p.now <= tries * TIMEOUT + RESOLUTION_DELAY + 1e-6
    assert len(p.asked) <= 2 * tries
    assert p.lookup.is_finished

    # The same is not asked of the same server again before it was silent for the whole time-out.
    # (An alias may lead back to a name: that is a question of its own.)
    last: dict[object, float] = {}
    if not any(r.rdtype is CNAME for t in script for r in _records(t)):
        for at, ask in p.asked:
            key = (ask.qname, ask.rdtype, ask.server, ask.transport, ask.uses_edns)
            assert at >= last.get(key, -TIMEOUT) + TIMEOUT
            last[key] = at

    if isinstance(outcome, Found):
        assert set(outcome.addresses) <= {"192.0.2.1", "2001:db8::1"}
        assert 0 <= outcome.ttl <= 99
    else:
        assert outcome.names
        assert (outcome.ttl is None) or not outcome.faults


def _records(told: Told) -> tuple[Record, ...]:
    reply = told[1] if isinstance(told, tuple) else told
    return reply.records if isinstance(reply, Answer) else ()
