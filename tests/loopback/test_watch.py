"""The watch over real connections, some of whose servers die: every verdict in its time.

Real time, so intervals are wide and the cases run side by side. Exact times are in
tests/net/test_watch.py.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from haclient import events
from haclient.core.keepalive import KERNEL_KEEPCNT
from haclient.net import InterruptedReceive, sockopts
from haclient.net.blackhole import blackhole, heal
from haclient.net.transport import SocketTransport
from haclient.net.watch import Outstanding, Watch
from haclient.types import EvidenceKind
from tests.support.loopback import clog, eventually, has_ipv6, tcp_pair, transport_to, unix_pair


class Watched:
    """A client's connection with a request outstanding, and the server's socket."""

    def __init__(
        self, client: socket.socket, server: socket.socket, watch: Watch, backstop: float
    ) -> None:
        self.client = client
        self.server = server
        self.transport: SocketTransport = transport_to(client)
        self.watch = watch
        self.backstop = backstop
        self.told: list[events.Event] = []
        self.entry: Outstanding | None = None

    def begin(self) -> None:
        """The request goes on the list, and then out."""
        now = trio.current_time()
        self.entry = Outstanding(self.transport, now, self.backstop, observe=self.told.append)
        self.watch.add(self.entry)

    def end(self) -> None:
        assert self.entry is not None
        self.watch.remove(self.entry)

    async def send(self, data: bytes = b"request") -> None:
        await self.transport.send_all(data)

    async def arrived(self, data: bytes = b"request") -> None:
        """The server has read the request and its acknowledgement is here."""
        await trio.lowlevel.wait_readable(self.server)
        assert self.server.recv(len(data)) == data
        await eventually(lambda: self.unacked() == 0, 2, "the delayed acknowledgement")

    def unacked(self) -> int:
        info = self.transport.snapshot()
        assert info is not None
        return info.unacked

    async def news(self) -> None:
        """Waits as a reader does until there is some."""
        with pytest.raises(InterruptedReceive):
            await self.transport.receive_some()

    def is_suspect(self) -> bool:
        assert self.entry is not None
        return self.entry.suspicion is not None

    def death(self) -> EvidenceKind | None:
        assert self.entry is not None
        return self.entry.dead.kind if self.entry.dead else None

    def is_keepalive_on(self) -> bool:
        return bool(self.client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def kinds(self) -> set[type]:
        return {type(event) for event in self.told}


@contextmanager
def outstanding(
    watch: Watch, host: str = "127.0.0.1", backstop: float = 40.0, window: int | None = None
) -> Iterator[Watched]:
    with tcp_pair(host, window) as (client, server):
        watched = Watched(client, server, watch, backstop)
        watched.begin()
        yield watched
        watched.end()
        watched.transport.close()


# Servers that die


async def dies_thinking(watch: Watch, host: str = "127.0.0.1") -> None:
    with outstanding(watch, host) as watched:
        await watched.send()
        await watched.arrived()
        blackhole(watched.server)
        last_segment_at = trio.current_time()
        await watched.news()
        assert watched.is_suspect()
        assert 0.9 <= trio.current_time() - last_segment_at <= 2.0
        await watched.news()
        assert watched.death() is EvidenceKind.KEEPALIVE_PROBES
        assert 2.0 <= trio.current_time() - last_segment_at <= 4.5


async def dies_in_mid_response(watch: Watch) -> None:
    with outstanding(watch) as watched:
        await watched.send()
        await watched.arrived()
        await trio.sleep(0.6)
        watched.server.send(b"part of the answer")
        last_segment_at = trio.current_time()
        assert await watched.transport.receive_some() == b"part of the answer"
        blackhole(watched.server)
        await watched.news()
        assert watched.is_suspect()
        assert 0.9 <= trio.current_time() - last_segment_at <= 2.0
        await watched.news()
        assert watched.death() is EvidenceKind.KEEPALIVE_PROBES
        assert 2.0 <= trio.current_time() - last_segment_at <= 4.5


async def dies_before_the_request_arrives(watch: Watch) -> None:
    with outstanding(watch) as watched:
        blackhole(watched.server)
        await watched.send()
        sent_at = trio.current_time()
        await watched.news()
        assert watched.is_suspect()
        assert 0.2 <= trio.current_time() - sent_at <= 1.5
        await watched.news()
        assert watched.death() is EvidenceKind.RETRANSMITS
        assert 0.4 <= trio.current_time() - sent_at <= 2.5
        assert not watched.is_keepalive_on()


async def dies_with_its_window_shut(watch: Watch) -> None:
    with outstanding(watch, window=4096) as watched:
        await clog(watched.client)
        blackhole(watched.server)
        died_at = trio.current_time()
        while watched.death() is None:
            await watched.news()
        assert watched.death() is EvidenceKind.WINDOW_PROBES
        assert trio.current_time() - died_at <= 5.5


# Servers that live


async def is_cut_off_for_a_moment(watch: Watch) -> None:
    with outstanding(watch) as watched:
        await watched.send()
        await watched.arrived()
        blackhole(watched.server)
        await watched.news()
        assert watched.is_suspect()
        heal(watched.server)
        await watched.news()
        assert not watched.is_suspect()
        assert watched.death() is None
        watched.server.send(b"answer")
        assert await watched.transport.receive_some() == b"answer"


async def is_silent_and_lives(watch: Watch) -> None:
    """As one that is stopped, or busy with one thing: its kernel answers."""
    with outstanding(watch) as watched:
        await watched.send()
        await watched.arrived()
        assert not watched.is_keepalive_on()
        with trio.move_on_after(4.0):
            await watched.news()
            pytest.fail(f"news of a server that lives: {watched.told}")
        assert watched.is_keepalive_on()
        assert watched.kinds() == {events.Probed}
        watched.end()
        assert not watched.is_keepalive_on()


async def does_not_read_an_upload(watch: Watch) -> None:
    """Its window is shut. The kernel's second probe comes 0.4 s after the first, too soon for a
    peer that answers one in 500 ms, so a single unanswered one is no sign either."""
    with outstanding(watch, window=4096) as watched:
        await clog(watched.client)
        with trio.move_on_after(5.0):
            await watched.news()
            pytest.fail(f"news of a server that lives: {watched.told}")
        info = watched.transport.snapshot()
        assert info is not None
        assert info.notsent_bytes > 0  # the window was shut all the while
        assert watched.told == []


async def is_slow_beyond_the_backstop(watch: Watch) -> None:
    with outstanding(watch, backstop=1.5) as watched:
        began_at = trio.current_time()
        await watched.send()
        await watched.arrived()
        await trio.sleep(0.3)
        watched.server.send(b"part")
        assert await watched.transport.receive_some() == b"part"
        last_byte_at = trio.current_time()
        await watched.news()
        assert watched.entry is not None
        assert watched.entry.is_overdue
        assert 1.45 <= trio.current_time() - last_byte_at <= 2.2
        assert trio.current_time() - began_at >= 1.75
        assert watched.death() is None


async def answers_quickly(watch: Watch) -> None:
    with outstanding(watch) as watched:
        watched.end()
        for _ in range(4):
            watched.begin()
            await watched.send()
            await watched.arrived()
            await trio.sleep(0.6)
            assert not watched.is_keepalive_on()
            watched.server.send(b"answer")
            assert await watched.transport.receive_some() == b"answer"
            watched.end()
            assert not watched.is_keepalive_on()
        assert watched.told == []


async def waits_on_a_unix_socket(watch: Watch) -> None:
    with unix_pair() as (client, server):
        watched = Watched(client, server, watch, 40.0)
        watched.begin()
        await watched.send()
        with trio.move_on_after(3.0):
            await watched.news()
            pytest.fail("news of a server that lives")
        assert watched.told == []
        watched.end()
        watched.transport.close()


LIVING = (
    is_cut_off_for_a_moment,
    is_silent_and_lives,
    does_not_read_an_upload,
    is_slow_beyond_the_backstop,
    answers_quickly,
    waits_on_a_unix_socket,
)
DYING = (
    dies_thinking,
    dies_in_mid_response,
    dies_before_the_request_arrives,
    dies_with_its_window_shut,
)


async def test_who_is_dead_and_who_is_only_slow() -> None:
    """All under one watch, which tells them apart."""
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        async with trio.open_nursery() as servers:
            for case in (*LIVING, *DYING):
                servers.start_soon(case, watch)
            if has_ipv6():
                servers.start_soon(dies_thinking, watch, "::1")
        assert len(watch) == 0
        nursery.cancel_scope.cancel()


async def test_without_tcp_info_the_kernel_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockopts, "HAS_TCP_INFO", False)
    watch = Watch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        with outstanding(watch) as watched:
            await watched.send()
            watched.server.recv(100)
            blackhole(watched.server)
            last_segment_at = trio.current_time()
            assert watched.client.getsockopt(6, socket.TCP_KEEPCNT) == KERNEL_KEEPCNT
            error = await broken(watched.transport)
            assert isinstance(error.__cause__, TimeoutError)
            assert 2.5 <= trio.current_time() - last_segment_at <= 4.5
            assert watched.told == []
        nursery.cancel_scope.cancel()


async def broken(transport: SocketTransport) -> trio.BrokenResourceError:
    """Reads until the connection breaks."""
    with trio.fail_after(10):
        while True:
            try:
                await transport.receive_some()
            except trio.BrokenResourceError as exc:
                return exc
