"""In front of addresses at their limit: for so long, and then an error that says what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.errors import ConnectError, ProxyStatus, QueueTimeoutError
from haclient.types import Phase, Verdict
from tests.engine.world import ONE, TWO, World, world
from tests.sim.effects import AfterRequest, Blackhole, Fault, Reset
from tests.sim.origin import Reply


def scarce(target: Target, queue_timeout: float = 2.0) -> Target:
    """One connection to each address."""
    return Target(urls=target.urls, max_connections=1, queue_timeout=queue_timeout)


async def hold(w: World, target: Target) -> None:
    await w.client.get("/", target=target)


@asynccontextmanager
async def taken(w: World, *targets: Target) -> AsyncIterator[None]:
    """The only connection to each is somebody's, for as long as that one's server thinks."""
    async with trio.open_nursery() as nursery:
        for target in targets:
            nursery.start_soon(hold, w, target)
            await w.settle()
        yield


B_ALONE = Target(urls=TWO.urls[1:])


@pytest.mark.parametrize("target", [ONE, TWO], ids=["one name", "two names"])
async def test_it_ends(autojump_clock: MockClock, target: Target) -> None:
    async with world() as w:
        w.a.reply = w.b.reply = Reply(think=30.0)
        async with taken(w, scarce(ONE), scarce(B_ALONE)):
            outcome = await w.request("POST", target=scarce(target))
            error = outcome.error
            assert type(error) is QueueTimeoutError
            assert isinstance(error, ConnectError)
            assert outcome.took == 2.0
            assert error.stage is Phase.QUEUED
            assert not error.may_have_been_processed
            assert error.proxy_status is ProxyStatus.CONNECTION_LIMIT_REACHED
            assert error.proxy_status.status == 503
            assert [record.verdict for record in error.attempts] == [Verdict.FAILED]
            assert str(error) == (
                f"no connection to {'http://a.test' if target is ONE else 'http://a.test, http://b.test'} "
                f"became free within 2 s: {len(target.urls)} addresses are at their limit of "
                "1 connections. Raise max_connections, or add servers"
            )


async def test_whoever_gave_up_takes_no_place(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.a.reply = Reply(think=3.0)
        async with taken(w, scarce(ONE)):
            assert (await w.request("GET", target=scarce(ONE))).error is not None
        assert (await w.request("GET", target=scarce(ONE))).error is None
        assert len(w.a.executed) == 2


async def test_waits_of_one_attempt_are_counted_together(autojump_clock: MockClock) -> None:
    """A has room after a while, and refuses; B is full for longer."""
    async with world() as w:
        w.a.reply, w.b.reply = Reply(think=1.5, closes=True), Reply(think=30.0)
        async with taken(w, scarce(ONE), scarce(B_ALONE)):
            w.network.refuse(w.a.endpoint)
            outcome = await w.request("GET", target=scarce(TWO))
            assert type(outcome.error) is QueueTimeoutError
            assert outcome.took == pytest.approx(2.0)


async def test_a_suspect_is_waited_for_all_the_same(autojump_clock: MockClock) -> None:
    async with world(Fault(Blackhole(1.9), AfterRequest())) as w:
        w.b.reply = Reply(think=30.0)
        async with taken(w, scarce(B_ALONE, 0.5)):
            outcome = await w.request("GET", target=scarce(TWO, 0.5))
            assert outcome.server == "a"
            assert outcome.verdicts == [Verdict.ANSWERED, Verdict.FAILED]


async def test_an_answer_that_was_held_is_better_than_none(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.a.reply, w.b.reply = Reply(503), Reply(think=30.0)
        async with taken(w, scarce(B_ALONE)):
            async with w.client.stream("GET", "/", target=scarce(TWO)) as response:
                assert response.status == 503
            assert [record.verdict for record in response.attempts] == [
                Verdict.ANSWERED,
                Verdict.FAILED,
            ]


async def test_after_a_servers_death_it_says_that_the_request_may_have_run(
    autojump_clock: MockClock,
) -> None:
    async with world(Fault(Reset(), AfterRequest())) as w:
        w.b.reply = Reply(think=30.0)
        async with taken(w, scarce(B_ALONE)):
            outcome = await w.request("PUT", target=scarce(TWO))
            assert type(outcome.error) is QueueTimeoutError
            assert outcome.error.may_have_been_processed
