"""TLS towards clients, on real sockets: the handshake, both directions, and every kind of end."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from haclient.core.config import DoorTls
from haclient.core.tls_records import MOST_SILENT
from haclient.net import InterruptedReceive
from haclient.net.listening import accept
from haclient.net.tls import TlsFileError
from haclient.net.tls_server import (
    CHUNK,
    MOST_UNTAKEN,
    HandshakeError,
    TlsTransport,
    make_server_context,
)
from haclient.net.transport import HangUp
from tests.support.certificates import write_ca
from tests.support.key_updates import SUITE, KeyUpdater, client_secret
from tests.support.loopback import eventually

CA = trustme.CA()
OTHER = trustme.CA()


def files(folder: Path, *, client_ca: trustme.CA | None = None, version: str = "1.2") -> DoorTls:
    cert_file = folder / "door.pem"
    CA.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(cert_file))
    client_ca_file = write_ca(client_ca, folder / "clients.pem") if client_ca else None
    return DoorTls(cert_file=str(cert_file), client_ca_file=client_ca_file, min_version=version)


def client_context(*, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    if version is not None:
        context.maximum_version = version
    return context


Pair = tuple[TlsTransport, trio.SSLStream[trio.SocketStream]]


@asynccontextmanager
async def accepted(
    context: ssl.SSLContext,
) -> AsyncIterator[tuple[TlsTransport, trio.SocketStream]]:
    """A server's end before its handshake, and a client's socket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        async with await trio.open_tcp_stream(*listener.getsockname()) as client:
            await trio.lowlevel.wait_readable(listener)
            transport = TlsTransport(accept(listener), context)
            with trio.fail_after(20):
                try:
                    yield transport, client
                finally:
                    transport.close()


@asynccontextmanager
async def connected(folder: Path, version: ssl.TLSVersion | None = None) -> AsyncIterator[Pair]:
    """Both ends, behind the handshake."""
    async with accepted(make_server_context(files(folder))) as (server, raw):
        context = client_context(version=version)
        client = trio.SSLStream(raw, context, server_hostname="localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shake_hands)
            await client.do_handshake()
        yield server, client


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
async def test_bytes_both_ways(version: ssl.TLSVersion, tmp_path: Path) -> None:
    async with connected(tmp_path, version) as (server, client):
        await client.send_all(b"hello")
        assert await server.receive_some() == b"hello"
        assert server.send_now(b"good day") == 8
        assert await client.receive_some() == b"good day"
        await server.send_all(b"")
        await server.send_all(memoryview(b"and more"))
        assert await client.receive_some() == b"and more"
        assert server.bytes_sent > 16
        assert server.bytes_received > 5
        assert server.unacknowledged() == 0
        assert server.is_quiet()
        assert client.selected_alpn_protocol() is None, "it asked for none"


async def test_pieces_and_what_is_left_of_them(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        await client.send_all(b"0123456789")
        assert await server.receive_some(4) == b"0123"
        assert not server.is_quiet()
        assert await server.receive_some(4) == b"4567"
        assert await server.receive_some(4) == b"89"
        assert server.is_quiet()


async def collect(client: trio.SSLStream[trio.SocketStream], into: bytearray, size: int) -> None:
    while len(into) < size:
        into.extend(await client.receive_some())


async def test_back_pressure_and_the_rest_of_a_short_send(tmp_path: Path) -> None:
    """What `send_now` did not take is sent behind it, each byte once."""
    data = bytes(range(256)) * (64 << 10)  # 16 MiB
    async with connected(tmp_path) as (server, client):
        sent = server.send_now(data)
        assert 0 < sent < len(data)
        assert len(server._pending) <= CHUNK + 1024
        assert server.send_now(b"") == 0
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, client, got, len(data))
            await server.send_all(memoryview(data)[sent:])
        assert got == data


async def test_both_directions_at_once(tmp_path: Path) -> None:
    data = bytes(range(256)) * (16 << 10)
    async with connected(tmp_path) as (server, client):

        async def echo() -> None:
            async with trio.open_nursery() as nursery:
                send, receive = trio.open_memory_channel[bytes](4)

                async def take() -> None:
                    for_all = 0
                    while for_all < len(data):
                        piece = await server.receive_some()
                        for_all += len(piece)
                        await send.send(piece)
                    await send.aclose()

                nursery.start_soon(take)
                async for piece in receive:
                    await server.send_all(piece)

        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            nursery.start_soon(collect, client, got, len(data))
            await client.send_all(data)
        assert got == data


async def test_news_interrupt_a_receive(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        server.interrupt()
        with pytest.raises(InterruptedReceive):
            await server.receive_some()
        server.interrupt()
        server.forget_interrupt()
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"


# --- ends -----------------------------------------------------------------------------------------


@VERSIONS
async def test_a_clean_end_of_the_client(version: ssl.TLSVersion, tmp_path: Path) -> None:
    async with connected(tmp_path, version) as (server, client), trio.open_nursery() as nursery:
        nursery.start_soon(client.aclose)
        assert await server.receive_some() == b""
        server.close()


async def test_a_client_that_ends_without_saying_so_has_broken_off(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        await client.send_all(b"half")
        await client.transport_stream.send_eof()
        assert await server.receive_some() == b"half"
        with pytest.raises(trio.BrokenResourceError, match="broke off"):
            await server.receive_some()
        assert server.hang_up() is HangUp.GONE, "half a TLS connection is none"


async def test_our_own_end(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        await client.send_all(b"under way" * 1000)
        await eventually(lambda: not server.is_quiet(), 5.0)
        await server.send_all(b"answer")
        await server.send_eof()
        await server.send_eof()
        assert await client.receive_some() == b"answer"
        assert await client.receive_some() == b""
        got = b""
        while len(got) < 9000:
            got += await server.receive_some()
        assert got == b"under way" * 1000
        with pytest.raises(trio.ClosedResourceError):
            await server.send_all(b"x")


@pytest.mark.parametrize("end", [TlsTransport.close, TlsTransport.reset])
async def test_what_breaks_off_does_not_look_whole(end: object, tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        await server.send_all(b"part")
        assert await client.receive_some() == b"part"
        assert callable(end)
        end(server)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()


async def test_garbage_is_a_break(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        await client.transport_stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await server.receive_some()


async def test_a_send_that_was_cut_leaves_what_the_kernel_did_not_take(tmp_path: Path) -> None:
    async with connected(tmp_path) as (server, client):
        with trio.move_on_after(0.2) as scope:
            await server.send_all(bytes(32 << 20))
        assert scope.cancelled_caught
        before = server.bytes_sent
        got = 0
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                nonlocal got
                with contextlib.suppress(trio.BrokenResourceError):
                    while piece := await client.receive_some():
                        got += len(piece)

            nursery.start_soon(receive)
            await server.send_all(b"x")
            await server.send_eof()
        assert server.bytes_sent > before
        assert got % CHUNK == 1, "records whole, and in order"


# --- handshakes -----------------------------------------------------------------------------------


async def failing(context: ssl.SSLContext, *said: bytes, ends: bool = False) -> HandshakeError:
    async with accepted(context) as (server, client):
        for piece in said:
            await client.send_all(piece)
        if ends:
            await client.send_eof()
        with pytest.raises(HandshakeError) as caught:
            await server.shake_hands()
    return caught.value


async def test_handshakes_that_come_to_nothing(tmp_path: Path) -> None:
    context = make_server_context(files(tmp_path))
    error = await failing(context, b"GET / HTTP/1.1\r\n\r\n")
    assert (error.is_http, error.is_nothing) == (True, False)
    error = await failing(context, b"\0" * 100)
    assert not error.is_http
    error = await failing(context, ends=True)
    assert error.is_nothing
    error = await failing(context, b"\x16\x03\x01", ends=True)
    assert (str(error), error.is_nothing) == ("the client left in the handshake", False)


async def test_a_client_that_is_too_old(tmp_path: Path) -> None:
    async with accepted(make_server_context(files(tmp_path, version="1.3"))) as (server, raw):
        context = client_context(version=ssl.TLSVersion.TLSv1_2)
        client = trio.SSLStream(raw, context, server_hostname="localhost")
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await client.do_handshake()

            nursery.start_soon(fail)
            with pytest.raises(HandshakeError, match="unsupported protocol") as caught:
                await server.shake_hands()
            assert caught.value.alert
            server.close()


async def with_certificate(folder: Path, issuer: trustme.CA | None) -> str:
    """What the server says of it; empty if it is good."""
    context = make_server_context(files(folder, client_ca=CA))
    async with accepted(context) as (server, raw):
        ours = client_context()
        if issuer is not None:
            issuer.issue_cert("job@haclient.test").configure_cert(ours)
        client = trio.SSLStream(raw, ours, server_hostname="localhost")
        async with trio.open_nursery() as nursery:

            async def shake() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.do_handshake()

            nursery.start_soon(shake)
            try:
                await server.shake_hands()
            except HandshakeError as error:
                return str(error)
            finally:
                server.close()
    return ""


async def test_certificates_of_clients(tmp_path: Path) -> None:
    assert await with_certificate(tmp_path, CA) == ""
    assert "did not return a certificate" in await with_certificate(tmp_path, None)
    said = await with_certificate(tmp_path, OTHER)
    assert said.startswith("the client's certificate: ")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    good = files(tmp_path)
    with pytest.raises(TlsFileError, match="the certificate file /no cannot be used: no such file"):
        make_server_context(DoorTls(cert_file="/no"))
    with pytest.raises(TlsFileError, match="the CA file /no cannot be used"):
        make_server_context(DoorTls(cert_file=good.cert_file, client_ca_file="/no"))
    key = tmp_path / "other.key"
    OTHER.issue_cert("x").private_key_pem.write_to_path(str(key))
    with pytest.raises(TlsFileError, match="it does not belong to the certificate"):
        make_server_context(DoorTls(cert_file=good.cert_file, key_file=str(key)))


# --- records that say nothing ---------------------------------------------------------------------


Streams = tuple[trio.SocketStream, trio.SSLStream[trio.SocketStream]]


@asynccontextmanager
async def key_updater(
    folder: Path,
) -> AsyncIterator[tuple[TlsTransport, trio.SocketStream, KeyUpdater]]:
    """A connection behind its handshake, the client's socket, and what to send there."""
    async with key_updater_that_reads(folder) as (server, (raw, _), updater):
        yield server, raw, updater


@asynccontextmanager
async def key_updater_that_reads(
    folder: Path,
) -> AsyncIterator[tuple[TlsTransport, Streams, KeyUpdater]]:
    """Likewise, with the client's stream, which is good for reading only."""
    async with accepted(make_server_context(files(folder))) as (server, raw):
        context = client_context()
        context.keylog_filename = str(folder / "keys")
        client = trio.SSLStream(raw, context, server_hostname="localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.shake_hands)
            await client.do_handshake()
        cipher = client.cipher()
        assert cipher is not None
        assert cipher[0] == SUITE
        yield server, (raw, client), KeyUpdater(client_secret(folder / "keys"))


def count_of_bytes_here(server: TlsTransport) -> int:
    """In the kernel, to be read."""
    found = fcntl.ioctl(server._inner.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(found, sys.byteorder)


async def test_new_keys_now_and_then_are_well(tmp_path: Path) -> None:
    async with key_updater(tmp_path) as (server, raw, client):
        for number in range(3 * MOST_SILENT):
            await raw.send_all(
                client.key_updates(1, wants_one_too=True) + client.record(b"%d" % number)
            )
            assert await server.receive_some() == b"%d" % number


async def test_as_many_in_a_row_as_may_be(tmp_path: Path) -> None:
    async with key_updater(tmp_path) as (server, raw, client):
        await raw.send_all(client.key_updates(MOST_SILENT) + client.record(b"hello"))
        assert await server.receive_some() == b"hello"


async def test_a_row_of_records_that_say_nothing_ends_the_connection(tmp_path: Path) -> None:
    """And what came behind it is not worked off before: it is 50 KiB of them."""
    async with key_updater(tmp_path) as (server, raw, client):
        data = client.key_updates(2000, wants_one_too=True)
        await raw.send_all(data)
        await eventually(lambda: count_of_bytes_here(server) == len(data), 5.0)
        with pytest.raises(
            trio.BrokenResourceError,
            match=r"64 TLS records without content, each with none to make up for it",
        ):
            await server.receive_some()
        assert server._outgoing.pending + len(server._pending) <= 64 * 27


async def test_also_one_that_comes_slowly(tmp_path: Path) -> None:
    async with key_updater(tmp_path) as (server, raw, client), trio.open_nursery() as nursery:

        async def send() -> None:
            for _ in range(MOST_SILENT + 1):
                await raw.send_all(client.key_updates(1))
                await trio.sleep(0.001)

        nursery.start_soon(send)
        with pytest.raises(trio.BrokenResourceError, match=r"33 TLS records without content"):
            await server.receive_some()


async def keys_for_content(raw: trio.SocketStream, server: TlsTransport, data: bytes) -> int:
    """What is kept for the client, behind its byte of content, which is heard."""
    await raw.send_all(data)
    assert await server.receive_some() == b"x"
    return server._outgoing.pending + len(server._pending)


async def test_a_byte_now_and_then_does_not_pay_for_it(tmp_path: Path) -> None:
    async with key_updater(tmp_path) as (server, raw, client):
        for _ in range(2):
            data = client.key_updates(MOST_SILENT - 1) + client.record(b"x")
            await keys_for_content(raw, server, data)
        with pytest.raises(trio.BrokenResourceError, match="60 TLS records without content"):
            await server.receive_some()


async def test_who_takes_none_of_the_answers_that_it_asks_for(tmp_path: Path) -> None:
    """Though each comes with content; behind content that it does not take either."""
    async with key_updater(tmp_path) as (server, raw, client), trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, bytes(256 * MOST_UNTAKEN))
        kept, rounds = 0, 0
        while kept <= MOST_UNTAKEN and rounds < MOST_UNTAKEN // 10:
            data = client.key_updates(1, wants_one_too=True) + client.record(b"x")
            kept = await keys_for_content(raw, server, data)
            rounds += 1
        with pytest.raises(trio.BrokenResourceError, match="takes none of what TLS answers it"):
            await server.receive_some()
        assert MOST_UNTAKEN < kept <= MOST_UNTAKEN + 27
        nursery.cancel_scope.cancel()


async def test_new_keys_that_are_asked_for_as_content_waits(tmp_path: Path) -> None:
    """The answers come behind it, in order, and in their keys."""
    async with (
        key_updater_that_reads(tmp_path) as (server, (raw, reader), client),
        trio.open_nursery() as nursery,
    ):
        content = bytes(range(256)) * (64 * MOST_UNTAKEN // 256)
        sent = server.send_now(content)
        assert sent < len(content)
        for number in range(100):
            await raw.send_all(client.key_updates(1, wants_one_too=True) + client.record(b"x"))
            assert await server.receive_some() == b"x"
            if number == 50:
                nursery.start_soon(server.send_all, content[sent:])
        heard = bytearray()
        while len(heard) < len(content):
            heard += await reader.receive_some()
        assert heard == content


class CountingContext(ssl.SSLContext):
    """Counts what is made of it."""

    made = 0

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        self.made += 1
        return super().wrap_bio(*args, **kwargs)


async def test_who_says_nothing_costs_no_state_of_tls(tmp_path: Path) -> None:
    """It is 37 KiB, for whoever opens connections and leaves it at that."""
    settings = files(tmp_path)
    context = CountingContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings.cert_file)
    async with accepted(context) as (server, raw), trio.open_nursery() as nursery:
        nursery.start_soon(server.shake_hands)
        await trio.testing.wait_all_tasks_blocked()
        assert context.made == 0
        client = trio.SSLStream(raw, client_context(), server_hostname="localhost")
        await client.do_handshake()
        assert context.made == 1
