"""The soak's clients: each kind a manner of using a connection that some program in the world has.

A visit is one connection of one client. All that it does comes from a generator of its own, seeded by the
run's seed and the visit's number; only the order in which things interleave is the machine's.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.bench.soak.content import content_of, digest
from tests.bench.soak.history import Ended, Sent
from tests.bench.soak.wire import Line, Upload

__all__ = ["KINDS", "Visit", "visit"]

KIB, MIB = 1 << 10, 1 << 20

REPLAY_LIMIT = 64 * KIB
"""The smallest that the daemon's file ever says in a run: past it a resend may be impossible."""

MESSAGES = 8


@dataclass
class Doors:
    """Where the daemon is to be had."""

    port: int
    unix_socket: Path


class Visit:
    """What a client needs: chance, a door, and a book to write its requests into."""

    def __init__(self, name: str, doors: Doors, book: list[Sent], client: str) -> None:
        self.random = random.Random(name)
        self._name = name
        self._doors = doors
        self._book = book
        self._client = client
        self._made = 0

    def request(self, method: str, **more: Any) -> Sent:
        """A new one, in the book."""
        self._made += 1
        request_id = f"{self._client}-{self._name}-{self._made}"
        sent = Sent(request_id, self._client, method, up_hash=digest(b""), **more)
        self._book.append(sent)
        sent.began_at = sent.ended_at = trio.current_time()
        return sent

    async def line(self, receive_buffer: int | None = None, *, is_tcp: bool = False) -> Line:
        """A new connection, by either door."""
        if receive_buffer is None and not is_tcp and self.random.random() < 0.4:
            return Line(await trio.open_unix_socket(self._doors.unix_socket))
        sock = trio.socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await sock.connect(("127.0.0.1", self._doors.port))
        return Line(trio.SocketStream(sock))

    def size(self, most: int) -> int:
        """Mostly small, now and then all that may be."""
        share = self.random.random()
        if share < 0.1:
            return 0
        if share < 0.6:
            return self.random.randrange(1, 4 * KIB)
        if share < 0.9:
            return self.random.randrange(1, 100 * KIB)
        return self.random.randrange(1, most)

    def download(self, method: str = "GET", most: int = 100 * KIB) -> Sent:
        """GET or HEAD."""
        chance = self.random
        return self.request(
            method,
            down_bytes=self.size(most),
            etag=chance.choice(["strong", "strong", "weak", ""]),
            framing=chance.choice(["counted", "counted", "chunked", "close"]),
        )

    def upload(self, method: str, most: int) -> tuple[Sent, Upload]:
        """PUT or POST."""
        sent = self.request(method, up_bytes=self.size(most))
        sent.is_streamed = sent.up_bytes > REPLAY_LIMIT
        content = content_of(sent.request_id, sent.up_bytes)
        sent.up_hash = digest(content)
        return sent, Upload(content)

    async def any_request(self, line: Line, *fields: tuple[str, str]) -> Sent:
        """A small one of any method."""
        method = self.random.choice(["GET", "GET", "GET", "HEAD", "PUT", "DELETE", "POST", "POST"])
        think = self.random.choice([0, 0, 5, 50])
        upload = Upload()
        match method:
            case "GET" | "HEAD":
                sent = self.download(method)
            case "DELETE":
                sent = self.request(method)
            case _:
                sent, upload = self.upload(method, 100 * KIB)
                sent.has_key = method == "POST" and self.random.random() < 0.3
        await line.exchange(sent, fields, upload=upload, think=think)
        return sent


# --- the kinds ------------------------------------------------------------------------------------


async def keeps_alive(visit: Visit) -> None:
    """One request after another, with pauses."""
    line = await visit.line()
    for _ in range(visit.random.randrange(1, 7)):
        await visit.any_request(line)
        if not line.may_go_on:
            break
        await trio.sleep(visit.random.choice([0, 0.01, 0.5]))
    await line.close()


async def one_shot(visit: Visit) -> None:
    """A connection for a request."""
    line = await visit.line()
    await visit.any_request(line, ("Connection", "close"))
    await line.close()


async def old(visit: Visit) -> None:
    """HTTP/1.0: what has no length ends with the connection."""
    sent = visit.download()
    # A Unix socket knows no reset: there an end that only the connection tells cannot be told from
    # a break (docs/support.md).
    line = await visit.line(is_tcp=sent.framing != "counted")
    await line.exchange(sent, is_old=True)
    await line.close()


async def downloads(visit: Visit) -> None:
    """Up to 5 MiB, sometimes the rest of something."""
    line = await visit.line()
    sent, fields = visit.download(most=5 * MIB), []
    if sent.etag == "strong" and sent.down_bytes > 1 and visit.random.random() < 0.3:
        sent.first_byte = visit.random.randrange(1, sent.down_bytes)
        fields.append(("Range", f"bytes={sent.first_byte}-"))
    await line.exchange(sent, fields)
    await line.close()


async def reads_slowly(visit: Visit) -> None:
    """Takes some seconds to take what is there at once."""
    line = await visit.line(receive_buffer=32 * KIB)
    sent = visit.download(most=3 * MIB)
    sent.down_bytes = max(sent.down_bytes, 300 * KIB)
    seconds = visit.random.uniform(0.5, 4)
    line.pause = min(0.5, seconds / (sent.down_bytes / (32 * KIB)))
    await line.exchange(sent)
    await line.close()


async def pipelines(visit: Visit) -> None:
    """Sends them all before it reads the first answer."""
    line = await visit.line()
    methods = [visit.random.choice(["GET", "GET", "HEAD"]) for _ in range(5)]
    many = [visit.download(method) for method in methods]
    await line.send_ahead(many)
    for sent in many:
        if line.may_go_on:
            await line.next_answer(sent)
        else:
            sent.ended = Ended.UNASKED
    await line.close()


async def leaves(visit: Visit) -> None:
    """Changes its mind, with a FIN or a reset."""
    line = await visit.line()
    if visit.random.random() < 0.3:
        sent, upload = visit.upload(visit.random.choice(["PUT", "POST"]), 100 * KIB)
    else:
        sent, upload = visit.download(most=5 * MIB), Upload()
    with trio.move_on_after(visit.random.choice([0.001, 0.05, 0.5, 1])) as scope:
        await line.exchange(sent, upload=upload, think=visit.random.choice([0, 500, 2000]))
    if scope.cancelled_caught:
        sent.ended, sent.ended_at = Ended.LEFT, trio.current_time()
    await line.close(resets=visit.random.random() < 0.5)


async def half_closes(visit: Visit) -> None:
    """Says that nothing more is coming, and waits."""
    line = await visit.line()
    think = visit.random.choice([0, 20, 1000, 3000])
    if visit.random.random() < 0.6:
        await line.exchange(visit.download(), think=think, half_closes=True)
    else:
        sent, upload = visit.upload("POST", 100 * KIB)
        await line.exchange(sent, upload=upload, think=think, half_closes=True)
    await line.close()


async def uploads(visit: Visit) -> None:
    """Up to 3 MiB, some of it with pauses."""
    line = await visit.line()
    chance = visit.random
    sent, upload = visit.upload(chance.choice(["PUT", "PUT", "POST", "POST"]), 3 * MIB)
    sent.has_key = sent.method == "POST" and chance.random() < 0.5
    upload.is_chunked = chance.random() < 0.5
    upload.expects = chance.random() < 0.3
    upload.pause = chance.choice([0, 0, 0.01, 0.1])
    await line.exchange(sent, upload=upload)
    await line.close()


async def breaks_off(visit: Visit) -> None:
    """Leaves in the midst of its upload: nobody may take that for the whole."""
    line = await visit.line()
    sent, upload = visit.upload(visit.random.choice(["PUT", "POST"]), 3 * MIB)
    if not sent.up_bytes:
        sent.up_bytes, upload.content = 1, b"x"
        sent.up_hash = digest(b"x")
    upload.is_chunked = visit.random.random() < 0.5
    upload.ends_at = visit.random.randrange(sent.up_bytes)
    sent.is_truncated = True
    with trio.move_on_after(visit.random.uniform(0.05, 0.5)) as scope:
        await line.exchange(sent, upload=upload)
    if scope.cancelled_caught:
        sent.ended, sent.ended_at = Ended.LEFT, trio.current_time()
    await line.close(resets=visit.random.random() < 0.5)


async def tunnels(visit: Visit) -> None:
    """Upgrades, and talks to an echo for some seconds."""
    line = await visit.line()
    sent = visit.request("GET", framing="tunnel")
    key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), key]
    await line.exchange(sent, [*upgrade, ("Sec-WebSocket-Version", "13")])
    if sent.status == 101:
        for _ in range(MESSAGES):
            message = visit.random.randbytes(visit.random.choice([10, 1000, 40 * KIB]))
            is_right = await line.echo(message)
            if not is_right:
                sent.ended = Ended.BROKEN if is_right is None else Ended.WRONG
                break
            await trio.sleep(visit.random.choice([0, 0.1, 0.5]))
        sent.ended_at = trio.current_time()
    await line.close(resets=visit.random.random() < 0.2)


Kind = Callable[[Visit], Awaitable[None]]

KINDS: dict[str, tuple[Kind, int]] = {
    "keep-alive": (keeps_alive, 6),
    "one-shot": (one_shot, 5),
    "HTTP/1.0": (old, 1),
    "download": (downloads, 3),
    "slow-reader": (reads_slowly, 2),
    "pipeline": (pipelines, 2),
    "leaver": (leaves, 2),
    "half-close": (half_closes, 2),
    "upload": (uploads, 4),
    "truncated": (breaks_off, 1),
    "tunnel": (tunnels, 1),
}
"""Name, manner, and how often of 29 times."""


async def visit(name: str, doors: Doors, book: list[Sent]) -> None:
    """One client comes, does what its kind does, and leaves; `name` is its seed, too."""
    names = list(KINDS)
    weights = [KINDS[name][1] for name in names]
    (kind,) = random.Random(f"kind of {name}").choices(names, weights)
    await KINDS[kind][0](Visit(name, doors, book, kind))
