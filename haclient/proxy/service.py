"""One request of a client's: routed, asked of the engine, its answer relayed, its record told.

Straight-line code in the connection's own task. Whatever way it takes out of here (an answer, an error
of ours, a client that left, a drain) the record is told, and the request's content let go of.
"""

from __future__ import annotations

import random

import trio

from haclient.core.affinity import Affinity, key_of
from haclient.core.fields import forwarded_value, request_fields
from haclient.core.loops import PSEUDONYM
from haclient.core.request_head import RequestLine
from haclient.core.spec import HostHeader, IdempotencyKey
from haclient.engine.attempt import Attempt
from haclient.engine.exchange import Answer, exchange
from haclient.engine.keyed import as_keyed, facts_of
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Request, Sticky
from haclient.errors import Error, ProxyStatus
from haclient.net.http1 import Head
from haclient.net.http1_server import BadRequest, ClientLeft, RawHead
from haclient.proxy.account import Account
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.inflow import Inflow
from haclient.proxy.record import Outcome
from haclient.proxy.relay import Relay
from haclient.proxy.reply import status_for
from haclient.types import AttemptRecord, Fields, Verdict

__all__ = ["Service"]

VIA = {False: b"1.1 " + PSEUDONYM, True: b"1.0 " + PSEUDONYM}
"""By whether the request came in HTTP/1.0 (RFC 9110, section 7.6.3: the version received)."""

NOT_FOUND, SWITCHING, BAD_GATEWAY = 404, 101, 502

MASK_64 = (1 << 64) - 1


class Service(Account):
    """See the module's docstring; `run` once."""

    __slots__ = ("_attempts", "_inflow", "_live", "is_answering")

    def __init__(
        self,
        gateway: Gateway,
        side: ClientSide,
        raw: RawHead,
        line: RequestLine,
        live: LiveTarget | None = None,
    ) -> None:
        """`live` is a forward proxy's, for whom the request itself says where it goes."""
        super().__init__(gateway, side, raw, line, "")
        side.http.begin_content(line.length)
        self._live = live
        self._inflow = Inflow(side, line)
        self._attempts: list[Attempt] = []
        self.is_answering = False

    async def run(self) -> bool:
        """Serves the request; whether the connection may carry another."""
        try:
            if (live := self._live) is not None:
                self.target = self._side.door.settings.name
                return await self._ask(live)
            name = self._side.door.routes.match(self._line.host, self._line.target)
            if name is None or (live := self._gateway.targets.get(name)) is None:
                return await self._say_not_found()
            self.target = name
            return await self._ask(live)
        except (trio.BrokenResourceError, trio.ClosedResourceError, ClientLeft) as exc:
            self._gone = self._gone or str(exc) or "the client left"
            return False
        finally:
            self._bytes_up += self._inflow.bytes_read
            self._tell()
            # Each knows the request, and that knows us: a cycle, which only the collector would free.
            self._attempts.clear()

    # --- the request -------------------------------------------------------------------------

    async def _ask(self, live: LiveTarget) -> bool:
        inflow = self._inflow
        try:
            content = await inflow.content(live.spec.replay_limit, self._gateway.ledger)
        except BadRequest as bad:
            return await self._say(bad.status, bad.reason, ProxyStatus.HTTP_REQUEST_ERROR.token)
        line, spec = self._line, live.spec
        fields, facts = self._fields_for(live), facts_of(line.method)
        meaning = spec.idempotency_key
        if not facts.is_idempotent and (
            meaning is IdempotencyKey.GENERATE or b"idempotency-key" in line.names
        ):
            fields, facts = as_keyed(line.method, fields, meaning)
        request = Request(
            line.method,
            line.target,
            fields,
            content,
            facts,
            is_target_whole=line.target == "*",
            is_upgrade=line.upgrade is not None,
            on_interim=None if line.is_http10 else self._relay_interim,
            sticky=None if live.owners is None else self._sticky(spec.affinity),
        )
        try:
            try:
                answer = await exchange(
                    live, request, self._gateway.observe, attempts=self._attempts
                )
            except Error as error:
                return await self._say_error(error)
            return await self._relay(answer)
        finally:
            if content.small is None:
                await content.aclose()

    def _fields_for(self, live: LiveTarget) -> Fields:
        line, settings = self._line, self._side.door.settings
        made = random.getrandbits(128 + 64)  # names, no secrets
        self._request_id = request_id = f"{made >> 64:032x}"
        fields = request_fields(
            line,
            self._raw.fields,
            preserve_host=live.spec.host_header is HostHeader.PRESERVE,
            via=VIA[line.is_http10] if settings.via else None,
            forwarded=self._forwarded() if settings.forwarded else None,
            request_id=request_id.encode(),
            # Not sampled: nobody records a trace that begins here (W3C Trace Context, 3.2.2.5).
            traceparent=f"00-{request_id}-{made & MASK_64:016x}-00".encode(),
        )
        if b"x-request-id" in line.names:
            self._request_id = _value(fields, b"x-request-id")
        return fields

    def _sticky(self, affinity: Affinity) -> Sticky:
        return Sticky(key_of(affinity, self._raw.fields, self._side.identity))

    def _forwarded(self) -> bytes:
        endpoint = self._side.transport.endpoint
        address = "" if endpoint.is_unix else endpoint.address
        proto = "http" if self._side.door.settings.tls is None else "https"
        return forwarded_value(address, self._line.authority, proto)

    async def _relay_interim(self, head: Head) -> None:
        if not self.is_answering:
            data = Relay.interim(head)
            if data:
                await self._side.send(data)

    # --- the answer --------------------------------------------------------------------------

    async def _relay(self, answer: Answer) -> bool:
        settings = self._side.door.settings
        relay = Relay(self._side, self._line, answer, is_via_wanted=settings.via)
        self.is_answering = True
        self._head_at = trio.current_time()
        self._status = answer.head.status
        try:
            await self._inflow.settle_continue()
            if answer.head.status == SWITCHING:
                self._outcome = Outcome.TUNNELLED
                await relay.tunnel(self._gateway)
                return False
            return await self._relay_content(relay, answer)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.Cancelled):
            self._outcome = Outcome.CLIENT_GONE
            raise
        finally:
            answer.abandon()
            self._bytes_down += relay.bytes_sent
            self._bytes_up = relay.bytes_up
            self._error = self._error or relay.error
            self._detail = self._detail or relay.detail

    async def _relay_content(self, relay: Relay, answer: Answer) -> bool:
        may_persist = self._line.is_persistent and not self._side.door.is_draining
        try:
            head = relay.head(may_persist=may_persist and self._inflow.is_whole)
        except ValueError as exc:
            return await self._say_garbled(answer, str(exc))
        try:
            await relay.run(head)
        except Error as error:
            # Part of the answer is out: the client must see that it is not whole.
            self._outcome = Outcome.BROKEN_OFF
            self._error, self._detail = error.proxy_status.token, str(error)
            relay.break_off()
            return False
        self._outcome = Outcome.ANSWERED
        return relay.may_persist

    # --- answers of our own ------------------------------------------------------------------

    async def _say_not_found(self) -> bool:
        detail = f"no route of listener {self._side.door.settings.name} takes this request"
        return await self._say(NOT_FOUND, detail, ProxyStatus.DESTINATION_NOT_FOUND.token)

    async def _say_garbled(self, answer: Answer, why: str) -> bool:
        """A head that the engine could read, and that must not reach a client."""
        answer.abandon(Verdict.GARBLED, why)
        detail = f"{answer.connection.endpoint} sent a head that cannot be passed on: {why}"
        return await self._say(BAD_GATEWAY, detail, ProxyStatus.HTTP_PROTOCOL_ERROR.token, may=True)

    async def _say_error(self, error: Error) -> bool:
        inflow = self._inflow
        if inflow.has_client_left:
            self._gone = "the client left before its request was whole"
            return False
        if inflow.refused is not None:
            refused = inflow.refused
            return await self._say(
                refused.status, refused.reason, ProxyStatus.HTTP_REQUEST_ERROR.token
            )
        may = error.may_have_been_processed
        return await self._say(status_for(error), str(error), error.proxy_status.token, may)

    async def _say(self, status: int, detail: str, token: str, may: bool = False) -> bool:
        may_go_on = self._line.is_persistent and self._inflow.is_whole
        may_go_on = may_go_on and not self._side.door.is_draining and not self._line.is_http10
        self.is_answering = True
        await self._say_problem(status, detail, token, is_last=not may_go_on, may=may)
        return may_go_on

    def _records(self) -> tuple[AttemptRecord, ...]:
        return tuple(one.record for one in self._attempts if one.record is not None)


def _value(fields: Fields, name: bytes) -> str:
    return next(value for key, value in fields if key.lower() == name).decode("latin-1")
