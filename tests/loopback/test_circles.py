"""Two daemons whose targets are each other, where no Via tells them so: what ends that, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from haclient.core.config import Config, ListenerSettings, Mode, TcpBind
from haclient.core.spec import Target
from haclient.net import Resolution
from haclient.proxy.sidecar import Sidecar
from haclient.types import Endpoint

PLACES = 4
"""Of each one's address at the other."""

QUEUE_TIMEOUT = 1.5
"""Above connect_timeout: a connection that ends sooner without a byte is another server's turn in TCP mode."""

ROUNDS = 2 * PLACES + 1
"""Each daemon fills its places at the other, and one more waits for one."""


class Addresses:
    """Every host is one."""

    async def resolve(self, host: str, port: int) -> Resolution:
        return Resolution(host, (Endpoint(host, port),), "the test")


def listening(*, is_tcp: bool, own: int, other: int) -> Config:
    scheme = "tcp" if is_tcp else "http"
    settings: dict[str, Any] = {"mode": Mode.TCP} if is_tcp else {"via": False}
    target = Target(
        urls=f"{scheme}://127.0.0.1:{other}", max_connections=PLACES, queue_timeout=QUEUE_TIMEOUT
    )
    bind = TcpBind("127.0.0.1", own)
    listener = ListenerSettings(name="shop", bind=bind, target="other", **settings)
    return Config(targets={"other": target}, listeners=(listener,))


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@asynccontextmanager
async def circle(*, is_tcp: bool) -> AsyncIterator[tuple[list[Sidecar], trio.SocketStream]]:
    """Both of them, and a client of the first."""
    faults: list[Exception] = []
    one, other = free_ports()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            sidecars = [
                Sidecar(
                    listening(is_tcp=is_tcp, own=own, other=its),
                    nursery,
                    Addresses(),
                    tell=lambda record: None,
                    tell_fault=faults.append,
                )
                for own, its in ((one, other), (other, one))
            ]
            for each in sidecars:
                each.start()
            try:
                async with await trio.open_tcp_stream("127.0.0.1", one) as client:
                    yield sidecars, client
            finally:
                for each in sidecars:
                    each.gateway.engine.close()
                nursery.cancel_scope.cancel()
    assert faults == []


def rounds(sidecars: list[Sidecar]) -> int:
    return sum(door.requests for each in sidecars for door in each.doors)


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_request_ends_where_the_places_do(method: bytes) -> None:
    async with circle(is_tcp=False) as (sidecars, client):
        await client.send_all(method + b" /x HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n")
        answer = await client.receive_some()
        assert answer.startswith(b"HTTP/1.1 503 "), answer
        assert rounds(sidecars) == ROUNDS


async def test_a_connection_in_tcp_mode_ends_there_too() -> None:
    async with circle(is_tcp=True) as (sidecars, client):
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        assert rounds(sidecars) == ROUNDS
