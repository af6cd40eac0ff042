"""Whom a request is brought to: names, tiers, order, and who is asked last."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.core.spec import Target
from haclient.errors import (
    ConnectError,
    NameNotFoundError,
    NameServerError,
    NameTimeoutError,
)
from haclient.net import Resolution
from haclient.types import Endpoint, Phase, Verdict
from tests.engine.world import BACKED_UP, ONE, TWO, A, B, C, World, world
from tests.sim.dns import Answer, ScriptedResolver
from tests.sim.effects import AfterRequest, Blackhole, Fault, Fin, HalfOpen, OnConnect, Refuse

NAME_SERVERS = "no name server answered"


class TestNames:
    async def test_a_name_that_fails_leaves_the_backups(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.resolver.script("a.test", Answer(delay=0.5, error=NameTimeoutError(NAME_SERVERS)))
            outcome = await w.ask("POST", target=BACKED_UP)
            assert outcome.server == "b"
            assert outcome.took == pytest.approx(0.502)

    async def test_and_the_other_urls(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.resolver.script("a.test", Answer(delay=0.5, error=NameTimeoutError(NAME_SERVERS)))
            outcome = await w.ask("POST", target=TWO)
            assert outcome.server == "b"

    async def test_no_name_at_all(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.resolver.script("b.test", Answer(error=NameServerError("the name servers failed")))
            target = Target(urls=["http://nobody.test/"], backups=["http://b.test/"])
            outcome = await w.ask("GET", target=target)
            # The first one to fail names the error.
            assert type(outcome.error) is NameNotFoundError
            assert outcome.error.stage is Phase.RESOLVING
            # Nobody refused: nobody was asked.
            assert outcome.verdicts == [Verdict.FAILED]
            [record] = outcome.error.attempts
            assert "nobody.test" in record.detail
            assert "the name servers failed" in record.detail

    async def test_a_name_without_an_address(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.resolver.script("a.test", Answer())
            outcome = await w.ask("GET", target=ONE)
            assert type(outcome.error) is ConnectError
            assert "no address to connect to" in str(outcome.error)

    async def test_what_failed_before_the_connect_is_told_with_it(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.resolver.script("a.test", Answer(error=NameTimeoutError(NAME_SERVERS)))
            w.network.refuse(B)
            outcome = await w.ask("GET", target=BACKED_UP)
            assert type(outcome.error) is ConnectError
            assert "10.0.0.2:80 refused after" in outcome.error.message
            assert outcome.error.message.endswith(NAME_SERVERS)

    async def test_an_address_needs_no_name_server(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            assert (await w.ask("GET", "http://10.0.0.2/")).server == "b"
            assert w.resolver.asked == []

    async def test_each_url_is_asked_for_at_once(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            for host, address in [("a.test", A), ("b.test", B)]:
                w.resolver.script(host, Answer(address.address, delay=0.5))
            outcome = await w.ask("GET", target=TWO)
            assert outcome.took == pytest.approx(0.5)
            assert outcome.records[0].resolved_at == 0.5


class TestFormerAddresses:
    """A name server may give a part of its list, another one each time."""

    async def test_they_are_asked_when_nobody_else_can_be_connected(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.resolver.script("a.test", Answer(A.address, former=(C.address,)))
            w.network.refuse(A)
            outcome = await w.ask("POST", target=BACKED_UP)
            assert outcome.server == "b"
            w.network.refuse(B)
            w.client._live_for(BACKED_UP, BACKED_UP).pool.drain()
            outcome = await w.ask("POST", target=BACKED_UP)
            assert outcome.server == "c"

    async def test_an_exchange_does_not_go_back_to_where_it_met_trouble(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.resolver.script("a.test", Answer(A.address, former=(B.address, C.address)))
            w.network.refuse(A)
            w.c.script(Fault(Fin(), AfterRequest()))
            outcome = await w.ask("GET", target=ONE)
            assert [record.endpoint for record in outcome.records] == [C, B]


SERVICE = "_orders._tcp.test"
BY_SERVICE = Target(urls=[f"srv+http://{SERVICE}/"], backups=["http://b.test/"])


class Levels(ScriptedResolver):
    """Knows a service, one list of endpoints for each priority."""

    levels: tuple[tuple[Endpoint, ...], ...] = ((A,), (C,))

    async def resolve(self, host: str, port: int) -> Resolution:
        if port:
            return await super().resolve(host, port)
        first, *later = self.levels
        return Resolution(host, first, "dns", later=tuple(later))


@asynccontextmanager
async def service_world(**settings: Any) -> AsyncIterator[tuple[World, Levels]]:
    async with world(**settings) as w:
        levels = w.engine.resolver = Levels(w.journal)
        levels.script("b.test", Answer(B.address))
        yield w, levels


class TestServices:
    async def test_one_priority_after_another_and_then_the_backups(
        self, autojump_clock: MockClock
    ) -> None:
        async with service_world() as (w, _):
            for nobody, server in [(None, "a"), (A, "c"), (C, "b")]:
                if nobody is not None:
                    w.network.refuse(nobody)
                    w.client._live_for(BY_SERVICE, BY_SERVICE).pool.drain()
                assert (await w.ask("POST", target=BY_SERVICE)).server == server
            [request] = w.a.executed
            assert request.value(b"host") == b"test"

    async def test_the_draw_stands_though_another_is_faster(
        self, autojump_clock: MockClock
    ) -> None:
        async with service_world() as (w, resolver):
            resolver.levels = ((B, A),)
            assert (await w.ask("GET", target=BY_SERVICE)).server == "b"

    async def test_with_a_plain_url_beside_it(self, autojump_clock: MockClock) -> None:
        target = Target(urls=[f"srv+http://{SERVICE}/", "http://b.test/"])
        async with service_world() as (w, _):
            w.network.refuse(A)
            assert (await w.ask("POST", target=target)).server == "b"
            w.network.refuse(B)
            w.client._live_for(target, target).pool.drain()
            assert (await w.ask("POST", target=target)).server == "c"


class TestUrls:
    @pytest.mark.parametrize(
        ("server", "host", "line"),
        [("a", b"a.test", b"/v1/x?y=1"), ("b", b"b.test", b"/old/api/x?y=1")],
        ids=["the first", "the second"],
    )
    async def test_each_has_its_own_prefix_and_authority(
        self, autojump_clock: MockClock, server: str, host: bytes, line: bytes
    ) -> None:
        target = Target(urls=["http://a.test/v1/", "http://b.test/old/api?z=2"])
        async with world() as w:
            if server == "b":
                w.network.refuse(A)
            assert (await w.ask("GET", "/x?y=1", target=target)).server == server
            [request] = [r for origin in w.origins for r in origin.executed]
            assert request.target == line
            assert request.value(b"host") == host

    async def test_listed_means_listed(self, autojump_clock: MockClock) -> None:
        """b is asked though a is nearer; a comes into it when b has not answered for 250 ms."""
        target = Target(urls=["http://b.test/", "http://a.test/"], order="listed")
        async with world() as w:
            assert (await w.ask("GET", target=target)).server == "b"
            w.network.kill(B)
            await trio.sleep(1.0)
            w.network.blackhole(B)
            outcome = await w.ask("GET", target=target)
            assert outcome.server == "a"
            assert outcome.took == pytest.approx(0.25)

    async def test_shuffled_draws_anew_for_each_connection(self, autojump_clock: MockClock) -> None:
        target = Target(urls=TWO.urls, order="shuffled", pool_idle_timeout=0.0)
        async with world() as w:
            # Once the names are known, whose turn it is is drawn, and then the order of the others.
            drawn = iter([0.0, *(0.2, 0.0), *(0.7, 0.9)])
            w.engine.chance = lambda: next(drawn)
            servers = [(await w.ask("GET", target=target)).server for _ in range(3)]
            assert servers == ["b", "a", "b"]

    async def test_shuffled_spreads_requests_not_only_connections(
        self, autojump_clock: MockClock
    ) -> None:
        """One program that asks now and then: whoever was used last is not used again for that."""
        target = Target(urls=["http://ab.test/", "http://c.test/"], order="shuffled")
        async with world() as w:
            w.engine.chance = random.Random(7).random
            asked = [(await w.ask("GET", target=target)).server for _ in range(300)]
            # Five standard deviations of a binomial share.
            assert all(abs(asked.count(server) - 100) <= 41 for server in "abc")
            assert len(w.network.connections) == 3
            w.network.kill(A)
            asked = [(await w.ask("GET", target=target)).server for _ in range(100)]
            assert {*asked} == {"b", "c"}
            assert all(abs(asked.count(server) - 50) <= 25 for server in "bc")


class TestTiers:
    async def test_backups_are_for_when_no_url_can_answer(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            assert (await w.ask("GET", target=BACKED_UP)).server == "a"
            assert w.resolver.asked == [(0.0, "a.test")]
            w.network.kill(A)
            assert (await w.ask("GET", target=BACKED_UP)).server == "b"

    async def test_they_are_asked_when_everybody_before_was(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.network.blackhole(A)
            outcome = await w.ask("POST", target=BACKED_UP)
            assert outcome.server == "b"
            assert outcome.took == pytest.approx(1.002)
            assert [one.endpoint for one in outcome.records[0].connection_attempts] == [A, B]

    async def test_a_tier_that_is_held_down_costs_the_next_request_nothing(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.network.blackhole(A)
            await w.ask("GET", target=BACKED_UP)
            for method in ("GET", "POST", "PUT"):
                outcome = await w.ask(method, target=BACKED_UP)
                assert outcome.server == "b"
                assert outcome.took == pytest.approx(0.001)
                # And it rides on the connection of the request before it.
                assert outcome.records[0].reused

    async def test_an_idle_connection_to_a_backup_is_too_old_for_some(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.network.blackhole(A)
            await w.ask("GET", target=BACKED_UP)
            await trio.sleep(2.0)
            assert not (await w.ask("POST", target=BACKED_UP)).records[0].reused
            await trio.sleep(1.0)  # a trial of the blackholed one ends (haclient.engine.trial)

    async def test_the_urls_come_back_by_themselves(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.blackhole(A)
            await w.ask("GET", target=BACKED_UP)
            w.network.heal(A)
            await trio.sleep(5.0)
            assert (await w.ask("GET", target=BACKED_UP)).server == "a"

    async def test_what_is_held_down_is_asked_last_and_not_at_all_is_not_an_option(
        self, autojump_clock: MockClock
    ) -> None:
        async with world() as w:
            w.network.blackhole(A)
            await w.ask("GET", target=BACKED_UP)
            w.network.heal(A)
            w.network.kill(B)
            await trio.sleep(1.0)
            outcome = await w.ask("POST", target=BACKED_UP)
            assert outcome.server == "a"

    async def test_an_idle_connection_to_one_that_is_held_down_is_used_at_last(
        self, autojump_clock: MockClock
    ) -> None:
        async with world(Fault(Fin(), AfterRequest())) as w:
            assert (await w.ask("POST", target=ONE)).error is not None
            for is_reused in (False, True, True):
                assert (await w.ask("GET", target=ONE)).records[0].reused == is_reused

    async def test_all_held_down_are_asked_in_their_order(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            w.network.blackhole(A)
            w.network.blackhole(B)
            assert (await w.ask("GET", target=BACKED_UP)).error is not None
            w.network.heal(A)
            w.network.heal(B)
            assert (await w.ask("GET", target=BACKED_UP)).server == "a"

    async def test_whom_the_exchange_met_in_trouble_is_asked_after_everybody_else(
        self, autojump_clock: MockClock
    ) -> None:
        """a loses the connection without a word; b cannot be connected; a is there all the same."""
        async with world(Fault(HalfOpen(), AfterRequest())) as w:
            w.network.refuse(B)
            outcome = await w.ask("GET", target=BACKED_UP)
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
            assert outcome.server == "a"
            attempts = outcome.records[1].connection_attempts
            assert [one.endpoint for one in attempts] == [B, A]

    async def test_three_tries_and_no_more(self, autojump_clock: MockClock) -> None:
        async with world() as w:
            for origin in (w.a, w.b, w.c):
                origin.script(Fault(Blackhole(), AfterRequest()))
            target = Target(urls=TWO.urls, backups=["http://c.test/"])
            outcome = await w.ask("PUT", target=Target(urls=target.urls, backups=target.backups))
            assert outcome.verdicts[0] is Verdict.DEAD
            assert len(outcome.records) <= 3
            assert outcome.took < 4.0 + 2.5


async def test_a_proxys_addresses_are_asked_for(autojump_clock: MockClock) -> None:
    async with world(proxy="http://c.test:80/") as w:
        outcome = await w.ask("GET", "http://a.test/")
        assert outcome.server == "c"
        assert outcome.records[0].endpoint == C
        assert w.resolver.asked == [(0.0, "c.test")]


async def test_every_name_is_told_of(autojump_clock: MockClock) -> None:
    async with world(Fault(Refuse(), OnConnect())) as w:
        await w.ask("GET", target=BACKED_UP)
        told = [e for e in w.told(events.NameResolved) if isinstance(e, events.NameResolved)]
        assert [(e.host, e.endpoints) for e in told] == [
            ("a.test", (Endpoint("10.0.0.1", 80),)),
            ("b.test", (Endpoint("10.0.0.2", 80),)),
        ]
