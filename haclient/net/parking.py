"""Waits for any of a few sockets to be readable, thousands of times at once, without a task for each.

A tunnel that rests has two sockets of which either may speak next. Trio's own wait is for one socket and one
task, so two tasks would wait for ever: 4 KiB of frames and bookkeeping each (measured, CPython 3.11), for
2,000 database connections that do nothing. Here the sockets of all that rest are in one epoll set of their own
(epoll(7); a set can itself be waited for), one task waits for that, and whoever rests is a task that sleeps.

A transport that is closed or interrupted while it is parked wakes its waiter (`SocketTransport.parked`); the
waiter then finds out what there is by receiving, as after any wait.

Left out: systems without epoll. `is_possible` is False there, and whoever asks keeps its tasks.
"""

from __future__ import annotations

import contextlib
import select
from typing import NoReturn

import trio

from haclient.net.transport import SocketTransport

__all__ = ["Parking"]

READABLE = getattr(select, "EPOLLIN", 1) | getattr(select, "EPOLLRDHUP", 0x2000)

AT_ONCE = 256
"""Events taken in one turn of the loop; the others are still there in the next one."""


class _Place:
    """One task that sleeps, and its sockets."""

    __slots__ = ("descriptors", "spoke", "task", "transports")

    def __init__(self, task: trio.lowlevel.Task, transports: tuple[SocketTransport, ...]) -> None:
        self.task = task
        self.transports = transports
        self.descriptors = tuple(one.fileno() for one in transports)
        self.spoke: SocketTransport | None = None


class Parking:
    """One process's. The first who parks starts its task, in the nursery that is given here."""

    is_possible = hasattr(select, "epoll")

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._places: dict[int, _Place] = {}
        self._set: select.epoll | None = None

    def __repr__(self) -> str:
        return f"<Parking with {len(self._places)} sockets>"

    def __len__(self) -> int:
        return len(self._places)

    async def until_readable(self, *transports: SocketTransport) -> SocketTransport | None:
        """Waits until one of them can be read or has ended, and returns it.

        None where one was closed or interrupted instead. Nobody else may wait for them meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if any(one.fileno() < 0 for one in transports):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return None
        place = _Place(trio.lowlevel.current_task(), transports)
        self._enter(place)

        def wake() -> None:
            self._leave(place)
            trio.lowlevel.reschedule(place.task)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._leave(place)
            return trio.lowlevel.Abort.SUCCEEDED

        for one in transports:
            one.parked = wake
        await trio.lowlevel.wait_task_rescheduled(abort)
        return place.spoke

    def _enter(self, place: _Place) -> None:
        if self._set is None:
            self._set = select.epoll()
            self._nursery.start_soon(self._run, self._set)
        for descriptor in place.descriptors:
            self._places[descriptor] = place
            self._set.register(descriptor, READABLE)

    def _leave(self, place: _Place) -> None:
        """Its descriptors are open still, or were closed in this very moment."""
        for one, descriptor in zip(place.transports, place.descriptors, strict=True):
            one.parked = None
            del self._places[descriptor]
            if self._set is not None:
                with contextlib.suppress(OSError):
                    self._set.unregister(descriptor)

    async def _run(self, ready: select.epoll) -> NoReturn:
        try:
            while True:
                await trio.lowlevel.wait_readable(ready.fileno())
                for descriptor, _ in ready.poll(0, AT_ONCE):
                    place = self._places.get(descriptor)
                    if place is not None and (wake := place.transports[0].parked) is not None:
                        place.spoke = place.transports[place.descriptors.index(descriptor)]
                        wake()
        finally:
            self._set = None
            ready.close()
