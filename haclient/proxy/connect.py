"""CONNECT: a tunnel to the destination that the client names (RFC 9110, section 9.3.6).

The destination is allowed, as far as can be told by its name, and nothing was sent to anybody. Names, order
and race are those of a request, and each address is judged before it is dialled. Until a connection stands
the client is told nothing, and what it has sent along already waits; then it gets 200, which says no more
than that, and bytes go both ways as they are (proxy.tunnel). A server that dies while it owes an answer ends
both sides within the failover window; whoever spoke through the tunnel sees a reset and may ask again.

Without a connection the answer is one of haclient's own, and the client's connection ends: a client that
sent along what was meant for its server must not have that read as a next request.
"""

from __future__ import annotations

import trio

from haclient.core.request_head import RequestLine
from haclient.engine.dial import Dial
from haclient.engine.live import LiveTarget
from haclient.errors import Error
from haclient.net.http1_server import RawHead
from haclient.proxy.account import Account
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import Outcome
from haclient.proxy.reply import status_for
from haclient.proxy.tunnel import Tunnel
from haclient.types import AttemptRecord, Verdict

__all__ = ["Connect"]

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""No field: one that frames content has no place here, and clients of old take others amiss."""

OK = 200


class Connect(Account):
    """One tunnel, counted under its listener; `run` once."""

    __slots__ = ("_dial",)

    def __init__(
        self,
        gateway: Gateway,
        side: ClientSide,
        raw: RawHead,
        line: RequestLine,
        live: LiveTarget,
    ) -> None:
        super().__init__(gateway, side, raw, line, side.door.settings.name)
        side.http.begin_content(0)
        self._dial = Dial(live, gateway.observe)

    async def run(self) -> bool:
        """Serves the tunnel to its end; returns False, for nothing can follow on the connection."""
        try:
            await self._serve()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._gone = self._gone or "the client left"
            raise
        finally:
            self._dial.end(Verdict.CANCELLED)
            self._tell()
        return False

    async def _serve(self) -> None:
        try:
            connection = await self._dial.connect()
        except Error as error:
            status, token = status_for(error), error.proxy_status.token
            await self._say_problem(status, str(error), token, is_last=True)
            return
        await self._say_established()
        await self._relay(Tunnel(self._side, connection, self._gateway, self._dial.note_answer))

    async def _say_established(self) -> None:
        self._head_at, self._status = trio.current_time(), OK
        await self._side.send(ESTABLISHED)
        self._outcome = Outcome.TUNNELLED

    async def _relay(self, tunnel: Tunnel) -> None:
        try:
            await tunnel.run()
        finally:
            sides, end = tunnel.sides, tunnel.sides.end()
            self._bytes_up, self._bytes_down = sides.bytes_up, sides.bytes_down
            self._error, self._detail = end.error, end.detail
            self._dial.end(end.verdict, end.why, end.evidence)

    def _records(self) -> tuple[AttemptRecord, ...]:
        return self._dial.records
