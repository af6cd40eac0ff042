"""Content flows no faster than who takes it, and what is in between is bounded."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.house import ONE, A, House, house
from tests.proxy.playbook import Party, wire
from tests.sim.effects import AfterRequestBytes, Fault, Reset
from tests.sim.origin import Framing, Reply

LONG = bytes(range(256)) * 20_000
"""Five million bytes."""

TWO_KERNELS = 2 * 65536
"""What a connection holds that nobody reads (tests.sim.tcp)."""

ONE_PIECE = 65536
"""What the sidecar reads at once."""

GET = wire("GET /x HTTP/1.1|Host: shop||")
PUT = wire(f"PUT /x HTTP/1.1|Host: shop|Content-Length: {len(LONG)}||")


async def send(client: Party, data: bytes) -> None:
    await client.stream.send_all(data)


async def read_all(client: Party, size: int) -> bytes:
    """That many bytes of content, behind a head."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0 or len(data) < end + 4 + size:
        piece = await client.stream.receive_some()
        assert piece, f"ended after {len(data)} bytes"
        data += piece
    return data[end + 4 :]


def taken_in(h: House) -> int:
    """Bytes that the sidecar has read of its first connection to a server."""
    return h.network.connections[0][0].bytes_received


@pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
async def test_a_client_that_does_not_read_stops_the_server(
    autojump_clock: MockClock, framing: Framing
) -> None:
    async with house() as h:
        h.a.reply = Reply(content=LONG, framing=framing)
        client = h.client()
        await send(client, GET)
        for instant in (1.0, 20.0):
            await trio.sleep_until(instant)
            assert ONE_PIECE < taken_in(h) <= TWO_KERNELS + ONE_PIECE
        if framing is Framing.COUNTED:
            assert await read_all(client, len(LONG)) == LONG
            assert taken_in(h) > len(LONG)


async def test_a_client_that_reads_in_drops_gets_it_in_drops(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(content=LONG)
        client = h.client()
        await send(client, GET)
        taken = 0
        for _ in range(100):
            await trio.sleep(1.0)
            taken += len(await client.stream.receive_some(10_000))
            assert taken_in(h) <= taken + TWO_KERNELS + ONE_PIECE


@pytest.mark.parametrize("replay_limit", [0, 1 << 20])
async def test_a_server_that_does_not_read_stops_the_client(
    autojump_clock: MockClock, replay_limit: int
) -> None:
    """Nothing is read ahead, not even what may be kept for a resend."""
    async with house(target=Target(urls=ONE.urls, replay_limit=replay_limit)) as h:
        client, a = h.client(), h.server(A)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, client, PUT + LONG)
            stream = await a.accepted()
            [door] = h.doors_ends
            for instant in (1.0, 20.0):
                await trio.sleep_until(instant)
                assert ONE_PIECE < door.bytes_received <= TWO_KERNELS + 2 * ONE_PIECE
            got = await read_all(a, len(LONG))
        assert got == LONG
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        await h.settle()
        assert h.records[0].request_bytes == len(LONG)


async def test_what_is_kept_for_a_resend_is_bounded(autojump_clock: MockClock) -> None:
    held = []
    async with house(target=Target(urls=ONE.urls, replay_limit=200_000)) as h:
        client, a = h.client(), h.server(A)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, client, PUT + LONG)
            stream = await a.accepted()
            got = 0
            while got < len(LONG):
                got += len(await stream.receive_some(30_000))
                held.append(h.gateway.ledger.held)
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        await h.settle()
        assert 0 < max(held) <= 200_000
        # Past its limit nothing is kept at all: part of a request can never be sent again.
        assert h.gateway.ledger.held == held[-1] == 0


async def test_a_request_past_its_limit_only_loses_its_right_to_a_resend(
    autojump_clock: MockClock,
) -> None:
    target = Target(urls=["http://ab.test/"], replay_limit=200_000)
    async with house(Fault(Reset(), AfterRequestBytes(1_000_000)), target=target) as h:
        client = h.client()
        async with trio.open_nursery() as nursery:

            async def send_on() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await send(client, PUT + LONG)

            nursery.start_soon(send_on)
            await trio.sleep(0.5)
            answer = await client.stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 502 ")
            assert b"past replay_limit" in answer
            assert b'"may_have_been_processed":true' in answer
            client.leave()


@pytest.mark.parametrize("at", [1_000, 150_000, 900_000])
async def test_within_the_limit_it_is_sent_again_from_the_beginning(
    autojump_clock: MockClock, at: int
) -> None:
    content = LONG[:1_000_000]
    async with house(Fault(Reset(), AfterRequestBytes(at))) as h:
        client = h.client()
        head = wire(f"PUT /x HTTP/1.1|Host: shop|Content-Length: {len(content)}||")
        await send(client, head + content)
        answer = await client.stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert [request.content for request in h.b.executed] == [content]
        assert h.a.executed == []


async def test_both_ways_at_once(autojump_clock: MockClock) -> None:
    """The server answers while it reads; neither waits for the other to end."""
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        up, down = LONG[:1_000_000], LONG[-1_000_000:]
        head = wire("PUT /x HTTP/1.1|Host: shop|Content-Length: 1000000||")

        async def serve() -> None:
            stream = await a.accepted()
            got = b""
            while b"\r\n\r\n" not in got:
                got += await stream.receive_some()
            got = got.partition(b"\r\n\r\n")[2]
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            for start in range(0, len(down), 50_000):
                # The answer's end is the exchange's: nothing of the request is wanted behind it.
                while len(got) < start + 50_000:
                    got += await stream.receive_some()
                await stream.send_all(down[start : start + 50_000])
            assert got == up

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(send, client, head + up)
            assert await read_all(client, len(down)) == down


async def test_a_tunnel_has_back_pressure_too(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await send(client, wire("GET / HTTP/1.1|Host: shop|Connection: Upgrade|Upgrade: x||"))
        stream = await a.accepted()
        await stream.receive_some()
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, LONG)
            await trio.sleep(100.0)
            assert taken_in(h) <= TWO_KERNELS + ONE_PIECE
            assert await read_all(client, len(LONG)) == LONG
