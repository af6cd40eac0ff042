"""Every await of the data path, cancelled once.

An instrument counts the steps of the tasks that carry an exchange, and cancels the caller's scope at the
k-th: k = 1, 2, 3, ... until the exchange is done before it comes to that. In one way the await is
interrupted; in the other it had just come back, and the next one is. Afterwards nothing is leased, probed
or outstanding, and the next request on the same client gets its own answer.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.types import Endpoint
from tests.engine.tls_origin import SECURE, TlsOrigin
from tests.engine.world import BACKED_UP, BOTH, LONG, ONE, A, B, C, World, world
from tests.sim.dns import Answer
from tests.sim.effects import (
    AfterContentBytes,
    AfterRequest,
    Blackhole,
    Fault,
    Fin,
    HalfOpen,
    Reset,
)
from tests.sim.origin import Framing, Reply, ranged

Exchange = Callable[[World], Awaitable[None]]


class CancelAtStep(trio.abc.Instrument):
    """Cancels `scope` at the k-th step of the tasks that carry an exchange.

    Those are the task that made this, whatever it starts, and the client's own but for the watch.
    """

    def __init__(self, w: World, scope: trio.CancelScope, k: int, *, interrupts: bool) -> None:
        self._root = trio.lowlevel.current_task()
        self._others = w.engine.nursery
        self._watch = set(self._others.child_tasks)
        self._scope = scope
        self._interrupts = interrupts
        self._left = k

    def _is_ours(self, task: trio.lowlevel.Task) -> bool:
        at: trio.lowlevel.Task | None = task
        while at is not None:
            if at is self._root:
                return True
            nursery = at.parent_nursery
            if nursery is self._others:
                return at not in self._watch
            at = nursery.parent_task if nursery is not None else None
        return False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """The await has come back."""
        if not self._interrupts and self._is_ours(task):
            self._step()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """The task waits."""
        if self._interrupts and self._is_ours(task):
            self._step()

    def _step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


async def plainly(w: World) -> None:
    pass


async def far_away(w: World) -> None:
    """The two addresses connect, both later than at once."""
    w.network.path(A).delay = w.network.path(B).delay = 0.05


async def get_whole(w: World) -> None:
    await w.request("GET", "http://ab.test/")


async def get_streamed(w: World) -> None:
    await w.request("GET", "http://ab.test/", whole=False)


async def get_pooled(w: World) -> None:
    w.a.reply = Reply(content=LONG, framing=Framing.CHUNKED)
    await w.request("GET", "http://ab.test/", whole=False)


async def warm(w: World) -> None:
    await w.request("GET", "http://ab.test/")


async def post_long(w: World) -> None:
    await w.request("POST", "http://ab.test/", content=LONG)


async def post_stream(w: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(LONG), 65536):
            await trio.sleep(0.1)
            yield LONG[start : start + 65536]

    await w.request("POST", "http://ab.test/", content=pieces())


async def put_expecting(w: World) -> None:
    await w.request("PUT", "http://ab.test/", content=LONG, headers={"Expect": "100-continue"})


async def put_again(w: World) -> None:
    w.a.script(Fault(HalfOpen(), AfterRequest()))
    await w.request("PUT", "http://ab.test/", content=LONG)


async def suspect_and_second(w: World) -> None:
    w.a.script(Fault(Blackhole(5.0), AfterRequest()))
    w.b.reply = Reply(think=0.5)
    await w.request("GET", target=BOTH)


async def suspect_in_mid_content(w: World) -> None:
    w.a.script(Fault(Blackhole(1.3), AfterContentBytes(2)))
    w.b.reply = Reply(think=5.0)
    await w.request("GET", target=BOTH)


async def not_good_enough(w: World) -> None:
    w.a.reply = Reply(503)
    await w.request("GET", target=TWO_TIERS, whole=False)


async def by_two_names(w: World) -> None:
    w.resolver.script("a.test", Answer("10.0.0.1", delay=0.1))
    w.resolver.script("b.test", Answer("10.0.0.2", delay=0.2))
    await w.request("GET", target=Target(urls=["http://a.test/", "http://b.test/"]))


async def to_the_backup(w: World) -> None:
    w.network.blackhole(A, 5.0)
    await w.request("POST", target=BACKED_UP)


async def queued(w: World) -> None:
    """Somebody else has the only connection; it is cancelled with us."""
    w.a.reply = Reply(think=0.5)
    target = Target(urls=ONE.urls, max_connections=1)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: w.request("GET", target=target))


async def queued_for_two(w: World) -> None:
    """As `queued`, and both servers have somebody."""
    w.a.reply = w.b.reply = Reply(think=0.5)
    target = Target(urls=["http://a.test/", "http://b.test/"], max_connections=1)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(lambda: w.request("GET", target=target))


async def with_a_deadline(w: World) -> None:
    w.a.script(Fault(Reset(), AfterRequest()))
    await w.request("GET", "http://ab.test/", timeout=10.0)


async def going_on_elsewhere(w: World) -> None:
    """Two servers break off; the second one's successor is suspect while another is asked."""
    w.a.reply = w.b.reply = w.c.reply = ranged(LONG, b'"1"')
    w.network.path(C).delay = 0.01
    w.a.script(Fault(Fin(), AfterContentBytes(1000)))
    w.b.script(Fault(Blackhole(5.0), AfterRequest()))
    await w.request("GET", target=Target(urls=["http://ab.test/", "http://c.test/"]), whole=False)


async def suspect_whose_rest_another_has(w: World) -> None:
    w.a.reply, w.b.reply = ranged(LONG, b'"1"'), ranged(LONG, b'"1"')
    w.a.script(Fault(Blackhole(5.0), AfterContentBytes(1000)))
    await w.request("GET", target=BOTH, whole=False)


async def suspect_that_comes_back_in_mid_content(w: World) -> None:
    w.a.reply, w.b.reply = ranged(LONG, b'"1"'), Reply(think=5.0)
    w.a.script(Fault(Blackhole(1.3), AfterContentBytes(1000)))
    await w.request("GET", target=BOTH, whole=False)


async def refused_the_rest(w: World) -> None:
    w.a.reply, w.b.reply = ranged(LONG, b'"1"'), ranged(LONG, b'"2"')
    w.a.script(Fault(Fin(), AfterContentBytes(1000)))
    await w.request("GET", target=BOTH, whole=False)


TWO_TIERS = Target(urls=["http://a.test/"], backups=["http://b.test/"])

SCENES: dict[str, tuple[Exchange, Exchange]] = {
    "a GET, read whole": (plainly, get_whole),
    "a GET, streamed": (plainly, get_streamed),
    "a GET on a pooled connection, in many pieces": (warm, get_pooled),
    "a POST with long content": (plainly, post_long),
    "a POST whose content comes slowly": (warm, post_stream),
    "a PUT that waits for the word to go on": (plainly, put_expecting),
    "a PUT that is sent again": (plainly, put_again),
    "a race": (far_away, get_whole),
    "names of two URLs": (plainly, by_two_names),
    "a second try beside a suspect": (warm, suspect_and_second),
    "a suspect that comes back in mid-content": (plainly, suspect_in_mid_content),
    "an answer that is held": (plainly, not_good_enough),
    "a failover to the backup": (plainly, to_the_backup),
    "a queue for the only connection": (plainly, queued),
    "a queue for either of two": (plainly, queued_for_two),
    "a deadline and a second attempt": (plainly, with_a_deadline),
    "an answer that goes on elsewhere": (plainly, going_on_elsewhere),
    "a suspect whose rest another one has": (plainly, suspect_whose_rest_another_has),
    "a suspect that goes on itself": (plainly, suspect_that_comes_back_in_mid_content),
    "an answer of whose rest there is another version": (plainly, refused_the_rest),
}


@pytest.mark.parametrize("interrupts", [True, False], ids=["interrupted", "just come back"])
@pytest.mark.parametrize("scene", SCENES)
async def test_each_await(autojump_clock: MockClock, scene: str, interrupts: bool) -> None:
    prepare, exchange = SCENES[scene]
    for k in itertools.count(1):
        async with world() as w:
            await prepare(w)
            executed = len(w.a.executed) + len(w.b.executed)
            was_cancelled = await cancelled_at(w, k, exchange, interrupts=interrupts)
            await w.check_clean()
            if "POST" in scene:
                assert len(w.a.executed) + len(w.b.executed) - executed <= 1
            await the_next_request_is_served(w)
        if not was_cancelled:
            break
    # Less would mean that the instrument did not see the exchange.
    assert k > 4


async def cancelled_at(w: World, k: int, exchange: Exchange, *, interrupts: bool) -> bool:
    """Returns whether the exchange was cancelled before it was over."""
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(w, scope, k, interrupts=interrupts)
        trio.lowlevel.add_instrument(instrument)
        try:
            await exchange(w)
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


async def the_next_request_is_served(w: World) -> None:
    """Slowness is over, and what was done before must not show; a fault that is left may."""
    await trio.sleep(6.0)
    w.a.reply = w.b.reply = w.c.reply = Reply()
    for _ in range(2):
        outcome = await w.request("GET", "http://ab.test/next")
        assert outcome.error is None
        assert outcome.content == f"{outcome.server}: GET /next \n".encode()


@pytest.mark.parametrize("interrupts", [True, False], ids=["interrupted", "just come back"])
@pytest.mark.parametrize("is_pooled", [False, True], ids=["with the handshake", "pooled"])
async def test_each_await_of_an_https_exchange(
    autojump_clock: MockClock, secure: TlsOrigin, is_pooled: bool, interrupts: bool
) -> None:
    async def exchange(w: World) -> None:
        response = await w.client.put("/x", target=secure.target, content=LONG)
        assert await response.read() == b"PUT /x " + LONG

    for k in itertools.count(1):
        async with world() as w:
            w.listen(SECURE, secure.script)
            if is_pooled:
                await w.client.get("/warm", target=secure.target)
            was_cancelled = await cancelled_at(w, k, exchange, interrupts=interrupts)
            await w.check_clean()
            for _ in range(2):
                response = await w.client.get("/next", target=secure.target)
                assert await response.read() == b"GET /next "
            assert response.attempts[0].reused
        if not was_cancelled:
            break
    assert k > 10


async def test_the_clients_end_in_the_midst_of_everything(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The scope around the whole client, and all that it has going on, at several instants."""
    for instant in (0.0, 0.05, 0.15, 0.7, 1.2, 2.6):
        began_at = trio.current_time()
        with trio.move_on_after(instant):
            async with world() as w, trio.open_nursery() as nursery:
                w.resolver.script("slow.test", Answer("10.0.0.3", delay=0.1))
                w.network.blackhole(Endpoint("10.0.0.3", 80))
                w.a.reply = Reply(think=1.0)
                w.a.script(Fault(Blackhole(), AfterRequest(), skip=1))
                for exchange in (get_whole, get_streamed, post_long, post_stream, put_expecting):
                    nursery.start_soon(exchange, w)
                nursery.start_soon(lambda: w.request("GET", "http://slow.test/"))
                await trio.sleep_forever()
        assert trio.current_time() == pytest.approx(began_at + instant)
        assert w.network.open_streams() == ()
