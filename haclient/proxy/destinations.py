"""The destinations of a forward listener: as much a target each as one that the file names.

What makes failover quick is known from the requests before: which address is alive, what connections are
idle, how much of the retry budget is left. The naive forward proxy makes a connection for each request and
remembers nothing; one that remembers everything grows with every name that a client makes up. Here each
destination that was asked for lately has its LiveTarget, and those asked for the longest ago are forgotten.
An exchange that is under way holds its own; the connections of one that is forgotten end idle, in time.

A destination is asked about once, when it comes in: a list that changes has new destinations.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from haclient.core.affinity import NO_AFFINITY
from haclient.core.allow import AllowList, Forbidden
from haclient.core.destination import Destination
from haclient.core.spec import HostHeader, IdempotencyKey, Target
from haclient.core.url import Url
from haclient.engine.live import Engine, LiveTarget
from haclient.types import Origin

__all__ = ["MOST_DESTINATIONS", "Destinations"]

MOST_DESTINATIONS = 256
"""Kept of each listener, at 4.2 KiB each, and 25 us a second while anything is connected (measured). A
machine's package managers, agents and jobs ask for some dozens of hosts."""


class Destinations:
    """Those of one listener.

    Attributes:
        allow: whom it may be used to reach.
        defaults: windows, time-outs and limits, for all of them.
    """

    def __init__(self, engine: Engine, defaults: Target, allow: AllowList) -> None:
        self.allow = allow
        self.defaults = defaults
        self._engine = engine
        self._lives: OrderedDict[tuple[Destination, bool], LiveTarget] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Destinations, {len(self._lives)} of {MOST_DESTINATIONS}>"

    def __len__(self) -> int:
        return len(self._lives)

    def __iter__(self) -> Iterator[LiveTarget]:
        return iter(self._lives.values())

    def find(self, destination: Destination, *, is_tunnel: bool) -> LiveTarget | Forbidden:
        """Whom to ask for it, or why nobody."""
        key = (destination, is_tunnel)
        live = self._lives.get(key)
        if live is not None:
            self._lives.move_to_end(key)
            return live
        forbidden = self.allow.judge(destination.host, destination.port)
        if forbidden is not None:
            return forbidden
        spec = self._spec("tcp" if is_tunnel else "http", destination)
        live = self._lives[key] = LiveTarget(spec, self._engine, allow=self.allow)
        if len(self._lives) > MOST_DESTINATIONS:
            self._lives.popitem(last=False)
        return live

    def _spec(self, scheme: str, destination: Destination) -> Target:
        """What [defaults] says of servers that its author knows is not said of any destination.

        Host is what the destination is called, whatever the client sent. Nobody has said that it honours
        keys that we make, or what it answers to a health request.
        """
        spec = self.defaults
        keys = spec.idempotency_key
        return msgspec.structs.replace(
            spec,
            urls=(Url(Origin(scheme, destination.host, destination.port)),),
            backups=(),
            host_header=HostHeader.ORIGIN,
            idempotency_key=IdempotencyKey.HONOUR if keys is IdempotencyKey.GENERATE else keys,
            affinity=NO_AFFINITY,
            health=None,
        )
