"""What an exchange has come to so far, and what is told of it once it is over: of requests and of CONNECT.

Whatever way an exchange takes out of its task (an answer, an error of ours, a client that left, a drain)
ends in one record. The naive way writes that record at each way out, and forgets one. Here what is known is
kept as it becomes known, at the outset as if the client had left, for that is what an end from outside is;
and `_tell` is called in a `finally`.

A base class, and no object beside the exchange: one is made for each request.
"""

from __future__ import annotations

import trio

from haclient.core.fields import request_id_of
from haclient.core.request_head import RequestLine
from haclient.net.http1_server import RawHead
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.proxy.refuse import new_request_id
from haclient.proxy.reply import content_size, problem
from haclient.types import AttemptRecord, Instant

__all__ = ["Account"]

CUTTABLE = {Outcome.CLIENT_GONE, Outcome.TUNNELLED}
"""What an end from outside would look like otherwise."""


class Account:
    """Of one exchange.

    Attributes:
        began_at: the first byte of the request was read.
        target: what it is counted under.
    """

    __slots__ = (
        "_bytes_down",
        "_bytes_up",
        "_detail",
        "_error",
        "_gateway",
        "_gone",
        "_head_at",
        "_is_cut",
        "_line",
        "_outcome",
        "_raw",
        "_request_id",
        "_side",
        "_status",
        "began_at",
        "target",
    )

    def __init__(
        self, gateway: Gateway, side: ClientSide, raw: RawHead, line: RequestLine, target: str
    ) -> None:
        self._gateway = gateway
        self._side = side
        self._raw = raw
        self._line = line
        self._request_id = ""
        self._status = 0
        self._outcome = Outcome.CLIENT_GONE
        self._error = ""
        self._detail = ""
        self._gone = ""
        self._is_cut = False
        self._head_at: Instant | None = None
        self._bytes_up = 0
        self._bytes_down = 0
        self.began_at = side.began_at
        self.target = target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._line.method} {self._line.target}>"

    def note_client_gone(self, why: str, *, is_cut: bool = False) -> None:
        """The connection is about to be ended for this reason."""
        self._gone, self._is_cut = why, is_cut

    def _records(self) -> tuple[AttemptRecord, ...]:
        """Of all that was tried."""
        raise NotImplementedError

    def _identify(self) -> str:
        """The request's id, also where it came to no server's fields."""
        if not self._request_id:
            self._request_id = request_id_of(self._raw.fields) or new_request_id()
        return self._request_id

    async def _say_problem(
        self, status: int, detail: str, token: str, *, is_last: bool, may: bool = False
    ) -> None:
        """Sends an answer of our own; `may`: a server may have executed the request.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the client is gone.
        """
        self._head_at = trio.current_time()
        self._status, self._error, self._detail = status, token, detail
        attempts = self._records()
        endpoints = [str(one.endpoint) for one in attempts if one.endpoint is not None]
        data = problem(
            status,
            detail,
            error=token,
            is_head=self._line.method == "HEAD",
            is_last=is_last,
            request_id=self._identify(),
            began_at=self.began_at,
            may_have_been_processed=may,
            attempts=attempts,
            next_hop=endpoints[-1] if endpoints else "",
        )
        await self._side.send(data)
        self._outcome, self._bytes_down = Outcome.OWN, content_size(data)

    def _tell(self) -> None:
        line, outcome = self._line, self._outcome
        is_gone = outcome is Outcome.CLIENT_GONE
        self._gateway.tell(
            ExchangeRecord(
                listener=self._side.door.settings.name,
                target=self.target,
                client=self._side.client,
                request_id=self._identify(),
                method=line.method,
                path=line.target,
                host=line.authority.decode("latin-1"),
                http_version="1.0" if line.is_http10 else "1.1",
                status=self._status,
                outcome=Outcome.CUT if self._is_cut and outcome in CUTTABLE else outcome,
                began_at=self.began_at,
                ended_at=trio.current_time(),
                head_at=self._head_at,
                request_bytes=self._bytes_up,
                response_bytes=self._bytes_down,
                attempts=self._records(),
                error=self._error,
                detail=self._gone if is_gone else self._detail,
            )
        )
