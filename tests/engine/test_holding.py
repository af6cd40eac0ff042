"""Whose a connection is, whether it has served before, and what its end says of its server."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.engine.holding import Holding
from haclient.types import Phase, Verdict
from tests.engine.world import ONE, A, world
from tests.sim.effects import AfterRequest, Fault, Fin
from tests.sim.origin import Reply


async def test_an_idle_one_is_used_again(autojump_clock: MockClock) -> None:
    async with world() as w:
        first = await w.ask("GET", target=ONE)
        await trio.sleep(14.0)
        second = await w.ask("GET", target=ONE)
        assert [first.records[0].reused, second.records[0].reused] == [False, True]
        assert first.records[0].local == second.records[0].local
        assert first.records[0].connected_at == 0.0
        assert second.records[0].connected_at is None
        connected = [e for e in w.told(events.Connected) if isinstance(e, events.Connected)]
        assert [event.reused for event in connected] == [False, True]


async def test_one_that_was_waited_for_counts_as_used(autojump_clock: MockClock) -> None:
    """And so the request that it breaks off under is sent again, to the only server."""
    async with world(max_connections=1) as w:
        w.a.reply = Reply(think=1.0)
        w.a.script(Fault(Fin(), AfterRequest(), skip=1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(w.request, "GET", "http://a.test/")
            await trio.sleep(0.5)
            outcome = await w.request("GET", "http://a.test/")
        assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
        assert [record.reused for record in outcome.records] == [True, False]


async def test_an_old_ones_end_is_not_held_against_the_server(autojump_clock: MockClock) -> None:
    async with world() as w:
        await w.ask("GET", target=ONE)
        w.a.script(Fault(Fin(), AfterRequest()))
        await w.ask("POST", target=ONE)
        assert not w.engine.health.is_held_down(A, trio.current_time())


async def test_a_new_ones_end_is(autojump_clock: MockClock) -> None:
    async with world(Fault(Fin(), AfterRequest())) as w:
        await w.ask("POST", target=ONE)
        assert w.engine.health.is_held_down(A, trio.current_time())
        await trio.sleep(5.0)
        assert not w.engine.health.is_held_down(A, trio.current_time())


async def test_what_was_sent_on_it_is_told_as_it_was_at_the_end(autojump_clock: MockClock) -> None:
    """Nothing, of the one that only held it: the next one's bytes are not its own."""
    async with world() as w:
        assert (await w.ask("GET", target=ONE)).error is None
        live = w.client._live_for(ONE, ONE)
        connection = live.pool.try_lease(live.first_keys[0])
        assert connection is not None
        held = Holding(live, connection)
        assert held.is_reused
        held.end(Verdict.CANCELLED)
        assert held.is_over
        live.pool.release(connection, True)
        [record] = (await w.ask("GET", target=ONE)).records
        assert record.reused
        assert record.bytes_sent > 0
        assert held.bytes_sent == 0


@pytest.mark.parametrize(
    ("verdict", "is_open"),
    [(Verdict.DEAD, False), (Verdict.CLOSED, True), (Verdict.CANCELLED, True)],
)
async def test_a_dead_servers_idle_ones_are_closed_with_it(
    autojump_clock: MockClock, verdict: Verdict, is_open: bool
) -> None:
    async with world() as w:
        w.a.reply = Reply(think=0.1)
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(w.request, "GET", "http://a.test/")
        live = w.client._live_for_url(ONE.urls[0])
        connection = live.pool.try_lease(live.first_keys[0])
        assert connection is not None
        held = Holding(live, connection)
        assert "waiting" in repr(held)
        held.end(verdict)
        held.close(verdict, None, "reset by the peer")
        assert len(w.network.open_streams()) == is_open
        whys = [one.why for one in w.engine.health.snapshot(trio.current_time())]
        assert whys == ([] if is_open else ["dead: reset by the peer"])
        # It has served before: that it was closed is no fault.
        is_held_down = w.engine.health.is_held_down(A, trio.current_time())
        assert is_held_down == (verdict is Verdict.DEAD)


async def test_how_far_it_has_come(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert (await w.ask("GET", target=ONE)).error is None
        live = w.client._live_for(ONE, ONE)
        connection = live.pool.try_lease(live.first_keys[0])
        assert connection is not None
        held = Holding(live, connection)
        assert (held.phase, held.status) == (Phase.WAITING, None)
        held.end(Verdict.ANSWERED)
        assert held.phase is Phase.DONE
        await held.give_back(is_whole=False)
        assert w.network.open_streams() == ()
