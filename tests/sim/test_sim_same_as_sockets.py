"""The same cases on the simulation and on loopback sockets: the fake behaves as the real thing.

The clock is the real one here, for autojump and sockets do not go together. On loopback the client's
end is trio's stream or haclient's own transport, the server's end trio's; where it is the sidecar's
door, it is the other way round.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest
import trio

from haclient.core.config import TcpBind
from haclient.net.dialer import SocketDialer
from haclient.net.listening import accept, listen_on
from haclient.net.transport import HangUp, SocketTransport
from haclient.types import Endpoint
from tests.sim.network import SimNetwork
from tests.sim.stream import SimStream

Stream = trio.abc.HalfCloseableStream

BULK = bytes(range(256)) * 65536
"""16 MiB: more than the kernel's and the simulation's buffers take."""


class World(Protocol):
    """Where a case is played."""

    async def listen(self) -> None: ...
    async def dial(self) -> Stream: ...
    async def accept(self) -> Stream: ...
    async def dial_nobody(self) -> Stream: ...
    async def aclose(self) -> None: ...


class Simulation:
    def __init__(self) -> None:
        self.network = SimNetwork()
        self.endpoint = Endpoint("10.0.0.1", 80)
        self.listener = self.network.listen(self.endpoint)

    async def listen(self) -> None:
        await trio.lowlevel.checkpoint()

    async def dial(self) -> Stream:
        return await self.network.connect(self.endpoint)

    async def accept(self) -> Stream:
        return await self.listener.accept()

    async def dial_nobody(self) -> Stream:
        return await self.network.connect(Endpoint("10.0.0.1", 81))

    async def aclose(self) -> None:
        await self.listener.aclose()


class Loopback:
    """Sockets; the client's end is trio's SocketStream."""

    async def listen(self) -> None:
        (self.listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = self.listener.socket.getsockname()[1]

    async def open(self, port: int) -> Stream:
        sock = trio.socket.socket()
        try:
            await sock.connect(("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def dial(self) -> Stream:
        return await self.open(self.port)

    async def accept(self) -> Stream:
        return await self.listener.accept()

    async def dial_nobody(self) -> Stream:
        sock = trio.socket.socket()
        with sock:
            await sock.bind(("127.0.0.1", 0))  # not listening, and nobody else gets the port
            return await self.open(sock.getsockname()[1])

    async def aclose(self) -> None:
        await self.listener.aclose()


class OurTransport(Loopback):
    """Sockets; the client's end is haclient's."""

    async def open(self, port: int) -> Stream:
        return await SocketDialer().connect(Endpoint("127.0.0.1", port))


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[World]:
    await world.listen()
    try:
        yield world
    finally:
        await world.aclose()


@pytest.fixture(
    params=[Simulation, Loopback, OurTransport], ids=["simulation", "trio sockets", "haclient"]
)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    with trio.fail_after(20):
        async with opened(request.param()) as ready:
            yield ready


async def connect(world: World) -> tuple[Stream, Stream]:
    client = await world.dial()
    return client, await world.accept()


async def reset(stream: Stream) -> None:
    """Closes with RST."""
    if isinstance(stream, SimStream):
        stream.reset()
        return
    assert isinstance(stream, trio.SocketStream)
    linger = struct.pack("ii", 1, 0)
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
    await stream.aclose()


async def send_until_broken(stream: Stream) -> None:
    async def send_on() -> None:
        while True:
            await stream.send_all(b"x")

    with pytest.raises(trio.BrokenResourceError):
        await send_on()


async def read_all(stream: Stream) -> bytes:
    data = bytearray()
    while piece := await stream.receive_some():
        data += piece
    return bytes(data)


async def test_echo(world: World) -> None:
    client, server = await connect(world)
    async with client, server:
        for message in (b"one", b"two"):
            await client.send_all(message)
            await server.send_all(await server.receive_some())
            assert await client.receive_some() == message


async def test_half_close(world: World) -> None:
    client, server = await connect(world)
    async with client, server:
        await client.send_all(b"request")
        await client.send_eof()
        assert await read_all(server) == b"request"
        await server.send_all(b"response")
        await server.aclose()
        assert await read_all(client) == b"response"
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"more")


async def test_back_pressure(world: World) -> None:
    client, server = await connect(world)
    async with client, server:
        is_sent = trio.Event()

        async def send() -> None:
            await client.send_all(BULK)
            is_sent.set()
            await client.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.sleep(0.1)
            assert not is_sent.is_set()  # nobody reads: the sender is held
            assert await read_all(server) == BULK


async def test_a_reset_is_told_after_what_came_before_it(world: World) -> None:
    client, server = await connect(world)
    async with client:
        await server.send_all(b"before")
        await reset(server)
        assert await client.receive_some() == b"before"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await expect_end_after_a_reset(world, client)
        with pytest.raises(trio.BrokenResourceError):
            await client.send_all(b"x")


async def expect_end_after_a_reset(world: World, client: Stream) -> None:
    """The kernel tells a reset once and then says "end"; our transport goes on saying "reset"."""
    if type(world) is Loopback:
        assert await client.receive_some() == b""
        return
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


async def test_a_reset_that_a_send_was_told_does_not_read_as_an_end(world: World) -> None:
    """The trap for responses that end with the connection."""
    client, server = await connect(world)
    async with client:
        await server.send_all(b"half of it")
        await reset(server)
        await send_until_broken(client)
        assert await client.receive_some() == b"half of it"
        await expect_end_after_a_reset(world, client)


async def test_close_with_something_unread_resets(world: World) -> None:
    client, server = await connect(world)
    async with client:
        await client.send_all(b"12")
        assert await server.receive_some(1) == b"1"
        await server.send_all(b"response")
        await server.aclose()
        assert await client.receive_some() == b"response"
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_sending_to_a_closed_peer_breaks(world: World) -> None:
    client, server = await connect(world)
    async with client:
        await server.aclose()
        assert await client.receive_some() == b""
        await send_until_broken(client)


async def test_a_cancelled_receive_loses_nothing(world: World) -> None:
    client, server = await connect(world)
    async with client, server:
        with trio.move_on_after(0.05):
            await client.receive_some()
        await server.send_all(b"late")
        assert await client.receive_some() == b"late"


async def test_a_waiting_receive_is_told_of_the_close(world: World) -> None:
    client, server = await connect(world)
    async with server, trio.open_nursery() as nursery:

        async def expect_closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.receive_some()

        nursery.start_soon(expect_closed)
        await trio.sleep(0.05)
        await client.aclose()


async def test_refused(world: World) -> None:
    with pytest.raises(ConnectionRefusedError):
        await world.dial_nobody()


async def test_the_kernel_connects_and_takes_bytes_before_accept(world: World) -> None:
    client = await world.dial()
    async with client:
        await client.send_all(b"early")
        server = await world.accept()
        async with server:
            assert await server.receive_some() == b"early"


# -- What the sidecar asks of a client's connection ------------------------------------------------


class OurDoor(Loopback):
    """Sockets; the accepted end is haclient's."""

    async def listen(self) -> None:
        self.listening = listen_on(TcpBind("127.0.0.1", 0), {})
        self.port = self.listening.getsockname()[1]
        await trio.lowlevel.checkpoint()

    async def accept(self) -> Stream:
        await trio.lowlevel.wait_readable(self.listening)
        return accept(self.listening)

    async def aclose(self) -> None:
        self.listening.close()
        await trio.lowlevel.checkpoint()


@pytest.fixture(params=[Simulation, OurDoor], ids=["simulation", "haclient"])
async def door(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    with trio.fail_after(20):
        async with opened(request.param()) as ready:
            yield ready


async def connect_to(door: World) -> tuple[Stream, SocketTransport | SimStream]:
    client, server = await connect(door)
    assert isinstance(server, SocketTransport | SimStream)
    return client, server


async def becomes(server: SocketTransport | SimStream, wanted: HangUp) -> None:
    """What was done at the other end takes a moment to get here."""
    while server.hang_up() is not wanted:  # noqa: ASYNC110  (the kernel tells nobody)
        await trio.sleep(0.001)


async def test_who_is_there_has_not_hung_up(door: World) -> None:
    client, server = await connect_to(door)
    async with client, server:
        assert server.hang_up() is HangUp.NONE
        await client.send_all(b"unread")
        await trio.sleep(0.01)
        assert server.hang_up() is HangUp.NONE


async def test_who_closed_one_side_is_still_there(door: World) -> None:
    client, server = await connect_to(door)
    async with client, server:
        await client.send_eof()
        await becomes(server, HangUp.HALF)
        assert await server.receive_some() == b""
        assert server.hang_up() is HangUp.HALF
        await server.send_all(b"answer")
        assert await client.receive_some() == b"answer"
        assert server.hang_up() is HangUp.HALF


async def test_who_closed_both_sides_is_gone(door: World) -> None:
    client, server = await connect_to(door)
    async with server:
        await client.send_all(b"unread")
        await client.aclose()
        await becomes(server, HangUp.GONE)


async def test_who_closed_after_half_closing_is_gone(door: World) -> None:
    client, server = await connect_to(door)
    async with server:
        await client.send_eof()
        await becomes(server, HangUp.HALF)
        await client.aclose()
        await becomes(server, HangUp.GONE)


async def test_who_closed_with_something_unread_has_reset(door: World) -> None:
    client, server = await connect_to(door)
    async with server:
        await server.send_all(b"unread")
        await trio.sleep(0.01)
        await client.aclose()
        await becomes(server, HangUp.RESET)


async def test_who_closed_behind_what_does_not_fit_is_gone(door: World) -> None:
    """Its FIN waits behind what nobody reads: a killed client in mid-upload looks like this."""
    client, server = await connect_to(door)
    async with server:
        await send_what_fits(client)
        assert server.hang_up() is HangUp.NONE
        await client.aclose()
        await becomes(server, HangUp.GONE)


async def test_who_half_closed_behind_what_does_not_fit_is_there(door: World) -> None:
    client, server = await connect_to(door)
    async with client, server:
        await send_what_fits(client)
        await client.send_eof()
        await trio.sleep(0.01)
        assert server.hang_up() is HangUp.NONE


async def send_what_fits(stream: Stream) -> None:
    with trio.move_on_after(0.1):
        await stream.send_all(BULK)


async def test_who_reset_has_reset(door: World) -> None:
    client, server = await connect_to(door)
    async with server:
        await reset(client)
        await becomes(server, HangUp.RESET)


async def test_two_ended_sides_are_a_hang_up(door: World) -> None:
    client, server = await connect_to(door)
    async with client, server:
        await client.send_eof()
        await server.send_eof()
        await becomes(server, HangUp.GONE)


async def test_our_own_close_is_a_hang_up(door: World) -> None:
    client, server = await connect_to(door)
    async with client:
        server.close()
        assert server.hang_up() is HangUp.GONE


async def test_our_reset_is_seen_behind_what_was_sent(door: World) -> None:
    client, server = await connect_to(door)
    async with client:
        await server.send_all(b"half of it")
        assert await client.receive_some() == b"half of it"
        server.reset()
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await server.receive_some()
        server.reset()


async def test_send_now_takes_what_the_buffers_hold(door: World) -> None:
    client, server = await connect_to(door)
    async with client, server:
        taken = 0
        while sent := server.send_now(BULK):
            taken += sent
        assert 0 < taken < len(BULK)
        assert server.bytes_sent == taken
        server.close()
        with pytest.raises(trio.ClosedResourceError):
            server.send_now(b"x")


async def test_send_now_to_who_has_reset_breaks(door: World) -> None:
    client, server = await connect_to(door)
    async with server:
        await reset(client)
        await becomes(server, HangUp.RESET)
        with pytest.raises(trio.BrokenResourceError):
            server.send_now(b"x")
