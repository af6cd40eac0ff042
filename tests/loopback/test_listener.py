"""Accepting: as many as there is room for, never a spin, and nobody promised is left out."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import cast

import pytest
import trio

from haclient.core.config import ListenerSettings, TcpBind
from haclient.net.listening import listen_on
from haclient.net.transport import SocketTransport
from haclient.proxy.door import Door, Inside
from haclient.proxy.listener import AT_ONCE, NO_DESCRIPTOR, NO_PLACE, Listener
from tests.support.loopback import eventually

ANY = TcpBind("127.0.0.1", 0)


class Served:
    """Connections that stay until they are told to go."""

    def __init__(self) -> None:
        self.transports: list[SocketTransport] = []
        self.most_inside = 0
        self.told: list[tuple[str, str]] = []

    def tell_full(self, door: Door, why: str) -> None:
        self.told.append((door.settings.name, why))

    async def serve(self, door: Door, transport: SocketTransport) -> None:
        # What is inside is only counted here.
        one = cast("Inside", transport)
        door.inside.add(one)
        self.transports.append(transport)
        self.most_inside = max(self.most_inside, len(door.inside))
        try:
            while await transport.receive_some():
                pass
        except trio.ClosedResourceError:
            pass
        finally:
            transport.close()
            door.inside.discard(one)


@asynccontextmanager
async def listening(
    max_connections: int = 100, room: int = 1000
) -> AsyncIterator[tuple[Listener, Served]]:
    door = Door(ListenerSettings(name="shop", bind=ANY, max_connections=max_connections))
    served = Served()
    sock = listen_on(ANY, {})
    listener = Listener(door, sock, served.serve, lambda: room, tell_full=served.tell_full)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.run, nursery)
            try:
                yield listener, served
            finally:
                nursery.cancel_scope.cancel()


@contextmanager
def clients(listener: Listener, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        address = listener.sock.getsockname()
        yield [stack.enter_context(socket.create_connection(address)) for _ in range(count)]


async def test_each_connection_is_served() -> None:
    async with listening() as (listener, served):
        with clients(listener, 5):
            await eventually(lambda: len(listener.door.inside) == 5, 5.0)
            assert listener.door.accepted == 5
        await eventually(lambda: not listener.door.inside, 5.0)
        assert not listener.door.is_paused
        assert served.told == []
        assert len(served.transports) == 5


@pytest.mark.parametrize("limit", [1, 3, AT_ONCE + 1])
async def test_a_crowd_passes_the_limit_in_turns(limit: int) -> None:
    """They come together, before any of them was seen inside."""
    async with listening(limit) as (listener, served):
        with clients(listener, limit + 5) as crowd:
            await eventually(lambda: listener.door.is_paused, 5.0)
            await eventually(lambda: len(listener.door.inside) == limit, 5.0)
            assert served.told == [("shop", NO_PLACE)]
            for client in crowd[:5]:
                client.close()
            await eventually(lambda: listener.door.accepted == limit + 5, 5.0)
        assert served.most_inside == limit


async def test_there_may_be_no_room_in_the_process() -> None:
    async with listening(room=0) as (listener, served):
        with clients(listener, 1):
            await eventually(lambda: listener.door.is_paused, 5.0)
            assert served.told == [("shop", NO_DESCRIPTOR)]
            assert listener.door.accepted == 0


async def test_a_raised_limit_is_in_force_at_once() -> None:
    async with listening(1) as (listener, _):
        with clients(listener, 3):
            await eventually(lambda: listener.door.is_paused, 5.0)
            listener.door.apply(ListenerSettings(name="shop", bind=ANY, max_connections=5))
            await eventually(lambda: listener.door.accepted == 3, 5.0)
            await eventually(lambda: not listener.door.is_paused, 5.0)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_descriptors_it_waits_and_does_not_spin() -> None:
    async with listening() as (listener, _):
        # Its task waits by now, and whatever trio opens is open.
        await trio.sleep(0.05)
        with socket.socket() as client:
            with no_descriptor_left():
                client.connect(listener.sock.getsockname())
                await eventually(lambda: listener.door.is_paused, 5.0)
                used = time.process_time()
                await trio.sleep(0.5)
                assert time.process_time() - used < 0.25
                assert listener.door.accepted == 0
            await eventually(lambda: listener.door.accepted == 1, 5.0)
            await eventually(lambda: not listener.door.is_paused, 5.0)


async def test_a_stop_takes_in_who_had_connected() -> None:
    async with listening() as (listener, _):
        with clients(listener, 3):
            listener.stop()
            await eventually(lambda: listener.has_stopped, 5.0)
            await eventually(lambda: len(listener.door.inside) == 3, 5.0)
            with pytest.raises(OSError):
                listener.sock.getsockname()


async def test_a_stop_while_it_waits_for_somebody() -> None:
    async with listening() as (listener, _):
        await trio.sleep(0.05)
        listener.stop()
        await eventually(lambda: listener.has_stopped, 5.0)


async def test_a_stop_while_it_is_full() -> None:
    """Nobody else may ever come: it must not wait for one."""
    async with listening(1) as (listener, _):
        with clients(listener, 2):
            await eventually(lambda: listener.door.is_paused, 5.0)
            listener.stop()
            await eventually(lambda: listener.has_stopped, 5.0)


async def test_a_stop_before_it_has_begun() -> None:
    door = Door(ListenerSettings(name="shop", bind=ANY))
    listener = Listener(door, listen_on(ANY, {}), Served().serve, lambda: 1)
    listener.stop()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await listener.run(nursery)
    assert listener.has_stopped
