"""TLS towards a client, over an accepted connection: what the door sees is one more transport.

trio.SSLStream would do but for what a door needs of its transports: bytes handed over without a
checkpoint, a receive that news interrupts, a look at whether the client has left, and an end that is a
reset. So the ssl module's own object stands between two memory buffers here, and every call goes
through to the socket's transport below.

Three things differ from a plain connection. A client that closes without TLS's own end (close_notify) has
broken off, whatever the FIN says: a stranger on the network can send one (RFC 8446, section 6.1); and where
an answer of ours breaks off, no close_notify is sent. A side that is closed is a client that has left:
half a connection is not to be had. And of what is handed over, up to CHUNK bytes may be encrypted already
while the kernel has no room: they count as sent only when it has taken them, so that a short `send_now`
has to be followed by a `send_all` of the rest, as with OpenSSL itself.

A client may make work without end: by records that say nothing (haclient.core.tls_records), for which OpenSSL
sees only a piece at a time and which end the connection where they are most of it; by questions that TLS answers by
itself (a new key), whose answers it does not take: they are kept up to a limit; and by a connection on which it says nothing, which
therefore costs no state of TLS: 37 KiB (measured), made when the first byte is here.
"""

from __future__ import annotations

import contextlib
import ssl

import trio

from haclient.core.config import DoorTls
from haclient.core.detector import TcpInfo
from haclient.core.tls_records import Records, Silence
from haclient.net.one_at_a_time import OneAtATime
from haclient.net.socket_stream import DEFAULT_RECEIVE_BYTES
from haclient.net.tls import ALPN, VERSIONS, load, load_own, tls_words
from haclient.net.transport import HangUp, SocketTransport
from haclient.types import Endpoint

__all__ = ["HandshakeError", "TlsTransport", "make_server_context"]

CHUNK = 65536
"""Bytes that are encrypted before the kernel is asked for room: four records."""

MOST_UNTAKEN = 2 * CHUNK
"""Bytes that the kernel has no room for: a chunk of content, and as much again of what TLS answered by itself.
That is 2,400 new keys, where a client needs one in 2 ** 24 records."""

LEFT = "the client left in the handshake"


class HandshakeError(Exception):
    """The client did not come to speak TLS with us; the message says why.

    Attributes:
        alert: what TLS has to say to it about that.
        is_http: it spoke HTTP, without TLS.
        is_nothing: it said nothing at all.
    """

    def __init__(
        self, why: str, alert: bytes = b"", *, is_http: bool = False, is_nothing: bool = False
    ) -> None:
        super().__init__(why)
        self.alert = alert
        self.is_http = is_http
        self.is_nothing = is_nothing


def make_server_context(settings: DoorTls, *, is_http: bool = True) -> ssl.SSLContext:
    """Returns a server's context: our certificate, and whose clients' certificates are good.

    Raises:
        TlsFileError: a file is missing, unreadable, or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[settings.min_version]
    context.options |= ssl.OP_NO_RENEGOTIATION
    if is_http:
        context.set_alpn_protocols(ALPN)
    load_own(context, settings.cert_file, settings.key_file)
    if settings.client_ca_file is not None:
        load("CA", settings.client_ca_file, context.load_verify_locations)
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is taken up again shows no certificate: one that has expired would do for hours.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


class TlsTransport:
    """See the module's docstring; `shake_hands` comes first."""

    def __init__(self, inner: SocketTransport, context: ssl.SSLContext) -> None:
        self._inner = inner
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject
        self._records = Records()
        self._unfed = b""
        self._silence = Silence()
        self._guard = OneAtATime()
        self._pending = b""
        self._ahead = 0
        self._plain = b""
        self._has_sent_eof = False

    def __repr__(self) -> str:
        return f"<TlsTransport over {self._inner!r}>"

    @property
    def endpoint(self) -> Endpoint:
        """The client's."""
        return self._inner.endpoint

    @property
    def local(self) -> Endpoint | None:
        """Our own end."""
        return self._inner.local

    @property
    def bytes_sent(self) -> int:
        """Handed to the kernel so far, TLS's own bytes among them."""
        return self._inner.bytes_sent

    @property
    def bytes_received(self) -> int:
        """Likewise."""
        return self._inner.bytes_received

    # --- the handshake -----------------------------------------------------------------------

    async def shake_hands(self) -> None:
        """Comes to terms with the client.

        Raises:
            HandshakeError: it does not.
            trio.BrokenResourceError, trio.ClosedResourceError: the connection is gone.
        """
        if not await self._take_in():
            raise HandshakeError(LEFT, is_nothing=True)
        self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._take_in():
                    raise HandshakeError(LEFT) from None
            except ssl.SSLError as exc:
                is_http = exc.reason == "HTTP_REQUEST"
                raise HandshakeError(_words(exc), self._outgoing.read(), is_http=is_http) from exc
            else:
                await self._flush()
                self._silence.forget()
                return

    async def _take_in(self) -> bool:
        """Takes in the next piece of what comes; False at the end."""
        if self._unfed:
            await trio.lowlevel.checkpoint()
        else:
            self._unfed = await self._inner.receive_some(DEFAULT_RECEIVE_BYTES)
        if not self._unfed:
            self._incoming.write_eof()
            return False
        size, ended = self._records.cut(self._unfed)
        self._incoming.write(self._unfed[:size])
        self._unfed = self._unfed[size:]
        self._silence.note_ended(ended)
        return True

    # --- sending -----------------------------------------------------------------------------

    def send_now(self, data: bytes) -> int:
        """As of a plain transport; what follows a short one is a `send_all` of the rest."""
        view, done = memoryview(data), 0
        while done < len(view) and self._flush_now():
            piece = view[done : done + CHUNK]
            self._encrypt(piece)
            if not self._flush_now():
                self._ahead = len(piece)
                break
            done += len(piece)
        return done

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio.abc.SendStream."""
        with self._guard:
            view, self._ahead = memoryview(data)[self._ahead :], 0
            await self._flush()
            for start in range(0, len(view), CHUNK):
                self._encrypt(view[start : start + CHUNK])
                await self._flush()

    def _encrypt(self, piece: memoryview) -> None:
        if self._has_sent_eof:
            raise trio.ClosedResourceError("the sending side was closed already")
        try:
            self._tls.write(piece)
        except ssl.SSLError as exc:
            raise trio.BrokenResourceError(tls_words(exc)) from exc

    def _flush_now(self) -> bool:
        """Hands over what is encrypted; whether the kernel took all of it."""
        while self._pending or self._outgoing.pending:
            # What cannot go yet stays there: to join it to the rest each time would copy all of it.
            if not self._pending:
                self._pending = self._outgoing.read()
            self._pending = self._pending[self._inner.send_now(self._pending) :]
            if self._pending:
                return False
        return True

    async def _flush(self) -> None:
        """Hands all of it over; a checkpoint."""
        if self._flush_now():
            await trio.lowlevel.checkpoint()
            return
        while self._pending or self._outgoing.pending:
            data = self._pending + self._outgoing.read()
            before = self._inner.bytes_sent
            try:
                await self._inner.send_all(data)
            finally:
                self._pending = data[self._inner.bytes_sent - before :]

    async def wait_send_all_might_not_block(self) -> None:
        """As trio.abc.SendStream."""
        await self._inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Says that this is the end, and sends a FIN; what the client has under way can be read still."""
        with self._guard:
            if not self._has_sent_eof:
                self._say_end()
                self._has_sent_eof = True
            await self._flush()
            await self._inner.send_eof()

    def _say_end(self) -> None:
        """OpenSSL looks for the client's own end at once, and what it finds instead spoils the reading."""
        while self._tls.pending():
            self._plain += self._tls.read(DEFAULT_RECEIVE_BYTES)
        held = self._incoming.read()
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        if held:
            self._incoming.write(held)

    # --- receiving ---------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio.abc.ReceiveStream; also raises InterruptedReceive."""
        size = DEFAULT_RECEIVE_BYTES if max_bytes is None else max_bytes
        if self._plain:
            data, self._plain = self._plain[:size], self._plain[size:]
            await trio.lowlevel.checkpoint()
            return data
        has_waited = False
        while (found := self._decrypted(size)) is None:
            self._see_to_answers()
            await self._take_in()
            has_waited = True
        self._silence.note_content()
        if not has_waited:
            await trio.lowlevel.checkpoint()
        return found

    def _see_to_answers(self) -> None:
        """What TLS says by itself when it is asked to: a new key, for one."""
        if self._silence.is_too_long:
            count = self._silence.records
            raise trio.BrokenResourceError(
                f"{count} TLS records without content, each with none to make up for it"
            )
        if not self._guard.is_held:
            self._flush_now()
        if len(self._pending) + self._outgoing.pending > MOST_UNTAKEN:
            raise trio.BrokenResourceError("the client takes none of what TLS answers it")

    def _decrypted(self, size: int) -> bytes | None:
        """What is here, empty at the client's end; None where more has to come in."""
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError as exc:
            raise trio.BrokenResourceError("the client broke off: TLS was not ended") from exc
        except ssl.SSLError as exc:
            raise trio.BrokenResourceError(tls_words(exc)) from exc

    def interrupt(self) -> None:
        """Wakes the receiver with InterruptedReceive."""
        self._inner.interrupt()

    def forget_interrupt(self) -> None:
        """Takes an `interrupt` back that no `receive_some` has raised yet."""
        self._inner.forget_interrupt()

    # --- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """Closes at once, and says nothing: what was sent must not look whole by it."""
        self._inner.close()

    async def aclose(self) -> None:
        """As trio.abc.AsyncResource."""
        await self._inner.aclose()

    def reset(self) -> None:
        """Closes with a reset, so that what was sent cannot be taken for whole."""
        self._inner.reset()

    # --- signs of life -----------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Whether nothing of a next request is here, nor the client's end."""
        is_empty = not self._plain and not self._incoming.pending and not self._tls.pending()
        return is_empty and not self._unfed and self._inner.is_quiet()

    def unacknowledged(self) -> int:
        """Bytes handed to the kernel that the client has not acknowledged."""
        return self._inner.unacknowledged()

    def hang_up(self) -> HangUp:
        """Whether the client has left; one that has closed its side has."""
        found = self._inner.hang_up()
        return HangUp.GONE if found is HangUp.HALF else found

    def peer_uid(self) -> int | None:
        """Of a Unix socket: the user who connected."""
        return self._inner.peer_uid()

    def snapshot(self) -> TcpInfo | None:
        """The kernel's view."""
        return self._inner.snapshot()

    def probe(self) -> None:
        """Sends a TCP keep-alive probe now, if nothing has come in for a second."""
        self._inner.probe()

    def stop_probing(self) -> None:
        """Switches TCP keep-alive off, if `probe` switched it on."""
        self._inner.stop_probing()


def _words(exc: ssl.SSLError) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"the client's certificate: {exc.verify_message.rstrip('.')}"
    return tls_words(exc)
