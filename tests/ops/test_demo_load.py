"""The load: by the clock, counted to the last request, on real servers behind a sidecar."""

from __future__ import annotations

import pytest
import trio

from haclient.ops import demo_load
from haclient.ops.demo_client import NoReply, Reply
from haclient.ops.demo_load import Load, Problem, ask, median
from haclient.ops.demo_servers import free_port, running
from haclient.ops.demo_sidecar import Front, sidecar_before

ADDRESSES = ("127.0.0.2",)


async def test_gets_and_posts_go_out_by_the_clock_and_none_is_forgotten() -> None:
    with trio.fail_after(30):
        async with (
            running(ADDRESSES, free_port(ADDRESSES)) as servers,
            sidecar_before(servers) as front,
        ):
            load = Load(front)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await trio.sleep(0.55)
                await load.without_post()
                load.stop()
    names = [sample.name for sample in load.samples]
    assert {"GET 1", "GET 5", "POST 5"} <= set(names)
    assert len(names) == len(set(names))
    assert all(sample.problem is None for sample in load.samples)
    assert all(sample.served_by == ADDRESSES[0] for sample in load.samples)
    assert all(len(sample.attempts) == 1 for sample in load.samples)
    assert all(sample.is_post == sample.name.startswith("POST") for sample in load.samples)
    for server in servers:
        assert server.ran == dict.fromkeys(names, 1)


async def test_a_moment_without_a_post_comes_when_the_last_one_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {number: trio.Event() for number in ("1", "2")}

    async def send(port: int, method: str, path: str, request_id: str, content: bytes) -> Reply:
        await answers[path.rpartition("/")[2]].wait()
        return Reply(200, "application/json", b'{"served_by": "127.0.0.2"}')

    monkeypatch.setattr(demo_load, "send", send)
    load = Load(Front(0, {}))
    is_over = trio.Event()

    async def wait() -> None:
        await load.without_post()
        is_over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load._post, "1")
        nursery.start_soon(load._post, "2")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(wait)
        answers["1"].set()
        await trio.testing.wait_all_tasks_blocked()
        assert not is_over.is_set()
        answers["2"].set()
    assert len(load.samples) == 2


ANSWERS = {
    "an error of a sidecar": (
        Reply(502, "application/problem+json", b'{"status": 502, "detail": "gone", "more": []}'),
        Problem("gone", 502, None),
    ),
    "and what it says of the request": (
        Reply(
            504,
            "application/problem+json",
            b'{"status": 504, "detail": "gone", "may_have_been_processed": true}',
        ),
        Problem("gone", 504, True),
    ),
    "an error of somebody else": (
        Reply(503, "text/html", b"<h1>busy</h1>"),
        Problem("answered 503, without a problem+json", 503),
    ),
    "none at all": (NoReply("cut"), Problem("cut", 0, None)),
}


@pytest.mark.parametrize(("answer", "problem"), ANSWERS.values(), ids=ANSWERS)
async def test_a_request_without_its_answer_is_a_sample_too(
    answer: Reply | NoReply, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send(*_: object) -> Reply:
        if isinstance(answer, NoReply):
            raise answer
        return answer

    monkeypatch.setattr(demo_load, "send", send)
    sample = await ask(Front(0, {}), "POST", "7")
    assert sample.problem == problem
    assert (sample.name, sample.served_by, sample.attempts) == ("POST 7", "", ())
    assert sample.took >= 0


def test_the_median_of_nothing_is_nothing() -> None:
    assert median([]) == 0.0
    assert median([3.0, 1.0, 2.0]) == 2.0
