"""A server may stand among the URLs and among the backups, or twice among the URLs."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.errors import ConnectError, ConnectTimeoutError, ServerDiedError
from tests.engine.world import A, B, world
from tests.sim.effects import AfterRequest, Blackhole, Fault

TARGETS = (
    Target(urls=["http://a.test/"], backups=["http://a.test/"], max_connections=1),
    Target(urls=["http://a.test/x", "http://a.test/y"], max_connections=1),
    Target(urls=["http://a.test/"], backups=["http://b.test/", "http://a.test/"]),
)


@pytest.mark.parametrize("target", TARGETS)
async def test_where_nobody_can_be_connected(autojump_clock: MockClock, target: Target) -> None:
    async with world() as w:
        w.network.refuse(B)
        w.network.refuse(A)
        outcome = await w.ask("GET", target=target)
        assert type(outcome.error) is ConnectError


@pytest.mark.parametrize("target", TARGETS)
async def test_it_died_and_is_asked_last(autojump_clock: MockClock, target: Target) -> None:
    """Among those who failed it is one, however often it is named."""
    async with world(Fault(Blackhole(), AfterRequest())) as w:
        w.network.refuse(B)
        outcome = await w.ask("GET", target=target)
        assert type(outcome.error) in (ServerDiedError, ConnectTimeoutError)
