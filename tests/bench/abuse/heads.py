"""What a client can do before its request has begun."""

from __future__ import annotations

import trio

from tests.bench.abuse.hostile import Hostile, head, hostiles
from tests.bench.abuse.stage import CUT_WITHIN, HEADER_TIMEOUT, Abuse, Outcome, Stage, outcome_of

__all__ = ["HEADS"]

MEGABYTES = 100
FEW = 4
"""Of those who each send as much as they can."""

SOON = 30.0
"""Seconds that 100 MB may take to be sent, and refused; no time-out is waited for."""


async def slow_heads(stage: Stage) -> Outcome:
    """A byte each half second of a head that never ends."""

    async def do(who: Hostile, _number: int) -> None:
        await who.send(head(b"GET /x") + b"X-Slow: ")
        await who.drip(0.5)

    found = await hostiles(stage.door.port, stage.crowd, do)
    return outcome_of(found, stage.crowd, HEADER_TIMEOUT + CUT_WITHIN, [408])


async def long_line(stage: Stage) -> Outcome:
    """A hundred megabytes of one field, or of a request line."""

    async def do(who: Hostile, number: int) -> None:
        start = head(b"GET /x") + b"X-Long: " if number % 2 else b"GET /"
        await flood(who, start, b"x" * (1 << 20))

    found = await hostiles(stage.door.port, FEW, do)
    return outcome_of(found, FEW, SOON, [414, 431])


async def many_fields(stage: Stage) -> Outcome:
    """A hundred thousand fields: names of their own, one name, or none at all."""

    async def do(who: Hostile, number: int) -> None:
        line = (b"X-%d: 1\r\n", b"X-A: %d\r\n", b": %d\r\n", b"a:%d\r\n")[number]
        fields = b"".join(line % n for n in range(100_000))
        await who.send(head(b"GET /x") + fields + b"\r\n")
        await who.drip(0.1)

    found = await hostiles(stage.door.port, FEW, do)
    return outcome_of(found, FEW, SOON, [400, 431])


async def flood(who: Hostile, start: bytes, piece: bytes) -> None:
    """A hundred megabytes, then a byte now and then: until it is cut."""
    await who.send(start)
    for _ in range(MEGABYTES * (1 << 20) // len(piece)):
        if not await who.send(piece):
            return
        await trio.lowlevel.checkpoint()
    await who.drip(0.1)


HEADS = (
    Abuse("slow heads", slow_heads),
    Abuse("100 MB line", long_line),
    Abuse("100,000 fields", many_fields),
)
