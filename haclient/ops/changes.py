"""Notices what changed between two looks: the health of an address, the addresses of a name.

The engine could tell of each change where it happens, on the way of requests. Instead the two are
compared twice a second, and only once somebody has listened: a look at a hundred addresses takes 9 µs, 16
where some are in trouble. What came and went between two looks is not told; the log has it, and the
failovers.
"""

from __future__ import annotations

import msgspec
import trio

from haclient.core.health import EndpointHealth
from haclient.engine.live import LiveTarget
from haclient.ops.control import Control
from haclient.ops.feed import Feed
from haclient.ops.status_build import state_of
from haclient.types import Endpoint, Instant, Origin

__all__ = ["Changes", "HealthChange", "NameChange", "watch_changes"]

LOOK_EVERY = 0.5
"""Seconds. Suspicion, the shortest state, lasts two."""


class HealthChange(msgspec.Struct, frozen=True):
    """An address is thought of otherwise than before; states as in EndpointReport.

    Attributes:
        targets: those that have the address.
        held_for: seconds until it is asked again, where it is held down.
    """

    address: str
    targets: tuple[str, ...]
    state: str
    was: str
    failures: int = 0
    held_for: float | None = None


class NameChange(msgspec.Struct, frozen=True):
    """An origin of a target has other addresses than before; none were known where `was` is empty."""

    target: str
    origin: str
    addresses: tuple[str, ...]
    was: tuple[str, ...]


class Changes:
    """Publishes what differs from the look before; the first look finds nothing to compare with."""

    def __init__(self, control: Control, feed: Feed) -> None:
        self._control = control
        self._feed = feed
        self._states: dict[Endpoint, str] = {}
        self._known: dict[tuple[str, Origin], tuple[Endpoint, ...]] = {}
        self._has_looked = False

    def look(self, now: Instant) -> None:
        """Compares, and tells."""
        gateway = self._control.sidecar.gateway
        self._look_at_health(gateway.engine.health.snapshot(now), gateway.targets, now)
        self._look_at_names(gateway.targets)
        self._has_looked = True

    def _look_at_health(
        self,
        snapshot: tuple[EndpointHealth, ...],
        targets: dict[str, LiveTarget],
        now: Instant,
    ) -> None:
        before = self._states
        found = {each.endpoint: each for each in snapshot}
        self._states = {one: state_of(each) for one, each in found.items()}
        for endpoint in self._states | before:
            state, was = self._states.get(endpoint, "ok"), before.get(endpoint, "ok")
            if state != was and self._has_looked:
                each = found.get(endpoint)
                change = HealthChange(
                    str(endpoint),
                    tuple(name for name, live in targets.items() if _has(live, endpoint)),
                    state,
                    was,
                    0 if each is None else each.failures,
                    round(each.until - now, 3)
                    if each is not None and state == "held down"
                    else None,
                )
                self._feed.publish("health", change)

    def _look_at_names(self, targets: dict[str, LiveTarget]) -> None:
        before, self._known = (
            self._known,
            {
                (name, origin): endpoints
                for name, live in targets.items()
                for origin, endpoints in live.known.items()
            },
        )
        for (name, origin), endpoints in self._known.items():
            was = before.get((name, origin), ())
            if set(endpoints) != set(was) and self._has_looked:
                change = NameChange(name, str(origin), _texts(endpoints), _texts(was))
                self._feed.publish("names", change)


async def watch_changes(control: Control, feed: Feed) -> None:
    """Looks twice a second from the first reader on, until cancelled."""
    await feed.joined.wait()
    changes = Changes(control, feed)
    while True:
        changes.look(trio.current_time())
        await trio.sleep(LOOK_EVERY)


def _has(live: LiveTarget, endpoint: Endpoint) -> bool:
    return any(endpoint in endpoints for endpoints in live.known.values())


def _texts(endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
    return tuple(map(str, endpoints))
