"""One lookup over scripted name servers; what a resolver makes of it: test_resolver.py."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.dns_answer import Answer, Record, RecordType, Reply
from haclient.core.lookup import Found, NotFound, Reason
from haclient.core.names import ResolvConf
from haclient.core.question import Ask
from haclient.net.name_lookup import NameServers
from haclient.types import Endpoint

ONE, TWO = Endpoint("10.0.0.1", 53), Endpoint("10.0.0.2", 53)
CONF = ResolvConf(nameservers=(ONE, TWO), asks_for_ipv6=False)


class Script:
    """`silent` says nothing; the others know the name at once."""

    def __init__(self, silent: set[Endpoint]) -> None:
        self.silent = silent
        self.asked: list[tuple[float, Endpoint]] = []

    async def exchange(self, ask: Ask) -> Reply:
        self.asked.append((trio.current_time(), ask.server))
        if ask.server in self.silent:
            await trio.sleep_forever()
        return Answer(0, (Record(ask.qname, RecordType.A, "192.0.2.1", 60.0),))


async def test_who_answered_is_asked_first_the_next_time(autojump_clock: MockClock) -> None:
    script = Script({ONE})
    servers = NameServers(script.exchange)
    for _ in range(2):
        outcome = await servers.look_up("x", CONF)
        assert outcome == Found(("192.0.2.1",), 60.0, TWO, is_whole=True)
    assert script.asked == [(0.0, ONE), (2.0, TWO), (2.0, TWO)]


async def test_a_lookup_that_is_given_up_leaves_word_of_who_was_silent(
    autojump_clock: MockClock,
) -> None:
    script = Script({ONE})
    servers = NameServers(script.exchange)
    with trio.move_on_after(1.5):
        await servers.look_up("x", CONF)
    await servers.look_up("x", CONF)
    assert script.asked == [(0.0, ONE), (1.5, TWO)]


@pytest.mark.parametrize("attempts", [1, 3])
async def test_silence_of_all_ends_too(autojump_clock: MockClock, attempts: int) -> None:
    script = Script({ONE, TWO})
    conf = ResolvConf(nameservers=(ONE, TWO), attempts=attempts, asks_for_ipv6=False)
    outcome = await NameServers(script.exchange).look_up("x", conf)
    assert isinstance(outcome, NotFound)
    assert outcome.reason is Reason.TIMED_OUT
    assert trio.current_time() == 4.0 * attempts
