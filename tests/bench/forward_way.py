"""A daemon's forward listener in the way of the failover bench: a name with addresses, and tunnels to them.

A name has addresses and no ports, so all servers listen on one port, each on a loopback address of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

import haclient
from haclient.types import Endpoint, Order
from tests.support.forward_proxy import ForwardProxy, forward_proxy, name_server
from tests.support.origin import Behaviour, Moment, Origin
from tests.support.origin_process import origin_process
from tests.support.sidecar import free_port

__all__ = ["NAME", "TUNNELS", "client_through", "next_bind", "way_to"]

NAME = "orders.test"

PORT = free_port()
_numbers = itertools.count(1)

ASKED = b"GET /orders/7 HTTP/1.1\r\nHost: orders.test\r\n\r\n"

PATIENCE = 30.0
"""Seconds after which a tunnel counts as never closed."""


def next_bind() -> str:
    """An address that nobody has, and the one port."""
    number = next(_numbers)
    return f"127.3.{number >> 8}.{number & 255}:{PORT}"


@contextlib.contextmanager
def _proxy(addresses: Sequence[str], order: str) -> Iterator[ForwardProxy]:
    more = f'[defaults]\norder = "{order}"\n[log]\nlevel = "error"\n'
    with (
        tempfile.TemporaryDirectory(prefix="forward-") as folder,
        name_server({NAME: addresses}) as names,
        forward_proxy(Path(folder), ["127.0.0.0/8:*"], names, more=more) as proxy,
    ):
        yield proxy


@asynccontextmanager
async def way_to(
    *endpoints: Endpoint, order: Order, ready: Callable[[], Awaitable[None]]
) -> AsyncIterator[ForwardProxy]:
    """A daemon for which the name has these addresses; started and ended in a thread."""
    running = _proxy([endpoint.address for endpoint in endpoints], order.value)
    proxy = await trio.to_thread.run_sync(running.__enter__)
    try:
        await ready()
        yield proxy
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(running.__exit__, None, None, None)


@asynccontextmanager
async def client_through(
    *endpoints: Endpoint, order: Order, ready: Callable[[], Awaitable[None]]
) -> AsyncIterator[tuple[haclient.Client, str]]:
    """A client that tries once, through such a daemon; and the URL of the server."""
    async with (
        way_to(*endpoints, order=order, ready=ready) as proxy,
        haclient.Client(max_attempts=1, response_timeout=60.0, proxy=proxy.url) as client,
    ):
        # The daemon's first look-up brings the modules for it along, 50 ms once in its life.
        await client.get(f"http://nobody.test:{PORT}/")
        yield client, f"http://{NAME}:{PORT}"


# --- tunnels --------------------------------------------------------------------------------------


class Tunnel:
    """One, opened by CONNECT; and the process that it goes through."""

    def __init__(self, stream: trio.SocketStream, pid: int, before: int) -> None:
        self.stream = stream
        self._pid = pid
        self._before = before

    async def ask(self) -> None:
        """A request, and time for it to arrive."""
        await self.stream.send_all(ASKED)
        await trio.sleep(0.3)

    async def ended(self) -> None:
        """Returns once the client's side has ended, and the daemon's sockets of both are closed."""
        with trio.fail_after(PATIENCE):
            with contextlib.suppress(trio.BrokenResourceError):
                while await self.stream.receive_some(65536):
                    pass
            await self.stream.aclose()
            await self.is_gone()

    async def is_gone(self) -> None:
        """Returns once the daemon has neither side's socket any more."""
        with trio.fail_after(PATIENCE):
            while sockets(self._pid) > self._before:  # noqa: ASYNC110  (another process)
                await trio.sleep(0.005)


def sockets(pid: int) -> int:
    """How many a process has open."""
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return found


@asynccontextmanager
async def tunnel_to(
    endpoint: Endpoint, ready: Callable[[], Awaitable[None]]
) -> AsyncIterator[Tunnel]:
    """Opens one through a daemon of its own."""
    async with way_to(endpoint, order=Order.LISTED, ready=ready) as proxy:
        before = sockets(proxy.process.pid)
        stream = await trio.open_tcp_stream("127.0.0.1", proxy.port)
        async with stream:
            await stream.send_all(
                b"CONNECT %b:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (NAME.encode(), PORT)
            )
            head = await stream.receive_some()
            assert head.startswith(b"HTTP/1.1 200 "), head
            yield Tunnel(stream, proxy.process.pid, before)


Ready = Callable[[], Awaitable[None]]
Serve = Callable[[Behaviour], Awaitable[Origin]]


async def killed(serve: Serve, ready: Ready) -> float:
    async with origin_process(next_bind()) as doomed:
        await doomed.set(Behaviour(think=60))
        async with tunnel_to(doomed.endpoint, ready) as tunnel:
            await tunnel.ask()
            at = trio.current_time()
            await doomed.kill()
            await tunnel.ended()
            return trio.current_time() - at


async def blackholed_thinking(serve: Serve, ready: Ready) -> float:
    dead = await serve(Behaviour(blackhole_at=Moment.AFTER_READING))
    async with tunnel_to(endpoint_of(dead), ready) as tunnel:
        at = trio.current_time()
        await tunnel.ask()
        await tunnel.ended()
        return trio.current_time() - at


async def blackholed_before_ack(serve: Serve, ready: Ready) -> float:
    dead = await serve(Behaviour())
    async with tunnel_to(endpoint_of(dead), ready) as tunnel:
        await tunnel.ask()
        await tunnel.stream.receive_some()
        dead.blackhole()
        at = trio.current_time()
        await tunnel.ask()
        await tunnel.ended()
        return trio.current_time() - at


async def client_killed(serve: Serve, ready: Ready) -> float:
    slow = await serve(Behaviour(think=60))
    async with tunnel_to(endpoint_of(slow), ready) as tunnel:
        await tunnel.ask()
        at = trio.current_time()
        linger_reset(tunnel.stream)
        await tunnel.stream.aclose()
        await tunnel.is_gone()
        return trio.current_time() - at


async def alive_and_silent(serve: Serve, ready: Ready) -> float:
    slow = await serve(Behaviour(think=10.0))
    async with tunnel_to(endpoint_of(slow), ready) as tunnel:
        at = trio.current_time()
        await tunnel.ask()
        assert (await tunnel.stream.receive_some()).startswith(b"HTTP/1.1 200")
        return trio.current_time() - at


def endpoint_of(origin: Origin) -> Endpoint:
    assert origin.endpoint is not None
    return origin.endpoint


def linger_reset(stream: trio.SocketStream) -> None:
    """As a kernel ends the connections of a process that is killed with bytes unread."""
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


TUNNELS: dict[str, tuple[Callable[[Serve, Ready], Awaitable[float]], str]] = {
    "tunnel, server process killed": (killed, "<= 0.05 s"),
    "tunnel, blackholed, acknowledged, thinking": (blackholed_thinking, "inside 4 s"),
    "tunnel, blackholed before the ACK": (blackholed_before_ack, "inside 4 s"),
    "tunnel, client gone": (client_killed, "<= 0.05 s"),
    "tunnel, 10 s of silence": (alive_and_silent, "waited for"),
}
"""Seconds until both sides are closed, but for the last one: until the answer."""
