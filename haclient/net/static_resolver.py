"""Addresses that the caller gave, in front of any other resolver: curl's `--resolve`."""

from __future__ import annotations

from collections.abc import Mapping

from haclient.net import Resolution, Resolver
from haclient.types import Endpoint

__all__ = ["ANY_HOST", "StaticResolver"]

ANY_HOST = "*"


class StaticResolver:
    """Answers for the hosts and ports in `entries`, and asks `inner` for all others.

    A key is a host and a port; the host "*" stands for every host that has no entry of its own.
    """

    def __init__(
        self, entries: Mapping[tuple[str, int], tuple[Endpoint, ...]], inner: Resolver
    ) -> None:
        self._entries = {(_canonical(host), port): each for (host, port), each in entries.items()}
        self._inner = inner

    def __repr__(self) -> str:
        return f"<StaticResolver {len(self._entries)} entries before {self._inner!r}>"

    async def resolve(self, host: str, port: int) -> Resolution:
        """The endpoints given for `host` and `port`, or what `inner` says.

        Raises:
            haclient.errors.ResolveError: as `inner` does.
        """
        endpoints = self._entries.get((_canonical(host), port))
        if endpoints is None:
            endpoints = self._entries.get((ANY_HOST, port))
        if endpoints is None:
            return await self._inner.resolve(host, port)
        return Resolution(host, endpoints, "static")


def _canonical(host: str) -> str:
    return host.lower().removesuffix(".")
