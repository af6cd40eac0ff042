"""Health requests with real processes behind the daemon: one that is stopped, one that is only slow.

SIGSTOP is the hung process that TCP cannot see: its kernel accepts connections and acknowledges requests.
The slow server works on one request at a time, for six seconds each, so that its health requests wait.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio

from tests.support.command import needs_command
from tests.support.origin_process import OriginProcess, origin_process
from tests.support.running import asked
from tests.support.sidecar import Sidecar, sidecar
from tests.support.threaded_server import ThreadedServer, serving

pytestmark = needs_command

HEALTH = {"path": "/health", "interval": "500ms", "timeout": "500ms"}

BUSY = 1.0
"""Seconds that a machine with much else to do may add."""

SUSPECT_WITHIN = 1.1 * 0.5 + 2 * 0.5 + BUSY
"""Seconds: an interval with its jitter and two time-outs, which docs/health.md promises."""

FOUND_IN_USE = 1.0
"""Seconds until a target is found in use, and its health requests begin."""

PATIENCE = 60.0

EXPECTED = ("an address is suspect",)

WORK = 6.0
"""Seconds that the slow server works on each request; twelve time-outs."""


async def served(door: Sidecar, path: str) -> Any:
    return await asked(f"unix:{door.admin_socket}", f"GET {path}")


async def states(door: Sidecar) -> dict[str, tuple[str, str]]:
    """Of each address what is thought of it, and what its last health request told."""
    [target] = (await served(door, "/status")).json["targets"]
    return {one["address"]: (one["state"], one["health"]) for one in target["endpoints"]}


async def until_state(door: Sidecar, origin: OriginProcess, state: str) -> None:
    for _ in range(int(PATIENCE / 0.1)):
        if (await states(door))[str(origin.endpoint)][0] == state:
            return
        await trio.sleep(0.1)
    raise AssertionError(f"{origin!r} is not {state}: {await states(door)}")


async def until_answered_by(client: httpx.AsyncClient, door: Sidecar, name: str) -> None:
    for _ in range(int(PATIENCE / 0.1)):
        if (await client.get(door.url)).headers["x-origin"] == name:
            return
        await trio.sleep(0.1)
    raise AssertionError(f"{name} has not answered for {PATIENCE:g} s: {await states(door)}")


async def posts(origin: OriginProcess) -> int:
    return sum(served.method == "POST" for served in await origin.log())


def settings(**more: object) -> dict[str, object]:
    return {"order": "listed", "health": HEALTH, **more}


async def test_a_stopped_process() -> None:
    async with (
        origin_process(name="a") as a,
        origin_process(name="b") as b,
        httpx.AsyncClient(timeout=PATIENCE) as client,
        trio.open_nursery() as nursery,
    ):
        urls = [f"http://{one.endpoint}" for one in (a, b)]
        with sidecar(*urls, target=settings(), expected=EXPECTED) as door:
            assert (await client.get(door.url)).headers["x-origin"] == "a"
            await until_state(door, b, "ok")
            a.pause()
            post_answers: list[httpx.Response] = []
            is_posted = trio.Event()

            async def post() -> None:
                post_answers.append(await client.post(door.url, content=b"once"))
                is_posted.set()

            nursery.start_soon(post)
            began_at = time.perf_counter()
            answer = await client.get(door.url)
            took = time.perf_counter() - began_at
            assert answer.headers["x-origin"] == "b"
            assert "application silent: 2 health requests to /health unanswered" in door_attempts(
                answer
            )
            assert 0.5 < took < SUSPECT_WITHIN

            # The next one does not find out anew, and the POST is still with a.
            assert (await states(door))[str(a.endpoint)] == ("suspect", "no answer within 0.5 s")
            began_at = time.perf_counter()
            assert (await client.get(door.url)).headers["x-origin"] == "b"
            assert time.perf_counter() - began_at < 0.5
            await trio.sleep(2.0)
            assert post_answers == []
            assert await posts(b) == 0
            metrics = (await served(door, "/metrics")).content.decode()
            assert 'haclient_endpoints{state="suspect",target="main"} 1.0' in metrics

            a.resume()
            with trio.fail_after(PATIENCE):
                await is_posted.wait()
            assert post_answers[0].headers["x-origin"] == "a"
            assert (await posts(a), await posts(b)) == (1, 0)
            await until_state(door, a, "ok")
            await until_answered_by(client, door, "a")
            assert door.stderr.count("an address is suspect") == 1


async def test_a_client_of_a_stopped_process() -> None:
    """Each GET asks the client's own server, and soon another one as well; the client stays."""
    async with (
        origin_process(name="a") as a,
        origin_process(name="b") as b,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        urls = [f"http://{one.endpoint}" for one in (a, b)]
        sticky = settings(affinity="header:X-User", retry_budget=1.0)
        with sidecar(*urls, target=sticky, expected=EXPECTED) as door:

            async def ask(user: str) -> httpx.Response:
                return await client.get(door.url, headers={"X-User": user})

            user = await one_of(ask, "a")
            await until_state(door, a, "ok")
            await until_state(door, b, "ok")
            a.pause()
            for _ in range(3):  # the first one finds out, the next ones know
                began_at = time.perf_counter()
                answer = await ask(user)
                assert time.perf_counter() - began_at < SUSPECT_WITHIN
                assert answer.headers["x-origin"] == "b"
                assert f"{a.endpoint}: superseded" in door_attempts(answer)
                assert (await states(door))[str(a.endpoint)][0] == "suspect"
            a.resume()
            await until_state(door, a, "ok")
            assert (await ask(user)).headers["x-origin"] == "a"


async def one_of(ask: Callable[[str], Awaitable[httpx.Response]], name: str) -> str:
    """A user whose own server is that one."""
    for number in range(60):
        if (await ask(f"user{number}")).headers["x-origin"] == name:
            return f"user{number}"
    raise AssertionError(f"nobody is {name}'s")


def door_attempts(answer: httpx.Response) -> str:
    """What Proxy-Status says of the attempts before."""
    return str(answer.headers["proxy-status"])


class SlowServer(ThreadedServer):
    """One connection after the other, one request on each; health requests wait their turn.

    Attributes:
        executed: the first line of each request but those.
    """

    ENDS_WITHIN = 2 * WORK

    def __init__(self) -> None:
        super().__init__()
        self.executed: list[str] = []

    def answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            received = connection.recv(65536)
            if not received:
                return
            data += received
        line = data.partition(b"\r\n")[0].decode()
        if "/health" not in line:
            self.executed.append(line)
            threading.Event().wait(WORK)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nX-Origin: slow\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )


async def both_at_once(url: str) -> tuple[httpx.Response, float, httpx.Response]:
    """A POST, then a GET while it is at work: the GET's answer and how long it took, the POST's."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client, trio.open_nursery() as nursery:
        found: list[httpx.Response] = []

        async def post() -> None:
            found.append(await client.post(url + "/post", content=b""))

        nursery.start_soon(post)
        await trio.sleep(0.3)
        began_at = time.perf_counter()
        got = await client.get(url + "/get")
        took = time.perf_counter() - began_at
    return got, took, found[0]


@pytest.mark.parametrize("has_other", [False, True], ids=["alone", "beside another"])
async def test_a_slow_server_keeps_its_requests(has_other: bool) -> None:
    async with origin_process(name="other") as other:
        with serving(SlowServer()) as (slow,):
            urls = [slow.url, *([f"http://{other.endpoint}"] if has_other else [])]
            with sidecar(*urls, target=settings(), expected=EXPECTED) as door:
                got, took, posted = await both_at_once(door.url)
                assert (posted.status_code, posted.headers["x-origin"]) == (200, "slow")
                assert slow.executed.count("POST /post HTTP/1.1") == 1
                assert got.status_code == 200
                assert await posts(other) == 0
                if has_other:
                    # A copy of a safe request may run elsewhere, and is quicker.
                    assert got.headers["x-origin"] == "other"
                    assert took < FOUND_IN_USE + SUSPECT_WITHIN
                else:
                    assert got.headers["x-origin"] == "slow"
                    assert slow.executed == ["POST /post HTTP/1.1", "GET /get HTTP/1.1"]
                    assert took > WORK
