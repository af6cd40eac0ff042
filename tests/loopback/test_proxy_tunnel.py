"""CONNECT through a forward proxy that does what the test tells it to."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing
import trustme

from haclient.core.spec import TlsSettings
from haclient.core.url import parse_url
from haclient.errors import ProxyCredentialsError, ProxyError
from haclient.net.proxy_tunnel import fields_through, open_tunnel, proxy_fields
from haclient.net.tls import make_context, start_tls
from haclient.net.transport import SocketTransport
from haclient.types import Origin
from tests.support.certificates import TlsPeer, server_context, write_ca
from tests.support.loopback import reset, tcp_pair, transport_to

PROXY = parse_url("http://proxy.test:3128")
WITH_CREDENTIALS = parse_url("http://us%C3%A9r:p%40ss%3Aword@proxy.test:3128")
ORIGIN = Origin("https", "orders.test", 443)
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@contextmanager
def proxied() -> Iterator[tuple[SocketTransport, socket.socket]]:
    """A transport, and the proxy's socket."""
    with tcp_pair() as (client, server):
        transport = transport_to(client)
        yield transport, server
        transport.close()


async def request_seen_by(proxy: socket.socket) -> bytes:
    """The whole head that the client sent; nothing may come behind it."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        await trio.lowlevel.wait_readable(proxy)
        received += proxy.recv(65536)
    return received


async def tunnel_answered(*pieces: bytes, is_last: bool = False) -> None:
    """Opens a tunnel where the proxy answers with these pieces, and then perhaps closes.

    Raises:
        What open_tunnel does.
    """
    error: Exception | None = None
    with proxied() as (transport, proxy):

        async def answer() -> None:
            await request_seen_by(proxy)
            for piece in pieces:
                proxy.send(piece)
                await trio.testing.wait_all_tasks_blocked()
            if is_last:
                proxy.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            try:
                await open_tunnel(transport, ORIGIN, PROXY)
            except Exception as exc:
                error = exc  # kept out of the nursery, which would wrap it
    if error is not None:
        raise error


class TestRequest:
    @pytest.mark.parametrize(
        ("origin", "authority"),
        [
            (Origin("https", "orders.test", 443), b"orders.test:443"),
            (Origin("http", "orders.test", 80), b"orders.test:80"),
            (Origin("https", "192.0.2.7", 8443), b"192.0.2.7:8443"),
            (Origin("https", "2001:db8::1", 443), b"[2001:db8::1]:443"),
            (Origin("https", "fe80::1%eth0", 443), b"[fe80::1]:443"),
        ],
        ids=["the port is always named", "http", "IPv4", "IPv6", "a zone stays on this machine"],
    )
    async def test_names_whom_to_connect_to(self, origin: Origin, authority: bytes) -> None:
        with proxied() as (transport, proxy):
            seen: list[bytes] = []

            async def answer() -> None:
                seen.append(await request_seen_by(proxy))
                proxy.send(ESTABLISHED)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                await open_tunnel(transport, origin, PROXY)
        assert seen == [
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Connection: Keep-Alive\r\n\r\n"
            % (authority, authority)
        ]

    def test_credentials_are_decoded_and_sent_as_basic(self) -> None:
        fields = dict(proxy_fields(WITH_CREDENTIALS))
        scheme, _, token = fields[b"Proxy-Authorization"].partition(b" ")
        assert scheme == b"Basic"
        assert base64.b64decode(token).decode() == "usér:p@ss:word"
        assert b"Proxy-Authorization" not in dict(proxy_fields(PROXY))

    async def test_nothing_of_the_clients_own_is_sent_before_the_answer(self) -> None:
        with proxied() as (transport, proxy):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(open_tunnel, transport, ORIGIN, WITH_CREDENTIALS)
                await request_seen_by(proxy)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(BlockingIOError):
                    proxy.recv(1)
                proxy.send(ESTABLISHED)


class TestFieldsOfARequest:
    OWN = ((b"Accept", b"*/*"), (b"X-A", b"1"))

    def test_to_the_proxy_itself_its_own_come_behind(self) -> None:
        fields = fields_through(WITH_CREDENTIALS, self.OWN, is_tunnel=False)
        assert fields == (*self.OWN, *proxy_fields(WITH_CREDENTIALS))

    def test_what_the_caller_gave_stands(self) -> None:
        given = (*self.OWN, (b"proxy-authorization", b"Bearer mine"))
        fields = fields_through(WITH_CREDENTIALS, given, is_tunnel=False)
        assert fields == (*given, (b"Proxy-Connection", b"Keep-Alive"))

    def test_through_a_tunnel_the_origin_sees_none_of_them(self) -> None:
        given = (*self.OWN, *proxy_fields(WITH_CREDENTIALS), (b"PROXY-AUTHORIZATION", b"x"))
        assert fields_through(WITH_CREDENTIALS, given, is_tunnel=True) == self.OWN


class TestAnswer:
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(ESTABLISHED, id="200"),
            pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", id="HTTP/1.0"),
            pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="another 2xx"),
            pytest.param(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", id="a length that means nothing"
            ),
            pytest.param(
                b"HTTP/1.1 100 Continue\r\n\r\n" + ESTABLISHED, id="an interim head first"
            ),
        ],
    )
    async def test_2xx_opens_it_however_it_comes(self, answer: bytes) -> None:
        await tunnel_answered(answer)
        await tunnel_answered(*(answer[at : at + 1] for at in range(len(answer))))

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered CONNECT with 407"),
            (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "answered CONNECT with 403"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered CONNECT with 502"),
            (
                b'HTTP/1.1 502 Bad Gateway\r\nproxy-status: p; details="nobody there"\r\n\r\n',
                "answered CONNECT with 502: nobody there",
            ),
            (b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", "answered CONNECT with 301"),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "did not answer in HTTP"),
            (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "did not answer in HTTP"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 10_000, "did not answer in HTTP"),
        ],
        ids=["407", "403", "502", "why", "301", "101", "another protocol", "an endless head"],
    )
    async def test_anything_else_does_not(self, answer: bytes, words: str) -> None:
        with pytest.raises(ProxyError) as raised:
            await tunnel_answered(answer)
        assert words in str(raised.value)
        assert "http://proxy.test:3128" in str(raised.value)

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["nothing", "half"])
    async def test_an_end_before_the_answer_is_the_proxys_fault(self, answer: bytes) -> None:
        with pytest.raises(ProxyError, match="closed the connection"):
            await tunnel_answered(answer, is_last=True)

    async def test_bytes_behind_the_answer_break_it(self) -> None:
        """They would be taken for the server's own: nobody has spoken to it yet."""
        with pytest.raises(trio.BrokenResourceError):
            await tunnel_answered(ESTABLISHED + b"injected")

    async def test_a_reset_is_the_connections_fault(self) -> None:
        with proxied() as (transport, proxy):
            reset(proxy)
            with pytest.raises(trio.BrokenResourceError):
                await open_tunnel(transport, ORIGIN, PROXY)

    async def test_no_error_tells_the_credentials(self) -> None:
        with proxied() as (transport, proxy):
            proxy.send(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            with pytest.raises(ProxyCredentialsError) as raised:
                await open_tunnel(transport, ORIGIN, WITH_CREDENTIALS)
        assert "http://proxy.test:3128" in str(raised.value)
        for secret in ("us%C3", "usér", "p%40ss", "p@ss"):
            assert secret not in str(raised.value)


class TestTunnel:
    async def test_tls_to_the_origin_goes_through_it(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        ca = trustme.CA()
        ca_file = write_ca(ca, tmp_path_factory.mktemp("tunnel") / "ca.pem")
        context = make_context(TlsSettings(ca_file=ca_file))
        with proxied() as (transport, proxy):

            async def connect_on() -> None:
                await request_seen_by(proxy)
                proxy.send(ESTABLISHED)
                peer = TlsPeer(proxy, server_context(ca, ORIGIN.host))
                tickets = await peer.shake_hands()
                proxy.send(tickets + peer.record(await peer.read()))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect_on)
                await open_tunnel(transport, ORIGIN, PROXY)
                stream = await start_tls(transport, context, ORIGIN.host)
                await stream.send_all(b"echo")
                assert await stream.receive_some() == b"echo"
