"""SimStream keeps trio's contract for streams, and haclient's for transports."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock, check_half_closeable_stream

from haclient.net import InterruptedReceive, Transport
from tests.sim.segment import Path
from tests.sim.stream import SimStream, connected_pair

Maker = Callable[[], Awaitable[tuple[SimStream, SimStream]]]


def maker(delay: float, *, is_clogged: bool = False) -> Maker:
    async def make() -> tuple[SimStream, SimStream]:
        client, server = connected_pair((Path(delay),))
        while is_clogged:
            sent = client.send_now(bytes(4096)) + server.send_now(bytes(4096))
            await trio.sleep(2 * delay)
            if not sent:
                break
        return client, server

    return make


@pytest.mark.parametrize("delay", [0.0, 0.02], ids=["no delay", "20 ms each way"])
async def test_trios_own_checks(autojump_clock: MockClock, delay: float) -> None:
    await check_half_closeable_stream(maker(delay), maker(delay, is_clogged=True))


async def test_both_ends_are_transports(autojump_clock: MockClock) -> None:
    ends: tuple[Transport, Transport] = connected_pair()
    assert ends[0].endpoint == ends[1].local
    assert ends[0].local == ends[1].endpoint


class TestInterrupt:
    async def test_the_waiting_receive_is_woken(self, autojump_clock: MockClock) -> None:
        client, server = connected_pair()
        async with trio.open_nursery() as nursery:

            async def expect_news() -> None:
                with pytest.raises(InterruptedReceive):
                    await client.receive_some()
                assert await client.receive_some() == b"after"

            nursery.start_soon(expect_news)
            await trio.testing.wait_all_tasks_blocked()
            client.interrupt()
            await trio.testing.wait_all_tasks_blocked()
            await server.send_all(b"after")

    async def test_the_next_receive_is_interrupted_where_none_waits(
        self, autojump_clock: MockClock
    ) -> None:
        client, _ = connected_pair()
        client.interrupt()
        with pytest.raises(InterruptedReceive):
            await client.receive_some()

    async def test_bytes_that_came_in_are_returned_first(self, autojump_clock: MockClock) -> None:
        client, server = connected_pair()
        await server.send_all(b"first")
        client.interrupt()
        assert await client.receive_some() == b"first"
        with pytest.raises(InterruptedReceive):
            await client.receive_some()

    async def test_news_can_be_forgotten(self, autojump_clock: MockClock) -> None:
        client, _ = connected_pair()
        client.interrupt()
        client.forget_interrupt()
        with trio.move_on_after(1) as scope:
            await client.receive_some()
        assert scope.cancelled_caught

    async def test_a_sender_is_not_disturbed(self, autojump_clock: MockClock) -> None:
        client, server = await maker(0.0, is_clogged=True)()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"more")
            await trio.testing.wait_all_tasks_blocked()
            client.interrupt()
            await trio.testing.wait_all_tasks_blocked()
            received = bytearray()
            while not received.endswith(b"more"):
                received += await server.receive_some()
        assert client.bytes_sent == len(received)


class TestCounting:
    async def test_a_broken_send_counts_what_the_kernel_took(
        self, autojump_clock: MockClock
    ) -> None:
        client, server = connected_pair()
        async with trio.open_nursery() as nursery:

            async def send_until_reset() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await client.send_all(bytes(1_000_000))

            nursery.start_soon(send_until_reset)
            await trio.testing.wait_all_tasks_blocked()
            server.reset()
        assert client.bytes_sent == 2 * 65536  # the peer's receive buffer and the own send buffer

    async def test_a_cancelled_send_counts_what_the_kernel_took(
        self, autojump_clock: MockClock
    ) -> None:
        client, _ = connected_pair()
        with trio.move_on_after(1):
            await client.send_all(bytes(1_000_000))
        assert client.bytes_sent == 2 * 65536

    async def test_received_bytes(self, autojump_clock: MockClock) -> None:
        client, server = connected_pair()
        await server.send_all(b"12345")
        await client.receive_some(3)
        assert client.bytes_received == 3


class TestQuiet:
    async def test_an_idle_connection_is_quiet(self, autojump_clock: MockClock) -> None:
        client, server = connected_pair()
        await client.send_all(b"request")
        await server.send_all(b"response")
        await client.receive_some()
        assert client.is_quiet()

    @pytest.mark.parametrize(
        "disturb",
        [
            pytest.param(lambda server: server.send_now(b"stray"), id="a stray byte"),
            pytest.param(lambda server: server.close(), id="the end"),
            pytest.param(lambda server: server.reset(), id="a reset"),
        ],
    )
    async def test_news_on_an_idle_connection_makes_it_unfit(
        self, autojump_clock: MockClock, disturb: Callable[[SimStream], object]
    ) -> None:
        client, server = connected_pair((Path(0.1),))
        disturb(server)
        assert client.is_quiet()  # it is still on its way
        await trio.sleep(0.1)
        assert not client.is_quiet()

    async def test_a_closed_connection_is_unfit(self, autojump_clock: MockClock) -> None:
        client, _ = connected_pair()
        client.close()
        assert not client.is_quiet()
        assert client.snapshot() is None


async def test_a_receive_wakes_at_the_instant_of_arrival(autojump_clock: MockClock) -> None:
    client, server = connected_pair((Path(0.25),))
    await client.send_all(b"x")
    assert await server.receive_some() == b"x"
    assert trio.current_time() == 0.25


async def test_tls_runs_over_it(autojump_clock: MockClock) -> None:
    ca = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("a.test").configure_cert(server_context)
    context = ssl.create_default_context()
    ca.configure_trust(context)
    client, server = connected_pair((Path(0.1),))
    secured = trio.SSLStream(client, context, server_hostname="a.test", https_compatible=True)
    serving = trio.SSLStream(server, server_context, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(secured.send_all, b"request")
        assert await serving.receive_some() == b"request"
    assert trio.current_time() == pytest.approx(0.3)  # a round trip for TLS 1.3, half a one more


async def test_polling_one_end_does_not_keep_the_other_busy(autojump_clock: MockClock) -> None:
    """Two waiters must not wake each other for nothing: time would stand still."""
    client, server = connected_pair()
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.receive_some)
            nursery.start_soon(client.receive_some)
            for _ in range(5):
                await trio.sleep(0.1)
                assert client.snapshot() is not None
    assert trio.current_time() == 1.0


def test_repr_names_both_ends_and_the_state() -> None:
    async def main() -> str:
        client, _ = connected_pair()
        client.close()
        return repr(client)

    assert trio.run(main) == "<SimStream 10.255.0.1:40000 -> 10.0.0.1:80, closed>"
