"""An address is thought of otherwise than before: what `/events` tells, and the log at its worst."""

from __future__ import annotations

import msgspec

from haclient.core.health import EndpointHealth
from haclient.types import Endpoint, Instant

__all__ = ["IN_TROUBLE", "HealthChange", "change_of"]

IN_TROUBLE = {"held down", "failed"}


class HealthChange(msgspec.Struct, frozen=True):
    """States as in EndpointReport.

    Attributes:
        targets: those that have the address; none of a forward listener's destination.
        held_for: seconds until it is asked again, where it is held down.
        why: how it failed, where it did and that is known already.
        listeners: the forward ones that were asked for it; none where a target has the address.
        destinations: by which names they were, as "http://files.internal".
    """

    address: str
    targets: tuple[str, ...]
    state: str
    was: str
    failures: int = 0
    held_for: float | None = None
    why: str = ""
    listeners: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()


def change_of(
    endpoint: Endpoint,
    states: tuple[str, str],
    health: EndpointHealth | None,
    now: Instant,
    why: str,
    *,
    targets: tuple[str, ...] = (),
    listeners: tuple[str, ...] = (),
    destinations: tuple[str, ...] = (),
) -> HealthChange:
    """From what was thought of it and is thought now, and what the engine remembers."""
    was, state = states
    is_held = health is not None and state == "held down"
    return HealthChange(
        str(endpoint),
        targets,
        state,
        was,
        0 if health is None else health.failures,
        round(health.until - now, 3) if health is not None and is_held else None,
        why,
        listeners,
        destinations,
    )
