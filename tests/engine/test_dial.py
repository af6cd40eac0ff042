"""A connection for a protocol that is not ours: new for each client, by order, race and tiers, with a record."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient import events
from haclient.core.spec import Target
from haclient.engine.dial import Dial
from haclient.engine.live import LiveTarget
from haclient.errors import (
    ConnectError,
    ConnectTimeoutError,
    NameNotFoundError,
    QueueTimeoutError,
)
from haclient.types import Endpoint, Evidence, EvidenceKind, Phase, Verdict
from tests.engine.world import A, B, World, world

ONE = Target(urls=["tcp://a.test:80"])
BOTH = Target(urls=["tcp://ab.test:80"])
BACKED_UP = Target(urls=["tcp://a.test:80"], backups=["tcp://b.test:80"])


def dial(w: World, target: Target) -> Dial:
    return Dial(LiveTarget(target, w.engine))


def held_down(w: World) -> list[Endpoint]:
    now = trio.current_time()
    return [each.endpoint for each in w.engine.health.snapshot(now) if each.failures]


async def test_each_client_has_a_connection_of_its_own(autojump_clock: MockClock) -> None:
    async with world() as w:
        live = LiveTarget(ONE, w.engine)
        first, second = Dial(live), Dial(live)
        one, other = await first.connect(), await second.connect()
        assert one.endpoint == other.endpoint == A
        assert one is not other
        first.end(Verdict.ANSWERED)
        # What one has left is nobody's.
        third = Dial(live)
        assert await third.connect() is not one
        assert len(w.network.connections) == 3
        second.end(Verdict.ANSWERED)
        third.end(Verdict.ANSWERED)


async def test_its_record_tells_what_became_of_it(autojump_clock: MockClock) -> None:
    async with world() as w:
        line = dial(w, BOTH)
        assert "to tcp://ab.test:80" in repr(line)
        connection = await line.connect()
        assert "10.0.0.1:80, waiting" in repr(line)
        await connection.send(b"hello")
        await trio.sleep(1.0)
        line.note_answer()
        line.note_answer()
        assert not line.records
        await trio.sleep(1.0)
        line.end(Verdict.ANSWERED, "all said")
        line.end(Verdict.DEAD)
        [record] = line.records
        assert (record.number, record.endpoint, record.verdict) == (1, A, Verdict.ANSWERED)
        assert (record.phase, record.bytes_sent, record.detail) == (Phase.DONE, 5, "all said")
        assert record.first_byte_at == pytest.approx(record.started_at + 1.0)
        assert record.ended_at == pytest.approx(record.started_at + 2.0)
        assert [one.endpoint for one in record.connection_attempts] == [A, B]
        assert held_down(w) == []


async def test_backups_are_asked_where_nobody_else_can_be_connected(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.network.refuse(A)
        line = dial(w, BACKED_UP)
        assert (await line.connect()).endpoint == B
        line.end(Verdict.ANSWERED)
        assert [one.endpoint for one in line.records[0].connection_attempts] == [A, B]
        assert held_down(w) == [A]


async def test_nobody_can_be_connected(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.network.refuse(A)
        w.network.refuse(B)
        line = dial(w, BACKED_UP)
        with pytest.raises(
            ConnectError, match=r"tcp://a\.test:80, tcp://b\.test:80.*refused"
        ) as caught:
            await line.connect()
        assert caught.value.attempts == line.records
        assert not caught.value.may_have_been_processed
        assert line.records[0].verdict is Verdict.REFUSED
        assert line.records[0].phase is Phase.CONNECTING
        assert line.records[0].endpoint is None


async def test_everybody_is_silent(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.network.blackhole(A)
        began_at = trio.current_time()
        with pytest.raises(ConnectTimeoutError):
            await dial(w, ONE).connect()
        assert trio.current_time() - began_at == pytest.approx(1.0)


async def test_a_name_that_is_not_there(autojump_clock: MockClock) -> None:
    async with world() as w:
        line = dial(w, Target(urls=["tcp://nobody.test:80"]))
        with pytest.raises(NameNotFoundError) as caught:
            await line.connect()
        assert caught.value.attempts == line.records
        assert line.records[0].verdict is Verdict.FAILED


async def test_all_are_at_their_limit(autojump_clock: MockClock) -> None:
    target = Target(urls=["tcp://a.test:80"], max_connections=1, queue_timeout=2.0)
    async with world() as w:
        live = LiveTarget(target, w.engine)
        first, second, third = Dial(live), Dial(live), Dial(live)
        await first.connect()
        with pytest.raises(QueueTimeoutError) as caught:
            await second.connect()
        assert caught.value.attempts == second.records
        assert second.records[0].phase is Phase.QUEUED
        # Whoever waits gets the place, and never the connection of the one who leaves.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(third.connect)
            await w.settle()
            first.end(Verdict.ANSWERED)
        assert third.holding is not None
        assert first.holding is not None
        assert third.holding.connection is not first.holding.connection
        third.end(Verdict.ANSWERED)


async def test_a_second_attempt_goes_elsewhere(autojump_clock: MockClock) -> None:
    async with world() as w:
        line = dial(w, BOTH)
        assert (await line.connect()).endpoint == A
        line.end(Verdict.CLOSED, "it said nothing")
        assert held_down(w) == [A]
        assert (await line.connect("it closed")).endpoint == B
        line.note_answer()
        line.end(Verdict.ANSWERED)
        assert [(r.number, r.endpoint, r.verdict) for r in line.records] == [
            (1, A, Verdict.CLOSED),
            (2, B, Verdict.ANSWERED),
        ]


async def test_one_attempt_at_a_time(autojump_clock: MockClock) -> None:
    async with world() as w:
        line = dial(w, ONE)
        await line.connect()
        with pytest.raises(RuntimeError, match="has not been ended"):
            await line.connect()
        line.end(Verdict.ANSWERED)


async def test_a_death_is_held_against_the_address_and_an_answer_clears_it(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        live = LiveTarget(ONE, w.engine)
        first = Dial(live)
        await first.connect()
        evidence = Evidence(EvidenceKind.KEEPALIVE_PROBES, 3, 2.5)
        first.end(Verdict.DEAD, evidence=evidence)
        assert first.records[0].evidence == evidence
        assert held_down(w) == [A]
        second = Dial(live)
        await second.connect()
        second.note_answer()
        assert held_down(w) == []
        second.end(Verdict.ANSWERED)


@pytest.mark.parametrize("after", [0.0, 0.0005])
async def test_one_that_is_cancelled_leaves_nothing_behind(
    after: float, autojump_clock: MockClock
) -> None:
    async with world() as w:
        w.network.path(A.address).delay = 0.001
        line = dial(w, ONE)
        with trio.move_on_after(after):
            try:
                await line.connect()
            finally:
                line.end(Verdict.CANCELLED)
        assert line.records[0].verdict is Verdict.CANCELLED
        assert line.records[0].endpoint is None


async def test_a_better_server_is_tried_out_and_the_trial_is_closed(
    autojump_clock: MockClock,
) -> None:
    async with world() as w:
        w.network.refuse(A)
        live = LiveTarget(BACKED_UP, w.engine)

        async def whom() -> Endpoint:
            line = Dial(live)
            endpoint = (await line.connect()).endpoint
            line.note_answer()
            line.end(Verdict.ANSWERED)
            return endpoint

        assert await whom() == B
        w.network.heal(A)
        seen = []
        for _ in range(20):
            await trio.sleep(0.1)
            seen.append(await whom())
        assert seen[-1] == A
        assert set(seen[: seen.index(A)]) == {B}
        await w.settle()
        assert w.network.open_streams() == ()


async def test_an_observer_is_told(autojump_clock: MockClock) -> None:
    async with world() as w:
        told: list[events.Event] = []
        line = Dial(LiveTarget(ONE, w.engine), told.append)
        await line.connect()
        line.end(Verdict.ANSWERED)
        kinds = [type(event) for event in told]
        assert kinds[0] is events.AttemptStarted
        assert kinds[-2:] == [events.Connected, events.AttemptEnded]


async def test_servers_of_http_are_not_dialled(autojump_clock: MockClock) -> None:
    async with world() as w:
        with pytest.raises(ValueError, match="only tcp:// targets"):
            dial(w, Target(urls=["http://a.test/"]))
