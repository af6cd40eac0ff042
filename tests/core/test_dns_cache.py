"""What is kept for how long: limits by example, and a machine that compares with a plain list."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from haclient.core.dns_answer import RecordType
from haclient.core.dns_cache import MAX_NEGATIVE_TTL, MAX_PARTIAL_TTL, DnsCache, Entry
from haclient.core.lookup import Found, NotFound, Outcome, Reason
from haclient.types import Endpoint

SERVER = Endpoint("10.0.0.53", 53)


def found(ttl: float, *, is_whole: bool = True) -> Found:
    return Found(("192.0.2.1",), ttl, SERVER, is_whole)


def absent(ttl: float | None) -> NotFound:
    return NotFound(Reason.NO_SUCH_NAME, ("x.",), (RecordType.A,), (SERVER,), ttl=ttl)


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
    entry = cache.put("x", outcome, 100.0)
    assert entry == Entry(outcome, 100.0, 100.0 + lasts)
    assert cache.get("x", 100.0 + lasts - 0.001) is entry
    assert cache.get("x", 100.0 + lasts) is None


def test_a_minimum_above_the_special_limits_is_kept_to() -> None:
    cache = DnsCache(min_ttl=60, max_ttl=120)
    for outcome in (absent(10), found(10, is_whole=False)):
        entry = cache.put("x", outcome, 0.0)
        assert entry is not None
        assert entry.expires_at == 60


def test_a_maximum_below_the_special_limits_is_kept_to() -> None:
    cache = DnsCache(min_ttl=0, max_ttl=2)
    for outcome in (absent(10), found(10, is_whole=False)):
        entry = cache.put("x", outcome, 0.0)
        assert entry is not None
        assert entry.expires_at == 2


def test_a_failure_is_not_kept_and_leaves_what_was() -> None:
    cache = DnsCache()
    good = cache.put("x", found(60), 0.0)
    assert cache.put("x", absent(None), 1.0) is None
    assert cache.get("x", 2.0) is good


def test_an_unknown_host_has_nothing() -> None:
    cache = DnsCache()
    assert cache.get("x", 0.0) is None
    assert cache.stale("x", 0.0, 3600) is None


def test_the_last_good_answer_can_be_had_for_a_while_after_it_expired() -> None:
    cache = DnsCache()
    good = cache.put("x", found(60), 0.0)
    assert cache.get("x", 61.0) is None
    assert cache.stale("x", 61.0, 3600) is good
    assert cache.stale("x", 60.0 + 3600, 3600) is None


def test_a_denial_takes_the_place_of_the_last_good_answer() -> None:
    cache = DnsCache()
    cache.put("x", found(60), 0.0)
    cache.put("x", absent(10), 61.0)
    assert cache.stale("x", 100.0, 3600) is None


def test_expire_all_leaves_the_answers_as_stale_ones() -> None:
    cache = DnsCache()
    cache.put("x", found(60), 0.0)
    cache.put("old", found(1), 0.0)
    cache.expire_all(10.0)
    assert cache.get("x", 10.0) is None
    for host, expired_at in (("x", 10.0), ("old", 1.0)):
        entry = cache.stale(host, 11.0, 3600)
        assert entry is not None
        assert entry.expires_at == expired_at


def test_the_oldest_entry_gives_way() -> None:
    cache = DnsCache(max_entries=2)
    cache.put("a", found(60), 0.0)
    cache.put("b", found(60), 1.0)
    cache.put("a", found(60), 2.0)  # renewed, so that b is now the oldest
    cache.put("c", found(60), 3.0)
    assert [host for host in "abc" if cache.get(host, 4.0)] == ["a", "c"]
    assert repr(cache) == "<DnsCache 2 hosts, TTL 1.0 to 300.0 s>"


@pytest.mark.parametrize(("least", "most"), [(-1, 5), (10, 5)])
def test_limits_that_contradict_each_other_are_refused(least: float, most: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and max_ttl"):
        DnsCache(min_ttl=least, max_ttl=most)


hosts = st.sampled_from("abcdef")
outcomes = st.one_of(
    st.builds(found, st.floats(0, 1e6), is_whole=st.booleans()),
    st.builds(absent, st.none() | st.floats(0, 1e6)),
)


class CacheMachine(RuleBasedStateMachine):
    """Any sequence of puts, gets and time: nothing expired, nothing foreign, nothing too long."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = DnsCache(min_ttl=2, max_ttl=100, max_entries=4)
        self.now = 0.0
        self.puts: dict[str, tuple[Outcome, float]] = {}

    @rule(host=hosts, outcome=outcomes)
    def put(self, host: str, outcome: Outcome) -> None:
        entry = self.cache.put(host, outcome, self.now)
        if entry is not None:
            self.puts[host] = outcome, self.now
            assert self.now + 2 <= entry.expires_at <= self.now + 100

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
            assert (entry.outcome, entry.stored_at) == self.puts[host]

    @rule(host=hosts, stale_for=st.floats(0, 500))
    @precondition(lambda self: self.puts)
    def stale(self, host: str, stale_for: float) -> None:
        entry = self.cache.stale(host, self.now, stale_for)
        if entry is not None:
            assert isinstance(entry.outcome, Found)
            assert self.now < entry.expires_at + stale_for
            assert entry.outcome == self.puts[host][0]

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.cache) <= 4


TestCacheMachine = CacheMachine.TestCase
