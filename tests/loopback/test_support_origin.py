"""The real origin does what it is told; the tests that use it may rely on that."""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import h11
import pytest
import trio
import trustme

from haclient.core.detector import TcpInfo
from haclient.net.sockopts import tcp_info
from haclient.types import Endpoint
from tests.support.origin import Behaviour, Framing, Moment, Origin, Served
from tests.support.origin_process import origin_process

GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: 7\r\n\r\n"

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="classic BPF is Linux's")


@asynccontextmanager
async def serving(origin: Origin) -> AsyncIterator[Origin]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(origin.serve, "127.0.0.1:0")
            yield origin
            nursery.cancel_scope.cancel()


async def connect(endpoint: Endpoint) -> trio.SocketStream:
    return await trio.open_tcp_stream(endpoint.address, endpoint.port)


@asynccontextmanager
async def connected(origin: Origin) -> AsyncIterator[trio.SocketStream]:
    async with serving(origin), await connect(origin.endpoint) as stream:
        yield stream


def info_of(stream: trio.SocketStream) -> TcpInfo:
    info = tcp_info(stream.socket)  # type: ignore[arg-type]  # trio's has getsockopt too
    assert info is not None
    return info


async def exchange(
    stream: trio.abc.Stream, request: bytes = GET, method: bytes = b"GET"
) -> tuple[h11.Response, bytes]:
    """Sends a request, and reads its response as a client would."""
    await stream.send_all(request)
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    http.send(h11.EndOfMessage())
    head, content = None, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            return head, content


async def is_silent(stream: trio.abc.Stream, seconds: float = 0.3) -> bool:
    with trio.move_on_after(seconds):
        await stream.receive_some()
        return False
    return True


async def test_requests_are_answered_and_logged() -> None:
    async with serving(Origin("a")) as origin, await connect(origin.endpoint) as stream:
        for _ in range(2):
            head, content = await exchange(stream)
            assert content == b"a: GET /x\n"
            assert (b"x-request-id", b"7") in head.headers
        assert origin.log == [Served("7", "GET", "/x", 0, 1, is_whole=True)] * 2
        assert origin.executed == 2


@pytest.mark.parametrize("framing", Framing)
async def test_content(framing: Framing) -> None:
    behaviour = Behaviour(content_bytes=200_001, framing=framing, piece_bytes=70_000, pause=0.01)
    origin = Origin(behaviour=behaviour)
    async with connected(origin) as stream:
        _, content = await exchange(stream)
        assert len(content) == 200_001
        assert content.startswith(b"0123456789abcdef0")


async def test_a_range_to_the_end() -> None:
    behaviour = Behaviour(content_bytes=100, etag='"v1"')
    origin = Origin(behaviour=behaviour)
    async with serving(origin), await connect(origin.endpoint) as stream:
        whole = (await exchange(stream))[1]
        ranged = GET.replace(b"\r\n\r\n", b'\r\nRange: bytes=40-\r\nIf-Range: "v1"\r\n\r\n')
        head, content = await exchange(stream, ranged)
        assert (head.status_code, content) == (206, whole[40:])
        assert (b"content-range", b"bytes 40-99/100") in head.headers
        head, content = await exchange(stream, ranged.replace(b"v1", b"v0"))
        assert (head.status_code, content) == (200, whole)


async def test_behaviours_in_turn() -> None:
    async with serving(Origin(behaviour=Behaviour(status=204))) as origin:
        origin.upcoming += [Behaviour(status=503), Behaviour(think=0.2)]
        async with await connect(origin.endpoint) as stream:
            assert (await exchange(stream))[0].status_code == 503
            start = trio.current_time()
            assert (await exchange(stream))[0].status_code == 200
            assert trio.current_time() - start >= 0.2
            assert (await exchange(stream))[0].status_code == 204


async def test_an_unread_upload_shuts_the_window() -> None:
    behaviour = Behaviour(unread_for=1.0)
    content = bytes(16_000_000)
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content)
    async with serving(Origin(behaviour=behaviour, receive_buffer=32768)) as origin:
        async with await connect(origin.endpoint) as stream, trio.open_nursery() as nursery:

            async def upload() -> None:
                assert (await exchange(stream, head + content, b"PUT"))[0].status_code == 200

            nursery.start_soon(upload)
            await trio.sleep(0.3)
            if sys.platform == "linux":
                info = info_of(stream)
                assert (info.unacked, info.notsent_bytes > 0) == (0, True)
        assert origin.log[0].content_bytes == len(content)


async def test_one_connection_at_a_time() -> None:
    origin = Origin(is_single_threaded=True)
    async with connected(origin) as first, await connect(origin.endpoint) as second:
        await exchange(first)
        await second.send_all(GET)
        assert await is_silent(second)
        await first.aclose()
        assert not await is_silent(second, 5)


async def test_a_part_of_a_request_is_logged_as_such() -> None:
    async with serving(Origin()) as origin, await connect(origin.endpoint) as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123")
        await stream.send_eof()
        assert await stream.receive_some() == b""
        assert origin.log == [Served("", "PUT", "/", 3, 1, is_whole=False)]
        assert origin.executed == 0


@linux_only
class TestBlackhole:
    async def test_before_reading_on_a_fresh_connection(self) -> None:
        behaviour = Behaviour(blackhole_at=Moment.BEFORE_READING)
        origin = Origin(behaviour=behaviour)
        async with connected(origin) as stream:
            await stream.send_all(GET)
            assert await is_silent(stream)
            assert info_of(stream).unacked == 1
            with trio.move_on_after(0.3) as scope:
                await connect(origin.endpoint)
            assert scope.cancelled_caught  # the machine is dead, not the connection
            assert not origin.log
            origin.heal()
            assert not await is_silent(stream, 5)
            assert origin.executed == 1

    async def test_before_reading_on_a_used_connection(self) -> None:
        async with serving(Origin()) as origin, await connect(origin.endpoint) as stream:
            await exchange(stream)
            origin.behaviour = Behaviour(blackhole_at=Moment.BEFORE_READING)
            await stream.send_all(GET)
            assert await is_silent(stream)
            assert info_of(stream).unacked == 1
            assert origin.executed == 1

    async def test_after_reading(self) -> None:
        behaviour = Behaviour(blackhole_at=Moment.AFTER_READING)
        origin = Origin(behaviour=behaviour)
        async with connected(origin) as stream:
            await stream.send_all(GET)
            assert await is_silent(stream)
            assert info_of(stream).unacked == 0
            assert origin.executed == 1

    async def test_in_the_response(self) -> None:
        behaviour = Behaviour(content_bytes=1000, blackhole_at=Moment.IN_RESPONSE)
        origin = Origin(behaviour=behaviour)
        async with connected(origin) as stream:
            await stream.send_all(GET)
            received = b""
            while received.partition(b"\r\n\r\n")[2][499:] == b"":
                received += await stream.receive_some()
            assert await is_silent(stream)
            origin.heal()
            while len(received.partition(b"\r\n\r\n")[2]) < 1000:
                received += await stream.receive_some()


class TestProcess:
    async def test_it_is_told_what_to_do_and_asked_what_it_did(self) -> None:
        async with origin_process(name="b") as origin, await connect(origin.endpoint) as stream:
            await origin.set(Behaviour(status=503))
            await origin.set_next(Behaviour(content_bytes=5))
            assert (await exchange(stream))[1] == b"01234"
            assert (await exchange(stream))[0].status_code == 503
            assert await origin.executed() == 2
            assert (await origin.log())[0] == Served("7", "GET", "/x", 0, 1, is_whole=True)

    async def test_killed(self) -> None:
        async with origin_process() as origin, await connect(origin.endpoint) as stream:
            await exchange(stream)
            await origin.kill()
            assert await stream.receive_some() == b""
            with pytest.raises(OSError, match="connect"):
                await connect(origin.endpoint)

    @linux_only
    async def test_paused_it_hangs_and_its_kernel_acknowledges(self) -> None:
        async with origin_process() as origin, await connect(origin.endpoint) as stream:
            await exchange(stream)
            origin.pause()
            await stream.send_all(GET)
            assert await is_silent(stream)
            assert info_of(stream).unacked == 0
            origin.resume()
            assert not await is_silent(stream, 5)

    @linux_only
    async def test_blackholed_and_healed(self) -> None:
        async with origin_process() as origin, await connect(origin.endpoint) as stream:
            await exchange(stream)
            await origin.blackhole()
            await stream.send_all(GET)
            assert await is_silent(stream)
            await origin.heal()
            assert not await is_silent(stream, 5)
            assert await origin.executed() == 2

    async def test_tls(self, tmp_path: Path) -> None:
        ca = trustme.CA()
        issued = ca.issue_cert("a.test")
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        for blob in issued.cert_chain_pems:
            blob.write_to_path(cert, append=True)
        issued.private_key_pem.write_to_path(key)
        context = ssl.create_default_context()
        ca.configure_trust(context)
        async with (
            origin_process(cert_file=cert, key_file=key) as origin,
            trio.SSLStream(
                await connect(origin.endpoint), context, server_hostname="a.test"
            ) as stream,
        ):
            assert (await exchange(stream))[0].status_code == 200
