"""The detection bound, measured: how long until a peer on loopback that died is known to be dead.

The arithmetic of core.keepalive rests on what the kernel does, and kernels differ, as do sandboxes
that stand in for one. So it is not believed but tried, with the very watch that requests are under:
a server's socket on loopback is blackholed in each of the three states that an outstanding request
can be in, and a fourth server stays alive and silent, for a detector that cries wolf is none. All
four at the same time, so that it takes as long as the slowest.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from haclient import events
from haclient.core.keepalive import Bounds, WatchPhase, detection_bounds
from haclient.net.blackhole import blackhole
from haclient.net.dialer import SocketDialer
from haclient.net.transport import SocketTransport
from haclient.net.watch import Outstanding, Watch
from haclient.types import Endpoint, Instant

__all__ = ["Measured", "measure"]

ACKNOWLEDGED_AFTER = 0.06
"""Seconds. Linux delays an acknowledgement by 40 ms (TCP_DELACK_MIN)."""

FULL_AFTER = 0.2
"""Seconds for the peer's window to shut and for all that was sent to be acknowledged."""

PATIENCE = 4.5
"""Seconds. The slowest bound is 3.4 s."""

NEVER = 3600.0


@dataclass(slots=True)
class Measured:
    """What was seen of one peer. Seconds, counted as `bounds` are; None: it did not come.

    `phase` None is the peer that stays alive: no verdict is right there.
    """

    phase: WatchPhase | None
    bounds: Bounds | None
    suspect: float | None = None
    dead: float | None = None
    probes: int = 0


async def measure(*, caps_window_probes: bool) -> tuple[Measured, ...]:
    """Returns one result for each phase that is watched by TCP_INFO, and that of the living peer.

    Takes 3.5 s, and PATIENCE seconds where a verdict does not come.

    Args:
        caps_window_probes: as for core.keepalive.detection_bounds.

    Raises:
        OSError: a socket filter is not allowed here.
    """
    bounds = detection_bounds(caps_window_probes=caps_window_probes)
    phases = (WatchPhase.SILENT, WatchPhase.IN_FLIGHT, WatchPhase.WINDOW_SHUT)
    results = [Measured(phase, bounds[phase]) for phase in phases]
    living = Measured(None, None)
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        nursery.start_soon(_watch_living, watch, living)
        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as dying:
                for result in results:
                    dying.start_soon(_watch_dying, watch, result)
        nursery.cancel_scope.cancel()
    return (*results, living)


async def _watch_dying(watch: Watch, result: Measured) -> None:
    """Blackholes a peer in the state that `result` is about, and waits for both verdicts."""
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.shield = False
        with _connected_pair() as pair:
            transport = await pair.connect()
            peer = pair.accept()
            match result.phase:
                case WatchPhase.SILENT:
                    await transport.send_all(b"?")
                    peer.recv(1)
                    await trio.sleep(ACKNOWLEDGED_AFTER)
                    blackhole(peer)
                case WatchPhase.IN_FLIGHT:
                    blackhole(peer)
                    await transport.send_all(b"?")
                case _:
                    while transport.send_now(b"?" * 65536):
                        pass
                    await trio.sleep(FULL_AFTER)
                    blackhole(peer)
            await _until_dead(watch, transport, result)
