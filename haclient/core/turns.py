"""Who is next, where many wait for what one at a time can have: the check of a password.

A plain queue belongs to whoever sends the most: a hundred guesses ahead of you are a hundred checks. Turns by
address, each bounded, are no better against a hundred addresses, which IPv4 gives to a botnet and IPv6 to
anybody: whose network has a /64 has 2 ** 64 of them. So crowds take turns, one check each: an IPv4 address is
one, an IPv6 /64 is one. And all together are bounded: a longer line serves nobody, for whoever stands at its end
gives up first. Where it is full, a newcomer of a small crowd takes the place of the last of the largest.

Left out: to tell guessers from users where each crowd has one in line. Nothing is known of either, so
whoever came first stays, and the others are told to come again. Whom the door knows stands in no line.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from typing import Generic, TypeVar

from haclient.core.names import whom_kernel_dials

__all__ = ["MOST", "MOST_OF_ONE", "Turns", "crowd_of"]

One = TypeVar("One")

MOST_OF_ONE = 32
"""In line, of one crowd: 0.6 to 1.6 s of checks."""

MOST = 64
"""In line, of all. A check takes 20 to 50 ms, so the last one waits 3.2 s, where clients commonly give up after
5 s and more."""

NETWORK = 64
"""Bits of an IPv6 address that say whose it is: less is given to nobody (RFC 6177, section 2)."""


def crowd_of(identity: str) -> str:
    """With whom a client takes turns: itself; whoever has the same IPv6 network."""
    try:
        address = whom_kernel_dials(identity)
    except ValueError:
        return identity
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.IPv6Network((address, NETWORK), strict=False))


class Turns(Generic[One]):
    """Those who wait, by crowd; crowds take turns."""

    def __init__(self) -> None:
        self._crowds: dict[str, deque[One]] = {}

    def __repr__(self) -> str:
        return f"<Turns, {len(self)} waiting>"

    def __len__(self) -> int:
        # Asked once for each who joins, among 64 crowds at the most.
        return sum(map(len, self._crowds.values()))

    def join(self, one: One, crowd: str) -> One | None:
        """Puts one in line; returns who is in no line then: that one, another in its place, or nobody."""
        before = len(self._crowds.get(crowd, ()))
        if before >= MOST_OF_ONE:
            return one
        sent_away = None
        if len(self) >= MOST:
            largest = max(self._crowds, key=lambda each: len(self._crowds[each]))
            if len(self._crowds[largest]) <= before + 1:
                return one
            sent_away = self._crowds[largest].pop()
        self._crowds.setdefault(crowd, deque()).append(one)
        return sent_away

    def leave(self, one: One, crowd: str) -> None:
        """It gives up; it is in line."""
        self._crowds[crowd].remove(one)
        if not self._crowds[crowd]:
            del self._crowds[crowd]

    def next(self) -> One | None:
        """Takes out whose turn it is; None where nobody waits."""
        for crowd in self._crowds:
            waiting = self._crowds.pop(crowd)
            one = waiting.popleft()
            if waiting:
                self._crowds[crowd] = waiting  # behind all others
            return one
        return None
