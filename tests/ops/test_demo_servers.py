"""Servers as processes: started, killed, cut off, healed, and gone in the end."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from haclient.ops import demo_servers
from haclient.ops.demo_servers import CannotPlay, Condition, Server, free_port, running
from haclient.types import Endpoint

ADDRESSES = ("127.0.0.2", "127.0.0.3")


def children() -> set[str]:
    """The processes that any thread of this one has started and not reaped."""
    lists = Path("/proc/self/task").glob("*/children")
    return {child for each in lists for child in each.read_text().split()}


def condition_of(server: Server) -> Condition:
    """As it is now: mypy takes an attribute for what it was when last compared."""
    return server.condition


async def get(server: Server, number: int) -> bytes:
    stream = await trio.open_tcp_stream(server.address, server.endpoint.port)
    async with stream:
        await stream.send_all(b"GET /orders/%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
        return bytes(await stream.receive_some())


async def test_a_server_serves_is_killed_and_serves_again() -> None:
    before = children()
    with trio.fail_after(20):
        async with running(ADDRESSES, free_port(ADDRESSES)) as (first, second):
            assert (first.condition, second.condition) == (Condition.UP, Condition.UP)
            assert (await get(first, 7)).startswith(b"HTTP/1.1 200 ")
            await first.executes("GET 7")
            assert not second.ran
            since = trio.current_time()
            await first.kill()
            assert condition_of(first) is Condition.KILLED
            with pytest.raises(OSError, match="all attempts"):
                await get(first, 8)
            assert not first.was_well(since, trio.current_time())
            await first.start()
            await first.listens()
            assert (await get(first, 9)).startswith(b"HTTP/1.1 200 ")
            healed = trio.current_time()
            assert first.was_well(healed, healed + 1)
            assert first.was_well(since - 1, since)
            assert first.ran == {"GET 7": 1, "GET 9": 1}
    assert children() == before


async def test_a_server_is_cut_off_and_healed() -> None:
    with trio.fail_after(20):
        async with running(ADDRESSES[:1], free_port(ADDRESSES)) as (server,):
            since = trio.current_time()
            await server.cut_off()
            assert condition_of(server) is Condition.BLACKHOLED
            with trio.move_on_after(0.1) as waiting:
                await get(server, 7)
            assert waiting.cancelled_caught
            await server.heal()
            assert condition_of(server) is Condition.UP
            assert (await get(server, 8)).startswith(b"HTTP/1.1 200 ")
            assert not server.was_well(since, since + 0.01)


async def test_whoever_waits_for_a_request_is_woken_by_others_too() -> None:
    with trio.fail_after(20):
        async with running(ADDRESSES[:1], free_port(ADDRESSES)) as (server,):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.executes, "GET 2")
                await get(server, 1)
                await get(server, 2)
            assert server.ran["GET 2"] == 1


async def test_whatever_ends_the_block_ends_the_servers() -> None:
    before = children()

    async def break_off() -> None:
        async with running(ADDRESSES, free_port(ADDRESSES)):
            assert len(children()) == len(before) + 2
            raise ValueError("the show is over")

    with pytest.raises(ExceptionGroup):
        await break_off()
    assert children() == before


async def test_an_order_that_fails_is_told() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with running(ADDRESSES[:1], free_port(ADDRESSES)) as (server,):
            await server._order("dance")
    (error,) = caught.value.exceptions
    assert isinstance(error, CannotPlay)
    assert "dance" in str(error)


async def test_a_port_that_is_taken_in_the_meantime_is_told() -> None:
    port = free_port(ADDRESSES)
    with pytest.raises(ExceptionGroup) as caught:
        async with running([ADDRESSES[0], ADDRESSES[0]], port):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, CannotPlay)
    assert str(error).endswith("cannot be started: Address already in use")


async def test_a_server_that_does_not_start_in_time_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo_servers, "START_WITHIN", 0.0)
    async with trio.open_nursery() as nursery:
        server = Server(Endpoint(ADDRESSES[0], free_port(ADDRESSES)), nursery)
        await server.end()  # before it was started: nothing
        await server.start()
        with pytest.raises(CannotPlay, match="did not start within 0 s"):
            await server.listens()
        await server.end()


def test_addresses_of_another_machine_have_no_free_port() -> None:
    with pytest.raises(CannotPlay, match=r"no port is free on all of 192\.0\.2\.1"):
        free_port(["192.0.2.1"])


def test_the_package_is_found_where_a_path_is_set_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")

    async def serve() -> None:
        with trio.fail_after(20):
            async with running(ADDRESSES[:1], free_port(ADDRESSES)) as (server,):
                assert server.condition is Condition.UP

    trio.run(serve)
