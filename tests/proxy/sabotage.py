"""Makes one call of the data path fail: the k-th that it makes of its streams, its dialer, its resolver.

    saboteur = Saboteur(h, k, After())
    client = saboteur.client()          # as h.client()

Every stream that the sidecar holds, a client's or a server's, counts its calls at one counter. The k-th one
fails as a broken connection does: the peer gets a reset, and the caller BrokenResourceError, before
anything was done or when it was done already, so that bytes went out, or came in and are lost.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import trio

from haclient.errors import NameTimeoutError
from haclient.net import Resolution
from haclient.types import Endpoint
from tests.proxy.house import House
from tests.proxy.playbook import Party
from tests.sim.stream import SimStream

__all__ = ["Fails", "Saboteur"]

AWAITED = ("receive_some", "send_all", "send_eof")
CALLED = ("send_now",)


class Fails(enum.Enum):
    """How a call fails."""

    BEFORE = "before it did anything"
    AFTER = "after it did it"


class Saboteur:
    """See the module's docstring. `struck` says which call it was."""

    def __init__(self, h: House, k: int, how: Fails) -> None:
        self._h = h
        self._left = k
        self._how = how
        self.struck = ""
        self._connect = h.network.connect
        self._resolve = h.resolver.resolve
        # What the sidecar holds are these very objects.
        setattr(h.network, "connect", self._connect_or_fail)  # noqa: B010
        setattr(h.resolver, "resolve", self._resolve_or_fail)  # noqa: B010

    def client(self, name: str) -> Party:
        """One whose connection is counted at the sidecar's end."""
        party = self._h.client(name)
        self._watch(self._h.doors_ends[-1], name)
        return party

    def _is_due(self, what: str) -> bool:
        self._left -= 1
        if self._left == 0:
            self.struck = what
        return self._left == 0

    def _watch(self, stream: SimStream, whose: str) -> None:
        for name in AWAITED:
            setattr(stream, name, self._awaited(stream, f"{whose} {name}", getattr(stream, name)))
        for name in CALLED:
            setattr(stream, name, self._called(stream, f"{whose} {name}", getattr(stream, name)))

    def _awaited(self, stream: SimStream, what: str, do: Callable[..., Any]) -> Any:
        async def call(*args: Any) -> Any:
            if not self._is_due(what):
                return await do(*args)
            await trio.lowlevel.checkpoint()
            if self._how is Fails.AFTER:
                await do(*args)
            raise broken(stream)

        return call

    def _called(self, stream: SimStream, what: str, do: Callable[..., Any]) -> Any:
        def call(*args: Any) -> Any:
            if not self._is_due(what):
                return do(*args)
            if self._how is Fails.AFTER:
                do(*args)
            raise broken(stream)

        return call

    async def _connect_or_fail(self, endpoint: Endpoint) -> SimStream:
        if self._is_due(f"connect {endpoint}"):
            await trio.lowlevel.checkpoint()
            if self._how is Fails.AFTER:
                (await self._connect(endpoint)).reset()
            raise ConnectionResetError(104, "Connection reset by peer")
        stream = await self._connect(endpoint)
        self._watch(stream, str(endpoint))
        return stream

    async def _resolve_or_fail(self, host: str, port: int) -> Resolution:
        if self._is_due(f"resolve {host}"):
            await trio.lowlevel.checkpoint()
            raise NameTimeoutError("no name server answered")
        return await self._resolve(host, port)


def broken(stream: SimStream) -> trio.BrokenResourceError:
    """What a stream raises whose peer was just reset; as the kernel says it, with its cause."""
    stream.end.abort(trio.current_time())
    exc = trio.BrokenResourceError("Connection reset by peer")
    exc.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    return exc
