"""What the rig has to know of a proxy: its name, its command, and what it asks of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.netns import PORT

__all__ = ["DOOR", "PATIENT", "SERVERS", "WINDOW", "Proxy"]

DOOR = ("127.0.0.1", 8000)
"""Where each proxy listens, in its own namespace."""

SERVERS = (f"10.77.0.2:{PORT}", f"10.77.1.2:{PORT}")
"""The first one is asked while it answers: each fault is to hit the request, not a coin."""

PATIENT = 40
"""Seconds, our default back-stop (response_timeout)."""

WINDOW = 4
"""Seconds, our default failover_window."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy with one configuration."""

    family: str
    variant: str
    command: Callable[[Path], list[str]]
    """Writes what it needs into a folder and returns how it is run, in the foreground, as one
    process: the rig ends it by its pid."""
    sysctls: tuple[str, ...] = ()
    """Of its namespace."""

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self.family} {self.variant}".strip()
