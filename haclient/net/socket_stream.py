"""A connected socket as a stream of bytes, for whoever has to know what the kernel took.

trio.SocketStream would do but for two things: the watch must be able to wake a reader without
closing anything and without a task or a cancel scope for each request; and the engine must know
how many bytes the kernel took even when a send broke in the middle, for that decides whether a
request may be sent again. So this is a stream of our own on the standard socket and trio's two
lowest calls. It passes trio's own stream checks (tests/loopback/test_socket_stream.py).

How the waking works: `trio.lowlevel.notify_closing` makes whoever waits for the descriptor raise
ClosedResourceError, and does nothing to the descriptor. A reader that finds its stream still open
then knows that it was meant as news, and raises InterruptedReceive; a writer just waits on.

What the kernel knows of the peer beyond its bytes is asked in haclient.net.transport.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable

import trio

from haclient.net import InterruptedReceive
from haclient.net.one_at_a_time import OneAtATime
from haclient.net.pipes import Pipe
from haclient.types import Endpoint

__all__ = ["DEFAULT_RECEIVE_BYTES", "SocketStream", "endpoint_of"]

DEFAULT_RECEIVE_BYTES = 65536
"""As trio's own default; a whole TLS record and most answers fit."""


class SocketStream(trio.abc.HalfCloseableStream):
    """See haclient.net.Transport for the contract, as far as it is about bytes.

    Attributes:
        parked: wakes whoever waits for this socket without a task of its own (haclient.net.parking).
    """

    __slots__ = (
        "_broken",
        "_has_sent_eof",
        "_is_closed",
        "_is_interrupted",
        "_more_is_likely",
        "_poll",
        "_send_guard",
        "_sock",
        "bytes_received",
        "bytes_sent",
        "endpoint",
        "local",
        "parked",
    )

    def __init__(self, sock: socket.socket, endpoint: Endpoint) -> None:
        self._sock = sock
        self.endpoint = endpoint
        self.local = endpoint_of(sock)
        self.bytes_sent = 0
        self.bytes_received = 0
        self._is_closed = False
        self._has_sent_eof = False
        self._is_interrupted = False
        self._more_is_likely = False
        self._broken: OSError | None = None
        self._poll: select.poll | None = None
        self.parked: Callable[[], None] | None = None
        self._send_guard = OneAtATime()

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<{type(self).__name__} {self.local} -> {self.endpoint}, {state}>"

    def send_now(self, data: bytes) -> int:
        """Hands over what the kernel takes at once, without a checkpoint; returns how much.

        The hot path: a small request on a connection whose send buffer is empty. The caller's next
        step is to wait for the answer, which is the checkpoint.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: as `send_all`.
        """
        if self._is_closed:
            raise trio.ClosedResourceError("this connection was closed already")
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            raise self._break(exc) from exc
        self.bytes_sent += sent
        return sent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio.abc.SendStream; `bytes_sent` counts what a failed call handed over too."""
        with self._send_guard:
            if self._has_sent_eof:
                raise trio.ClosedResourceError("the sending side was closed already")
            if not data:
                await trio.lowlevel.checkpoint()
                if self._is_closed:
                    raise trio.ClosedResourceError("this connection was closed already")
                return
            await trio.lowlevel.checkpoint_if_cancelled()
            await self._send(memoryview(data))

    async def _send(self, view: memoryview) -> None:
        has_yielded = False
        while view:
            if self._is_closed:
                raise trio.ClosedResourceError("this connection was closed while sending")
            try:
                sent = self._sock.send(view)
            except (BlockingIOError, InterruptedError):
                await self._wait_writable()
                has_yielded = True
            except OSError as exc:
                raise self._break(exc) from exc
            else:
                self.bytes_sent += sent
                view = view[sent:]
        if not has_yielded:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _wait_writable(self) -> None:
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except trio.ClosedResourceError:
            # Either closed under us, or an interrupt meant for the reader: wait on.
            if self._is_closed:
                raise trio.ClosedResourceError("this connection was closed while sending") from None

    async def wait_send_all_might_not_block(self) -> None:
        """As trio.abc.SendStream."""
        with self._send_guard:
            if self._is_closed:
                raise trio.ClosedResourceError("this connection was closed already")
            await self._wait_writable()

    async def send_eof(self) -> None:
        """As trio.abc.HalfCloseableStream."""
        with self._send_guard:
            await trio.lowlevel.checkpoint()
            if self._is_closed:
                raise trio.ClosedResourceError("this connection was closed already")
            if self._has_sent_eof:
                return
            self._has_sent_eof = True
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as exc:
                raise self._break(exc) from exc

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio.abc.ReceiveStream; also raises InterruptedReceive."""
        if max_bytes is None:
            max_bytes = DEFAULT_RECEIVE_BYTES
        elif max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._is_closed:
            raise trio.ClosedResourceError("this connection was closed already")
        # Small answers: to wait first saves a failing recv (its exception costs more than the
        # wait). In the midst of a long one, and with news pending, there is likely something there.
        if self._more_is_likely or self._is_interrupted:
            await trio.lowlevel.checkpoint()
        else:
            await self._wait_readable()
        while True:
            if self._is_closed:
                raise trio.ClosedResourceError("this connection was closed while receiving")
            data = self._take(max_bytes)
            if data is not None:
                self._more_is_likely = len(data) == max_bytes
                return data
            self._more_is_likely = False
            if self._is_interrupted:
                self._is_interrupted = False
                raise InterruptedReceive
            await self._wait_readable()

    def receive_now(self) -> bytes | None:
        """What is there already, without a checkpoint; None where nothing is, empty at the end.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: as `receive_some`, which tells the same again.
        """
        if self._is_closed:
            raise trio.ClosedResourceError("this connection was closed already")
        return self._take(DEFAULT_RECEIVE_BYTES)

    def _take(self, max_bytes: int) -> bytes | None:
        try:
            data = self._sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            raise self._break(exc) from exc
        if not data and self._broken is not None:
            # Linux tells a reset once. The sender was told; what is left to receive then ends as
            # if in good order, and content delimited by the end would look whole.
            raise self._break(self._broken) from self._broken
        self.bytes_received += len(data)
        return data

    async def until_readable(self) -> None:
        """Until there is something to receive, or an end; raises InterruptedReceive as `receive_some` does.

        Raises:
            trio.ClosedResourceError: it is closed, or was meanwhile.
        """
        if self._is_closed:
            raise trio.ClosedResourceError("this connection was closed already")
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._is_interrupted:
            await self._wait_readable()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        if self._is_interrupted and self.is_quiet():
            self._is_interrupted = False
            raise InterruptedReceive

    def splice_in(self, pipe: Pipe) -> int | None:
        """Moves what is there into an empty pipe; None where nothing is, 0 at the end. No checkpoint.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: as `receive_some`, which tells the same again.
        """
        if self._is_closed:
            raise trio.ClosedResourceError("this connection was closed already")
        try:
            moved = pipe.take_in(self._sock.fileno())
        except OSError as exc:
            raise self._break(exc) from exc
        if moved == 0 and self._broken is not None:
            raise self._break(self._broken) from self._broken
        self.bytes_received += moved or 0
        return moved

    async def splice_out(self, pipe: Pipe) -> None:
        """Sends all that a pipe holds, without a checkpoint where the kernel takes it at once.

        `bytes_sent` counts what a failed call handed over too.

        Raises:
            trio.ClosedResourceError, trio.BrokenResourceError: as `send_all`; the rest is in the pipe then.
        """
        with self._send_guard:
            while pipe.held:
                if self._is_closed:
                    raise trio.ClosedResourceError("this connection was closed while sending")
                try:
                    moved = pipe.give_out(self._sock.fileno())
                except OSError as exc:
                    raise self._break(exc) from exc
                self.bytes_sent += moved
                if not moved:
                    await self._wait_writable()

    def _break(self, exc: OSError) -> trio.BrokenResourceError:
        """What to raise for it; an end that is received after this is none."""
        self._broken = exc
        return trio.BrokenResourceError(describe(exc))

    async def _wait_readable(self) -> None:
        try:
            await trio.lowlevel.wait_readable(self._sock)
        except trio.ClosedResourceError:
            if not self._is_interrupted:
                raise trio.ClosedResourceError(
                    "this connection was closed while receiving"
                ) from None

    def interrupt(self) -> None:
        """Wakes the receiver with InterruptedReceive."""
        if not self._is_closed:
            self._is_interrupted = True
            self._wake()

    def forget_interrupt(self) -> None:
        """Takes an `interrupt` back that no `receive_some` has raised yet."""
        self._is_interrupted = False

    def close(self) -> None:
        """Closes at once; whoever waits in send or receive gets trio.ClosedResourceError."""
        if self._is_closed:
            return
        self._is_closed = True
        self._is_interrupted = False
        self._wake()
        self._sock.close()

    def _wake(self) -> None:
        """Whoever waits for the descriptor looks anew."""
        trio.lowlevel.notify_closing(self._sock)
        if self.parked is not None:
            self.parked()

    async def aclose(self) -> None:
        """As trio.abc.AsyncResource."""
        self.close()
        await trio.lowlevel.checkpoint()

    def is_quiet(self) -> bool:
        """Whether an idle connection is fit for reuse; one system call.

        Readable while idle means EOF, a reset or bytes that nobody asked for: all unfit.
        """
        if self._is_closed:
            return False
        if self._poll is None:
            # Asked for on each lease from a pool; a tunnel's is never asked.
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN)
        return not self._poll.poll(0)


def endpoint_of(sock: socket.socket) -> Endpoint | None:
    """The socket's own end."""
    try:
        name = sock.getsockname()
    except OSError:
        return None
    return Endpoint(name[0], name[1]) if isinstance(name, tuple) else None


def describe(exc: OSError) -> str:
    """The system's words for an error, without its number."""
    if exc.errno == errno.ETIMEDOUT:
        return "Connection timed out by the kernel"
    return exc.strerror or str(exc) or type(exc).__name__
