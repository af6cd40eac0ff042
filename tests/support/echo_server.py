"""An origin that others wrote: aiohttp's server, as a process.

    with echo_server() as url: ...

/echo gives back what it was sent, once it is there, framed in the same manner, and says in fields how it
came; /duplex does so while it comes in; /file is FILE_BYTES of noise with a strong ETag, and ranges of it; /lines/N are N chunks of a line each
(for HTTP/1.0 until the connection ends).
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web

__all__ = ["FILE", "FILE_BYTES", "echo_server", "noise"]

FILE_BYTES = 1 << 20


def noise(size: int, seed: int = 7) -> bytes:
    """The same bytes for the same seed; every value of a byte is among them."""
    return random.Random(seed).randbytes(size)


FILE = noise(FILE_BYTES)
ETAG = hashlib.sha256(FILE).hexdigest()[:16]


async def echo(request: web.Request) -> web.StreamResponse:
    """Gives the content back: at its end, or as it comes in."""
    kept = [] if request.path == "/duplex" else [await request.read()]
    chunked = "chunked" if request.headers.get("Transfer-Encoding") else "counted"
    fields = {"X-Method": request.method, "X-Framing": chunked, "X-Raw-Path": request.raw_path}
    response = web.StreamResponse(headers=fields)
    if chunked == "counted":
        response.content_length = request.content_length or 0
    await response.prepare(request)
    for piece in kept:
        await response.write(piece)
    async for piece in request.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


async def file(request: web.Request) -> web.Response:
    """The noise, or a range of it."""
    span = request.http_range
    start, stop, _ = slice(span.start, span.stop).indices(FILE_BYTES)
    response = web.Response(body=FILE[start:stop], status=200 if span.start is None else 206)
    response.etag = ETAG
    response.headers["Accept-Ranges"] = "bytes"
    if response.status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{FILE_BYTES}"
    return response


async def lines(request: web.Request) -> web.StreamResponse:
    """So many lines, each flushed."""
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(int(request.match_info["count"])):
        await response.write(b"line %d\n" % number)
    return response


def main() -> None:
    """Serves until it is ended; its first line on stdout is the port."""
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/echo", echo)
    app.router.add_route("*", "/duplex", echo)
    app.router.add_get("/file", file)
    app.router.add_get("/lines/{count}", lines)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        web.run_app(app, sock=listener, print=None, access_log=None)


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    """Its URL, for as long as the block lasts."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.support.echo_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    main()
