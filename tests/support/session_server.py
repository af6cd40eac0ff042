"""A server that keeps its users' sessions in its own memory, as a servlet container does.

    servers = [SessionServer(name, f"127.0.0.{number}", free_port()) for ...]
    await nursery.start(server.run)
    server.kill(); await server.start(); server.blackhole(); server.heal()

Every answer says who gives it (X-Server). A request that bears no session of this server's, as after a
failover, begins one (Set-Cookie); its content is how many requests the session has seen. A kill loses all
sessions, and whoever connects meanwhile is refused. It runs in the caller's own event loop.
"""

from __future__ import annotations

import itertools
import re

import trio

from haclient.net import blackhole

__all__ = ["SessionServer"]

_SESSION = re.compile(rb"[Cc]ookie: (?:.*; )?sid=([^;\r]*)")


class SessionServer:
    """See the module's docstring.

    Attributes:
        think: seconds before each answer.
        answered_at: the instants of its answers, on trio's clock.
    """

    def __init__(self, name: str, address: str, port: int) -> None:
        self.name = name
        self.url = f"http://{address}:{port}"
        self.think = 0.0
        self.answered_at: list[float] = []
        self._bind = (address, port)
        self._sessions: dict[bytes, int] = {}
        self._numbers = itertools.count(1)
        self._streams: set[trio.SocketStream] = set()
        self._listener: trio.SocketListener | None = None
        self._nursery: trio.Nursery | None = None
        self._life = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<SessionServer {self.name} at {self.url}, {len(self._sessions)} sessions>"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Is there until cancelled, but for its deaths."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self.start()
            task_status.started()
            await trio.sleep_forever()

    async def start(self) -> None:
        """It is there (again)."""
        assert self._nursery is not None
        address, port = self._bind
        (self._listener,) = await trio.open_tcp_listeners(port, host=address, backlog=1024)
        self._life = trio.CancelScope()
        self._nursery.start_soon(self._live, self._listener, self._life)

    def kill(self) -> None:
        """As kill -9: its kernel closes its connections and refuses new ones."""
        self._life.cancel()
        self._sessions.clear()
        assert self._listener is not None
        self._listener.socket.close()
        for stream in tuple(self._streams):
            stream.socket.close()

    def blackhole(self) -> None:
        """As a machine that lost its power, to everybody."""
        for socket in self._sockets():
            blackhole.blackhole(socket)

    def heal(self) -> None:
        """The end of `blackhole`."""
        for socket in self._sockets():
            blackhole.heal(socket)

    def _sockets(self) -> list[trio.socket.SocketType]:
        assert self._listener is not None
        return [self._listener.socket, *(stream.socket for stream in self._streams)]

    async def _live(self, listener: trio.SocketListener, life: trio.CancelScope) -> None:
        with life:
            await trio.serve_listeners(self._converse, [listener])

    async def _converse(self, stream: trio.SocketStream) -> None:
        self._streams.add(stream)
        try:
            buffer = b""
            while more := await stream.receive_some():
                buffer += more
                while b"\r\n\r\n" in buffer:
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    await trio.sleep(self.think)
                    await stream.send_all(self._answer(head))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._streams.discard(stream)

    def _answer(self, head: bytes) -> bytes:
        self.answered_at.append(trio.current_time())
        found = _SESSION.search(head)
        session = found[1] if found is not None else b""
        begins = b""
        if session not in self._sessions:
            session = b"%s-%d" % (self.name.encode(), next(self._numbers))
            begins = b"Set-Cookie: sid=%s; Path=/; HttpOnly\r\n" % session
        seen = self._sessions[session] = self._sessions.get(session, 0) + 1
        content = b"%d" % seen
        return b"HTTP/1.1 200 OK\r\nX-Server: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (
            self.name.encode(),
            begins,
            len(content),
            content,
        )
