"""A whole response as a client reads it, and what of it a test asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import h11

__all__ = ["HeardAnswer", "parse_answer"]

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class HeardAnswer:
    """One response, and when its last byte was there."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes
    at: float

    def value(self, name: str) -> str:
        """The only field line of this name; empty where there is none."""
        wanted = name.lower().encode()
        found = [value for key, value in self.fields if key.lower() == wanted]
        assert len(found) < 2, f"several {name} fields: {found}"
        return found[0].decode("latin-1") if found else ""

    @property
    def proxy_status(self) -> str:
        return self.value("Proxy-Status")

    @property
    def is_last(self) -> bool:
        """Whether it says that the connection ends behind it."""
        return self.value("Connection") == "close"

    @property
    def server(self) -> str:
        """The name of the origin that it is from; empty for haclient's own."""
        return self.value("X-Origin")

    @property
    def problem(self) -> dict[str, Any]:
        """The content of an answer of haclient's own."""
        assert self.value("Content-Type") == PROBLEM
        told = json.loads(self.content)
        assert isinstance(told, dict)
        assert told["status"] == self.status
        return told


def parse_answer(
    data: bytes, method: str, at: float, *, is_end: bool
) -> tuple[HeardAnswer | None, int]:
    """Reads the first whole response in `data`; returns it, and how many bytes it has.

    Args:
        data: as heard.
        method: of the request that it answers.
        at: when the last byte was heard.
        is_end: whether the connection's end was heard behind it.
    """
    connection = h11.Connection(h11.CLIENT)
    # What the reading of an answer depends on, and no more.
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    if data:
        connection.receive_data(data)
    if is_end:
        connection.receive_data(b"")
    head: h11.Response | None = None
    content = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            fields = tuple(head.headers.raw_items())
            rest = len(connection.trailing_data[0])
            return HeardAnswer(head.status_code, fields, content, at), len(data) - rest
        elif not isinstance(event, h11.InformationalResponse):
            return None, 0
