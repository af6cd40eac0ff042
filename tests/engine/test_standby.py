"""A connection in waiting: when it is made, whom it saves what, and when it is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.engine.live import LiveTarget
from haclient.engine.standby import PAUSE, Standby
from haclient.net.connection import Connection
from haclient.types import Endpoint, Verdict
from tests.engine.tls_origin import SECURE, TlsOrigin
from tests.engine.world import A, B, World, world
from tests.sim.dns import Answer
from tests.sim.effects import AfterRequest, Fault, Reset
from tests.sim.origin import Reply

TWO = Target(urls=["http://a.test/", "http://b.test/"], order="listed")
"""No race: a alone is connected."""

ROUND_TRIP = 0.05


@asynccontextmanager
async def standing_by(
    *faults: Fault, target: Target = TWO, is_on: bool = True
) -> AsyncIterator[tuple[World, LiveTarget]]:
    async with world(*faults) as w:
        live = w.client._live_for(target, target)
        if is_on:
            live.standby = Standby(live)
        yield w, live
        if live.standby is not None:
            live.standby.stop()


def connects(w: World, endpoint: Endpoint) -> int:
    return sum(client.endpoint == endpoint for client, _ in w.network.connections)


def ready(live: LiveTarget) -> Connection | None:
    assert live.standby is not None
    return live.standby.connection


async def test_a_quick_answer_connects_nowhere(autojump_clock: MockClock) -> None:
    async with standing_by() as (w, live):
        for _ in range(3):
            await w.ask("GET", target=TWO)
        await trio.sleep(3.0)
        assert connects(w, B) == 0
        assert live.standby is not None
        assert live.standby.connection is None


async def test_it_is_made_while_a_request_is_outstanding_and_closed_like_an_idle_one(
    autojump_clock: MockClock,
) -> None:
    async with standing_by() as (w, live):
        w.a.reply = Reply(think=3.0)
        await w.ask("GET", target=TWO)
        assert live.standby is not None
        first = ready(live)
        assert first is not None
        assert first.endpoint == B
        assert repr(live.standby) == f"<Standby {first!r}>"
        await w.ask("GET", target=TWO)
        assert connects(w, B) == 1  # the same for the next one
        assert w.b.executed == []
        await trio.sleep(14.0)
        assert ready(live) is first
        await trio.sleep(3.0)
        assert ready(live) is None


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_none_is_made_for_what_is_never_sent_again(
    autojump_clock: MockClock, method: str
) -> None:
    async with standing_by() as (w, _):
        w.a.reply = Reply(think=3.0)
        await w.ask(method, target=TWO)
        assert connects(w, B) == 0


async def test_it_is_made_once_for_all(autojump_clock: MockClock) -> None:
    async with standing_by() as (w, _):
        w.a.reply = Reply(think=3.0)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lambda: w.request("GET", target=TWO))
        assert connects(w, B) == 1


async def test_the_next_request_leaves_it_alone(autojump_clock: MockClock) -> None:
    """It leads to the second choice: who has no idle connection to a gets a new one."""
    async with standing_by() as (w, _):
        w.a.reply = Reply(think=3.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: w.request("GET", target=TWO))
            await trio.sleep(1.0)
            await w.request("GET", target=TWO)
        assert w.b.executed == []
        assert connects(w, A) == 2


async def test_a_resend_takes_it(autojump_clock: MockClock) -> None:
    async with standing_by(Fault(Reset(), AfterRequest(), skip=1)) as (w, _):
        w.network.path(B.address).delay = ROUND_TRIP / 2
        w.a.reply = Reply(think=1.0)
        await w.ask("GET", target=TWO)
        outcome = await w.ask("PUT", target=TWO)
        assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
        assert outcome.took == pytest.approx(ROUND_TRIP)
        assert connects(w, B) == 1


async def test_one_that_was_closed_meanwhile_is_not_taken(autojump_clock: MockClock) -> None:
    async with standing_by(Fault(Reset(), AfterRequest(), skip=1)) as (w, _):
        w.a.reply = Reply(think=1.0)
        await w.ask("GET", target=TWO)
        w.network.reset(B.address)
        await trio.sleep(0.01)
        outcome = await w.ask("GET", target=TWO)
        assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
        assert connects(w, B) == 2


async def test_where_nobody_can_be_connected_it_is_tried_again_later(
    autojump_clock: MockClock,
) -> None:
    async with standing_by() as (w, _):
        w.network.refuse(B)
        w.a.reply = Reply(think=PAUSE + 10.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: w.request("GET", target=TWO))
            await trio.sleep(1.0)
            w.network.heal(B)
            await trio.sleep(PAUSE - 1.0)
            assert connects(w, B) == 0
        assert connects(w, B) == 1


async def test_with_nobody_else_there_is_none(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://a.test/"])
    async with standing_by(target=target) as (w, live):
        w.a.reply = Reply(think=2.0)
        await w.ask("GET", target=target)
        assert live.standby is not None
        assert live.standby.connection is None
        assert connects(w, A) == 1


async def test_a_backup_stands_by_where_there_is_no_other(autojump_clock: MockClock) -> None:
    """Its name has to be known, as it is once somebody was asked there."""
    target = Target(urls=["http://a.test/"], backups=["http://b.test/"])
    async with standing_by(target=target) as (w, live):
        live.known[target.backups[0].origin] = (B,)
        w.a.reply = Reply(think=2.0)
        await w.ask("GET", target=target)
        assert live.standby is not None
        assert live.standby.connection is not None
        assert live.standby.connection.endpoint == B


async def test_stopped_it_is_closed_and_not_made_again(autojump_clock: MockClock) -> None:
    async with standing_by() as (w, live):
        assert live.standby is not None
        w.a.reply = Reply(think=4.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: w.request("GET", target=TWO))
            await trio.sleep(1.0)
            assert ready(live) is not None
            live.standby.stop()
        assert ready(live) is None
        assert connects(w, B) == 1


@pytest.mark.parametrize(("is_on", "round_trips"), [(False, 3), (True, 1)])
async def test_what_it_saves_over_fifty_milliseconds_and_tls(
    autojump_clock: MockClock, secure: TlsOrigin, is_on: bool, round_trips: int
) -> None:
    """A connect and a handshake of TLS 1.3: two round trips of three."""
    far = Endpoint(B.address, 443)
    target = Target(urls=["https://a.test/"], order="listed", tls=secure.tls)
    async with standing_by(target=target, is_on=is_on) as (w, _):
        for endpoint in (SECURE, far):
            w.listen(endpoint, secure.script)
        w.network.path(B.address).delay = ROUND_TRIP / 2
        w.resolver.script("a.test", Answer(A.address, B.address))
        await w.client.get("/", target=target)
        w.network.blackhole(SECURE)
        began_at = trio.current_time()
        response = await w.client.get("/", target=target)
        assert [one.verdict for one in response.attempts] == [Verdict.SUPERSEDED, Verdict.ANSWERED]
        resent_at = response.attempts[1].started_at
        took = trio.current_time() - resent_at
        assert took == pytest.approx(round_trips * ROUND_TRIP, abs=0.001)
        # The death of a request that was never acknowledged shows soonest.
        assert resent_at - began_at == pytest.approx(0.45, abs=0.01)
