"""The corpus as values: raw requests and raw responses, each with its rule and what may become of it.

A file of `requests/` or `responses/` is about one topic. Its [default] table holds for every case that
does not say otherwise; a case that gives an outcome of its own takes none from there. A wire is a
string, one character a byte (latin-1), or a list of strings and of pairs ["x", 70000], so often; it
stands between `start` and `finish`, where a file's cases have them in common.

A request case says what may happen, and whatever of these happens is right:

    refuse  = [400, 501]                 answered with one of these; nothing behind it is read, unless
                                         the request was well-formed (404, 405 and the like)
    close   = true                       the connection ends without an answer
    forward = [["POST", "/a", "hello"]]  the server reads exactly these requests, in this order

    or      = [["POST", "/a?", "hello"]] or else these
    before  = [["GET", "/first", ""]]    requests ahead of it, which are served in any case
    ends    = "must" | "may" | "no"      whether the connection ends behind what was forwarded
    tail    = "canary" | "fin" | "none"  what the client sends at once behind it: one more request (of
                                         which is seen how the rest was read), its FIN, or nothing
    has, lacks                           fields of the first request that is forwarded

Whoever does not speak the version of a request may always say so, with 426 or 505.

A response case is what a server says to one request:

    pass        = "hello"                the client gets the answer with this content, whole
    status      = 200                    of that answer
    bad_gateway = true                   the client gets the proxy's own 502 or its like
    broken      = true                   the client gets a beginning at most, and sees that it is not whole
    cut         = true                   it is not whole: to pass it as if it were is critical

    ask         = "GET" or a whole head  the request
    end         = "open" | "fin" | "reset"   what the server does behind the wire
    then        = "..."                  what it sends a little later, on the idle connection
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

__all__ = ["Asked", "RequestCase", "ResponseCase", "request_cases", "response_cases"]

FOLDER = Path(__file__).parent

OTHER_VERSION = frozenset({426, 505})

OUTCOMES = {
    "requests": ("forward", "or", "refuse", "close"),
    "responses": ("pass", "bad_gateway", "broken"),
}


@dataclass(frozen=True)
class Asked:
    """A request as the server must read it."""

    method: str
    target: str
    content: bytes = b""


@dataclass(frozen=True)
class RequestCase:
    """See the module's docstring."""

    id: str
    topic: str
    rule: str
    why: str
    wire: bytes
    before: tuple[Asked, ...]
    forward: tuple[tuple[Asked, ...], ...]
    refuse: frozenset[int]
    close: bool
    ends: str
    tail: str
    has: tuple[str, ...]
    lacks: tuple[str, ...]

    @property
    def speaks_http2(self) -> bool:
        """It is what an HTTP/2 client begins with (RFC 9113 3.4): a proxy may go on in HTTP/2."""
        return self.wire.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


@dataclass(frozen=True)
class ResponseCase:
    """See the module's docstring."""

    id: str
    topic: str
    rule: str
    why: str
    wire: bytes
    content: bytes | None
    status: int
    bad_gateway: bool
    broken: bool
    cut: bool
    ask: bytes
    end: str
    then: bytes


@functools.cache
def request_cases() -> tuple[RequestCase, ...]:
    """All of them, in the order of the files."""
    return tuple(_request(*found) for found in _tables("requests"))


@functools.cache
def response_cases() -> tuple[ResponseCase, ...]:
    """All of them, in the order of the files."""
    return tuple(_response(*found) for found in _tables("responses"))


def _tables(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in sorted((FOLDER / kind).glob("*.toml")):
        tables = tomllib.loads(path.read_text())
        default = tables.pop("default", {})
        for name, table in tables.items():
            inherited = default
            if any(key in table for key in OUTCOMES[kind]):
                inherited = {k: v for k, v in default.items() if k not in OUTCOMES[kind]}
            yield path.stem, name, inherited | table


def _wire(value: str | list[Any]) -> bytes:
    if isinstance(value, str):
        return value.encode("latin-1")
    return b"".join(_wire(one) if isinstance(one, str) else _wire(one[0]) * one[1] for one in value)


def _asked(rows: list[list[Any]]) -> tuple[Asked, ...]:
    return tuple(
        Asked(_wire(method).decode("latin-1"), _wire(target).decode("latin-1"), _wire(content))
        for method, target, content in rows
    )


def _request(topic: str, name: str, table: dict[str, Any]) -> RequestCase:
    case = RequestCase(
        id=name,
        topic=topic,
        rule=table.pop("rule"),
        why=table.pop("why"),
        wire=b"".join(_wire(table.pop(key, "")) for key in ("start", "wire", "finish")),
        before=_asked(table.pop("before", [])),
        forward=tuple(_asked(table.pop(key)) for key in ("forward", "or") if key in table),
        refuse=frozenset(table.pop("refuse", [])),
        close=table.pop("close", False),
        ends=table.pop("ends", "no"),
        tail=table.pop("tail", "canary"),
        has=tuple(table.pop("has", [])),
        lacks=tuple(table.pop("lacks", [])),
    )
    if b"HTTP/1.1" not in case.wire.partition(b"\r\n")[0] and case.wire.strip():
        case = replace(case, refuse=case.refuse | OTHER_VERSION)
    assert not table, f"{topic}.toml, {name}: unknown keys {list(table)}"
    assert case.forward or case.refuse or case.close, f"{name} has no outcome"
    return case


def _response(topic: str, name: str, table: dict[str, Any]) -> ResponseCase:
    ask = table.pop("ask", "GET")
    if " " not in ask:
        ask = f"{ask} /attack HTTP/1.1\r\nHost: a.test\r\n\r\n"
    case = ResponseCase(
        id=name,
        topic=topic,
        rule=table.pop("rule"),
        why=table.pop("why"),
        wire=b"".join(_wire(table.pop(key, "")) for key in ("start", "wire", "finish")),
        content=_wire(table.pop("pass")) if "pass" in table else None,
        status=table.pop("status", 200),
        bad_gateway=table.pop("bad_gateway", False),
        broken=table.pop("broken", False),
        cut=table.pop("cut", False),
        ask=_wire(ask),
        end=table.pop("end", "open"),
        then=_wire(table.pop("then", "")),
    )
    assert not table, f"{topic}.toml, {name}: unknown keys {list(table)}"
    assert case.content is not None or case.bad_gateway or case.broken, f"{name} has no outcome"
    return case
