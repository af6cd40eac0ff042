"""The faults, each with the request that it hits; and two servers that only look dead.

Server a is the one that is asked; b is there to take over. Where a request is outstanding, a POST is
too: it may fail, but must not be executed twice. Times are from the fault, if a request was
outstanding, else from the request.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tests.bench.peers.failback import cut_off, restarted
from tests.bench.peers.outcome import (
    BOUND,
    Outcome,
    executions,
    judged_by_time,
    judged_by_waiting,
)
from tests.bench.peers.program import PIECE_BYTES, Answer, Program, digest_of_pattern
from tests.bench.peers.rig import Host, Rig
from tests.support.origin import Behaviour

__all__ = ["SCENARIOS", "Scenario"]

Run = Callable[[Rig], Awaitable[list[Outcome]]]
Fault = Callable[[Host], Awaitable[float]]

LONG = Behaviour(think=120.0)
"""Of a server that will not answer within any run."""

SLOW = 10.0
"""Seconds that a slow server takes."""

DOWNLOAD_BYTES = 50_000_000
UPLOAD_BYTES = 8 << 20
SMALL_UPLOAD_BYTES = 768 << 10
"""Less than our replay_limit and Envoy's buffer, 1 MiB each."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done, and how; it yields a figure for each of `rows`."""

    run: Run
    rows: tuple[str, ...]
    receive_buffer: int | None = None
    """Of the servers; small, so that an upload is stopped soon."""
    apart: float = 0.3
    """Seconds between two proxies' starts, so that they do not wait for the processor."""


@asynccontextmanager
async def programs(rig: Rig, number: int) -> AsyncIterator[list[Program]]:
    """So many, each with its connection."""
    opened = [Program(await rig.connect()) for _ in range(number)]
    try:
        yield opened
    finally:
        for program in opened:
            await program.aclose()


async def connect_twice(server: Host, one: Program, two: Program) -> None:
    """Leaves the proxy with two idle connections to the server, if it keeps any."""
    await server.origin.set(Behaviour(think=0.3))
    await at_once(one.ask, two.ask)
    await trio.sleep(0.3)


async def at_once(*asking: Callable[[], Awaitable[Answer]]) -> list[Answer]:
    """All of them, in their order."""
    answers: dict[int, Answer] = {}

    async def keep(number: int, ask: Callable[[], Awaitable[Answer]]) -> None:
        answers[number] = await ask()

    async with trio.open_nursery() as nursery:
        for number, ask in enumerate(asking):
            nursery.start_soon(keep, number, ask)
    return [answers[number] for number in range(len(asking))]


# -- A request is outstanding, and its server dies -----------------------------------------------


def outstanding(fault: Fault, *, forgets: bool = False) -> Run:
    """A GET and a POST are with a when it has the fault; a server that `forgets` loses its log."""

    async def run(rig: Rig) -> list[Outcome]:
        a, b = rig.servers
        since = 0.0
        before = []

        async def strike() -> Answer:
            nonlocal since, before
            await a.executes(4)
            before = await a.origin.log()
            since = await fault(a)
            return Answer("")

        async with programs(rig, 2) as (one, two):
            await connect_twice(a, one, two)
            await a.origin.set(LONG)
            get, post, _ = await at_once(one.ask, lambda: two.ask("POST"), strike)
        after = before if forgets else await a.origin.log()
        ran = executions(post.request_id, after, await b.origin.log())
        return [judged_by_time(get, since, posts_run_twice=ran > 1)]

    return run


async def kill(server: Host) -> float:
    at = time.perf_counter()
    await server.origin.kill()
    return at


async def reboot(server: Host) -> float:
    at = time.perf_counter()
    await server.reboot()
    return at


# -- A server is dead already, and nobody knows --------------------------------------------------


async def dead_before_pooled(rig: Rig) -> list[Outcome]:
    a, b = rig.servers
    async with programs(rig, 2) as (one, two):
        await connect_twice(a, one, two)
        await a.drop()
        return await ask_the_dead(one, two, a, b)


async def dead_before_cold(rig: Rig) -> list[Outcome]:
    a, b = rig.servers
    await a.drop()
    async with programs(rig, 2) as (one, two):
        return await ask_the_dead(one, two, a, b)


async def ask_the_dead(one: Program, two: Program, a: Host, b: Host) -> list[Outcome]:
    since = time.perf_counter()
    get, post = await at_once(one.ask, lambda: two.ask("POST"))
    ran = executions(post.request_id, await a.origin.log(), await b.origin.log())
    return [judged_by_time(get, since, posts_run_twice=ran > 1)]


async def rebooted_while_idle(rig: Rig) -> list[Outcome]:
    a, b = rig.servers
    async with programs(rig, 2) as (one, two):
        await connect_twice(a, one, two)
        await a.reboot()
        since = time.perf_counter()
        get, post = await at_once(one.ask, lambda: two.ask("POST"))
    ran = executions(post.request_id, await b.origin.log())
    return [judged_by_time(get, since, posts_run_twice=ran > 1)]


# -- In the middle of content ---------------------------------------------------------------------


def in_mid_response(etag: str) -> Run:
    """50 MB are on their way; what comes after a fifth of them is lost."""

    async def run(rig: Rig) -> list[Outcome]:
        a, b = rig.servers
        content = Behaviour(content_bytes=DOWNLOAD_BYTES, etag=etag)
        await b.origin.set(content)
        await a.origin.set(Behaviour(content_bytes=DOWNLOAD_BYTES, etag=etag, pause=0.002))
        progress = [0]
        since = 0.0

        async def strike() -> Answer:
            nonlocal since
            with trio.move_on_after(BOUND):
                while progress[0] < DOWNLOAD_BYTES // 5:  # noqa: ASYNC110 (a plain counter)
                    await trio.sleep(0.005)
            since = await a.drop()
            return Answer("")

        digest = digest_of_pattern(DOWNLOAD_BYTES)
        async with programs(rig, 1) as (one,):
            get, _ = await at_once(lambda: one.ask(expected=digest, progress=progress), strike)
        return [judged_by_time(get, since) if etag else judged_as_broken(get, since)]

    return run


def judged_as_broken(answer: Answer, since: float) -> Outcome:
    """It cannot be whole: what is due is a broken transfer, soon."""
    took = answer.at - since
    if answer.error == "broken":
        return Outcome(took, "late" if took > BOUND else "")
    return Outcome(took, answer.error or "whole, from two versions")


async def in_mid_upload(rig: Rig) -> list[Outcome]:
    a, b = rig.servers
    since = 0.0
    piece = bytes(SMALL_UPLOAD_BYTES // 24)

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal since
        for number in range(24):
            if number == 12:
                since = await a.drop()
            await trio.sleep(0.02)
            yield piece

    async with programs(rig, 1) as (one,):
        put = await one.ask("PUT", content=pieces(), length=SMALL_UPLOAD_BYTES)
    outcome = judged_by_time(put, since)
    if outcome.passes and not executions(put.request_id, await b.origin.log()):
        return [Outcome(outcome.took, "not executed")]
    return [outcome]


# -- Only slow --------------------------------------------------------------------------------------


async def slow(rig: Rig) -> list[Outcome]:
    for server in rig.servers:
        await server.origin.set(Behaviour(think=SLOW))
    since = time.perf_counter()
    async with programs(rig, 1) as (one,):
        get = await one.ask()
    logs = [await server.origin.log() for server in rig.servers]
    return [judged_by_waiting(get, since, executions(get.request_id, *logs))]


def stalled_upload(length: int) -> Run:
    """The servers do not read for ten seconds, and then they do."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, length, PIECE_BYTES):
            yield bytes(min(PIECE_BYTES, length - start))

    async def run(rig: Rig) -> list[Outcome]:
        for server in rig.servers:
            await server.origin.set(Behaviour(unread_for=SLOW))
        since = time.perf_counter()
        async with programs(rig, 1) as (one,):
            put = await one.ask("PUT", content=pieces(), length=length)
        logs = [await server.origin.log() for server in rig.servers]
        begun = sum(served.request_id == put.request_id for log in logs for served in log)
        return [judged_by_waiting(put, since, begun)]

    return run


# -- The list ---------------------------------------------------------------------------------------

SCENARIOS = (
    Scenario(outstanding(kill, forgets=True), ("killed",)),
    Scenario(outstanding(Host.drop), ("blackholed, thinking",)),
    Scenario(dead_before_pooled, ("blackholed before the request, pooled",)),
    Scenario(dead_before_cold, ("blackholed before the request, cold",)),
    Scenario(in_mid_response('"v1"'), ("blackholed in mid-response, strong ETag",), apart=1.5),
    Scenario(in_mid_response(""), ("blackholed in mid-response, no ETag: error",), apart=1.5),
    Scenario(in_mid_upload, ("blackholed in mid-upload",), apart=1.0),
    Scenario(outstanding(Host.unplug), ("link down",)),
    Scenario(outstanding(reboot, forgets=True), ("rebooted, thinking",)),
    Scenario(rebooted_while_idle, ("rebooted while idle",)),
    Scenario(slow, ("slow: 10 s to the first byte",)),
    Scenario(stalled_upload(UPLOAD_BYTES), ("stalled upload, 8 MiB",), receive_buffer=4096),
    Scenario(stalled_upload(256 << 10), ("stalled upload, 256 KiB",), receive_buffer=4096),
    Scenario(restarted, ("restarted: slowest GET of 10 a second", "restarted: serves again after")),
    Scenario(cut_off, ("cut off for 6 s: slowest GET", "cut off for 6 s: serves again after")),
)
