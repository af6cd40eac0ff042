"""Connects that fail because this process has no descriptor left."""

from __future__ import annotations

import errno
import os

import trio
from trio.testing import MockClock

from haclient.errors import ConnectError
from haclient.net import Transport
from haclient.types import ConnectFailure, Endpoint
from tests.engine.world import BOTH, ONE, C, World, world
from tests.sim.network import SimNetwork


class Scarce:
    """A dialer that has no descriptor for the first connects of its short spell."""

    def __init__(self, network: SimNetwork) -> None:
        self._network = network
        self.refusals = 0
        self.refused = 0

    async def connect(self, endpoint: Endpoint) -> Transport:
        """As haclient.net.Dialer."""
        await trio.lowlevel.checkpoint()
        if self.refusals > 0:
            self.refusals -= 1
            self.refused += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await self._network.connect(endpoint)


def scarce(w: World) -> Scarce:
    dialer = w.engine.dialer
    assert isinstance(dialer, Scarce)
    return dialer


async def test_a_moment_later_there_is_one(autojump_clock: MockClock) -> None:
    async with world(dialer=Scarce) as w:
        scarce(w).refusals = 5
        outcome = await w.ask("POST", target=BOTH)
        assert outcome.error is None
        # Two racers at first, then one at a time: each failure starts the next one.
        assert scarce(w).refused == 5
        assert 0.05 <= outcome.took <= 0.2
        assert [record.endpoint is not None for record in outcome.records] == [True]
        assert w.engine.health.snapshot(trio.current_time()) == ()


async def test_what_is_idle_is_closed_for_it(autojump_clock: MockClock) -> None:
    async with world(dialer=Scarce) as w:
        await w.ask("GET", target=ONE)
        assert len(w.network.open_streams()) == 1
        scarce(w).refusals = 1
        await w.ask("GET", "http://c.test/")
        assert [one.endpoint for one in w.network.open_streams()] == [C]


async def test_for_a_connect_timeout_at_the_most(autojump_clock: MockClock) -> None:
    async with world(dialer=Scarce) as w:
        scarce(w).refusals = 10_000
        outcome = await w.ask("GET", target=ONE)
        assert isinstance(outcome.error, ConnectError)
        assert not outcome.error.may_have_been_processed
        assert "no descriptor left" in str(outcome.error)
        assert 1.0 <= outcome.took <= 1.2
        [record] = outcome.records
        failures = [one.failure for one in record.connection_attempts]
        assert set(failures) == {ConnectFailure.NO_DESCRIPTOR}


async def test_where_others_took_the_places_meanwhile_it_is_tried_on(
    autojump_clock: MockClock,
) -> None:
    async with world(dialer=Scarce, max_connections=1) as w:
        outcomes = []

        async def ask() -> None:
            outcomes.append(await w.request("GET", "http://a.test/"))

        scarce(w).refusals = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.02)
            nursery.start_soon(ask)
        assert [outcome.error for outcome in outcomes] == [None, None]
