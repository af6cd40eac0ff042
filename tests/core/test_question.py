"""One question to the name servers: each reply with its instant, and who is asked next."""

from __future__ import annotations

import itertools

import pytest

from haclient.core.dns_answer import (
    Addresses,
    Answer,
    Fault,
    NoAnswer,
    NoData,
    NoName,
    Record,
    RecordType,
    Reply,
)
from haclient.core.question import (
    MAX_FOLLOWED_QUERIES,
    Ask,
    QueryPlan,
    Question,
    Transport,
)
from haclient.types import Endpoint

A, CNAME = RecordType.A, RecordType.CNAME
UDP, TCP = Transport.UDP, Transport.TCP
ONE, TWO, THREE = (Endpoint(f"10.0.0.{i}", 53) for i in (1, 2, 3))

GOOD = Answer(0, (Record("x.", A, "192.0.2.1", 60),))
FOUND = Addresses(("192.0.2.1",), 60)
TRUNCATED = Answer(0, is_truncated=True)
UNREACHABLE = NoAnswer(Fault.UNREACHABLE, "connection refused")


def ask(number: int, server: Endpoint, transport: Transport = UDP, edns: bool = True) -> Ask:
    return Ask(number, "x.", A, server, transport, edns)


def question(*servers: Endpoint, attempts: int = 2, timeout: float = 2.0) -> Question:
    return Question("x.", A, QueryPlan(servers, attempts, timeout), itertools.count(1))


class TestSilence:
    def test_the_next_server_is_asked_when_the_timeout_is_over_and_not_before(self) -> None:
        q = question(ONE, TWO)
        assert q.start(10.0) == (ask(1, ONE),)
        assert q.wake_at == 12.0
        assert q.woke(11.9) == ()
        assert q.woke(12.0) == (ask(2, TWO),)
        assert q.wake_at == 14.0

    def test_rounds_go_on_until_the_attempts_are_used_up(self) -> None:
        q = question(ONE, TWO)
        asked = [*q.start(0.0)]
        for second in (2.0, 4.0, 6.0):
            asked += q.woke(second)
        assert asked == [ask(1, ONE), ask(2, TWO), ask(3, ONE), ask(4, TWO)]
        assert q.wake_at == 8.0
        assert q.woke(8.0) == ()
        assert q.is_settled
        assert q.finding is None
        silent = (Fault.SILENT, "no answer")
        assert q.faults == {ONE: silent, TWO: silent}

    def test_a_late_answer_of_the_first_server_counts(self) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        q.woke(2.0)
        assert q.answered(first, GOOD, 2.5) == ()
        assert (q.is_settled, q.finding, q.server) == (True, FOUND, ONE)

    def test_a_single_slow_server_is_asked_again_and_still_heard(self) -> None:
        q = question(ONE)
        (first,) = q.start(0.0)
        assert q.woke(2.0) == (ask(2, ONE),)
        q.answered(first, GOOD, 3.0)
        assert q.finding == FOUND

    def test_a_late_failure_of_one_does_not_end_the_wait_for_the_other(self) -> None:
        q = question(ONE, TWO, attempts=1)
        (first,) = q.start(0.0)
        (second,) = q.woke(2.0)
        assert q.answered(first, Answer(2), 3.0) == ()
        assert not q.is_settled
        q.answered(second, GOOD, 3.5)
        assert q.finding == FOUND

    def test_whoever_was_silent_for_long_enough_is_named(self) -> None:
        q = question(ONE, TWO)
        q.start(0.0)
        assert q.servers_silent_for(1.0, 0.9) == frozenset()
        assert q.servers_silent_for(1.0, 1.0) == {ONE}
        q.woke(2.0)
        assert q.servers_silent_for(1.0, 2.5) == {ONE}


class TestFailures:
    @pytest.mark.parametrize(
        ("reply", "fault"),
        [
            pytest.param(Answer(2), (Fault.FAILED, "SERVFAIL"), id="SERVFAIL"),
            pytest.param(Answer(5), (Fault.REFUSED, "REFUSED"), id="REFUSED"),
            pytest.param(
                UNREACHABLE, (Fault.UNREACHABLE, "connection refused"), id="nobody listens"
            ),
            pytest.param(
                NoAnswer(Fault.MALFORMED, "junk"), (Fault.MALFORMED, "junk"), id="garbage"
            ),
        ],
    )
    def test_the_next_server_is_asked_at_once_and_this_one_no_more(
        self, reply: Reply, fault: tuple[Fault, str]
    ) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        assert q.answered(first, reply, 0.1) == (ask(2, TWO),)
        assert q.woke(2.1) == (ask(3, TWO),)  # the second round, without the first server
        q.woke(4.1)
        assert q.is_settled
        assert q.faults == {ONE: fault, TWO: (Fault.SILENT, "no answer")}

    def test_when_all_have_failed_nothing_is_waited_for(self) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        (second,) = q.answered(first, Answer(2), 0.1)
        assert q.answered(second, Answer(5), 0.2) == ()
        assert q.is_settled
        assert q.wake_at is None


class TestRepeats:
    def test_a_truncated_answer_is_fetched_over_tcp(self) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        (second,) = q.answered(first, TRUNCATED, 0.1)
        assert second == ask(2, ONE, TCP)
        q.answered(second, GOOD, 0.2)
        assert q.finding == FOUND

    def test_a_truncated_answer_over_tcp_is_taken_as_it_is(self) -> None:
        q = Question("x.", A, QueryPlan((ONE,), transport=TCP), itertools.count(1))
        (first,) = q.start(0.0)
        assert first == ask(1, ONE, TCP)
        q.answered(first, Answer(0, GOOD.records, is_truncated=True), 0.1)
        assert q.finding == FOUND

    def test_the_wait_begins_anew_with_the_repeat(self) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        q.answered(first, TRUNCATED, 1.5)
        assert q.woke(2.0) == ()
        assert q.woke(3.5) == (ask(3, TWO),)

    def test_late_answers_to_two_copies_of_a_query_are_fetched_over_tcp_once(self) -> None:
        q = question(ONE)
        (first,) = q.start(0.0)
        (second,) = q.woke(2.0)
        (over_tcp,) = q.answered(second, TRUNCATED, 2.1)
        assert q.answered(first, TRUNCATED, 2.2) == ()
        q.answered(over_tcp, GOOD, 2.3)
        assert q.finding == FOUND

    @pytest.mark.parametrize("rcode", [1, 4, 16], ids=["FORMERR", "NOTIMP", "BADVERS"])
    def test_a_server_that_does_not_understand_edns_is_asked_without(self, rcode: int) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        (second,) = q.answered(first, Answer(rcode), 0.1)
        assert second == ask(2, ONE, edns=False)
        assert q.answered(second, Answer(rcode), 0.2) == (ask(3, TWO),)

    def test_truncated_without_edns_goes_to_tcp_without_edns(self) -> None:
        q = question(ONE)
        (first,) = q.start(0.0)
        (second,) = q.answered(first, Answer(1), 0.1)
        assert q.answered(second, TRUNCATED, 0.2) == (ask(3, ONE, TCP, edns=False),)


def alias(name: str, target: str, ttl: float = 60) -> Answer:
    return Answer(0, (Record(name, CNAME, target, ttl),))


class TestAliases:
    def test_the_target_is_asked_for_of_the_same_server_first(self) -> None:
        q = question(ONE, TWO, THREE, attempts=1)
        (first,) = q.start(0.0)
        (second,) = q.answered(first, Answer(2), 0.1)
        (third,) = q.answered(second, alias("x.", "y.", ttl=7), 0.2)
        assert third == Ask(3, "y.", A, TWO)
        (fourth,) = q.answered(third, Answer(2), 0.3)
        assert fourth == Ask(4, "y.", A, ONE)  # it failed for x., which says nothing about y.
        q.answered(fourth, Answer(0, (Record("y.", A, "192.0.2.9", 60),)), 0.4)
        assert q.finding == Addresses(("192.0.2.9",), 7)
        assert q.server == ONE

    def test_answers_for_the_name_before_no_longer_count(self) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        (second,) = q.woke(2.0)
        q.answered(second, alias("x.", "y."), 2.1)
        assert q.answered(first, GOOD, 2.2) == ()
        assert not q.is_settled

    def test_an_absence_behind_an_alias_is_the_finding(self) -> None:
        q = question(ONE)
        (first,) = q.start(0.0)
        (second,) = q.answered(first, alias("x.", "y."), 0.1)
        q.answered(second, Answer(0, negative_ttl=5), 0.2)
        assert q.finding == NoData(5)

    def test_aliases_without_end_are_given_up(self) -> None:
        q = question(ONE)
        (last,) = q.start(0.0)
        for i in range(MAX_FOLLOWED_QUERIES):
            (last,) = q.answered(last, alias(last.qname, f"a{i}."), 0.1)
        assert q.answered(last, alias(last.qname, "z."), 0.2) == ()
        assert q.is_settled
        assert q.finding is None
        assert q.faults == {ONE: (Fault.FAILED, "aliases without an address, time and again")}

    def test_the_limit_on_aliases_is_for_the_whole_chain(self) -> None:
        q = question(ONE, attempts=1)
        (first,) = q.start(0.0)
        chain = ("x.", *(f"a{i}." for i in range(10)))
        (second,) = q.answered(
            first,
            Answer(0, tuple(Record(n, CNAME, t, 60) for n, t in itertools.pairwise(chain))),
            0.1,
        )
        chain = ("a9.", *(f"b{i}." for i in range(7)))
        q.answered(
            second,
            Answer(0, tuple(Record(n, CNAME, t, 60) for n, t in itertools.pairwise(chain))),
            0.2,
        )
        assert q.is_settled
        assert q.finding is None


class TestAfterwards:
    def test_news_after_the_end_changes_nothing(self) -> None:
        q = question(ONE, TWO)
        (first,) = q.start(0.0)
        (second,) = q.woke(2.0)
        q.answered(first, Answer(3, negative_ttl=9), 2.1)
        assert q.finding == NoName(9)
        assert q.answered(second, GOOD, 2.2) == ()
        assert q.answered(first, GOOD, 2.3) == ()
        assert q.woke(9.0) == ()
        assert q.finding == NoName(9)

    def test_repr_says_what_is_outstanding_and_what_was_found(self) -> None:
        q = question(ONE)
        (first,) = q.start(0.0)
        assert repr(q) == "<Question A of x.: 1 outstanding>"
        q.answered(first, Answer(0), 0.1)
        assert repr(q) == "<Question A of x.: NoData(ttl=None)>"


@pytest.mark.parametrize(
    ("servers", "attempts", "timeout"), [((), 2, 2.0), ((ONE,), 0, 2.0), ((ONE,), 2, 0.0)]
)
def test_a_plan_that_asks_nobody_is_a_mistake(
    servers: tuple[Endpoint, ...], attempts: int, timeout: float
) -> None:
    with pytest.raises(ValueError, match="nobody would be asked"):
        QueryPlan(servers, attempts, timeout)
