"""An answer's way from a server to the client.

The head is written anew from judged fields, never echoed: one framing, CRLF, and nothing of ours that
the client's Connection could name away. Content goes out as it comes in, and no faster than the client
takes it: the next piece is read when the last one was handed to the kernel, so memory holds one.

An answer that breaks off is never made to look whole: counted and chunked content ends early, which any
client sees; content that only the connection's end would delimit ends in a reset.
"""

from __future__ import annotations

from haclient.core.fields import (
    ResponseEnd,
    response_fields,
    response_framing,
    trailer_fields,
)
from haclient.core.proxy_status import describe_attempts, proxy_status
from haclient.core.request_head import RequestLine
from haclient.core.response_head import write_interim_head, write_response_head
from haclient.engine.exchange import Answer
from haclient.net.http1 import Head
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.tunnel import Tunnel
from haclient.types import Fields

__all__ = ["Relay"]


class Relay:
    """One answer.

    Attributes:
        may_persist: whether the connection may go on behind the answer.
        bytes_sent: of content (of a tunnel, towards the client).
        bytes_up: of a tunnel, towards the server.
        detail: what there is to say of its end, for a person.
        error: the RFC 9209 error type of a tunnel that ended because its server is gone.
    """

    __slots__ = (
        "_answer",
        "_end",
        "_is_via_wanted",
        "_line",
        "_side",
        "bytes_sent",
        "bytes_up",
        "detail",
        "error",
        "may_persist",
    )

    def __init__(
        self, side: ClientSide, line: RequestLine, answer: Answer, *, is_via_wanted: bool
    ) -> None:
        self._side = side
        self._line = line
        self._answer = answer
        self._is_via_wanted = is_via_wanted
        self._end = ResponseEnd.NONE
        self.may_persist = False
        self.bytes_sent = 0
        self.bytes_up = 0
        self.error = ""
        self.detail = ""

    @staticmethod
    def interim(head: Head) -> bytes:
        """A 1xx head as it goes to the client; empty for one that is not fit for the wire.

        The final answer is worth more than a hint: a server whose hint is garbled is not given up.
        """
        framing = response_framing("GET", head.status, (), client_is_http10=False)
        fields = response_fields(head.status, head.fields, framing)
        try:
            return write_interim_head(head.status, head.reason, fields)
        except ValueError:
            return b""

    async def run(self, data: bytes) -> None:
        """Relays the content to its end, behind the head that `head` gave.

        Raises:
            haclient.errors.Error: the answer broke off.
            trio.BrokenResourceError, trio.ClosedResourceError: the client is gone.
        """
        answer, send = self._answer, self._side.send
        if answer.connection.http.has_content_at_hand and (chunk := await answer.read_chunk()):
            # A small answer whole, or the first of a long one: one call to the kernel for two.
            data += self._framed(chunk)
        await send(data)
        while chunk := await answer.read_chunk():
            await send(self._framed(chunk))
        if self._end is ResponseEnd.CHUNKED:
            await send(_last_chunk(trailer_fields(answer.trailers)))
        await answer.finish()

    def head(self, *, may_persist: bool) -> bytes:
        """The head as it goes to the client; sets `may_persist`.

        Raises:
            ValueError: the server's cannot be passed on.
        """
        head, line = self._answer.head, self._line
        framing = response_framing(
            line.method, head.status, head.fields, client_is_http10=line.is_http10
        )
        self._end = framing.end
        self.may_persist = may_persist = may_persist and framing.end is not ResponseEnd.UNTIL_CLOSE
        fields = response_fields(head.status, head.fields, framing, via=self._via_value())
        if self._answer.attempt.number > 1:
            fields = (*fields, (b"Proxy-Status", self._proxy_status()))
        connection = None
        if not may_persist:
            connection = b"close"
        elif line.is_http10:
            connection = b"keep-alive"
        return write_response_head(head.status, head.reason, fields, connection=connection)

    def _via_value(self) -> bytes | None:
        """By the version that the server speaks (RFC 9110, section 7.6.3)."""
        return b"%b haclient" % self._answer.head.http_version if self._is_via_wanted else None

    def _proxy_status(self) -> bytes:
        answer = self._answer
        return proxy_status(
            next_hop=str(answer.connection.endpoint),
            received_status=answer.head.status,
            details=describe_attempts(answer.attempts),
        )

    def _framed(self, chunk: bytes) -> bytes:
        self.bytes_sent += len(chunk)
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._end is ResponseEnd.CHUNKED else chunk

    def break_off(self) -> None:
        """The content ends here, and the client must see that it is not whole."""
        if self._end is ResponseEnd.UNTIL_CLOSE:
            self._side.transport.reset()
        else:
            self._side.transport.close()

    async def tunnel(self, gateway: Gateway) -> None:
        """Relays 101 and then bytes both ways, until both sides have ended."""
        head, answer = self._answer.head, self._answer
        framing = response_framing(
            self._line.method, head.status, head.fields, client_is_http10=False
        )
        fields = response_fields(head.status, head.fields, framing, via=self._via_value())
        await self._side.send(write_response_head(head.status, head.reason, fields))
        tunnel = Tunnel(self._side, answer.connection, gateway)
        try:
            await tunnel.run(answer.leftover())
        finally:
            self._tell_tunnel(tunnel)

    def _tell_tunnel(self, tunnel: Tunnel) -> None:
        sides, end = tunnel.sides, tunnel.sides.end()
        self.bytes_sent, self.bytes_up = sides.bytes_down, sides.bytes_up
        self.error, self.detail = end.error, end.detail
        self._answer.abandon(end.verdict, end.why, evidence=end.evidence)


def _last_chunk(trailers: Fields) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in trailers]
    return b"0\r\n%b\r\n" % b"".join(lines)
