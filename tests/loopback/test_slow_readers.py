"""A peer that reads steadily and slowly is not cut: what it acknowledged counts, not what the kernel took.

A send buffer of megabytes takes more only once a third of it is free, which at these paces is longer than
the limits that are set here.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from msgspec.structs import replace

from haclient.net.transport import SocketTransport
from haclient.types import Endpoint
from tests.support.loopback import endpoint_at, tcp_pair
from tests.support.running import Running, running

LIMIT = 1.5
"""Seconds: body_timeout, response_timeout."""

WHOLE = 64 << 20
LASTS = 5.0
"""Seconds that the slow one is watched for."""


Serve = Callable[[trio.SocketStream], Awaitable[None]]


async def read_slowly(stream: trio.SocketStream) -> None:
    """64 KiB four times a second: 256 KiB a second."""
    while True:
        await stream.receive_some(65536)
        await trio.sleep(0.25)


def with_small_window(sock: trio.socket.SocketType) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


async def connect_to(daemon: Running) -> trio.SocketStream:
    sock = trio.socket.socket()
    with_small_window(sock)
    await sock.connect((daemon.door.address, daemon.door.port))
    return trio.SocketStream(sock)


async def test_a_slow_client_gets_on_with_its_download() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % WHOLE)
        await stream.send_all(bytes(WHOLE))

    records = await watched(serve, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", is_download=True)
    assert records == []


async def test_a_slow_server_gets_on_with_its_upload() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await read_slowly(stream)

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % WHOLE
    assert await watched(serve, head + bytes(WHOLE), is_download=False) == []


async def watched(serve: Serve, says: bytes, *, is_download: bool) -> list[str]:
    """What came of the one request within a few seconds: nothing, as it should."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]

    async def quietly(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async with stream:
                await serve(stream)

    async def ask(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(says)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, quietly, listeners)
        async with running([Endpoint("127.0.0.1", port)], response_timeout=LIMIT) as daemon:
            [door] = daemon.sidecar.doors
            door.apply(replace(door.settings, body_timeout=LIMIT))
            stream = await connect_to(daemon)
            nursery.start_soon(ask, stream)
            with trio.move_on_after(LASTS):
                if is_download:
                    await read_slowly(stream)
                await trio.sleep_forever()
            told = [f"{row.requests} of {target}" for (_, target), row in daemon.book.rows.items()]
            await stream.aclose()
        nursery.cancel_scope.cancel()
    return told


async def test_what_was_not_acknowledged_is_told() -> None:
    with tcp_pair(receive_buffer=65536) as (client, server):
        transport = SocketTransport(client, endpoint_at(server))
        assert transport.unacknowledged() == 0
        while transport.send_now(bytes(65536)):
            pass
        held = transport.unacknowledged()
        assert 0 < held <= transport.bytes_sent
        with trio.fail_after(10):
            while transport.unacknowledged() >= held:
                await trio.lowlevel.wait_readable(server)
                assert server.recv(65536)
        transport.close()
        assert transport.unacknowledged() == 0
