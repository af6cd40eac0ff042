"""Every effect at every step of an exchange.

What must hold of all of them is in tests.engine.oracle. Here is said in addition what comes of each
case, and when: computed from the rules, and not written down case by case.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product

import pytest
import trio
from trio.testing import MockClock

from haclient.client import RequestOptions
from haclient.core.spec import Target
from haclient.errors import (
    ConnectError,
    ConnectTimeoutError,
    Error,
    ProtocolError,
    ResponseIncompleteError,
    ServerDiedError,
)
from haclient.types import Verdict
from tests.engine.oracle import Outcome
from tests.engine.world import BACKED_UP, BOTH, ONE, World, world
from tests.sim.effects import (
    AfterContentBytes,
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
    describe,
    every_fault,
)
from tests.sim.origin import Framing, Reply

NEAR = 0.01
"""Seconds: the round trips to b, and nothing else that takes time."""

SUSPECT_IN_FLIGHT, DEAD_IN_FLIGHT = 0.45, 0.95
"""The first look finds the retransmission of 0.41 s; the one of 0.85 s is found at that very instant,
or by the look after it, and is settled 0.1 s later."""

LOOK = 0.1

SUSPECT_SILENT, DEAD_SILENT = 1.1, 2.5
"""A probe after 1 s, unanswered for 0.1 s; three of them, half a second apart."""

CONNECT_TIMEOUT = 1.0
TAIL_LOSS_PROBE = 0.2
FIRST_PROBE = 1.0

CONTENT = b"c" * 500
MID_CONTENT = AfterRequestBytes(400)
"""The head is shorter than that, and head and content are longer."""

AROUND = {"one server": ONE, "two servers": BOTH, "a server with a backup": BACKED_UP}

KEY = {"Idempotency-Key": "7f9c"}


@dataclass(frozen=True)
class Case:
    """One row of the matrix."""

    effect: Effect
    step: Step
    method: str
    around: str
    is_streamed: bool = False
    is_reused: bool = False

    def __str__(self) -> str:
        how = "streamed over a used connection" if self.is_reused else "read whole"
        fault = f"{describe(self.effect)} {describe(self.step)}"
        return f"{self.method} to {self.around}, {how}: {fault}"

    @property
    def target(self) -> Target:
        return AROUND[self.around]

    @property
    def is_alone(self) -> bool:
        return self.around == "one server"

    @property
    def is_repeatable(self) -> bool:
        return self.method != "POST"

    @property
    def is_in_flight(self) -> bool:
        """Whether the effect comes before all of the request is acknowledged."""
        return isinstance(self.step, OnConnect | AfterRequestBytes)

    @property
    def is_after_head(self) -> bool:
        return isinstance(self.step, AfterContentBytes)

    async def ask(self, w: World) -> Outcome:
        options: RequestOptions = {"target": self.target}
        if self.method != "GET":
            options["content"] = CONTENT
        if self.method == "POST with a key":
            options["headers"] = KEY
        return await w.ask(self.method.split()[0], "/x", whole=not self.is_streamed, **options)


def cases() -> list[Case]:
    """All but what makes no difference, or cannot be known: garbage in counted content."""
    placed = [(fault.effect, fault.at) for fault in every_fault()]
    anywhere = [effect for effect, step in placed if step == AfterRequestBytes(10)]
    placed += [(effect, MID_CONTENT) for effect in anywhere]
    return [
        Case(effect, step, method, around, is_streamed=is_late, is_reused=is_late)
        for is_late, around, method, (effect, step) in product(
            (False, True), AROUND, ("GET", "PUT", "POST", "POST with a key"), placed
        )
        if not isinstance(step, AfterResponse)
        and not (isinstance(step, OnConnect) and is_late)
        and not (isinstance(step, AfterContentBytes) and isinstance(effect, Garbage))
        and not (step == MID_CONTENT and method == "GET")
    ]


@dataclass(frozen=True)
class Expected:
    """`server` answers, or `error` is raised, after so many seconds; less than 0 is any number."""

    server: str = ""
    error: type[Error] | None = None
    after: float = 0.0
    within: float = NEAR
    verdict: Verdict | None = None
    """Of the first attempt."""


def expected(case: Case) -> Expected:
    """What the rules say."""
    match case.effect:
        case Refuse():
            return unconnected(case, ConnectError, 0.0)
        case BlackholeConnect():
            if case.is_alone:
                # One SYN was lost, and nobody said no: the next one gets through.
                return Expected("a", after=CONNECT_TIMEOUT, verdict=Verdict.REFUSED)
            return unconnected(case, ConnectTimeoutError, CONNECT_TIMEOUT)
        case Stall(seconds):
            return Expected("a", after=seconds)
        case SlowDrip():
            return Expected("a", after=-1)
        case Blackhole():
            return blackholed(case)
        case Garbage():
            return broken(case, ProtocolError, 0.0, Verdict.GARBLED)
        case HalfOpen():
            after = 0.0 if isinstance(case.step, OnConnect) else FIRST_PROBE
            after = TAIL_LOSS_PROBE if isinstance(case.step, AfterRequestBytes) else after
            return broken(case, ServerDiedError, after, Verdict.CLOSED)
        case _:
            return broken(case, ServerDiedError, 0.0, Verdict.CLOSED)


def unconnected(case: Case, error: type[Error], after: float) -> Expected:
    """Nothing was sent: any request may go on to another server."""
    if case.is_alone:
        return Expected(error=error, after=after, verdict=Verdict.REFUSED)
    return Expected("b", after=0.0 if case.around == "two servers" else after)


def blackholed(case: Case) -> Expected:
    suspect, dead, within = SUSPECT_SILENT, DEAD_SILENT, NEAR
    if case.is_in_flight:
        suspect, dead, within = SUSPECT_IN_FLIGHT, DEAD_IN_FLIGHT, LOOK + NEAR
    if case.is_streamed and case.is_after_head:
        return Expected(
            error=ResponseIncompleteError, after=dead, verdict=Verdict.DEAD, within=within
        )
    if not case.is_repeatable:
        return Expected(error=ServerDiedError, after=dead, verdict=Verdict.DEAD, within=within)
    if case.is_alone:
        # Dead is a matter of the path, so the same server is tried again while there is time.
        tries = 2 if case.is_in_flight else 1
        return Expected(
            error=ServerDiedError,
            after=dead + tries * CONNECT_TIMEOUT,
            verdict=Verdict.DEAD,
            within=within,
        )
    if case.method == "GET":
        return Expected("b", after=suspect, verdict=Verdict.SUPERSEDED)
    return Expected("b", after=dead, verdict=Verdict.DEAD, within=within)


def broken(case: Case, error: type[Error], after: float, verdict: Verdict) -> Expected:
    """The connection, or what came on it, was of no more use; the client knows at once."""
    if case.is_streamed and case.is_after_head:
        return Expected(error=ResponseIncompleteError, after=after, verdict=verdict)
    was_nothing_sent = isinstance(case.effect, Reset) and isinstance(case.step, OnConnect)
    if not case.is_repeatable and not was_nothing_sent:
        return Expected(error=error, after=after, verdict=verdict)
    if not case.is_alone:
        return Expected("b", after=after, verdict=verdict)
    # A used connection may have been closed for its age; and the server may be there all the same.
    is_worth_it = case.is_reused and verdict is Verdict.CLOSED
    if is_worth_it and not isinstance(case.effect, Kill):
        return Expected("a", after=after, verdict=verdict)
    return Expected(error=error, after=after, verdict=verdict)


@pytest.mark.parametrize("case", cases(), ids=str)
async def test_an_effect_in_the_exchange(autojump_clock: MockClock, case: Case) -> None:
    async with world() as w:
        if case.is_reused:
            await w.ask("GET", target=case.target)
            await trio.sleep(0.5)
        w.a.script(Fault(case.effect, case.step))
        outcome = await case.ask(w)
        check(case, outcome, expected(case))
        is_a_gone = isinstance(case.effect, Blackhole | Kill)
        after = await w.ask("GET", "/next", target=case.target)
        assert (after.error is None) == (not case.is_alone or not is_a_gone)


def check(case: Case, outcome: Outcome, wanted: Expected) -> None:
    assert outcome.server == wanted.server
    if wanted.error is not None:
        assert isinstance(outcome.error, wanted.error)
    else:
        content = b"" if case.method == "GET" else CONTENT
        line = b" ".join([case.method.split()[0].encode(), b"/x", content])
        assert outcome.content == b"%b: %b\n" % (wanted.server.encode(), line)
    if wanted.after >= 0:
        assert wanted.after <= outcome.took + 1e-9 <= wanted.after + wanted.within
    if wanted.verdict is not None:
        assert outcome.verdicts[0] is wanted.verdict
    if isinstance(case.effect, Stall | SlowDrip):
        assert outcome.verdicts == [Verdict.ANSWERED]
    if case.is_streamed and isinstance(case.step, AfterContentBytes) and outcome.error is not None:
        assert len(outcome.content) == case.step.count


# -- Between two exchanges ---------------------------------------------------------------------


@dataclass(frozen=True)
class IdleCase:
    """The effect comes as soon as the first request is answered; the second one follows later."""

    effect: Effect
    method: str
    around: str
    idle_for: float

    def __str__(self) -> str:
        return (
            f"{self.method} to {self.around}, {self.idle_for:g} s after the answer before it: "
            f"{describe(self.effect)}"
        )


def idle_cases() -> list[IdleCase]:
    effects = [fault.effect for fault in every_fault() if isinstance(fault.at, AfterResponse)]
    return [
        IdleCase(effect, method, around, idle_for)
        for effect, method, around, idle_for in product(
            effects, ("GET", "PUT", "POST", "POST with a key"), AROUND, (0.5, 2.0)
        )
    ]


def expected_after_idle(case: IdleCase) -> Expected:
    is_alone, is_repeatable = case.around == "one server", case.method != "POST"
    # What may not be resent rides on no connection that was idle for a second.
    is_ridden = is_repeatable or case.idle_for < 1.0
    match case.effect:
        case Kill():
            return Expected(error=ConnectError) if is_alone else Expected("b")
        case HalfOpen() if is_ridden:
            # Nobody can know; the first segment is answered with RST.
            if not is_repeatable:
                return Expected(error=ServerDiedError, verdict=Verdict.CLOSED)
            return Expected("a" if is_alone else "b", verdict=Verdict.CLOSED)
        case Blackhole() if is_ridden:
            step = AfterRequestBytes(0)
            return blackholed(Case(case.effect, step, case.method, case.around))
        case Blackhole():
            return unconnected(
                Case(case.effect, OnConnect(), case.method, case.around),
                ConnectTimeoutError,
                # Nobody says no, so the only server is asked three times over.
                3 * CONNECT_TIMEOUT if is_alone else CONNECT_TIMEOUT,
            )
        case _:
            return Expected("a")


@pytest.mark.parametrize("case", idle_cases(), ids=str)
async def test_an_effect_on_an_idle_connection(autojump_clock: MockClock, case: IdleCase) -> None:
    """The classic trap: the connection is dead, and the request is not to run twice for it."""
    row = Case(case.effect, AfterResponse(), case.method, case.around)
    async with world(Fault(case.effect, AfterResponse())) as w:
        assert (await w.ask("GET", target=row.target)).server == "a"
        await trio.sleep(case.idle_for)
        outcome = await row.ask(w)
        check(row, outcome, expected_after_idle(case))


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "POST with a key"])
@pytest.mark.parametrize("around", AROUND)
async def test_a_request_that_crosses_the_servers_fin(
    autojump_clock: MockClock, method: str, around: str
) -> None:
    row = Case(Fin(), AfterResponse(), method, around)
    async with world() as w:
        w.network.path(w.a.endpoint).delay = 0.1
        # b is the nearer one here, and is not to win the first race.
        w.network.refuse(w.b.endpoint)
        await w.ask("GET", target=row.target)
        w.network.heal(w.b.endpoint)
        w.network.reset(w.b.endpoint)
        [(_, server)] = w.network.connections
        server.close()
        await trio.sleep(0.05)
        outcome = await row.ask(w)
        if row.is_repeatable:
            assert outcome.server == ("a" if row.is_alone else "b")
            assert outcome.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]
        else:
            assert isinstance(outcome.error, ServerDiedError)
            assert outcome.error.may_have_been_processed
            assert w.runs(outcome.number) == []


# -- In the midst of a long upload ----------------------------------------------------------------

UPLOAD = bytes(range(256)) * 1200
HALFWAY = AfterRequestBytes(150_000)


@pytest.mark.parametrize("is_stream", [False, True], ids=["bytes", "a stream"])
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("method", ["PUT", "POST", "POST with a key"])
@pytest.mark.parametrize(
    "effect",
    [Blackhole(), Reset(), Fin(), Kill(), HalfOpen(), Stall(3.0), SlowDrip(20_000.0)],
    ids=describe,
)
async def test_an_effect_in_the_midst_of_a_long_upload(
    autojump_clock: MockClock, effect: Effect, method: str, around: str, is_stream: bool
) -> None:
    row = Case(effect, HALFWAY, method, around)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(UPLOAD), 10_000):
            yield UPLOAD[start : start + 10_000]

    async with world(Fault(effect, HALFWAY)) as w:
        outcome = await w.ask(
            method.split()[0],
            "/x",
            target=row.target,
            headers=KEY if method == "POST with a key" else {},
            content=pieces() if is_stream else UPLOAD,
        )
        wanted = expected(row)
        assert outcome.server == wanted.server
        if wanted.error is not None:
            assert isinstance(outcome.error, wanted.error)
        if not isinstance(effect, HalfOpen | SlowDrip):
            # Of a half-open connection the next segment tells, and there is always one here.
            assert wanted.after <= outcome.took + 1e-9 <= wanted.after + LOOK + 2 * NEAR
        for origin in w.origins:
            assert [request.content for request in origin.executed] in ([], [UPLOAD])


# -- A response that breaks off ---------------------------------------------------------------------


@pytest.mark.parametrize("is_streamed", [False, True], ids=["read whole", "streamed"])
@pytest.mark.parametrize("count", [0, 3, 10], ids="after {} bytes of 10".format)
@pytest.mark.parametrize("framing", Framing, ids=lambda framing: framing.value)
@pytest.mark.parametrize("effect", [Reset(), Fin(), Kill(), HalfOpen(), Blackhole()], ids=describe)
async def test_a_response_that_breaks_off_is_not_made_to_look_complete(
    autojump_clock: MockClock, effect: Effect, framing: Framing, count: int, is_streamed: bool
) -> None:
    is_end = isinstance(effect, Fin | Kill)
    is_complete = (
        # RFC 9112, section 6.3: nobody can tell such an end from that of the content; and of
        # counted content nothing is missing.
        (framing is Framing.UNTIL_CLOSE and is_end) or (framing is Framing.COUNTED and count == 10)
    )
    async with world(Fault(effect, AfterContentBytes(count))) as w:
        w.a.reply = Reply(content=b"0123456789", framing=framing)
        outcome = await w.ask("POST", target=ONE, whole=not is_streamed)
        if is_complete:
            assert outcome.error is None
            assert outcome.content == b"0123456789"[:count]
        else:
            assert isinstance(outcome.error, ResponseIncompleteError)
            assert outcome.content == (b"0123456789"[:count] if is_streamed else b"")
