"""All doors of a process on real sockets: they open together, change together, and close in good order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from haclient.core.config import Bind, Config, ListenerSettings, TcpBind, UnixBind
from haclient.core.health import MAX_ENDPOINTS
from haclient.core.spec import Target
from haclient.net.listening import BindError, listen_on
from haclient.net.static_resolver import StaticResolver
from haclient.proxy.record import ExchangeRecord
from haclient.proxy.sidecar import Sidecar
from haclient.types import Endpoint
from tests.support.loopback import eventually
from tests.support.origin import Behaviour, Origin

ANY = TcpBind("127.0.0.1", 0)
GET = b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n"


class Nobody:
    """Knows no name."""

    async def resolve(self, host: str, port: int) -> Any:
        raise AssertionError(f"{host} was asked for")


class Scene:
    """A sidecar, and the one server behind it."""

    def __init__(
        self, sidecar: Sidecar, origin: Origin, target: Target, records: list[ExchangeRecord]
    ) -> None:
        self.sidecar = sidecar
        self.origin = origin
        self.target = target
        self.records = records

    def config(self, *binds: Bind, **settings: Any) -> Config:
        return config(self.target, binds, **settings)

    @property
    def addresses(self) -> list[str]:
        return [door.address for door in self.sidecar.doors]

    async def is_outstanding(self) -> None:
        """A request is with the server."""
        await eventually(lambda: self.origin.executed > 0, 5.0)

    async def connect(self, door: int = 0) -> trio.SocketStream:
        return await connect(self.addresses[door])


async def connect(address: str) -> trio.SocketStream:
    if address.startswith("unix:"):
        return await trio.open_unix_socket(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


def config(target: Target, binds: Sequence[Bind], **settings: Any) -> Config:
    listeners = tuple(
        ListenerSettings(name=f"door{number}", bind=bind, target="main")
        for number, bind in enumerate(binds)
    )
    return Config(targets={"main": target}, listeners=listeners, **settings)


@asynccontextmanager
async def scene(*binds: Bind, **settings: Any) -> AsyncIterator[Scene]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            origin = Origin("a")
            endpoint = await nursery.start(origin.serve, "127.0.0.2:0")
            target = Target(urls=[f"http://shop.internal:{endpoint.port}"])
            resolver = StaticResolver({("shop.internal", endpoint.port): (endpoint,)}, Nobody())
            faults: list[Exception] = []
            records: list[ExchangeRecord] = []
            sidecar = Sidecar(
                config(target, binds or (ANY,), **settings),
                nursery,
                resolver,
                tell=records.append,
                tell_fault=faults.append,
            )
            sidecar.start()
            try:
                yield Scene(sidecar, origin, target, records)
            finally:
                sidecar.gateway.engine.close()
                nursery.cancel_scope.cancel()
    assert faults == []


async def ask(stream: trio.SocketStream) -> bytes:
    await stream.send_all(GET)
    return bytes(await stream.receive_some())


# --- doors ----------------------------------------------------------------------------------------


async def test_doors_of_either_kind(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    async with scene(ANY, UnixBind(path)) as s:
        for door in (0, 1):
            async with await s.connect(door) as stream:
                assert (await ask(stream)).startswith(b"HTTP/1.1 200 OK")
        assert [record.listener for record in s.records] == ["door0", "door1"]
        assert s.records[0].client.startswith("127.0.0.1:")
        assert s.records[1].client == "unix"


async def test_all_open_or_none(tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    with listen_on(ANY, {}) as taken:
        bind = TcpBind("127.0.0.1", taken.getsockname()[1])
        with pytest.RaisesGroup(BindError, flatten_subgroups=True):
            async with scene(UnixBind(path), bind):
                pass
    # Nobody listens behind the first one's path: it can be had again.
    listen_on(UnixBind(path), {}).close()


# --- reload ---------------------------------------------------------------------------------------


async def test_a_listener_that_stays_keeps_its_socket_and_its_clients(tmp_path: Path) -> None:
    path = UnixBind(str(tmp_path / "door"))
    async with scene(ANY) as s, await s.connect() as stream:
        assert await ask(stream)
        address = s.addresses[0]
        s.sidecar.apply(s.config(ANY, path))
        assert s.addresses == [address, f"unix:{path.path}"]
        assert await ask(stream)
        async with await s.connect(1) as other:
            assert await ask(other)


async def test_a_listener_that_goes_finishes_what_is_outstanding(tmp_path: Path) -> None:
    path = UnixBind(str(tmp_path / "door"))
    async with scene(ANY, path) as s, await s.connect(1) as stream:
        s.origin.behaviour = Behaviour(think=0.5)
        await stream.send_all(GET)
        await s.is_outstanding()
        s.sidecar.apply(s.config(ANY))
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"Connection: close\r\n" in answer
        await eventually(lambda: not is_there(path.path), 5.0)
        with pytest.raises(OSError):
            await trio.open_unix_socket(path.path)
        async with await s.connect() as other:
            assert await ask(other)


async def test_a_reload_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    path = UnixBind(str(tmp_path / "door"))
    with listen_on(ANY, {}) as taken:
        bind = TcpBind("127.0.0.1", taken.getsockname()[1])
        async with scene(ANY) as s, await s.connect() as stream:
            before = s.sidecar.config
            with pytest.raises(BindError):
                s.sidecar.apply(s.config(path, bind))
            assert s.sidecar.config is before
            assert len(s.addresses) == 1
            assert await ask(stream)
    listen_on(path, {}).close()


# --- drain ----------------------------------------------------------------------------------------


async def test_failed_destinations_do_not_push_a_target_out_of_memory() -> None:
    async with scene(ANY) as s:
        async with await s.connect() as stream:
            assert await ask(stream)
        health, now = s.sidecar.gateway.engine.health, trio.current_time()
        (endpoint,) = s.sidecar.gateway.addresses_of_targets()
        for each in (endpoint, *(Endpoint("192.0.2.1", port) for port in range(MAX_ENDPOINTS))):
            health.report_failure(each, now, 0)
        assert health.is_held_down(endpoint, now)


async def test_a_drain_of_nobody_is_over_at_once(tmp_path: Path) -> None:
    path = UnixBind(str(tmp_path / "door"))
    async with scene(ANY, path) as s:
        addresses = s.addresses
        with trio.fail_after(2):
            assert await s.sidecar.drain() == 0
        assert s.sidecar.is_draining
        for address in addresses:
            with pytest.raises(OSError):
                await connect(address)


async def test_a_drain_lets_idle_clients_go_and_outstanding_ones_finish() -> None:
    ends: list[float] = []

    async def expect_end(stream: trio.SocketStream, answer: bytes) -> None:
        heard = b"".join([piece async for piece in stream])
        assert answer in heard
        ends.append(trio.current_time())

    async with scene(ANY) as s, await s.connect() as idle, await s.connect() as asking:
        s.origin.behaviour = Behaviour(think=2.0)
        await asking.send_all(GET)
        await s.is_outstanding()
        began_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_end, idle, b"")
            nursery.start_soon(expect_end, asking, b"Connection: close\r\n")
            assert await s.sidecar.drain() == 0
        assert [record.status for record in s.records] == [200]
        assert ends[0] - began_at < 1.5 < ends[1] - began_at


async def test_who_had_connected_before_the_drain_is_answered() -> None:
    async with scene(ANY) as s:
        stream = await s.connect()
        await stream.send_all(GET)
        assert await s.sidecar.drain() == 0
        async with stream:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")


async def test_a_drain_that_has_lasted_long_enough_cuts() -> None:
    async with scene(ANY, drain_timeout=0.5) as s:
        s.origin.behaviour = Behaviour(think=20.0)
        async with await s.connect() as stream:
            await stream.send_all(GET)
            await s.is_outstanding()
            assert await s.sidecar.drain() == 1
            await eventually(lambda: len(s.records) == 1, 2.0)
            assert s.records[0].detail == "haclient was told to end"
            assert await stream.receive_some() == b""


def is_there(path: str) -> bool:
    return os.path.exists(path)
