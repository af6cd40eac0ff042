"""Decides which endpoint of a target is asked before which.

The naive answer takes the addresses as the name server gave them. Then a host without a working
IPv6 route meets all the AAAA addresses first, a server that failed a second ago is asked first
again, and the second attempt of a request goes to the very server that the first one is stuck on.

Ours, as pure functions over what is known at this moment:

    order       sequence                                              next one starts
    fastest     the URLs' addresses in the order of the answers,      all at once, or one each
                families interleaved (RFC 8305, section 4)            connection_attempt_delay
    listed      URLs in their order, addresses in the answer's        after a failure, or after
    shuffled    a permutation drawn anew for each call                connection_attempt_delay

and then, whatever the order, endpoints that are held down go last, in order among themselves.

With `listed` and `shuffled` the order is the point: all connects at once would hand every request
to the nearest server. So a connection_attempt_delay of 0 means 250 ms there.

Left out: weights, and counting what is outstanding at each server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import assert_never

import msgspec

from haclient.types import Endpoint, Order, Origin

__all__ = [
    "RECOMMENDED_DELAY",
    "Candidate",
    "arrange",
    "by_level",
    "connection_attempt_delay",
    "interleaved",
    "order_among",
    "shuffled",
]

RECOMMENDED_DELAY = 0.25
"""Seconds; what RFC 8305, section 8 recommends for the Connection Attempt Delay."""


class Candidate(msgspec.Struct, frozen=True):
    """One endpoint, and the origin that a request sent there is for."""

    origin: Origin
    endpoint: Endpoint
    is_held_down: bool = False
    """Whether it failed a moment ago (haclient.core.health)."""


def arrange(
    pairs: Iterable[tuple[Origin, Endpoint]],
    *,
    order: Order,
    is_held_down: Callable[[Endpoint], bool],
    chance: Callable[[], float],
) -> list[Candidate]:
    """Returns whom to ask, in order; empty only where there is nobody at all.

    Args:
        pairs: the origins of a tier in the order of its URLs, each with its endpoints in the order
            of the answer. A pair that stands there twice is asked once.
        order: the target's.
        is_held_down: what is remembered of an endpoint at this moment.
        chance: gives a number in [0, 1); called for SHUFFLED only.
    """
    listed = dict.fromkeys(pairs)
    candidates = [Candidate(origin, one, is_held_down(one)) for origin, one in listed]
    # In order apart, so that the families of those that are fit alternate among themselves.
    fit = [candidate for candidate in candidates if not candidate.is_held_down]
    held_down = [candidate for candidate in candidates if candidate.is_held_down]
    return [*_in_order(fit, order, chance), *_in_order(held_down, order, chance)]


def _in_order(
    candidates: list[Candidate], order: Order, chance: Callable[[], float]
) -> list[Candidate]:
    match order:
        case Order.FASTEST:
            return interleaved(candidates)
        case Order.LISTED:
            return candidates
        case Order.SHUFFLED:
            return shuffled(candidates, chance)
        case _:
            assert_never(order)


def interleaved(candidates: list[Candidate]) -> list[Candidate]:
    """Alternates between the address families, the first candidate's first (RFC 8305, section 4).

    The First Address Family Count of that section is 1. Paths of Unix sockets count as a family.
    """
    families: dict[tuple[bool, bool], list[Candidate]] = {}
    for candidate in candidates:
        endpoint = candidate.endpoint
        families.setdefault((endpoint.is_unix, endpoint.is_ipv6), []).append(candidate)
    rounds = chain.from_iterable(zip_longest(*families.values()))
    return [candidate for candidate in rounds if candidate is not None]


def shuffled(candidates: list[Candidate], chance: Callable[[], float]) -> list[Candidate]:
    """Draws a permutation, each as likely as any other (Fisher and Yates)."""
    drawn = list(candidates)
    for last in range(len(drawn) - 1, 0, -1):
        other = int(chance() * (last + 1))
        drawn[last], drawn[other] = drawn[other], drawn[last]
    return drawn


def by_level(
    tier: Sequence[Origin], levels: Mapping[Origin, Sequence[Sequence[Endpoint]]]
) -> list[list[tuple[Origin, Endpoint]]]:
    """Returns the addresses of a tier in the order of its URLs, level after level.

    The priorities of a service come one after another, the first one together with plain URLs.

    Args:
        tier: its origins.
        levels: of each of them whose name gave any.
    """
    depth = max((len(levels.get(origin, ())) for origin in tier), default=0)
    return [
        [
            (origin, endpoint)
            for origin in tier
            for endpoints in levels.get(origin, ())[level : level + 1]
            for endpoint in endpoints
        ]
        for level in range(depth)
    ]


def order_among(origins: Iterable[Origin], configured: Order) -> Order:
    """Returns the target's order; but a service's own is drawn already, by weight, and stands."""
    return Order.LISTED if any(one.is_service for one in origins) else configured


def connection_attempt_delay(order: Order, configured: float) -> float:
    """Returns the seconds between two starts of a race; 0 is all at once.

    Args:
        order: the target's.
        configured: the target's connection_attempt_delay.
    """
    if order is Order.FASTEST:
        return configured
    return configured or RECOMMENDED_DELAY
