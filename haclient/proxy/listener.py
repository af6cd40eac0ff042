"""Accepts connections at one door, as many as there is room for.

The naive loop accepts until the process has no descriptor left; accept(2) then fails at once, and the
loop turns at full speed with a connection in the kernel's queue that it can neither take nor refuse.
Here somebody who wants nothing makes way for whoever connects to a full door; where all inside want
something it pauses: whoever connects waits in the kernel's queue, and is served when somebody leaves. All
doors together take so many that descriptors are left for what the clients inside ask of servers; where
accept(2) finds none all the same, that is a pause too.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable, Iterable

import trio

from haclient.net.listening import BACKLOG, accept, stop_listening
from haclient.net.transport import SocketTransport
from haclient.proxy.door import Door

__all__ = ["Listener"]

LEFT_BEFORE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})
"""accept(2): the client left before it was accepted, or a firewall sent it away; the next one may be
well."""

PAUSE = 0.1
"""Seconds before another try where the machine has no descriptor, or no memory, for one."""

LOOK_EVERY = 0.02
"""Seconds between two looks for room while the door is full: a crowd that says nothing makes way a turn each
SILENT_GRACE, and whoever stands behind it waits for all of them."""

TURNS = 5
"""Of the event loop, until whoever makes way is gone: it is woken in the first, and says why in TLS by the fourth."""

AT_ONCE = 64
"""Connections taken before the others are let on: a thousand that come together would else keep all
requests waiting until the last was accepted."""

NO_PLACE = "all places are taken, and nobody makes way yet (max_connections)"
NO_DESCRIPTOR = "no file descriptor is left for a further client (the process's limit)"

Serve = Callable[[Door, SocketTransport], Awaitable[None]]


class Listener:
    """One listening socket.

    Attributes:
        door: where its connections enter.
        sock: listening; closed when accepting ends.
        has_stopped: nothing is accepted any more.
        taken: connections that were accepted and have not ended.
    """

    def __init__(
        self,
        door: Door,
        sock: socket.socket,
        serve: Serve,
        room_in_process: Callable[[], int],
        doors: Callable[[], Iterable[Door]] = tuple,
        tell_full: Callable[[Door, str], None] = lambda door, why: None,
    ) -> None:
        """`tell_full` is called with a door where clients wait from now on, for nobody makes way, and why."""
        self.door = door
        self.sock = sock
        self.has_stopped = False
        self.taken = 0
        self._serve = serve
        self._room_in_process = room_in_process
        self._doors = doors
        self._tell_full = tell_full
        self._is_stopping = False

    async def run(self, nursery: trio.Nursery) -> None:
        """Accepts until `stop`; each connection becomes a task of `nursery`."""
        try:
            while await self._is_anybody_to_come() and await self._is_room_to_come():
                await self._accept_some(nursery)
            # Who had connected before the stop was promised an answer.
            await self._accept_some(nursery, at_once=BACKLOG)
        finally:
            self.has_stopped = True
            stop_listening(self.sock, self.door.settings.bind)

    def stop(self) -> None:
        """Accepts what has connected already, and then no more."""
        self._is_stopping = True
        trio.lowlevel.notify_closing(self.sock)

    def _room(self) -> int:
        """How many more may enter; counted from accept on, for a task begins only later."""
        return min(self.door.settings.max_connections - self.taken, self._room_in_process())

    async def _is_anybody_to_come(self) -> bool:
        """Waits for somebody; False once it is time to stop, for nobody else may ever come."""
        if not self._is_stopping:
            with contextlib.suppress(trio.ClosedResourceError):  # `stop`
                await trio.lowlevel.wait_readable(self.sock)
        return not self._is_stopping

    async def _is_room_to_come(self) -> bool:
        """Makes it, or waits for it; False once it is time to stop."""
        while self._room() <= 0 and not self._is_stopping:
            if self._make_room():
                await self._until_gone()
            else:
                self._pause()
                await trio.sleep(LOOK_EVERY)
        self.door.is_paused = False
        return not self._is_stopping

    async def _until_gone(self) -> None:
        """Who is let go in vain, for one who is about to leave, could have stayed."""
        for _ in range(TURNS):
            await trio.lowlevel.checkpoint()
            if self._room() > 0:
                return

    def _pause(self) -> None:
        if not self.door.is_paused:
            self.door.is_paused = True
            self._tell_full(self.door, NO_PLACE if self._is_full() else NO_DESCRIPTOR)

    def _is_full(self) -> bool:
        return self.taken >= self.door.settings.max_connections

    def _make_room(self) -> bool:
        now, door = trio.current_time(), self.door
        # Where the door itself is full, no other one can help.
        is_full = self._is_full()
        if door.make_room(now, is_urgent=not is_full):
            return True
        return not is_full and any(other.make_room(now) for other in self._doors())

    async def _accept_some(self, nursery: trio.Nursery, at_once: int = AT_ONCE) -> None:
        door = self.door
        for _ in range(at_once):
            if self._room() <= 0:
                return
            try:
                transport = accept(self.sock)
            except BlockingIOError:
                return
            except OSError as exc:
                if exc.errno in LEFT_BEFORE:
                    continue
                # No room, mostly (EMFILE); whatever else it is, it must not be asked for in a loop.
                self._pause()
                await trio.sleep(PAUSE)
                return
            door.accepted += 1
            self.taken += 1
            nursery.start_soon(self._serve_to_its_end, transport)

    async def _serve_to_its_end(self, transport: SocketTransport) -> None:
        try:
            await self._serve(self.door, transport)
        finally:
            self.taken -= 1
