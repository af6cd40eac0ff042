"""What a target knows, and what all targets of a process share."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Iterable

import pytest
import trio
from trio.testing import MockClock

from haclient.core.allow import AllowList, parse_rule
from haclient.core.spec import Target, TlsSettings
from haclient.core.url import parse_url
from haclient.engine.live import Engine, LiveTarget, prefix_of
from haclient.net import Resolution
from haclient.net.tls import Certificates
from haclient.types import Endpoint, Origin
from tests.engine.world import BACKED_UP, BOTH, ONE, A, B, C, world
from tests.sim.network import SimNetwork
from tests.sim.origin import Reply

A_TEST = Origin("http", "a.test", 80)
B_TEST = Origin("http", "b.test", 80)


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("http://a.test", ""),
        ("http://a.test/", ""),
        ("http://a.test/v1", "/v1"),
        ("http://a.test/v1/", "/v1"),
        ("http://a.test/v1/?key=7", "/v1"),
    ],
)
def test_what_is_put_before_a_path(url: str, prefix: str) -> None:
    assert prefix_of(parse_url(url)) == prefix


class TestUntried:
    @pytest.mark.parametrize(
        ("known", "tried", "is_there"),
        [
            ({}, {A}, True),
            ({A_TEST: (A,)}, {A}, True),
            ({A_TEST: (A,), B_TEST: ()}, {A}, False),
            ({A_TEST: (A,), B_TEST: (B,)}, {A}, True),
            ({A_TEST: (A,), B_TEST: (B,)}, {A, B}, False),
        ],
        ids=[
            "no name was asked for yet",
            "the backup's was not asked for yet",
            "the backup's has no address",
            "the backup's has another",
            "every address was tried",
        ],
    )
    async def test_whether_an_address_remains(
        self,
        autojump_clock: MockClock,
        known: dict[Origin, tuple[Endpoint, ...]],
        tried: set[Endpoint],
        is_there: bool,
    ) -> None:
        async with world() as w:
            live = LiveTarget(BACKED_UP, w.engine)
            live.known.update(known)
            assert live.has_untried(tried) == is_there

    async def test_who_is_to_be_asked_last(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            live = LiveTarget(BACKED_UP, w.engine)
            w.engine.health.report_failure(B, 0.0, 0)
            assert [live.is_held_down(one, 1.0) for one in (A, B)] == [False, True]
            assert [live.is_held_down(one, 9.0) for one in (A, B)] == [False, False]


class TestShared:
    async def test_one_key_for_each_origin_and_way_of_speaking_to_it(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            one, again = LiveTarget(ONE, w.engine), LiveTarget(BACKED_UP, w.engine)
            assert one.key(A_TEST) is again.key(A_TEST)
            assert repr(one.key(A_TEST)) == "<PoolKey http://a.test>"
            unlike = Target(urls=ONE.urls, tls=TlsSettings(verify=False))
            assert LiveTarget(unlike, w.engine).key(A_TEST) is not one.key(A_TEST)
            proxied = LiveTarget(ONE, w.engine, parse_url("http://c.test/"))
            assert proxied.key(A_TEST) is not one.key(A_TEST)

    async def test_certificates_that_were_renewed_have_connections_of_their_own(
        self, autojump_clock: MockClock
    ) -> None:
        context = ssl.create_default_context()
        first, second = (Certificates(context, digest) for digest in (b"1", b"2"))
        async with world() as w:
            one = LiveTarget(ONE, w.engine, certificates=first)
            assert one.tls_context() is context
            assert one.is_like(ONE, Certificates(context, b"1"))
            assert not one.is_like(ONE, second)
            assert not one.is_like(ONE, None)
            assert not one.is_like(BACKED_UP, first)
            renewed = LiveTarget(ONE, w.engine, certificates=second)
            assert renewed.key(A_TEST) is not one.key(A_TEST)

    async def test_keys_last_as_long_as_somebody_has_use_for_them(
        self, autojump_clock: MockClock
    ) -> None:
        """A client may ask any number of origins in its life."""
        async with world(pool_idle_timeout=5.0) as w:
            for n in range(300):
                w.network.listen(Endpoint(f"10.1.{n // 200}.{n % 200}", 80))
                with trio.move_on_after(0.001):
                    await w.client.get(f"http://10.1.{n // 200}.{n % 200}/")
            gc.collect()
            assert len(w.engine.keys) <= 257

    async def test_a_connection_serves_all_targets_with_its_origin(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            await w.ask("GET", target=ONE)
            assert (await w.ask("GET", target=BACKED_UP)).records[0].reused
            assert (await w.ask("GET", "http://a.test/")).records[0].reused
            assert not (await w.ask("GET", target=BOTH)).records[0].reused

    async def test_a_budget_is_a_targets_own(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            one, other = LiveTarget(ONE, w.engine), LiveTarget(ONE, w.engine)
            while one.budget.withdraw(0.0):
                pass
            assert other.budget.withdraw(0.0)

    async def test_limits_have_a_pool_of_their_own(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            small = Target(urls=ONE.urls, max_connections=1)
            assert LiveTarget(small, w.engine).pool is LiveTarget(small, w.engine).pool
            assert LiveTarget(small, w.engine).pool is not LiveTarget(ONE, w.engine).pool

    async def test_the_idle_limit_is_kept_without_anybody_asking(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(pool_idle_timeout=5.0) as w:
            await w.ask("GET", "http://a.test/")
            await w.ask("GET", target=Target(urls=BOTH.urls, pool_idle_timeout=8.0))
            counts = []
            for instant in (4.9, 6.0, 7.9, 9.0):
                await trio.sleep_until(instant)
                await w.ask("GET", "http://c.test/")
                counts.append(sum(one.endpoint == A for one in w.network.open_streams()))
            assert counts[0] == 2
            assert counts[-1] == 0


class TestAllowed:
    async def test_no_address_is_known_but_those_that_are_allowed(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            live = LiveTarget(ONE, w.engine, allow=AllowList((parse_rule("10.0.0.1:80"),)))
            answer = Resolution("a.test", (B, A), "dns", former=(C,), later=((C,), (A, B)))
            admitted, why = live.admitted(A_TEST, answer)
            assert (admitted.endpoints, admitted.former) == ((A,), ())
            assert admitted.later == ((), (A,))
            assert why == (
                "a.test:80 at 10.0.0.2 is allowed by no rule of the list; a rule that allows it is "
                '"a.test:80"'
            )
            assert LiveTarget(ONE, w.engine).admitted(A_TEST, answer) == (answer, "")

    async def test_connections_are_shared_by_those_with_the_same_list(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            lists = [
                AllowList((parse_rule(rule),)) for rule in ("a.test:80", "a.test:80", "b.test:1")
            ]
            one, same, other = (LiveTarget(ONE, w.engine, allow=each) for each in lists)
            free = LiveTarget(ONE, w.engine)
            assert one.key(A_TEST) is same.key(A_TEST)
            assert one.key(A_TEST) is not other.key(A_TEST)
            assert one.key(A_TEST) is not free.key(A_TEST)


class Remembering:
    """Knows the addresses of a few hosts without asking anybody; each peek is noted."""

    def __init__(self, **hosts: tuple[Endpoint, ...] | None) -> None:
        self.hosts = {f"{name}.test": endpoints for name, endpoints in hosts.items()}
        self.former: tuple[Endpoint, ...] = ()
        self.later: tuple[tuple[Endpoint, ...], ...] = ()
        self.peeked: list[tuple[float, str]] = []
        self.is_run = False

    async def run(self) -> None:
        self.is_run = True

    def keep(self, places: Iterable[tuple[str, int]]) -> None:
        raise AssertionError("nobody here says what is to be kept")

    def peek(self, host: str, port: int) -> Resolution | None:
        self.peeked.append((trio.current_time(), host))
        endpoints = self.hosts.get(host)
        if endpoints is None:
            return None
        return Resolution(host, endpoints, "cache", former=self.former, later=self.later)

    async def resolve(self, host: str, port: int) -> Resolution:
        found = self.peek(host, port)
        assert found is not None
        return found


class TestNames:
    async def test_they_are_wanted_once_a_second_while_there_are_connections(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(pool_idle_timeout=5.0) as w:
            names = w.engine.resolver = Remembering(a=(A,))
            target = Target(urls=BACKED_UP.urls, backups=BACKED_UP.backups, pool_idle_timeout=5.0)
            live = w.client._live_for(target, target)
            await trio.sleep(10)
            assert names.peeked == []
            await w.ask("GET", target=target)
            await trio.sleep(60)
            # The first is the request's own. Those of the backup nobody has asked for yet.
            asked = [host for _, host in names.peeked[1:]]
            assert set(asked) == {"a.test", "b.test"}
            assert 5 <= asked.count("b.test") <= 7
            assert names.peeked[-1][0] < 17
            assert live.known == {A_TEST: (A,)}

    async def test_a_new_address_is_known_at_once(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            names = w.engine.resolver = Remembering(ab=(A,))
            await w.ask("GET", target=BOTH)
            names.hosts["ab.test"] = (A, B)
            await trio.sleep(1.5)
            assert w.client._live_for(BOTH, BOTH).known == {BOTH.urls[0].origin: (A, B)}

    async def test_idle_connections_to_who_left_are_closed(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            names = w.engine.resolver = Remembering(ab=(A,))
            await w.ask("GET", target=BOTH)
            names.hosts["ab.test"], names.former = (B,), (A,)
            await trio.sleep(3)
            assert (await w.ask("GET", target=BOTH)).server == "a"  # not yet
            names.former = ()
            await trio.sleep(2)
            await w.settle()
            assert w.network.open_streams() == ()
            assert (await w.ask("GET", target=BOTH)).server == "b"

    async def test_nobody_is_cut_in_mid_request(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            names = w.engine.resolver = Remembering(ab=(A,))
            w.a.reply = Reply(think=5.0)
            async with trio.open_nursery() as nursery:
                outcomes: list[str | None] = []

                async def ask() -> None:
                    outcomes.append((await w.ask("GET", target=BOTH)).server)

                nursery.start_soon(ask)
                await trio.sleep(1)
                names.hosts["ab.test"] = (B,)
            assert outcomes == ["a"]
            await w.settle()
            assert w.network.open_streams() == ()
            assert (await w.ask("GET", target=BOTH)).server == "b"

    async def test_a_name_of_which_nothing_is_known_takes_nothing_away(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            names = w.engine.resolver = Remembering(ab=(A,))
            await w.ask("GET", target=BOTH)
            names.hosts["ab.test"] = None
            await trio.sleep(3)
            assert (await w.ask("GET", target=BOTH)).records[0].reused

    async def test_a_services_first_priority_gets_its_requests_back(
        self, autojump_clock: MockClock
    ) -> None:
        target = Target(urls=["srv+http://_orders._tcp.test/"])
        async with world() as w:
            names = w.engine.resolver = Remembering()
            names.hosts["_orders._tcp.test"] = (A,)
            names.later = ((C,),)
            w.network.refuse(A)
            assert (await w.ask("GET", target=target)).server == "c"
            w.network.heal(A)
            await trio.sleep(3)
            assert (await w.ask("GET", target=target)).server == "c"  # A is held down
            await trio.sleep(4)
            outcome = await w.ask("GET", target=target)
            assert outcome.server == "a"
            assert w.client._live_for(target, target).known[target.urls[0].origin] == (A, C)

    async def test_through_a_proxy_it_is_the_proxys_name(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            live = LiveTarget(ONE, w.engine, parse_url("http://c.test:3128/"))
            assert live.asked_at(A_TEST) == Origin("http", "c.test", 3128)
            names = Remembering(c=(C,))
            key = live.key(A_TEST)
            live.pool.reserve(key, [C])
            assert live.keep_names(names, 0.0)
            assert [host for _, host in names.peeked] == ["c.test"]
            live.pool.unreserve(key, C)

    async def test_a_resolver_that_remembers_runs_with_the_engine(
        self, autojump_clock: MockClock, nursery: trio.Nursery
    ) -> None:
        names = Remembering()
        Engine(nursery, names, SimNetwork()).start()
        await trio.testing.wait_all_tasks_blocked()
        assert names.is_run
        nursery.cancel_scope.cancel()


class TestTls:
    async def test_the_context_is_made_once(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            live = LiveTarget(Target(urls=["https://a.test/"]), w.engine)
            assert live.tls_context() is live.tls_context()
