"""What the admin endpoint needs of the daemon that it speaks for."""

from __future__ import annotations

from typing import Protocol

from haclient.ops.status_report import OrderReport
from haclient.proxy.sidecar import Sidecar

__all__ = ["Control"]


class Control(Protocol):
    """The daemon, as the admin endpoint sees it. All of it is quick, and nothing of it awaits."""

    @property
    def sidecar(self) -> Sidecar:
        """The doors and targets."""
        ...

    @property
    def config_file(self) -> str:
        """The path of the file in force."""
        ...

    @property
    def generation(self) -> int:
        """How often a configuration was loaded, the one at the start included."""
        ...

    @property
    def started_at(self) -> float:
        """Unix time."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether every listener is open and nobody told the daemon to end."""
        ...

    def reload(self) -> OrderReport:
        """Puts the file in force, or refuses it and changes nothing."""
        ...

    def drain(self) -> OrderReport:
        """Begins to end: the daemon stops once what is outstanding is answered."""
        ...
