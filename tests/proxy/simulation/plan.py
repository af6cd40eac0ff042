"""What a client asks, and how it behaves meanwhile: values, all of them made from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

__all__ = ["Asked", "Asker", "content_of", "make_askers", "make_request"]

ALPHABET = bytes(range(256))
SIZES = (0, 1, 17, 900, 5_000, 40_000, 150_000)
IDEMPOTENT = ("GET", "GET", "GET", "HEAD", "PUT", "DELETE")


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        number: its name, in X-Request-Id and in its target.
        has_key: it bears an Idempotency-Key.
        up, down: bytes of its content, and of its answer's.
        is_chunked, expects: how its content is announced.
        is_last: it asks for the connection's end.
        pause: seconds before it.
    """

    number: int
    method: str
    has_key: bool
    up: int
    down: int
    is_chunked: bool
    expects: bool
    is_http10: bool
    is_last: bool
    pause: float

    @property
    def is_repeatable(self) -> bool:
        """Whether it may run more than once."""
        return self.method != "POST" or self.has_key


@dataclass(frozen=True)
class Asker:
    """One client: its requests, one after another, and its manners.

    Attributes:
        arrives: seconds from the start.
        is_ahead: it sends all of them at once.
        piece, drip: it sends so many bytes at a time, with so many seconds between.
        sip: seconds between two reads.
        leaves_after: bytes sent, or read, after which it leaves; None for never.
        leaves_by: what it does then: close, reset or half (it closes its side, and reads on).
    """

    arrives: float
    requests: tuple[Asked, ...]
    is_ahead: bool
    piece: int
    drip: float
    sip: float
    leaves_after: int | None
    leaves_by: str


def make_askers(chance: random.Random, count: int) -> list[Asker]:
    """So many clients, whose requests are numbered through."""
    askers, number = [], 0
    for _ in range(count):
        requests = []
        is_slow = chance.random() < 0.15
        for _ in range(chance.choice((1, 1, 2, 3, 5))):
            number += 1
            requests.append(_asked(chance, number, SIZES[:4] if is_slow else SIZES))
        askers.append(
            Asker(
                arrives=chance.random() * 8.0,
                requests=tuple(requests),
                is_ahead=chance.random() < 0.2,
                piece=chance.choice((3, 20, 100)) if is_slow else 1 << 20,
                drip=chance.choice((0.001, 0.02, 0.4)) if is_slow else 0.0,
                sip=chance.choice((0.0, 0.0, 0.0, 0.05, 0.4)),
                leaves_after=chance.choice((1, 40, 300, 3000)) if chance.random() < 0.15 else None,
                leaves_by=chance.choice(("close", "reset", "half")),
            )
        )
    return askers


def _asked(chance: random.Random, number: int, sizes: Sequence[int]) -> Asked:
    method = chance.choice(IDEMPOTENT) if chance.random() < 0.7 else "POST"
    has_content = method in ("PUT", "POST")
    is_http10 = chance.random() < 0.05
    return Asked(
        number=number,
        method=method,
        has_key=method == "POST" and chance.random() < 0.2,
        up=chance.choice(sizes) if has_content else 0,
        down=chance.choice(SIZES),
        is_chunked=has_content and not is_http10 and chance.random() < 0.3,
        expects=has_content and not is_http10 and chance.random() < 0.1,
        is_http10=is_http10,
        is_last=is_http10 or chance.random() < 0.1,
        pause=chance.choice((0.0, 0.0, 0.01, 0.4, 2.0)),
    )


def content_of(number: int, size: int) -> bytes:
    """So many bytes that are nobody else's, the same wherever they are made."""
    name = b"<%d>" % number
    return ((name + ALPHABET) * (size // 256 + 1))[:size]


def make_request(asked: Asked) -> tuple[bytes, bytes]:
    """Head and content as they go on the wire."""
    version = "1.0" if asked.is_http10 else "1.1"
    lines = [
        f"{asked.method} /{asked.number}?down={asked.down} HTTP/{version}",
        "Host: shop",
        f"X-Request-Id: {asked.number}",
    ]
    content = content_of(asked.number, asked.up)
    if asked.is_chunked:
        lines.append("Transfer-Encoding: chunked")
        content = _in_chunks(content)
    elif asked.method in ("PUT", "POST"):
        lines.append(f"Content-Length: {asked.up}")
    if asked.expects:
        lines.append("Expect: 100-continue")
    if asked.has_key:
        lines.append(f"Idempotency-Key: {asked.number}")
    if asked.is_last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode(), content


def _in_chunks(content: bytes) -> bytes:
    pieces = [content[at : at + 9000] for at in range(0, len(content), 9000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def read_target(target: bytes) -> tuple[int, int]:
    """Number and size of the answer, as a server reads them."""
    path, _, query = target.decode().partition("?")
    return int(path.rpartition("/")[2]), int(dict(parse_qsl(query))["down"])


def numbered(askers: Sequence[Asker]) -> dict[int, Asked]:
    """All requests by their number."""
    return {asked.number: asked for asker in askers for asked in asker.requests}
