"""A client that leaves: its upstream work ends within a second, and only its own."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from haclient.core.client_limits import LEAVES_NOTICED_AFTER
from haclient.proxy.vigil import LOOK_EVERY
from tests.proxy.house import IDS, A, house
from tests.proxy.playbook import play
from tests.sim.effects import AfterRequest, Blackhole, Fault
from tests.sim.origin import Reply

GET = f"GET /x HTTP/1.1|Host: shop|{IDS}|"
UPLOAD = "PUT /x HTTP/1.1|Host: {}|Content-Length: 50000|" + IDS + "|"
GONE = "GET /x 0 client gone"


@pytest.mark.parametrize("instant", [0.1, 0.3, 0.9, 5.1])
@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_in_mid_wait(autojump_clock: MockClock, instant: float, how: str) -> None:
    """The vigil comes by four times a second, and leaves a request in peace for its first quarter."""
    at = max(instant, LEAVES_NOTICED_AFTER)
    noticed = math.ceil(at / LOOK_EVERY) * LOOK_EVERY
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            getattr(client, how)().at(instant),
            a.hears_end().at(noticed),
        )
        assert h.told() == [f"{GONE} [10.0.0.1:80 cancelled]"]
        assert h.records[0].detail == "the client left before its answer was whole"
        assert h.records[0].ended_at == noticed


async def test_a_half_closed_client_that_leaves(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            client.half_closes(),
            a.accepts(),
            client.closes().at(10.1),
            a.hears_end().at(10.25),
        )


async def test_with_a_next_request_under_way(autojump_clock: MockClock) -> None:
    """What it had sent ahead is not served."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET + GET),
            a.accepts(),
            client.closes().at(1.1),
            a.hears_end().at(1.25),
        )
        assert len(h.records) == 1


async def test_an_answer_in_the_first_quarter_is_not_cut(autojump_clock: MockClock) -> None:
    """No look, no cost: the answer just meets a closed connection."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            client.closes().at(0.05),
            a.says("HTTP/1.1 200 OK|Content-Length: 2||hi").at(0.1),
        )
        assert h.told() == ["GET /x 200 answered [10.0.0.1:80 answered]"]


async def test_in_the_midst_of_a_failover(autojump_clock: MockClock) -> None:
    async with house(Fault(Blackhole(), AfterRequest())) as h:
        h.b.reply = Reply(think=30.0)
        client = h.client()
        await play(client.says(GET), client.closes().at(1.6))
        await trio.sleep_until(1.75)
        await h.settle()
        assert h.network.open_streams() == ()
        [record] = h.records
        assert [one.verdict.value for one in record.attempts] == ["cancelled", "cancelled"]


async def test_while_names_are_resolved_and_connects_race(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.network.blackhole(A)
        h.network.blackhole(h.b.endpoint)
        client = h.client()
        await play(client.says(GET), client.closes().at(0.6))
        await trio.sleep_until(0.75)
        await h.settle()
        assert h.records[0].ended_at == 0.75


async def test_in_mid_upload(autojump_clock: MockClock) -> None:
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(UPLOAD.format("shop") + "x" * 30000),
            a.hears(UPLOAD.format("ab.test") + "x" * 30000),
            client.closes().at(5.1),
            # Its content ended early: that is seen at once.
            a.hears_end(),
        )
        [record] = h.records
        assert (record.outcome.value, record.status) == ("client gone", 0)
        assert record.request_bytes == 30000


async def test_a_half_close_in_mid_upload(autojump_clock: MockClock) -> None:
    """What is missing will never come: no answer is owed to half a request."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(UPLOAD.format("shop") + "x" * 30000),
            client.half_closes().at(5.1),
            a.hears(UPLOAD.format("ab.test") + "x" * 30000).at(5.1),
            a.hears_end(),
            client.hears_end(),
        )
        assert h.records[0].detail == "the client left before its request was whole"


async def test_in_mid_upload_of_small_content(autojump_clock: MockClock) -> None:
    async with house() as h:
        client = h.client()
        await play(
            client.says(f"PUT /x HTTP/1.1|Host: shop|Content-Length: 5|{IDS}|hel"),
            client.closes().at(5.1),
        )
        assert h.records[0].outcome.value == "client gone"
        assert h.a.executed == []
        assert h.network.connections == []


async def test_in_mid_upload_that_the_server_does_not_take(autojump_clock: MockClock) -> None:
    """Nothing is read of the client then; the vigil finds out."""
    async with house() as h:
        client, a = h.client(), h.server(A)
        head = UPLOAD.replace("50000", "500000").format("shop")

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.stream.send_all(head.replace("|", "\r\n").encode() + bytes(500_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await a.accepted()
            await trio.sleep_until(5.1)
            client.stream.close()
        await trio.sleep_until(6.0)
        await h.settle()
        assert h.network.open_streams() == ()
        assert h.records[0].outcome.value == "client gone"
        assert h.records[0].ended_at <= 5.6


@pytest.mark.parametrize("how", ["closes", "resets"])
async def test_in_mid_response(autojump_clock: MockClock, how: str) -> None:
    head = "HTTP/1.1 200 OK|Content-Length: 9||abc"
    async with house() as h:
        client, a = h.client(), h.server(A)
        await play(
            client.says(GET),
            a.accepts(),
            a.says(head).at(2.0),
            client.hears(head),
            getattr(client, how)().at(3.1),
            a.hears_end().at(3.25),
        )
        [record] = h.records
        assert (record.outcome.value, record.status) == ("client gone", 200)
        assert record.response_bytes == 3


async def test_in_mid_response_with_more_to_send(autojump_clock: MockClock) -> None:
    """A closed client's kernel answers what comes with a reset: the relay sees it."""
    async with house() as h:
        h.a.reply = Reply(content=bytes(2_000_000))
        client = h.client()
        client.stream.send_now(GET.replace("|", "\r\n").encode())
        await client.stream.receive_some()
        client.stream.close()
        await trio.sleep(0.5)
        await h.settle()
        assert h.records[0].outcome.value == "client gone"


async def test_between_two_requests(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.ask(200, 0.0)
        await h.settle()
        assert not h.door.inside
        client = h.client()
        await play(client.says("GET / HT"), client.closes().at(5.0))
        assert not h.door.inside
        assert len(h.records) == 1  # nobody is told of half a head


async def test_nobody_else_is_hurt(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(think=2.0)
        leaving, staying = h.client("leaving"), h.client("staying")
        await play(
            leaving.says(GET),
            staying.says(GET),
            leaving.resets().at(1.1),
            staying.hears_answer(200).at(2.0),
        )


async def test_its_connection_to_the_server_is_not_reused(autojump_clock: MockClock) -> None:
    async with house() as h:
        h.a.reply = Reply(think=2.0)
        client = h.client()
        await play(client.says(GET), client.closes().at(1.1))
        await trio.sleep_until(1.3)
        h.a.reply = Reply()
        answer = await h.ask(200, 0.0, target="/next")
        assert answer.content == b"a: GET /next \n"
        assert len(h.network.connections) == 2
