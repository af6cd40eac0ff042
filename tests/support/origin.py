"""A scripted HTTP/1.1 origin on a real socket, for tests and benches on loopback.

The simulated origin proves the policy; this one proves that the kernel plays along. It thinks,
drips, does not read an upload, serves one connection at a time, and blackholes itself without root
(haclient.net.blackhole), so that its peer sees a dead host. Within a test's own nursery:

    origin = Origin("a")
    await nursery.start(origin.serve, "127.0.0.2:0")
    origin.behaviour = Behaviour(think=2.0)
    assert origin.log[0].request_id == "7"

or as a process of its own, which can be killed and stopped (tests.support.origin_process):

    async with origin_process("127.0.0.2:0") as origin:
        await origin.set(Behaviour(blackhole_at=Moment.AFTER_READING))
        await origin.executed()
        await origin.kill()

The process reads orders from standard input, one JSON object a line, answers each with one line,
and ends when its input does: nobody forgets it. Python and h11 serve a few thousand requests a
second at the most; a bench of more wants another server.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import enum
import json
import os
import ssl
import sys
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import trio

from haclient.net.blackhole import blackhole, drop_content, heal
from haclient.types import Endpoint

__all__ = ["Behaviour", "Framing", "LineReader", "Moment", "Origin", "Served"]

HttpStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

PIECE_BYTES = 65536
PATTERN = b"0123456789abcdef" * (PIECE_BYTES // 16)


class Framing(enum.Enum):
    """How the end of a response's content is told (RFC 9112, section 6.3)."""

    COUNTED = "counted"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "close"


class Moment(enum.Enum):
    """When the origin's machine dies: every socket of it, the listening one too."""

    NEVER = "never"
    BEFORE_READING = "before reading"
    """Not a byte of the next request is acknowledged, on whatever connection it comes. Not for
    `upcoming`: which request is the next one shows only once it is read."""
    AFTER_READING = "after reading"
    """The request was acknowledged, and is in the log."""
    IN_RESPONSE = "in response"
    """Half of the content was sent."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What to do with a request."""

    status: int = 200
    think: float = 0.0
    """Seconds between the request and the first byte of the response."""
    content_bytes: int | None = None
    """None: one line that says who answers what."""
    framing: Framing = Framing.COUNTED
    piece_bytes: int = PIECE_BYTES
    pause: float = 0.0
    """Seconds between two pieces of the content."""
    unread_for: float = 0.0
    """Seconds before the request's content is read."""
    blackhole_at: Moment = Moment.NEVER
    etag: str = ""
    """With quotes. Where there is one, a range to the end is honoured (RFC 9110, section 14)."""
    closes: bool = False

    @classmethod
    def of(cls, values: dict[str, Any]) -> Behaviour:
        """From JSON."""
        framing = Framing(values.get("framing", Framing.COUNTED.value))
        moment = Moment(values.get("blackhole_at", Moment.NEVER.value))
        return cls(**{**values, "framing": framing, "blackhole_at": moment})

    def as_json(self) -> dict[str, Any]:
        """For `of`."""
        values = dataclasses.asdict(self)
        return {k: v.value if isinstance(v, enum.Enum) else v for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Served:
    """A request in the log: executed, if it `is_whole`. `connection` counts from 1."""

    request_id: str
    method: str
    target: str
    content_bytes: int
    connection: int
    is_whole: bool


class Origin:
    """Serves within a nursery.

    Args:
        name: said in the X-Origin field.
        behaviour: for every request; `upcoming` holds those for the next ones, in turn.
        is_single_threaded: one connection at a time; others wait in the kernel.
        tls: the server's context, for https.
        receive_buffer: bytes of SO_RCVBUF, so that an unread upload shuts the window soon.
    """

    def __init__(
        self,
        name: str = "origin",
        behaviour: Behaviour = Behaviour(),
        *,
        is_single_threaded: bool = False,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
    ) -> None:
        self.name = name
        self.upcoming: deque[Behaviour] = deque()
        self.log: list[Served] = []
        self.endpoint = Endpoint("", 0)
        self._behaviour = behaviour
        self._is_single_threaded = is_single_threaded
        self._tls = tls
        self._receive_buffer = receive_buffer
        self._listener: trio.SocketListener | None = None
        self._accepted: dict[int, trio.SocketStream] = {}
        self._connections = 0
        self._is_blackholed = False
        self._healed = trio.Event()

    def __repr__(self) -> str:
        return f"<Origin {self.name} at {self.endpoint}, {self.executed} executed>"

    @property
    def executed(self) -> int:
        """How many requests were read whole."""
        return sum(served.is_whole for served in self.log)

    @property
    def behaviour(self) -> Behaviour:
        """What is done with every request that `upcoming` says nothing about."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        if behaviour.blackhole_at is Moment.BEFORE_READING and self._listener is not None:
            for stream in self._accepted.values():
                blackhole(stream.socket)
            drop_content(self._listener.socket)

    async def serve(
        self,
        bind: str = "127.0.0.1:0",
        task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listens on address:port and serves until cancelled; starts with its endpoint."""
        address, _, port = bind.rpartition(":")
        listeners = await trio.open_tcp_listeners(int(port), host=address.strip("[]"))
        (self._listener,) = listeners
        if self._receive_buffer is not None:
            sock = self._listener.socket
            sock.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, self._receive_buffer)
        self.endpoint = Endpoint(*self._listener.socket.getsockname()[:2])
        self.behaviour = self._behaviour
        async with self._listener, trio.open_nursery() as nursery:
            task_status.started(self.endpoint)
            while True:
                stream = await self._listener.accept()
                if self._is_single_threaded:
                    await self._converse(stream)
                else:
                    nursery.start_soon(self._converse, stream)

    def blackhole(self) -> None:
        """From now on nothing reaches this origin; it falls silent, too."""
        self._is_blackholed = True
        for sock in self._sockets():
            blackhole(sock)

    def heal(self) -> None:
        """Takes `blackhole` back, and every Behaviour's blackhole_at."""
        self._behaviour = dataclasses.replace(self._behaviour, blackhole_at=Moment.NEVER)
        for sock in self._sockets():
            heal(sock)
        self._is_blackholed = False
        self._healed.set()
        self._healed = trio.Event()

    async def be_silent(self) -> None:
        """Waits while blackholed: what a blackholed socket sends would still leave."""
        while self._is_blackholed:
            await self._healed.wait()

    def _sockets(self) -> list[trio.socket.SocketType]:
        listening = [self._listener.socket] if self._listener is not None else []
        return [stream.socket for stream in self._accepted.values()] + listening

    async def _converse(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        number = self._connections
        self._accepted[number] = stream
        if self._behaviour.blackhole_at is Moment.BEFORE_READING:
            self.blackhole()
        elif self._is_blackholed:
            blackhole(stream.socket)
        else:
            heal(stream.socket)  # a filter inherited from the listening socket
        http: HttpStream = stream
        if self._tls is not None:
            http = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        try:
            await Conversation(self, http, number).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass
        finally:
            del self._accepted[number]
            await trio.aclose_forcefully(stream)


class Conversation:
    """One connection of an Origin."""

    def __init__(self, origin: Origin, stream: HttpStream, number: int) -> None:
        self._origin = origin
        self._stream = stream
        self._number = number
        self._http = h11.Connection(h11.SERVER)

    def __repr__(self) -> str:
        return f"<Conversation {self._number} of {self._origin.name}>"

    async def run(self) -> None:
        """Serves requests until the connection ends."""
        while True:
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                break
            origin = self._origin
            behaviour = origin.upcoming.popleft() if origin.upcoming else origin.behaviour
            await trio.sleep(behaviour.unread_for)
            await self._read_content(head)
            if behaviour.blackhole_at is Moment.AFTER_READING:
                origin.blackhole()
            await trio.sleep(behaviour.think)
            await self._respond(head, behaviour)
            if self._http.our_state is not h11.DONE:
                break
            self._http.start_next_cycle()
        await self._stream.aclose()

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(bytes(await self._stream.receive_some(PIECE_BYTES)))
        return event

    async def _read_content(self, head: h11.Request) -> None:
        content_bytes, is_whole = 0, False
        try:
            while isinstance(event := await self._next_event(), h11.Data):
                content_bytes += len(event.data)
            is_whole = isinstance(event, h11.EndOfMessage)
        finally:
            request_id = dict(head.headers).get(b"x-request-id", b"").decode("latin-1")
            method, target = head.method.decode("latin-1"), head.target.decode("latin-1")
            self._origin.log.append(
                Served(request_id, method, target, content_bytes, self._number, is_whole)
            )

    async def _respond(self, head: h11.Request, behaviour: Behaviour) -> None:
        content = content_of(head, behaviour, self._origin.name)
        status, first = behaviour.status, 0
        fields = [(b"X-Origin", self._origin.name.encode())]
        asked = dict(head.headers)
        if b"x-request-id" in asked:
            fields.append((b"X-Request-Id", asked[b"x-request-id"]))
        if behaviour.etag:
            etag = behaviour.etag.encode()
            fields += [(b"ETag", etag), (b"Accept-Ranges", b"bytes")]
            first = first_byte(asked, etag, len(content))
            if first:
                status = 206
                last = len(content) - 1
                fields.append((b"Content-Range", b"bytes %d-%d/%d" % (first, last, len(content))))
        content = content[first:]
        if behaviour.closes or behaviour.framing is Framing.UNTIL_CLOSE:
            fields.append((b"Connection", b"close"))
        if behaviour.framing is Framing.COUNTED:
            fields.append((b"Content-Length", b"%d" % len(content)))
        await self._origin.be_silent()
        if behaviour.framing is Framing.UNTIL_CLOSE:
            # h11 frames with chunks for every HTTP/1.1 client.
            lines = [b"HTTP/1.1 %d OK" % status, *(b"%b: %b" % field for field in fields)]
            await self._stream.send_all(b"\r\n".join(lines) + b"\r\n\r\n")
        else:
            await self._send(h11.Response(status_code=status, headers=fields, reason=b"OK"))
        if head.method != b"HEAD" and status not in (204, 304):
            await self._send_content(content, behaviour)
        if behaviour.framing is not Framing.UNTIL_CLOSE:
            await self._send(h11.EndOfMessage())

    async def _send_content(self, content: bytes, behaviour: Behaviour) -> None:
        half = len(content) // 2
        dies = behaviour.blackhole_at is Moment.IN_RESPONSE
        for start in range(0, len(content), behaviour.piece_bytes):
            piece = content[start : start + behaviour.piece_bytes]
            if start and behaviour.pause:
                await trio.sleep(behaviour.pause)
            if dies and start <= half < start + len(piece):
                await self._send_piece(piece[: half - start], behaviour)
                self._origin.blackhole()
                await self._origin.be_silent()
                piece = piece[half - start :]
            await self._send_piece(piece, behaviour)

    async def _send_piece(self, piece: bytes, behaviour: Behaviour) -> None:
        await self._origin.be_silent()
        if behaviour.framing is Framing.UNTIL_CLOSE:
            await self._stream.send_all(piece)
        elif piece:
            await self._send(h11.Data(data=piece))

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self._stream.send_all(data)


def content_of(head: h11.Request, behaviour: Behaviour, name: str) -> bytes:
    """The whole content that is to be sent for a request."""
    if behaviour.content_bytes is None:
        return b"%b: %b %b\n" % (name.encode(), head.method, head.target)
    return (PATTERN * (behaviour.content_bytes // len(PATTERN) + 1))[: behaviour.content_bytes]


def first_byte(asked: dict[bytes, bytes], etag: bytes, length: int) -> int:
    """Where a "Range: bytes=N-" begins, if If-Range agrees (RFC 9110, section 13.1.5); else 0."""
    unit, _, span = asked.get(b"range", b"").partition(b"=")
    if unit != b"bytes" or not span.endswith(b"-") or asked.get(b"if-range", etag) != etag:
        return 0
    first = int(span[:-1] or b"0")
    return first if first < length else 0


# -- As a process --------------------------------------------------------------------------------


class LineReader:
    """Reads line by line from a pipe."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = b""

    async def read_line(self) -> bytes:
        """Returns the next line without its end; b"" where there is none any more."""
        while b"\n" not in self._buffer:
            data = await self._stream.receive_some()
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


async def obey(origin: Origin, orders: trio.abc.ReceiveStream) -> None:
    """Carries out one order a line, and answers each with one line, until the orders end."""
    reader = LineReader(orders)
    while line := await reader.read_line():
        order = json.loads(line)
        answer: dict[str, Any] = {"ok": True}
        if "set" in order:
            origin.behaviour = Behaviour.of(order["set"])
        elif "next" in order:
            origin.upcoming.extend(map(Behaviour.of, order["next"]))
        elif order.get("do") == "blackhole":
            origin.blackhole()
        elif order.get("do") == "heal":
            origin.heal()
        elif order.get("ask") == "log":
            answer["log"] = [dataclasses.asdict(served) for served in origin.log]
        else:
            answer = {"ok": False, "error": f"no such order: {order}"}
        print(json.dumps(answer), flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.origin")
    parser.add_argument("--bind", default="127.0.0.1:0")
    parser.add_argument("--name", default="origin")
    parser.add_argument("--single-threaded", action="store_true")
    parser.add_argument("--receive-buffer", type=int)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    return parser.parse_args(arguments)


async def main(options: argparse.Namespace) -> None:
    """Serves until standard input ends."""
    tls = None
    if options.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.cert, options.key)
    origin = Origin(
        options.name,
        is_single_threaded=options.single_threaded,
        tls=tls,
        receive_buffer=options.receive_buffer,
    )
    async with trio.open_nursery() as nursery:
        endpoint = await nursery.start(origin.serve, options.bind)
        hello = {"address": endpoint.address, "port": endpoint.port, "pid": os.getpid()}
        print(json.dumps(hello), flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orders:
            await obey(origin, orders)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(partial(main, parse()))
