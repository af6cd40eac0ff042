"""What is no request that could be served, or none that may be: answered, told, and the connection ended.

And what nobody waits for any more before that is known: told, for it was counted.
"""

from __future__ import annotations

import random

import trio

from haclient.core.fields import request_id_of
from haclient.core.request_head import Refusal
from haclient.net.http1_server import RawHead
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import left_record, refusal_record
from haclient.proxy.reply import content_size, refusal

__all__ = ["new_request_id", "refuse", "tell_left"]


async def refuse(
    gateway: Gateway, side: ClientSide, refused: Refusal, raw: RawHead | None, *, is_head: bool
) -> bool:
    """Answers it, and ends the connection, for what follows cannot be trusted; returns False."""
    request_id = _id_for(raw)
    data = refusal(
        refused.status,
        refused.reason,
        is_head=is_head,
        request_id=request_id,
        error=refused.error,
        challenge=refused.challenge,
    )
    gateway.tell(
        refusal_record(
            side.door.settings.name,
            side.client,
            refused,
            raw,
            request_id=request_id,
            began_at=side.began_at,
            ended_at=trio.current_time(),
            response_bytes=content_size(data),
        )
    )
    await side.send(data)
    await side.linger()
    return False


def tell_left(gateway: Gateway, side: ClientSide, raw: RawHead, detail: str) -> None:
    """Its connection ended before it was known whether it would be served."""
    gateway.tell(
        left_record(
            side.door.settings.name,
            side.client,
            raw,
            request_id=_id_for(raw),
            began_at=side.began_at,
            ended_at=trio.current_time(),
            detail=detail,
        )
    )


def _id_for(raw: RawHead | None) -> str:
    return (request_id_of(raw.fields) if raw is not None else "") or new_request_id()


def new_request_id() -> str:
    """For a request that bears none; a name, no secret."""
    return f"{random.getrandbits(128):032x}"
