"""The library: `async with haclient.Client() as client: await client.get(url)`.

A thin face of `haclient.engine`; the command uses it too. Two ways to have an answer: `request`
(and `get`, `post`, ...) reads all of it, so that an answer which breaks off half-way is asked for
again elsewhere without the caller noticing; `stream` hands content over as it arrives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self

import trio

from haclient import events
from haclient._version import __version__
from haclient.core.retry import RequestFacts
from haclient.core.spec import IdempotencyKey, Target
from haclient.core.url import Url, parse_url
from haclient.engine.attempt import Attempt, BrokenOff, Request
from haclient.engine.exchange import Answer, exchange
from haclient.engine.failure import error_for
from haclient.engine.live import Engine, LiveTarget
from haclient.engine.replay import as_content
from haclient.errors import BadRequestError
from haclient.net import Dialer, Resolver
from haclient.net.connection import Connection
from haclient.net.dialer import SocketDialer
from haclient.net.pool import Pool
from haclient.net.proxy_tunnel import proxy_authorization
from haclient.types import AttemptRecord, Fields, Verdict

__all__ = ["Client", "Headers", "Response"]

ContentSource = bytes | bytearray | str | BinaryIO | AsyncIterable[bytes] | Iterable[bytes] | None
HeaderSource = Mapping[str, str] | list[tuple[str, str]] | Fields | None
"""A mapping or a list of text pairs gets the defaults added; a tuple of byte pairs (Fields) goes
out exactly as it is."""

DEFAULT_FIELDS: Fields = (
    (b"User-Agent", f"haclient/{__version__}".encode()),
    (b"Accept", b"*/*"),
)

MAX_CONTENT = 64 << 20
"""Bytes of an answer that `request` reads whole; more is for `stream`."""

MAX_LIVE_TARGETS = 256
"""Origins whose budget and addresses are remembered; the least recently used is forgotten."""


class Headers(Mapping[str, str]):
    """Response fields by name, whatever the letter case; several of a name joined by ", "."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def get_all(self, name: str) -> list[str]:
        """Every value of a field, in order (Set-Cookie must not be joined: RFC 9110, 5.3)."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.fields if key.lower() == wanted]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1").lower() for key, _ in self.fields))

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.fields})

    def __repr__(self) -> str:
        return f"Headers({dict(self)!r})"


class Response:
    """An answer: its head is here, its content perhaps still on the way.

    Attributes:
        status, reason, http_version: of the status line.
        headers: fields by name; `fields` as they came.
        attempts: what was tried, when, and why each try ended; whole once the content is.
    """

    def __init__(self, answer: Answer, observe: events.Observer | None) -> None:
        self._answer = answer
        self._attempt: Attempt = answer.attempt
        self._observe = observe
        self._content: bytes | None = None
        self._is_over = False
        head = self._attempt.head
        assert head is not None
        self.status = head.status
        self.reason = head.reason.decode("latin-1")
        self.http_version = head.http_version.decode("latin-1")
        self.fields = head.fields
        self.headers = Headers(head.fields)

    def __repr__(self) -> str:
        return f"<Response {self.status} from {self._attempt.connection and self._attempt.connection.endpoint}>"

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        """Every attempt, in order."""
        return self._answer.attempts

    @property
    def trailers(self) -> Fields:
        """Trailer fields of chunked content, once it was read to its end."""
        connection = self._attempt.connection
        return connection.http.trailers if connection is not None else ()

    async def read(self) -> bytes:
        """Returns the whole content.

        Raises:
            ResponseIncompleteError: it broke off; what came before is not returned.
        """
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self])
        return self._content

    async def text(self, encoding: str = "utf-8") -> str:
        """Returns the whole content as text."""
        return (await self.read()).decode(encoding)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Content as it arrives.

        Raises:
            ResponseIncompleteError: it broke off.
        """
        if self._content is not None:
            if self._content:
                yield self._content
            return
        while not self._is_over:
            try:
                chunk = await self._attempt.read_chunk()
            except BrokenOff as broken:
                self._is_over = True
                error = error_for(self.attempts, "part of it was handed over already", None, None)
                self._tell_end(error)
                raise error from broken.__cause__
            except BaseException:
                self.close()
                raise
            if chunk:
                yield chunk
            else:
                await self._finish()

    async def _finish(self) -> None:
        self._is_over = True
        await self._attempt.finish()
        self._tell_end(None)

    async def _take_whole(self) -> None:
        """The content was read within the exchange."""
        self._content = self._attempt.content
        await self._finish()

    def close(self) -> None:
        """Gives the rest up; the connection is closed unless the content was read to its end."""
        if not self._is_over:
            self._is_over = True
            self._attempt.abandon(Verdict.ANSWERED, "content not read to its end")
            self._tell_end(None)

    def _tell_end(self, error: Exception | None) -> None:
        if self._observe is not None:
            self._observe(events.ExchangeEnded(trio.current_time(), self.attempts, error))


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
        proxy: Any = None,
        resolver: Resolver | None = None,
        dialer: Dialer | None = None,
        max_content: int = MAX_CONTENT,
        **settings: Any,
    ) -> None:
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
            Target(urls=("http://localhost/",), **settings)  # type: ignore[arg-type]  # to refuse now

    async def __aenter__(self) -> Self:
        self._nursery_manager = trio.open_nursery()
        nursery = await self._nursery_manager.__aenter__()
        resolver = self._resolver
        if resolver is None:
            from haclient.net.resolver import SystemResolver

            resolver = SystemResolver()
        spec = self._default or Target(urls=("http://localhost/",), **self._settings)  # type: ignore[arg-type]
        pool: Pool[Connection] = Pool(
            max_connections=spec.max_connections, idle_timeout=spec.pool_idle_timeout
        )
        self._engine = Engine(nursery, resolver, self._dialer or SocketDialer(), pool)
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
        engine.pool.close_all()
        engine.nursery.cancel_scope.cancel()
        if exc is None or not _bears_cancelled(exc):
            # The body's own error is not for the nursery: it would wrap it in a group.
            await self._nursery_manager.__aexit__(None, None, None)
            return False
        return bool(await self._nursery_manager.__aexit__(exc_type, exc, traceback))

    async def get(self, url: str, **kwargs: Any) -> Response:
        """As `request` with GET."""
        return await self.request("GET", url, **kwargs)

    async def head(self, url: str, **kwargs: Any) -> Response:
        """As `request` with HEAD."""
        return await self.request("HEAD", url, **kwargs)

    async def post(self, url: str, **kwargs: Any) -> Response:
        """As `request` with POST."""
        return await self.request("POST", url, **kwargs)

    async def put(self, url: str, **kwargs: Any) -> Response:
        """As `request` with PUT."""
        return await self.request("PUT", url, **kwargs)

    async def delete(self, url: str, **kwargs: Any) -> Response:
        """As `request` with DELETE."""
        return await self.request("DELETE", url, **kwargs)

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
        answer = await exchange(live, request, self._observe, timeout)
        response = Response(answer, self._observe)
        await response._take_whole()
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

        `timeout` bounds the exchange up to the head. Once content was handed over, an answer that
        breaks off raises ResponseIncompleteError.
        """
        live, request = self._prepare(method, url, headers, content, target, is_whole=False)
        answer = await exchange(live, request, self._observe, timeout)
        response = Response(answer, self._observe)
        try:
            yield response
        finally:
            response.close()

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
            live = self._live_for(spec, spec)
            path, is_target_whole = url, False
        fields = _as_fields(headers)
        if live.proxy is not None and (credentials := proxy_authorization(live.proxy)) is not None:
            if not live.first_tier[0].origin.is_secure:
                fields = (*fields, credentials)
        has_key = live.spec.idempotency_key is IdempotencyKey.HONOUR and any(
            name.lower() == b"idempotency-key" for name, _ in fields
        )
        return live, Request(
            method,
            path,
            fields,
            as_content(content, live.spec.replay_limit),
            RequestFacts(method, has_key),
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
            proxy = self._proxy(spec.urls[0]) if callable(self._proxy) else self._proxy
            if isinstance(proxy, str):
                proxy = parse_url(proxy)
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
        fields = tuple(
            (
                name if isinstance(name, bytes) else name.encode("ascii"),
                value if isinstance(value, bytes) else value.encode("latin-1"),
            )
            for name, value in pairs
        )
    except UnicodeEncodeError as exc:
        raise BadRequestError(
            f"a header field cannot be sent: {exc.object!r} is not Latin-1 (RFC 9110, section 5.5)"
        ) from exc
    names = {name.lower() for name, _ in fields}
    return (*(one for one in DEFAULT_FIELDS if one[0].lower() not in names), *fields)


def _bears_cancelled(exc: BaseException) -> bool:
    if isinstance(exc, BaseExceptionGroup):
        return any(_bears_cancelled(one) for one in exc.exceptions)
    return isinstance(exc, trio.Cancelled)
