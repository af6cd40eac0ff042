"""The demo's client, against a server that answers, breaks off, or is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from haclient.ops.demo_client import NoReply, Reply, send

ANSWER = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ngone"


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server's port, and what it received; it answers each connection and closes it."""
    received: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            received.append(await stream.receive_some())
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1], received
        nursery.cancel_scope.cancel()


async def test_one_request_and_its_answer() -> None:
    async with answering(ANSWER) as (port, received):
        reply = await send(port, "POST", "/new-orders/7", "POST-7", b"one")
    assert reply == Reply(502, "text/plain", b"gone")
    assert received == [
        b"POST /new-orders/7 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n"
        b"X-Request-Id: POST-7\r\nContent-Length: 3\r\n\r\none" % port
    ]


@pytest.mark.parametrize("length", range(len(ANSWER)))
async def test_an_answer_that_breaks_off_is_none(length: int) -> None:
    async with answering(ANSWER[:length]) as (port, received):
        with pytest.raises(NoReply, match=f"ended after {length} bytes, .* not whole"):
            await send(port, "GET", "/orders/7", "GET-7")
    assert len(received) == 1, "it tries once"


async def test_a_door_that_is_shut_is_told() -> None:
    with pytest.raises(NoReply, match=r"the connection broke: .* 127\.0\.0\.1"):
        await send(1, "GET", "/orders/7", "GET-7")  # tcpmux: nothing listens there
