"""A TCP relay that knows nothing of HTTP: the first server that can be connected, and no more.

What a program sees that goes to its server without any proxy; each row has its figure as control.
"""

from __future__ import annotations

import trio

from tests.bench.peers.proxy import DOOR, SERVERS

CONNECT_TIMEOUT = 1.0
PIECE_BYTES = 65536


async def connect() -> trio.SocketStream:
    """To the first server that is there."""
    for server in SERVERS:
        host, _, port = server.rpartition(":")
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                return await trio.open_tcp_stream(host, int(port))
        except (OSError, trio.TooSlowError):
            continue
    raise trio.BrokenResourceError


async def copy(source: trio.SocketStream, to: trio.SocketStream) -> None:
    """Until the source ends."""
    while data := await source.receive_some(PIECE_BYTES):
        await to.send_all(data)
    await to.send_eof()


async def serve(downstream: trio.SocketStream) -> None:
    """One connection; what breaks on one side breaks on the other."""
    try:
        async with await connect() as upstream, trio.open_nursery() as nursery:
            nursery.start_soon(copy, downstream, upstream)
            await copy(upstream, downstream)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(downstream)


async def main() -> None:
    """Until killed."""
    await trio.serve_tcp(serve, DOOR[1], host=DOOR[0])


if __name__ == "__main__":
    trio.run(main)
