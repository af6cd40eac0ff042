"""Where an accepted connection comes in: who may, and what kind of door it is.

Decided for each connection anew, by the settings in force at that moment: a reload changes them under
a socket that stays.
"""

from __future__ import annotations

from typing import assert_never

from haclient.core.config import Mode
from haclient.net.transport import ClientTransport, SocketTransport
from haclient.proxy.admission import may_enter
from haclient.proxy.door import Door
from haclient.proxy.downstream import serve_connection
from haclient.proxy.gateway import Gateway
from haclient.proxy.handshake import shake_hands
from haclient.proxy.tcp import serve_tcp

__all__ = ["enter"]


async def enter(gateway: Gateway, door: Door, transport: SocketTransport) -> None:
    """Serves a connection to its end; never raises for what a client or a server does."""
    if door.settings.allow_uids is not None and not await may_enter(gateway, door, transport):
        return
    if door.tls is None:
        await serve(gateway, door, transport)
    elif (secure := await shake_hands(gateway, door, transport, door.tls)) is not None:
        await serve(gateway, door, secure)


async def serve(gateway: Gateway, door: Door, transport: ClientTransport) -> None:
    """The same, for one who may enter."""
    match door.settings.mode:
        case Mode.REVERSE | Mode.FORWARD:
            await serve_connection(gateway, door, transport)
        case Mode.TCP:
            await serve_tcp(gateway, door, transport)
        case _:
            assert_never(door.settings.mode)
