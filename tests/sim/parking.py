"""Stands for haclient.net.parking where the sockets are simulated."""

from __future__ import annotations

from typing import cast

import trio

from haclient.net.transport import SocketTransport
from tests.sim.stream import SimStream

__all__ = ["SimParking"]


class SimParking:
    """Waits with a task for each stream: what that costs is of no interest here.

    Attributes:
        parked: how often somebody came to rest.
    """

    is_possible = True

    def __init__(self) -> None:
        self.parked = 0

    async def until_readable(self, *transports: SocketTransport) -> SocketTransport | None:
        """As Parking.until_readable."""
        self.parked += 1
        async with trio.open_nursery() as nursery:
            for each in transports:
                stream = cast("SimStream", each)
                nursery.start_soon(stream.until_news, nursery.cancel_scope)
        streams = [cast("SimStream", each) for each in transports]
        if any(one.is_closed or one.has_news for one in streams):
            return None
        return next((one for one in transports if not one.is_quiet()), None)
