"""One seed, from its world to the judgement."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
import trio._core._run as scheduler
from trio.testing import MockClock

from haclient.core.spec import Target
from tests.proxy.house import House, house
from tests.proxy.simulation.clients import Got, Talk
from tests.proxy.simulation.faults import befall, heal_all
from tests.proxy.simulation.history import judge
from tests.proxy.simulation.plan import Asked, Asker, content_of, make_askers, numbered
from tests.proxy.simulation.servers import give_whims
from tests.sim.origin import Reply

__all__ = ["Verdict", "run_seed"]

HEALS_WITHIN = 60.0
"""Seconds after the last repair: addresses that failed are held down for a while."""


@dataclass
class Verdict:
    """What became of a seed; `lines` is its journal, for whoever wants to know."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    requests: int = 0
    answered: int = 0
    lines: list[str] = field(default_factory=list)


def run_seed(seed: int) -> Verdict:
    """Runs it; never raises for what goes wrong in it."""
    verdict = Verdict(seed)
    with _seeded(seed):
        try:
            trio.run(_simulate, seed, verdict, clock=MockClock(autojump_threshold=0))
        except Exception as exc:
            verdict.wrong.append(f"{type(exc).__name__}: {_flat(exc)}")
    return verdict


def _flat(exc: BaseException) -> str:
    if isinstance(exc, BaseExceptionGroup):
        return "; ".join(_flat(one) for one in exc.exceptions)
    return f"{exc!r}"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Trio shuffles its tasks by this seed, and whoever asks for chance gets it from there."""
    before = scheduler._ALLOW_DETERMINISTIC_SCHEDULING, random.getstate(), scheduler._r.getstate()
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    scheduler._r.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # type: ignore[misc]
        random.setstate(before[1])
        scheduler._r.setstate(before[2])


async def _simulate(seed: int, verdict: Verdict) -> None:
    chance = random.Random(seed)
    askers = make_askers(chance, chance.choice((1, 3, 8, 12)))
    asked = numbered(askers)
    got: list[Got] = []
    async with house(target=_target(chance), **_settings(chance)) as h:
        try:
            give_whims(h, chance)
            talks: list[Talk] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(befall, h, random.Random(seed), chance.choice((0, 1, 3, 6)))
                for asker in askers:
                    nursery.start_soon(_talk, h, asker, got, talks)
            await _look_whether_all_is_well_again(h, verdict)
            verdict.wrong += [f"extra bytes: {talk.extra!r}" for talk in talks if talk.extra]
            verdict.wrong += judge(h, got, asked)
            verdict.requests = len(got)
            verdict.answered = sum(one.is_whole for one in got)
        finally:
            verdict.lines = [str(entry) for entry in h.journal.entries]


async def _talk(h: House, asker: Asker, got: list[Got], talks: list[Talk]) -> None:
    await trio.sleep(asker.arrives)
    talk = Talk(h.client().stream, asker, got)
    talks.append(talk)
    await talk.run()


async def _look_whether_all_is_well_again(h: House, verdict: Verdict) -> None:
    """Once everything is repaired, one request after another finds its server."""
    heal_all(h)
    for origin in h.origins:
        origin.reply = Reply(content=content_of(0, 100))
        origin.forget_faults()
    await trio.sleep(HEALS_WITHIN)
    heal_all(h)  # an exchange that had begun may have brought its server down since
    for _ in range(3):
        asked = Asked(0, "GET", False, 0, 100, False, False, False, True, 0.0)
        asker = Asker(0.0, (asked,), False, 1 << 20, 0.0, 0.0, None, "close")
        got: list[Got] = []
        await Talk(h.client().stream, asker, got).run()
        if got[0].status != 200 or got[0].content != content_of(0, 100):
            verdict.wrong.append(f"not well again: {got[0]}")


def _target(chance: random.Random) -> Target:
    urls = chance.choice(
        (
            ["http://ab.test/"],
            ["http://a.test/", "http://b.test/", "http://c.test/"],
            ["http://a.test/"],
        )
    )
    return Target(
        urls=urls,
        backups=chance.choice(((), ("http://c.test/",))),
        order=chance.choice(("fastest", "listed", "shuffled")),
        response_timeout=chance.choice((6.0, 15.0, 30.0)),
        connection_attempt_delay=chance.choice((0.0, 0.25)),
        replay_limit=chance.choice((0, 20_000, 1 << 20)),
        max_connections=chance.choice((1, 2, 256, 256)),
        pool_idle_timeout=chance.choice((0.0, 1.0, 15.0)),
        resume=chance.random() < 0.8,
        # Every request another client's, or all of them one client's.
        affinity=chance.choice(("none", "none", "client", "header:X-Request-Id")),
    )


def _settings(chance: random.Random) -> dict[str, Any]:
    return {
        "via": chance.random() < 0.5,
        "header_timeout": chance.choice((2.0, 10.0)),
        "body_timeout": chance.choice((2.0, 30.0)),
        "idle_timeout": chance.choice((1.5, 75.0)),
    }
