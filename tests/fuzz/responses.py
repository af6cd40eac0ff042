"""What a server may say, and what a client may be told of it.

The strict reader finds in the server's bytes an answer that is whole, one that is not, or none. The client
gets the first as it is; for the others it gets an error of ours, or a beginning that it can see to be one.
Whatever it was, the next request gets its own answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import h11
import trio

from tests.corpus.reader import Ambiguous, Message, read_response
from tests.fuzz.rig import Rig, Violation, hear, rig, run, say
from tests.sim.stream import SimStream

__all__ = ["ENDS", "check_response"]

ENDS = ("open", "fin", "reset")
"""What the server does behind what it says."""

WITHIN = 5.0

RESPONSE_TIMEOUT = 0.7
"""Seconds: a server that says nothing more is waited for so long, and each look at it costs a fuzzer time."""

METHODS = ("GET", "HEAD", "POST")
MOST_INTERIM = 32
OWN = frozenset({502, 504})
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


class Server:
    """Says what it was given to its first request, and answers every other one in order."""

    def __init__(self, pieces: Sequence[bytes], end: str) -> None:
        self._pieces: Sequence[bytes] | None = pieces
        self._end = end

    async def serve(self, stream: SimStream) -> None:
        """One connection."""
        while await read_head(stream):
            pieces, self._pieces = self._pieces, None
            if pieces is None:
                await stream.send_all(NEXT)
                continue
            await say(stream, pieces)
            if self._end == "fin":
                await stream.send_eof()
            elif self._end == "reset":
                await trio.testing.wait_all_tasks_blocked()
                stream.reset()
                return


async def read_head(stream: SimStream) -> bool:
    """One head, whose content (the requests here have next to none) comes with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some()
        if not more:
            return False
        data += more
    return True


@dataclass(frozen=True)
class Told:
    """What a client got: as the strict reader reads it, if it is whole."""

    answer: Message | None
    heard: bytes


def check_response(pieces: Sequence[bytes], method: str, end: str) -> str:
    """Has a server say them; returns what became of it: "passed", "own" or "broken".

    Raises:
        Violation
    """
    return str(run(_play, pieces, method, end))


async def _play(pieces: Sequence[bytes], method: str, end: str) -> str:
    server = Server(pieces, end)
    async with rig(server.serve, RESPONSE_TIMEOUT) as r:
        began_at = trio.current_time()
        told = await _ask(r, method)
        took = trio.current_time() - began_at
        # What crosses the next request on the wire cannot be told from its answer.
        await trio.sleep(0.01)
        after = await _ask(r, "GET")
        await trio.sleep(0.5)
        r.check()
    if took > WITHIN:
        raise Violation(f"it took {took:.1f} s")
    if after.answer is None or after.answer.content != b"next":
        raise Violation(f"the next request was told {after.heard[:300]!r}")
    return _judge(b"".join(pieces), method, end, told)


async def _ask(r: Rig, method: str) -> Told:
    stream = r.connect()
    length = "Content-Length: 2\r\n" if method == "POST" else ""
    request = f"{method} /x HTTP/1.1\r\nHost: shop\r\n{length}Connection: close\r\n\r\n".encode()
    await say(stream, [request + b"hi" * bool(length)])
    with trio.fail_after(100):
        heard, is_in_order = await hear(stream)
    stream.close()
    return Told(_final(heard, method, is_end=is_in_order, is_ours=True)[0], heard)


def _final(
    data: bytes, method: str, *, is_end: bool, is_ours: bool = False
) -> tuple[Message | None, bytes]:
    """The answer behind the interim ones, and what is behind it.

    Raises:
        Ambiguous: for what the server says; a Violation for what we say.
    """
    for _ in range(MOST_INTERIM + 1):
        try:
            message = read_response(data, method, is_end=is_end) if data else None
        except Ambiguous as exc:
            if is_ours:
                raise Violation(f"an answer of ours is ambiguous: {exc}: {data[:300]!r}") from exc
            raise
        if message is None or not message.first[0].startswith(b"1"):
            rest = data[message.size :] if message is not None else b""
            if is_ours and rest:
                raise Violation(f"behind the answer: {rest[:300]!r}")
            return message, rest
        data = data[message.size :]
    raise Ambiguous("too many interim answers")


def is_plain(said: bytes, method: str, *, is_end: bool) -> bool:
    """Whether h11 takes it as well, and no chunk has an extension.

    The strict reader looks for what may be read in two ways; names and extensions that are none it takes.
    """
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    http.send(h11.EndOfMessage())
    http.receive_data(said)
    if is_end:
        http.receive_data(b"")
    try:
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return False
    except h11.RemoteProtocolError:
        return False
    return b";" not in said


def _judge(said: bytes, method: str, end: str, told: Told) -> str:
    answer = told.answer
    if answer is not None and answer.values(b"proxy-status"):
        if int(answer.first[0]) not in OWN:
            raise Violation(f"an error of ours with {answer.first}")
        return "own"
    try:
        wanted, _ = _final(said, method, is_end=end == "fin")
    except Ambiguous as exc:
        if answer is not None:
            raise Violation(f"passed on whole, and {exc}: {said[:300]!r}") from exc
        return "broken"
    if answer is None:
        if wanted is not None and end != "reset" and is_plain(said, method, is_end=end == "fin"):
            raise Violation(f"whole, and not passed on: {said[:300]!r}, heard {told.heard[:300]!r}")
        return "broken"
    if wanted is None:
        raise Violation(f"not whole, and looks so: {said[:300]!r}, heard {told.heard[:300]!r}")
    if (answer.first[0], answer.content) != (wanted.first[0], wanted.content):
        raise Violation(f"{wanted!r} became {answer!r}")
    return "passed"
