"""From a service's SRV records to endpoints: each record's server is a name of its own, looked up as any.

The records are asked for, kept, refreshed and served stale like addresses, and so are the addresses of each
server that they name; a server whose name leads nowhere is left out, as one that is down would be. The order
is `core.services`: one priority after another, and within each a new draw by weight for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

import msgspec
import trio

from haclient.core.services import MAX_SERVERS, Service, by_priority, parse_service
from haclient.errors import NoAddressError, ResolveError
from haclient.net import RemembersNames, Resolution, Resolver
from haclient.types import Endpoint, Phase

__all__ = ["Known", "peek_service", "resolve_service"]

Levels = tuple[tuple[Service, ...], ...]


class Known(msgspec.Struct, frozen=True):
    """What is known of a name: its addresses, or a service's records; see `Resolution`."""

    addresses: tuple[str, ...]
    source: str
    ttl: float | None = None
    server: str = ""
    former: tuple[str, ...] = ()


async def resolve_service(
    host: str, known: Known, resolver: Resolver, chance: Callable[[], float]
) -> Resolution:
    """The endpoints of a service.

    Args:
        host: its name, "_orders._tcp.example".
        known: its records.
        resolver: for the names of its servers.
        chance: gives a number in [0, 1).

    Raises:
        haclient.errors.ResolveError: no record names a server, or no server's name has an address.
    """
    levels = by_priority(_services(known.addresses), chance)
    if not levels:
        raise NoAddressError(
            f"cannot resolve {host}: its SRV records name no server",
            stage=Phase.RESOLVING,
            remedy="Name one there, or write http:// and a host's name",
        )
    found, failed = await _resolve_all(levels, resolver)
    if not found:
        raise failed[0]
    return _assembled(host, known, levels, found)


def peek_service(host: str, known: Known, resolver: RemembersNames) -> Resolution | None:
    """As much of it as is known without waiting."""
    levels = by_priority(_services(known.addresses), lambda: 0.0)
    peeked = {each: resolver.peek(each.target, each.port) for level in levels for each in level}
    found = {each: answer for each, answer in peeked.items() if answer is not None}
    if not found:
        return None
    former = [
        resolver.peek(each.target, each.port)
        for each in _services(known.former)
        if each.target != "." and each.port
    ]
    resolution = _assembled(host, known, levels, found)
    gone = _endpoints(answer for answer in former if answer is not None)
    known_ones = set(chain(*resolution.levels, resolution.former))
    left = tuple(endpoint for endpoint in gone if endpoint not in known_ones)
    return msgspec.structs.replace(resolution, former=resolution.former + left)


def _services(texts: Iterable[str]) -> Iterator[Service]:
    return map(parse_service, texts)


async def _resolve_all(
    levels: Levels, resolver: Resolver
) -> tuple[dict[Service, Resolution], list[ResolveError]]:
    found: dict[Service, Resolution] = {}
    failed: list[ResolveError] = []

    async def resolve(service: Service) -> None:
        try:
            found[service] = await resolver.resolve(service.target, service.port)
        except ResolveError as error:
            failed.append(error)

    async with trio.open_nursery() as nursery:
        for service in list(chain.from_iterable(levels))[:MAX_SERVERS]:
            nursery.start_soon(resolve, service)
    return found, failed


def _assembled(
    host: str, known: Known, levels: Levels, found: Mapping[Service, Resolution]
) -> Resolution:
    by_level = [
        _endpoints(found[service] for service in level if service in found) for level in levels
    ]
    first, *later = [endpoints for endpoints in by_level if endpoints]
    former = chain.from_iterable(answer.former for answer in found.values())
    is_stale = any(answer.source == "stale" for answer in found.values())
    ttls = [answer.ttl for answer in found.values() if answer.ttl is not None]
    return Resolution(
        host,
        first,
        "stale" if is_stale else known.source,
        min(ttls if known.ttl is None else [known.ttl, *ttls], default=None),
        known.server,
        tuple(dict.fromkeys(former)),
        tuple(later),
    )


def _endpoints(answers: Iterable[Resolution]) -> tuple[Endpoint, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(answer.endpoints for answer in answers)))
