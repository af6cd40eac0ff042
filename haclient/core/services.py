"""Services: what SRV records say, and in which order their servers are asked (RFC 2782).

A record has a priority, a weight, a port and the name of a server. The naive reader takes the first one, or
sorts by weight, and then every client asks the heaviest server. The RFC's rule: only the lowest priority that
can be reached; within it a draw in which a server's chance is its weight. A weight of 0 is all but no chance
beside others; where all are 0 nothing was said, and all are alike. The RFC's own arithmetic, a number from 0 to
the sum and both of them included, gives the first record a part too many: two of weight 1 would be asked 2:1.

A record travels through answers and cache as text, as an address does: "10 60 8080 a.example." Left out:
`_udp`, and the address records that an answer may bring along: names have a time to live of their own.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable

import msgspec

__all__ = ["MAX_SERVERS", "Service", "by_priority", "parse_service", "service_text"]

MAX_SERVERS = 64
"""Records that are followed, each of them a lookup of its own. A UDP answer of 1232 bytes holds less than thirty (45 bytes
each, with a name like a1.b.internal); of 64 KiB over TCP, 1,400 lookups would stand before one request."""

# A name has 255 octets at the most (RFC 1035, section 2.3.4), and one that no host name has is written
# as four characters, "\255". Such a server is one whose name leads nowhere: its lookup says so.
_TEXT = re.compile(r"([0-9]{1,5}) ([0-9]{1,5}) ([0-9]{1,5}) ([!-~]{1,1020})")
_MAX = 65535


class Service(msgspec.Struct, frozen=True):
    """One record. `target` is absolute; "." means that there is decidedly no such service."""

    priority: int
    weight: int
    port: int
    target: str


def service_text(service: Service) -> str:
    """As it travels."""
    return f"{service.priority} {service.weight} {service.port} {service.target}"


def parse_service(text: str) -> Service:
    """The record that `text` is.

    Raises:
        ValueError: it is none.
    """
    found = _TEXT.fullmatch(text)
    if found is None or max(map(int, found.groups()[:3])) > _MAX:
        raise ValueError(f"{text[:80]!r} is not a service as it is written here")
    return Service(int(found[1]), int(found[2]), int(found[3]), found[4])


def by_priority(
    services: Iterable[Service], chance: Callable[[], float]
) -> tuple[tuple[Service, ...], ...]:
    """Those of one priority together, the lowest first, each in an order drawn by weight.

    Whoever has no port or no name is left out.

    Args:
        services: of one answer.
        chance: gives a number in [0, 1); called for each place that is drawn.
    """
    levels: dict[int, list[Service]] = {}
    for service in services:
        if service.port and service.target != ".":
            levels.setdefault(service.priority, []).append(service)
    return tuple(tuple(_drawn(levels[priority], chance)) for priority in sorted(levels))


def _drawn(services: list[Service], chance: Callable[[], float]) -> Iterable[Service]:
    left = list(services)
    while left:
        weights = _parts(left)
        yield left.pop(_first_beyond(weights, int(chance() * sum(weights))))


def _parts(services: list[Service]) -> list[int]:
    """Of how many chances each has: those without weight have one of weight 1 together, in equal parts."""
    weightless = sum(not service.weight for service in services)
    return [service.weight * max(weightless, 1) or 1 for service in services]


def _first_beyond(weights: list[int], draw: int) -> int:
    """The place whose running sum is the first to exceed `draw`, which is less than their sum."""
    sums = enumerate(itertools.accumulate(weights))
    return next(place for place, running in sums if running > draw)
