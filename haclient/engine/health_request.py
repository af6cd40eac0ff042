"""One health request: a connection of its own, a GET, the head of an answer.

Never through the pool: a connection there may be handed to a user's request at any moment, and the queue
for one says nothing of the server. It is opened for this request and closed behind its answer, whose
content nobody reads, so that each one also shows that the application accepts.

What silence means the kernel says: were the bytes acknowledged, somebody's kernel is there and the
application is not heard; else it is the path, as with a connect that times out. For https the handshake
is the application's as well.
"""

from __future__ import annotations

import msgspec
import trio

from haclient._version import __version__
from haclient.core.framing import write_request_head
from haclient.core.health_check import Result, result_of
from haclient.engine.breakage import end_of
from haclient.engine.connecting import establish
from haclient.engine.live import LiveTarget
from haclient.net import Transport
from haclient.net.connection import Connection
from haclient.net.http1 import Head
from haclient.net.racer import HANDSHAKE_ERRORS, connect_failure, handshake_failure, words
from haclient.net.tls import TlsFileError
from haclient.types import ConnectFailure, Endpoint, Fields, Origin, Verdict

__all__ = ["Told", "ask_health"]

FIELDS: Fields = (
    (b"User-Agent", f"haclient/{__version__}".encode()),
    (b"Accept", b"*/*"),
    (b"Connection", b"close"),
)


class Told(msgspec.Struct, frozen=True):
    """What came of it; `detail` is for a person, `failure` of a connection that did not come about."""

    result: Result
    detail: str
    failure: ConnectFailure | None = None


async def ask_health(target: LiveTarget, origin: Origin, endpoint: Endpoint) -> Told:
    """Asks once. It lasts for the target's connect_timeout and the health requests' timeout at the most."""
    connect_timeout = target.spec.connect_timeout
    transport: Transport | None = None
    try:
        with trio.move_on_after(connect_timeout):
            transport = await target.engine.dialer.connect(endpoint)
    except OSError as error:
        return Told(Result.NOT_CONNECTED, words(error), connect_failure(error))
    if transport is None:
        detail = f"no connection within {connect_timeout:g} s"
        return Told(Result.NOT_CONNECTED, detail, ConnectFailure.TIMED_OUT)
    try:
        return await _ask_on(transport, target, origin)
    finally:
        transport.close()


async def _ask_on(transport: Transport, target: LiveTarget, origin: Origin) -> Told:
    settings = target.spec.health
    assert settings is not None
    with trio.move_on_after(settings.timeout):
        stream = await _usable(transport, target, origin)
        if isinstance(stream, Told):
            return stream
        now = trio.current_time()
        connection = Connection(None, origin, transport, stream, now, now)
        return await _answer(connection, target.prefixes[origin] + settings.path)
    info = transport.snapshot()
    if info is not None and info.unacked:
        detail = f"not acknowledged within {settings.timeout:g} s"
        return Told(Result.NOT_CONNECTED, detail, ConnectFailure.TIMED_OUT)
    return Told(Result.SILENT, f"no answer within {settings.timeout:g} s")


async def _usable(
    transport: Transport, target: LiveTarget, origin: Origin
) -> trio.abc.Stream | Told:
    if not origin.is_secure:
        return transport  # type: ignore[return-value]  # a stream by what it does
    try:
        return await establish(target, transport, origin)
    except TlsFileError as error:
        # Of ours, and the requests that need it say so.
        return Told(Result.NOT_CONNECTED, str(error), ConnectFailure.LOCAL)
    except HANDSHAKE_ERRORS as error:
        return Told(Result.NOT_CONNECTED, words(error), handshake_failure(error, origin))


async def _answer(connection: Connection, path: str) -> Told:
    head = write_request_head("GET", path, FIELDS, connection.origin.authority, 0)
    connection.http.begin(head)
    try:
        await connection.send(head.data)
        answer = await _final_head(connection)
    except Exception as error:
        end = end_of(error)
        if end is None:
            raise
        verdict, detail, _ = end
        if verdict is Verdict.DEAD:
            return Told(Result.NOT_CONNECTED, detail, ConnectFailure.TIMED_OUT)
        return Told(Result.BROKEN, detail)
    return Told(result_of(answer.status), f"answered with {answer.status}")


async def _final_head(connection: Connection) -> Head:
    while (head := await connection.http.read_head()).status < 200:
        pass
    return head
