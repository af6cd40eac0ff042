"""What a client can do in its content."""

from __future__ import annotations

import trio

from tests.bench.abuse.heads import FEW, SOON, flood
from tests.bench.abuse.hostile import Hostile, head, hostiles
from tests.bench.abuse.stage import (
    BODY_TIMEOUT,
    CUT_WITHIN,
    Abuse,
    Outcome,
    Stage,
    outcome_of,
)

__all__ = ["CONTENT"]

UPLOAD_BYTES = 1 << 20
UPLOADS_BETWEEN = 0.008
"""Seconds: 125 MB/s, so that what is measured is what is stuck, not how fast it came."""

STUCK_FOR = 10.0
"""Seconds until the back-stop: all are there at once by then."""

PIECE = b"x" * 65536


def post(framing: str) -> bytes:
    """The head of one to a server that reads all of it."""
    return head(b"POST /sink") + f"{framing}\r\n\r\n".encode()


async def slow_bodies(stage: Stage) -> Outcome:
    """Content that is announced, begins and stops: short, long, chunked."""

    async def do(who: Hostile, number: int) -> None:
        framings = ("Content-Length: 9000", "Content-Length: 900000", "Transfer-Encoding: chunked")
        await who.send(post(framings[number % 3]) + b"3e8\r\n12345")
        # On time-out it is to be answered and let go; what comes after that finds nobody.
        await trio.sleep(BODY_TIMEOUT + 0.5)
        await who.drip(0.25)

    found = await hostiles(stage.door.port, stage.crowd, do)
    return outcome_of(found, stage.crowd, BODY_TIMEOUT + CUT_WITHIN, [408])


async def chunk_extensions(stage: Stage) -> Outcome:
    """An extension without an end, or one of 4 KiB on each chunk of a byte."""

    async def do(who: Hostile, number: int) -> None:
        start = post("Transfer-Encoding: chunked")
        if number % 2:
            await flood(who, start, (b"1;a=" + b"x" * 4096 + b"\r\n.\r\n") * 16)
        else:
            await flood(who, start + b"5;a=", PIECE)

    found = await hostiles(stage.door.port, FEW, do)
    return outcome_of(found, FEW, SOON, [400])


async def trailers(stage: Stage) -> Outcome:
    """Trailer fields without an end, or one of them."""

    async def do(who: Hostile, number: int) -> None:
        start = post("Transfer-Encoding: chunked") + b"5\r\n12345\r\n0\r\n"
        if number % 2:
            await flood(who, start, b"X-T: 1\r\n" * 8192)
        else:
            await flood(who, start + b"X-T: ", PIECE)

    found = await hostiles(stage.door.port, FEW, do)
    return outcome_of(found, FEW, SOON, [400, 431])


async def stuck_uploads(stage: Stage) -> Outcome:
    """A mebibyte each to a server that reads nothing; PUT, so that all of it is worth keeping."""

    async def do(who: Hostile, number: int) -> None:
        await who.send(
            head(f"PUT /stuck/{number}".encode()) + b"Content-Length: %d\r\n\r\n" % UPLOAD_BYTES
        )
        with trio.move_on_after(STUCK_FOR + 2 * CUT_WITHIN):
            for _ in range(UPLOAD_BYTES // len(PIECE)):
                await who.send(PIECE)
            while not who.statuses:  # noqa: ASYNC110
                await trio.sleep(0.05)
            who.cut_at = trio.current_time() - who.began_at

    found = await hostiles(stage.door.port, stage.crowd, do, UPLOADS_BETWEEN)
    return outcome_of(found, stage.crowd, STUCK_FOR + CUT_WITHIN, [504])


CONTENT = (
    Abuse("slow bodies", slow_bodies),
    Abuse("endless chunk extension", chunk_extensions),
    Abuse("endless trailers", trailers),
    Abuse("stuck 1 MiB uploads", stuck_uploads, target={"response_timeout": f"{STUCK_FOR:g}s"}),
)
