"""A sidecar of the demo before a real server, and before none."""

from __future__ import annotations

import pytest
import trio

from haclient import events
from haclient.ops.demo import first_of
from haclient.ops.demo_load import ask
from haclient.ops.demo_servers import Server, free_port, running
from haclient.ops.demo_sidecar import sidecar_before
from haclient.types import Endpoint, Verdict

ADDRESSES = ("127.0.0.2", "127.0.0.3")


async def test_the_first_of_two_serves_and_each_step_is_told() -> None:
    told: list[events.Event] = []
    with trio.fail_after(30):
        async with running(ADDRESSES, free_port(ADDRESSES)) as servers:
            for server in servers:
                async with sidecar_before(servers, first=server, observe=told.append) as front:
                    sample = await ask(front, "GET", "7")
                assert sample.served_by == server.address
                (attempt,) = sample.attempts
                assert (attempt.endpoint, attempt.verdict) == (server.endpoint, Verdict.ANSWERED)
    sent = [event for event in told if isinstance(event, events.RequestSent)]
    assert [event.endpoint.address for event in sent] == list(ADDRESSES)
    assert all(b"GET /orders/7 " in event.head for event in sent)


async def test_a_post_has_a_connection_of_its_own_and_a_get_shares_one() -> None:
    with trio.fail_after(30):
        async with (
            running(ADDRESSES[:1], free_port(ADDRESSES)) as servers,
            sidecar_before(servers) as front,
        ):
            samples = [
                await ask(front, method, number)
                for method in ("GET", "POST")
                for number in ("1", "2")
            ]
    reused = {sample.name: sample.attempts[-1].reused for sample in samples}
    assert reused == {"GET 1": False, "GET 2": True, "POST 1": False, "POST 2": False}
    assert not front.records, "each was taken out"


async def test_an_error_is_what_the_sidecar_tells_its_client() -> None:
    async with trio.open_nursery() as nursery:
        nobody = Server(Endpoint(ADDRESSES[0], free_port(ADDRESSES)), nursery)
        async with sidecar_before([nobody]) as front:
            sample = await ask(front, "POST", "7")
    assert sample.problem is not None
    assert sample.problem.status == 502
    assert sample.problem.may_have_been_processed is False
    assert "refused" in sample.problem.detail
    assert sample.served_by == ""
    assert [attempt.verdict for attempt in sample.attempts] == [Verdict.REFUSED]


async def test_a_fault_of_haclients_own_ends_the_show() -> None:
    def observe(_: object) -> None:
        raise ZeroDivisionError

    async def play() -> None:
        async with (
            running(ADDRESSES[:1], free_port(ADDRESSES)) as servers,
            sidecar_before(servers, observe=observe) as front,
        ):
            await ask(front, "GET", "7")
            await trio.sleep_forever()

    with trio.fail_after(30), pytest.raises(ExceptionGroup) as caught:
        await play()
    assert isinstance(first_of(caught.value), ZeroDivisionError)
