"""What is kept for how long and when it is asked for anew, by example; and a machine that compares with
a plain list.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from haclient.core.dns_answer import RecordType
from haclient.core.dns_cache import (
    DENIAL_DOUBTED_FOR,
    FORMER_FOR,
    MAX_FORMER,
    MAX_NEGATIVE_TTL,
    MAX_PARTIAL_TTL,
    DnsCache,
    Entry,
    StaleBegan,
    StaleEnded,
)
from haclient.core.lookup import Found, NotFound, Outcome, Reason
from haclient.types import Endpoint

SERVER = Endpoint("10.0.0.53", 53)


def found(ttl: float, *addresses: str, is_whole: bool = True) -> Found:
    return Found(addresses or ("192.0.2.1",), ttl, SERVER, is_whole)


def absent(ttl: float | None, reason: Reason = Reason.NO_SUCH_NAME) -> NotFound:
    return NotFound(reason, ("x.",), (RecordType.A,), (SERVER,), ttl=ttl)


FAILURE = absent(None, Reason.TIMED_OUT)
DENIAL = absent(10)


def get(cache: DnsCache, host: str, now: float) -> Entry:
    entry = cache.get(host, now)
    assert entry is not None
    return entry


def stale(cache: DnsCache, host: str, now: float) -> Entry:
    entry = cache.stale(host, now)
    assert entry is not None
    return entry


# How long


@pytest.mark.parametrize(
    ("outcome", "lasts"),
    [
        pytest.param(found(60), 60, id="the TTL, within the limits"),
        pytest.param(found(0), 1, id="at least min_ttl"),
        pytest.param(found(86400), 300, id="at most max_ttl"),
        pytest.param(found(60, is_whole=False), MAX_PARTIAL_TTL, id="one family only: soon again"),
        pytest.param(found(2, is_whole=False), 2, id="one family only, for less than that"),
        pytest.param(absent(3600), MAX_NEGATIVE_TTL, id="a denial has a limit of its own"),
        pytest.param(absent(10), 10, id="a denial, within the limits"),
        pytest.param(absent(0), 1, id="a denial lasts at least min_ttl"),
    ],
)
def test_how_long_an_outcome_is_kept(outcome: Outcome, lasts: float) -> None:
    cache = DnsCache()
    assert cache.learn("x", outcome, 100.0) == ()
    entry = get(cache, "x", 100.0 + lasts - 0.001)
    assert (entry.outcome, entry.stored_at, entry.expires_at) == (outcome, 100.0, 100.0 + lasts)
    assert cache.get("x", 100.0 + lasts) is None


def test_a_minimum_above_the_special_limits_is_kept_to() -> None:
    cache = DnsCache(min_ttl=60, max_ttl=120)
    for outcome in (absent(10), found(10, is_whole=False)):
        cache.learn(repr(outcome), outcome, 0.0)
        assert get(cache, repr(outcome), 0.0).expires_at == 60


def test_a_maximum_below_the_special_limits_is_kept_to() -> None:
    cache = DnsCache(min_ttl=0, max_ttl=2)
    for outcome in (absent(10), found(10, is_whole=False)):
        cache.learn(repr(outcome), outcome, 0.0)
        assert get(cache, repr(outcome), 0.0).expires_at == 2


def test_an_unknown_host_has_nothing() -> None:
    cache = DnsCache()
    assert cache.get("x", 0.0) is None
    assert cache.stale("x", 0.0) is None
    cache.failed("x", "too slow", 0.0)
    assert cache.learn("x", FAILURE, 0.0) == ()
    assert len(cache) == 0


def test_the_oldest_entry_gives_way() -> None:
    cache = DnsCache(max_entries=2)
    cache.learn("a", found(60), 0.0)
    cache.learn("b", found(60), 1.0)
    cache.learn("a", found(60), 2.0)  # renewed, so that b is now the oldest
    cache.learn("c", found(60), 3.0)
    assert [host for host in "abc" if cache.get(host, 4.0)] == ["a", "c"]
    assert [host for host, _ in cache.entries()] == ["a", "c"]
    assert repr(cache) == "<DnsCache 2 hosts, TTL 1.0 to 300.0 s>"


def names(cache: DnsCache) -> list[str]:
    return [host for host, _ in cache.entries()]


def flood(cache: DnsCache, now: float) -> None:
    """What a client of a forward proxy asks for."""
    for number in range(5):
        cache.learn(f"n{number}", found(60), now)


def test_what_is_to_be_kept_gives_way_to_nobody() -> None:
    cache = DnsCache(max_entries=3)
    cache.keep(["a", "unheard-of"])
    cache.learn("a", found(60), 0.0)
    flood(cache, 1.0)
    assert names(cache) == ["a", "n3", "n4"]
    cache.keep(["n3"])
    flood(cache, 2.0)
    assert "a" not in names(cache)


def test_nor_do_the_servers_of_a_service() -> None:
    cache = DnsCache(max_entries=4)
    cache.keep(["srv+s"])
    cache.learn("srv+s", found(60, "1 0 80 a.", "2 0 80 b."), 0.0)
    for host in ("a.", "b.", "c."):
        cache.learn(host, found(60), 0.0)
    flood(cache, 1.0)
    assert names(cache) == ["srv+s", "a.", "b.", "n4"]
    cache.learn("srv+s", found(60, "1 0 80 b."), 2.0)
    flood(cache, 3.0)
    assert names(cache) == ["b.", "srv+s", "n3", "n4"]
    assert cache.kept() == {"srv+s", "b."}
    cache = DnsCache()
    cache.keep(["srv+s"])
    cache.learn("srv+s", DENIAL, 0.0)
    assert cache.kept() == {"srv+s"}


def test_where_all_are_to_be_kept_one_other_finds_room() -> None:
    cache = DnsCache(max_entries=2)
    cache.keep("abc")
    for host in "abc":
        cache.learn(host, found(60), 0.0)
    flood(cache, 1.0)
    assert names(cache) == ["a", "b", "c", "n4"]


# Before the TTL has run out


@pytest.mark.parametrize(("chance", "at"), [(0.0, 80.0), (0.5, 85.0), (0.999, 89.99)])
def test_a_host_in_use_is_due_before_its_ttl_has_run_out(chance: float, at: float) -> None:
    cache = DnsCache()
    cache.learn("x", found(100), 0.0, chance)
    assert cache.wake_at(0.0) == pytest.approx(at)
    assert cache.due(at - 0.1) == ()
    assert cache.due(at + 0.01) == ("x",)
    assert cache.wake_at(at + 0.01) == math.inf


def test_a_host_that_nobody_asks_for_any_more_is_not() -> None:
    cache = DnsCache()
    cache.learn("short", found(10), 0.0)
    for at in (8.5, 17.0, 25.5, 34.0, 42.5, 51.0):
        assert cache.due(at) == ("short",)
        cache.learn("short", found(10), at)
    assert cache.wake_at(51.0) == 59.5
    assert cache.due(59.9) == ("short",)
    assert cache.due(60.0) == ()
    cache.get("short", 60.5)  # and again somebody does
    assert cache.due(60.5) == ("short",)


def test_a_long_ttl_makes_for_a_long_use() -> None:
    cache = DnsCache()
    cache.learn("x", found(300), 0.0)
    assert cache.due(255.1) == ("x",)


def test_whoever_wants_name_servers_asked_each_time_has_no_refresh() -> None:
    cache = DnsCache(min_ttl=0)
    cache.learn("x", found(0), 0.0)
    assert cache.get("x", 0.0) is None
    assert cache.due(100.0) == ()


def test_a_denial_is_not_refreshed() -> None:
    cache = DnsCache()
    cache.learn("x", DENIAL, 0.0)
    assert cache.wake_at(0.0) == math.inf


# Addresses that leave


def test_who_left_the_answer_can_be_gone_back_to_for_a_while() -> None:
    cache = DnsCache()
    cache.learn("x", found(5, "a", "b"), 0.0)
    cache.learn("x", found(5, "b", "c"), 10.0)
    assert get(cache, "x", 10.0).former_at(10.0) == ("a",)
    cache.learn("x", found(60, "c", "d"), 20.0)
    entry = get(cache, "x", 20.0)
    assert entry.former_at(20.0) == ("b", "a")
    assert entry.former_at(10.0 + FORMER_FOR) == ("b",)
    assert entry.former_at(20.0 + FORMER_FOR) == ()
    cache.learn("x", found(60, "a"), 21.0)  # who comes back has not left
    assert get(cache, "x", 21.0).former_at(21.0) == ("c", "d", "b")


def test_those_that_left_are_bounded() -> None:
    cache = DnsCache()
    for number in range(2 * MAX_FORMER):
        cache.learn("x", found(5, str(number)), number / 100)
    former = get(cache, "x", 2.0).former_at(2.0)
    assert former[0] == str(2 * MAX_FORMER - 2)
    assert len(former) == MAX_FORMER


def test_after_a_denial_there_is_nobody_to_go_back_to() -> None:
    cache = DnsCache(stale_for=0)
    cache.learn("x", found(5, "a"), 0.0)
    cache.learn("x", DENIAL, 5.0)
    cache.learn("x", found(5, "b"), 10.0)
    assert get(cache, "x", 10.0).former_at(10.0) == ()


# Failures


def test_a_failure_leaves_what_was_and_is_repeated_ever_less_often() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    good = get(cache, "x", 51.0)
    now = 51.0
    for delay in (1, 2, 4, 8, 16, 30, 30):
        assert cache.learn("x", FAILURE, now, chance=0.5) == ()
        assert good.refresh_at == pytest.approx(now + delay)
        now = good.refresh_at
        cache.get("x", now)
        assert cache.due(now) == ("x",)
    assert stale(cache, "x", now) is good
    assert good.is_failing
    assert good.trouble is not None
    assert good.trouble.error == str(FAILURE)


@pytest.mark.parametrize(("chance", "delay"), [(0.0, 0.9), (0.5, 1.0), (0.9999, 1.1)])
def test_repetitions_are_spread(chance: float, delay: float) -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    cache.failed("x", "too slow", 10.0, chance)
    assert get(cache, "x", 10.0).refresh_at == pytest.approx(10.0 + delay, abs=0.001)


def test_an_answer_that_serves_beyond_its_time_is_told_once_and_so_is_its_end() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    cache.learn("x", FAILURE, 55.0)
    assert cache.get("x", 60.0) is None
    assert stale(cache, "x", 61.0).is_failing
    assert cache.served_stale("x", 61.0) == (StaleBegan("x", str(FAILURE)),)
    assert cache.learn("x", FAILURE, 62.0) == ()
    assert cache.served_stale("x", 63.0) == ()
    assert cache.learn("x", found(60), 100.0) == (StaleEnded("x", 39.0),)
    assert not get(cache, "x", 101.0).is_failing
    assert cache.learn("x", found(60), 150.0) == ()


def test_trouble_that_nobody_felt_is_not_told() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    cache.learn("x", FAILURE, 51.0)
    assert cache.learn("x", found(60), 53.0) == ()


def test_an_answer_serves_beyond_its_time_for_no_longer_than_it_may() -> None:
    cache = DnsCache(stale_for=3600)
    cache.learn("x", found(60), 0.0)
    cache.learn("x", FAILURE, 61.0)
    cache.served_stale("x", 61.0)
    assert cache.stale("x", 3659.0) is not None
    assert cache.stale("x", 3660.0) is None
    cache.failed("x", "too slow", 3660.0)  # changes nothing
    assert cache.learn("x", FAILURE, 3661.0) == (StaleEnded("x", 3600.0, str(FAILURE)),)
    assert len(cache) == 0


def test_a_shorter_time_holds_at_once() -> None:
    cache = DnsCache(stale_for=3600)
    cache.learn("x", found(60), 0.0)
    cache.limit(1, 300, 10)
    assert cache.stale("x", 70.0) is None


def test_without_trouble_an_answer_served_beyond_its_time_is_nothing_to_tell() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    assert cache.served_stale("x", 61.0) == ()


def test_a_failure_leaves_a_denial() -> None:
    cache = DnsCache()
    cache.learn("x", DENIAL, 0.0)
    assert cache.learn("x", FAILURE, 1.0) == ()
    assert get(cache, "x", 2.0).outcome == DENIAL
    assert cache.stale("x", 2.0) is None


# Denials


@pytest.mark.parametrize(
    "denial",
    [
        pytest.param(DENIAL, id="no such name"),
        pytest.param(absent(10, Reason.NO_ADDRESS), id="no address"),
        pytest.param(absent(None), id="no such name, and nobody says for how long"),
    ],
)
def test_a_denial_after_a_good_answer_is_doubted_and_then_believed(denial: NotFound) -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    good = get(cache, "x", 0.0)
    assert cache.learn("x", denial, 51.0) == ()
    assert stale(cache, "x", 61.0) is good
    assert cache.served_stale("x", 61.0) == (StaleBegan("x", str(denial)),)
    assert cache.learn("x", FAILURE, 100.0) == ()  # in between nothing at all
    assert cache.learn("x", denial, 51.0 + DENIAL_DOUBTED_FOR - 0.1) == ()
    ends = 51.0 + DENIAL_DOUBTED_FOR
    assert cache.learn("x", denial, ends) == (StaleEnded("x", ends - 61.0, str(denial)),)
    assert cache.stale("x", ends) is None
    entry = cache.get("x", ends)
    assert (None if entry is None else entry.outcome.ttl) == denial.ttl


def test_a_good_answer_in_between_ends_the_doubt() -> None:
    cache = DnsCache()
    cache.learn("x", found(5), 0.0)
    cache.learn("x", DENIAL, 4.0)
    cache.learn("x", found(5), DENIAL_DOUBTED_FOR)
    assert cache.learn("x", DENIAL, DENIAL_DOUBTED_FOR + 4.0) == ()
    assert cache.stale("x", DENIAL_DOUBTED_FOR + 6.0) is not None


def test_a_denial_is_not_doubted_for_longer_than_an_answer_may_serve() -> None:
    cache = DnsCache(stale_for=20)
    cache.learn("x", found(60), 0.0)
    cache.learn("x", DENIAL, 51.0)
    cache.learn("x", DENIAL, 71.0)
    assert get(cache, "x", 71.0).outcome == DENIAL


def test_whoever_wants_nothing_stale_believes_a_denial_at_once() -> None:
    cache = DnsCache(stale_for=0)
    cache.learn("x", found(60), 0.0)
    cache.learn("x", DENIAL, 51.0)
    assert get(cache, "x", 51.0).outcome == DENIAL


def test_a_host_that_was_denied_is_denied_again_without_doubt() -> None:
    cache = DnsCache()
    cache.learn("x", DENIAL, 0.0)
    cache.learn("x", absent(20), 11.0)
    assert get(cache, "x", 30.0).outcome == absent(20)


# Other name servers


def test_other_name_servers_leave_the_answers_as_old_ones() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    cache.learn("old", found(1), 0.0)
    cache.learn("no", DENIAL, 5.0)
    cache.expire_all(10.0)
    for host, expired_at in (("x", 10.0), ("old", 1.0)):
        assert cache.get(host, 10.0) is None
        assert stale(cache, host, 11.0).expires_at == expired_at
    assert cache.get("no", 10.0) is None
    assert cache.due(10.0) == ("x", "old")


def test_their_denial_is_not_doubted_and_nobody_of_before_is_gone_back_to() -> None:
    cache = DnsCache()
    cache.learn("x", found(60, "a"), 0.0)
    cache.learn("y", found(60, "a"), 0.0)
    cache.expire_all(10.0)
    cache.learn("x", DENIAL, 10.0)
    cache.learn("y", found(60, "b"), 10.0)
    assert get(cache, "x", 10.0).outcome == DENIAL
    assert get(cache, "y", 10.0).former_at(10.0) == ()


def test_what_the_servers_before_failed_at_is_not_held_against_them() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    cache.learn("x", FAILURE, 51.0)
    cache.expire_all(60.0)
    assert not stale(cache, "x", 61.0).is_failing


# An answer of a time before this process


def test_a_restored_answer_is_never_fresh_and_ages_from_when_it_was_given() -> None:
    cache = DnsCache(stale_for=3600)
    cache.restore("x", ("192.0.2.1",), -600.0)
    assert cache.get("x", 0.0) is None
    assert stale(cache, "x", 2999.0).outcome == Found(("192.0.2.1",), 0.0, None, True)
    assert cache.stale("x", 3000.0) is None


def test_a_restored_answer_is_asked_for_anew_only_once_somebody_wants_it() -> None:
    cache = DnsCache()
    cache.restore("x", ("192.0.2.1",), -600.0)
    assert cache.due(0.0) == ()
    cache.get("x", 0.0)
    assert cache.due(0.0) == ("x",)


def test_what_is_known_already_is_not_restored() -> None:
    cache = DnsCache()
    cache.learn("x", found(60), 0.0)
    cache.restore("x", ("192.0.2.9",), -600.0)
    assert get(cache, "x", 1.0).outcome == found(60)


@pytest.mark.parametrize(("least", "most"), [(-1, 5), (10, 5)])
def test_limits_that_contradict_each_other_are_refused(least: float, most: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and max_ttl"):
        DnsCache(min_ttl=least, max_ttl=most)


hosts = st.sampled_from("abcdef")
outcomes = st.one_of(
    st.builds(found, st.floats(0, 1e6), st.sampled_from("abc"), is_whole=st.booleans()),
    st.builds(absent, st.none() | st.floats(0, 1e6), st.sampled_from(Reason)),
)


class CacheMachine(RuleBasedStateMachine):
    """Any sequence of answers and time: nothing expired is fresh, nothing foreign, nothing too long; and a
    host that had an address is not without one before its time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cache = DnsCache(min_ttl=2, max_ttl=100, stale_for=500, max_entries=4)
        self.now = 0.0
        self.good: dict[str, tuple[Found, float]] = {}
        self.told_stale: set[str] = set()

    @rule(host=hosts, outcome=outcomes, chance=st.floats(0, 0.999))
    def learn(self, host: str, outcome: Outcome, chance: float) -> None:
        before = self.cache.stale(host, self.now)
        events = self.cache.learn(host, outcome, self.now, chance)
        assert len(events) == (host in self.told_stale and events != ())
        for event in events:
            assert isinstance(event, StaleEnded)
            self.told_stale.remove(host)
        if isinstance(outcome, Found):
            self.good[host] = outcome, self.now
            entry = get(self.cache, host, self.now)
            assert self.now + 2 <= entry.expires_at <= self.now + 100
            assert self.now < entry.refresh_at < entry.expires_at
        elif before is not None and outcome.reason in {Reason.TIMED_OUT, Reason.SERVER_FAILURE}:
            assert self.cache.stale(host, self.now) is before

    @rule(seconds=st.floats(0, 200))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def servers_change(self) -> None:
        self.cache.expire_all(self.now)
        assert not any(self.cache.get(host, self.now) for host in "abcdef")

    @rule(host=hosts)
    def get(self, host: str) -> None:
        entry = self.cache.get(host, self.now)
        if entry is not None:
            assert self.now < entry.expires_at
            if isinstance(entry.outcome, Found):
                assert (entry.outcome, entry.stored_at) == self.good[host]
                assert not set(entry.former_at(self.now)) & set(entry.outcome.addresses)

    @rule(host=hosts)
    @precondition(lambda self: self.good)
    def stale(self, host: str) -> None:
        entry = self.cache.stale(host, self.now)
        if entry is not None:
            assert entry.outcome == self.good[host][0]
            assert self.now < entry.expires_at + 500
            if self.cache.served_stale(host, self.now):
                assert host not in self.told_stale
                self.told_stale.add(host)

    @invariant()
    def the_alarm_is_ahead(self) -> None:
        assert self.cache.wake_at(self.now) > self.now

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.cache) <= 4
        self.told_stale &= {host for host, _ in self.cache.entries()}


TestCacheMachine = CacheMachine.TestCase
