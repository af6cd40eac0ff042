"""CONNECT, at the exact instant: nothing before 2xx, bytes both ways, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Mode
from haclient.core.spec import HealthRequests, Target
from tests.proxy.house import A, B, House, house
from tests.proxy.playbook import Party, play
from tests.sim.dns import Answer

ASKED = "CONNECT a.test:80 HTTP/1.1|Host: a.test:80||"
ESTABLISHED = "HTTP/1.1 200 Connection established||"
TUNNELLED = "CONNECT a.test:80 200 tunnelled [10.0.0.1:80 answered]"

FORWARD: dict[str, Any] = {
    "mode": Mode.FORWARD,
    "allow": AllowList((parse_rule("*.test:80"),)),
}


async def established(h: House) -> tuple[Party, Party]:
    """The two ends of a tunnel."""
    client, a = h.client(), h.server(A)
    await play(client.says(ASKED), client.hears(ESTABLISHED))
    await a.accepted()
    return client, a


async def test_bytes_go_both_ways(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(
            client.says(b"\x16\x03hello"),
            a.hears(b"\x16\x03hello"),
            a.says(b"\x16\x03hi").at(3.0),
            client.hears(b"\x16\x03hi"),
            client.closes(),
            a.hears_end(),
            a.closes(),
        )
        await h.settle()
        assert h.told() == [TUNNELLED]
        [record] = h.records
        assert record.detail == "7 bytes up, 4 down"
        assert (record.request_bytes, record.response_bytes) == (7, 4)
        assert (record.target, record.host) == ("shop", "a.test:80")


@pytest.mark.parametrize("head", [ASKED, "CONNECT a.test:80 HTTP/1.0||"])
async def test_what_came_along_waits_for_the_tunnel(autojump_clock: MockClock, head: str) -> None:
    async with house(**FORWARD) as h:
        h.resolver.script("a.test", Answer("10.0.0.1", delay=0.5))
        client, a = h.client(), h.server(A)
        await play(
            client.says(head + "early"),
            a.hears_nothing().at(0.4),
            client.hears(ESTABLISHED).at(0.5),
            a.hears("early"),
        )


async def test_what_came_along_is_no_request_where_there_is_no_tunnel(
    autojump_clock: MockClock,
) -> None:
    async with house(**FORWARD) as h:
        h.network.refuse(A)
        client = h.client()
        await play(
            client.says(ASKED + "GET http://b.test/ HTTP/1.1|Host: b.test||"),
            client.hears_answer(502, "CONNECT"),
            client.hears_end(),
        )
        assert client.got.is_last
        assert h.told() == [
            "CONNECT a.test:80 502 own [tcp://a.test:80 refused] connection_refused"
        ]


async def test_of_two_addresses_the_living_one(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        h.network.blackhole(A)
        client, b = h.client(), h.server(B)
        await play(
            client.says(ASKED.replace("a.test", "ab.test")),
            client.hears(ESTABLISHED).at(0.001),
            client.says("ping"),
            b.hears("ping").at(0.0015),
        )


async def test_nobody_answers(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        h.network.blackhole(A)
        client = h.client()
        await play(
            client.says(ASKED),
            client.hears_answer(504, "CONNECT").at(1.0),
            client.hears_end(),
        )
        assert client.got.proxy_status.startswith("haclient; error=connection_timeout")


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("a.test:81", 403, '"*.test:80" is for other ports'),
        ("a.example:80", 403, "allowed by no rule of the list"),
        ("evil.test:80", 403, "127.0.0.1 (of evil.test) is a loopback address"),
        ("a.test", 400, "needs a port"),
        ("127.1:80", 400, "ends in a number"),
    ],
)
async def test_what_is_refused(
    autojump_clock: MockClock, target: str, status: int, words: str
) -> None:
    async with house(**FORWARD) as h:
        h.resolver.script("evil.test", Answer("127.0.0.1"))
        client = h.client()
        await play(
            client.says(f"CONNECT {target} HTTP/1.1|Host: {target}||"),
            client.hears_answer(status, "CONNECT"),
            client.hears_end(),
        )
        assert words in client.got.problem["detail"]
        assert h.network.connections == []


async def test_a_reverse_listener_refuses_it(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(client.says(ASKED), client.hears_answer(501, "CONNECT"), client.hears_end())


async def test_no_tunnel_shares_its_connection(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        await h.ask(200, 0.0, target="http://a.test/")
        for _ in range(2):
            client = h.client()
            await play(client.says(ASKED), client.hears(ESTABLISHED))
            client.leave()
            await h.settle()
        assert len(h.network.connections) == 3


# --- ends -----------------------------------------------------------------------------------------


async def test_an_idle_tunnel_costs_no_probe(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))
        [(_, theirs)] = h.network.connections
        segments = theirs.end.segs_in
        await play(a.hears_nothing().at(7200.0))
        assert theirs.end.segs_in == segments


async def test_a_server_that_died_owing_an_answer(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(
            client.says("ping").at(100.0),
            a.hears("ping"),
            a.does("dies", lambda: h.network.blackhole(A)),
            client.hears_reset().at(102.5),
        )
        assert h.told() == [
            "CONNECT a.test:80 200 tunnelled [10.0.0.1:80 dead] connection_terminated"
        ]
        assert "3 keep-alive probes unanswered" in h.records[0].detail
        assert [each.endpoint for each in h.engine.health.snapshot(trio.current_time())] == [A]


async def test_a_server_that_ends_in_place_of_an_answer(autojump_clock: MockClock) -> None:
    """As the kernel of a killed process does."""
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(
            client.says("ping"),
            a.hears("ping"),
            a.closes(),
            client.hears_end(),
            client.closes(),
        )
        await h.settle()
        assert h.told() == [f"{TUNNELLED} connection_terminated"]
        assert h.records[0].detail == "4 bytes up, 0 down; the server ended it and owed an answer"
        assert not list(h.engine.health.snapshot(trio.current_time()))


@pytest.mark.parametrize("turn", range(8))  # trio's tasks of one moment run in an order of chance
async def test_both_end_at_once(turn: int, autojump_clock: MockClock) -> None:
    """A farewell, which nobody answers: the two ends may be read in any order."""
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(client.says("bye"), a.hears("bye"))
        for each in (client, a) if turn % 2 else (a, client):
            assert each.stream is not None
            each.stream.close()
        await h.settle()
        assert h.told() == [TUNNELLED]


@pytest.mark.parametrize("last", ["client", "server"])
async def test_an_end_behind_the_last_word(last: str, autojump_clock: MockClock) -> None:
    """Who has answered may end it, and so may whose client has ended."""
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(client.says("ping"), a.hears("ping"))
        if last == "server":
            await play(a.says("pong"), client.hears("pong"), a.closes(), client.hears_end())
            await play(client.closes())
        else:
            await play(client.closes(), a.hears_end(), a.closes())
        await h.settle()
        assert h.told() == [TUNNELLED]


async def test_a_servers_reset_is_passed_on(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(a.resets().at(5.0), client.hears_reset())
        assert h.told() == [f"{TUNNELLED} connection_terminated"]


async def test_a_clients_reset_is_passed_on(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        client, a = await established(h)
        await play(client.resets().at(5.0), a.hears_reset())
        assert h.told() == [TUNNELLED]


async def test_a_client_that_leaves_before_it_has_a_tunnel(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        h.resolver.script("a.test", Answer("10.0.0.1", delay=30.0))
        client = h.client()
        await play(client.says(ASKED), client.closes().at(1.0))
        await trio.sleep(1.0)
        [record] = h.records
        assert record.outcome.value == "client gone"
        assert record.ended_at <= 1.5
        assert h.network.connections == []


async def test_a_drain_cuts_it(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        client, a = await established(h)
        for inside in tuple(h.door.inside):
            assert inside.is_outstanding
            inside.cancel()
        await play(client.hears_reset(), a.hears_reset())
        [record] = h.records
        assert record.outcome.value == "cut"


async def test_defaults_that_mean_nothing_to_a_tunnel(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        h.gateway.defaults = Target(
            urls="http://x.test",
            backups="http://y.test",
            affinity="cookie:sid",
            host_header="preserve",
            idempotency_key="generate",
            standby=True,
            health=HealthRequests(path="/health"),
        )
        client, a = await established(h)
        await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))


async def test_a_destination_at_its_limit(autojump_clock: MockClock) -> None:
    async with house(**FORWARD) as h:
        h.gateway.defaults = Target(urls="http://x.test", max_connections=1, queue_timeout=2.0)
        await established(h)
        client = h.client()
        await play(
            client.says(ASKED),
            client.hears_answer(503, "CONNECT").at(2.0),
            client.hears_end(),
        )
        assert "error=connection_limit_reached" in client.got.proxy_status
        assert client.got.value("Retry-After") == "1"
