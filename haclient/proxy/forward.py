"""A forward proxy's way in: where the request says, if the list allows it; CONNECT beside the rest."""

from __future__ import annotations

from haclient.core.allow import Forbidden
from haclient.core.destination import judge_forward
from haclient.core.request_head import Refusal
from haclient.errors import ProxyStatus
from haclient.net.http1_server import RawHead
from haclient.proxy.client_side import ClientSide
from haclient.proxy.connect import Connect
from haclient.proxy.gateway import Gateway
from haclient.proxy.service import Service

__all__ = ["begin_forwarded"]

FORBIDDEN = 403


def begin_forwarded(
    gateway: Gateway, side: ClientSide, raw: RawHead
) -> Service | Connect | Refusal:
    """Who serves the request, or why nobody does; no name is looked up here."""
    asked = judge_forward(raw.method, raw.target, raw.http_version, raw.fields)
    if isinstance(asked, Refusal):
        return asked
    destinations = gateway.destinations_of(side.door.settings)
    live = destinations.find(asked.destination, is_tunnel=asked.is_tunnel)
    if isinstance(live, Forbidden):
        denied = ProxyStatus.HTTP_REQUEST_DENIED
        return Refusal(FORBIDDEN, live.reason, denied, host=asked.line.host)
    if asked.is_tunnel:
        return Connect(gateway, side, raw, asked.line, live)
    return Service(gateway, side, raw, asked.line, live)
