"""The two directions of a tunnel as tasks: for pieces that may have to wait, and for every end.

Each direction ends by itself: a side that closes has its end passed on, and may go on listening. An end
that is no clean one ends both, and reaches the other side as a reset: half a message must not look like
a whole one. The next piece is read when the last one was handed to the kernel, so memory holds one.

The naive pair copies every byte to user space and back, and is there for as long as its tunnel. Here bulk
goes through a pipe, without being copied (haclient.net.pipes); and where the tunnel may rest, both tasks
leave once nothing has been said for a while. What comes in that very moment brings back whoever has left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import trio

from haclient.net import InterruptedReceive
from haclient.net.pipes import Pipes
from haclient.net.transport import SocketTransport
from haclient.proxy.sides import Sides
from haclient.types import Instant

__all__ = ["LARGE", "QUIET_AFTER", "Directions"]

QUIET_AFTER = 1.0
"""Seconds without a byte, until two tasks are one again. To begin them anew costs 0.1 ms, which nobody
notices who comes once a second."""

LARGE = 65536
"""Bytes that one receive gives at the most: there is likely more."""

Direction = Callable[[], Awaitable[None]]

Guarded = Callable[[], AbstractContextManager[None]]
"""Sides.of_client or Sides.of_server."""

Heard = TypeVar("Heard")


class Resting(Exception):
    """A direction leaves, for nothing is said."""


class Directions:
    """Those that are open; `run` once.

    Args:
        sides: of the tunnel.
        pipes: for bulk; None where one side speaks TLS.
        may_rest: whether somebody waits for both sides once nothing is said.
    """

    __slots__ = (
        "_is_resting",
        "_left",
        "_may_rest",
        "_moved",
        "_nursery",
        "_pipes",
        "_quiet_since",
        "_sending",
        "_sides",
    )

    def __init__(self, sides: Sides, pipes: Pipes | None, *, may_rest: bool) -> None:
        self._sides = sides
        self._pipes = pipes
        self._may_rest = may_rest
        self._nursery: trio.Nursery | None = None
        self._left: list[Direction] = []
        self._is_resting = False
        self._sending = 0
        self._moved = sides.bytes_up + sides.bytes_down
        self._quiet_since: Instant = trio.current_time()

    async def run(self) -> None:
        """Until both have ended, or nothing is said any more."""
        async with trio.open_nursery() as self._nursery:
            if self._sides.is_open_up:
                self._nursery.start_soon(self._up)
            if self._sides.is_open_down:
                self._nursery.start_soon(self._down)

    @property
    def is_held_up(self) -> bool:
        """Whether a peer does not read just now."""
        return self._sending > 0

    def look(self, now: Instant) -> None:
        """Lets them rest, if nothing has been said for a while; called now and then.

        Ends both where the server is dead and nobody hears of that, for the client does not read.
        """
        sides = self._sides
        if self._sending and sides.is_dead():
            self._end_both()
            return
        if not self._may_rest or self._is_resting:
            return
        moved = sides.bytes_up + sides.bytes_down
        if moved != self._moved or self._sending or sides.is_owed:
            self._moved, self._quiet_since = moved, now
        elif now - self._quiet_since >= QUIET_AFTER:
            # Each that is open waits for a byte; one that comes in this moment is received all the same.
            self._is_resting = True
            sides.client.transport.interrupt()
            sides.connection.transport.interrupt()

    def _stay(self) -> None:
        """Something was said while the directions were about to rest: who left comes back."""
        if self._is_resting and self._nursery is not None:
            self._is_resting = False
            for direction in self._left:
                self._nursery.start_soon(direction)
            self._left.clear()

    # --- the client's --------------------------------------------------------------------------

    async def _up(self) -> None:
        sides, transport = self._sides, self._sides.client.transport
        with self._ending(self._up):
            is_bulk = False
            while True:
                if is_bulk:
                    await self._hear(sides.plain_client.until_readable, sides.of_client)
                    is_bulk = await self._splice_up() >= LARGE
                    continue
                if not sides.unsent_up:
                    sides.unsent_up = await self._hear(transport.receive_some, sides.of_client)
                if not sides.unsent_up:
                    break
                is_bulk = self._pipes is not None and len(sides.unsent_up) >= LARGE
                await self._send_up()
            sides.note_client_ended()
            with sides.of_server():
                await self._pass_end_on()
            sides.is_open_up = False

    async def _send_up(self) -> None:
        sides = self._sides
        if sides.is_turned_away:
            raise trio.ClosedResourceError("it is for another server")
        sides.owe()
        data = sides.unsent_up
        with sides.of_server(), self._being_sent():
            await sides.connection.send(data)
        sides.bytes_up += len(data)
        sides.unsent_up = b""

    async def _pass_end_on(self) -> None:
        """A half-closed client still listens; TLS has no half that could be closed."""
        connection = self._sides.connection
        if connection.is_plain:
            await connection.transport.send_eof()
        else:
            raise trio.ClosedResourceError("the client closed its side")

    # --- the server's --------------------------------------------------------------------------

    async def _down(self) -> None:
        sides, stream = self._sides, self._sides.connection.stream
        with self._ending(self._down):
            is_bulk = False
            while True:
                if is_bulk:
                    await self._hear(sides.plain_server.until_readable, sides.of_server)
                    is_bulk = await self._splice_down() >= LARGE
                    continue
                if not sides.unsent_down:
                    sides.unsent_down = bytes(
                        await self._hear(stream.receive_some, sides.of_server)
                    )
                    if not sides.unsent_down:
                        break
                    sides.note_heard()
                is_bulk = self._pipes is not None and len(sides.unsent_down) >= LARGE
                await self._send_down()
            sides.note_server_ended()
            if sides.turns_away():
                raise trio.ClosedResourceError("the server has not served")
            await sides.client.transport.send_eof()
            sides.is_open_down = False

    async def _send_down(self) -> None:
        """Not as a turn with a limit: who does not read a tunnel for a while may mean it."""
        sides = self._sides
        data, sides.unsent_down = sides.unsent_down, b""
        sides.bytes_down += len(data)
        with sides.of_client(), self._being_sent():
            await sides.client.transport.send_all(data)

    # --- both ----------------------------------------------------------------------------------

    async def _hear(self, call: Callable[[], Awaitable[Heard]], guarded: Guarded) -> Heard:
        """What a side says."""
        while True:
            try:
                with guarded():
                    heard = await call()
            except InterruptedReceive:
                if self._sides.is_dead():
                    raise trio.BrokenResourceError("the server is dead") from None
                if self._is_resting:
                    raise Resting from None
                continue  # a drain: a tunnel lasts until it is cut
            self._stay()
            return heard

    async def _splice_up(self) -> int:
        sides = self._sides
        moved = await self._splice(
            sides.plain_client, sides.of_client, sides.plain_server, sides.of_server, self._owe
        )
        sides.bytes_up += moved
        return moved

    async def _splice_down(self) -> int:
        sides = self._sides
        return await self._splice(
            sides.plain_server,
            sides.of_server,
            sides.plain_client,
            sides.of_client,
            self._note_heard,
        )

    def _owe(self, _: int) -> None:
        self._sides.owe()

    def _note_heard(self, moved: int) -> None:
        self._sides.note_heard()
        self._sides.bytes_down += moved

    async def _splice(
        self,
        giver: SocketTransport,
        of_giver: Guarded,
        taker: SocketTransport,
        of_taker: Guarded,
        note: Callable[[int], None],
    ) -> int:
        """Moves what is there now, and returns how much; `note` is told before it goes on."""
        assert self._pipes is not None
        if (pipe := self._pipes.take()) is None:
            return 0
        try:
            with of_giver():
                moved = giver.splice_in(pipe) or 0
            if moved:
                note(moved)
                with of_taker(), self._being_sent():
                    await taker.splice_out(pipe)
            return moved
        finally:
            self._pipes.give_back(pipe)

    @contextlib.contextmanager
    def _being_sent(self) -> Iterator[None]:
        """Not quiet: a peer that does not read makes one direction wait."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1

    @contextlib.contextmanager
    def _ending(self, direction: Direction) -> Iterator[None]:
        """An end that is no clean one is the other direction's end too."""
        try:
            yield
        except Resting:
            self._left.append(direction)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end_both()

    def _end_both(self) -> None:
        self._sides.is_open_up = self._sides.is_open_down = False
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
