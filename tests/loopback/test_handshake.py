"""Doors in TLS, on real sockets: served as plain ones are, and nobody in mid-handshake is in the way."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trustme
from msgspec.structs import replace

from haclient.core.config import Config, DoorTls
from haclient.proxy.record import Outcome, TurnedAway
from haclient.proxy.trust import TrustError
from tests.loopback.test_admission import request_id_in
from tests.loopback.test_credentials import whole_answer
from tests.loopback.test_sidecar import ANY, GET, Scene, scene
from tests.support.certificates import write_ca
from tests.support.loopback import eventually
from tests.support.origin import Behaviour

CA = trustme.CA()


def write_certificate(path: Path, ca: trustme.CA = CA) -> None:
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "door.pem"
    write_certificate(file)
    return file


def secured(s: Scene, path: Path, **settings: object) -> Config:
    config = s.config(ANY)
    tls = DoorTls(cert_file=str(path))
    listener = replace(config.listeners[0], tls=tls, **settings)
    return replace(config, listeners=(listener,))


@asynccontextmanager
async def door(path: Path, **settings: object) -> AsyncIterator[tuple[Scene, list[TurnedAway]]]:
    turned_away: list[TurnedAway] = []
    async with scene(ANY) as s:
        s.sidecar.gateway.tell_turned_away = turned_away.append
        s.sidecar.apply(secured(s, path, **settings))
        yield s, turned_away


async def connect(s: Scene, ca: trustme.CA = CA) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    stream = trio.SSLStream(await s.connect(), context, server_hostname="localhost")
    await stream.do_handshake()
    return stream


async def say(stream: trio.SSLStream[trio.SocketStream], head: bytes = GET) -> bytes:
    await stream.send_all(head)
    return await whole_answer(stream)


async def test_requests_one_after_another_and_ahead(path: Path) -> None:
    async with door(path) as (s, turned_away):
        stream = await connect(s)
        for _ in range(3):
            assert (await say(stream)).startswith(b"HTTP/1.1 200 OK")
        await stream.send_all(GET * 20)
        for _ in range(20):
            assert (await whole_answer(stream)).startswith(b"HTTP/1.1 200 OK")
        await stream.transport_stream.aclose()
        assert (turned_away, s.origin.executed) == ([], 23)
        await eventually(lambda: not s.sidecar.doors[0].inside, 5.0)


async def test_a_last_answer_ends_in_good_order(path: Path) -> None:
    async with door(path) as (s, _):
        stream = await connect(s)
        answer = await say(stream, b"GET /x HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        assert b"Connection: close" in answer
        assert await stream.receive_some() == b"", "close_notify"
        await stream.transport_stream.aclose()


async def test_long_content_both_ways(path: Path) -> None:
    async with door(path) as (s, _):
        s.origin.behaviour = Behaviour(content_bytes=8 << 20)
        stream = await connect(s)
        head = b"POST /x HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n" % (4 << 20)
        await stream.send_all(head)
        await stream.send_all(bytes(4 << 20))
        answer = await whole_answer(stream)
        assert len(answer) > 8 << 20
        assert s.records[-1].request_bytes == 4 << 20
        await stream.transport_stream.aclose()


async def test_a_client_that_does_not_read_is_waited_for(path: Path) -> None:
    """The server is read no faster than the client: memory holds a piece, whatever the answer."""
    async with door(path) as (s, _):
        s.origin.behaviour = Behaviour(content_bytes=64 << 20)
        stream = await connect(s)
        await stream.send_all(GET)
        (inside,) = s.sidecar.doors[0].inside
        transport = inside.transport  # type: ignore[attr-defined]
        sent = -1
        while sent != transport.bytes_sent:
            sent = transport.bytes_sent
            await trio.sleep(0.3)
        assert sent < 32 << 20
        assert len(transport._pending) <= 70_000
        got = 0
        while got < 64 << 20:
            got += len(await stream.receive_some())
        await stream.transport_stream.aclose()


@pytest.mark.parametrize("has_ended", [True, False])
async def test_a_client_that_leaves_is_noticed(has_ended: bool, path: Path) -> None:
    async with door(path) as (s, _):
        s.origin.behaviour = Behaviour(think=20)
        stream = await connect(s)
        await stream.send_all(GET)
        await s.is_outstanding()
        if has_ended:
            with trio.move_on_after(0.2):
                await stream.aclose()
        await stream.transport_stream.aclose()
        await eventually(lambda: bool(s.records), 5.0)
        assert s.records[0].outcome is Outcome.CLIENT_GONE


async def test_an_upload_that_is_cut_short_is_none(path: Path) -> None:
    """A FIN without close_notify may be a stranger's."""
    async with door(path) as (s, _):
        stream = await connect(s)
        await stream.send_all(b"POST /x HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nhalf")
        await stream.transport_stream.send_eof()
        await eventually(lambda: bool(s.records), 5.0)
        assert (s.records[0].outcome, s.origin.executed) == (Outcome.CLIENT_GONE, 0)
        await stream.transport_stream.aclose()


async def test_an_idle_connection_is_ended(path: Path) -> None:
    async with door(path, idle_timeout=0.3) as (s, _):
        stream = await connect(s)
        assert (await say(stream)).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        await stream.transport_stream.aclose()


async def test_http_without_tls_is_told_so(path: Path) -> None:
    async with door(path) as (s, turned_away), await s.connect() as stream:
        await stream.send_all(GET)
        answer = b"".join([bytes(piece) async for piece in stream])
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"this door speaks TLS: write https:// in place of http://" in answer
        assert [one.detail for one in turned_away] == ["http request"]
        assert turned_away[0].request_id == request_id_in(answer)
        assert s.sidecar.doors[0].turned_away == {"tls": 1}


async def test_a_scan_is_not_worth_a_line(path: Path) -> None:
    async with door(path) as (s, turned_away):
        async with await s.connect():
            pass
        await eventually(lambda: s.sidecar.doors[0].accepted == 1, 5.0)
        await eventually(lambda: not s.sidecar.doors[0].inside, 5.0)
        assert turned_away == []


async def test_a_handshake_has_its_time(path: Path) -> None:
    async with door(path, header_timeout=0.3) as (s, turned_away), await s.connect() as stream:
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        await eventually(lambda: bool(turned_away), 5.0)
        assert turned_away[0].detail == "the handshake took too long"


async def test_a_drain_does_not_wait_for_handshakes(path: Path) -> None:
    async with door(path) as (s, _), await s.connect():
        await eventually(lambda: bool(s.sidecar.doors[0].inside), 5.0)
        assert s.sidecar.cut() == 0
        await eventually(lambda: not s.sidecar.doors[0].inside, 5.0)


async def test_a_thousand_half_open_handshakes_are_in_nobodys_way(path: Path) -> None:
    async with door(path, max_connections=300) as (s, _), AsyncExitStack() as crowd:
        for number in range(1000):
            one = await crowd.enter_async_context(await s.connect())
            if number % 2:
                await one.send_all(b"\x16\x03\x01\x02\x00")  # a hello begins
        with trio.fail_after(10):
            stream = await connect(s)
            assert (await say(stream)).startswith(b"HTTP/1.1 200 ")
        assert len(s.sidecar.doors[0].inside) <= 300
        await stream.transport_stream.aclose()


# --- reload ---------------------------------------------------------------------------------------


async def test_a_reload_takes_another_certificate(path: Path) -> None:
    other = trustme.CA()
    async with door(path) as (s, _):
        before = await connect(s)
        assert s.sidecar.apply(secured(s, path)) == ()
        write_certificate(path, other)
        assert s.sidecar.apply(secured(s, path)) == ("listener door0: certificates",)
        after = await connect(s, other)
        for stream in (before, after):
            assert (await say(stream)).startswith(b"HTTP/1.1 200 ")
            await stream.transport_stream.aclose()


async def test_a_broken_certificate_changes_nothing(path: Path) -> None:
    async with door(path) as (s, _):
        path.write_text("x")  # noqa: ASYNC240
        with pytest.raises(
            TrustError, match=r"^listener door0: the certificate file .* not valid PEM"
        ):
            s.sidecar.apply(secured(s, path))
        stream = await connect(s)
        assert (await say(stream)).startswith(b"HTTP/1.1 200 ")
        await stream.transport_stream.aclose()


async def test_a_door_that_is_plain_again(path: Path) -> None:
    async with door(path) as (s, _):
        s.sidecar.apply(s.config(ANY))
        async with await s.connect() as stream:
            await stream.send_all(GET)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")


async def test_clients_authorities(path: Path, tmp_path: Path) -> None:
    async with scene(ANY) as s:
        config = secured(s, path)
        tls = DoorTls(cert_file=str(path), client_ca_file=write_ca(CA, tmp_path / "ca.pem"))
        listener = replace(config.listeners[0], tls=tls)
        s.sidecar.apply(replace(config, listeners=(listener,)))
        context = ssl.create_default_context()
        CA.configure_trust(context)
        CA.issue_cert("job@haclient.test").configure_cert(context)
        stream = trio.SSLStream(await s.connect(), context, server_hostname="localhost")
        assert (await say(stream)).startswith(b"HTTP/1.1 200 ")
        await stream.transport_stream.aclose()
        nobody = await connect(s)  # TLS 1.3: the refusal comes behind the handshake
        with pytest.raises(trio.BrokenResourceError):
            await say(nobody)
        await nobody.transport_stream.aclose()
        assert s.origin.executed == 1
