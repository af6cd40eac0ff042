"""The load: by the clock, counted to the last request, on a real server in this process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import trio

from haclient.client import Client
from haclient.errors import ConnectError
from haclient.ops import demo_origin
from haclient.ops.demo_load import Load, ask, median
from haclient.ops.demo_origin import Origin


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    quiet = os.open(os.devnull, os.O_WRONLY)
    monkeypatch.setattr(demo_origin, "STDOUT", quiet)
    server = Origin("127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/orders"
    server.shutdown()
    thread.join()
    server.server_close()
    os.close(quiet)


async def test_gets_and_posts_go_out_by_the_clock_and_none_is_forgotten(url: str) -> None:
    async with Client() as reader, Client(pool_idle_timeout=0.0) as writer:
        load = Load(url, reader, writer)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await trio.sleep(0.55)
                await load.without_post()
                load.stop()
    names = {sample.name for sample in load.samples}
    assert {"GET 1", "GET 5", "POST 5"} <= names
    assert all(sample.error is None for sample in load.samples)
    assert all(sample.served_by == "127.0.0.1" for sample in load.samples)
    assert all(sample.is_post == sample.name.startswith("POST") for sample in load.samples)
    posts = [sample for sample in load.samples if sample.is_post]
    assert not any(post.attempts[-1].reused for post in posts)


async def test_a_moment_without_a_post_comes_when_the_last_one_is_answered(url: str) -> None:
    async with Client() as client:
        load = Load(f"{url}/1?at=127.0.0.1&think=0.1&", client, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load._post, "1")
            nursery.start_soon(load._post, "2")
            await trio.testing.wait_all_tasks_blocked()
            assert not load.samples
            with trio.fail_after(10):
                await load.without_post()
            assert len(load.samples) == 2


async def test_an_error_is_a_sample_with_its_attempts() -> None:
    async with Client() as client:
        sample = await ask(client, "POST", "http://127.0.0.1:1/orders", "7")
    assert isinstance(sample.error, ConnectError)
    assert sample.name == "POST 7"
    assert sample.served_by == ""
    assert len(sample.attempts) == 1
    assert 0 < sample.took < 10


def test_the_median_of_nothing_is_nothing() -> None:
    assert median([]) == 0.0
    assert median([3.0, 1.0, 2.0]) == 2.0
