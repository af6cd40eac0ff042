"""Bytes both ways between a client and a server: after 101 (RFC 9110, section 7.8), after CONNECT, in TCP mode.

Whether the server is dead cannot be told by silence here either: a WebSocket may be silent for hours. What
tells it, and how either side may end, is in proxy.sides.

The naive tunnel is two tasks that wait for ever, a third of what it costs in memory. Here one that rests has
its client's task alone, which waits for both sockets (haclient.net.parking), and passes a small piece on by
itself. Where that would have to wait, for a piece is large or a peer does not read, and at every end, the two
directions become tasks (proxy.directions), until nothing has been said for a while. Where nobody can park
(TLS) they stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from haclient.net.connection import Connection
from haclient.proxy.directions import LARGE, Directions
from haclient.proxy.gateway import Gateway
from haclient.proxy.sides import Sides, TunnelClient
from haclient.types import Instant

__all__ = ["Tunnel"]


class Tunnel:
    """One of them; `run` once.

    Args:
        client, connection, note_answer, may_turn_away: as of Sides.
        gateway: its watch, parking and pipes.

    Attributes:
        sides: what is known of both, also when it is over.
    """

    __slots__ = ("_directions", "_parking", "_pipes", "sides")

    def __init__(
        self,
        client: TunnelClient,
        connection: Connection,
        gateway: Gateway,
        note_answer: Callable[[], None] | None = None,
        may_turn_away: Instant = -math.inf,
    ) -> None:
        watch = gateway.engine.watch
        self.sides = sides = Sides(client, connection, watch, note_answer, may_turn_away)
        is_plain = sides.is_plain
        self._parking = gateway.parking if is_plain and gateway.parking.is_possible else None
        self._pipes = gateway.pipes if is_plain else None
        self._directions: Directions | None = None

    async def run(self, first: bytes = b"") -> None:
        """Moves bytes until both sides have ended; `first` is what the server sent already."""
        sides, client = self.sides, self.sides.client
        client.is_passing_on, client.tunnel = True, self
        # What came before any debt does not pay one.
        sides.unsent_down, sides.unsent_up = first, client.take_buffered()
        try:
            while sides.is_open_up or sides.is_open_down:
                if self._has_to_be_moved or not await self._pass_a_piece():
                    await self._move()
        finally:
            client.tunnel = None
            sides.settle()
            sides.cut()

    @property
    def _has_to_be_moved(self) -> bool:
        return bool(self._parking is None or self.sides.unsent_down or self.sides.unsent_up)

    async def _move(self) -> None:
        self._directions = Directions(self.sides, self._pipes, may_rest=self._parking is not None)
        try:
            await self._directions.run()
        finally:
            self._directions = None

    def look(self, now: Instant) -> None:
        """Called now and then: whether it may rest, and whether its server is dead."""
        if self._directions is not None:
            self._directions.look(now)

    @property
    def is_held_up(self) -> bool:
        """Whether a peer does not read just now: who sends to it may leave unnoticed."""
        return self._directions is not None and self._directions.is_held_up

    # --- one task ------------------------------------------------------------------------------

    async def _pass_a_piece(self) -> bool:
        """Waits until something is said, and passes it on if that can be done at once.

        Returns False where the directions are to look after it: nothing was lost then.
        """
        sides = self.sides
        ours, theirs = sides.plain_client, sides.plain_server
        assert self._parking is not None
        if not sides.is_open_up:
            await self._parking.until_readable(theirs)
            return False
        if not sides.is_open_down:
            await self._parking.until_readable(ours)
            return False
        spoke = await self._parking.until_readable(ours, theirs)
        if spoke is None:
            return False
        try:
            return self._pass_up_now() if spoke is ours else self._pass_down_now()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False  # it is said again to whoever asks again

    def _pass_up_now(self) -> bool:
        sides = self.sides
        data = sides.plain_client.receive_now()
        if not data:
            return data is None
        sides.unsent_up = data
        sides.owe()
        sent = sides.connection.send_now(data)
        sides.bytes_up += sent
        sides.unsent_up = data[sent:]
        return not sides.unsent_up and len(data) < LARGE

    def _pass_down_now(self) -> bool:
        sides = self.sides
        data = sides.plain_server.receive_now()
        if not data:
            return data is None
        sides.note_heard()
        sides.unsent_down = data
        sent = sides.client.transport.send_now(data)
        sides.bytes_down += sent
        sides.unsent_down = data[sent:]
        return not sides.unsent_down and len(data) < LARGE
