"""Many at once: clients that leave, that send ahead, that only sit there."""

from __future__ import annotations

import random
import re
import socket
import struct

import trio

from tests.bench.abuse.hostile import GONE, Hostile, get, head, hostile, hostiles
from tests.bench.abuse.stage import BODY_TIMEOUT, CUT_WITHIN, Abuse, Outcome, Stage, outcome_of

__all__ = ["CROWDS"]

AHEAD = 100
IDLE_CLIENTS = 400
DESCRIPTORS = 256
SITS_FOR = 8.0
ANSWERED = re.compile(rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)+\r\ngood ([0-9]+)\n")


async def disconnects(stage: Stage) -> Outcome:
    """Clients that leave in mid-request, in good order or with a reset, at any moment of it."""
    chance = random.Random(4)
    upload = head(b"PUT /sink") + b"Content-Length: 100000\r\n\r\n" + b"x" * 50000
    wholes = (get("/slow/1"), get("/large/1000000"), upload)

    async def do(who: Hostile, number: int) -> None:
        request = chance.choice(wholes)
        is_whole = chance.random() < 0.4 and request is not upload
        await who.send(request if is_whole else request[: chance.randrange(1, len(request))])
        await trio.sleep(chance.random() * 0.3)
        if number % 2:
            reset = struct.pack("ii", 1, 0)
            who.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    count = 2 * stage.crowd
    found = await hostiles(stage.door.port, count, do)
    outcome = Outcome(f"{len(found)} left")
    # A client that left in good order is found by a look at it, half a second later at the most.
    with trio.move_on_after(CUT_WITHIN):
        while await stage.server.order("open") > len(found) // 10:  # noqa: ASYNC110
            await trio.sleep(0.1)
    still = await stage.server.order("open")
    outcome.require(still <= len(found) // 10, f"{still} connections to the server are open")
    return outcome


async def sent_ahead(stage: Stage) -> Outcome:
    """A hundred requests in one go, answered in their order; and one client who reads none."""

    async def do(who: Hostile, _number: int) -> None:
        requests = b"".join(get(f"/good/{n}") for n in range(AHEAD - 1))
        last = head(f"GET /good/{AHEAD - 1}".encode()) + b"Connection: close\r\n\r\n"
        await who.send(requests + last)
        with trio.move_on_after(CUT_WITHIN * 4):
            while f"good {AHEAD - 1}\n".encode() not in who.heard:  # noqa: ASYNC110
                await trio.sleep(0.05)

    crowd = max(1, stage.crowd // 25)
    async with hostile(stage.door.port) as deaf, trio.open_nursery() as nursery:
        nursery.start_soon(send_and_never_read, deaf)
        found = await hostiles(stage.door.port, crowd, do)
    wanted = [b"%d" % number for number in range(AHEAD)]
    right = sum(ANSWERED.findall(who.heard) == wanted for who in found)
    outcome = outcome_of([deaf], 1, BODY_TIMEOUT + CUT_WITHIN, [])
    outcome.told = f"{right * AHEAD} of {crowd * AHEAD} answered in order; the deaf one cut"
    outcome.require(right == crowd, "answers are missing, or not in their order")
    return outcome


async def send_and_never_read(who: Hostile) -> None:
    """Until it is cut; counted from when nothing more could be sent."""
    requests = get("/large/60000") * 50
    try:
        while True:
            with trio.move_on_after(1.0) as scope:
                await who.stream.send_all(requests)
            if scope.cancelled_caught:
                break
        who.began_at = trio.current_time() - 1.0
        with trio.move_on_after(30):
            await who.drip(0.1)
    except GONE:
        who.cut_at = trio.current_time() - who.began_at


async def few_descriptors(stage: Stage) -> Outcome:
    """More idle clients than the daemon has descriptors; those who have none wait or are let in."""
    streams: list[trio.SocketStream] = []
    try:
        for _ in range(IDLE_CLIENTS):
            streams.append(await trio.open_tcp_stream("127.0.0.1", stage.door.port))  # noqa: PERF401
        await trio.sleep(SITS_FOR)
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)
    return Outcome(f"{len(streams)} sat there for {SITS_FOR:g} s")


CROWDS = (
    Abuse("disconnects in mid-request", disconnects),
    Abuse("pipelining of 100", sent_ahead),
    Abuse("256 descriptors, 400 idle", few_descriptors, descriptors=DESCRIPTORS, most_cpu=0.5),
)
