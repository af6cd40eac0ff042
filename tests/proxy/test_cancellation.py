"""The vigil's cancel, and a client that leaves, at every await of a connection.

An instrument counts the steps of the tasks that serve a client (the connection's own, and uploads), and
acts at the k-th: k = 1, 2, 3, ... until the conversation is over before it comes to that. Afterwards
nothing is left (tests.proxy.house looks), the exchange was told once, and the next client is served.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.proxy.record import Outcome
from tests.proxy.house import A, House, house
from tests.proxy.playbook import Party, wire
from tests.sim.effects import AfterContentBytes, AfterRequest, Blackhole, Fault, HalfOpen, Reset
from tests.sim.origin import Framing, Reply, ranged

LONG = bytes(range(256)) * 1024
GET = wire("GET /x HTTP/1.1|Host: shop||")
PUT = wire("PUT /x HTTP/1.1|Host: shop|Content-Length: 262144||") + LONG
CHUNKED = wire("POST /x HTTP/1.1|Host: shop|Transfer-Encoding: chunked||") + b"".join(
    b"4000\r\n%b\r\n" % LONG[at : at + 16384] for at in range(0, len(LONG), 16384)
)
EXPECTING = wire("PUT /x HTTP/1.1|Host: shop|Content-Length: 5|Expect: 100-continue||")
UPGRADE = wire("GET /x HTTP/1.1|Host: shop|Connection: Upgrade|Upgrade: x||")

ENDS = (trio.BrokenResourceError, trio.ClosedResourceError)


class AtStep(trio.abc.Instrument):
    """Acts at the k-th step of the tasks that were started after this was made."""

    def __init__(self, h: House, k: int) -> None:
        self._nursery = h.nursery
        self._others = set(h.nursery.child_tasks)
        self._left = k
        self.act: Callable[[], None] = lambda: None

    @property
    def has_acted(self) -> bool:
        return self._left <= 0

    def _is_ours(self, task: trio.lowlevel.Task) -> bool:
        at: trio.lowlevel.Task | None = task
        while at is not None and at.parent_nursery is not self._nursery:
            at = at.parent_nursery.parent_task if at.parent_nursery is not None else None
        return at is not None and at not in self._others

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._is_ours(task):
            self._left -= 1
            if self._left == 0:
                self.act()


Scene = Callable[[House, Party], Awaitable[None]]


async def speak(client: Party, data: bytes) -> None:
    """Sends and reads until the connection ends or an answer seems whole."""

    async def send() -> None:
        with contextlib.suppress(*ENDS):
            await client.stream.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await hear(client)
        nursery.cancel_scope.cancel()


async def hear(client: Party) -> bytes:
    """Until nothing has come for a while."""
    data = b""
    while True:
        with trio.move_on_after(8.0):
            try:
                piece = await client.stream.receive_some()
            except ENDS:
                return data
            if not piece:
                return data
            data += piece
            continue
        return data


async def a_get(h: House, client: Party) -> None:
    await speak(client, GET)


async def two_pipelined(h: House, client: Party) -> None:
    h.a.reply = Reply(think=0.3)
    await speak(client, GET + GET)


async def a_long_upload(h: House, client: Party) -> None:
    await speak(client, PUT)


async def an_upload_in_chunks(h: House, client: Party) -> None:
    await speak(client, CHUNKED + b"0\r\n\r\n")


async def an_upload_that_stops(h: House, client: Party) -> None:
    await speak(client, CHUNKED)


async def an_upload_that_is_sent_again(h: House, client: Party) -> None:
    h.a.script(Fault(HalfOpen(), AfterRequest()))
    await speak(client, PUT)


async def an_upload_that_waits_for_the_word(h: House, client: Party) -> None:
    await speak(client, EXPECTING + b"hello")


async def a_long_answer(h: House, client: Party) -> None:
    h.a.reply = Reply(content=LONG * 2, framing=Framing.CHUNKED, interim=(103,))
    await speak(client, GET)


async def an_answer_that_nobody_reads(h: House, client: Party) -> None:
    h.a.reply = Reply(content=LONG * 2)
    client.stream.send_now(GET)
    await trio.sleep(10.0)


async def a_suspect(h: House, client: Party) -> None:
    h.a.script(Fault(Blackhole(), AfterRequest()))
    h.b.reply = Reply(think=0.4)
    await speak(client, GET)


async def an_answer_that_goes_on_elsewhere(h: House, client: Party) -> None:
    h.a.script(Fault(Reset(), AfterContentBytes(100_000)))
    h.a.reply = h.b.reply = ranged(LONG, b'"v1"')
    await speak(client, GET)


async def an_answer_that_breaks_off(h: House, client: Party) -> None:
    h.a.script(Fault(Reset(), AfterContentBytes(5)))
    await speak(client, GET)


async def an_error_of_ours(h: House, client: Party) -> None:
    h.network.refuse(h.a.endpoint)
    h.network.refuse(h.b.endpoint)
    await speak(client, GET)


async def a_refusal(h: House, client: Party) -> None:
    await speak(client, b"GET x HTTP/1.1\r\nHost: shop\r\n\r\n" + LONG)


async def a_head_in_pieces(h: House, client: Party) -> None:
    with contextlib.suppress(*ENDS):
        for at in range(0, len(GET), 7):
            client.stream.send_now(GET[at : at + 7])
            await trio.sleep(0.1)
    await hear(client)


async def a_half_closed_client(h: House, client: Party) -> None:
    h.a.reply = Reply(think=0.6)
    client.stream.send_now(GET)
    with contextlib.suppress(*ENDS):
        await client.stream.send_eof()
    await hear(client)


async def a_tunnel(h: House, client: Party) -> None:
    a = h.server(A)

    async def serve() -> None:
        stream = await a.accepted()
        with contextlib.suppress(*ENDS):
            await stream.receive_some()
            await stream.send_all(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nsoon"
            )
            while data := await stream.receive_some():
                await stream.send_all(data)
            await stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await speak(client, UPGRADE + b"ping")
        nursery.cancel_scope.cancel()


async def a_queue(h: House, client: Party) -> None:
    h.a.reply = Reply(think=0.5)
    h.reload(("main", Target(urls=["http://a.test/"], max_connections=1)))
    others = [h.client(f"other {n}") for n in range(2)]
    for other in others:
        other.stream.send_now(GET)
    await h.settle()
    await speak(client, GET)


SCENES: list[Scene] = [
    a_get,
    two_pipelined,
    a_long_upload,
    an_upload_in_chunks,
    an_upload_that_stops,
    an_upload_that_is_sent_again,
    an_upload_that_waits_for_the_word,
    a_long_answer,
    an_answer_that_nobody_reads,
    a_suspect,
    an_answer_that_goes_on_elsewhere,
    an_answer_that_breaks_off,
    an_error_of_ours,
    a_refusal,
    a_head_in_pieces,
    a_half_closed_client,
    a_tunnel,
    a_queue,
]

ACTS = ["the vigil ends it", "the client resets", "the client closes"]


def named(scene: Scene) -> str:
    return getattr(scene, "__name__", repr(scene)).replace("_", " ")


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("scene", SCENES, ids=named)
async def test_each_await(autojump_clock: MockClock, scene: Scene, act: str) -> None:
    for k in itertools.count(1):
        async with house() as h:
            instrument = AtStep(h, k)
            client = h.client()
            instrument.act = does(act, h, client)
            trio.lowlevel.add_instrument(instrument)
            try:
                await scene(h, client)
            finally:
                trio.lowlevel.remove_instrument(instrument)
            client.leave()
            await check_after(h)
        if not instrument.has_acted:
            break
    # Less would mean that the instrument did not see the conversation.
    assert k > 3


def does(act: str, h: House, client: Party) -> Callable[[], None]:
    def end() -> None:
        for inside in list(h.door.inside):
            inside.cancel()

    if act == ACTS[0]:
        return end
    return client.stream.reset if act == ACTS[1] else client.stream.close


async def check_after(h: House) -> None:
    """Everybody comes to rest; the next client is served."""
    await trio.sleep(3.0)
    for record in h.records:
        if record.outcome is Outcome.CLIENT_GONE:
            assert record.detail
        posts = [one for one in h.origins for r in one.executed if r.method == b"POST"]
        assert len(posts) <= 1
    h.reload(("main", Target(urls=["http://c.test/"])))
    answer = await h.ask(200, 0.0, target="/next")
    assert answer.content == b"c: GET /next \n"
