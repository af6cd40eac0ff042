"""The story of one request, line by line."""

from __future__ import annotations

import pytest

from haclient import events
from haclient.ops.demo_narrator import Narrator
from haclient.ops.demo_screen import Tone
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    Endpoint,
    Evidence,
    EvidenceKind,
    Origin,
    Phase,
    Verdict,
)

A, B, C = (Endpoint(f"127.0.0.{n}", 4242) for n in (2, 3, 4))
ORIGIN = Origin("http", "orders.demo", 4242)
PROBE = Evidence(EvidenceKind.KEEPALIVE_PROBES, 1, 1.1)
DEAD = Evidence(EvidenceKind.RETRANSMITS, 2, 1.0)


def ended(at: float, endpoint: Endpoint | None, verdict: Verdict) -> events.AttemptEnded:
    record = AttemptRecord(1, ORIGIN, endpoint, Phase.WAITING, verdict, 0.0, at)
    return events.AttemptEnded(at, 1, record)


RACE: list[events.Event] = [
    events.AttemptStarted(0.0, 1, (ORIGIN,)),
    events.NameResolved(0.0, 1, "orders.demo", (A, B, C), "static", None),
    events.ConnectionAttemptStarted(0.001, 1, A),
    events.ConnectionAttemptStarted(0.001, 1, B),
    events.ConnectionAttemptStarted(0.001, 1, C),
    events.ConnectionAttemptEnded(0.0015, 1, A, ConnectFailure.REFUSED, "Connection refused"),
    events.ConnectionAttemptEnded(0.003, 1, C, ConnectFailure.LOST),
    events.ConnectionAttemptEnded(0.003, 1, B, None),
    events.Connected(0.003, 1, ORIGIN, B, None, False),
]

STORIES: dict[str, tuple[list[events.Event], list[tuple[float, str, Tone]]]] = {
    "a race": (
        RACE,
        [(0.003, "race of 3: 127.0.0.3 is first, in 2 ms; 127.0.0.2 refused", Tone.PLAIN)],
    ),
    "a request, and not the copy of it that a second try sends": (
        [
            events.RequestSent(0.0, 1, A, b"GET / HTTP/1.1", 80),
            events.RequestSent(1.0, 2, B, b"GET / HTTP/1.1", 80),
        ],
        [(0.0, "GET forwarded to 127.0.0.2", Tone.FAINT)],
    ),
    "a race of one is none": (
        [
            events.ConnectionAttemptStarted(0.0, 1, A),
            events.Connected(0.1, 1, ORIGIN, A, None, False),
        ],
        [],
    ),
    "a second try": (
        [
            events.AttemptStarted(1.0, 2, (ORIGIN,)),
            events.ConnectionAttemptStarted(1.0, 2, C),
            events.Connected(1.017, 2, ORIGIN, C, None, False),
        ],
        [(1.017, "second try to 127.0.0.4, connected in 17 ms", Tone.WARNING)],
    ),
    "silence, and a suspect that clears itself": (
        [
            events.Probed(1.0, 1, A, 1.0),
            events.Suspected(1.1, 1, A, PROBE),
            events.Cleared(1.2, 1, A),
        ],
        [
            (1.0, "127.0.0.2 silent for 1.00 s: probe sent", Tone.FAINT),
            (1.1, "127.0.0.2 is suspect: 1 keep-alive probe unanswered", Tone.WARNING),
            (1.2, "127.0.0.2 is alive after all", Tone.GOOD),
        ],
    ),
    "a probe that was answered is told with the next one": (
        [events.Probed(1.0, 1, A, 1.0), events.Probed(2.01, 1, A, 1.0)],
        [
            (1.0, "127.0.0.2 silent for 1.00 s: probe sent", Tone.FAINT),
            (
                2.01,
                "127.0.0.2 answered: alive. Silent for 1.00 s again: probe sent",
                Tone.FAINT,
            ),
        ],
    ),
    "a probe that was not answered is not": (
        [events.Probed(1.0, 1, A, 1.0), events.Probed(1.5, 1, A, 1.5)],
        [
            (1.0, "127.0.0.2 silent for 1.00 s: probe sent", Tone.FAINT),
            (1.5, "127.0.0.2 silent for 1.50 s: probe sent", Tone.FAINT),
        ],
    ),
    "death": (
        [events.DeclaredDead(2.5, 1, A, DEAD)],
        [(2.5, f"127.0.0.2 is dead: {DEAD}", Tone.BAD)],
    ),
    "a killed server": (
        [ended(0.5, A, Verdict.CLOSED)],
        [(0.5, "127.0.0.2: its kernel closed the connection", Tone.WARNING)],
    ),
    "an end that the screen tells": ([ended(0.5, A, Verdict.ANSWERED)], []),
}


@pytest.mark.parametrize(("story", "lines"), STORIES.values(), ids=STORIES)
def test_story(story: list[events.Event], lines: list[tuple[float, str, Tone]]) -> None:
    told: list[tuple[float, str, Tone]] = []
    narrate = Narrator(lambda *line: told.append(line), tells_name=False)
    for event in story:
        narrate(event)
    assert told == lines


def test_the_name_is_told_if_asked_for() -> None:
    told: list[str] = []
    narrate = Narrator(lambda _, text, __: told.append(text), tells_name=True)
    for event in RACE:
        narrate(event)
    assert told[0] == "orders.demo is 127.0.0.2, 127.0.0.3, 127.0.0.4"
