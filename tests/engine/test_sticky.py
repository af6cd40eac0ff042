"""A client's requests go to its own server, move on a verdict alone, and stay where they moved.

Through the sidecar on the simulated network; b and c are farther away than a, so that a wins every race.
"""

from __future__ import annotations

import itertools
import random

import pytest
import trio
from trio.testing import MockClock

from haclient.core.affinity import in_order_of_weight, key_of
from haclient.core.spec import Target
from haclient.types import Endpoint, Order
from tests.proxy.answers import HeardAnswer
from tests.proxy.house import A, B, C, House, house
from tests.sim.effects import (
    AfterRequest,
    AfterRequestBytes,
    Blackhole,
    BlackholeConnect,
    Fault,
    Kill,
    OnConnect,
    Reset,
)
from tests.sim.script import ReceivedRequest, Reply

URLS = ["http://a.test/", "http://b.test/", "http://c.test/"]
THREE = Target(urls=URLS, affinity="header:X-Client")
BACKED_UP = Target(urls=URLS[:2], backups=URLS[2:], affinity="header:X-Client")
NAMES = {A: "a", B: "b", C: "c"}


def order_of(who: str, target: Target = THREE) -> list[Endpoint]:
    key = key_of(target.affinity, ((b"X-Client", who.encode()),), "")
    assert key is not None
    return in_order_of_weight(key, [A, B] if target.backups else [A, B, C])


def clients_of(*first: Endpoint, target: Target = THREE) -> list[str]:
    """Two whose order begins so."""
    numbered = (f"client{n}" for n in itertools.count())
    fit = (who for who in numbered if order_of(who, target)[: len(first)] == [*first])
    return list(itertools.islice(fit, 2))


async def answer_to(
    h: House,
    fields: str = "",
    method: str = "GET",
    status: int = 200,
    address: Endpoint | None = None,
) -> HeardAnswer:
    """What a client gets that has just connected, whenever that is."""
    client = h.client(address=address)
    length = "Content-Length: 0|" if method == "POST" else ""
    await client.says(f"{method} /x HTTP/1.1|Host: shop|{length}{fields}|").run()
    with trio.fail_after(30):
        await client.hears_answer(status, method).run()
    client.leave()
    return client.got


async def server_of(
    h: House, who: str, method: str = "GET", status: int = 200, fields: str = ""
) -> str:
    """Who answers this client now."""
    return (await answer_to(h, f"X-Client: {who}|{fields}", method, status)).server


# All is well


async def test_each_has_its_own_server_whoever_is_quicker(autojump_clock: MockClock) -> None:
    async with house(target=THREE) as h:
        for who in [f"somebody{n}" for n in range(12)] * 2:
            assert await server_of(h, who) == NAMES[order_of(who)[0]]


async def test_its_own_server_is_asked_on_the_idle_connection(autojump_clock: MockClock) -> None:
    async with house(target=THREE) as h:
        for first in (A, B, C):
            [who, other] = clients_of(first)
            for each in (who, other, who):
                assert await server_of(h, each) == NAMES[first]
        assert len(h.network.connections) == 3


async def test_a_request_that_bears_nothing_goes_by_the_order(autojump_clock: MockClock) -> None:
    async with house(target=THREE) as h:
        h.network.path(C.address).delay = 0.0005
        assert (await answer_to(h)).server == "a"


async def test_a_full_server_is_waited_for(autojump_clock: MockClock) -> None:
    target = Target(urls=URLS, affinity="header:X-Client", max_connections=1)
    async with house(target=target) as h:
        h.b.reply = Reply(think=1.0)
        seen: list[str] = []

        async def ask(who: str) -> None:
            seen.append(await server_of(h, who))

        async with trio.open_nursery() as nursery:
            for who in clients_of(B):
                nursery.start_soon(ask, who)
        assert seen == ["b", "b"]


# Its server dies


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kill(), OnConnect()),
        Fault(Kill(), AfterRequest()),
        Fault(Reset(), AfterRequest()),
        Fault(BlackholeConnect(), OnConnect(), times=None),
        Fault(Blackhole(), AfterRequest()),
        Fault(Blackhole(), AfterRequestBytes(20)),
    ],
    ids=str,
)
async def test_it_moves_within_the_window_and_stays(
    autojump_clock: MockClock, fault: Fault
) -> None:
    async with house(fault, target=THREE) as h:
        [who, _] = clients_of(A, C)
        began_at = trio.current_time()
        assert await server_of(h, who) == "c"
        assert trio.current_time() - began_at < 2.0
        h.a.forget_faults()
        h.network.heal(A)
        await trio.sleep(61)
        for _ in range(5):
            assert await server_of(h, who) == "c"
            await trio.sleep(20)


async def test_it_moves_on_when_the_next_one_dies(autojump_clock: MockClock) -> None:
    async with house(target=THREE) as h:
        [who, _] = clients_of(A, C)
        h.network.kill(A)
        assert await server_of(h, who) == "c"
        h.network.kill(C)
        assert await server_of(h, who) == "b"
        h.network.heal(A)
        h.network.heal(C)
        await trio.sleep(61)
        assert await server_of(h, who) == "b"


async def test_nobody_else_moves(autojump_clock: MockClock) -> None:
    async with house(target=THREE) as h:
        everybody = [f"somebody{n}" for n in range(12)]
        h.network.kill(A)
        for who in everybody * 2:
            [first, second, _] = order_of(who)
            assert await server_of(h, who) == NAMES[second if first == A else first]


async def test_who_has_not_moved_is_its_own_servers_a_second_after_its_return(
    autojump_clock: MockClock,
) -> None:
    """Its clients find it held down, and it is tried out for them in the background."""
    async with house(target=THREE) as h:
        names = (who for n in itertools.count() if order_of(who := f"new{n}")[0] == A)
        h.network.refuse(A)
        for _ in range(10):
            assert await server_of(h, next(names)) != "a"
            await trio.sleep(0.1)
        h.network.heal(A)
        for _ in range(12):
            server = await server_of(h, next(names))
            await trio.sleep(0.1)
        assert server == "a"


async def test_a_post_is_not_resent_and_the_next_request_moves(autojump_clock: MockClock) -> None:
    async with house(Fault(Kill(), AfterRequest()), target=THREE) as h:
        [who, _] = clients_of(A, C)
        assert await server_of(h, who, "POST", status=502) == ""
        assert await server_of(h, who, "POST") == "c"
        h.network.heal(A)
        await trio.sleep(61)
        assert await server_of(h, who) == "c"


# What is no verdict


async def test_a_connection_closed_for_its_age_moves_nobody(autojump_clock: MockClock) -> None:
    async with house(Fault(Reset(), AfterRequestBytes(1), skip=1), target=THREE) as h:
        [who, _] = clients_of(A)
        assert [await server_of(h, who) for _ in range(3)] == ["a", "a", "a"]
        assert [one.verdict.value for one in h.records[1].attempts] == ["closed", "answered"]
        assert len(h.network.connections) == 2


async def test_who_belongs_to_nobody_is_not_brought_back_to_where_one_was_closed(
    autojump_clock: MockClock,
) -> None:
    """There may be more of the same age, and one is tried after the other; another server has none."""
    async with house(target=THREE) as h:
        h.network.path(B.address).delay, h.network.path(C.address).delay = 0.001, 0.002
        h.a.reply = Reply(think=1.0)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(answer_to, h)
        h.a.reply = Reply()
        h.a.script(Fault(Reset(), AfterRequestBytes(0), times=3))
        assert (await answer_to(h)).server == "b"
        await h.settle()
        told = sorted([one.verdict.value for one in record.attempts] for record in h.records)
        assert told == [*[["answered"]] * 4, ["closed", "answered"]]


async def test_an_answer_that_another_server_gives_better_moves_nobody(
    autojump_clock: MockClock,
) -> None:
    async with house(target=THREE) as h:
        [who, _] = clients_of(A, C)
        h.a.reply = Reply(503)
        assert await server_of(h, who) == "c"
        h.a.reply = Reply()
        assert await server_of(h, who) == "a"


async def test_a_suspect_server_keeps_its_clients(autojump_clock: MockClock) -> None:
    async with house(target=THREE) as h:
        [who, other] = clients_of(A)
        assert await server_of(h, who) == "a"
        h.engine.health.report_suspect(A, trio.current_time(), 0)
        assert [await server_of(h, each) for each in (who, other)] == ["a", "a"]


async def test_a_server_cut_off_for_a_moment_keeps_its_clients(autojump_clock: MockClock) -> None:
    """A POST is not asked of anybody beside it, so no verdict falls."""
    async with house(Fault(Blackhole(0.8), AfterRequestBytes(20)), target=THREE) as h:
        [who, _] = clients_of(A)
        assert [await server_of(h, who, "POST") for _ in range(2)] == ["a", "a"]


# Backups, and when everything is held down


async def test_when_the_first_tier_is_down_it_stays_at_the_backup(
    autojump_clock: MockClock,
) -> None:
    async with house(target=BACKED_UP) as h:
        [who, other] = clients_of(A, target=BACKED_UP)
        h.network.kill(A)
        h.network.kill(B)
        assert [await server_of(h, who) for _ in range(2)] == ["c", "c"]
        h.network.heal(A)
        h.network.heal(B)
        await trio.sleep(61)
        assert await server_of(h, who) == "c"
        assert await server_of(h, other) == "a"
        h.network.kill(C)
        assert await server_of(h, who) == "a"


async def test_requests_that_bear_nothing_go_back_to_the_first_tier(
    autojump_clock: MockClock,
) -> None:
    async with house(target=BACKED_UP) as h:
        h.network.kill(A)
        h.network.kill(B)
        assert (await answer_to(h)).server == "c"
        h.network.heal(A)
        seen = []
        for _ in range(30):
            seen.append((await answer_to(h)).server)
            await trio.sleep(0.1)
        assert seen.index("a") <= 20
        assert seen[-1] == "a"


async def test_when_everything_is_held_down_everything_is_tried(autojump_clock: MockClock) -> None:
    async with house(target=BACKED_UP) as h:
        [who, _] = clients_of(A, target=BACKED_UP)
        for endpoint in (A, B, C):
            h.network.kill(endpoint)
        assert await server_of(h, who, status=502) == ""
        h.network.heal(B)
        assert await server_of(h, who) == "b"


async def test_a_listed_order_is_for_those_who_bear_nothing(autojump_clock: MockClock) -> None:
    target = Target(urls=URLS, affinity="header:X-Client", order=Order.LISTED)
    async with house(target=target) as h:
        [who, _] = clients_of(C)
        for _ in range(3):
            assert await server_of(h, who) == "c"
            await trio.sleep(1.1)
        # Nobody tried to get it away from there.
        assert len(h.network.connections) == 1


async def test_a_name_that_gives_nothing_is_passed_over(autojump_clock: MockClock) -> None:
    target = Target(urls=[*URLS[:2], "http://nowhere.test/"], affinity="header:X-Client")
    async with house(target=target) as h:
        for who in [f"somebody{n}" for n in range(6)] * 2:
            first = next(one for one in order_of(who) if one != C)
            assert await server_of(h, who) == NAMES[first]


# Sessions


def begins_sessions(name: str) -> object:
    numbers = itertools.count()

    def reply(request: ReceivedRequest) -> Reply:
        if b"sid=" in (request.value(b"cookie") or b""):
            return Reply()
        return Reply(
            fields=((b"Set-Cookie", b"sid=%s%d; Path=/" % (name.encode(), next(numbers))),)
        )

    return reply


async def test_a_session_is_his_who_began_it(autojump_clock: MockClock) -> None:
    async with house(target=Target(urls=URLS, affinity="cookie:sid", order=Order.SHUFFLED)) as h:
        for origin in h.origins:
            origin.reply = begins_sessions(origin.name)  # type: ignore[assignment]
        h.engine.chance = random.Random(7).random
        sessions: dict[str, str] = {}
        for _ in range(12):
            answer = await answer_to(h)
            sessions[answer.value("Set-Cookie").partition(";")[0]] = answer.server
        assert set(sessions.values()) == {"a", "b", "c"}
        for cookie, server in sessions.items():
            assert await server_of(h, "anybody", fields=f"Cookie: x=y; {cookie}|") == server


async def test_a_client_is_known_by_its_address(autojump_clock: MockClock) -> None:
    target = Target(urls=URLS, affinity="client")
    async with house(target=target) as h:
        for last in range(1, 9):
            address = f"192.0.2.{last}"
            key = key_of(target.affinity, (), address)
            assert key is not None
            for port in (50001, 50002):
                answer = await answer_to(h, address=Endpoint(address, port))
                assert answer.server == NAMES[in_order_of_weight(key, [A, B, C])[0]]


@pytest.mark.parametrize(
    ("affinity", "server"), [("header:X-Client", "c"), ("header:X-Other", "a")]
)
async def test_new_settings_move_nobody_but_another_affinity_does(
    autojump_clock: MockClock, affinity: str, server: str
) -> None:
    async with house(target=THREE) as h:
        [who, _] = clients_of(A, C)
        h.network.kill(A)
        assert await server_of(h, who) == "c"
        h.network.heal(A)
        await trio.sleep(61)
        h.reload(("main", Target(urls=URLS, affinity=affinity, max_attempts=2)))
        assert await server_of(h, who, fields=f"X-Other: {who}|") == server
