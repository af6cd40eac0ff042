"""The library: `async with haclient.Client() as client: await client.get(url)`.

A thin face of `haclient.engine`; the command uses it too. Two ways to have an answer: `request`
(and `get`, `post`, ...) reads all of it, so that an answer which breaks off half-way is asked for
again elsewhere without the caller noticing; `stream` hands content over as it arrives.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Iterable,
    Mapping,
)
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self, TypedDict, Unpack

import trio

from haclient import events
from haclient._version import __version__
from haclient.core.spec import IdempotencyKey, Target, TlsSettings
from haclient.core.url import Url, parse_url
from haclient.engine.exchange import exchange
from haclient.engine.keyed import as_keyed
from haclient.engine.live import Engine, LiveTarget
from haclient.engine.outcome import Request
from haclient.engine.replay import as_content
from haclient.errors import BadRequestError, UnsupportedSchemeError, UrlError
from haclient.net import Dialer, Resolver
from haclient.net.dialer import SocketDialer
from haclient.response import Headers, Response
from haclient.types import Fields, Order

__all__ = ["Client", "Headers", "Response"]

ContentSource = bytes | bytearray | str | BinaryIO | AsyncIterable[bytes] | Iterable[bytes] | None
HeaderSource = Mapping[str, str] | list[tuple[str, str]] | Fields | None
"""A mapping or a list of text pairs gets the defaults added; a tuple of byte pairs (Fields) goes
out exactly as it is."""

ProxySource = str | Url | Callable[[Url], str | Url | None] | None


class Settings(TypedDict, total=False):
    """What haclient.Target takes, but for its URLs."""

    order: Order
    window: float
    response_timeout: float
    connect_timeout: float
    connection_attempt_delay: float
    race_width: int
    max_attempts: int
    failover_statuses: frozenset[int]
    retry_budget: float
    replay_limit: int
    resume: bool
    idempotency_key: IdempotencyKey
    queue_timeout: float
    max_connections: int
    pool_idle_timeout: float
    tls: TlsSettings


class RequestOptions(TypedDict, total=False):
    """What Client.request takes besides method and URL."""

    headers: HeaderSource
    content: ContentSource
    target: Target | None
    timeout: float | None


DEFAULT_FIELDS: Fields = (
    (b"User-Agent", f"haclient/{__version__}".encode()),
    (b"Accept", b"*/*"),
)

ANYWHERE = parse_url("http://localhost/")
"""Stands for the URL in settings that are not any target's own."""

MAX_CONTENT = 64 << 20
"""Bytes of an answer that `request` reads whole; more is for `stream`."""

MAX_LIVE_TARGETS = 256
"""Origins whose budget and addresses are remembered; the one that came first is forgotten."""


class Client:
    """A pool of connections, a memory of addresses and one watch, for as long as it is open.

    Args:
        target: where requests with a path instead of a URL go.
        observe: called with every event of haclient.events.
        proxy: a forward proxy's URL, or a function that gives one for a URL (or None).
        resolver, dialer: other edges than this machine's (tests, static addresses).
        settings: whatever haclient.Target takes but `urls` and `backups`, for every URL that is
            asked without a target of its own: `window=4.0`, `connect_timeout=1.0`, ...
    """

    def __init__(
        self,
        target: Target | None = None,
        *,
        observe: events.Observer | None = None,
        proxy: ProxySource = None,
        resolver: Resolver | None = None,
        dialer: Dialer | None = None,
        max_content: int = MAX_CONTENT,
        **settings: Unpack[Settings],
    ) -> None:
        if target is not None and not isinstance(target, Target):
            raise TypeError(f"target must be a Target, as Target(urls=[...]), not {target!r}")
        self._default = target
        self._observe = observe
        self._proxy = proxy
        self._resolver = resolver
        self._dialer = dialer
        self._max_content = max_content
        self._settings = settings
        self._engine: Engine | None = None
        self._nursery_manager: Any = None
        self._live: dict[object, LiveTarget] = {}
        if settings:
            Target(urls=(ANYWHERE,), **settings)  # to refuse a bad one now

    async def __aenter__(self) -> Self:
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError("haclient runs on trio, not on asyncio: trio.run(main)")
        self._nursery_manager = trio.open_nursery()
        nursery = await self._nursery_manager.__aenter__()
        resolver = self._resolver
        if resolver is None:
            from haclient.net.resolver import SystemResolver

            resolver = SystemResolver()
        self._engine = Engine(nursery, resolver, self._dialer or SocketDialer())
        self._engine.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        engine, self._engine = self._engine, None
        assert engine is not None
        self._live.clear()
        engine.close()
        engine.nursery.cancel_scope.cancel()
        if exc is None or not _bears_cancelled(exc):
            # The body's own error is not for the nursery: it would wrap it in a group.
            await self._nursery_manager.__aexit__(None, None, None)
            return False
        return bool(await self._nursery_manager.__aexit__(exc_type, exc, traceback))

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """As `request` with GET."""
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """As `request` with HEAD."""
        return await self.request("HEAD", url, **options)

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """As `request` with POST."""
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """As `request` with PUT."""
        return await self.request("PUT", url, **options)

    async def delete(self, url: str, **options: Unpack[RequestOptions]) -> Response:
        """As `request` with DELETE."""
        return await self.request("DELETE", url, **options)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeaderSource = None,
        content: ContentSource = None,
        target: Target | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Returns a whole answer, its content read.

        An answer that breaks off is asked for again elsewhere, as one that never came is.

        Args:
            method: as it goes on the wire.
            url: a URL, or with a target a path and query.
            headers: fields; Host, User-Agent and Accept are added where they are missing. A tuple
                of byte pairs goes out as it is (with Host and the content's framing).
            content: bytes, text, a binary file, or an iterable of bytes (sent chunked).
            target: more than one URL for this request.
            timeout: seconds for the whole exchange, all attempts together; None is no limit.

        Raises:
            haclient.Error: no answer; see haclient.errors.
        """
        live, request = self._prepare(method, url, headers, content, target, is_whole=True)
        try:
            answer = await exchange(live, request, self._observe, timeout)
            response = Response(answer)
            await response.take_whole()
        finally:
            if request.content.small is None:
                await request.content.aclose()
        return response

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: HeaderSource = None,
        content: ContentSource = None,
        target: Target | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Response, None]:
        """As `request`, but the content is the caller's to read, as it arrives.

        `timeout` bounds the exchange up to the head. An answer that breaks off goes on from another
        server where it can (a GET with a strong ETag); else it raises ResponseIncompleteError.
        """
        live, request = self._prepare(method, url, headers, content, target, is_whole=False)
        try:
            answer = await exchange(live, request, self._observe, timeout)
            response = Response(answer)
            try:
                yield response
            finally:
                response.close()
        finally:
            if request.content.small is None:
                await request.content.aclose()

    # --- from a call to the engine's request -------------------------------------------------

    def _prepare(
        self,
        method: str,
        url: str,
        headers: HeaderSource,
        content: ContentSource,
        target: Target | None,
        *,
        is_whole: bool,
    ) -> tuple[LiveTarget, Request]:
        spec = target or (self._default if url.startswith("/") else None)
        if spec is None:
            parsed = parse_url(url)
            live = self._live_for_url(parsed)
            path, is_target_whole = parsed.path_and_query, True
        else:
            if not url.startswith("/"):
                raise UrlError(f"with a target a path is asked for, not {url!r}: it begins with /")
            live = self._live_for(spec, spec)
            path, is_target_whole = url, False
        fields, facts = as_keyed(method, _as_fields(headers), live.spec.idempotency_key)
        return live, Request(
            method,
            path,
            fields,
            as_content(content, live.spec.replay_limit),
            facts,
            is_target_whole,
            is_whole,
            self._max_content,
        )

    def _live_for_url(self, url: Url) -> LiveTarget:
        live = self._live.get(url.origin)
        if live is not None:
            return live
        bare = Url(origin=url.origin, path_and_query="/")
        return self._live_for(url.origin, Target(urls=(bare,), **self._settings))

    def _live_for(self, key: object, spec: Target) -> LiveTarget:
        live = self._live.get(key)
        if live is None:
            if self._engine is None:
                raise RuntimeError("a Client serves inside its `async with` block only")
            if spec.is_tcp:
                raise UnsupportedSchemeError(
                    f"a Client speaks HTTP, and {spec.urls[0]} may speak anything: write http:// or https://"
                )
            proxy = self._proxy(spec.urls[0]) if callable(self._proxy) else self._proxy
            proxy = parse_url(proxy) if isinstance(proxy, str) else proxy
            if len(self._live) >= MAX_LIVE_TARGETS:
                del self._live[next(iter(self._live))]
            live = self._live[key] = LiveTarget(spec, self._engine, proxy)
        return live


def _as_fields(headers: HeaderSource) -> Fields:
    """A caller's fields as bytes, the defaults put before them where they are missing."""
    if headers is None:
        return DEFAULT_FIELDS
    if isinstance(headers, tuple):
        return headers
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    try:
        fields = tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in pairs)
    except UnicodeEncodeError as exc:
        raise BadRequestError(
            f"a header field cannot be sent: {exc.object!r} is not Latin-1 (RFC 9110, section 5.5)"
        ) from exc
    except AttributeError:
        raise BadRequestError(f"header fields must be texts, not {dict(pairs)!r}") from None
    names = {name.lower() for name, _ in fields}
    return (*(one for one in DEFAULT_FIELDS if one[0].lower() not in names), *fields)


def _bears_cancelled(exc: BaseException) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return any(_bears_cancelled(one) for one in exc.exceptions)
    return isinstance(exc, trio.Cancelled)
