"""Pipes between real sockets: what goes in comes out, what cannot go is told, nothing is left behind."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from haclient.net import InterruptedReceive
from haclient.net.pipes import KEPT, MOST, PIPE_BYTES, Pipes
from haclient.net.transport import SocketTransport
from tests.support.loopback import reset, tcp_pair, transport_to, unix_pair

NOISE = os.urandom(1 << 20)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def between(
    over: object = tcp_pair,
) -> Iterator[tuple[SocketTransport, SocketTransport, list[socket.socket]]]:
    """A source, a destination, and their peers."""
    pair = unix_pair if over is unix_pair else lambda: tcp_pair("127.0.0.1")
    with pair() as (one, giver), pair() as (other, taker):
        source, destination = transport_to(one), transport_to(other)
        yield source, destination, [giver, taker]
        source.close()
        destination.close()


@pytest.mark.parametrize("over", [tcp_pair, unix_pair], ids=["TCP", "Unix"])
async def test_what_goes_in_comes_out(nursery: trio.Nursery, over: object) -> None:
    pipes, heard = Pipes(), bytearray()
    with between(over) as (source, destination, (giver, taker)):
        give, take = transport_to(giver), transport_to(taker)

        async def send() -> None:
            for at in range(0, len(NOISE), 50_000):
                await give.send_all(NOISE[at : at + 50_000])
            await give.send_eof()

        async def receive() -> None:
            while len(heard) < len(NOISE):
                heard.extend(await take.receive_some())

        async with trio.open_nursery() as both:
            both.start_soon(send)
            both.start_soon(receive)
            while True:
                await source.until_readable()
                pipe = pipes.take()
                assert pipe is not None
                moved = source.splice_in(pipe)
                await destination.splice_out(pipe)
                assert pipe.held == 0
                pipes.give_back(pipe)
                if moved == 0:
                    break
        assert heard == NOISE
        assert source.bytes_received == destination.bytes_sent == len(NOISE)
        assert await source.receive_some() == b""
    pipes.close()


async def test_nothing_is_there(nursery: trio.Nursery) -> None:
    pipes = Pipes()
    with between() as (source, _, (giver, _)):
        pipe = pipes.take()
        assert pipe is not None
        assert source.splice_in(pipe) is None
        giver.sendall(b"x")
        await source.until_readable()
        assert source.splice_in(pipe) == 1
        assert "1 in it" in repr(pipe)
        pipes.give_back(pipe)
    assert repr(pipes) == "<Pipes: 0 in use, 0 idle>"


async def test_a_reset_is_told_by_each_way_of_asking(nursery: trio.Nursery) -> None:
    pipes = Pipes()
    with between() as (source, destination, (giver, taker)):
        pipe = pipes.take()
        assert pipe is not None
        reset(giver)
        await source.until_readable()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                source.splice_in(pipe)
        with pytest.raises(trio.BrokenResourceError):
            await source.receive_some()
        reset(taker)
        pipe.held = os.write(pipe.into, b"rest")
        with pytest.raises(trio.BrokenResourceError):
            await destination.splice_out(pipe)
        pipes.give_back(pipe)


async def test_who_does_not_read_is_waited_for_and_a_cancel_loses_the_pipe(
    nursery: trio.Nursery,
) -> None:
    pipes = Pipes()
    before = descriptors()
    with between() as (_, destination, _):
        for _ in range(64):
            pipe = pipes.take()
            assert pipe is not None
            pipe.held = os.write(pipe.into, NOISE)
            with trio.move_on_after(0.1) as scope:
                await destination.splice_out(pipe)
            pipes.give_back(pipe)
            if scope.cancelled_caught:
                break
        assert scope.cancelled_caught
        assert pipes.in_use == 0
    pipes.close()
    assert descriptors() == before


async def test_a_closed_transport_is_told(nursery: trio.Nursery) -> None:
    pipes = Pipes()
    with between() as (source, destination, _):
        pipe = pipes.take()
        assert pipe is not None
        pipe.held = os.write(pipe.into, b"x")
        source.close()
        destination.close()
        with pytest.raises(trio.ClosedResourceError):
            source.splice_in(pipe)
        with pytest.raises(trio.ClosedResourceError):
            await destination.splice_out(pipe)
        with pytest.raises(trio.ClosedResourceError):
            await source.until_readable()
        pipes.give_back(pipe)


async def test_an_interrupt_reaches_whoever_waits_for_bytes(nursery: trio.Nursery) -> None:
    with between() as (source, _, (giver, _)):
        source.interrupt()
        with pytest.raises(InterruptedReceive):
            await source.until_readable()
        async with trio.open_nursery() as both:
            both.start_soon(source.until_readable)
            await trio.testing.wait_all_tasks_blocked(0.01)
            giver.sendall(b"x")
        # What has come in has the first word.
        source.interrupt()
        await source.until_readable()


def test_a_few_are_kept_and_there_is_a_limit() -> None:
    pipes, before = Pipes(), descriptors()
    taken = [pipes.take() for _ in range(MOST + 1)]
    assert taken[-1] is None
    some = [pipe for pipe in taken if pipe is not None]
    assert len(some) == pipes.in_use == MOST
    assert {pipe.size for pipe in some} <= {PIPE_BYTES, 65536}
    for pipe in some:
        pipes.give_back(pipe)
    assert descriptors() == before + 2 * KEPT
    again = pipes.take()
    assert again in some
    assert again is not None
    again.held = os.write(again.into, b"left")
    pipes.give_back(again)
    assert descriptors() == before + 2 * (KEPT - 1)
    pipes.close()
    assert descriptors() == before


def test_none_is_to_be_had_where_descriptors_are_short() -> None:
    pipes = Pipes()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    spare = []
    try:
        while True:
            spare.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        assert pipes.take() is None
        assert pipes.in_use == 0
    finally:
        for each in spare:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pipe = pipes.take()
    assert pipe is not None
    pipes.give_back(pipe)
    pipes.close()


def test_a_pipe_may_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    # More than the kernel gives to anybody: as where the user has too many already.
    monkeypatch.setattr("haclient.net.pipes.PIPE_BYTES", 1 << 31)
    pipes = Pipes()
    pipe = pipes.take()
    assert pipe is not None
    assert pipe.size == 65536
    pipes.give_back(pipe)
    pipes.close()
