"""The scripted resolver does what its script says."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.errors import NameNotFoundError, NameTimeoutError
from haclient.net import Resolver
from haclient.types import Endpoint
from tests.sim.dns import Answer, ScriptedResolver
from tests.sim.journal import Journal


async def test_every_address_bears_the_port(autojump_clock: MockClock) -> None:
    scripted = ScriptedResolver()
    scripted.script("a.test", Answer("10.0.0.1", "::1", delay=0.5, ttl=7.0))
    resolver: Resolver = scripted
    resolution = await resolver.resolve("a.test", 8080)
    assert resolution.endpoints == (Endpoint("10.0.0.1", 8080), Endpoint("::1", 8080))
    assert (resolution.source, resolution.ttl) == ("dns", 7.0)
    assert trio.current_time() == 0.5
    assert scripted.asked == [(0.0, "a.test")]


@pytest.mark.parametrize("address", ["10.0.0.1", "::1"])
async def test_an_address_is_itself(autojump_clock: MockClock, address: str) -> None:
    resolver = ScriptedResolver()
    resolution = await resolver.resolve(address, 80)
    assert resolution.endpoints == (Endpoint(address, 80),)
    assert resolution.source == "literal"
    assert not resolver.asked


async def test_answers_come_in_turn_and_the_last_one_stays(autojump_clock: MockClock) -> None:
    journal = Journal()
    resolver = ScriptedResolver(journal)
    resolver.script("a.test", Answer(error=NameTimeoutError("nobody")), Answer("10.0.0.2"))
    with pytest.raises(NameTimeoutError, match="nobody"):
        await resolver.resolve("a.test", 80)
    for _ in range(2):
        resolution = await resolver.resolve("a.test", 80)
        assert resolution.endpoints == (Endpoint("10.0.0.2", 80),)
    with pytest.raises(NameNotFoundError):
        await resolver.resolve("b.test", 80)
    journal.expect(
        """
        0.000  dns: a.test failed: NameTimeoutError
        0.000  dns: a.test is 10.0.0.2
        0.000  dns: a.test is 10.0.0.2
        0.000  dns: b.test does not exist
        """
    )
