"""Keeps a process from dialling its own listeners: such a request would come back, and go out again.

Nor its admin endpoint, which trusts whoever is on this machine: a client from elsewhere whose request went out
from here would be.

A target's URL may name this process itself, by a mistake in the file or in DNS. Via ends a circle after some
rounds (haclient.core.loops), where there is one; an address is known for what it is before anything is sent.
The naive check compares the configured address with the listener's own, and misses wildcard binds, names,
ports that the kernel chose, and the many ways to write an address. Here the sockets themselves are asked what
they are bound to, and each address that is about to be dialled is compared, whatever led to it.

Whether an address is one of this machine's matters for wildcard binds alone. The kernel is asked: a datagram
socket that is "connected" there sends nothing, and its own address is then that very address, if it is local.
(To bind to it would say the same, but not where ip_nonlocal_bind is set, as where addresses move between hosts.)

Left out: what a firewall redirects here, or another machine passes back. That is Via's matter.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping

import trio

from haclient.core.names import whom_kernel_dials
from haclient.net import Dialer, Transport
from haclient.net.dialer import address_of, family_of
from haclient.types import Endpoint

__all__ = ["OwnDoorError", "OwnDoors"]

SO_NETNS_COOKIE = 71
"""Linux 5.14: the number of the network namespace that a socket is in (asm-generic/socket.h)."""

MEANT_BY_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Whom Linux connects to there."""


class OwnDoorError(OSError):
    """This very process listens there; the message says what for."""


class OwnDoors:
    """A dialer that refuses to dial the listeners it knows of."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._bound: dict[tuple[str, int], str] = {}
        self._anywhere: dict[tuple[bool, int], str] = {}
        """By whether it is IPv6, and the port."""
        self._paths: dict[str, str] = {}
        self._ports: set[int] = set()

    def __repr__(self) -> str:
        return f"<OwnDoors {sorted(self._ports)} {sorted(self._paths)}>"

    def know(self, listening: Mapping[str, socket.socket]) -> None:
        """From now on these are the sockets, by what is said of them: "listener orders"."""
        self._bound, self._anywhere, self._paths = {}, {}, {}
        for name, sock in listening.items():
            if sock.family == socket.AF_UNIX:
                self._paths[str(sock.getsockname())] = name
            elif _is_within_reach(sock):
                self._take_down(name, sock)
        self._ports = {port for _, port in (*self._bound, *self._anywhere)}

    def _take_down(self, name: str, sock: socket.socket) -> None:
        address, port = sock.getsockname()[:2]
        if not ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
            self._bound[_plain(address), port] = name
            return
        is_ipv6 = sock.family == socket.AF_INET6
        self._anywhere[is_ipv6, port] = name
        if is_ipv6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            self._anywhere.setdefault((False, port), name)

    async def connect(self, endpoint: Endpoint) -> Transport:
        """As Dialer.connect.

        Raises:
            OwnDoorError: this process listens there; nothing was sent.
            OSError: as Dialer.connect.
        """
        name = self._own_at(endpoint)
        if name is None:
            return await self._dialer.connect(endpoint)
        await trio.lowlevel.checkpoint()
        raise OwnDoorError(f"it is {name} of this daemon")

    def _own_at(self, endpoint: Endpoint) -> str | None:
        if endpoint.is_unix:
            return next((n for path, n in self._paths.items() if _is_same(path, endpoint)), None)
        if endpoint.port not in self._ports:
            return None
        address = _plain(endpoint.address)
        if (name := self._bound.get((address, endpoint.port))) is not None:
            return name
        name = self._anywhere.get((":" in address, endpoint.port))
        return name if name is not None and _is_of_this_machine(address) else None


def _is_same(path: str, endpoint: Endpoint) -> bool:
    """Whatever their names are."""
    try:
        return os.path.samefile(path, endpoint.address)
    except OSError:
        return False


def _plain(address: str) -> str:
    """One spelling, for whom the kernel connects to; a zone stays."""
    _, percent, zone = address.partition("%")
    plain = str(whom_kernel_dials(address))
    return MEANT_BY_UNSPECIFIED.get(plain, plain) + percent + zone


def _is_of_this_machine(address: str) -> bool:
    bare = ipaddress.ip_address(address.partition("%")[0])
    if bare.is_loopback:
        return True  # all of 127.0.0.0/8, whose own address is 127.0.0.1
    endpoint = Endpoint(address, 9)
    try:
        with socket.socket(family_of(endpoint), socket.SOCK_DGRAM) as sock:
            sock.connect(address_of(endpoint))
            return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]) == bare
    except OSError:
        return False  # no way there, so it is not dialled in vain


def _is_within_reach(sock: socket.socket) -> bool:
    """Whether what we dial can arrive there: an inherited socket may be of another network namespace."""
    try:
        with socket.socket(sock.family, socket.SOCK_DGRAM) as ours:
            return _namespace(sock) == _namespace(ours)
    except OSError:
        return True  # an older kernel, or no descriptor: most sockets are


def _namespace(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
