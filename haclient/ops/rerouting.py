"""Another way to the same name: --connect-to, --unix-socket, -4 and -6, in front of a resolver."""

from __future__ import annotations

import msgspec

from haclient.errors import NoAddressError
from haclient.net import Resolution, Resolver
from haclient.ops.routes import ConnectTo, reroute
from haclient.types import Endpoint, Origin, Phase

__all__ = ["Rerouting"]


class Rerouting(msgspec.Struct, frozen=True):
    """Answers as `inner` would for the host that the rules lead to."""

    inner: Resolver
    rules: tuple[ConnectTo, ...] = ()
    unix_socket: str | None = None
    is_ipv4_only: bool = False
    is_ipv6_only: bool = False

    async def resolve(self, host: str, port: int) -> Resolution:
        """As haclient.net.Resolver."""
        if self.unix_socket is not None:
            return Resolution(host, (Endpoint(self.unix_socket, 0),), "static")
        to_host, to_port = reroute(Origin("", host, port), self.rules)
        found = await self.inner.resolve(to_host, to_port)
        if not (self.is_ipv4_only or self.is_ipv6_only):
            return found
        kept = tuple(one for one in found.endpoints if one.is_ipv6 == self.is_ipv6_only)
        if not kept:
            family, option = ("IPv6", "-6") if self.is_ipv6_only else ("IPv4", "-4")
            raise NoAddressError(
                f"cannot resolve {to_host}: it has no {family} address",
                stage=Phase.RESOLVING,
                remedy=f"Leave {option} out",
            )
        return msgspec.structs.replace(found, endpoints=kept)
