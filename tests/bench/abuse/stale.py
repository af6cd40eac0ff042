"""A pooled connection that ends just as a request is sent.

A hundred connections are made and left idle. Then each server's end is closed within a fifth of a
second, and in that same fifth a hundred requests are sent: some find the end before they send, some after,
some cross it. In the crossing kind every connection ends as the request's first byte arrives, which is
the worst that the wire can do, and cannot be seen before.
"""

from __future__ import annotations

import random
from time import monotonic  # noqa: TID251  (one clock for three processes)

import trio

from tests.bench.abuse.hostile import ABUSED, get, head, hostile
from tests.bench.abuse.stage import Abuse, Outcome, Stage

__all__ = ["STALE"]

CONNECTIONS = 100
IDLE = 1.5
"""Seconds: longer than what a request that may not be resent rides on."""

SPREAD = 0.2
HELD = 0.6
"""Seconds that a server takes for each request, so that none rides on another one's connection."""

MAY_BE_REFUSED = 1


async def stale(stage: Stage) -> Outcome:
    """Each kind of end, under GET and under POST."""
    outcome = Outcome("")
    told = []
    for kind in ("fin", "rst", "crossing-fin", "crossing-rst"):
        for method in ("GET", "POST"):
            name = f"{kind}-{method.lower()}"
            answered = await a_hundred(stage, kind, method, name)
            counts = await stage.server.order("counts")
            runs = [counts.get(f"/slow/{HELD}/{name}/{n}", 0) for n in range(CONNECTIONS)]
            told.append(f"{name} {answered}")
            may_lack = MAY_BE_REFUSED if method == "POST" else 0
            outcome.require(answered >= CONNECTIONS - may_lack, f"{name}: {answered} answered")
            outcome.require(sum(runs) >= answered, f"{name}: {answered} answered, {sum(runs)} run")
            if method == "POST":
                outcome.require(max(runs) <= 1, f"{name}: one was run {max(runs)} times")
    outcome.told = ", ".join(told) + f" of {CONNECTIONS}"
    return outcome


async def a_hundred(stage: Stage, kind: str, method: str, name: str) -> int:
    """How many of a hundred requests were answered with 200."""
    chance = random.Random(name)
    at = monotonic() + 1.0
    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            ends = at + IDLE + chance.random() * SPREAD
            nursery.start_soon(ask, stage, get(f"/warm?at={at}&ends={ends}&end={kind}", ABUSED), [])
    await trio.sleep(at + IDLE - monotonic() - 0.05)
    answers: list[int] = []
    async with trio.open_nursery() as nursery:
        for number in range(CONNECTIONS):
            path = f"/slow/{HELD}/{name}/{number}"
            request = head(f"{method} {path}".encode(), ABUSED)
            request += b"\r\n" if method == "GET" else b"Content-Length: 2\r\n\r\nhi"
            pause = 0.05 + chance.random() * SPREAD
            nursery.start_soon(ask, stage, request, answers, pause)
    return answers.count(200)


async def ask(stage: Stage, request: bytes, answers: list[int], pause: float = 0.0) -> None:
    """One request on a connection of its own, after a pause; its status, if there was one."""
    async with hostile(stage.door.port) as who:
        await trio.sleep(pause)
        await who.send(request)
        with trio.move_on_after(10):
            while b"\r\n\r\n" not in who.heard:
                data = await who.stream.receive_some()
                if not data:
                    return
                who.heard += data
            answers.extend(who.statuses)


STALE = (Abuse("stale pooled connections", stale),)
