"""One case, played through one proxy: the case itself, and a victim who asks next.

A victim's request is the plainest there is. If it gets somebody else's answer, or the server reads
something else in its place, the case has left something behind: on a connection, in the pool, in the
proxy's mind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import trio

from tests.corpus.backend import PAUSE, Backend
from tests.corpus.case import RequestCase, ResponseCase
from tests.corpus.client import CANARY, PATIENCE, VICTIM, Heard, ask, converse
from tests.corpus.verdict import Verdict, on_request, on_response

__all__ = ["Form", "Splits", "as_it_is", "play_request", "play_response", "splits"]

Splits = tuple[bytes, ...]

Form = Callable[[bytes], bytes]
"""How the requests beside the case are written: a forward proxy is asked in absolute-form."""

LONG = 600
"""Bytes from which on a wire is not cut byte by byte, but in this many pieces."""


def splits(wire: bytes, seed: int) -> Iterator[Splits]:
    """The same bytes at once, byte by byte, within each line end, and cut anywhere."""
    yield (wire,)
    if len(wire) < 2:
        return
    step = max(len(wire) // LONG, 1)
    yield tuple(wire[at : at + step] for at in range(0, len(wire), step))
    if len(wire) <= LONG:
        parts = wire.split(b"\r\n")
        yield tuple(_between(parts))
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, len(wire)), min(3, len(wire) - 1)))
    yield tuple(wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))


def _between(parts: list[bytes]) -> Iterator[bytes]:
    """Cut between each CR and its LF."""
    for index, part in enumerate(parts):
        piece = (b"\n" if index else b"") + part + (b"\r" if index < len(parts) - 1 else b"")
        if piece:
            yield piece


def as_it_is(wire: bytes) -> bytes:
    """In origin-form."""
    return wire


async def play_request(
    case: RequestCase,
    address: tuple[str, int],
    backend: Backend,
    pieces: Splits,
    form: Form = as_it_is,
) -> Verdict:
    """Plays it with its wire cut so."""
    backend.forget()
    asked = [*case.before, *(case.forward[0] if case.forward else ())]
    # An answer to HEAD that is the proxy's own error is none that the server's could be taken for.
    methods = [one.method for one in asked] or [_method(case.wire)]
    methods.append("GET")
    tail = (form(CANARY),) if case.tail == "canary" else ()
    # With the last piece, so that whoever refuses has it in hand already.
    pieces = (*pieces[:-1], pieces[-1] + b"".join(tail))
    try:
        heard = await converse(address, pieces, methods, fin=case.tail == "fin")
        victim: Heard | None = await _victim(address, form)
    except OSError:
        heard, victim = Heard(), None
    backend.read = [one for one in backend.read if one.first[1] != b"/victim"]
    return on_request(case, heard, victim, backend)


def _method(wire: bytes) -> str:
    return "HEAD" if wire.startswith(b"HEAD ") else "GET"


async def _victim(address: tuple[str, int], form: Form) -> Heard:
    stream = await trio.open_tcp_stream(*address)
    try:
        return await ask(stream, form(VICTIM), "GET", PATIENCE)
    finally:
        await trio.aclose_forcefully(stream)


async def play_response(
    case: ResponseCase,
    address: tuple[str, int],
    backend: Backend,
    pieces: Splits,
    form: Form = as_it_is,
) -> Verdict:
    """Plays it with what the server says cut so."""
    backend.forget()
    backend.response, backend.pieces = case, pieces
    victims: list[Heard | None] = []
    method = "HEAD" if case.ask.startswith(b"HEAD ") else "GET"
    heard = Heard()
    try:
        stream = await trio.open_tcp_stream(*address)
        try:
            heard = await ask(stream, case.ask, method, PATIENCE)
            if case.then:
                await trio.sleep(2 * PAUSE)
            if heard.answers and heard.end == "nothing" and not heard.rest:
                same = await ask(stream, form(VICTIM), "GET", PATIENCE)
                if same.answers or same.rest:
                    victims.append(same)  # else it was closed behind the answer, which is allowed
        finally:
            await trio.aclose_forcefully(stream)
        victims.append(await _victim(address, form))
    except OSError:
        victims.append(None)
    return on_response(case, heard, victims)
