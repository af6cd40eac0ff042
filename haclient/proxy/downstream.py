"""One client's connection: requests in one after another, answers out in the same order.

What a client sends ahead (pipelining, RFC 9112, section 9.3.2) waits in the kernel's buffer: one
request is served before the next is read, so the order needs no queue, and a hundred requests sent
ahead cost no more than one.
"""

from __future__ import annotations

import trio

from haclient.core.config import Mode
from haclient.core.request_head import Refusal, judge
from haclient.net.http1_server import BadRequest
from haclient.net.transport import ClientTransport
from haclient.proxy.client_side import ClientSide
from haclient.proxy.connect import Connect
from haclient.proxy.credentials import known_or_refused
from haclient.proxy.door import Door
from haclient.proxy.forward import begin_forwarded
from haclient.proxy.gateway import Gateway
from haclient.proxy.refuse import refuse
from haclient.proxy.service import Service

__all__ = ["serve_connection"]


async def serve_connection(gateway: Gateway, door: Door, transport: ClientTransport) -> None:
    """Serves a connection to its end; never raises for what a client or a server does."""
    side = ClientSide(door, transport, gateway.idle_grace)
    door.inside.add(side)
    try:
        with side.scope:
            while await _serve_one(gateway, side):
                pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client left between two requests, or as an answer of ours was on its way
    except Exception as exc:
        # A fault of ours, whatever it is, ends one connection and no other.
        gateway.tell_fault(exc)
    finally:
        transport.close()
        door.inside.discard(side)


async def _serve_one(gateway: Gateway, side: ClientSide) -> bool:
    """One request and its answer; whether the connection may carry another."""
    try:
        raw = await side.next_head()
    except BadRequest as bad:
        refused = Refusal(bad.status, bad.reason)
        return await refuse(gateway, side, refused, None, is_head=bad.is_head)
    if raw is None:
        return False
    side.door.requests += 1
    if side.door.guard is not None:
        known = await known_or_refused(gateway, side, raw)
        if isinstance(known, Refusal):
            return await refuse(gateway, side, known, raw, is_head=raw.method == b"HEAD")
        raw = known
    service: Service | Connect | Refusal
    if side.door.settings.mode is Mode.FORWARD:
        service = begin_forwarded(gateway, side, raw)
    else:
        line = judge(raw.method, raw.target, raw.http_version, raw.fields)
        service = line if isinstance(line, Refusal) else Service(gateway, side, raw, line)
    if isinstance(service, Refusal):
        return await refuse(gateway, side, service, raw, is_head=raw.method == b"HEAD")
    side.served = service
    try:
        may_go_on = await service.run()
    finally:
        side.served = None
    if not may_go_on:
        await side.linger()
    return may_go_on
