"""Many exchanges over one pool, with effects and cancellations between: each gets its own answer.

Promise 6: nothing of one exchange reaches another. Every request bears a number, and so must its
answer; what the origins have executed must be what was asked, and not a mixture. Chance is seeded;
trio's own, which of the tasks of one instant runs first, is not.
"""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from haclient.client import RequestOptions
from haclient.core.spec import Target
from haclient.errors import Error
from tests.engine.world import B, World, world
from tests.sim.effects import Fault, describe, every_fault
from tests.sim.origin import Framing, ReceivedRequest, Reply, SimOrigin

TARGETS = [
    Target(urls=["http://ab.test/"], max_connections=3),
    Target(urls=["http://a.test/"], backups=["http://b.test/"], max_connections=3),
    Target(urls=["http://b.test/"], max_connections=3),
]

SECONDS = 120.0
EXCHANGES = 150


def echoing(origin: SimOrigin, chance: random.Random) -> None:
    """Answers with the request's own number and content, framed and delayed as chance has it."""

    def reply(request: ReceivedRequest) -> Reply:
        number = request.value(b"x-request-id")
        assert number is not None
        return Reply(
            content=b"%b of %b: %b" % (number, request.method, request.content),
            # Not until the connection's end: of that nobody can tell whether it broke off.
            framing=chance.choice([Framing.COUNTED, Framing.CHUNKED]),
            think=chance.choice([0.0, 0.0, 0.1, 2.0]),
            closes=chance.random() < 0.1,
        )

    origin.reply = reply


class Crowd:
    """Clients that ask one after the other, and trouble that comes and goes."""

    def __init__(self, w: World, seed: int) -> None:
        self.w = w
        self.chance = random.Random(seed)
        self.asked: dict[bytes, bytes] = {}
        """The content of each request, by its number."""
        self.answered = 0
        for origin in (w.a, w.b):
            echoing(origin, self.chance)

    async def trouble(self) -> None:
        """A fault now and then, and its end."""
        faults = [f for f in every_fault(1.0, 50_000.0) if describe(f.effect) != "Garbage"]
        while True:
            await trio.sleep(self.chance.uniform(0.0, 2.0))
            origin = self.chance.choice([self.w.a, self.w.b])
            fault = self.chance.choice(faults)
            origin.script(Fault(fault.effect, fault.at))
            if self.chance.random() < 0.3:
                self.w.network.heal(origin.endpoint)

    async def client(self, name: int) -> None:
        for n in range(EXCHANGES // 10):
            number = f"{name}-{n}"
            await trio.sleep(self.chance.choice([0.0, 0.0, 0.3, 1.5]))
            with trio.CancelScope() as scope:
                if self.chance.random() < 0.2:
                    scope.deadline = trio.current_time() + self.chance.uniform(0.0, 3.0)
                await self.exchange(number)

    async def exchange(self, number: str) -> None:
        method = self.chance.choice(["GET", "PUT", "POST"])
        size = self.chance.choice([0, 10, 1000, 100_000]) if method != "GET" else 0
        content = (number.encode() + b".") * (size // 5)
        self.asked[number.encode()] = content
        options: RequestOptions = {
            "headers": {"X-Request-Id": number},
            "target": self.chance.choice(TARGETS),
            "content": [content] if size == 1000 else content,
            "timeout": self.chance.choice([None, 5.0]),
        }
        try:
            if self.chance.random() < 0.5:
                response = await self.w.client.request(method, "/", **options)
                received = await response.read()
            else:
                async with self.w.client.stream(method, "/", **options) as response:
                    received = await response.read()
        except Error:
            return
        self.answered += 1
        assert response.headers["x-request-id"] == number
        assert received == b"%b of %b: %b" % (number.encode(), method.encode(), content)

    def check_origins(self) -> None:
        """Whatever was executed was asked for, whole; and a POST once."""
        posted: list[bytes] = []
        for origin in (self.w.a, self.w.b):
            for request in origin.executed:
                number = request.value(b"x-request-id")
                assert number is not None
                assert request.content == self.asked[number]
                posted += [number] if request.method == b"POST" else []
        assert len(posted) == len(set(posted))


@pytest.mark.parametrize("seed", range(12))
async def test_every_answer_belongs_to_its_request(autojump_clock: MockClock, seed: int) -> None:
    async with world() as w:
        w.network.path(B.address).delay = 0.01
        crowd = Crowd(w, seed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd.trouble)
            async with trio.open_nursery() as clients:
                for name in range(10):
                    clients.start_soon(crowd.client, name)
            nursery.cancel_scope.cancel()
        crowd.check_origins()
        assert crowd.answered > 10
