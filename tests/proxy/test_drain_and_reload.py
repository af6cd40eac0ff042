"""Drain and reload, as connections see them: each ends behind the request that it is at."""

from __future__ import annotations

from trio.testing import MockClock

from haclient.core.config import Route
from haclient.core.spec import Target
from haclient.proxy.gateway import IDLE_GRACE
from tests.proxy.house import IDS, ONE, A, House, house
from tests.proxy.playbook import play
from tests.sim.origin import Reply

GET = f"GET /x HTTP/1.1|Host: shop|{IDS}|"
OK = "HTTP/1.1 200 OK|Content-Length: 2||hi"
LAST = "HTTP/1.1 200 OK|Content-Length: 2|Connection: close||hi"
ELSEWHERE = Target(urls=["http://b.test/"])


def drain(h: House) -> None:
    """As a sidecar does with each of its doors."""
    h.door.is_draining = True


# --- drain ----------------------------------------------------------------------------------------


async def test_idle_connections_end_soon(autojump_clock: MockClock) -> None:
    async with house() as h:
        used, fresh, a = h.client("used"), h.client("fresh"), h.server(A)
        await play(
            used.says(GET),
            a.accepts(),
            a.says(OK),
            used.hears(OK),
            used.does("the drain begins", lambda: drain(h)).at(10.1),
            # From the next look on, half a second is left.
            used.hears_end().at(10.25 + IDLE_GRACE),
            fresh.hears_end().at(10.25 + IDLE_GRACE),
        )


async def test_a_request_that_is_on_its_way_is_answered(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.does("the drain begins", lambda: drain(h)).at(10.1),
            client.says(GET).at(10.4),
            a.accepts(),
            a.says(OK).at(15.0),
            client.hears(LAST),
            client.hears_end(),
        )
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]


async def test_a_head_that_has_begun_is_waited_for(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET[:9]).at(9.0),
            client.does("the drain begins", lambda: drain(h)).at(10.1),
            client.says(GET[9:]).at(15.0),
            a.accepts(),
            a.says(OK),
            client.hears(LAST),
            client.hears_end(),
        )


async def test_what_is_outstanding_is_answered_and_is_the_last(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET + GET),
            a.accepts(),
            client.does("the drain begins", lambda: drain(h)).at(10.1),
            a.says(OK).at(35.0),
            client.hears(LAST),
            client.hears_end(),
        )
        assert len(h.records) == 1  # the pipelined one was promised nothing


async def test_an_answer_that_has_begun_comes_to_its_end(autojump_clock: MockClock) -> None:
    """It could not say "close" any more; the connection ends soon after it."""
    head = "HTTP/1.1 200 OK|Content-Length: 6||"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            a.says(head + "abc"),
            client.hears(head + "abc"),
            client.does("the drain begins", lambda: drain(h)).at(10.1),
            a.says("def").at(20.1),
            client.hears("def"),
            client.hears_end().at(20.75),
        )
        assert h.records[0].outcome.value == "answered"


async def test_an_error_of_ours_is_the_last_too(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            client.does("the drain begins", lambda: drain(h)).at(1.1),
            a.resets().at(2.0),
            a.does("refuses", lambda: h.network.refuse(A)),
            client.hears_answer(502),
            client.hears_end(),
        )
        assert client.got.is_last


async def test_a_tunnel_lasts_until_it_is_cut(autojump_clock: MockClock) -> None:
    switched = "HTTP/1.1 101 Switching Protocols|Upgrade: x|Connection: Upgrade||"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET.replace("Host", "Upgrade: x|Connection: Upgrade|Host")),
            a.accepts(),
            a.says(switched),
            client.hears(switched),
            client.does("the drain begins", lambda: drain(h)).at(10.1),
            client.says("ping").at(20.0),
            a.hears("ping"),
            a.says("pong"),
            client.hears("pong"),
            client.does("the drain is over", lambda: cut(h)).at(40.0),
            client.hears_reset(),
            a.hears_reset(),
        )
        assert h.records[0].outcome.value == "cut"


def cut(h: House) -> None:
    """As a sidecar does at the end of drain_timeout."""
    for inside in list(h.door.inside):
        inside.cancel()


async def test_what_is_cut(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            client.does("the drain is over", lambda: cut(h)).at(30.0),
            client.hears_end(),
            a.hears_end(),
        )
        assert h.told() == ["GET /x 0 cut [10.0.0.1:80 cancelled]"]
        assert h.records[0].detail == "haclient was told to end"


# --- reload ---------------------------------------------------------------------------------------


async def test_routes_change_between_two_requests(autojump_clock: MockClock) -> None:
    async with house(targets={"other": ELSEWHERE}) as h:
        client = h.client()
        await play(client.says(GET), client.hears_answer(200))
        assert client.got.server == "a"
        h.reload(routes=(Route(target="other", path="/x"),))
        await play(client.says(GET), client.hears_answer(200).at(0.002))
        assert client.got.server == "b"
        h.reload(target=None, routes=(Route(target="other", path="/y"),))
        await play(client.says(GET), client.hears_answer(404))
        assert client.got.proxy_status.startswith("haclient; error=destination_not_found;")
        assert client.got.problem["attempts"] == []
        h.reload()
        await play(client.says(GET), client.hears_answer(200))
        assert client.got.server == "a"
        assert [record.target for record in h.records] == ["main", "other", "", "main"]


async def test_a_target_is_replaced_while_a_request_is_outstanding(
    autojump_clock: MockClock,
) -> None:
    async with house() as h:
        h.a.reply = Reply(think=10.0)
        first, second = h.client("first"), h.client("second")
        await play(
            first.says(GET),
            first.does("the reload", lambda: h.reload(("main", ELSEWHERE))).at(1.0),
            second.says(GET),
            second.hears_answer(200).at(1.002),
            first.hears_answer(200).at(10.0),
            first.says(GET),
            first.hears_answer(200).at(10.001),
        )
        assert (first.got.server, second.got.server) == ("b", "b")
        assert [record.attempts[0].origin.host for record in h.records] == [
            "b.test",
            "ab.test",
            "b.test",
        ]


async def test_a_target_that_is_taken_away(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says(GET), client.hears_answer(200))
        h.reload(("another", ELSEWHERE))
        await play(client.says(GET), client.hears_answer(404))


async def test_a_target_that_stays_keeps_what_it_knows(autojump_clock: MockClock) -> None:
    async with house() as h:
        live = h.gateway.targets["main"]
        h.reload(("main", h.sidecar.config.targets["main"]), ("another", ELSEWHERE))
        assert h.gateway.targets["main"] is live
        h.reload(("main", ELSEWHERE))
        assert h.gateway.targets["main"] is not live


async def test_new_limits_are_in_force_for_the_next_request(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        put = "PUT /x HTTP/1.1|Host: shop|Content-Length: 5||hello"
        await play(client.says(put), client.hears_answer(200))
        h.reload(max_content=3)
        await play(client.says(put), client.hears_answer(413), client.hears_end())
