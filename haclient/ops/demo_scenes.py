"""The demonstration's scenes: calm, killed, blackholed, slow.

Each scene's own request goes through a client of its own, whose events tell the story; the steady
load goes on beside it through two others. A first, quick request finds out which server the race
gives; the next one rides on the same connection, and it is that server that is struck.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import trio

from haclient.client import Client
from haclient.events import Observer
from haclient.net.resolver import SystemResolver
from haclient.net.static_resolver import StaticResolver
from haclient.ops.demo_figures import Scene
from haclient.ops.demo_load import GETS_A_SECOND, POSTS_A_SECOND, Load, Sample, ask, median
from haclient.ops.demo_narrator import Narrator
from haclient.ops.demo_screen import Screen, Tone
from haclient.ops.demo_servers import CannotPlay, Server
from haclient.ops.trace import milliseconds
from haclient.types import Endpoint, Instant, Order

__all__ = ["FULL", "NAME", "QUICK", "Pace", "Play"]

NAME = "orders.demo"

ACKNOWLEDGED_WITHIN = 0.06
"""Seconds. Linux delays an acknowledgement by 40 ms (TCP_DELACK_MIN): from then on the request is
known to have arrived, and the server is thinking, not merely unheard."""

REACHED_WITHIN = 5.0
"""Seconds for a request to be executed on loopback; a millisecond otherwise."""

LONGER_THAN_THE_SHOW = 60
"""Seconds that a server thinks which is not to answer before it is struck."""


REDRAW_EVERY = 0.125
"""Seconds. What changes without an event: the load's figures."""

_Line = tuple[Instant, str, Tone | None]
"""When, what, and how it is meant; None is a heading."""


class Pace(msgspec.Struct, frozen=True):
    """How long things last, in seconds."""

    calm: float
    outstanding: float
    """How long the killed server had the request."""
    rest: float
    """After a fault was survived."""
    thinks: float
    """How long the slow server takes for its answer."""
    back_after: float
    """In the last scene: the killed server runs again, and a moment later the other is reachable."""


FULL = Pace(calm=3.0, outstanding=0.7, rest=2.0, thinks=6.0, back_after=1.5)
QUICK = Pace(calm=0.5, outstanding=0.1, rest=0.3, thinks=2.6, back_after=0.6)


class Play:
    """One performance.

    Attributes:
        scenes: as far as they were played.
        doomed: the POST that was outstanding on the killed server, once there was one.
    """

    def __init__(self, servers: Sequence[Server], screen: Screen, pace: Pace) -> None:
        self.scenes: list[Scene] = []
        self.doomed: Sample | None = None
        self._servers = servers
        self._screen = screen
        self._pace = pace
        self._port = servers[0].endpoint.port
        self._url = f"http://{NAME}:{self._port}/orders"
        self._began_at = trio.current_time()
        self._lines, self._to_show = trio.open_memory_channel[_Line](math.inf)

    async def perform(self) -> Load:
        """All scenes, in their order; returns the load, every request of which is over.

        Raises:
            CannotPlay: a server cannot be struck, or this machine is too busy to show anything.
        """
        async with self._client() as reader, self._client(pool_idle_timeout=0.0) as writer:
            load = Load(self._url, reader, writer)
            self._screen.open(self._servers, load.samples)
            await trio.sleep(self._pace.rest / 4)  # three processes have just started
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show_lines)
                async with trio.open_nursery() as loading:
                    loading.start_soon(load.run)
                    await self._calm(load)
                    killed = await self._kill(load)
                    cut_off = await self._blackhole(load)
                    await self._slow(load, killed, cut_off)
                    load.stop()
                self._lines.close()
        return load

    async def _show_lines(self) -> None:
        """Draws in a task of its own: a line takes milliseconds, and events come in mid-request."""
        with suppress(trio.EndOfChannel):
            while True:
                with trio.move_on_after(REDRAW_EVERY):
                    at, text, tone = await self._to_show.receive()
                    if tone is None:
                        self._screen.heading(text)
                    else:
                        self._screen.line(at - self._began_at, text, tone)
                    continue
                self._screen.refresh()

    # --- the scenes ----------------------------------------------------------------------------

    async def _calm(self, load: Load) -> None:
        self._heading(f"calm: {GETS_A_SECOND} GET and {POSTS_A_SECOND} POST a second to one name")
        async with self._client(self._narrator(tells_name=True)) as client:
            await ask(client, "GET", self._url, "calm")
        await trio.sleep(self._pace.calm)
        took = [sample.took for sample in load.samples]
        half, slowest = milliseconds(median(took)), milliseconds(max(took))
        self._say(f"{len(took)} answers, half of them within {half}, the slowest in {slowest}")

    async def _kill(self, load: Load) -> Server:
        began_at = trio.current_time()
        self._heading("kill -9, with a GET and a POST outstanding")
        async with self._client(self._narrator()) as client:
            victim = await self._favourite(client)
            # In the listed order the victim is asked first, and the POST is there.
            async with self._client(order=Order.LISTED, first=victim) as writer:
                think = f"?at={victim.address}&think={LONGER_THAN_THE_SHOW}"
                get = _Pending(client, "GET", self._url, "kill", think)
                post = _Pending(writer, "POST", self._url, "kill", think)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(get.run)
                    nursery.start_soon(post.run)
                    await self._reaches(victim, "GET kill", "POST kill")
                    self._say(f"POST sent to {victim.address}", Tone.FAINT)
                    await trio.sleep(self._pace.outstanding)
                    await load.without_post()
                    struck_at = trio.current_time()
                    self._say(f"{victim.address} killed", Tone.BAD)
                    await victim.kill()
        self.doomed = post.sample
        self._tell_answer(get.sample, struck_at)
        self._tell_doomed(post.sample, struck_at)
        await self._end_scene(load, f"{victim.address} killed", began_at, struck_at, get.sample)
        return victim

    async def _blackhole(self, load: Load) -> Server:
        began_at = trio.current_time()
        self._heading("blackhole in mid-request: from one moment to the next, no sign of life")
        async with self._client(self._narrator()) as client:
            victim = await self._favourite(client)
            think = f"?at={victim.address}&think={LONGER_THAN_THE_SHOW}"
            get = _Pending(client, "GET", self._url, "blackhole", think)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get.run)
                await self._reaches(victim, "GET blackhole")
                await trio.sleep(ACKNOWLEDGED_WITHIN)
                await load.without_post()
                struck_at = trio.current_time()
                await victim.cut_off()
                self._say(f"{victim.address} blackholed; it had acknowledged the request", Tone.BAD)
        self._tell_answer(get.sample, struck_at)
        fault = f"{victim.address} blackholed"
        await self._end_scene(load, fault, began_at, struck_at, get.sample)
        return victim

    async def _slow(self, load: Load, killed: Server, cut_off: Server) -> None:
        began_at = trio.current_time()
        pace = self._pace
        self._heading(f"merely slow: the server that is left thinks for {pace.thinks:g} s")
        async with self._client(self._narrator()) as client:
            slow = await self._favourite(client)
            think = f"?at={slow.address}&think={pace.thinks}"
            get = _Pending(client, "GET", self._url, "slow", think)
            struck_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get.run)
                await trio.sleep(pace.back_after)
                await killed.start()
                await killed.listens()
                self._say(f"{killed.address} runs again", Tone.GOOD)
                await trio.sleep(pace.back_after / 3)
                await cut_off.heal()
                self._say(f"{cut_off.address} can be reached again", Tone.GOOD)
        self._tell_answer(get.sample, struck_at)
        fault = f"{slow.address} slow ({pace.thinks:g} s)"
        await self._end_scene(load, fault, began_at, struck_at, get.sample)

    async def _end_scene(
        self, load: Load, fault: str, began_at: Instant, struck_at: Instant, request: Sample
    ) -> None:
        await trio.sleep(self._pace.rest)
        now = trio.current_time()
        took = [each.took for each in load.samples if each.started_at >= began_at]
        text = f"the load meanwhile: {len(took)} answers, the slowest in {milliseconds(max(took))}"
        self._say(text, Tone.FAINT)
        self.scenes.append(Scene(fault, began_at, now, struck_at, request))

    # --- their means ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _client(
        self,
        observe: Observer | None = None,
        order: Order = Order.FASTEST,
        *,
        first: Server | None = None,
        pool_idle_timeout: float = 15.0,
    ) -> AsyncGenerator[Client, None]:
        """A client that knows the name, with `first` as the first of its addresses."""
        servers = sorted(self._servers, key=lambda server: server is not first)
        endpoints = tuple(Endpoint(server.address, self._port) for server in servers)
        resolver = StaticResolver({(NAME, self._port): endpoints}, SystemResolver())
        async with Client(
            resolver=resolver, observe=observe, order=order, pool_idle_timeout=pool_idle_timeout
        ) as client:
            yield client

    def _narrator(self, *, tells_name: bool = False) -> Narrator:
        return Narrator(self._tell, tells_name)

    async def _favourite(self, client: Client) -> Server:
        """Whom the race gives to this client: its next request goes there too."""
        sample = await ask(client, "GET", self._url, "first")
        for server in self._servers:
            if server.address == sample.served_by:
                return server
        raise CannotPlay(f"no server answered a first request: {sample.error}")

    async def _reaches(self, server: Server, *requests: str) -> None:
        with trio.move_on_after(REACHED_WITHIN):
            for request in requests:
                await server.executes(request)
            return
        raise CannotPlay(
            f"{' and '.join(requests)} did not reach {server.address} within {REACHED_WITHIN:g} s: "
            "this machine is too busy; try again"
        )

    def _heading(self, text: str) -> None:
        self._lines.send_nowait((trio.current_time(), text, None))

    def _tell(self, at: Instant, text: str, tone: Tone) -> None:
        self._lines.send_nowait((at, text, tone))

    def _say(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        self._tell(trio.current_time(), text, tone)

    def _tell_answer(self, sample: Sample, struck_at: Instant) -> None:
        if sample.error is not None:
            self._say(f"GET not answered: {sample.error}", Tone.BAD)
            return
        after = milliseconds(sample.ended_at - struck_at)
        self._say(f"GET answered by {sample.served_by} after {after}", Tone.GOOD)

    def _tell_doomed(self, sample: Sample, struck_at: Instant) -> None:
        after = milliseconds(sample.ended_at - struck_at)
        if sample.error is None:
            self._say(f"POST answered by {sample.served_by} after {after}", Tone.BAD)
            return
        self._say(f"POST: a clear error after {after}; it may have run, so no second try")


class _Pending:
    """A request under way, and later what came of it."""

    def __init__(self, client: Client, method: str, url: str, number: str, query: str) -> None:
        self._ask = client, method, url, number, query
        self._sample: Sample | None = None

    @property
    def sample(self) -> Sample:
        """Once `run` is over."""
        assert self._sample is not None
        return self._sample

    async def run(self) -> None:
        """Asks."""
        self._sample = await ask(*self._ask)
