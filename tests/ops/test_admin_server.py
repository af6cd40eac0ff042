"""The admin endpoint's sockets and connections: private, few, and nobody waits for the slow."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from haclient.core.config import Bind, InheritedBind, TcpBind, UnixBind
from haclient.net.listening import BindError
from haclient.ops import admin_server
from haclient.ops.admin_server import (
    HEAD_TIMEOUT,
    MAX_CONNECTIONS,
    AdminServer,
    open_private,
)
from haclient.ops.feed import MAX_READERS
from haclient.ops.status_report import OrderReport
from haclient.types import Endpoint
from tests.support.loopback import eventually
from tests.support.running import Answer, asked, connected, running

NOBODY_THERE = Endpoint("127.0.0.1", 9)

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


# Who may connect


def test_a_unix_socket_is_its_owner_s_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    before = os.umask(0o022)
    try:
        with open_private(UnixBind(str(path))):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


@pytest.mark.parametrize("bind", [TcpBind("0.0.0.0", 0), InheritedBind("admin")])
def test_one_that_others_could_reach(bind: Bind) -> None:
    with pytest.raises(
        BindError, match=r"can be reached from other machines: bind it to 127\.0\.0"
    ):
        open_private(bind)


async def test_an_address_in_use() -> None:
    async with running([NOBODY_THERE]) as daemon:
        port = int(daemon.admin.address.rpartition(":")[2])
        with pytest.raises(BindError, match=f"127.0.0.1:{port}"):
            open_private(TcpBind("127.0.0.1", port))


async def test_without_settings_there_is_none(nursery: trio.Nursery) -> None:
    async with running([NOBODY_THERE]) as daemon:
        other = AdminServer(daemon, daemon.book, daemon.admin._log)
        other.start(None, nursery)
        assert other.address == ""
        assert not nursery.child_tasks


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with running([NOBODY_THERE], bind=UnixBind(str(path))) as daemon:
        assert daemon.admin.address == f"unix:{path}"
        assert (await asked(daemon.admin.address, "GET /healthz")).status == 200
    assert not path.exists()


# Connections


async def answers(stream: trio.SocketStream, count: int) -> bytes:
    """What has come when `count` heads are there."""
    data = b""
    with trio.fail_after(10):
        while data.count(b"HTTP/1.1 ") < count or not data.endswith(b"\n"):
            data += await stream.receive_some()
    return data


async def until_closed(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some():
            data += piece
    return data


async def test_one_connection_for_many_requests() -> None:
    async with running([NOBODY_THERE]) as daemon, await connected(daemon.admin.address) as stream:
        await stream.send_all(HEALTHZ)
        first = await answers(stream, 1)
        await stream.send_all(HEALTHZ + HEALTHZ)
        more = await answers(stream, 2)
        await stream.send_all(HEALTHZ.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        last = await until_closed(stream)

    assert b"Connection: close" not in first + more
    assert b"Connection: close" in last


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 400, id="bare LF"),
        pytest.param(b"GET /healthz HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 9000, 431, id="long head"),
        pytest.param(b"GET /" + b"x" * 9000, 414, id="long line"),
        pytest.param(
            b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            400,
            id="two framings",
        ),
        pytest.param(
            b"POST /drain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            400,
            id="garbled chunk",
        ),
        pytest.param(
            b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n"
            + b"x" * 70000,
            413,
            id="content",
        ),
    ],
)
async def test_bad_input(data: bytes, status: int) -> None:
    async with running([NOBODY_THERE]) as daemon:
        async with await connected(daemon.admin.address) as stream:
            await stream.send_all(data)
            answer = Answer(await until_closed(stream))
        assert daemon.orders == []
        assert (answer.status, answer.fields["connection"]) == (status, "close")
        assert answer.json["status"] == status
        assert (await asked(daemon.admin.address, "GET /healthz")).status == 200


async def test_content_is_read_and_dropped() -> None:
    async with running([NOBODY_THERE]) as daemon, await connected(daemon.admin.address) as stream:
        head = b"POST /drain HTTP/1.1\r\nHost: localhost\r\n"
        chunks = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        await stream.send_all(head + b"Content-Length: 2\r\n\r\n{}" + head + chunks + HEALTHZ)
        data = await answers(stream, 3)

    assert daemon.orders == ["drain", "drain"]
    assert data.count(b"HTTP/1.1 202 ") == 2
    assert data.endswith(b"the loop runs\n")


async def test_content_that_waits_for_100_is_not_waited_for() -> None:
    async with running([NOBODY_THERE]) as daemon, await connected(daemon.admin.address) as stream:
        await stream.send_all(
            b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        answer = Answer(await until_closed(stream))

    assert (answer.status, answer.fields["connection"]) == (202, "close")


async def test_who_leaves_in_the_middle_costs_nothing() -> None:
    async with running([NOBODY_THERE]) as daemon:
        for data in (
            b"",
            b"GET /st",
            b"POST /drain HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
        ):
            stream = await connected(daemon.admin.address)
            await stream.send_all(data)
            await stream.aclose()
        await eventually(lambda: daemon.admin.connections == 0, within=5)
        assert daemon.orders == []
        assert "fault" not in daemon.logged


async def test_who_sends_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "HEAD_TIMEOUT", 0.05)
    async with running([NOBODY_THERE]) as daemon:
        idle = await connected(daemon.admin.address)
        slow = await connected(daemon.admin.address)
        await slow.send_all(b"GET /healthz HTTP/1.1\r\n")
        assert [await until_closed(each) for each in (idle, slow)] == [b"", b""]
        for each in (idle, slow):
            await each.aclose()


async def test_no_more_connections_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "MAX_CONNECTIONS", MAX_READERS)
    async with running([NOBODY_THERE]) as daemon:
        # Each wants something: events.
        streams = [await connected(daemon.admin.address) for _ in range(MAX_READERS)]
        for stream in streams:
            await stream.send_all(HEALTHZ.replace(b"healthz", b"events"))
        await eventually(lambda: daemon.book.feed.readers == MAX_READERS, within=5)
        waiting = await connected(daemon.admin.address)
        await waiting.send_all(HEALTHZ)
        with trio.move_on_after(0.2) as patience:
            await waiting.receive_some()
        assert patience.cancelled_caught
        assert daemon.admin.connections == MAX_READERS

        await streams[0].aclose()
        assert b"HTTP/1.1 200 " in await answers(waiting, 1)
        for stream in (*streams, waiting):
            await stream.aclose()


async def test_a_crowd_that_says_nothing_makes_way() -> None:
    async with running([NOBODY_THERE]) as daemon:
        crowd = [await connected(daemon.admin.address) for _ in range(4 * MAX_CONNECTIONS)]
        asks = await connected(daemon.admin.address)
        with trio.fail_after(HEAD_TIMEOUT / 2):
            await asks.send_all(HEALTHZ)
            assert b"HTTP/1.1 200 " in await answers(asks, 1)
        assert daemon.admin.connections <= MAX_CONNECTIONS
        for stream in (*crowd, asks):
            await stream.aclose()


async def test_a_reader_of_events_that_takes_nothing_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admin_server, "SEND_TIMEOUT", 0.1)
    async with running([NOBODY_THERE]) as daemon:
        feed = daemon.book.feed
        stream = await connected(daemon.admin.address)
        await stream.send_all(HEALTHZ.replace(b"healthz", b"events"))
        await eventually(lambda: feed.readers == 1, within=5)
        for _ in range(100):
            feed.publish("failover", "x" * 200_000)
        await eventually(lambda: feed.readers == 0, within=10)
        await eventually(lambda: daemon.admin.connections == 0, within=5)
        await stream.aclose()
        assert "fault" not in daemon.logged


async def test_a_reader_of_events_that_resets() -> None:
    async with running([NOBODY_THERE]) as daemon:
        stream = await connected(daemon.admin.address)
        await stream.send_all(HEALTHZ.replace(b"healthz", b"events"))
        await eventually(lambda: daemon.book.feed.readers == 1, within=5)
        linger = struct.pack("ii", 1, 0)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await stream.aclose()
        await eventually(lambda: daemon.book.feed.readers == 0, within=5)
        await eventually(lambda: daemon.admin.connections == 0, within=5)
        assert "fault" not in daemon.logged


async def test_without_a_descriptor_it_waits() -> None:
    async with running([NOBODY_THERE]) as daemon:
        host, _, port = daemon.admin.address.rpartition(":")
        with trio.socket.socket() as sock, no_descriptor_left():
            await sock.connect((host, int(port)))
            await sock.send(HEALTHZ)
            with trio.move_on_after(0.3) as patience:
                await sock.recv(1)
            assert patience.cancelled_caught
            resource.setrlimit(resource.RLIMIT_NOFILE, LIMITS)
            with trio.fail_after(10):
                assert (await sock.recv(13)).startswith(b"HTTP/1.1 200")
        assert daemon.admin.connections <= 1


LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Whatever wants one gets EMFILE, until the limit is set back."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, LIMITS[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, LIMITS)


async def test_a_quiet_stream_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_server, "STILL_HERE", 0.02)
    async with running([NOBODY_THERE]) as daemon, await connected(daemon.admin.address) as stream:
        await stream.send_all(HEALTHZ.replace(b"healthz", b"events"))
        data = b""
        with trio.fail_after(10):
            while data.count(b"\n: still here\n\n") < 2:
                data += await stream.receive_some()


async def test_a_fault_of_ours_costs_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running([NOBODY_THERE]) as daemon:

        def broken() -> OrderReport:
            raise ZeroDivisionError("a fault")

        monkeypatch.setattr(daemon, "reload", broken)
        answer = await asked(daemon.admin.address, "POST /reload")
        assert answer.status == 500
        assert 'please report it error="ZeroDivisionError: a fault"' in daemon.logged
        assert (await asked(daemon.admin.address, "GET /healthz")).status == 200
