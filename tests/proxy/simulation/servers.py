"""Three servers with whims: how long each thinks, how it frames, whether it has no time.

All serve the same representations, with the same entity tags, so that a download may go on from any.
"""

from __future__ import annotations

import random
import zlib

from tests.proxy.house import House
from tests.proxy.simulation.plan import content_of, read_target
from tests.sim.effects import (
    AfterContentBytes,
    AfterHeadBytes,
    AfterRequest,
    AfterRequestBytes,
    AfterResponse,
    Blackhole,
    BlackholeConnect,
    Effect,
    Fault,
    Fin,
    Garbage,
    HalfOpen,
    Kill,
    OnConnect,
    Refuse,
    Reset,
    SlowDrip,
    Stall,
    Step,
)
from tests.sim.origin import Framing, ReceivedRequest, Reply, SimOrigin
from tests.sim.script import ranged

__all__ = ["answer_to", "give_whims"]

BUSY = 503


def give_whims(h: House, chance: random.Random) -> None:
    """Each server has its own, and a few faults that strike at a byte of an exchange."""
    for origin in h.origins:
        whims = random.Random(chance.random())
        thinks = chance.choice((0.0, 0.01, 0.2))
        busy = chance.choice((0.0, 0.0, 0.1, 0.5))
        origin.reply = lambda request, whims=whims, thinks=thinks, busy=busy: _reply(
            request, whims, thinks, busy
        )
        for _ in range(chance.choice((0, 1, 2, 4))):
            origin.script(_fault(chance, origin))


def _reply(request: ReceivedRequest, whims: random.Random, thinks: float, busy: float) -> Reply:
    number, down = read_target(request.target)
    think = thinks if whims.random() < 0.9 else whims.choice((1.2, 3.0, 8.0))
    if whims.random() < busy:
        return Reply(BUSY, b"busy", think=think)
    content = answer_to(request.method.decode(), number, down, request.content)
    framing = whims.choice((Framing.COUNTED, Framing.COUNTED, Framing.CHUNKED, Framing.UNTIL_CLOSE))
    interim = (103,) if whims.random() < 0.1 else ()
    closes = framing is Framing.UNTIL_CLOSE or whims.random() < 0.1
    if request.method == b"GET" and framing is Framing.COUNTED:
        part = ranged(content, b'"%d"' % number)(request)
        return Reply(part.status, part.content, framing, part.fields, think, interim, closes)
    fields = ((b"X-Ends", b"with the connection"),) if framing is Framing.UNTIL_CLOSE else ()
    return Reply(200, content, framing, fields, think, interim, closes)


def answer_to(method: str, number: int, down: int, uploaded: bytes) -> bytes:
    """What any server says to this request: its own content, and what it understood of the client's."""
    if method in ("PUT", "POST"):
        return b"<%d> %d bytes %08x" % (number, len(uploaded), zlib.crc32(uploaded))
    return content_of(number, down)


def _fault(chance: random.Random, origin: SimOrigin) -> Fault:
    """Any effect at any step where it can happen."""
    skip, times = chance.randrange(6), chance.choice((1, 1, 2))
    if chance.random() < 0.15:
        return Fault(chance.choice((Refuse(), BlackholeConnect())), OnConnect(), times, skip)
    effects: tuple[Effect, ...] = (
        Blackhole(chance.choice((0.5, 1.3, 4.0, 20.0)), spares_others=chance.random() < 0.5),
        Reset(),
        Fin(),
        HalfOpen(),
        Garbage(),
        Stall(chance.choice((0.4, 2.0, 6.0))),
        SlowDrip(chance.choice((1000.0, 20_000.0))),
        Kill(),
    )
    steps: tuple[Step, ...] = (
        OnConnect(),
        AfterRequestBytes(chance.choice((0, 10, 200, 3000))),
        AfterRequest(),
        AfterHeadBytes(chance.choice((0, 10))),
        AfterContentBytes(chance.choice((0, 3, 3000, 70_000))),
        AfterResponse(chance.choice((0.0, 0.001, 0.5))),
    )
    effect, step = chance.choice(effects), chance.choice(steps)
    is_no_garbage = isinstance(effect, Garbage) and isinstance(step, AfterContentBytes)
    is_too_late = isinstance(effect, Stall | SlowDrip) and isinstance(step, AfterResponse)
    if is_no_garbage or is_too_late:
        effect = Fin()  # whatever stands where content is due is content
    return Fault(effect, step, times, skip)
