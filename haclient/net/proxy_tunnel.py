"""A forward proxy: the tunnel to https origins, and the fields that are for the proxy alone.

A tunnel is CONNECT, answered with 2xx (RFC 9110, section 9.3.6); nothing of the client's own is sent
before that. The proxy's credentials go to the proxy only, whatever the request bears: a target may
have http and https URLs, and what is told the proxy of the one would reach the server of the other.
"""

from __future__ import annotations

import base64

import h11
import trio

from haclient.core.proxy_status import details_of
from haclient.core.url import Url
from haclient.errors import ProxyCredentialsError, ProxyError
from haclient.net import Transport
from haclient.types import Fields, Origin

__all__ = ["fields_through", "open_tunnel", "proxy_fields"]

FOR_THE_PROXY = frozenset({b"proxy-authorization", b"proxy-connection"})

MAX_CONNECT_HEAD_BYTES = 16384


def proxy_fields(proxy: Url) -> Fields:
    """The fields that are for a forward proxy alone: credentials where its URL has userinfo."""
    keep = (b"Proxy-Connection", b"Keep-Alive")
    if proxy.credentials is None:
        return (keep,)
    token = base64.b64encode(b":".join(proxy.credentials))  # RFC 7617, section 2
    return ((b"Proxy-Authorization", b"Basic " + token), keep)


def fields_through(proxy: Url, fields: Fields, *, is_tunnel: bool) -> Fields:
    """Returns a request's fields as they go out on a connection through `proxy`.

    To the proxy itself: with `proxy_fields` behind them, where they lack one. Through a tunnel: without
    any of them.
    """
    if is_tunnel:
        return tuple(field for field in fields if field[0].lower() not in FOR_THE_PROXY)
    names = {name.lower() for name, _ in fields}
    return (*fields, *(field for field in proxy_fields(proxy) if field[0].lower() not in names))


async def open_tunnel(transport: Transport, origin: Origin, proxy: Url) -> None:
    """Makes the proxy at the other end connect on to `origin`.

    Raises:
        ProxyCredentialsError: it answered with 407.
        ProxyError: it answered with something other than 2xx, or not with HTTP.
        trio.BrokenResourceError: the connection broke.
    """
    # A zone means something on this machine alone (RFC 6874, section 3).
    host = f"[{origin.host.partition('%')[0]}]" if ":" in origin.host else origin.host
    authority = f"{host}:{origin.port}"
    fields = [(b"Host", authority.encode()), *proxy_fields(proxy)]
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_CONNECT_HEAD_BYTES)
    request = h11.Request(method="CONNECT", target=authority, headers=fields)
    await transport.send_all((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
    try:
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                data = await transport.receive_some(4096)
                if not data:
                    raise ProxyError(f"the proxy {proxy.origin} closed the connection")
                wire.receive_data(bytes(data))
            elif isinstance(event, h11.Response):
                break
    except h11.RemoteProtocolError as exc:
        raise ProxyError(f"the proxy {proxy.origin} did not answer in HTTP: {exc}") from exc
    if not 200 <= event.status_code < 300:
        raise _refusal(proxy, event)
    if wire.trailing_data[0]:
        raise trio.BrokenResourceError("the proxy sent bytes before the tunnel was used")


def _refusal(proxy: Url, answer: h11.Response) -> ProxyError:
    """With the proxy's own reason, where it gives one (RFC 9209); its content is for a browser, and not read."""
    values = [value for name, value in answer.headers if name == b"proxy-status"]
    details = details_of(b", ".join(values))
    why = f": {details}" if details else ""
    kind = ProxyCredentialsError if answer.status_code == 407 else ProxyError
    return kind(f"the proxy {proxy.origin} answered CONNECT with {answer.status_code}{why}")
