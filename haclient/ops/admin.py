"""What the admin endpoint answers, path by path; admin_server.py carries it.

    GET  /status /metrics /config     how the daemon is
    GET  /healthz /readyz             probes: the loop runs; requests are taken
    GET  /events                      what happens, as it happens (feed.py)
    GET  /                            a page for a browser
    POST /drain /reload               orders

The one who must not get through is a web page. A browser on the same machine sends what any page tells
it to, to loopback too, and a name of the page's own may be made to point there ("DNS rebinding"). So the
Host must be a loopback name or address, on a Unix socket as well (somebody may have put a proxy before
it); a request that a page sent from elsewhere (Origin) is refused, and an order that bears Origin at all,
even ours: the page here gives none. Nobody is told apart beyond that: whoever may open the socket may
give orders.
"""

from __future__ import annotations

import functools
import http
from collections.abc import Awaitable, Callable

import msgspec

from haclient.core.names import is_loopback
from haclient.core.request_head import RequestLine
from haclient.ops.book import Book
from haclient.ops.config_view import config_view
from haclient.ops.control import Control
from haclient.ops.feed import Reader
from haclient.ops.log import Log, wall_clock
from haclient.ops.metrics import MEDIA_TYPE, Metrics
from haclient.ops.status_build import build_status
from haclient.ops.status_report import OrderReport
from haclient.types import Fields

__all__ = ["Admin", "Reply", "head_of", "refused"]

JSON = "application/json"

ALWAYS: Fields = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)
"""No page from elsewhere gets to see what is answered, in whatever element it puts it."""


class Reply(msgspec.Struct):
    """An answer. With a `reader`, what it reads follows the head until one side ends."""

    status: int
    media_type: str
    content: bytes = b""
    fields: Fields = ()
    reader: Reader | None = None


class Admin:
    """The routes."""

    def __init__(self, control: Control, book: Book, log: Log) -> None:
        self._control = control
        self._book = book
        self._metrics = Metrics(control, book, log)
        self._gets: dict[str, Callable[[], Reply]] = {
            "/": _page,
            "/status": self._status,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/config": self._config,
        }
        self._orders = {"/reload": self._reload, "/drain": self._drain}

    async def answer(self, line: RequestLine, fields: Fields) -> Reply:
        """One request."""
        origin = field(line, fields, b"origin")
        if not is_here(line.host) and (line.host or not line.is_http10):
            return refused(
                421, f"this endpoint is localhost, or a loopback address, and not {line.host}"
            )
        path = line.target.partition("?")[0]
        if path in self._orders:
            return self._order(line.method, path, origin)
        if origin is not None and origin != b"http://" + line.authority:
            return refused(403, "this endpoint is for no page from elsewhere")
        return await self._get(line, path, fields)

    def _order(self, method: str, path: str, origin: bytes | None) -> Reply:
        if method != "POST":
            return refused(405, f"{path} is an order: POST", ((b"Allow", b"POST"),))
        if origin is not None:
            return refused(403, "orders are taken from no web page")
        return self._orders[path]()

    async def _get(self, line: RequestLine, path: str, fields: Fields) -> Reply:
        answer: Callable[[], Reply | Awaitable[Reply]] | None = self._gets.get(path)
        if answer is None and path not in {"/metrics", "/events"}:
            return refused(404, f"there is no {path[:100]} here; see docs/operations.md")
        if line.method not in {"GET", "HEAD"}:
            return refused(405, f"{path} is only read: GET", ((b"Allow", b"GET, HEAD"),))
        if path == "/metrics":
            return Reply(200, MEDIA_TYPE, await self._metrics.render())
        if path == "/events":
            return self._events(line.method, field(line, fields, b"last-event-id"))
        return self._gets[path]()

    # --- what is read ------------------------------------------------------------------------

    def _status(self) -> Reply:
        return _json(200, build_status(self._control, self._book, wall_clock() / 1e9))

    def _healthz(self) -> Reply:
        return Reply(200, "text/plain; charset=utf-8", b"the loop runs\n")

    def _readyz(self) -> Reply:
        control = self._control
        if control.is_ready:
            return _json(
                200, OrderReport(is_done=True, lines=("ready",), generation=control.generation)
            )
        line = "draining" if control.sidecar.is_draining else "not every listener is open"
        return _json(503, OrderReport(is_done=False, lines=(line,), generation=control.generation))

    def _config(self) -> Reply:
        return _json(200, config_view(self._control.sidecar.config))

    def _events(self, method: str, last_id: bytes | None) -> Reply:
        media_type = "text/event-stream; charset=utf-8"
        if method == "HEAD":
            return Reply(200, media_type)
        is_number = last_id is not None and last_id.isdigit() and len(last_id) < 20
        reader = self._book.feed.join(int(last_id) if last_id is not None and is_number else None)
        if reader is None:
            return refused(
                503, "as many as may listen do; try again later", ((b"Retry-After", b"5"),)
            )
        return Reply(200, media_type, reader=reader)

    # --- orders ------------------------------------------------------------------------------

    def _reload(self) -> Reply:
        report = self._control.reload()
        return _json(200 if report.is_done else 409, report)

    def _drain(self) -> Reply:
        return _json(202, self._control.drain())


def refused(status: int, detail: str, fields: Fields = ()) -> Reply:
    """What cannot be done, and why (RFC 9457)."""
    members = {"title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Reply(status, "application/problem+json", msgspec.json.encode(members) + b"\n", fields)


def head_of(reply: Reply, *, is_last: bool) -> bytes:
    """The response's head, as it is sent."""
    phrase = http.HTTPStatus(reply.status).phrase
    fields: Fields = ((b"Content-Type", reply.media_type.encode()), *ALWAYS, *reply.fields)
    if reply.reader is None:
        fields = (*fields, (b"Content-Length", b"%d" % len(reply.content)))
    if is_last:
        fields = (*fields, (b"Connection", b"close"))
    lines = [f"HTTP/1.1 {reply.status} {phrase}".encode(), *(b": ".join(each) for each in fields)]
    return b"\r\n".join([*lines, b"", b""])


@functools.lru_cache(maxsize=64)
def is_here(host: str) -> bool:
    """Whether a host is this machine whatever any name server says (RFC 6761, section 6.3)."""
    try:
        return is_loopback(host)
    except ValueError:
        return host.removesuffix(".") == "localhost"


def field(line: RequestLine, fields: Fields, name: bytes) -> bytes | None:
    """The first value of a field; None where there is none."""
    return fields[line.names.index(name)][1] if name in line.names else None


def _json(status: int, value: object) -> Reply:
    return Reply(status, JSON, msgspec.json.encode(value) + b"\n")


def _page() -> Reply:
    from haclient.ops.admin_page import PAGE, POLICY

    return Reply(200, "text/html; charset=utf-8", PAGE, ((b"Content-Security-Policy", POLICY),))
