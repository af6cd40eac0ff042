"""What a server can do, but for ending its connections: see stale."""

from __future__ import annotations

import trio

from tests.bench.abuse.hostile import ABUSED, Hostile, get, head, hostile, hostiles
from tests.bench.abuse.stage import CUT_WITHIN, RESPONSE_TIMEOUT, Abuse, Outcome, Stage

__all__ = ["SERVERS"]

ASK = 20
ROUNDS = 100
LATE_ROUNDS = 30
EACH_SECOND = 100
SECONDS = 10.0
SHARE, FLOOR = 0.2, 10
"""The retry budget: copies as a share of requests, beyond a floor of so many a second."""

ATTEMPTS = 3


async def endless_interim(stage: Stage) -> Outcome:
    """Interim answers without an end, at once or one each second; and a head without an end."""
    paths = ("/interim", "/interim/1", "/drip")

    async def do(who: Hostile, number: int) -> None:
        await who.send(get(paths[number % 3], ABUSED))
        with trio.move_on_after(RESPONSE_TIMEOUT + CUT_WITHIN + 10):
            while not [status for status in who.statuses if status >= 200]:  # noqa: ASYNC110
                await trio.sleep(0.05)
            who.cut_at = trio.current_time() - who.began_at

    found = await hostiles(stage.door.port, ASK, do)
    cuts = [who.cut_at for who in found if who.cut_at is not None]
    finals = sorted({who.statuses[-1] for who in found if who.cut_at is not None})
    interim = max(len(who.statuses) for who in found) - 1
    told = f"{len(cuts)} of {ASK} answered with {finals}, {interim} interim answers at the most"
    outcome = Outcome(told, max(cuts, default=None), RESPONSE_TIMEOUT + CUT_WITHIN)
    outcome.require(len(cuts) == ASK, f"{ASK - len(cuts)} wait for ever")
    outcome.require(set(finals) <= {502, 504}, f"answered with {finals}")
    outcome.require(interim <= 32, f"{interim} interim answers were passed on")
    return outcome


async def more_than_the_answer(stage: Stage) -> Outcome:
    """Bytes behind an answer, at once or later, are nobody's."""
    wrong: list[str] = []

    async def do(who: Hostile, number: int) -> None:
        for turn in range(ROUNDS):
            wrong.extend(await one_answer(who, ("more", "good")[(turn + number) % 2]))

    async def late(who: Hostile, _number: int) -> None:
        # Alone at its server: bytes that cross the next request cannot be told from its answer.
        for _ in range(LATE_ROUNDS):
            wrong.extend(await one_answer(who, "later"))
            await trio.sleep(0.1)

    await hostiles(stage.door.port, ASK, do)
    await hostiles(stage.door.port, 1, late)
    count = ASK * ROUNDS + LATE_ROUNDS
    outcome = Outcome(f"{count - len(wrong)} of {count} answers right")
    outcome.require(not wrong, wrong[0] if wrong else "")
    return outcome


async def one_answer(who: Hostile, what: str) -> list[str]:
    """Asks, and gives what is wrong with the answer, if anything is."""
    who.heard.clear()
    await who.send(get(f"/{what}/{id(who)}", ABUSED))
    wanted = f"\r\n\r\n{what} {id(who)}\n".encode()
    with trio.move_on_after(5):
        while not who.heard.endswith(b"\n"):  # noqa: ASYNC110
            await trio.sleep(0.002)
    answer = bytes(who.heard)
    is_right = answer.endswith(wanted) and answer.count(b"HTTP/1.1") == 1
    return [] if is_right else [f"{wanted!r} was due: {answer[-200:]!r}"]


async def storm(stage: Stage) -> Outcome:
    """Every server answers 503: what does that multiply to?"""
    heard: list[list[int]] = []

    async def one(number: int) -> None:
        async with hostile(stage.door.port) as who:
            request = head(f"GET /status/503/{number}".encode(), ABUSED)
            request += b"Connection: close\r\n\r\n"
            await who.send(request)
            await who.until_answered()
            heard.append(who.statuses)

    began_at, requests = trio.current_time(), int(EACH_SECOND * SECONDS)
    async with trio.open_nursery() as nursery:
        for number in range(requests):
            await trio.sleep_until(began_at + number / EACH_SECOND)
            nursery.start_soon(one, number)
    counts = {
        path: count
        for path, count in (await stage.server.order("counts")).items()
        if path.startswith("/status/")
    }
    copies, most = sum(counts.values()) - requests, max(counts.values())
    may = round(SHARE * requests + FLOOR * SECONDS)
    outcome = Outcome(
        f"{copies} copies of {requests} requests (may be {may}), {most} attempts at most"
    )
    outcome.require(copies <= may, f"{copies} copies, above {may}")
    outcome.require(most <= ATTEMPTS, f"{most} attempts of one request")
    outcome.require(heard == [[503]] * requests, "not every request was answered 503, once")
    return outcome


SERVERS = (
    Abuse("endless 1xx and heads", endless_interim),
    Abuse("more than the answer", more_than_the_answer),
    Abuse("every server says 503", storm, servers=3),
)
