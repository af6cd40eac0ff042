"""A forward listener on real sockets: what ends both sides of a tunnel; and what its clients must leave alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Config, ListenerSettings, Mode, TcpBind
from haclient.core.dns_answer import Answer, Record, RecordType, Reply
from haclient.core.dns_cache import MAX_ENTRIES
from haclient.core.question import Ask
from haclient.core.spec import Target
from haclient.core.url import parse_url
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.proxy.record import ExchangeRecord
from haclient.proxy.sidecar import Sidecar
from haclient.types import Endpoint
from tests.support.loopback import eventually
from tests.support.origin import Behaviour, Moment, Origin

WINDOW = 4.0
"""Seconds: what [defaults] has where nothing is said."""

QUICK = Behaviour()

ASKED = b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n"


ALLOWED = "10.0.0.0/8:443"


class NameServer:
    """Knows one server's name, and an address of whatever else it is asked for."""

    def __init__(self) -> None:
        self.is_silent = False

    async def __call__(self, ask: Ask) -> Reply:
        if self.is_silent:
            await trio.sleep_forever()
        address = "127.0.0.2" if ask.qname == "own.test." else "192.0.2.1"
        return Answer(0, (Record(ask.qname, RecordType.A, address, 9),))


class Nobody:
    """Knows no name."""

    async def resolve(self, host: str, port: int) -> Any:
        raise AssertionError(f"{host} was asked for")


@dataclass
class Scene:
    sidecar: Sidecar
    origin: Origin
    records: list[ExchangeRecord]

    @property
    def open_sides(self) -> tuple[int, int]:
        """Clients' connections that are open, and servers'."""
        pools = [pool.snapshot() for pool in self.sidecar.gateway.engine.pools.values()]
        leased = sum(one.leased for snapshot in pools for one in snapshot.endpoints)
        return len(self.sidecar.doors[0].inside), leased

    async def are_closed(self) -> None:
        """Both sides are, soon."""
        await eventually(lambda: self.open_sides == (0, 0), WINDOW + 1.0)


@asynccontextmanager
async def scene(behaviour: Behaviour = QUICK) -> AsyncIterator[Scene]:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            origin = Origin("a", behaviour)
            endpoint: Endpoint = await nursery.start(origin.serve, "127.0.0.2:0")
            listener = ListenerSettings(
                name="proxy",
                bind=TcpBind("127.0.0.1", 0),
                mode=Mode.FORWARD,
                allow=AllowList((parse_rule(f"127.0.0.2:{endpoint.port}"),)),
            )
            records: list[ExchangeRecord] = []
            faults: list[Exception] = []
            sidecar = Sidecar(
                Config(targets={}, listeners=(listener,)),
                nursery,
                StaticResolver({("shop.test", endpoint.port): (endpoint,)}, Nobody()),
                tell=records.append,
                tell_fault=faults.append,
            )
            sidecar.start()
            try:
                yield Scene(sidecar, origin, records)
            finally:
                sidecar.gateway.engine.close()
                nursery.cancel_scope.cancel()
    assert faults == []


async def tunnel(s: Scene) -> trio.SocketStream:
    host, _, port = s.sidecar.doors[0].address.rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    await stream.send_all(
        b"CONNECT shop.test:%d HTTP/1.1\r\nHost: x\r\n\r\n" % s.origin.endpoint.port
    )
    assert await stream.receive_some() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    return stream


async def test_bytes_go_both_ways() -> None:
    async with scene() as s:
        async with await tunnel(s) as stream:
            await stream.send_all(ASKED)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")
        await s.are_closed()
        assert [record.outcome.value for record in s.records] == ["tunnelled"]
        assert s.records[0].error == ""


@pytest.mark.parametrize("is_acknowledged", [True, False])
async def test_a_server_that_is_cut_off_ends_both_sides_within_the_window(
    is_acknowledged: bool,
) -> None:
    async with scene() as s:
        stream = await tunnel(s)
        async with stream:
            if is_acknowledged:
                s.origin.behaviour = Behaviour(blackhole_at=Moment.AFTER_READING)
            else:
                await stream.send_all(ASKED)
                await stream.receive_some()
                s.origin.blackhole()
            began_at = trio.current_time()
            await stream.send_all(ASKED)
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b"", "a reset is what it should be"
            await s.are_closed()
            assert trio.current_time() - began_at < WINDOW
        [record] = s.records
        assert record.error == "connection_terminated"
        assert "the server is dead" in record.detail
        assert [one.verdict.value for one in record.attempts] == ["dead"]


async def test_a_server_that_is_slow_is_waited_for() -> None:
    async with scene(Behaviour(think=WINDOW + 1.0)) as s, await tunnel(s) as stream:
        await stream.send_all(ASKED)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_client_that_dies_ends_both_sides(is_reset: bool) -> None:
    async with scene(Behaviour(think=60.0)) as s:
        stream = await tunnel(s)
        await stream.send_all(ASKED)
        await eventually(lambda: s.origin.executed == 1, 5.0)
        if is_reset:
            option = trio.socket.SO_LINGER
            stream.socket.setsockopt(trio.socket.SOL_SOCKET, option, b"\1\0\0\0\0\0\0\0")
            await stream.aclose()
            await s.are_closed()
            return
        # A close is a half-close for whoever gets it: the answer may still be wanted. Its kernel
        # says otherwise as soon as bytes of it come.
        await stream.aclose()
        s.origin.blackhole()
        await s.are_closed()


async def test_a_forbidden_port_is_not_dialled() -> None:
    async with scene() as s:
        host, _, port = s.sidecar.doors[0].address.rpartition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"CONNECT shop.test:1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 403 ")
        assert s.origin.log == []


async def ask(door: str, head: str) -> bytes:
    host, _, port = door.rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(head.encode() + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join([part async for part in stream])[9:12]


async def test_whoever_asks_for_many_names_pushes_out_no_targets(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("options no-aaaa\n")
    name_server = NameServer()
    resolver = SystemResolver(
        hosts_path=str(tmp_path / "hosts"),
        resolv_conf_path=str(tmp_path / "resolv.conf"),
        exchange=name_server,
    )
    async with trio.open_nursery() as nursery:
        origin = Origin("a", QUICK)
        endpoint: Endpoint = await nursery.start(origin.serve, "127.0.0.2:0")
        own = Target(urls=(parse_url(f"http://own.test:{endpoint.port}"),))
        listeners = (
            ListenerSettings(name="own", bind=TcpBind("127.0.0.1", 0), target="own"),
            ListenerSettings(
                name="proxy",
                bind=TcpBind("127.0.0.2", 0),
                mode=Mode.FORWARD,
                allow=AllowList((parse_rule(ALLOWED),)),
            ),
        )
        sidecar = Sidecar(
            Config(targets={"own": own}, listeners=listeners),
            nursery,
            resolver,
            tell=lambda _: None,
            tell_fault=lambda fault: pytest.fail(repr(fault)),
        )
        sidecar.start()
        doors = {door.settings.name: door.address for door in sidecar.doors}
        with trio.fail_after(60):
            assert await ask(doors["own"], "GET / HTTP/1.1") == b"200"
            sidecar.gateway.engine.shed_idle()  # while it is connected, its name is asked for anew
            for number in range(MAX_ENTRIES + 10):
                head = f"GET http://n{number}.test:443/ HTTP/1.1"
                assert await ask(doors["proxy"], head) == b"403"
            name_server.is_silent = True
            assert await ask(doors["own"], "GET / HTTP/1.1") == b"200"
        sidecar.gateway.engine.close()
        nursery.cancel_scope.cancel()
