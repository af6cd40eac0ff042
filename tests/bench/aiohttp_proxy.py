"""The peer of the sidecar's cost: the least that is a streaming reverse proxy, on aiohttp.

    python -m tests.bench.aiohttp_proxy 127.0.0.1:8081 http://127.0.0.1:8080

What it has in common with the sidecar: persistent connections both ways, content streamed both ways,
hop-by-hop fields removed, the request's target and Host as they came. What it has not: any failover, watch, log, metric,
Via, or answer of its own. aiohttp's compiled parser and writer are in use, as installed.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

SESSION = web.AppKey("session", aiohttp.ClientSession)
UPSTREAM = web.AppKey("upstream", str)


def end_to_end(fields: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Those that go further (RFC 9110, section 7.6.1)."""
    named = {name.strip().lower() for name in fields.get("Connection", "").split(",")}
    dropped = HOP_BY_HOP | named
    return CIMultiDict(
        (name, value) for name, value in fields.items() if name.lower() not in dropped
    )


async def handle(request: web.Request) -> web.StreamResponse:
    """One request."""
    async with request.app[SESSION].request(
        request.method,
        URL(request.app[UPSTREAM] + request.raw_path, encoded=True),
        headers=end_to_end(request.headers),
        data=request.content if request.can_read_body else None,
        allow_redirects=False,
    ) as answer:
        fields = end_to_end(answer.headers)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=fields)
        with contextlib.suppress(ConnectionResetError):  # the client left: no traceback for that
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
        return response


async def with_session(app: web.Application) -> AsyncIterator[None]:
    """One session for the life of the application, that changes nothing on the way."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding", "Content-Type"],
    ) as session:
        app[SESSION] = session
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bind")
    parser.add_argument("upstream")
    args = parser.parse_args()
    host, _, port = args.bind.rpartition(":")
    app = web.Application(client_max_size=0)
    app[UPSTREAM] = args.upstream
    app.cleanup_ctx.append(with_session)
    app.router.add_route("*", "/{anything:.*}", handle)
    web.run_app(app, host=host, port=int(port), print=None, access_log=None)


if __name__ == "__main__":
    main()
