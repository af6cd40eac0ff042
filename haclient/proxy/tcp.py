"""TCP mode: a client's bytes to a server as they come, whatever protocol they are.

Before the first byte all is as with a request: names, order, race, backups. What the client says meanwhile
waits in the kernel's buffer, so nothing of it is lost, and a server that ends the connection at once, before
anybody said anything, counts as one that could not be connected. From the first byte on nobody else can be
asked, for nobody knows what the bytes mean: the client is told of a failure by a reset, and connects anew.

A tunnel has no idle time-out: a pool of database connections may rest for hours, and costs no packet. It
ends when a side does, or by the drain: it is given drain_timeout, and is reset then.

    accepted → dialling → tunnel → over
        ↑__________|  turned away
"""

from __future__ import annotations

import math

import trio

from haclient.core.affinity import key_of
from haclient.core.tunnel_end import judge_end
from haclient.engine.dial import Dial
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Sticky
from haclient.errors import Error, ProxyStatus
from haclient.net.transport import ClientTransport, HangUp
from haclient.proxy.client_side import identity_of, name_of
from haclient.proxy.door import Door
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.proxy.refuse import new_request_id
from haclient.proxy.sides import Sides
from haclient.proxy.tunnel import Tunnel
from haclient.types import AttemptRecord, Instant, Verdict

__all__ = ["TcpSide", "serve_tcp"]

TURNED_AWAY = "ended before anything was said"


async def serve_tcp(gateway: Gateway, door: Door, transport: ClientTransport) -> None:
    """Serves a connection to its end; never raises for what a client or a server does."""
    side = TcpSide(gateway, door, transport)
    door.inside.add(side)
    door.requests += 1
    try:
        with side.scope:
            await side.run()
    except Exception as exc:
        # A fault of ours, whatever it is, ends one connection and no other.
        transport.reset()
        gateway.tell_fault(exc)
    finally:
        transport.close()
        door.inside.discard(side)


class TcpSide:
    """One client's connection, and what became of it.

    Attributes:
        target: the name of the one that its door leads to.
        is_passing_on: the client has a server.
        tunnel: to it.
    """

    __slots__ = (
        "_detail",
        "_door",
        "_error",
        "_gateway",
        "_outcome",
        "_tunnels",
        "_unsent",
        "began_at",
        "is_passing_on",
        "scope",
        "target",
        "transport",
        "tunnel",
    )

    def __init__(self, gateway: Gateway, door: Door, transport: ClientTransport) -> None:
        self.transport = transport
        self.is_passing_on = False
        self.tunnel: Tunnel | None = None
        self.scope = trio.CancelScope()
        self.target = door.settings.target or ""
        self.began_at: Instant = trio.current_time()
        self._gateway = gateway
        self._door = door
        self._tunnels = 0, 0
        self._unsent = b""
        self._outcome = Outcome.CLIENT_GONE
        self._error = ""
        self._detail = ""

    def __repr__(self) -> str:
        return f"<TcpSide {self.client} at {self._door.settings.name}>"

    @property
    def client(self) -> str:
        """Whose connection it is, for a person."""
        return name_of(self.transport)

    def take_buffered(self) -> bytes:
        """What another server did not take."""
        data, self._unsent = self._unsent, b""
        return data

    async def run(self) -> None:
        """From accepted to over; told at the end, whatever it is."""
        live = self._gateway.targets.get(self.target)
        if live is None or not live.spec.is_tcp:
            # A reload took it away in the moment in which this client came.
            self._turn_away(ProxyStatus.DESTINATION_NOT_FOUND, f"there is no target {self.target}")
            self._tell(())
            return
        sticky = None
        if live.owners is not None:
            sticky = Sticky(key_of(live.spec.affinity, (), identity_of(self.transport)))
        dial = Dial(live, self._gateway.observe, sticky)
        try:
            await self._relay(live, dial)
        except Error as error:
            self._turn_away(error.proxy_status, str(error))
        finally:
            dial.end(Verdict.CANCELLED, self._detail)
            self._tell(dial.records)

    def _turn_away(self, error: ProxyStatus, detail: str) -> None:
        """A clean end would say that a server had nothing to say."""
        self._outcome = Outcome.TURNED_AWAY
        self._error, self._detail = error.token, detail
        self.transport.reset()

    async def _relay(self, live: LiveTarget, dial: Dial) -> None:
        reason = ""
        while True:
            connection = await dial.connect(reason)
            may_turn_away = -math.inf
            if dial.number < live.spec.max_attempts:
                may_turn_away = trio.current_time() + live.spec.connect_timeout
            tunnel = Tunnel(self, connection, self._gateway, dial.note_answer, may_turn_away)
            try:
                self._outcome = Outcome.TUNNELLED
                await tunnel.run()
            finally:
                self._note_end(tunnel.sides, dial)
            if not tunnel.sides.is_turned_away:
                return
            reason = f"{connection.endpoint} {TURNED_AWAY}"

    def _note_end(self, sides: Sides, dial: Dial) -> None:
        up, down = self._tunnels
        self._tunnels = up, down = up + sides.bytes_up, down + sides.bytes_down
        self._unsent = sides.unsent_up
        if self._outcome is Outcome.CUT:
            self._detail = f"{up} bytes up, {down} down; {self._detail}"
            dial.end(Verdict.CANCELLED)
        elif sides.is_turned_away:
            self._outcome = Outcome.CLIENT_GONE
            dial.end(Verdict.CLOSED, sides.broken or TURNED_AWAY)
        else:
            is_unanswered = sides.is_unanswered
            end = judge_end(up, down, sides.dead, sides.broken, is_unanswered=is_unanswered)
            self._error, self._detail = end.error, end.detail
            dial.end(end.verdict, end.why, end.evidence)

    def _tell(self, attempts: tuple[AttemptRecord, ...]) -> None:
        up, down = self._tunnels
        self._gateway.tell(
            ExchangeRecord(
                listener=self._door.settings.name,
                target=self.target,
                client=self.client,
                request_id=new_request_id(),
                method="TCP",
                path="",
                host="",
                http_version="",
                status=0,
                outcome=self._outcome,
                began_at=self.began_at,
                ended_at=trio.current_time(),
                head_at=attempts[-1].usable_at if attempts else None,
                request_bytes=up,
                response_bytes=down,
                attempts=attempts,
                error=self._error,
                detail=self._detail,
                is_tcp=True,
            )
        )

    # --- what the door and the vigil call ------------------------------------------------------

    @property
    def is_outstanding(self) -> bool:
        """Whether there is something to lose: nobody knows what the bytes mean, so always."""
        return True

    def look(self, now: Instant) -> None:
        """Ends the work for a client that has reset its connection, where nobody else would notice."""
        if self.tunnel is not None:
            self.tunnel.look(now)
        if (self.tunnel is None or self.tunnel.is_held_up) and self._is_reset():
            self._detail = "" if self.tunnel else "the client left before it had a server"
            self.scope.cancel()

    def _is_reset(self) -> bool:
        return self.transport.hang_up() is HangUp.RESET

    def cancel(self) -> None:
        """The drain has lasted long enough."""
        self._outcome, self._detail = Outcome.CUT, "haclient was told to end"
        self.transport.reset()
        self.scope.cancel()

    def make_way(self) -> bool:
        """Never: there is no telling whether it wants something."""
        return False
