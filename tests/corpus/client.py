"""The client before a proxy under test: it says its bytes in pieces and keeps all that it hears.

What it heard is read by tests.corpus.reader once the connection has ended, so that nothing is looked
at in the light of what was expected: answers in order, what is left of a last one, and how it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from tests.corpus.reader import Ambiguous, Message, read_response

__all__ = ["CANARY", "Heard", "ask", "converse"]

PATIENCE = 5.0
"""Seconds: invariant F8, no bytes keep a proxy busy for longer."""

CANARY = b"GET /canary HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
VICTIM = b"GET /victim HTTP/1.1\r\nHost: a.test\r\n\r\n"


@dataclass
class Heard:
    """What came back on one connection.

    Attributes:
        answers: whole final ones, in order.
        interim: statuses of the others.
        rest: what came behind them: the beginning of an answer, or no answer.
        end: "eof", "reset", or "nothing" if it did not end in time.
        ambiguous: why the rest cannot be read, if so.
    """

    answers: list[Message] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    rest: bytes = b""
    end: str = "eof"
    ambiguous: str = ""

    @property
    def statuses(self) -> list[int]:
        return [int(answer.first[0]) for answer in self.answers]

    @property
    def echoes(self) -> list[str]:
        """What each says of its request; empty where it does not come from the server."""
        return [b"".join(one.values(b"x-echo")).decode("latin-1") for one in self.answers]


def understand(data: bytes, methods: Sequence[str], end: str) -> Heard:
    """Reads all that was heard; the methods are those of the requests, the last one goes on."""
    heard = Heard(end=end)
    while data:
        index = min(len(heard.answers), len(methods) - 1)
        try:
            message = read_response(data, methods[index], is_end=end == "eof")
        except Ambiguous as exc:
            heard.ambiguous = str(exc)
            break
        if message is None:
            break
        data = data[message.size :]
        status = int(message.first[0])
        if 100 <= status < 200 and status != 101:
            heard.interim.append(status)
        else:
            heard.answers.append(message)
            if methods[index] == "HEAD" and end == "eof" and not message.values(b"x-echo"):
                # An error for what the proxy could not read may have content: it cannot know.
                return heard
    heard.rest = data
    return heard


async def converse(
    address: tuple[str, int], pieces: Sequence[bytes], methods: Sequence[str], *, fin: bool = False
) -> Heard:
    """Says the pieces on a connection of its own, and listens until its end.

    Raises:
        OSError: it cannot be had.
    """
    stream = await trio.open_tcp_stream(*address)
    data = bytearray()
    end = "nothing"
    with trio.move_on_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_say, stream, pieces, fin)
            end = await _listen(stream, data)
            nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(stream)
    return understand(bytes(data), methods, end)


async def _listen(stream: trio.SocketStream, data: bytearray) -> str:
    while True:
        try:
            more = await stream.receive_some()
        except trio.BrokenResourceError:
            return "reset"
        if not more:
            return "eof"
        data += more


async def _say(stream: trio.SocketStream, pieces: Sequence[bytes], fin: bool) -> None:
    try:
        for piece in pieces:
            await stream.send_all(piece)
            if len(pieces) > 1:
                # In one process: whoever reads has read it before the next one is sent.
                for _ in range(3):
                    await trio.lowlevel.checkpoint()
        if fin:
            await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # whoever does not want to hear more has said why


async def ask(stream: trio.SocketStream, request: bytes, method: str, patience: float) -> Heard:
    """One request on a connection that stays open, and its answer.

    The answer may be none, or no whole one: because the connection ended, or the time.
    """
    data = bytearray()
    end = "nothing"
    with trio.move_on_after(patience):
        try:
            await stream.send_all(request)
            while not _is_answered(bytes(data), method):
                more = await stream.receive_some()
                if not more:
                    end = "eof"
                    break
                data += more
        except trio.BrokenResourceError:
            end = "reset"
    return understand(bytes(data), [method], end)


def _is_answered(data: bytes, method: str) -> bool:
    heard = understand(data, [method], "nothing")
    return bool(heard.answers) or bool(heard.ambiguous)
