"""The demonstration's scenes: calm, killed, blackholed, slow.

It is always the server that the steady load has just been answered by that is struck. The scene's own
request is outstanding there, through a sidecar that asks this server first and whose events tell the
story; the load goes on beside it, and has to find its way as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

import msgspec
import trio

from haclient.ops.demo_figures import Scene
from haclient.ops.demo_load import GETS_A_SECOND, POSTS_A_SECOND, Load, Sample, ask, median
from haclient.ops.demo_narrator import Narrator
from haclient.ops.demo_screen import Screen, Tone
from haclient.ops.demo_servers import CannotPlay, Condition, Server
from haclient.ops.demo_sidecar import NAME, Front, sidecar_before
from haclient.ops.trace import milliseconds
from haclient.types import Instant

__all__ = ["FULL", "QUICK", "Pace", "Play"]

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
        self._began_at = self._struck_at = trio.current_time()
        self._lines, self._to_show = trio.open_memory_channel[_Line](math.inf)

    async def perform(self) -> Load:
        """All scenes, in their order; returns the load, every request of which is over.

        Raises:
            CannotPlay: a server cannot be struck, or this machine is too busy to show anything.
        """
        async with sidecar_before(self._servers) as front:
            load = Load(front)
            self._screen.open(self._servers, load.samples)
            await trio.sleep(self._pace.rest / 4)  # three processes have just started
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show_lines)
                self._introduce(front)
                async with trio.open_nursery() as loading:
                    loading.start_soon(load.run)
                    await self._calm(load)
                    killed = await self._kill(load)
                    cut_off = await self._blackhole(load)
                    await self._slow(load, killed, cut_off)
                    load.stop()
                self._lines.close()
        return load

    def _introduce(self, front: Front) -> None:
        addresses = ", ".join(server.address for server in self._servers)
        port = self._servers[0].endpoint.port
        self._heading(f"{NAME}: three servers under one name, and a sidecar in front of them")
        self._say(f"servers: {addresses}, port {port}; each a process")
        self._say(f"sidecar: http://127.0.0.1:{front.port}, all that the client knows")
        self._say("client: tries each request once, and knows nothing of failover")

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
        self._heading(
            f"calm: {GETS_A_SECOND} GET and {POSTS_A_SECOND} POST a second to the sidecar"
        )
        narrator = Narrator(self._tell, tells_name=True)
        async with sidecar_before(self._servers, observe=narrator) as front:
            await ask(front, "GET", "calm")
        await trio.sleep(self._pace.calm)
        took = [sample.took for sample in load.samples]
        half, slowest = milliseconds(median(took)), milliseconds(max(took))
        self._say(f"{len(took)} answers, half of them within {half}, the slowest in {slowest}")

    async def _kill(self, load: Load) -> Server:
        began_at = trio.current_time()
        self._heading("kill -9, with a GET and a POST outstanding")
        victim = self._favourite(load)
        think = f"?at={victim.address}&think={LONGER_THAN_THE_SHOW}"
        async with (
            self._watched(victim) as front,
            sidecar_before(self._servers, first=victim) as other,
        ):
            get = self._pending(front, "GET", "kill", think)
            post = self._pending(other, "POST", "kill", think)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get.run)
                nursery.start_soon(post.run)
                await self._reaches(victim, "GET kill", "POST kill")
                self._say(f"POST forwarded to {victim.address}", Tone.FAINT)
                await trio.sleep(self._pace.outstanding)
                await load.without_post()
                self._struck_at = trio.current_time()
                self._say(f"{victim.address} killed", Tone.BAD)
                await victim.kill()
        self.doomed = post.sample
        await self._end_scene(load, f"{victim.address} killed", began_at, get.sample)
        return victim

    async def _blackhole(self, load: Load) -> Server:
        began_at = trio.current_time()
        self._heading("blackhole in mid-request: from one moment to the next, no sign of life")
        victim = self._favourite(load)
        think = f"?at={victim.address}&think={LONGER_THAN_THE_SHOW}"
        async with self._watched(victim) as front:
            get = self._pending(front, "GET", "blackhole", think)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get.run)
                await self._reaches(victim, "GET blackhole")
                await trio.sleep(ACKNOWLEDGED_WITHIN)
                await load.without_post()
                self._struck_at = trio.current_time()
                await victim.cut_off()
                self._say(f"{victim.address} blackholed; it had acknowledged the request", Tone.BAD)
        fault = f"{victim.address} blackholed"
        await self._end_scene(load, fault, began_at, get.sample)
        return victim

    async def _slow(self, load: Load, killed: Server, cut_off: Server) -> None:
        began_at = trio.current_time()
        pace = self._pace
        self._heading(f"merely slow: the server that is left thinks for {pace.thinks:g} s")
        slow = self._favourite(load)
        async with self._watched(slow) as front:
            get = self._pending(front, "GET", "slow", f"?at={slow.address}&think={pace.thinks}")
            self._struck_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(get.run)
                await trio.sleep(pace.back_after)
                await killed.start()
                await killed.listens()
                self._say(f"{killed.address} runs again", Tone.GOOD)
                await trio.sleep(pace.back_after / 3)
                await cut_off.heal()
                self._say(f"{cut_off.address} can be reached again", Tone.GOOD)
        fault = f"{slow.address} slow ({pace.thinks:g} s)"
        await self._end_scene(load, fault, began_at, get.sample)

    async def _end_scene(self, load: Load, fault: str, began_at: Instant, request: Sample) -> None:
        await trio.sleep(self._pace.rest)
        now = trio.current_time()
        took = [each.took for each in load.samples if each.started_at >= began_at]
        text = f"the load meanwhile: {len(took)} answers, the slowest in {milliseconds(max(took))}"
        self._say(text, Tone.FAINT)
        self.scenes.append(Scene(fault, began_at, now, self._struck_at, request))

    # --- their means ---------------------------------------------------------------------------

    def _watched(self, first: Server) -> AbstractAsyncContextManager[Front]:
        """A sidecar that asks `first` first, and whose story is told."""
        narrator = Narrator(self._tell, tells_name=False)
        return sidecar_before(self._servers, first=first, observe=narrator)

    def _favourite(self, load: Load) -> Server:
        """Whom the load was last answered by, of those that are well."""
        up = {one.address: one for one in self._servers if one.condition is Condition.UP}
        for sample in reversed(load.samples):
            if sample.served_by in up and not sample.is_post:
                return up[sample.served_by]
        raise CannotPlay("the load was not answered by any server; try again")

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

    def _pending(self, front: Front, method: str, number: str, query: str) -> _Pending:
        return _Pending(self._tell_end, front, method, number, query)

    def _tell_end(self, sample: Sample) -> None:
        after = milliseconds(sample.ended_at - self._struck_at)
        self._tell(sample.ended_at, *self._end_of(sample, after))

    def _end_of(self, sample: Sample, after: str) -> tuple[str, Tone]:
        problem = sample.problem
        if problem is None:
            text = f"{'POST' if sample.is_post else 'GET'} answered by {sample.served_by} after {after}"
            return text, Tone.BAD if sample.is_post else Tone.GOOD
        if not sample.is_post:
            return f"GET not answered: {problem.reason}", Tone.BAD
        if not problem.may_have_been_processed:
            return f"POST not told that it may have run: {problem.reason}", Tone.BAD
        text = f"POST: a clear error after {after}: {problem.status}, it may have run, so no second try"
        return text, Tone.PLAIN


class _Pending:
    """A request under way, and later what came of it."""

    def __init__(
        self, tell_end: Callable[[Sample], None], front: Front, method: str, number: str, query: str
    ) -> None:
        self._tell_end = tell_end
        self._ask = front, method, number, query
        self._sample: Sample | None = None

    @property
    def sample(self) -> Sample:
        """Once `run` is over."""
        assert self._sample is not None
        return self._sample

    async def run(self) -> None:
        """Asks."""
        self._sample = sample = await ask(*self._ask)
        self._tell_end(sample)
