"""TCP mode: the drain's cut, and a client that leaves, at every step of a tunnel's tasks.

As test_cancellation does it for requests: at the k-th step, k = 1, 2, 3, ... Afterwards nothing is left
(tests.proxy.house looks), the tunnel was told once, no server got what was said to another one, and
the next client is served.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from haclient.core.config import Config, Mode
from haclient.core.spec import Target
from haclient.proxy.record import Outcome
from tests.proxy.house import A, B, C, House, house
from tests.proxy.playbook import Party
from tests.proxy.test_cancellation import ACTS, ENDS, AtStep, does, hear, named, speak
from tests.sim.stream import SimStream

BOTH = Target(urls=["tcp://ab.test:80"])
LONG = bytes(range(256)) * 2048
LARGE = 65536

Serve = Callable[[SimStream], Awaitable[None]]
Scene = Callable[[House, Party], Awaitable[None]]


async def echo(stream: SimStream) -> None:
    with contextlib.suppress(*ENDS):
        while data := await stream.receive_some():
            await stream.send_all(data)
        await stream.send_eof()


async def say_much(stream: SimStream) -> None:
    with contextlib.suppress(*ENDS):
        await stream.receive_some()
        await stream.send_all(LONG)
        await stream.send_eof()


async def hang_up(stream: SimStream) -> None:
    stream.close()


async def die(stream: SimStream) -> None:
    stream.reset()


def serve(h: House, place: Party, script: Serve) -> None:
    """Each connection that comes there is this script's."""

    async def accept() -> None:
        while True:
            stream = await place.accepted()
            place._stream = None
            h.servers.start_soon(run, script, stream)

    h.serve_beside(accept)


async def run(script: Serve, stream: SimStream) -> None:
    try:
        await script(stream)
    finally:
        stream.close()


async def a_question(h: House, client: Party) -> None:
    serve(h, h.server(A), echo)
    await speak(client, b"ping")


async def a_question_and_an_end(h: House, client: Party) -> None:
    serve(h, h.server(A), echo)
    client.stream.send_now(b"ping")
    with contextlib.suppress(*ENDS):
        await client.stream.send_eof()
    await hear(client)


async def much_up_and_down(h: House, client: Party) -> None:
    serve(h, h.server(A), echo)
    await speak(client, LONG)


async def much_that_nobody_reads(h: House, client: Party) -> None:
    serve(h, h.server(A), say_much)
    client.stream.send_now(b"give")
    await trio.sleep(3.0)
    await hear(client)


async def a_rest_and_a_word(h: House, client: Party) -> None:
    serve(h, h.server(A), echo)
    await speak(client, LONG[:LARGE])
    with contextlib.suppress(*ENDS):
        client.stream.send_now(b"again")
    await hear(client)


async def one_who_turns_away(h: House, client: Party) -> None:
    serve(h, h.server(A), hang_up)
    serve(h, h.server(B), echo)
    await trio.sleep(0.1)
    await speak(client, b"ping")


async def one_who_resets(h: House, client: Party) -> None:
    serve(h, h.server(A), die)
    serve(h, h.server(B), echo)
    await speak(client, b"ping")


async def nobody(h: House, client: Party) -> None:
    h.network.blackhole(A)
    h.network.refuse(B)
    await speak(client, b"ping")


async def a_server_that_dies(h: House, client: Party) -> None:
    serve(h, h.server(A), echo)
    await speak(client, b"ping")
    h.network.blackhole(A)
    with contextlib.suppress(*ENDS):
        client.stream.send_now(b"ping")
    await hear(client)


SCENES: list[Scene] = [
    a_question,
    a_question_and_an_end,
    much_up_and_down,
    much_that_nobody_reads,
    a_rest_and_a_word,
    one_who_turns_away,
    one_who_resets,
    nobody,
    a_server_that_dies,
]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("scene", SCENES, ids=named)
async def test_each_await(autojump_clock: MockClock, scene: Scene, act: str) -> None:
    for k in itertools.count(1):
        async with house(target=BOTH, mode=Mode.TCP) as h:
            instrument = AtStep(h, k)
            client = h.client()
            instrument.act = does(act, h, client)
            trio.lowlevel.add_instrument(instrument)
            try:
                await scene(h, client)
            finally:
                trio.lowlevel.remove_instrument(instrument)
            client.leave()
            await check_after(h, is_cut=act == ACTS[0] and instrument.has_acted)
        if not instrument.has_acted:
            break
    # Less would mean that the instrument did not see the tunnel.
    assert k > 3


async def check_after(h: House, *, is_cut: bool) -> None:
    """Told once; the next client is served."""
    await trio.sleep(3.0)
    [record] = h.records
    assert record.is_tcp
    if is_cut:
        assert record.outcome in (Outcome.CUT, Outcome.TUNNELLED, Outcome.TURNED_AWAY)
    # What was said went to one server alone.
    spoken_to = [one for one in record.attempts if one.bytes_sent]
    assert len(spoken_to) <= 1
    h.sidecar.apply(Config(targets={"main": Target(urls=["tcp://c.test:80"])}))
    serve(h, h.server(C), echo)
    client = h.client()
    client.stream.send_now(b"next")
    assert await client.stream.receive_some() == b"next"
