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

from haclient.core.fields import request_id_of
from haclient.core.request_head import RequestLine
from haclient.engine.dial import Dial
from haclient.engine.live import LiveTarget
from haclient.errors import Error
from haclient.net.http1_server import RawHead
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.proxy.refuse import new_request_id
from haclient.proxy.reply import content_size, problem, status_for
from haclient.proxy.tunnel import Tunnel
from haclient.types import Instant, Verdict

__all__ = ["Connect"]

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
"""No field: one that frames content has no place here, and clients of old take others amiss."""

OK = 200


class Connect:
    """One tunnel; `run` once.

    Attributes:
        target: what it is counted under, the listener.
    """

    __slots__ = (
        "_detail",
        "_dial",
        "_error",
        "_gateway",
        "_gone",
        "_head_at",
        "_is_cut",
        "_line",
        "_live",
        "_moved",
        "_outcome",
        "_request_id",
        "_side",
        "_status",
        "began_at",
        "target",
    )

    def __init__(
        self,
        gateway: Gateway,
        side: ClientSide,
        raw: RawHead,
        line: RequestLine,
        live: LiveTarget,
    ) -> None:
        side.http.begin_content(0)
        self.began_at = side.began_at
        self.target = side.door.settings.name
        self._gateway = gateway
        self._side = side
        self._line = line
        self._live = live
        self._dial = Dial(live, gateway.observe)
        self._request_id = request_id_of(raw.fields) or new_request_id()
        self._status = 0
        self._outcome = Outcome.CLIENT_GONE
        self._error = ""
        self._detail = ""
        self._gone = ""
        self._is_cut = False
        self._head_at: Instant | None = None
        self._moved = 0, 0

    def __repr__(self) -> str:
        return f"<Connect {self._line.target}>"

    def note_client_gone(self, why: str, *, is_cut: bool = False) -> None:
        """The connection is about to be ended for this reason."""
        self._gone, self._is_cut = why, is_cut

    async def run(self) -> bool:
        """Serves the tunnel to its end; returns False, for nothing can follow on the connection."""
        try:
            connection = await self._dial.connect()
        except Error as error:
            await self._say(error)
        else:
            await self._say_established()
            note_answer = self._dial.note_answer
            await self._relay(Tunnel(self._side, connection, self._gateway, note_answer))
        finally:
            self._dial.end(Verdict.CANCELLED)
            self._tell()
        return False

    async def _say_established(self) -> None:
        self._head_at, self._status = trio.current_time(), OK
        await self._side.send(ESTABLISHED)
        self._outcome = Outcome.TUNNELLED

    async def _relay(self, tunnel: Tunnel) -> None:
        try:
            await tunnel.run()
        finally:
            sides, end = tunnel.sides, tunnel.sides.end()
            self._moved = sides.bytes_up, sides.bytes_down
            self._error, self._detail = end.error, end.detail
            self._dial.end(end.verdict, end.why, end.evidence)

    async def _say(self, error: Error) -> None:
        self._head_at, self._status = trio.current_time(), status_for(error)
        self._error, self._detail = error.proxy_status.token, str(error)
        attempts = self._dial.records
        endpoints = [str(one.endpoint) for one in attempts if one.endpoint is not None]
        data = problem(
            self._status,
            self._detail,
            error=self._error,
            is_head=False,
            is_last=True,
            request_id=self._request_id,
            began_at=self.began_at,
            attempts=attempts,
            next_hop=endpoints[-1] if endpoints else "",
        )
        await self._side.send(data)
        self._outcome, self._moved = Outcome.OWN, (0, content_size(data))

    def _tell(self) -> None:
        is_gone = self._outcome is Outcome.CLIENT_GONE
        is_cut = self._is_cut and self._outcome is not Outcome.OWN
        up, down = self._moved
        self._gateway.tell(
            ExchangeRecord(
                listener=self.target,
                target=self.target,
                client=self._side.client,
                request_id=self._request_id,
                method="CONNECT",
                path=self._line.target,
                host=self._line.target,
                http_version="1.0" if self._line.is_http10 else "1.1",
                status=self._status,
                outcome=Outcome.CUT if is_cut else self._outcome,
                began_at=self.began_at,
                ended_at=trio.current_time(),
                head_at=self._head_at,
                request_bytes=up,
                response_bytes=down,
                attempts=self._dial.records,
                error=self._error,
                detail=(self._gone or "the client left") if is_gone else self._detail,
            )
        )
