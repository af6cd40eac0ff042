"""Certificates made for the test that needs them, and a TLS server whose every record is ours.

The server side is the ssl module's own object between two memory buffers: what it writes is bytes
in the test's hand, to be sent whole, in pieces, late, together with others, or not at all.
"""

from __future__ import annotations

import datetime
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import trio
import trustme

__all__ = [
    "LONG_AGO",
    "TlsPeer",
    "server_context",
    "write_ca",
    "write_client_certificate",
    "write_private",
]

LONG_AGO = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)


def server_context(ca: trustme.CA, *names: str, is_expired: bool = False) -> ssl.SSLContext:
    """A server's context with a certificate of `ca` for these names or addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if is_expired:
        day = datetime.timedelta(days=1)
        leaf = ca.issue_cert(*names, not_before=LONG_AGO, not_after=LONG_AGO + day)
    else:
        leaf = ca.issue_cert(*names)
    leaf.configure_cert(context)
    return context


def write_ca(ca: trustme.CA, path: Path) -> str:
    """Writes the authority's certificate; returns the path."""
    ca.cert_pem.write_to_path(str(path))
    return str(path)


def write_private(pem: trustme.Blob, path: Path) -> None:
    """Writes a key, and what may be with it, as haclient wants one: for its owner alone."""
    path.touch(0o600)
    pem.write_to_path(str(path))


def write_client_certificate(ca: trustme.CA, directory: Path) -> tuple[str, str]:
    """Writes a certificate and its key; returns their paths."""
    leaf = ca.issue_cert("client@haclient.test")
    cert_file, key_file = directory / "client.pem", directory / "client.key"
    leaf.cert_chain_pems[0].write_to_path(str(cert_file))
    write_private(leaf.private_key_pem, key_file)
    return str(cert_file), str(key_file)


class TlsPeer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self) -> bytes:
        """Finishes the handshake; returns what it has left to say: TLS 1.3's session tickets."""
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                await self._receive()
            except ssl.SSLError:
                self.flush()  # the alert
                raise
            else:
                if self.object.version() == "TLSv1.3":
                    return self._outgoing.read()
                self.flush()
                return b""

    def flush(self) -> None:
        """Sends what there is to send."""
        if data := self._outgoing.read():
            self.sock.send(data)

    async def _receive(self) -> None:
        await trio.lowlevel.wait_readable(self.sock)
        data = self.sock.recv(65536)
        self._incoming.write(data) if data else self._incoming.write_eof()

    async def read(self) -> bytes:
        """The next piece of plain text from the client; empty at its close_notify."""
        while True:
            try:
                return self.object.read(65536)
            except ssl.SSLWantReadError:
                self.flush()
                await self._receive()

    def record(self, data: bytes) -> bytes:
        """One record with this plain text, for the test to send."""
        self.object.write(data)
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """The record that ends the stream in good order, for the test to send."""
        with suppress(ssl.SSLWantReadError):  # the client's own would come next
            self.object.unwrap()
        return self._outgoing.read()
