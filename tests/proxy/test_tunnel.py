"""Upgrade: 101, and then bytes both ways until an end, watched while an answer is owed."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.proxy.house import IDS, ONE, A, House, house
from tests.proxy.playbook import Party, play

ASKED = f"GET /ws HTTP/1.1|Host: shop|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: x|{IDS}|"
PASSED = ASKED.replace("shop", "ab.test")
SWITCHED = "HTTP/1.1 101 Switching Protocols|Upgrade: websocket|Connection: Upgrade||"
TUNNELLED = "GET /ws 101 tunnelled [10.0.0.1:80 answered]"


async def switched(h: House) -> tuple[Party, Party]:
    """The two ends of a tunnel."""
    client, a = h.client(), h.server(A)
    await play(client.says(ASKED), a.hears(PASSED), a.says(SWITCHED), client.hears(SWITCHED))
    return client, a


async def test_bytes_go_both_ways(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(
            client.says(b"\x81\x05hello"),
            a.hears(b"\x81\x05hello"),
            a.says(b"\x81\x02hi").at(3.0),
            client.hears(b"\x81\x02hi"),
            a.says(b"\x89\x00").at(3.5),
            client.hears(b"\x89\x00"),
            client.says(b"\x8a\x00"),
            a.hears(b"\x8a\x00"),
            client.closes(),
            a.hears_end(),
            a.closes(),
        )
        await h.settle()
        assert h.records[0].detail == "9 bytes up, 6 down"
        assert h.records[0].response_bytes == 6


async def test_what_came_with_either_head_is_not_lost(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED + "early"),
            a.hears(PASSED),
            a.says(SWITCHED + "soon"),
            client.hears(SWITCHED + "soon"),
            a.hears("early"),
        )


@pytest.mark.parametrize("asked", ["WebSocket", "websocket, other/1.2", "foo/1.0x"])
async def test_the_upgrade_field_passes_as_it_is(autojump_clock: MockClock, asked: str) -> None:
    head = "GET /ws HTTP/1.1|Host: {}|Upgrade: {}|connection: Upgrade|" + IDS + "|"
    async with house() as h:
        client, a = h.client(), h.server(A)
        given = head.format("shop", asked).replace("connection: U", "connection: keep-alive, u")
        await play(
            client.says(given),
            a.hears(head.format("ab.test", asked)),
            a.says("HTTP/1.1 101 Whatever|Connection: keep-alive, Upgrade|Upgrade: other/1.2||"),
            client.hears("HTTP/1.1 101 Whatever|Connection: Upgrade|Upgrade: other/1.2||"),
        )


async def test_a_clients_end_is_passed_on_and_the_server_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(
            client.says("the last").at(1.0),
            client.half_closes(),
            a.hears("the last"),
            a.hears_end(),
            a.says("more").at(20.0),
            client.hears("more"),
            a.closes().at(21.0),
            client.hears_end(),
        )
        assert h.records[0].ended_at == 21.0
        assert h.told() == [TUNNELLED]


async def test_a_servers_end_is_passed_on_and_the_client_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(
            a.says("the last").at(1.0),
            a.half_closes(),
            client.hears("the last"),
            client.hears_end(),
            client.says("more").at(20.0),
            a.hears("more"),
            client.closes().at(21.0),
            a.hears_end(),
        )


async def test_a_servers_reset_ends_it(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(a.resets().at(5.0), client.hears_reset())
        assert h.told() == [f"{TUNNELLED} connection_terminated"]
        [record] = h.records
        assert "the server broke off" in record.detail
        assert h.engine.health.snapshot(trio.current_time()) == ()


async def test_a_clients_reset_ends_it(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(client.resets().at(5.0), a.hears_reset())
        assert h.told() == [TUNNELLED]
        assert h.records[0].error == ""


async def test_an_idle_tunnel_costs_no_probe(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))
        [(ours, theirs)] = h.network.connections
        segments = theirs.end.segs_in
        await play(a.hears_nothing().at(7200.0))
        assert theirs.end.segs_in == segments
        assert not ours.is_probing
        await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))


async def test_who_owes_an_answer_and_lives_is_left_in_peace(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(
            client.says("ping"),
            a.hears("ping"),
            a.says("pong").at(600.0),
            client.hears("pong"),
        )


async def test_a_server_that_died_owing_an_answer(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(
            client.says("ping").at(100.0),
            a.hears("ping"),
            a.does("dies", lambda: h.network.blackhole(A)),
            client.hears_reset().at(102.5),
        )
        assert h.told() == ["GET /ws 101 tunnelled [10.0.0.1:80 dead] connection_terminated"]
        [record] = h.records
        assert "3 keep-alive probes unanswered" in record.detail
        assert "3 keep-alive probes unanswered" in str(record.attempts[0].evidence)
        assert (record.error, record.request_bytes) == ("connection_terminated", 4)
        assert [each.endpoint for each in h.engine.health.snapshot(trio.current_time())] == [A]


async def test_a_server_that_was_dead_before(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, _ = await switched(h)
        h.network.blackhole(A)
        await play(client.says("ping").at(100.0), client.hears_reset().at(101.05))
        assert "retransmissions unanswered" in h.records[0].detail


async def test_a_greeting_that_came_with_the_switch_pays_no_debt(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(ASKED + "ping"),
            a.hears(PASSED),
            a.says(SWITCHED + "hello"),
            client.hears(SWITCHED + "hello"),
            a.hears("ping"),
            a.does("dies", lambda: h.network.blackhole(A)),
            client.hears_reset().at(2.5),
        )
        assert "3 keep-alive probes unanswered" in h.records[0].detail


async def test_a_client_that_has_said_all_is_owed_an_end(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(
            client.half_closes(),
            a.hears_end(),
            a.does("dies", lambda: h.network.blackhole(A)),
            client.hears_reset().at(2.5),
        )


async def test_a_switch_that_nobody_asked_for(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(f"POST / HTTP/1.1|Host: shop|Content-Length: 0|{IDS}|"),
            a.hears(f"POST / HTTP/1.1|Host: a.test|Content-Length: 0|{IDS}|"),
            a.says(SWITCHED),
            a.hears_end(),
            client.hears_answer(502),
        )
        assert client.got.proxy_status.startswith(
            'haclient; error=http_protocol_error; next-hop="10.0'
        )
        assert h.runs() == []


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 426 Upgrade Required|Content-Length: 2||no",
        "HTTP/1.1 400 Bad Request|Content-Length: 2||no",
        "HTTP/1.1 200 OK|Content-Length: 2||hi",
    ],
)
async def test_an_upgrade_that_is_refused(autojump_clock: MockClock, answer: str) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        for _ in range(2):
            await play(client.says(ASKED), a.hears(PASSED), a.says(answer), client.hears(answer))
        assert not any(record.outcome.value == "tunnelled" for record in h.records)


async def test_an_upgrade_fails_over_until_it_is_answered(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.network.refuse(A)
        client, b = h.client(), h.server(h.b.endpoint)
        await play(
            client.says(ASKED),
            b.hears(PASSED).at(0.0015),
            b.says(SWITCHED),
            client.hears(SWITCHED).at(0.002),
            client.says("ping"),
            b.hears("ping").at(0.0025),
        )


async def test_a_client_that_leaves_a_tunnel_that_owes_nothing(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = await switched(h)
        await play(client.closes().at(50.0), a.hears_end(), a.closes())
        assert h.records[0].ended_at == 50.0
