"""Every call on the way of a tunnel fails once, and every step of it is cancelled once.

What the client hears is the whole conversation, or one whole error, or nothing, or a break that shows: never
a part of it with an end in good order. And nothing is left (tests.proxy.house looks).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Mode
from tests.proxy.answers import parse_answer
from tests.proxy.house import A, House, house
from tests.proxy.playbook import Party
from tests.proxy.sabotage import Fails, Saboteur
from tests.proxy.test_cancellation import AtStep
from tests.sim.stream import SimStream

FORWARD: dict[str, Any] = {
    "mode": Mode.FORWARD,
    "allow": AllowList((parse_rule("a.test:80"),)),
}
ASKED = b"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
STUCK = 60.0


async def echo(stream: SimStream) -> None:
    """What it is sent, backwards."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await stream.receive_some():
            await stream.send_all(bytes(data)[::-1])
        await stream.send_eof()
    stream.close()


def serve(h: House) -> None:
    listener = h.network.listen(A)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(echo, await listener.accept())

    h.serve_beside(run)


async def converse(party: Party) -> str:
    """How it went for the client."""
    heard = b""
    try:
        with trio.fail_after(STUCK):
            await party.stream.send_all(ASKED + b"early")
            heard = await hear(party, heard, lambda data: data.endswith(b"ylrae"))
            if heard == ESTABLISHED + b"ylrae":
                await party.stream.send_all(b"ping")
                await party.stream.send_eof()
                heard = await hear(party, heard, lambda data: False)
    except trio.BrokenResourceError:
        return "a break"
    if heard == ESTABLISHED + b"ylraegnip":
        return "whole"
    if not heard:
        return "nothing"
    answer, size = parse_answer(heard, "CONNECT", 0.0, is_end=True)
    assert answer is not None, heard
    assert answer.status >= 500, heard
    assert size == len(heard), heard
    return "an error"


async def hear(party: Party, heard: bytes, is_enough: Callable[[bytes], bool]) -> bytes:
    while not is_enough(heard) and (data := await party.stream.receive_some()):
        heard += data
    return heard


def check(h: House) -> None:
    """Each conversation is told of once."""
    assert len(h.records) <= 1
    for record in h.records:
        assert record.method == "CONNECT"
        assert all(one.endpoint in (A, None) for one in record.attempts)


@pytest.mark.parametrize("how", Fails)
async def test_each_call_fails(autojump_clock: MockClock, how: Fails) -> None:
    seen: set[str] = set()
    for k in itertools.count(1):
        async with house(**FORWARD) as h:
            serve(h)
            saboteur = Saboteur(h, k, how)
            outcome = await converse(saboteur.client("one"))
            await trio.sleep(5.0)
            check(h)
            assert len(h.records) == 1 or saboteur.struck.startswith("one")
        if not saboteur.struck:
            break
        seen.add(outcome)
    assert outcome == "whole"
    assert seen >= {"a break", "an error"}
    assert k > 6


async def test_each_step_is_cancelled(autojump_clock: MockClock) -> None:
    seen: set[str] = set()
    for k in itertools.count(1):
        async with house(**FORWARD) as h:
            serve(h)
            instrument = AtStep(h, k)
            instrument.act = partial(cancel, h)
            client = h.client()
            trio.lowlevel.add_instrument(instrument)
            try:
                outcome = await converse(client)
            finally:
                trio.lowlevel.remove_instrument(instrument)
            await trio.sleep(5.0)
            check(h)
        if not instrument.has_acted:
            break
        seen.add(outcome)
    assert outcome == "whole"
    assert "a break" in seen
    assert k > 10


def cancel(h: House) -> None:
    for inside in tuple(h.door.inside):
        inside.cancel()
