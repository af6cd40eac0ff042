"""One look at every client's connection, four times a second: who left, who stalls.

The naive way is a timer, or a cancel scope, for each limit of each connection: 6 us to enter and leave a
scope (measured), two or three times a request. One task that looks at ten thousand idle connections
costs some milliseconds a second instead, and nothing for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

import trio

from haclient.proxy.door import Door

__all__ = ["LOOK_EVERY", "keep_vigil"]

LOOK_EVERY = 0.25
"""Seconds: what a limit is kept late by. A client that left is noticed within two of these, where a
second is promised."""


async def keep_vigil(doors: Callable[[], Iterable[Door]]) -> NoReturn:
    """Looks at whoever is inside any of the doors, until cancelled."""
    while True:
        await trio.sleep(LOOK_EVERY)
        now = trio.current_time()
        for door in doors():
            # One that is ended here leaves the set only when its task runs.
            for one in door.inside:
                one.look(now)
