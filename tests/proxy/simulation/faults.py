"""What befalls the world from outside, at instants of the seed's choosing.

A partition ends, a server that was killed starts again, and a name server that lied tells the truth in the
end: what is checked afterwards is that the sidecar is as good as new then.
"""

from __future__ import annotations

import random

import trio

from haclient.errors import NameNotFoundError, NameTimeoutError
from tests.proxy.house import A, B, C, House
from tests.sim.dns import Answer

__all__ = ["NAMES", "befall", "heal_all"]

ENDPOINTS = (A, B, C)
NOWHERE = "10.0.0.9"
"""No host has this address."""

NAMES = {"a.test": [A], "b.test": [B], "c.test": [C], "ab.test": [A, B]}
SECONDS = (0.2, 0.9, 2.2, 5.0, 12.0)


async def befall(h: House, chance: random.Random, count: int) -> None:
    """So many faults within the first ten seconds; returns when the last one has been repaired."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one_fault, h, random.Random(chance.random()), chance.random() * 10)


async def one_fault(h: House, chance: random.Random, at: float) -> None:
    """One of them, and its repair."""
    await trio.sleep(at)
    endpoint, seconds = chance.choice(ENDPOINTS), chance.choice(SECONDS)
    match chance.choice(("cut", "reset", "forget", "refuse", "restart", "far", "lie", "silent")):
        case "cut":
            h.network.blackhole(endpoint, seconds)
        case "reset":
            h.network.reset(endpoint)
        case "forget":
            h.network.forget(endpoint)
        case "refuse":
            h.network.refuse(endpoint)
            await trio.sleep(seconds)
            h.network.heal(endpoint)
        case "restart":
            h.network.kill(endpoint)
            await trio.sleep(seconds)
            h.network.heal(endpoint)
        case "far":
            path = h.network.path(endpoint)
            path.delay = chance.choice((0.01, 0.1, 0.4))
            await trio.sleep(seconds)
            path.delay = 0.0
        case "lie":
            await lie(h, chance, seconds)
        case "silent":
            for name in NAMES:
                h.resolver.script(name, Answer(error=NameTimeoutError("silent"), delay=1.0))
            await trio.sleep(seconds)
            tell_the_truth(h)


async def lie(h: House, chance: random.Random, seconds: float) -> None:
    """One name is answered with another's address, with nobody's, with none, or denied."""
    name = chance.choice(list(NAMES))
    denied = Answer(error=NameNotFoundError(f"{name} does not exist, for once"))
    nobody = Answer(NOWHERE)
    some = Answer(NOWHERE, *(one.address for one in NAMES[name]))
    h.resolver.script(name, chance.choice((denied, nobody, some, Answer())))
    await trio.sleep(seconds)
    tell_the_truth(h)


def tell_the_truth(h: House) -> None:
    """Every name is answered as it is."""
    for name, endpoints in NAMES.items():
        h.resolver.script(name, Answer(*(one.address for one in endpoints)))


def heal_all(h: House) -> None:
    """Whatever was done, and whatever faults servers have left, is over."""
    for endpoint in ENDPOINTS:
        h.network.heal(endpoint)
        h.network.path(endpoint).delay = 0.0
    tell_the_truth(h)
