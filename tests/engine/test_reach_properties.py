"""A target is never without a candidate, whatever is thought of its servers: the real way, over the network.

Three servers, of which any may be held down, suspect, silent or unavailable to health requests, or met in
trouble by this very exchange; and any may be up or not, which is another matter.
"""

from __future__ import annotations

import enum

import pytest
import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from haclient.core.health_check import Opinion
from haclient.core.spec import Target
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Sticky
from haclient.engine.reach import Reach
from haclient.engine.sticky import reach_of
from haclient.types import Endpoint, Order
from tests.engine.world import A, B, C, World, world

EVERYBODY = (A, B, C)
ADDRESS = {"a.test": A, "b.test": B, "c.test": C}

TARGETS = {
    "one tier": Target(urls=["http://a.test/", "http://b.test/", "http://c.test/"]),
    "backup": Target(urls=["http://a.test/", "http://b.test/"], backups=["http://c.test/"]),
    "backups": Target(urls=["http://a.test/"], backups=["http://b.test/", "http://c.test/"]),
}


class Thought(enum.Enum):
    """What is thought of a server."""

    WELL = "well"
    HELD_DOWN = "held down"
    SUSPECT = "suspect"
    SILENT = "silent"
    UNAVAILABLE = "unavailable"


def think(live: LiveTarget, endpoint: Endpoint, thought: Thought) -> None:
    health, now = live.engine.health, trio.current_time()
    match thought:
        case Thought.HELD_DOWN:
            health.report_failure(endpoint, now, 0)
        case Thought.SUSPECT:
            health.report_suspect(endpoint, now, 0)
        case Thought.SILENT:
            live.unfit[endpoint] = Opinion.SILENT
        case Thought.UNAVAILABLE:
            live.unfit[endpoint] = Opinion.UNAVAILABLE
        case Thought.WELL:
            pass


def live_target(w: World, tiers: str, order: Order, whose: bytes | None) -> LiveTarget:
    plain = TARGETS[tiers]
    affinity = "none" if whose is None else "header:X-Client"
    target = Target(urls=plain.urls, backups=plain.backups, order=order, affinity=affinity)
    return LiveTarget(target, w.engine)


async def reached(
    live: LiveTarget, reach: Reach, avoid: set[Endpoint], *, may_return: bool
) -> Endpoint | None:
    """Whom it comes to, the connection given back."""
    connection = await reach.connection(avoid, may_return=may_return)
    if connection is None:
        return None
    live.pool.release(connection, reusable=False)
    return connection.endpoint


UP, DOWN, MET = True, False, True
ALL_UNFIT = (
    (Thought.SILENT, DOWN, False),
    (Thought.UNAVAILABLE, DOWN, False),
    (Thought.SILENT, UP, False),
)
ALL_MET = ((Thought.HELD_DOWN, UP, MET), (Thought.WELL, UP, MET), (Thought.SILENT, UP, MET))
ONE_WELL = ((Thought.WELL, UP, False), (Thought.HELD_DOWN, UP, False), (Thought.WELL, UP, False))
FIRST_HELD_DOWN = (
    (Thought.SUSPECT, UP, False),
    (Thought.SILENT, UP, False),
    (Thought.WELL, UP, False),
)


@pytest.mark.parametrize("whose", [None, bytes(16), b"another client.."], ids=str)
@pytest.mark.parametrize("tiers", TARGETS)
@given(
    servers=st.tuples(*[st.tuples(st.sampled_from(Thought), st.booleans(), st.booleans())] * 3),
    order=st.sampled_from(Order),
    may_return=st.booleans(),
)
@example(ALL_UNFIT, Order.FASTEST, True)
@example(ALL_MET, Order.LISTED, True)
@example(ALL_MET, Order.LISTED, False)
@example(ONE_WELL, Order.FASTEST, True)
@example(FIRST_HELD_DOWN, Order.LISTED, True)
def test_whoever_is_up_is_found_and_who_is_well_comes_first(
    tiers: str,
    whose: bytes | None,
    servers: tuple[tuple[Thought, bool, bool], ...],
    order: Order,
    may_return: bool,
) -> None:
    """Each server: what is thought of it, whether it is up, whether this exchange has met it in trouble."""

    async def main() -> None:
        async with world() as w:
            live = live_target(w, tiers, order, whose)
            for endpoint, (thought, is_up, _) in zip(EVERYBODY, servers, strict=True):
                think(live, endpoint, thought)
                if not is_up:
                    w.network.refuse(endpoint)
            rows = dict(zip(EVERYBODY, servers, strict=True))
            avoid = {one for one, (_, _, is_met) in rows.items() if is_met}
            reach = reach_of(live, 1, None, None if whose is None else Sticky(whose))
            found = await reached(live, reach, avoid, may_return=may_return)
            check(live, rows, found, may_return=may_return, is_anybodys=whose is None)
            if found is None:
                # Not for want of trying.
                asked = set(EVERYBODY) if may_return else set(EVERYBODY) - avoid
                assert {one.endpoint for one in reach.met.attempts} == asked

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def check(
    live: LiveTarget,
    rows: dict[Endpoint, tuple[Thought, bool, bool]],
    found: Endpoint | None,
    *,
    may_return: bool,
    is_anybodys: bool,
) -> None:
    """Somebody up is found, rather one that this exchange has not met; and of a better tier, if it is well."""
    up = {one for one, (_, is_up, _) in rows.items() if is_up}
    met = {one for one, (_, _, is_met) in rows.items() if is_met}
    assert (found is None) is (not (up if may_return else up - met))
    assert found is None or found in up
    assert found not in met or not up - met
    if is_anybodys:
        well = {one for one, (thought, _, _) in rows.items() if thought is Thought.WELL} - met
        tiers = [{ADDRESS[url.origin.host] for url in tier} for tier in live.tiers]
        # A tier of which nobody is well is asked after the others.
        asked_first = next((tier for tier in tiers if tier & well), set())
        if best := asked_first & well & up:
            assert found in best
