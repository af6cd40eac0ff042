"""Stands for haclient.net.pipes where the sockets are simulated."""

from __future__ import annotations

__all__ = ["SimPipe", "SimPipes"]

PIPE_BYTES = 100_000
"""Not a multiple of what a receive gives."""


class SimPipe:
    """Bytes on their way from one simulated socket to another."""

    def __init__(self) -> None:
        self.data = b""

    @property
    def held(self) -> int:
        """Bytes in it."""
        return len(self.data)


class SimPipes:
    """As Pipes.

    Attributes:
        is_scarce: none is to be had.
        taken: how often one was.
        in_use: now.
        lost: bytes in pipes that were given back.
    """

    def __init__(self) -> None:
        self.is_scarce = False
        self.taken = self.in_use = self.lost = 0

    def take(self) -> SimPipe | None:
        """An empty one."""
        if self.is_scarce:
            return None
        self.taken += 1
        self.in_use += 1
        return SimPipe()

    def give_back(self, pipe: SimPipe) -> None:
        """Its end."""
        self.in_use -= 1
        self.lost += pipe.held
