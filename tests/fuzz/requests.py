"""What a client may say, and what must come of it.

The server reads strictly, and answers each request with its own name. What it read must be what the strict
reader finds in the client's bytes, request by request from the first one on; behind the first one that the
door does not pass on there is one refusal at the most, and nothing more is passed on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import trio

from tests.corpus.reader import Ambiguous, Message, read_request, read_response
from tests.fuzz.rig import Rig, Violation, hear, rig, run, say
from tests.sim.stream import SimStream

__all__ = ["check_requests"]

WITHIN = 5.0
"""Seconds, once the client has said all."""

CONTINUE_WAIT = 1.1
"""Seconds that each "100 Continue" may be waited for, above that."""

REFUSALS = frozenset({400, 408, 413, 414, 417, 426, 431, 501, 505})
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Server:
    """Reads strictly, and keeps what it read."""

    def __init__(self) -> None:
        self.read: list[Message] = []
        self.wrong = ""

    async def serve(self, stream: SimStream) -> None:
        """One connection."""
        data = b""
        while more := await stream.receive_some():
            data += more
            while message := self._next(data):
                data = data[message.size :]
                self.read.append(message)
                await stream.send_all(answer_to(message))

    def _next(self, data: bytes) -> Message | None:
        try:
            return read_request(data) if data else None
        except Ambiguous as exc:
            self.wrong = self.wrong or f"ambiguous: {exc}: {data[:300]!r}"
            return None


def answer_to(message: Message) -> bytes:
    """Its own name, or for HEAD the length of that."""
    content = b"%b %b" % message.first
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
    return head if message.first[0] == b"HEAD" else head + content


def check_requests(pieces: Sequence[bytes]) -> int:
    """Says them to the door; returns how many requests were passed on.

    Raises:
        Violation
    """
    return int(run(_play, pieces))


async def _play(pieces: Sequence[bytes]) -> int:
    server = Server()
    data = b"".join(pieces)
    async with rig(server.serve) as r:
        heard, took = await _converse(r, pieces)
        await trio.sleep(0.5)
        r.check()
    if took > WITHIN + CONTINUE_WAIT * data.lower().count(b"expect"):
        raise Violation(f"it took {took:.1f} s")
    if server.wrong:
        raise Violation(server.wrong)
    sent = sent_by(data)
    _compare(sent, server.read)
    statuses = _answers(heard, sent, server.read)
    refusals = statuses[len(server.read) :]
    if len(refusals) > 1 or not set(refusals) <= REFUSALS:
        raise Violation(f"{len(server.read)} were passed on, and answered {statuses}")
    return len(server.read)


async def _converse(r: Rig, pieces: Sequence[bytes]) -> tuple[bytes, float]:
    stream = r.connect()
    heard: list[bytes] = []

    async def listen() -> None:
        data, _ = await hear(stream)
        heard.append(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await say(stream, pieces)
        began_at = trio.current_time()
        if not stream.end.is_gone:
            await stream.send_eof()
        nursery.cancel_scope.deadline = began_at + 100.0
    took = trio.current_time() - began_at
    stream.close()
    return b"".join(heard), took


def sent_by(data: bytes) -> list[Message]:
    """The whole requests that a strict reader finds, from the first one on.

    An empty line before each is passed over (RFC 9112, section 2.2).
    """
    found: list[Message] = []
    while data:
        data = data.removeprefix(b"\r\n")
        try:
            message = read_request(data) if data else None
        except Ambiguous:
            break
        if message is None:
            break
        found.append(message)
        data = data[message.size :]
    return found


def _compare(sent: Sequence[Message], read: Sequence[Message]) -> None:
    if len(read) > len(sent):
        raise Violation(f"passed on, and never sent: {read[len(sent)]!r}")
    for one, other in zip(sent, read, strict=False):
        is_same = (
            one.first[0] == other.first[0]
            and origin_form(*one.first) == other.first[1]
            and one.content == other.content
        )
        if not is_same:
            raise Violation(f"sent {one!r}, and passed on {other!r}")


def origin_form(method: bytes, target: bytes) -> bytes:
    """As it goes to a server (RFC 9112, sections 3.2.1 and 3.2.4)."""
    absolute = re.match(rb"https?://[^/?]*", target, re.IGNORECASE)
    if absolute is None:
        return target
    path = target[absolute.end() :]
    if not path and method == b"OPTIONS":
        return b"*"
    return path if path.startswith(b"/") else b"/" + path


def _answers(heard: bytes, sent: Sequence[Message], read: Sequence[Message]) -> list[int]:
    """The final statuses, read strictly."""
    statuses: list[int] = []
    while heard:
        if heard.startswith(CONTINUE):
            heard = heard.removeprefix(CONTINUE)
            continue
        at = len(statuses)
        answer = _answer(heard, sent[at].first[0].decode() if at < len(sent) else "GET")
        status = int(answer.first[0])
        if at < len(read) and (
            status != 200 or answer.content not in (b"", b"%b %b" % read[at].first)
        ):
            raise Violation(f"{read[at].first} was answered {status}, {answer.content!r}")
        statuses.append(status)
        heard = heard[answer.size :]
    if len(statuses) < len(read):
        raise Violation(f"{len(read)} were passed on, and {len(statuses)} answered")
    return statuses


def _answer(heard: bytes, method: str) -> Message:
    """A refused HEAD may be no request to the strict reader: then its length tells of nothing."""
    try:
        answer = read_response(heard, method, is_end=True)
        answer = answer or read_response(heard, "HEAD", is_end=True)
    except Ambiguous as exc:
        raise Violation(f"an answer of ours is ambiguous: {exc}: {heard[:300]!r}") from exc
    if answer is None:
        raise Violation(f"an answer of ours is not whole: {heard[:300]!r}")
    return answer
