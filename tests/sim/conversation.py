"""What a simulated origin does on one connection: read, execute, suffer, answer.

h11 reads the requests and frames the responses. It will not frame a response by the connection's
end to an HTTP/1.1 client, so that one head is written here.

Faults are chosen as a request's first byte arrives (as the connection comes about, for those on
connect), and those chosen belong to that exchange. Kernel effects strike from the connection's
tripwire, at the exact byte; the application's when it comes to that byte.
"""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable
from typing import TypeVar, assert_never

import h11
import trio

from tests.sim.effects import (
    AfterContentBytes,
    AfterHeadBytes,
    AfterRequest,
    AfterRequestBytes,
    AfterResponse,
    Blackhole,
    BlackholeConnect,
    Effect,
    Fault,
    Fin,
    Garbage,
    HalfOpen,
    Kill,
    OnConnect,
    Refuse,
    Reset,
    SlowDrip,
    Stall,
)
from tests.sim.script import Framing, OriginState, ReceivedRequest, Reply
from tests.sim.segment import Tripwire
from tests.sim.stream import SimStream

__all__ = ["Conversation"]

DRIP_EVERY = 0.1
"""Seconds between two pieces of a drip, as long as a piece has at least a byte."""

MAX_HEAD_BYTES = 131072
"""More than any head that a test sends: the limits to be tested are the client's."""

KernelEffect = Blackhole | Reset | Fin | Kill | HalfOpen

StepT = TypeVar("StepT", AfterHeadBytes, AfterContentBytes)


class ConversationEnded(Exception):
    """The effect leaves nothing more to say on this connection."""


class Conversation:
    """One connection, from its handshake on; `run` once it is accepted."""

    def __init__(self, origin: OriginState, stream: SimStream, number: int) -> None:
        self._origin = origin
        self._stream = stream
        self._number = number
        self._http = new_h11()
        self._bytes_per_second: float | None = None
        # The request that is being read: where it begins, and what befalls its exchange.
        self._begins_at = 0
        self._begun_at: float | None = None
        self._faults: list[Fault] | None = None
        self._struck: list[Fault] = []
        self._head: h11.Request | None = None
        self._content = bytearray()
        stream.end.tripwire = Tripwire(self._next_trip, self._trip)
        self._on_connect = origin.due(happens_once_connected)
        for fault in self._on_connect:
            if isinstance(fault.effect, KernelEffect):
                self._strike(fault, fault.effect)

    def __repr__(self) -> str:
        return f"<Conversation {self._number} of {self._origin.name}>"

    async def run(self) -> None:
        """Serves until the connection ends, one way or another."""
        try:
            for fault in self._on_connect:
                if not isinstance(fault.effect, KernelEffect):
                    await self._suffer(fault)
            while await self._exchange():
                pass
        except (ConversationEnded, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if self.unfinished is not None:
                self._origin.note(f"{self._number}: request broke off")
            self._stream.close()

    async def _exchange(self) -> bool:
        """One request and its response; returns whether there may be another one."""
        request = await self._read_request()
        if request is None:
            return False
        self._origin.executed.append(request)
        line = b" ".join((request.method, request.target)).decode("latin-1")
        self._origin.note(f"{self._number}: {line}")
        for fault in self._faults or ():
            if isinstance(fault.at, AfterRequest):
                await self._suffer(fault)
        reply = self._origin.reply
        reply = reply if isinstance(reply, Reply) else reply(request)
        await self._respond(request, reply)
        if self._http.our_state is not h11.DONE:
            return False
        return await self._rest()

    # -- Reading ---------------------------------------------------------------------------------

    async def _read_request(self) -> ReceivedRequest | None:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as exc:
                self._origin.note(f"{self._number}: not HTTP ({exc})")
                await self._send_plainly(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                return None
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send_interim(100)
                await self._receive()
            elif isinstance(event, h11.Request):
                self._head = event
            elif isinstance(event, h11.Data):
                self._content += event.data
            elif isinstance(event, h11.EndOfMessage):
                return self._take_request()
            else:
                return None

    async def _receive(self) -> None:
        """Reads up to the next byte at which the application has something to suffer."""
        ahead = [fault for fault in self._faults or () if fault not in self._struck]
        counts = []
        for fault in ahead:
            if isinstance(fault.at, AfterRequestBytes) and not isinstance(
                fault.effect, KernelEffect
            ):
                counts.append(fault.at.count)
                if fault.at.count <= self._bytes_of_request():
                    self._struck.append(fault)
                    await self._suffer(fault)
        here = self._bytes_of_request()
        wanted = min((count - here for count in counts if count > here), default=65536)
        if self._faults is None:
            wanted = 1  # what befalls this exchange is not known before its first byte
        elif self._bytes_per_second is not None:
            wanted = min(wanted, max(1, int(self._bytes_per_second * DRIP_EVERY)))
            await trio.sleep(wanted / self._bytes_per_second)
        data = await self._stream.receive_some(wanted)
        if data and self._faults is None:
            self._begin()
        self._http.receive_data(data)

    def _bytes_of_request(self) -> int:
        return self._stream.bytes_received - self._begins_at

    def _take_request(self) -> ReceivedRequest:
        request = self._request(trio.current_time(), is_whole=True)
        self._begun_at = None
        self._head = None
        self._content.clear()
        return request

    def _request(self, at: float, *, is_whole: bool) -> ReceivedRequest:
        head, content = self._head, bytes(self._content)
        if head is None:
            return ReceivedRequest(at, self._number)
        fields = tuple(head.headers.raw_items())
        return ReceivedRequest(
            at, self._number, head.method, head.target, fields, content, is_whole
        )

    @property
    def unfinished(self) -> ReceivedRequest | None:
        """The request of which a byte has arrived, and which was not read whole (yet)."""
        if self._begun_at is None or self._stream.end.rcv_nxt <= self._begins_at:
            return None
        return self._request(self._begun_at, is_whole=False)

    # -- Answering -------------------------------------------------------------------------------

    async def _respond(self, request: ReceivedRequest, reply: Reply) -> None:
        for status in reply.interim:
            await self._send_interim(status)
        if reply.think:
            await trio.sleep(reply.think)
        content = reply.content
        if content is None:
            line = b" ".join((request.method, request.target, request.content))
            content = self._origin.name.encode() + b": " + line + b"\n"
        head, encode, end = self._framed(request, reply, content)
        if request.method == b"HEAD" or reply.status in (204, 304):
            content = b""
        await self._send_in_steps(head, AfterHeadBytes, self._send_plainly)
        await self._send_in_steps(content, AfterContentBytes, encode)
        await self._send_plainly(end())
        self._origin.note(f"{self._number}: answered {reply.status}")

    def _framed(
        self, request: ReceivedRequest, reply: Reply, content: bytes
    ) -> tuple[bytes, Callable[[bytes], Awaitable[None]], Callable[[], bytes]]:
        """The head, how content is sent, and what comes after it."""
        fields = [*reply.fields, (b"X-Origin", self._origin.name.encode())]
        request_id = request.value(b"x-request-id")
        if request_id is not None:
            fields.append((b"X-Request-Id", request_id))
        if reply.closes or reply.framing is Framing.UNTIL_CLOSE:
            fields.append((b"Connection", b"close"))
        if reply.framing is Framing.UNTIL_CLOSE:
            phrase = http.HTTPStatus(reply.status).phrase
            lines = [f"HTTP/1.1 {reply.status} {phrase}".encode()]
            lines += [name + b": " + value for name, value in fields]
            return b"\r\n".join(lines) + b"\r\n\r\n", self._send_plainly, lambda: b""
        if reply.framing is Framing.COUNTED and reply.status not in (204, 304):
            fields.append((b"Content-Length", b"%d" % len(content)))
        head = self._http.send(
            h11.Response(
                status_code=reply.status,
                headers=fields,
                reason=http.HTTPStatus(reply.status).phrase.encode(),
            )
        )

        async def encode(piece: bytes) -> None:
            await self._send_plainly(self._http.send(h11.Data(data=piece)) if piece else b"")

        return head, encode, lambda: self._http.send(h11.EndOfMessage()) or b""

    async def _send_in_steps(
        self, data: bytes, step: type[StepT], send: Callable[[bytes], Awaitable[None]]
    ) -> None:
        sent = 0
        faults = [(f.at.count, f) for f in self._faults or () if isinstance(f.at, step)]
        for count, fault in sorted(faults, key=lambda pair: pair[0]):
            upto = max(sent, min(count, len(data)))
            await send(data[sent:upto])
            sent = upto
            await self._suffer(fault)
        await send(data[sent:])

    async def _send_interim(self, status: int) -> None:
        interim = h11.InformationalResponse(
            status_code=status, headers=[], reason=http.HTTPStatus(status).phrase.encode()
        )
        await self._send_plainly(self._http.send(interim) or b"")

    async def _send_plainly(self, data: bytes) -> None:
        """Sends bytes as they are, at the rate in force."""
        rate = self._bytes_per_second
        if rate is None:
            if data:
                await self._stream.send_all(data)
            return
        size = max(1, int(rate * DRIP_EVERY))
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            await self._stream.send_all(piece)
            await trio.sleep(len(piece) / rate)

    async def _rest(self) -> bool:
        """Between two exchanges; returns whether the next one may come."""
        idle = [f for f in self._faults or () if isinstance(f.at, AfterResponse)]
        self._http.start_next_cycle()
        self._bytes_per_second = None
        self._faults = None
        self._struck.clear()
        self._begins_at = self._stream.bytes_received - len(self._http.trailing_data[0])
        for fault in idle:
            assert isinstance(fault.at, AfterResponse)
            if fault.at.seconds:
                with trio.move_on_after(fault.at.seconds):
                    await self._receive()
                    return True  # the next request came first
            await self._suffer(fault)
        return True

    # -- Suffering -------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A request's first byte is here: chooses what befalls its exchange."""
        self._begun_at = trio.current_time()
        self._faults = self._origin.due(lambda fault: not isinstance(fault.at, OnConnect))

    def _next_trip(self) -> int | None:
        """The byte at which the kernel has something to do (tests.sim.tcp.Tripwire)."""
        if self._faults is None:
            return self._begins_at
        counts = [
            fault.at.count
            for fault in self._faults
            if isinstance(fault.at, AfterRequestBytes)
            and isinstance(fault.effect, KernelEffect)
            and fault not in self._struck
        ]
        return self._begins_at + min(counts) if counts else None

    def _trip(self, _at: float) -> None:
        if self._faults is None:
            self._begin()
            return
        reached = self._stream.end.rcv_nxt - self._begins_at
        for fault in self._faults:
            if not isinstance(fault.at, AfterRequestBytes) or fault in self._struck:
                continue
            if isinstance(fault.effect, KernelEffect) and fault.at.count <= reached:
                self._struck.append(fault)
                self._strike(fault, fault.effect)

    async def _suffer(self, fault: Fault) -> None:
        """An effect, for the application.

        Raises:
            ConversationEnded: nothing more is to be said.
        """
        effect: Effect = fault.effect
        match effect:
            case Blackhole():
                self._strike(fault, effect)
            case Reset() | Fin() | Kill() | HalfOpen():
                self._strike(fault, effect)
                raise ConversationEnded
            case Stall(seconds):
                self._note(fault)
                await trio.sleep(seconds)
            case SlowDrip(bytes_per_second):
                self._note(fault)
                self._bytes_per_second = bytes_per_second
            case Garbage(data):
                self._note(fault)
                await self._stream.send_all(data)
                while await self._stream.receive_some():
                    pass
                raise ConversationEnded
            case Refuse() | BlackholeConnect():
                raise AssertionError(f"{effect} is the listener's")
            case _:
                assert_never(effect)

    def _strike(self, fault: Fault, effect: KernelEffect) -> None:
        """An effect, at once."""
        self._note(fault)
        network, endpoint = self._origin.network, self._origin.endpoint
        match effect:
            case Blackhole(seconds, spares_others):
                network.blackhole(self._stream if spares_others else endpoint, seconds)
            case Reset():
                self._stream.send_reset()
            case Fin():
                self._stream.end.incoming.clear()  # else close would send RST
                self._stream.close()
            case Kill():
                network.kill(endpoint)
            case HalfOpen():
                self._stream.forget()
            case _:
                assert_never(effect)

    def _note(self, fault: Fault) -> None:
        self._origin.note(f"{self._number}: suffers {fault}")


def new_h11() -> h11.Connection:
    """The server's side of HTTP/1.1."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)


def happens_once_connected(fault: Fault) -> bool:
    """Whether a fault is for a connection that has just come about."""
    return isinstance(fault.at, OnConnect) and not isinstance(
        fault.effect, Refuse | BlackholeConnect
    )
