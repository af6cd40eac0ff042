"""An answer that has begun, and whose head does not come to an end."""

from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from haclient.types import Instant
from tests.net.test_watch import Script, ScriptedConnection, outstanding, watching


async def late_at(
    script: Script, *, connection: ScriptedConnection | None = None, within: float = 30.0
) -> Instant:
    """When its reader was told, the back-stop being 5 s."""
    connection = connection or ScriptedConnection()
    async with watching() as watch:
        entry = outstanding(connection, 5.0)
        watch.add(entry)
        with trio.move_on_after(within):
            await script(connection)
            await trio.sleep_forever()
        assert entry.is_head_late is bool(connection.interrupts)
    return connection.interrupts[0] if connection.interrupts else math.inf


async def drip(connection: ScriptedConnection) -> None:
    while True:
        await trio.sleep(1.0)
        connection.receive()


async def test_it_has_the_time_of_the_backstop(autojump_clock: MockClock) -> None:
    assert 6.0 <= await late_at(drip) <= 7.2


async def test_also_without_the_kernel(autojump_clock: MockClock) -> None:
    connection = ScriptedConnection(has_kernel=False)
    assert 6.0 <= await late_at(drip, connection=connection) <= 8.2


async def test_what_is_still_sent_begins_it_anew(autojump_clock: MockClock) -> None:
    async def upload(connection: ScriptedConnection) -> None:
        connection.receive()  # 100 (Continue)
        for _ in range(10):
            await trio.sleep(4.0)
            connection.send()
        await drip(connection)

    assert 46.0 <= await late_at(upload, within=60.0) <= 47.2


async def test_somebody_elses_turn_begins_it_anew(autojump_clock: MockClock) -> None:
    connection = ScriptedConnection()
    async with watching() as watch, trio.open_nursery() as nursery:
        entry = outstanding(connection, 5.0)
        watch.add(entry)
        nursery.start_soon(drip, connection)
        seen = []
        for pause in (8.5, 4.0, 3.0):
            await trio.sleep(pause)
            seen.append(entry.is_head_late)
            if len(seen) == 1:
                entry.forgive(trio.current_time())
        assert seen == [True, False, True]
        nursery.cancel_scope.cancel()


async def test_an_answer_whose_head_is_here_has_none(autojump_clock: MockClock) -> None:
    connection = ScriptedConnection()
    async with watching() as watch, trio.open_nursery() as nursery:
        entry = outstanding(connection, 5.0)
        watch.add(entry)
        nursery.start_soon(drip, connection)
        await trio.sleep(3.0)
        entry.is_answered = True
        await trio.sleep(20.0)
        assert connection.interrupts == []
        nursery.cancel_scope.cancel()
