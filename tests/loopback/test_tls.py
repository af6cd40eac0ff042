"""Who is trusted, what an untrusted one is told to be, and that an end is never made up.

Real handshakes over loopback sockets; each test makes its own authority.
"""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import which

import pytest
import trio
import trustme
import truststore
from msgspec.structs import replace

from haclient.core.spec import TlsSettings
from haclient.errors import CertificateError, TlsError
from haclient.net import InterruptedReceive
from haclient.net.tls import describe_tls, make_context, start_tls
from haclient.net.transport import SocketTransport
from tests.support.certificates import (
    TlsPeer,
    server_context,
    write_ca,
    write_client_certificate,
)
from tests.support.loopback import reset, tcp_pair, transport_to

ClientStream = trio.SSLStream[trio.abc.HalfCloseableStream]
Script = Callable[[TlsPeer], Awaitable[None]]

CA = trustme.CA(organization_name="the right authority")
OTHER_CA = trustme.CA(organization_name="another authority")
NAME = "orders.test"

needs_openssl = pytest.mark.skipif(
    which("openssl") is None, reason="the command openssl is missing"
)


@pytest.fixture
def trusting(tmp_path: Path) -> TlsSettings:
    """Trusts CA, and it alone."""
    return TlsSettings(ca_file=write_ca(CA, tmp_path / "ca.pem"))


async def only_shake_hands(peer: TlsPeer) -> None:
    with suppress(OSError):  # the client's refusal is the client's side of the test
        await peer.shake_hands()


@asynccontextmanager
async def served(
    server: ssl.SSLContext, script: Script = only_shake_hands
) -> AsyncIterator[SocketTransport]:
    """A connected transport, with a TLS server at the other end that follows `script`."""
    with tcp_pair() as (client, sock):
        transport = transport_to(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(script, TlsPeer(sock, server))
            try:
                yield transport
            finally:
                transport.close()


async def handshake(
    settings: TlsSettings,
    server: ssl.SSLContext,
    name: str = NAME,
    script: Script = only_shake_hands,
) -> ssl.SSLObject:
    """Shakes hands; returns the server's object, which knows what the client showed it.

    Raises:
        What start_tls does.
    """
    seen: list[ssl.SSLObject] = []

    async def keep(peer: TlsPeer) -> None:
        seen.append(peer.object)
        await script(peer)

    error = None
    async with served(server, keep) as transport:
        try:
            await start_tls(transport, make_context(settings), name)
        except Exception as exc:
            error = exc  # kept out of the nursery, which would wrap it
    if error is not None:
        raise error
    return seen[0]


class TestVerified:
    async def test_by_name(self, trusting: TlsSettings) -> None:
        await handshake(trusting, server_context(CA, NAME))

    async def test_by_address(self, trusting: TlsSettings) -> None:
        await handshake(trusting, server_context(CA, "127.0.0.1"), "127.0.0.1")
        await handshake(trusting, server_context(CA, "::1"), "::1")

    async def test_the_server_is_told_the_name_it_is_asked_for(self, trusting: TlsSettings) -> None:
        """Server Name Indication (RFC 6066, section 3)."""
        asked_for: list[str | None] = []
        server = server_context(CA, NAME)
        server.sni_callback = lambda _object, name, _context: asked_for.append(name)
        await handshake(trusting, server, NAME)
        assert asked_for == [NAME]

    async def test_the_server_is_offered_http_1_1_and_nothing_else(
        self, trusting: TlsSettings
    ) -> None:
        server = server_context(CA, NAME)
        server.set_alpn_protocols(["h2", "http/1.1"])
        seen = await handshake(trusting, server)
        assert seen.selected_alpn_protocol() == "http/1.1"

    @pytest.mark.parametrize(
        ("make_server", "name", "words"),
        [
            pytest.param(
                lambda: server_context(CA, "other.test"),
                NAME,
                "Hostname mismatch, certificate is not valid for 'orders.test'",
                id="a certificate for another name",
            ),
            pytest.param(
                lambda: server_context(CA, "127.0.0.2"),
                "127.0.0.1",
                "IP address mismatch, certificate is not valid for '127.0.0.1'",
                id="a certificate for another address",
            ),
            pytest.param(
                lambda: server_context(CA, NAME),
                "127.0.0.1",
                "IP address mismatch, certificate is not valid for '127.0.0.1'",
                id="a certificate for the name where the address was asked for",
            ),
            pytest.param(
                lambda: server_context(CA, NAME, is_expired=True),
                NAME,
                "certificate has expired",
                id="an expired certificate",
            ),
            pytest.param(
                lambda: server_context(OTHER_CA, NAME),
                NAME,
                "unable to get local issuer certificate|self.signed certificate in certificate chain",
                id="a certificate of an authority that is not trusted",
            ),
        ],
    )
    async def test_who_is_turned_away(
        self,
        trusting: TlsSettings,
        make_server: Callable[[], ssl.SSLContext],
        name: str,
        words: str,
    ) -> None:
        with pytest.raises(CertificateError) as raised:
            await handshake(trusting, make_server(), name)
        assert re.fullmatch(words, str(raised.value))

    async def test_a_self_signed_certificate_is_turned_away(
        self, trusting: TlsSettings, tmp_path: Path
    ) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = tmp_path / "self-signed.pem"
        own.write_bytes(OTHER_CA.private_key_pem.bytes() + OTHER_CA.cert_pem.bytes())
        server.load_cert_chain(own)
        with pytest.raises(CertificateError, match=r"^self.signed certificate"):
            await handshake(trusting, server)

    async def test_verify_off_takes_anyone(self, tmp_path: Path) -> None:
        ca_file = write_ca(CA, tmp_path / "ca.pem")
        for settings in (TlsSettings(verify=False), TlsSettings(verify=False, ca_file=ca_file)):
            await handshake(settings, server_context(OTHER_CA, "other.test", is_expired=True))


class TestSystemTrust:
    async def test_the_environment_may_say_where_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", write_ca(CA, tmp_path / "system.pem"))
        await handshake(TlsSettings(), server_context(CA, NAME))
        with pytest.raises(CertificateError):
            await handshake(TlsSettings(), server_context(OTHER_CA, NAME))

    @pytest.fixture
    def hashed_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CA under the hash of its name, the way OpenSSL looks a certificate up."""
        pem = Path(write_ca(CA, tmp_path / "authority.pem"))
        command = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(pem)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        pem.rename(tmp_path / f"{done.stdout.strip()}.0")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    @needs_openssl
    @pytest.mark.usefixtures("hashed_directory")
    async def test_a_directory_of_hashed_names_will_do_too(self) -> None:
        await handshake(TlsSettings(), server_context(CA, NAME))
        with pytest.raises(CertificateError):
            await handshake(TlsSettings(), server_context(OTHER_CA, NAME))

    @needs_openssl
    @pytest.mark.usefixtures("hashed_directory")
    def test_a_directory_of_ones_own_is_not_added_to(self) -> None:
        """Whoever names a directory does not want the system's hundred authorities besides."""
        context = make_context(TlsSettings())
        assert type(context) is ssl.SSLContext
        assert context.cert_store_stats()["x509_ca"] == 0

    async def test_it_is_read_once_for_all_connections_of_a_context(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Reading it takes 18 ms, in which nothing else runs: a race over eight addresses would
        stand still for 150 ms."""
        monkeypatch.setenv("SSL_CERT_FILE", write_ca(CA, tmp_path / "system.pem"))
        context = make_context(TlsSettings())
        monkeypatch.setenv("SSL_CERT_FILE", write_ca(OTHER_CA, tmp_path / "other.pem"))
        async with served(server_context(CA, NAME)) as transport:
            await start_tls(transport, context, NAME)
        async with served(server_context(OTHER_CA, NAME)) as transport:
            with pytest.raises(CertificateError):
                await start_tls(transport, context, NAME)

    async def test_where_openssl_knows_no_place_truststore_does(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with a Python that was built elsewhere: its default is a path that is not there."""
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
        context = make_context(TlsSettings())
        assert type(context) is truststore.SSLContext
        async with served(server_context(CA, NAME)) as transport:
            with pytest.raises(CertificateError):
                await start_tls(transport, context, NAME)


class TestVersions:
    @pytest.mark.parametrize(
        ("least", "version"),
        [
            ("1.2", ssl.TLSVersion.TLSv1_2),
            ("1.2", ssl.TLSVersion.TLSv1_3),
            ("1.3", ssl.TLSVersion.TLSv1_3),
        ],
    )
    async def test_as_new_as_asked_for(
        self, trusting: TlsSettings, least: str, version: ssl.TLSVersion
    ) -> None:
        server = server_context(CA, NAME)
        server.minimum_version = server.maximum_version = version
        seen = await handshake(replace(trusting, min_version=least), server)
        assert seen.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[int(version)]

    async def test_older_than_asked_for(self, trusting: TlsSettings) -> None:
        server = server_context(CA, NAME)
        server.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(TlsError, match="protocol version") as raised:
            await handshake(replace(trusting, min_version="1.3"), server)
        assert not isinstance(raised.value, CertificateError)

    def test_a_version_that_there_is_not(self, trusting: TlsSettings) -> None:
        with pytest.raises(ValueError, match=r'must be "1\.2" or "1\.3", not "1\.1"'):
            make_context(replace(trusting, min_version="1.1"))

    async def test_described_for_a_person(self, trusting: TlsSettings) -> None:
        async with served(server_context(CA, NAME)) as transport:
            stream = await start_tls(transport, make_context(trusting), NAME)
            assert re.fullmatch(r"TLSv1\.3 TLS_\w+", describe_tls(stream))
            assert describe_tls(transport) == ""


class TestOtherThanTls:
    async def test_a_server_that_speaks_plain_text(self, trusting: TlsSettings) -> None:
        async def answer_in_clear(peer: TlsPeer) -> None:
            peer.sock.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with pytest.raises(
            TlsError, match=r"wrong version number|packet length too long"
        ) as raised:
            await handshake(trusting, server_context(CA, NAME), script=answer_in_clear)
        assert not isinstance(raised.value, CertificateError)

    async def test_a_server_that_closes_in_the_handshake(self, trusting: TlsSettings) -> None:
        async def close_when_spoken_to(peer: TlsPeer) -> None:
            await trio.lowlevel.wait_readable(peer.sock)
            peer.sock.recv(65536)
            peer.sock.close()

        with pytest.raises(TlsError, match="the server closed the connection in the handshake"):
            await handshake(trusting, server_context(CA, NAME), script=close_when_spoken_to)

    async def test_a_server_that_closes_before_the_handshake(self, trusting: TlsSettings) -> None:
        async def close_at_once(peer: TlsPeer) -> None:
            peer.sock.close()

        with pytest.raises((TlsError, trio.BrokenResourceError)):
            await handshake(trusting, server_context(CA, NAME), script=close_at_once)

    async def test_a_reset_in_the_handshake_is_the_connections_fault(
        self, trusting: TlsSettings
    ) -> None:
        async def reset_when_spoken_to(peer: TlsPeer) -> None:
            await trio.lowlevel.wait_readable(peer.sock)
            reset(peer.sock)

        with pytest.raises(trio.BrokenResourceError) as raised:
            await handshake(trusting, server_context(CA, NAME), script=reset_when_spoken_to)
        assert isinstance(raised.value.__cause__, ConnectionResetError)


class TestClientCertificates:
    @pytest.fixture
    def asking(self) -> ssl.SSLContext:
        """Wants to see a certificate of CA."""
        server = server_context(CA, NAME)
        server.verify_mode = ssl.CERT_REQUIRED
        CA.configure_trust(server)
        return server

    async def test_shown_where_it_is_asked_for(
        self, trusting: TlsSettings, asking: ssl.SSLContext, tmp_path: Path
    ) -> None:
        cert_file, key_file = write_client_certificate(CA, tmp_path)
        settings = replace(trusting, cert_file=cert_file, key_file=key_file)
        seen = (await handshake(settings, asking)).getpeercert()
        assert seen
        assert seen["subjectAltName"] == (("email", "client@haclient.test"),)

    @pytest.fixture
    def both_in_one(self, tmp_path: Path) -> str:
        cert_file, key_file = write_client_certificate(CA, tmp_path)
        both = tmp_path / "both.pem"
        both.write_bytes(Path(key_file).read_bytes() + Path(cert_file).read_bytes())
        return str(both)

    async def test_certificate_and_key_may_share_a_file(
        self, trusting: TlsSettings, asking: ssl.SSLContext, both_in_one: str
    ) -> None:
        seen = await handshake(replace(trusting, cert_file=both_in_one), asking)
        assert seen.getpeercert()

    async def test_missing_where_it_is_asked_for(
        self, trusting: TlsSettings, asking: ssl.SSLContext
    ) -> None:
        asking.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(TlsError, match=r"handshake failure|certificate required"):
            await handshake(trusting, asking)

    async def test_with_tls_1_3_it_is_missed_only_after_the_handshake(
        self, trusting: TlsSettings, asking: ssl.SSLContext
    ) -> None:
        """RFC 8446, section 4.4.2.4: the client is done before the server has looked."""
        async with served(asking) as transport:
            stream = await start_tls(transport, make_context(trusting), NAME)
            with pytest.raises(trio.BrokenResourceError) as raised:
                await stream.receive_some()
        assert isinstance(raised.value.__cause__, ssl.SSLError)
        assert "certificate required" in str(raised.value.__cause__)


class TestEnds:
    """An answer that ends with its connection must not be cut short by a stranger."""

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("is_in_order", [True, False], ids=["close_notify", "bare EOF"])
    async def test_only_close_notify_is_an_end(
        self, trusting: TlsSettings, version: ssl.TLSVersion, is_in_order: bool
    ) -> None:
        async def speak_and_close(peer: TlsPeer) -> None:
            peer.sock.send(await peer.shake_hands() + peer.record(b"part of it"))
            if is_in_order:
                peer.sock.send(peer.close_notify())
            peer.sock.close()

        server = server_context(CA, NAME)
        server.maximum_version = version
        async with served(server, speak_and_close) as transport:
            stream = await start_tls(transport, make_context(trusting), NAME)
            assert await stream.receive_some() == b"part of it"
            if is_in_order:
                assert await stream.receive_some() == b""
            else:
                for _ in range(2):  # and it stays so
                    with pytest.raises(trio.BrokenResourceError):
                        await stream.receive_some()

    async def test_a_record_cut_short_is_no_end(self, trusting: TlsSettings) -> None:
        async def cut(peer: TlsPeer) -> None:
            peer.sock.send(await peer.shake_hands() + peer.record(b"all of it")[:-1])
            peer.sock.close()

        async with served(server_context(CA, NAME), cut) as transport:
            stream = await start_tls(transport, make_context(trusting), NAME)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


class TestNews:
    async def test_an_interrupt_at_any_byte_of_a_record_loses_nothing(
        self, trusting: TlsSettings
    ) -> None:
        with tcp_pair() as (client, sock):
            transport, peer = transport_to(client), TlsPeer(sock, server_context(CA, NAME))
            tickets: list[bytes] = []

            async def serve() -> None:
                tickets.append(await peer.shake_hands())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                stream = await start_tls(transport, make_context(trusting), NAME)
            wire = tickets[0] + peer.record(b"one") + peer.record(b"two")
            received = b""
            for at in range(len(wire)):
                sock.send(wire[at : at + 1])
                transport.interrupt()
                with suppress(InterruptedReceive):
                    while True:
                        received += await stream.receive_some()
            assert received == b"onetwo"
            transport.close()
