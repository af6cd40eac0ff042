"""The detection bound, measured: how long until a peer on loopback that died is known to be dead.

The arithmetic of core.keepalive rests on what the kernel does, and kernels differ, as do sandboxes
that stand in for one. So it is not believed but tried, with the very watch that requests are under:
a server's socket on loopback is blackholed in each of the three states that an outstanding request
can be in, and a fourth server stays alive and silent, for a detector that cries wolf is none. All
four at the same time, so that it takes as long as the slowest.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing

import msgspec
import trio

from haclient import events
from haclient.core.keepalive import Bounds, WatchPhase, detection_bounds
from haclient.net.blackhole import blackhole
from haclient.net.dialer import SocketDialer
from haclient.net.transport import SocketTransport
from haclient.net.watch import Outstanding, Watch
from haclient.types import Endpoint, Evidence, Instant

__all__ = ["Measured", "measure"]

ACKNOWLEDGED_AFTER = 0.06
"""Seconds. Linux delays an acknowledgement by 40 ms (TCP_DELACK_MIN)."""

FULL_AFTER = 0.2
"""Seconds for the peer's window to shut and for all that was sent to be acknowledged."""

PATIENCE = 4.5
"""Seconds. The slowest bound is 3.4 s."""

NEVER = 3600.0


class Measured(msgspec.Struct):
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
    async with _connected() as (transport, peer):
        sent_at = trio.current_time()
        if result.phase is WatchPhase.IN_FLIGHT:
            blackhole(peer)
            await transport.send_all(b"?")
        elif result.phase is WatchPhase.SILENT:
            await transport.send_all(b"?")
            peer.recv(1)
            await trio.sleep(ACKNOWLEDGED_AFTER)
            blackhole(peer)
        else:
            while transport.send_now(b"?" * 65536):
                pass
            await trio.sleep(FULL_AFTER)
            blackhole(peer)
        await _look_after(watch, transport, sent_at, result)


async def _watch_living(watch: Watch, result: Measured) -> None:
    """A peer that has the request, acknowledges, and says nothing, for as long as it takes."""
    async with _connected() as (transport, peer):
        sent_at = trio.current_time()
        await transport.send_all(b"?")
        peer.recv(1)
        await _look_after(watch, transport, sent_at, result)


async def _look_after(
    watch: Watch, transport: SocketTransport, sent_at: Instant, result: Measured
) -> None:
    """Puts the connection under the watch until it is declared dead."""
    is_dead = trio.Event()

    def observe(event: events.Event) -> None:
        match event:
            case events.Probed():
                result.probes += 1
            case events.Suspected(evidence=evidence):
                result.suspect = _since(result, sent_at, event.at, evidence)
            case events.DeclaredDead(evidence=evidence):
                result.dead = _since(result, sent_at, event.at, evidence)
                is_dead.set()
            case _:
                pass

    entry = Outstanding(transport, sent_at, NEVER, observe=observe)
    watch.add(entry)
    try:
        await is_dead.wait()
    finally:
        watch.remove(entry)


def _since(result: Measured, sent_at: Instant, at: Instant, evidence: Evidence) -> float:
    """Bounds count from the last segment that came in; in flight, from the send."""
    return at - sent_at if result.phase is WatchPhase.IN_FLIGHT else evidence.silent_for


@asynccontextmanager
async def _connected() -> AsyncGenerator[tuple[SocketTransport, socket.socket], None]:
    """A connection of haclient's own, and the server's end of it."""
    with socket.socket() as listener:
        # Inherited by the accepted socket: a window that shuts soon.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        transport = await SocketDialer().connect(Endpoint(*listener.getsockname()))
        with closing(transport), listener.accept()[0] as peer:
            yield transport, peer
