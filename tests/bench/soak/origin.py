"""A server of the soak, as a process: it does what each request asks, and misbehaves as it is told.

    python -m tests.bench.soak.origin 127.0.0.2:8080 a journal

Every request is written to the journal twice, by one write(2) each, so that kill -9 loses nothing: "begun"
when its head is here, "done" when its content is (it is executed then), before a byte of the answer
leaves. What the answer is to be stands in the request target, so that every server gives the same one:

    /ID?size=5000&etag=strong&framing=chunked&think=20

Only an answer with a strong ETag has the same bytes whoever gives it; any other one has the server's name
mixed in, so that a mixture of two would show. Orders come on standard input, one JSON object a line, each
answered by one; the process ends when they do.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import h11
import trio

from haclient.net.blackhole import blackhole, drop_content, heal
from tests.bench.soak.content import PIECE_BYTES, content_of, digest
from tests.support.origin import LineReader, first_byte

__all__ = ["MODES"]

MODES: Mapping[str, tuple[str, ...]] = {
    "well": (),
    "slow": ("slow",),
    "resets": ("reset before", "reset within"),
    "ends": ("end before", "end within"),
    "garbage": ("garbage",),
    "unavailable": ("503", "503 early"),
}
"""How a server may misbehave, and what it then does to some of its requests."""

GARBAGE = (
    b"HTTP/1.1 two hundred OK\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: minus one\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked, gzip\r\n\r\nzz",
    random.Random(300).randbytes(300),
)

UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"X-Origin: %b\r\nContent-Length: 5\r\n\r\nbusy\n"
)

SLOW = (0.3, 3.0)
"""Seconds: from less than suspicion takes to more than proof takes."""


class Hit(Exception):
    """The connection ends here, in the manner of `how`."""


@dataclass(frozen=True)
class Asked:
    """What a request wants of us."""

    request_id: str
    method: str
    fields: dict[bytes, bytes]
    options: dict[str, str] = field(default_factory=dict)

    @classmethod
    def by(cls, head: h11.Request) -> Asked:
        path, _, query = head.target.decode().partition("?")
        return cls(path[1:], head.method.decode(), dict(head.headers), dict(parse_qsl(query)))

    def content(self, name: str) -> bytes:
        """Of the answer to GET and HEAD."""
        mixed = "" if self.etag.startswith('"') else f":{name}"
        return content_of(self.request_id + mixed, int(self.options.get("size", "0")))

    @property
    def etag(self) -> str:
        """As it stands in the field; empty for none."""
        kinds = {"strong": f'"{self.request_id}"', "weak": f'W/"{self.request_id}"'}
        return kinds.get(self.options.get("etag", ""), "")

    @property
    def is_last(self) -> bool:
        """Whether the connection is to end behind the answer."""
        return self.fields.get(b"connection") == b"close" or self.options.get("framing") == "close"


class Server:
    """All connections of the process."""

    def __init__(self, name: str, journal: str) -> None:
        self.name = name
        self.mode = "well"
        self.share = 1.0
        self._random = random.Random(name)
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._listener: trio.SocketListener | None = None
        self._accepted: set[trio.SocketStream] = set()
        self._healed = trio.Event()
        self._healed.set()

    def write_down(self, what: str, asked: Asked, **more: object) -> None:
        """One line of the journal."""
        line = {"what": what, "id": asked.request_id, "method": asked.method, **more}
        os.write(self._journal, json.dumps(line).encode() + b"\n")

    def hit(self) -> str:
        """What is done to the next request; empty for nothing."""
        ways = MODES[self.mode]
        return self._random.choice(ways) if ways and self._random.random() < self.share else ""

    def garbage(self) -> bytes:
        return self._random.choice(GARBAGE)

    def slowness(self) -> float:
        return self._random.uniform(*SLOW)

    async def be_silent(self) -> None:
        """Waits while blackholed: what a blackholed socket sends would still leave."""
        await self._healed.wait()

    async def serve(
        self, bind: str, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until cancelled."""
        host, _, port = bind.rpartition(":")
        (self._listener,) = await trio.open_tcp_listeners(int(port), host=host)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                nursery.start_soon(self._converse, await self._listener.accept())

    async def _converse(self, stream: trio.SocketStream) -> None:
        self._accepted.add(stream)
        if self._healed.is_set():
            heal(stream.socket)  # what it inherited from the listening one
        else:
            blackhole(stream.socket)
        try:
            await Conversation(self, stream).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, Hit):
            pass
        finally:
            self._accepted.discard(stream)
            await trio.aclose_forcefully(stream)

    def obey(self, order: dict[str, Any]) -> None:
        """Carries out an order."""
        assert self._listener is not None
        match order["do"]:
            case "mode":
                self.mode, self.share = order["mode"], order["share"]
            case "blackhole":
                blackhole(self._listener.socket)
                self._fall_silent()
            case "blackhole before reading":
                drop_content(self._listener.socket)
                self._fall_silent()
            case "blackhole the door":
                blackhole(self._listener.socket)
            case "heal":
                for stream in self._accepted:
                    heal(stream.socket)
                heal(self._listener.socket)
                self._healed.set()
            case other:
                raise ValueError(f"no such order: {other}")

    def _fall_silent(self) -> None:
        self._healed = trio.Event()
        for stream in self._accepted:
            blackhole(stream.socket)


class Conversation:
    """One connection. h11 reads; what is sent is written by hand, for not all of it is HTTP."""

    def __init__(self, server: Server, stream: trio.SocketStream) -> None:
        self._server = server
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        """Until it ends."""
        is_last = False
        while not is_last and isinstance(head := await self._next_event(), h11.Request):
            asked = Asked.by(head)
            self._server.write_down("begun", asked)
            await self._exchange(asked)
            is_last = asked.is_last
            leftover, _ = self._http.trailing_data
            self._http = h11.Connection(h11.SERVER)
            if leftover:
                self._http.receive_data(leftover)

    async def _exchange(self, asked: Asked) -> None:
        server = self._server
        if b"upgrade" in asked.fields:
            await self._echo(asked)
            return
        hit = server.hit()
        if hit == "503 early":
            await self._send(UNAVAILABLE % server.name.encode())
            await self._stream.send_eof()
            raise Hit
        content = await self._read_content(asked)
        server.write_down("done", asked, hash=digest(content), bytes=len(content))
        await trio.sleep(int(asked.options.get("think", "0")) / 1000)
        await self._suffer(hit)
        await self._answer(asked, content, hit)

    async def _suffer(self, hit: str) -> None:
        """What is done to a request before its answer."""
        server = self._server
        match hit:
            case "slow":
                await trio.sleep(server.slowness())
            case "reset before":
                self._reset()
            case "end before":
                raise Hit
            case "garbage":
                await self._send(server.garbage())
                raise Hit
            case "503":
                await self._send(UNAVAILABLE % server.name.encode())
                raise Hit

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise Hit

    # --- in ----------------------------------------------------------------------------------

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(PIECE_BYTES)))
        return event

    async def _read_content(self, asked: Asked) -> bytes:
        if asked.fields.get(b"expect") == b"100-continue":
            await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = bytearray()
        while not isinstance(event := await self._next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            content += event.data
        return bytes(content)

    # --- out ---------------------------------------------------------------------------------

    async def _send(self, data: bytes) -> None:
        await self._server.be_silent()
        await self._stream.send_all(data)

    async def _answer(self, asked: Asked, uploaded: bytes, hit: str) -> None:
        name = self._server.name
        if asked.method in {"GET", "HEAD"}:
            content = asked.content(name)
        else:
            said = f"{name} {asked.method} {asked.request_id} {len(uploaded)} {digest(uploaded)}\n"
            content = said.encode()
        first = first_byte(asked.fields, asked.etag.encode(), len(content)) if asked.etag else 0
        status = b"206 Partial Content" if first else b"200 OK"
        lines = [b"HTTP/1.1 " + status, b"X-Origin: " + name.encode()]
        if asked.etag:
            lines.append(b"ETag: " + asked.etag.encode())
        if first:
            lines.append(b"Content-Range: bytes %d-%d/%d" % (first, len(content) - 1, len(content)))
        await self._send_framed(asked, lines, content[first:], hit)

    async def _send_framed(
        self, asked: Asked, lines: list[bytes], content: bytes, hit: str
    ) -> None:
        framing = asked.options.get("framing", "counted")
        if framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
        elif framing == "counted":
            lines.append(b"Content-Length: %d" % len(content))
        if asked.is_last:
            lines.append(b"Connection: close")
        await self._send(b"\r\n".join([*lines, b"", b""]))
        if asked.method == "HEAD":
            return
        is_within = hit.endswith(" within")
        end = len(content) // 2 if is_within else len(content)
        for start in range(0, end, PIECE_BYTES):
            piece = content[start : min(start + PIECE_BYTES, end)]
            await self._send(
                b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece
            )
        if hit == "reset within":
            self._reset()
        if is_within:
            raise Hit
        if framing == "chunked":
            await self._send(b"0\r\n\r\n")

    async def _echo(self, asked: Asked) -> None:
        """A tunnel: what comes in goes out."""
        assert await self._next_event() is not None  # EndOfMessage: a GET has no content
        self._server.write_down("done", asked, hash=digest(b""), bytes=0)
        name = self._server.name.encode()
        await self._send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"X-Origin: %b\r\n\r\n" % name
        )
        data, _ = self._http.trailing_data
        while data or (data := bytes(await self._stream.receive_some(PIECE_BYTES))):
            await self._send(data)
            data = b""
        raise Hit


async def main(bind: str, name: str, journal: str) -> None:
    """Serves until standard input ends."""
    server = Server(name, journal)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, bind)
        print(json.dumps({"pid": os.getpid()}), flush=True)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orders:
            reader = LineReader(orders)
            while line := await reader.read_line():
                server.obey(json.loads(line))
                print("{}", flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
