"""One wait for many sockets: who speaks is told, whoever closes or interrupts wakes, and nothing is left."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio
import trio.testing

from haclient.net import InterruptedReceive
from haclient.net.parking import Parking
from haclient.net.transport import SocketTransport
from tests.support.loopback import eventually, reset, tcp_pair, transport_to


@contextmanager
def two() -> Iterator[tuple[list[SocketTransport], list[socket.socket]]]:
    """Two transports and their peers."""
    with ExitStack() as stack:
        pairs = [stack.enter_context(tcp_pair("127.0.0.1")) for _ in range(2)]
        transports = [transport_to(ours) for ours, _ in pairs]
        yield transports, [theirs for _, theirs in pairs]
        for one in transports:
            one.close()


async def park(parking: Parking, transports: list[SocketTransport], woken: list[object]) -> None:
    woken.append(await parking.until_readable(*transports))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("what", ["speaks", "ends", "resets"])
async def test_who_wakes_it_is_told(nursery: trio.Nursery, which: int, what: str) -> None:
    parking = Parking(nursery)
    woken: list[object] = []
    with two() as (transports, peers):
        nursery.start_soon(park, parking, transports, woken)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (woken, len(parking)) == ([], 2)
        if what == "speaks":
            peers[which].sendall(b"x")
        elif what == "ends":
            peers[which].shutdown(socket.SHUT_WR)
        else:
            reset(peers[which])
        with trio.fail_after(5):
            await eventually(lambda: bool(woken), within=5)
        assert woken == [transports[which]]
        assert len(parking) == 0
        assert [one.parked for one in transports] == [None, None]


async def test_what_is_there_already(nursery: trio.Nursery) -> None:
    parking = Parking(nursery)
    with two() as (transports, peers):
        for _ in range(3):
            peers[0].sendall(b"x")
            with trio.fail_after(5):
                assert await parking.until_readable(*transports) is transports[0]
            assert transports[0].receive_now() == b"x"
            assert transports[0].receive_now() is None


async def test_both_at_once_are_one_wake(nursery: trio.Nursery) -> None:
    parking = Parking(nursery)
    with two() as (transports, peers):
        for peer in peers:
            peer.sendall(b"x")
        with trio.fail_after(5):
            first = await parking.until_readable(*transports)
            assert first is not None
            first.receive_now()
            second = await parking.until_readable(*transports)
        assert {first, second} == set(transports)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("how", ["close", "interrupt", "reset"])
async def test_one_that_is_closed_or_interrupted(
    nursery: trio.Nursery, which: int, how: str
) -> None:
    parking = Parking(nursery)
    woken: list[object] = []
    with two() as (transports, _):
        nursery.start_soon(park, parking, transports, woken)
        await trio.testing.wait_all_tasks_blocked(0.01)
        getattr(transports[which], how)()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert woken == [None]
        assert len(parking) == 0
        if how == "interrupt":
            with pytest.raises(InterruptedReceive):
                await transports[which].receive_some()
        else:
            assert await parking.until_readable(*transports) is None


async def test_cancelled_it_leaves_nothing(nursery: trio.Nursery) -> None:
    parking = Parking(nursery)
    with two() as (transports, peers):
        for _ in range(3):
            with trio.move_on_after(0.01) as scope:
                await parking.until_readable(*transports)
            assert scope.cancelled_caught
            assert len(parking) == 0
        peers[1].sendall(b"x")
        with trio.fail_after(5):
            assert await parking.until_readable(*transports) is transports[1]


async def test_a_descriptor_that_serves_again_wakes_nobody_else(nursery: trio.Nursery) -> None:
    parking = Parking(nursery)
    woken: list[object] = []
    with two() as (transports, _):
        nursery.start_soon(park, parking, transports, woken)
        await trio.testing.wait_all_tasks_blocked(0.01)
        number = transports[0].fileno()
        transports[0].close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert woken == [None]
        with two() as (others, peers):
            again = socket.socket(fileno=fcntl.fcntl(others[0].fileno(), fcntl.F_DUPFD, number))
            assert again.fileno() == number
            one = transport_to(again)
            peers[0].sendall(b"x")
            with trio.fail_after(5):
                assert await parking.until_readable(one) is one
            one.close()
    assert woken == [None]


async def test_its_end_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    with two() as (transports, _):
        async with trio.open_nursery() as nursery:
            parking = Parking(nursery)
            nursery.start_soon(parking.until_readable, *transports)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert repr(parking) == "<Parking with 2 sockets>"
            nursery.cancel_scope.cancel()
        assert len(parking) == 0
    assert len(os.listdir("/proc/self/fd")) == len(before)


async def test_hundreds_rest_and_each_is_found(nursery: trio.Nursery) -> None:
    parking = Parking(nursery)
    with ExitStack() as stack:
        pairs = [stack.enter_context(tcp_pair("127.0.0.1")) for _ in range(300)]
        transports = [transport_to(ours) for ours, _ in pairs]
        woken: list[object] = []
        for one in transports:
            nursery.start_soon(park, parking, [one], woken)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _, theirs in pairs:
            theirs.sendall(b"x")
        with trio.fail_after(10):
            await eventually(lambda: len(woken) == 300, within=10)
        assert set(woken) == set(transports)
        for one in transports:
            one.close()
