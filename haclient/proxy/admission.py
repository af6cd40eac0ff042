"""Who may enter a door, as far as that can be told before a request is read.

The naive answer closes the connection of whoever may not: his program reports "empty reply", and its user
looks for a crash. So he is told, in HTTP, once he has said something (a client that is answered before
it asked takes that for a broken connection). But whoever is turned away must not cost the others
anything: only so many are told at the same time, and all further ones are cut off at once.
"""

from __future__ import annotations

import contextlib

import trio

from haclient.core.config import Mode
from haclient.errors import ProxyStatus
from haclient.net.transport import SocketTransport
from haclient.proxy.door import Door
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import Reason
from haclient.proxy.refuse import new_request_id
from haclient.proxy.reply import refusal

__all__ = ["may_enter", "turn_away"]

TOLD_AT_ONCE = 16
"""Of one door. Each holds one of its places for PATIENCE at the most; a door with places for fewer than four
times as many tells a quarter of them."""

PATIENCE = 1.0
"""Seconds in which whoever is turned away can say something, and take his answer."""

READ_AT_MOST = 1 << 16
"""Bytes that are read of him, for closing on unread ones would be a reset, and take his answer away."""

FORBIDDEN = 403


async def may_enter(gateway: Gateway, door: Door, transport: SocketTransport) -> bool:
    """Whether the client's user is among those who may; else it is turned away here, and closed."""
    allowed = door.settings.allow_uids
    uid = transport.peer_uid()
    if allowed is None or uid in allowed:
        return True
    detail = f"user id {uid} is not in allow_uids"
    if door.settings.mode is Mode.TCP or door.settings.tls is not None:
        gateway.note_turned_away(door, "unix", Reason.UID, detail)
        transport.reset()
        return False
    request_id = new_request_id()
    gateway.note_turned_away(door, "unix", Reason.UID, detail, request_id)
    data = refusal(
        FORBIDDEN,
        f"user id {uid} may not use this door",
        is_head=False,
        request_id=request_id,
        error=ProxyStatus.HTTP_REQUEST_DENIED,
    )
    await turn_away(door, transport, data, has_spoken=False)
    return False


async def turn_away(
    door: Door, transport: SocketTransport, last_words: bytes, *, has_spoken: bool
) -> None:
    """Tells one who may not enter, if there are not too many of them, and closes his connection."""
    if len(door.being_told) >= min(TOLD_AT_ONCE, door.settings.max_connections // 4):
        transport.reset()
        return
    door.being_told.add(transport)
    try:
        with trio.move_on_after(PATIENCE), contextlib.suppress(trio.BrokenResourceError):
            if has_spoken or await transport.receive_some():
                await transport.send_all(last_words)
                await transport.send_eof()
                await _read_on(transport)
    finally:
        door.being_told.discard(transport)
        transport.close()


async def _read_on(transport: SocketTransport) -> None:
    left = READ_AT_MOST
    while left > 0 and (data := await transport.receive_some()):
        left -= len(data)
