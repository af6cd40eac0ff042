"""A persistent connection: a transport, perhaps TLS over it, and HTTP/1.1 on top.

One exchange at a time. It may serve again only from the clean end state; a cancelled or broken
exchange closes it, always (never "give it back in a finally": bytes of one exchange would reach
the next).
"""

from __future__ import annotations

from collections.abc import Hashable

import trio

from haclient.core.url import Url
from haclient.net import Transport
from haclient.net.http1 import Http1
from haclient.types import Endpoint, Instant, Origin

__all__ = ["Connection"]


class Connection:
    """What the pool keeps and an attempt leases.

    Attributes:
        key: the pool's group (origin and how it is spoken to).
        exchanges: how many it has carried.
        connected_at, usable_at: instants of its own making, for the record of its first exchange.
        is_plain: nothing stands between HTTP and the transport.
        proxy: the forward proxy that it goes through, if any.
    """

    __slots__ = (
        "connected_at",
        "endpoint",
        "exchanges",
        "http",
        "is_plain",
        "key",
        "origin",
        "proxy",
        "stream",
        "transport",
        "usable_at",
    )

    def __init__(
        self,
        key: Hashable,
        origin: Origin,
        transport: Transport,
        stream: trio.abc.Stream,
        connected_at: Instant,
        usable_at: Instant,
    ) -> None:
        self.key = key
        self.origin = origin
        self.endpoint: Endpoint = transport.endpoint
        self.transport = transport
        self.stream = stream
        self.http = Http1(stream)
        self.connected_at = connected_at
        self.usable_at = usable_at
        self.exchanges = 0
        self.proxy: Url | None = None
        self.is_plain = id(stream) == id(transport)

    def __repr__(self) -> str:
        return f"<Connection {self.origin} at {self.endpoint}, {self.exchanges} exchanges>"

    def is_reusable_now(self) -> bool:
        """Open, no EOF, no reset, no byte that nobody asked for; one system call."""
        return self.transport.is_quiet()

    def send_now(self, data: bytes) -> int:
        """Hands over what the kernel takes at once, and returns how much; nothing within TLS.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError
        """
        send_now = getattr(self.transport, "send_now", None) if self.is_plain else None
        return send_now(data) if send_now is not None else 0

    async def send(self, data: bytes) -> None:
        """Hands `data` to the kernel; without a checkpoint where it takes all at once.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError
        """
        sent = self.send_now(data)
        if sent == len(data):
            return
        await self.stream.send_all(memoryview(data)[sent:])

    async def make_ready_again(self) -> bool:
        """After a whole exchange: whether the connection may serve the next one."""
        self.exchanges += 1
        self.transport.stop_probing()
        if not self.http.start_next():
            return False
        # News of this exchange that nobody waited for any more is not for the next one.
        self.transport.forget_interrupt()
        if not self.is_plain:
            try:
                return not await self.http.has_leftovers(self.transport)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
        return True

    def close(self) -> None:
        """Closes at once, without farewell."""
        self.transport.close()

    def reset(self) -> None:
        """Closes so that the peer cannot take it for a clean end, where the transport can do that."""
        getattr(self.transport, "reset", self.transport.close)()
