"""The control: a relay that copies bytes both ways and knows nothing of HTTP.

Whatever a client says reaches the server, whatever a server says reaches the client: it must fail
wherever a proxy has to do something. A corpus on which it does well shows nothing.
"""

from __future__ import annotations

from functools import partial

import trio

__all__ = ["serve_relay"]


async def serve_relay(
    port: int, task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED
) -> None:
    """From a port of its own to this one, until cancelled; tells where it listens."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    assert isinstance(listener, trio.SocketListener)
    host, own = listener.socket.getsockname()[:2]
    task_status.started((host, own))
    await trio.serve_listeners(partial(_relay, port), [listener])


async def _relay(port: int, downstream: trio.SocketStream) -> None:
    try:
        upstream = await trio.open_tcp_stream("127.0.0.1", port)
        async with upstream, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, downstream, upstream)
            await _copy(upstream, downstream)
            nursery.cancel_scope.cancel()
    except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        pass
    finally:
        await trio.aclose_forcefully(downstream)


async def _copy(source: trio.SocketStream, to: trio.SocketStream) -> None:
    while data := await source.receive_some():
        await to.send_all(data)
    await to.send_eof()
