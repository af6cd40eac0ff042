"""Connects and faults of the simulated network, with exact instants."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from haclient.net import Dialer
from haclient.types import Endpoint
from tests.sim.journal import Journal
from tests.sim.network import Place, SimNetwork
from tests.sim.stream import SimStream

A = Endpoint("10.0.0.1", 80)
B = Endpoint("10.0.0.2", 80)


async def connected(network: SimNetwork, endpoint: Endpoint) -> tuple[SimStream, SimStream]:
    listener = network.listeners.get(endpoint) or network.listen(endpoint)
    client = await network.connect(endpoint)
    return client, await listener.accept()


async def test_it_is_a_dialer(autojump_clock: MockClock) -> None:
    network = SimNetwork()
    network.listen(A)
    dialer: Dialer = network
    transport = await dialer.connect(A)
    assert transport.endpoint == A


class TestConnect:
    async def test_it_takes_a_round_trip_and_accept_half_a_one_more(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        network.path(A.address).delay = 0.1
        network.path(A).delay = 0.05
        listener = network.listen(A)
        await network.connect(A)
        assert trio.current_time() == pytest.approx(0.3)
        await listener.accept()
        assert trio.current_time() == pytest.approx(0.45)

    async def test_each_connection_has_its_own_local_endpoint(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        first, _ = await connected(network, A)
        second, _ = await connected(network, A)
        assert first.local != second.local
        assert network.open_streams() == (first, second)
        first.close()
        assert network.open_streams() == (second,)

    async def test_a_port_that_nobody_listens_on_refuses(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        network.listen(A)
        network.path(A.address).delay = 0.1
        with pytest.raises(ConnectionRefusedError):
            await network.connect(Endpoint(A.address, 81))
        assert trio.current_time() == 0.2

    async def test_an_unknown_host_is_unreachable(self, autojump_clock: MockClock) -> None:
        with pytest.raises(OSError, match="No route to host") as caught:
            await SimNetwork().connect(A)
        assert caught.value.errno == errno.EHOSTUNREACH

    async def test_a_full_accept_queue_drops_syns(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        listener = network.listen(A, backlog=1)
        await network.connect(A)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.connect, A)
            await trio.sleep(1.5)
            await listener.accept()
        assert trio.current_time() == 2.0

    async def test_a_cancelled_connect_never_reaches_the_listener(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        network.path(A).delay = 0.1
        listener = network.listen(A)
        with trio.move_on_after(0.15):
            await network.connect(A)
        with trio.move_on_after(1) as scope:
            await listener.accept()
        assert scope.cancelled_caught


class TestBlackhole:
    async def test_syns_are_sent_at_the_kernels_instants_and_then_time_out(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        network.listen(A)
        network.blackhole(A)
        with pytest.raises(TimeoutError):
            await network.connect(A)
        assert trio.current_time() == 11.0

    async def test_the_first_syn_after_it_connects(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        network.listen(A)
        network.blackhole(A, 1.2)
        await network.connect(A)
        assert trio.current_time() == 2.0

    @pytest.mark.parametrize("place", [A, A.address], ids=["endpoint", "host"])
    async def test_a_place_is_cut_off_and_others_are_not(
        self, autojump_clock: MockClock, place: Place
    ) -> None:
        network = SimNetwork()
        client, server = await connected(network, A)
        other_client, other_server = await connected(network, B)
        network.blackhole(place)
        await client.send_all(b"lost")
        await server.send_all(b"lost too")
        await other_client.send_all(b"x")
        assert await other_server.receive_some() == b"x"
        with trio.move_on_after(7):
            await client.receive_some()
        with trio.move_on_after(7):
            await server.receive_some()
        assert trio.current_time() == 14  # nothing came, to either side
        info = client.snapshot()
        assert info is not None
        assert info.unacked == 1

    async def test_one_connection_alone(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        client, server = await connected(network, A)
        spared, spared_server = await connected(network, A)
        network.blackhole(client)
        await client.send_all(b"lost")
        await spared.send_all(b"x")
        assert await spared_server.receive_some() == b"x"
        assert server.is_quiet()
        network.heal(client)
        assert await server.receive_some() == b"lost"
        assert trio.current_time() == pytest.approx(0.2)  # the tail loss probe

    async def test_what_arrives_at_that_very_instant_has_arrived(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        network.path(A).delay = 0.1
        client, server = await connected(network, A)
        await client.send_all(b"just in time")
        await trio.sleep(0.1)
        network.blackhole(A)
        assert await server.receive_some() == b"just in time"
        await trio.sleep(0.1)
        info = client.snapshot()
        assert info is not None
        assert info.unacked == 0  # and was acknowledged

    async def test_heal_lets_the_retransmission_through(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        client, server = await connected(network, A)
        network.blackhole(A)
        await client.send_all(b"x")
        await trio.sleep(0.6)
        network.heal(A)
        assert await server.receive_some() == b"x"
        assert trio.current_time() == pytest.approx(0.85)


class TestOtherFaults:
    async def test_refuse_leaves_connections_alone(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        client, server = await connected(network, A)
        network.refuse(A.address)
        with pytest.raises(ConnectionRefusedError):
            await network.connect(A)
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"
        network.heal(A.address)
        await network.connect(A)

    async def test_unreachable(self, autojump_clock: MockClock) -> None:
        network = SimNetwork()
        network.listen(A)
        network.make_unreachable(A)
        with pytest.raises(OSError, match="No route to host"):
            await network.connect(A)

    async def test_reset_breaks_every_connection_of_the_endpoint(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        network.path(A).delay = 0.1
        pairs = [await connected(network, A) for _ in range(2)]
        other, _ = await connected(network, B)
        before = trio.current_time()
        network.reset(A)
        for client, server in pairs:
            with pytest.raises(trio.BrokenResourceError, match="reset by peer"):
                await client.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await server.send_all(b"x")
        assert trio.current_time() == pytest.approx(before + 0.1)
        assert other.is_quiet()

    async def test_a_forgotten_connection_is_silent_until_something_is_sent(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        client, _ = await connected(network, A)
        network.forget(A.address)
        await trio.sleep(60)
        assert client.is_quiet()
        client.probe()
        assert not client.is_quiet()
        with pytest.raises(trio.BrokenResourceError, match="reset by peer"):
            await client.receive_some()

    async def test_kill_ends_connections_and_refuses_new_ones_until_healed(
        self, autojump_clock: MockClock
    ) -> None:
        network = SimNetwork()
        idle, _ = await connected(network, A)
        busy, _ = await connected(network, A)
        await busy.send_all(b"unread")
        network.kill(A)
        assert await idle.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await busy.receive_some()
        with pytest.raises(ConnectionRefusedError):
            await network.connect(A)
        network.heal(A)
        await network.connect(A)

    async def test_everything_is_noted(self, autojump_clock: MockClock) -> None:
        journal = Journal()
        network = SimNetwork(journal)
        client, _ = await connected(network, A)
        await trio.sleep(0.5)
        network.blackhole(client, 1)
        network.heal(client)
        network.refuse(A)
        with pytest.raises(ConnectionRefusedError):
            await network.connect(A)
        network.kill(A.address)
        journal.expect(
            """
            0.000  network: 10.0.0.1:80 connected, 1
            0.500  network: connection 1 blackholed for 1 s
            0.500  network: connection 1 healed
            0.500  network: 10.0.0.1:80 answers connects with: refused
            0.500  network: 10.0.0.1:80 refused
            0.500  network: 10.0.0.1 killed
            """
        )
