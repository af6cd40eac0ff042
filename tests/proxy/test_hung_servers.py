"""Health requests through the sidecar, at exact times: a process that hangs, and one that is at work.

Every server here lives as far as TCP can tell. Chance is a half, so that the first health request comes
half an interval after the target's first look, and each interval is as long as it says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from haclient.core.health_check import Opinion, Result
from haclient.core.spec import HealthRequests, Target
from tests.proxy.house import BOTH, A, B, House, house
from tests.proxy.playbook import play, wire
from tests.sim.effects import AfterContentBytes, AfterHeadBytes, Fault, SlowDrip, Stall
from tests.sim.origin import ReceivedRequest, Reply, ranged

FOR_EVER = 1e6

SETTINGS = HealthRequests(path="/health", interval=5.0, timeout=2.0)

CHECKED = Target(urls=["http://ab.test/"], health=SETTINGS)
"""a is nearer, and wins each race."""

SUSPECT_AT = 1.0 + 2.5 + 2 * 2.0
"""Seconds after the first request, of a server that hangs from the start: the look that finds the target in
use, half an interval, two health requests."""

Answer = Callable[[ReceivedRequest], Reply]


def hung(_: ReceivedRequest) -> Reply:
    """Its kernel acknowledges all, and nobody reads it."""
    return Reply(think=FOR_EVER)


def says(status: int) -> Answer:
    """Of its health; requests it answers."""
    return lambda request: Reply(status if request.target == b"/health" else 200)


def thinks(seconds: float) -> Answer:
    """Requests take so long, and health requests wait behind them."""
    return lambda request: Reply(think=FOR_EVER if request.target == b"/health" else seconds)


def ask_for_ever(h: House, method: str) -> Any:
    """A client whose answer nobody waits for yet."""
    client = h.client()
    client.stream.send_now(wire(f"{method} /x HTTP/1.1|Host: shop|Content-Length: 0||"))
    return client


def with_chance(h: House) -> House:
    h.engine.chance = lambda: 0.5
    return h


def asked_of_health(h: House) -> list[tuple[str, float]]:
    """Which origins got a health request, and when."""
    return sorted(
        (one.name, round(request.at, 3))
        for one in h.origins
        for request in one.executed
        if request.target == b"/health"
    )


async def test_a_get_with_a_hung_process_is_answered_elsewhere(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = hung
        # Half the way to b and back is 0.5 ms, and its connection is a new one.
        await h.ask(200, SUSPECT_AT + 0.002)
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 superseded, 10.0.0.2:80 answered]"]
        [hung_one, _] = h.records[0].attempts
        assert str(hung_one.evidence) == (
            "application silent: 2 health requests to /health unanswered for 4.0 s"
        )


async def test_the_next_requests_ask_others_first(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = hung
        await h.ask(200, SUSPECT_AT + 0.002)
        await h.ask(200, 0.001)  # on the connection that there is
        h.engine.shed_idle()
        await h.ask(200, 0.002, "POST")
        assert [line.split("[")[1] for line in h.told()[1:]] == ["10.0.0.2:80 answered]"] * 2
        # Nothing is held against its host.
        assert not h.engine.health.has_entries


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_what_is_not_safe_is_waited_for(autojump_clock: MockClock, method: str) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = thinks(30.0)
        await h.ask(200, 30.0, method)
        assert h.told() == [f"{method} /x 200 answered [10.0.0.1:80 answered]"]


async def test_the_first_one_is_not_abandoned_and_may_win(autojump_clock: MockClock) -> None:
    """Both are slow, and whoever answers first has it: a, which began before."""
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = h.b.reply = thinks(9.0)
        await h.ask(200, 9.0)
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered, 10.0.0.2:80 superseded]"]
        assert h.runs(b"GET").count("a") >= 1


async def test_silence_opens_no_window_and_ends_no_request(autojump_clock: MockClock) -> None:
    """Thirty seconds, with a window of four: nobody else is there."""
    target = Target(urls=["http://a.test/"], health=SETTINGS)
    async with house(target=target) as h:
        with_chance(h).a.reply = thinks(30.0)
        await h.ask(200, 30.0)
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]


async def test_the_second_one_dies_and_the_first_is_still_there(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = thinks(20.0)
        h.b.reply = hung

        async def kill_b() -> None:
            await trio.sleep(SUSPECT_AT + 1.0)
            h.network.kill(B)

        h.serve_beside(kill_b)
        await h.ask(200, 20.0)
        assert h.told()[0].startswith("GET /x 200 answered [10.0.0.1:80 answered, 10.0.0.2:80 ")


async def test_an_answer_clears_it(autojump_clock: MockClock) -> None:
    """At work on one request at a time; when it answers it is fit again at once."""
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = thinks(10.0)
        waiting = ask_for_ever(h, "POST")
        await trio.sleep(SUSPECT_AT + 0.1)
        live = h.gateway.targets["main"]
        assert live.unfit == {A: Opinion.SILENT}
        await play(waiting.hears_answer(200, "POST").at(10.0))
        assert live.unfit == {}


async def test_it_is_back_after_two_answers(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = hung
        await h.ask(200, SUSPECT_AT + 0.002)
        h.a.reply = Reply()
        live = h.gateway.targets["main"]
        # Silent ones begin 1 + 2.5, + 2, then + 5: answered at 10.5, and again 2 s later.
        await trio.sleep(10.5 + 1.9 - trio.current_time())
        assert live.unfit == {A: Opinion.SILENT}
        await trio.sleep(0.2)
        assert live.unfit == {}
        h.engine.shed_idle()
        await h.ask(200, 0.0)
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.1:80 answered]"


@pytest.mark.parametrize("status", [500, 503])
async def test_who_says_so_gets_no_new_requests(autojump_clock: MockClock, status: int) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        h.a.reply = says(status)
        await h.ask(200, 0.0)
        await trio.sleep(SUSPECT_AT)
        assert h.gateway.targets["main"].unfit == {A: Opinion.UNAVAILABLE}
        await h.ask(200, 0.002)
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.2:80 answered]"


async def test_a_wrong_path_speaks_against_nobody(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        h.a.reply = says(404)
        await h.ask(200, 0.0)
        await trio.sleep(30.0)
        live = h.gateway.targets["main"]
        assert live.unfit == {}
        assert live.checks is not None
        assert live.checks.counts[Result.REJECTED] > 4


async def test_outstanding_requests_of_who_says_503_are_waited_for(
    autojump_clock: MockClock,
) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        h.a.reply = lambda r: Reply(503) if r.target == b"/health" else Reply(think=20.0)
        await h.ask(200, 20.0)
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]


async def test_all_are_silent_and_asked_all_the_same(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        h.a.reply = h.b.reply = thinks(0.5)
        await h.ask(200, 0.5)
        await trio.sleep(20.0)
        live = h.gateway.targets["main"]
        assert live.unfit == {A: Opinion.SILENT, B: Opinion.SILENT}
        await h.ask(200, 0.5)


async def test_a_refused_health_request_holds_the_address_down(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        await h.ask(200, 0.0)
        h.network.refuse(A)
        await trio.sleep(5.0)
        assert h.engine.health.is_held_down(A, trio.current_time())
        await h.ask(200, 0.002)
        h.network.heal(A)
        await trio.sleep(6.0)
        # It was back with the first health request, though nobody else had tried.
        assert not h.engine.health.is_held_down(A, trio.current_time())


async def test_who_is_asked_and_when(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        await trio.sleep(20.0)
        assert asked_of_health(h) == []  # nobody has asked for the target
        await h.ask(200, 0.0)
        await trio.sleep(9.0)
        # The look at 21, half an interval; b gets its head 0.5 ms after the connect, which takes a millisecond.
        assert asked_of_health(h) == [("a", 23.5), ("a", 28.5), ("b", 23.502), ("b", 28.502)]
        [first, *_] = [r for r in h.a.executed if r.target == b"/health"]
        assert [name for name, _ in first.fields] == [
            b"Host",
            b"User-Agent",
            b"Accept",
            b"Connection",
        ]
        assert first.value(b"host") == b"ab.test"
        assert (first.method, first.value(b"connection")) == (b"GET", b"close")


async def test_nobody_is_asked_once_the_target_is_out_of_use(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        await h.ask(200, 0.0)
        await trio.sleep(90.0)  # 15 s until the connection is closed, and a minute
        count = len(asked_of_health(h))
        await trio.sleep(90.0)
        assert len(asked_of_health(h)) == count
        live = h.gateway.targets["main"]
        assert live.checks is not None
        assert live.checks.by_endpoint == {}


async def test_a_reload_follows_the_new_file(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h).a.reply = says(503)
        await h.ask(200, 0.0)
        await trio.sleep(SUSPECT_AT)
        before = h.gateway.targets["main"]
        h.reload(("main", CHECKED))
        assert h.gateway.targets["main"] is before
        other = Target(urls=CHECKED.urls, health=HealthRequests(path="/other", interval=1.0))
        h.reload(("main", other))
        live = h.gateway.targets["main"]
        assert (before.checks, before.unfit) == (None, {})
        assert live.checks is not None
        assert live.checks.counts[Result.UNAVAILABLE] == 2  # counted on
        await h.ask(200, 0.0)
        await trio.sleep(4.0)
        assert b"/other" in {r.target for r in h.a.executed}
        h.reload(("main", BOTH))
        count = sum(len(one.executed) for one in h.origins)
        await trio.sleep(30.0)
        assert sum(len(one.executed) for one in h.origins) == count
        assert h.gateway.targets["main"].checks is None


async def test_a_drain_ends_them(autojump_clock: MockClock) -> None:
    async with house(target=CHECKED) as h:
        with_chance(h)
        await h.ask(200, 0.0)
        await trio.sleep(4.0)
        await h.sidecar.drain()
        assert h.gateway.targets["main"].checks is None
        count = len(asked_of_health(h))
        await trio.sleep(30.0)
        assert len(asked_of_health(h)) == count


async def test_a_path_in_the_url_is_put_before(autojump_clock: MockClock) -> None:
    target = Target(urls=["http://a.test/shop"], health=SETTINGS)
    async with house(target=target) as h:
        with_chance(h)
        await h.ask(200, 0.0)
        await trio.sleep(4.0)
        assert [r.target for r in h.a.executed] == [b"/shop/x", b"/shop/health"]


async def test_a_process_that_hangs_in_mid_response(autojump_clock: MockClock) -> None:
    """The rest comes from another server, with a strong ETag; the first one is not abandoned before."""
    whole = ranged(b"0123456789", b'"v1"')
    async with house(Fault(Stall(FOR_EVER), AfterContentBytes(3)), target=CHECKED) as h:
        with_chance(h).b.reply = whole
        h.a.reply = lambda r: hung(r) if r.target == b"/health" else whole(r)
        answer = await h.ask(200, SUSPECT_AT + 0.002)
        assert answer.content == b"0123456789"
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 superseded, 10.0.0.2:80 answered]"]


async def test_a_process_that_hangs_while_a_health_request_is_on_its_way(
    autojump_clock: MockClock,
) -> None:
    """The last byte of the answer comes half a second after the first health request that nobody answered."""
    whole = ranged(b"x" * 120, b'"v1"')
    faults = (
        Fault(SlowDrip(20.0), AfterContentBytes(0)),
        Fault(Stall(FOR_EVER), AfterContentBytes(80)),
    )
    async with house(*faults, target=CHECKED) as h:
        with_chance(h).b.reply = whole
        h.a.reply = lambda r: hung(r) if r.target == b"/health" else whole(r)
        # Those that begin at 3.5, 5.5 and 10.5: nothing came while the last two were unanswered.
        answer = await h.ask(200, 12.5 + 0.002)
        assert answer.content == b"x" * 120
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 superseded, 10.0.0.2:80 answered]"]


async def test_an_answer_that_is_under_way_is_no_hung_process(autojump_clock: MockClock) -> None:
    """Byte by byte, for longer than it takes to suspect it; a new request would ask others first."""
    async with house(Fault(SlowDrip(20.0), AfterHeadBytes(0)), target=CHECKED) as h:
        with_chance(h).a.reply = lambda r: (
            hung(r) if r.target == b"/health" else Reply(content=b"x" * 200)
        )
        client = ask_for_ever(h, "GET")
        await play(client.hears_answer(200).at(14.95))  # at 20 bytes a second
        assert h.gateway.targets["main"].unfit == {A: Opinion.SILENT}
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]


STICKY = Target(urls=["http://ab.test/"], affinity="header:X-Client", health=SETTINGS)


async def one_of_as(h: House) -> int:
    """A client whose own server is a."""
    number = 0
    while not await goes_to_a(h, number):
        number += 1
    return number


async def test_a_client_with_a_server_of_its_own_moves(autojump_clock: MockClock) -> None:
    async with house(target=STICKY) as h:
        with_chance(h)
        number = await one_of_as(h)
        h.a.reply = lambda r: Reply(503) if r.target == b"/health" else Reply()
        await trio.sleep(15.0)
        await h.ask(200, 0.002, fields=f"X-Client: {number}|")
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.2:80 answered]"
        h.a.reply = Reply()
        await trio.sleep(15.0)
        await h.ask(200, 0.002, fields=f"X-Client: {number}|")
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.2:80 answered]"


async def test_silence_alone_moves_no_client(autojump_clock: MockClock) -> None:
    """Busy with one long request: its health requests wait, and so does whoever has a session there."""
    async with house(target=STICKY) as h:
        with_chance(h)
        number = await one_of_as(h)
        h.a.reply = lambda r: (
            hung(r) if r.target == b"/health" else Reply(think=20.0 if r.method == b"POST" else 0.0)
        )
        waiting = ask_for_ever(h, "POST")
        await trio.sleep_until(SUSPECT_AT + 0.1)
        live = h.gateway.targets["main"]
        assert live.unfit == {A: Opinion.SILENT}
        await goes_to_a(h, number)
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.1:80 answered]"
        assert live.unfit == {}  # it answered
        await play(waiting.hears_answer(200, "POST").at(20.0))


async def test_a_client_of_a_hung_process_has_its_second_try_and_stays(
    autojump_clock: MockClock,
) -> None:
    """Asked of its own server although that is silent already, and soon of another one as well."""
    async with house(target=STICKY) as h:
        with_chance(h)
        number = await one_of_as(h)
        h.a.reply = hung
        # The next two health requests whose time is up; b is a millisecond away, and at first not connected.
        for silent_at, there in ((SUSPECT_AT + 5.0, 0.002), (SUSPECT_AT + 10.0, 0.001)):
            await trio.sleep_until(silent_at - 4.9)
            await h.ask(200, 4.9 + there, fields=f"X-Client: {number}|")
            assert h.told()[-1] == (
                "GET /x 200 answered [10.0.0.1:80 superseded, 10.0.0.2:80 answered]"
            )
        h.a.reply = Reply()
        await trio.sleep(0.1)
        assert h.gateway.targets["main"].unfit == {A: Opinion.SILENT}
        await h.ask(200, 0.0, fields=f"X-Client: {number}|")
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.1:80 answered]"


async def test_who_is_silent_stands_in_last(autojump_clock: MockClock) -> None:
    """A client that has to move goes to a server that answers."""
    target = Target(
        urls=["http://ab.test/"],
        backups=["http://c.test/"],
        affinity="header:X-Client",
        health=SETTINGS,
    )
    async with house(target=target) as h:
        with_chance(h)
        number = await one_of_as(h)
        h.b.reply = hung
        await trio.sleep_until(SUSPECT_AT + 0.1)
        assert h.gateway.targets["main"].unfit == {B: Opinion.SILENT}
        h.network.kill(A)
        await h.ask(200, 0.0, fields=f"X-Client: {number}|")
        assert h.told()[-1] == "GET /x 200 answered [10.0.0.3:80 answered]"


async def goes_to_a(h: House, number: int) -> bool:
    client = h.client()
    await play(
        client.says(f"GET /x HTTP/1.1|Host: shop|X-Client: {number}||"), client.hears_answer(200)
    )
    client.leave()
    return h.told()[-1] == "GET /x 200 answered [10.0.0.1:80 answered]"


async def test_the_health_requests_of_another_target_are_its_own(
    autojump_clock: MockClock,
) -> None:
    """Both are served at one address; only one has a path that hangs."""
    other = Target(urls=["http://a.test/"], health=SETTINGS)
    async with house(target=BOTH, targets={"other": other}) as h:
        with_chance(h).a.reply = thinks(20.0)
        live = h.gateway.targets["other"]
        assert live.pool.reserve(live.key(other.urls[0].origin), [A]) == (A,)
        await h.ask(200, 20.0)
        assert live.checks is not None
        assert live.checks.counts[Result.SILENT] > 1
        live.pool.unreserve(live.key(other.urls[0].origin), A)
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]
