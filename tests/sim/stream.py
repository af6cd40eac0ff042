"""A simulated socket: one end of a `tests.sim.tcp.Connection`, to be awaited.

It is a haclient.net.Transport and a trio.abc.HalfCloseableStream at both ends, and passes trio's
own stream checks. A task that waits here sleeps until the next event of its own connection, or until
somebody does something with it; there is no background task, so autojump is free to jump.

Errors are as with haclient's transport: a kernel tells a reset only once, to whichever call comes
first, and both remember it, so that no later receive takes it for the end of the stream
(test_sim_same_as_sockets.py).
"""

from __future__ import annotations

import operator
from typing import Self

import trio

from haclient.core.detector import TcpInfo
from haclient.net import InterruptedReceive
from haclient.net.transport import HangUp
from haclient.types import Endpoint
from tests.sim.pipes import PIPE_BYTES, SimPipe
from tests.sim.segment import Path
from tests.sim.tcp import Connection, End

__all__ = ["SimStream", "connected_pair"]

DEFAULT_RECEIVE_BYTES = 65536

A_CLIENT = Endpoint("10.255.0.1", 40000)
A_SERVER = Endpoint("10.0.0.1", 80)


class Guard:
    """Lets one task in at a time; the second one gets trio.BusyResourceError."""

    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._is_taken = False

    def __enter__(self) -> Self:
        if self._is_taken:
            raise trio.BusyResourceError(self._complaint)
        self._is_taken = True
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_taken = False


class News:
    """What both ends of a connection wait on: set once, then replaced."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._event = trio.Event()
        connection.news = self.tell

    def tell(self) -> None:
        if self._event.statistics().tasks_waiting:
            self._event.set()
            self._event = trio.Event()

    async def wait(self) -> None:
        """Returns when something happened, or is due."""
        with trio.move_on_at(self._connection.next_event_at()):
            await self._event.wait()
        self._connection.advance(trio.current_time())


class SimStream(trio.abc.HalfCloseableStream):
    """One end. The client's is a haclient.net.Transport, and so is the server's.

    Args:
        end: whose kernel this is.
        news: shared by both ends.
        endpoint: of the peer.
        local: of this end.
    """

    def __init__(self, end: End, news: News, endpoint: Endpoint, local: Endpoint | None) -> None:
        self.endpoint = endpoint
        self.local: Endpoint | None = local
        self.bytes_sent = 0
        self.bytes_received = 0
        self._end = end
        self._connection = end.connection
        self._news = news
        self._is_interrupted = False
        self._broken = ""
        self._is_probing = False
        self._send_guard = Guard("another task is sending on this stream")
        self._receive_guard = Guard("another task is receiving on this stream")

    def __repr__(self) -> str:
        end = self._end
        state = "closed" if end.is_closed else "reset" if end.is_gone else "open"
        return f"<SimStream {self.local} -> {self.endpoint}, {state}>"

    # -- For the scripts of a test ---------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The connection that this is one end of."""
        return self._connection

    @property
    def end(self) -> End:
        """This end's kernel, for tripwires and counters that TcpInfo does not have."""
        return self._end

    @property
    def is_closed(self) -> bool:
        """Whether this end was closed by its application."""
        return self._end.is_closed

    @property
    def is_probing(self) -> bool:
        """Whether `probe` has TCP keep-alive switched on."""
        return self._is_probing

    def reset(self) -> None:
        """Closes with RST: what close does to a socket with SO_LINGER set to 0."""
        self._end.abort(self._sync())
        self.close()

    def unacknowledged(self) -> int:
        """Bytes handed over that the peer's kernel has not acknowledged."""
        self._sync()
        return 0 if self._end.is_closed else len(self._end.outgoing)

    def hang_up(self) -> HangUp:
        """Whether the peer has left (haclient.net.transport, as on one machine)."""
        self._sync()
        end = self._end
        if end.is_closed:
            return HangUp.GONE
        if end.is_gone:
            return HangUp.RESET if end.unreported_error else HangUp.GONE
        if not end.has_fin_arrived:
            return HangUp.GONE if end.incoming and end.peer.is_closed else HangUp.NONE
        # As poll(2): with both directions ended there is nothing left to wait for.
        is_over = end.is_half_closed or end.peer.is_closed
        return HangUp.GONE if is_over else HangUp.HALF

    def send_reset(self) -> None:
        """Sends RST: this end's kernel has had enough, and its application is told next."""
        self._end.abort(self._sync())
        self._sync()

    def forget(self) -> None:
        """Loses all state without a word: this end's host crashed and came back."""
        self._sync()
        self._end.incoming.clear()
        self._end.forget("Software caused connection abort")
        self._sync()

    # -- Sending ---------------------------------------------------------------------------------

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Hands over what the kernel takes at once, without a checkpoint; returns how much.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: as `send_all`.
        """
        now = self._sync()
        self._check_can_send()
        taken = self._end.write(data, now)
        self.bytes_sent += taken
        self._sync()
        return taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            view = memoryview(data)
            while True:
                taken = self.send_now(view)
                view = view[taken:]
                if not view:
                    return
                if not taken:
                    await self._news.wait()

    async def wait_send_all_might_not_block(self) -> None:
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            self._sync()
            while True:
                if self._end.is_half_closed:
                    raise trio.ClosedResourceError("this stream's sending side is closed")
                # As poll(2): a reset makes a socket writable, and the write tells why.
                if self._end.is_gone or self._end.room:
                    return
                await self._news.wait()

    async def send_eof(self) -> None:
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            now = self._sync()
            if self._end.is_closed:
                raise trio.ClosedResourceError("this stream was closed already")
            self._end.write_eof(now)
            self._sync()

    def _check_can_send(self) -> None:
        if self._end.is_half_closed:
            raise trio.ClosedResourceError("this stream's sending side is closed")
        if self._end.is_gone:
            self._broken = self._end.take_error() or self._broken or "Broken pipe"
            raise trio.BrokenResourceError(self._broken)

    # -- Receiving -------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        wanted = DEFAULT_RECEIVE_BYTES if max_bytes is None else operator.index(max_bytes)
        if wanted < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receive_guard:
            await trio.lowlevel.checkpoint()
            while True:
                data = self._read_now(wanted)
                if data is not None:
                    return data
                if self._is_interrupted:
                    self._is_interrupted = False
                    raise InterruptedReceive
                await self._news.wait()

    def receive_now(self) -> bytes | None:
        """As haclient's transport: what is there, None where nothing is, empty at the end."""
        return self._read_now(DEFAULT_RECEIVE_BYTES)

    def _read_now(self, most: int) -> bytes | None:
        now = self._sync()
        if self._end.is_closed:
            raise trio.ClosedResourceError("this stream was closed")
        data = self._end.read(most, now)
        if data is None and (error := self._end.take_error()):
            self._broken = error
        if not data and self._broken:
            raise trio.BrokenResourceError(self._broken)
        if data is not None:
            self.bytes_received += len(data)
            self._sync()
        return data

    def interrupt(self) -> None:
        """Wakes the receiver with InterruptedReceive."""
        if not self._end.is_closed:
            self._is_interrupted = True
            self._news.tell()

    async def until_readable(self) -> None:
        """As haclient's transport: until there is something, or an end; an interrupt is raised."""
        await trio.lowlevel.checkpoint()
        while self.is_quiet():
            if self._is_interrupted:
                self._is_interrupted = False
                raise InterruptedReceive
            await self._news.wait()
        if self._end.is_closed:
            raise trio.ClosedResourceError("this stream was closed")

    def splice_in(self, pipe: SimPipe) -> int | None:
        """As haclient's transport: what is there goes into a pipe."""
        data = self._read_now(PIPE_BYTES)
        if data is None:
            return None
        pipe.data = data
        return len(data)

    async def splice_out(self, pipe: SimPipe) -> None:
        """As haclient's transport: sends what a pipe holds."""
        with self._send_guard:
            while pipe.data:
                taken = self.send_now(pipe.data)
                pipe.data = pipe.data[taken:]
                if not taken:
                    await self._news.wait()

    @property
    def has_news(self) -> bool:
        """Whether an interrupt is there for the receiver."""
        return self._is_interrupted

    async def until_news(self, scope: trio.CancelScope) -> None:
        """Cancels `scope` once there is something to receive, an end, or an interrupt."""
        await trio.lowlevel.checkpoint()
        while self.is_quiet() and not self._is_interrupted:
            await self._news.wait()
        scope.cancel()

    def forget_interrupt(self) -> None:
        """Between two exchanges: news of the last one must not reach the next."""
        self._is_interrupted = False

    # -- Life ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes at once; whoever waits in send or receive gets trio.ClosedResourceError."""
        self._is_interrupted = self._is_probing = False
        self._end.close(self._sync())
        self._sync()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def is_quiet(self) -> bool:
        """Whether an idle connection is fit for reuse: open, no EOF, no reset, no stray byte."""
        self._sync()
        end = self._end
        return not (end.is_closed or end.is_gone or end.incoming or end.has_fin_arrived)

    def snapshot(self) -> TcpInfo | None:
        """What TCP_INFO shows; None once closed."""
        now = self._sync()
        return None if self._end.is_closed else self._end.snapshot(now)

    def probe(self) -> None:
        """Sends a TCP keep-alive probe now, if nothing has come in for a second."""
        if not self._end.is_closed:
            self._is_probing = True
            self._end.probe(self._sync())
            self._sync()

    def stop_probing(self) -> None:
        """Switches TCP keep-alive off, if `probe` switched it on."""
        if self._is_probing:
            self._is_probing = False
            self._sync()
            self._end.stop_probing()

    def _sync(self) -> float:
        """Brings the connection up to now, and returns it."""
        now = trio.current_time()
        self._connection.advance(now)
        return now


def connected_pair(
    paths: tuple[Path, ...] = (),
    client: Endpoint = A_CLIENT,
    server: Endpoint = A_SERVER,
) -> tuple[SimStream, SimStream]:
    """Returns the client's and the server's end of a fresh connection."""
    connection = Connection(trio.current_time(), paths)
    news = News(connection)
    return (
        SimStream(connection.client, news, server, client),
        SimStream(connection.server, news, client, server),
    )
