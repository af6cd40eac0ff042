"""A request leaves nothing behind that only the garbage collector would free.

What is freed at once needs no memory for the next thousand requests, and no pause for looking through it: the
daemon's threshold for that is high. Without this, each request left 28 objects, about 5 KiB, and its content.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import trio

from tests.support.origin import Behaviour, Origin
from tests.support.running import connected, running

REQUESTS = 20

HEAD = b"%b / HTTP/1.1\r\nHost: x\r\n%b\r\n"
LINES = {
    "a GET": HEAD % (b"GET", b""),
    "a POST": HEAD % (b"POST", b"Content-Length: 5\r\n") + b"hello",
    "a long PUT": HEAD % (b"PUT", b"Content-Length: 50000\r\n") + b"x" * 50000,
    "a chunked PUT": HEAD % (b"PUT", b"Transfer-Encoding: chunked\r\n") + b"2\r\nhi\r\n0\r\n\r\n",
}


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def ask(stream: trio.SocketStream, request: bytes) -> None:
    """One request and its answer, which ends with the first line of content."""
    await stream.send_all(request)
    answer = b""
    while not (b"\r\n\r\n" in answer and answer.endswith(b"\n") and answer[-2:] != b"\r\n"):
        data = await stream.receive_some()
        assert data, answer
        answer += data


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("status", [200, 503])
async def test_a_request_is_no_garbage(kind: str, status: int, no_collector: None) -> None:
    """Nor one that two servers were asked for."""
    async with trio.open_nursery() as nursery:
        origins = [Origin("one", Behaviour(status=status)), Origin("two")]
        for origin in origins:
            await nursery.start(origin.serve)
        async with (
            running([origin.endpoint for origin in origins]) as daemon,
            await connected(str(daemon.door)) as stream,
        ):
            await ask(stream, LINES[kind])
            gc.collect()
            for _ in range(REQUESTS):
                await ask(stream, LINES[kind])
            found = gc.collect()
        nursery.cancel_scope.cancel()

    # What is not of each request may be there.
    assert found < REQUESTS
