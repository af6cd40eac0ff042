"""An answer that calls for another server's, and comes before the request's content is out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.types import Verdict
from tests.engine.world import TWO, A, B, World, world
from tests.sim.stream import SimStream

PIECES = 30
PIECE = 10
"""Bytes; no two pieces are alike, so that a hole shows."""

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nX-Origin: a\r\n\r\nbusy"


async def content() -> AsyncIterator[bytes]:
    """A piece each tenth of a second."""
    for number in range(PIECES):
        yield b"%010d" % number
        await trio.sleep(0.1)


WHOLE = b"".join(b"%010d" % number for number in range(PIECES))


async def busy(stream: SimStream) -> None:
    """Says no once the head is there, and reads on."""
    await stream.receive_some(65536)
    await stream.send_all(BUSY)
    while await stream.receive_some(65536):
        pass


def put(w: World, limit: int, kept: int) -> Target:
    """b is so far away that a could be sent `kept` pieces before the connection is there."""
    w.listen(A, busy)
    w.network.path(B.address).delay = kept * 0.1 / 2
    return Target(urls=TWO.urls, order="listed", replay_limit=limit, connect_timeout=10.0)


@pytest.mark.parametrize("limit", [100, 1000], ids=["beyond replay_limit", "within it"])
async def test_the_next_server_gets_all_of_it(autojump_clock: MockClock, limit: int) -> None:
    """What is left of the upload to the first one would be read from under the second one's."""
    async with world() as w:
        target = put(w, limit, 20)
        outcome = await w.ask("PUT", target=target, content=content())

        assert outcome.verdicts == [Verdict.ANSWERED, Verdict.ANSWERED]
        assert outcome.server == "b"
        (executed,) = w.b.executed
        assert executed.content == WHOLE
