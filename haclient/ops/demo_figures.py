"""What the demonstration has to show for itself: the figures, and whether the promises held.

A demonstration that cannot fail proves nothing. Here every request of the show is counted, and what
the servers say that they executed is held against what the client was told; each promise that did
not hold is named, and makes the exit code 1.

What counts as what:

    lost        a request of the load that was started in a scene and got no answer
    run twice   a POST that servers executed more than once. A GET may: it was sent to a second
                server on suspicion, and RFC 9110, section 9.2.1 is why that does no harm
    abandoned   an attempt given up (held dead, outrun or too slow) on a server that was well all
                the while
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

from haclient.ops.demo_load import Sample, median
from haclient.ops.trace import milliseconds
from haclient.types import AttemptRecord, Endpoint, Instant, Verdict

__all__ = ["HEADINGS", "Figures", "Promise", "Row", "Scene", "Witness", "reckon"]

GIVEN_UP = frozenset({Verdict.DEAD, Verdict.SUPERSEDED, Verdict.SLOW, Verdict.CANCELLED})
"""Ends of an attempt that are haclient's decision; the others are the server's doing."""


class Witness(Protocol):
    """What is asked of a server (demo_servers.Server)."""

    endpoint: Endpoint
    ran: Counter[str]
    """How often it executed each request ("POST 17")."""

    def was_well(self, since: Instant, until: Instant) -> bool:
        """Whether it had no fault at any time between two instants."""
        ...


class Scene(msgspec.Struct, frozen=True):
    """A fault as it was played. `struck_at` is when it struck, or when the slow request began."""

    fault: str
    began_at: Instant
    ended_at: Instant
    struck_at: Instant
    request: Sample
    """The GET that was outstanding on the server in question."""


class Row(msgspec.Struct, frozen=True):
    """A line of the closing table. Durations in seconds."""

    fault: str
    time_to_answer: float | None
    """From the fault, or for a slow server from the request; None: it was never answered."""
    requests: int
    lost: int
    run_twice: int
    abandoned: int
    slowest: float
    """Of the load's requests in this scene."""

    def cells(self) -> tuple[str, ...]:
        """For a table."""
        answer = "none" if self.time_to_answer is None else milliseconds(self.time_to_answer)
        lost = f"{self.lost} of {self.requests}"
        return self.fault, answer, lost, str(self.run_twice), str(self.abandoned)


HEADINGS = (
    "fault",
    "time to\nthe answer",
    "requests\nlost",
    "run\ntwice",
    "slow servers\nabandoned",
)


class Promise(msgspec.Struct, frozen=True):
    """One sentence of the end, and whether it is true."""

    held: bool
    text: str


class Figures(msgspec.Struct, frozen=True):
    """All that was counted."""

    rows: tuple[Row, ...]
    promises: tuple[Promise, ...]

    @property
    def have_held(self) -> bool:
        """Whether every promise did."""
        return all(promise.held for promise in self.promises)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "faults": [msgspec.structs.asdict(row) for row in self.rows],
            "promises": [msgspec.structs.asdict(promise) for promise in self.promises],
            "held": self.have_held,
        }


def reckon(
    scenes: Sequence[Scene], load: Sequence[Sample], doomed: Sample, servers: Sequence[Witness]
) -> Figures:
    """Counts.

    Args:
        scenes: as they were played.
        load: every request of the steady load.
        doomed: the POST that was outstanding on the server that was killed.
        servers: with what they executed, and when they were well.
    """
    ran: Counter[str] = sum((server.ran for server in servers), Counter())
    rows = tuple(_row(scene, load, ran, servers) for scene in scenes)
    everything = [*load, *(scene.request for scene in scenes), doomed]
    promises = (
        _all_answered([*load, *(scene.request for scene in scenes)]),
        _none_twice(everything, ran),
        _clear_error(doomed, ran),
        _none_abandoned(everything, servers),
    )
    return Figures(rows, promises)


def _row(
    scene: Scene, load: Sequence[Sample], ran: Counter[str], servers: Sequence[Witness]
) -> Row:
    during = [each for each in load if scene.began_at <= each.started_at < scene.ended_at]
    request = scene.request
    return Row(
        fault=scene.fault,
        time_to_answer=request.ended_at - scene.struck_at if request.problem is None else None,
        requests=len(during) + 1,
        lost=sum(each.problem is not None for each in (*during, request)),
        run_twice=sum(each.is_post and ran[each.name] > 1 for each in during),
        abandoned=len(_abandoned((*during, request), servers)),
        slowest=max((each.took for each in during), default=0.0),
    )


def _abandoned(samples: Iterable[Sample], servers: Sequence[Witness]) -> list[AttemptRecord]:
    """The attempts that were given up on a server that was well."""
    by_endpoint = {server.endpoint: server for server in servers}
    return [
        record
        for sample in samples
        for record in sample.attempts
        if record.verdict in GIVEN_UP
        and record.endpoint is not None
        and by_endpoint[record.endpoint].was_well(record.started_at, record.ended_at)
    ]


def _all_answered(samples: Sequence[Sample]) -> Promise:
    posts = sum(each.is_post for each in samples)
    lost = [each for each in samples if each.problem is not None]
    what = f"{len(samples) - posts} GET and {posts} POST"
    if lost:
        first = lost[0]
        assert first.problem is not None
        why = first.problem.reason
        return Promise(False, f"{len(lost)} of {what} got no answer, {first.name} for one: {why}")
    again = sum(len(each.attempts) > 1 for each in samples)
    half, slowest = median(each.took for each in samples), max(each.took for each in samples)
    return Promise(
        True,
        f"every request of the load was answered: {what}, {again} of them by the sidecar's second try; "
        f"half of them within {milliseconds(half)}, the slowest in {milliseconds(slowest)}",
    )


def _none_twice(samples: Sequence[Sample], ran: Counter[str]) -> Promise:
    posts = [each for each in samples if each.is_post]
    twice = [each.name for each in posts if ran[each.name] > 1]
    never = [each.name for each in posts if each.problem is None and not ran[each.name]]
    if twice or never:
        return Promise(
            False, f"run twice: {twice or 'none'}; answered and never run: {never or 'none'}"
        )
    once = sum(ran[each.name] == 1 for each in posts)
    return Promise(True, f"no POST ran twice: {len(posts)} were sent, {once} ran once")


def _clear_error(doomed: Sample, ran: Counter[str]) -> Promise:
    problem = doomed.problem
    what = "one more POST, outstanding on the killed server,"
    times = ran[doomed.name]
    if problem is None or not problem.may_have_been_processed or times > 1:
        told = "an answer" if problem is None else f"{problem.status} ({problem.reason})"
        return Promise(False, f"{what} got {told} and ran {times} times")
    had = "it had begun to" if times else "it had not"
    return Promise(
        True,
        f"{what} got a clear error, {problem.status}: it may have run, so it was not sent again "
        f"({had}; no other server saw it)",
    )


def _none_abandoned(samples: Sequence[Sample], servers: Sequence[Witness]) -> Promise:
    abandoned = _abandoned(samples, servers)
    if abandoned:
        return Promise(
            False,
            f"{len(abandoned)} attempts were given up on a server that was well: "
            f"{abandoned[0].describe()}",
        )
    return Promise(True, "no server that was alive was given up, however slow")
