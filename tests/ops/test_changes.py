"""What changed between two looks."""

from __future__ import annotations

import json
from typing import Any

import trio

from haclient.ops.changes import Changes
from haclient.ops.feed import Feed, Reader
from haclient.types import Endpoint
from tests.support.running import Running, running

A, B = Endpoint("127.0.0.1", 9), Endpoint("127.0.0.2", 9)


def told(reader: Reader) -> list[tuple[str, Any]]:
    blocks = reader.take().decode().split("\n\n")[:-1]
    lines = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    return [(each["event"], json.loads(each["data"])) for each in lines]


def looking(daemon: Running) -> tuple[Changes, Reader]:
    feed = Feed()
    reader = feed.join()
    assert reader is not None
    return Changes(daemon, feed), reader


async def test_the_first_look_compares_with_nothing() -> None:
    async with running([A]) as daemon:
        changes, reader = looking(daemon)
        gateway = daemon.sidecar.gateway
        now = trio.current_time()
        gateway.engine.health.report_failure(A, now, 0)
        live = gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(now)
        changes.look(now)
        assert told(reader) == []


async def test_health_from_first_to_last() -> None:
    async with running([A], [A]) as daemon:
        changes, reader = looking(daemon)
        gateway = daemon.sidecar.gateway
        health = gateway.engine.health
        for live in gateway.targets.values():
            live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)

        health.report_suspect(A, 100.0, 0)
        changes.look(100.0)
        health.report_failure(A, 101.0, 0)
        changes.look(101.0)
        health.report_failure(A, 102.0, health.generation(A))  # again, in the middle of its hold
        changes.look(102.0)
        changes.look(108.0)  # on probation: asked like any other
        health.report_success(A, 108.0, health.generation(A))
        changes.look(108.0)

        events = told(reader)
    assert [kind for kind, _ in events] == ["health"] * 3
    states = [(data["was"], data["state"], data["held_for"]) for _, data in events]
    assert states == [
        ("ok", "suspect", None),
        ("suspect", "held down", 5.0),
        ("held down", "ok", None),
    ]
    assert events[0][1]["targets"] == ["a", "b"]


async def test_an_address_that_is_forgotten_is_well() -> None:
    async with running([A]) as daemon:
        changes, reader = looking(daemon)
        daemon.sidecar.gateway.engine.health.report_failure(A, 100.0, 0)
        changes.look(100.0)
        changes.look(1000.0)
        ((kind, data),) = told(reader)

    assert (kind, data["was"], data["state"], data["targets"]) == ("health", "held down", "ok", [])


async def test_names() -> None:
    async with running([A]) as daemon:
        changes, reader = looking(daemon)
        live = daemon.sidecar.gateway.targets["a"]
        origin = live.spec.urls[0].origin
        changes.look(100.0)
        for endpoints in ((A,), (A,), (A, B), (B, A), (B,), ()):
            live.known[origin] = endpoints
            changes.look(100.0)
        events = told(reader)

    assert {kind for kind, _ in events} == {"names"}
    assert [(data["was"], data["addresses"]) for _, data in events] == [
        ([], ["127.0.0.1:9"]),
        (["127.0.0.1:9"], ["127.0.0.1:9", "127.0.0.2:9"]),
        (["127.0.0.2:9", "127.0.0.1:9"], ["127.0.0.2:9"]),
        (["127.0.0.2:9"], []),
    ]
    assert {data["origin"] for _, data in events} == {str(origin)}


async def test_a_target_that_a_reload_removed_is_no_change_of_a_name() -> None:
    async with running([A]) as daemon:
        changes, reader = looking(daemon)
        gateway = daemon.sidecar.gateway
        live = gateway.targets["a"]
        live.known[live.spec.urls[0].origin] = (A,)
        changes.look(100.0)
        gateway.targets = {}
        changes.look(100.0)
        assert told(reader) == []
