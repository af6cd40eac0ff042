"""A persistent connection serves again from the clean end state, and from no other.

Over plain TCP the kernel shows what nobody asked for. Within TLS it does not: bytes may lie decrypted
in the TLS layer, and session tickets, which are no fault, lie in the kernel. So both are tried.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trustme

from haclient.core.framing import write_request_head
from haclient.net.connection import Connection
from haclient.net.tls import start_tls
from haclient.types import Origin
from tests.support.certificates import TlsPeer, server_context
from tests.support.loopback import reset, tcp_pair, transport_to, unix_pair

NAME = "orders.test"
CA = trustme.CA()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@contextmanager
def over_plain(is_unix: bool = False) -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the server's socket."""
    with unix_pair() if is_unix else tcp_pair() as (client, server):
        transport = transport_to(client)
        origin = Origin("http", NAME, 80)
        connection = Connection("key", origin, transport, transport, 1.0, 1.0)
        yield connection, server
        connection.close()


@asynccontextmanager
async def over_tls(
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> AsyncIterator[tuple[Connection, TlsPeer, bytes]]:
    """A connection, the server's end, and its session tickets, not sent yet."""
    server = server_context(CA, NAME)
    server.maximum_version = version
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    CA.configure_trust(client_context)
    with tcp_pair() as (client, sock):
        transport, peer = transport_to(client), TlsPeer(sock, server)
        tickets: list[bytes] = []

        async def serve() -> None:
            tickets.append(await peer.shake_hands())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            stream = await start_tls(transport, client_context, NAME)
        origin = Origin("https", NAME, 443)
        yield Connection("key", origin, transport, stream, 1.0, 2.0), peer, tickets[0]
        transport.close()


async def ask(connection: Connection) -> None:
    """Sends a request."""
    head = write_request_head("GET", "/", (), NAME, 0)
    connection.http.begin(head)
    await connection.send(head.data + connection.http.end_of_request())


async def answer_of(connection: Connection) -> bytes:
    """Reads a whole answer."""
    await connection.http.read_head()
    content = b""
    while data := await connection.http.read_content():
        content += data
    return content


class TestPlain:
    @pytest.mark.parametrize("is_unix", [False, True], ids=["TCP", "Unix"])
    async def test_one_exchange_after_another(self, is_unix: bool) -> None:
        with over_plain(is_unix) as (connection, server):
            for number, wire in enumerate([ANSWER, CHUNKED, ANSWER], start=1):
                await ask(connection)
                assert server.recv(1000) == b"GET / HTTP/1.1\r\nHost: orders.test\r\n\r\n"
                server.send(wire)
                assert await answer_of(connection) == b"hello"
                assert await connection.make_ready_again()
                assert connection.is_reusable_now()
                assert connection.exchanges == number
            assert connection.is_plain
            assert "3 exchanges" in repr(connection)

    async def test_what_came_with_the_answer_forbids_reuse(self) -> None:
        with over_plain() as (connection, server):
            await ask(connection)
            server.send(ANSWER + STRAY)
            assert await answer_of(connection) == b"hello"
            assert not await connection.make_ready_again()

    @pytest.mark.parametrize("spoil", ["stray bytes", "end", "reset"])
    async def test_what_comes_while_it_is_idle_forbids_reuse(self, spoil: str) -> None:
        with over_plain() as (connection, server):
            await ask(connection)
            server.recv(1000)
            server.send(ANSWER)
            await answer_of(connection)
            assert await connection.make_ready_again()
            assert connection.is_reusable_now()
            if spoil == "stray bytes":
                server.send(STRAY)
            elif spoil == "end":
                server.close()
            else:
                reset(server)
            assert not connection.is_reusable_now()

    async def test_an_answer_that_is_not_read_to_its_end_forbids_reuse(self) -> None:
        with over_plain() as (connection, server):
            await ask(connection)
            server.send(ANSWER)
            await connection.http.read_head()
            assert not await connection.make_ready_again()

    async def test_probing_ends_with_the_exchange(self) -> None:
        with tcp_pair() as (client, server):
            transport = transport_to(client)
            connection = Connection("key", Origin("http", NAME, 80), transport, transport, 0, 0)
            await ask(connection)
            transport.probe()
            server.send(ANSWER)
            await answer_of(connection)
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert await connection.make_ready_again()
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
            connection.close()

    async def test_what_does_not_fit_the_send_buffer_is_sent_all_the_same(self) -> None:
        with over_plain() as (connection, server):
            data = bytes(range(256)) * 40_000

            async def drain() -> bytes:
                received = b""
                while len(received) < len(data):
                    await trio.lowlevel.wait_readable(server)
                    received += server.recv(1 << 20)
                return received

            async def compare() -> None:
                assert await drain() == data

            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.send, data)
                nursery.start_soon(compare)
            assert connection.transport.bytes_sent == len(data)

    async def test_send_now_says_how_much_the_kernel_took(self) -> None:
        with over_plain() as (connection, server):
            assert connection.send_now(b"whole") == 5
            assert server.recv(100) == b"whole"
            while taken := connection.send_now(bytes(1 << 20)):
                assert taken <= 1 << 20

    async def test_closed_is_closed(self) -> None:
        with over_plain() as (connection, server):
            connection.close()
            assert not connection.is_reusable_now()
            assert server.recv(10) == b""
            with pytest.raises(trio.ClosedResourceError):
                await connection.send(b"x")


class TestTls:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_one_exchange_after_another(self, version: ssl.TLSVersion) -> None:
        async with over_tls(version) as (connection, peer, tickets):
            peer.sock.send(tickets)
            for wire in (ANSWER, CHUNKED, ANSWER):
                await ask(connection)
                assert (await peer.read()).startswith(b"GET / HTTP/1.1\r\n")
                peer.sock.send(peer.record(wire))
                assert await answer_of(connection) == b"hello"
                assert await connection.make_ready_again()
                assert connection.is_reusable_now()
            assert not connection.is_plain

    async def test_nothing_is_sent_now_and_all_is_sent_in_time(self) -> None:
        """A record handed over in part could not be taken up again."""
        async with over_tls() as (connection, peer, _tickets):
            assert connection.send_now(b"x") == 0
            await connection.send(b"request")
            assert await peer.read() == b"request"

    async def test_session_tickets_do_not_forbid_reuse(self) -> None:
        """TLS 1.3 servers send them after the handshake, whenever they like."""
        async with over_tls() as (connection, peer, tickets):
            assert len(tickets) > 100
            await ask(connection)
            await peer.read()
            peer.sock.send(tickets + peer.record(ANSWER))
            assert await answer_of(connection) == b"hello"
            assert await connection.make_ready_again()
            assert connection.is_reusable_now()

    async def test_tickets_that_lie_unread_are_taken_in(self) -> None:
        async with over_tls() as (connection, peer, tickets):
            peer.sock.send(tickets)
            assert not connection.transport.is_quiet()
            assert not await connection.http.has_leftovers(connection.transport)
            assert connection.transport.is_quiet()

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize(
        "behind",
        [
            "in the same record",
            "in a record of its own",
            "behind an answer in two records",
            "later",
        ],
    )
    async def test_stray_bytes_behind_the_answer_forbid_reuse(
        self, behind: str, version: ssl.TLSVersion
    ) -> None:
        async with over_tls(version) as (connection, peer, tickets):
            await ask(connection)
            await peer.read()
            match behind:
                case "in the same record":
                    peer.sock.send(tickets + peer.record(ANSWER + STRAY))
                case "in a record of its own":
                    peer.sock.send(tickets + peer.record(ANSWER) + peer.record(STRAY))
                case "behind an answer in two records":
                    # The TLS layer then has to read on to find it.
                    peer.sock.send(tickets + peer.record(ANSWER[:-1]))
                    peer.sock.send(peer.record(ANSWER[-1:]) + peer.record(STRAY))
                case "later":
                    peer.sock.send(tickets + peer.record(ANSWER))
            assert await answer_of(connection) == b"hello"
            if behind == "later":
                peer.sock.send(peer.record(STRAY))
            assert not await connection.make_ready_again()

    @pytest.mark.parametrize("spoil", ["close_notify", "end", "garbage", "reset"])
    async def test_an_end_behind_the_answer_forbids_reuse(self, spoil: str) -> None:
        async with over_tls() as (connection, peer, tickets):
            await ask(connection)
            await peer.read()
            peer.sock.send(tickets + peer.record(ANSWER))
            assert await answer_of(connection) == b"hello"
            match spoil:
                case "close_notify":
                    peer.sock.send(peer.close_notify())
                case "end":
                    peer.sock.close()
                case "garbage":
                    peer.sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                case "reset":
                    reset(peer.sock)
            assert not await connection.make_ready_again()

    async def test_what_comes_while_it_is_idle_forbids_reuse(self) -> None:
        async with over_tls() as (connection, peer, tickets):
            await ask(connection)
            await peer.read()
            peer.sock.send(tickets + peer.record(ANSWER))
            await answer_of(connection)
            assert await connection.make_ready_again()
            peer.sock.send(peer.record(STRAY))
            assert not connection.is_reusable_now()
