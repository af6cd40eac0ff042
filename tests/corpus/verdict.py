"""What became of a case, and whether that is right, wrong, or worse.

Critical is what makes a hole: a request reached the server that nobody had sent ("smuggled"), or with
other content ("altered"); an answer reached somebody else ("mixed up"); something was passed on that
two readers may take differently ("ambiguous"); an answer that broke off was made to look whole ("made
whole"); the proxy no longer serves ("crash"). Everything else that is not allowed is wrong: nobody can
be harmed by it, but who relies on the rule is let down.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from tests.corpus.backend import Backend
from tests.corpus.case import Asked, RequestCase, ResponseCase
from tests.corpus.client import Heard

__all__ = ["Grade", "Verdict", "on_request", "on_response"]

HIDDEN = ("smuggled", "poison")
"""What stands in requests and answers that are none."""

HTTP2_SETTINGS = b"\x04"
"""The type of the frame that a server of HTTP/2 begins with (RFC 9113, section 6.5)."""

WELL_FORMED = frozenset({403, 404, 405, 411, 413, 417, 421, 422, 501})
"""Statuses by which a request is refused that was understood: the connection may go on."""

CANARY = Asked("GET", "/canary")
OWN_ERRORS = frozenset({403, 500, 502, 503, 504})


class Grade(enum.Enum):
    """How bad it is."""

    RIGHT = "right"
    WRONG = "wrong, harmless"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Verdict:
    """Two are equal if the same became of the case, in as many words."""

    grade: Grade
    outcome: str


def critical(outcome: str) -> Verdict:
    return Verdict(Grade.CRITICAL, outcome)


def on_request(case: RequestCase, heard: Heard, victim: Heard | None, backend: Backend) -> Verdict:
    """Of a request case."""
    hole = hole_in_request(case, heard, victim, backend)
    if hole is not None:
        return hole
    asked = backend.asked
    outcome = outcome_of(case, heard, asked)
    if outcome is None:
        told = f"{heard.statuses} {heard.end}, read: {[(a.method, a.target) for a in asked]}"
        return Verdict(Grade.WRONG, told)
    problem = fields_of(case, backend) if outcome == "forward" else ""
    return Verdict(Grade.WRONG if problem else Grade.RIGHT, problem or outcome)


def hole_in_request(
    case: RequestCase, heard: Heard, victim: Heard | None, backend: Backend
) -> Verdict | None:
    if victim is None or not victim.answers:
        return critical("crash")
    if case.speaks_http2 and heard.rest[3:4] == HTTP2_SETTINGS:
        return Verdict(Grade.RIGHT, "HTTP/2")
    if backend.ambiguous:
        return critical(f"ambiguous: {backend.ambiguous[0]}")
    if victim.echoes[0] != echo(Asked("GET", "/victim")):
        return critical(f"mixed up: the victim heard {victim.statuses[0]} {victim.echoes[0]}")
    expected = [*case.before, *(one for way in case.forward for one in way), CANARY]
    for one in backend.asked:
        if one in expected:
            continue
        if any(word in one.target or word in one.method for word in HIDDEN):
            return critical(f"smuggled: {one.method} {one.target}")
        if any((one.method, one.target) == (other.method, other.target) for other in expected):
            return critical(f"altered: {one.content[:40]!r}")
    echoes = [one for one in heard.echoes if one]
    if echoes != [echo(one) for one in backend.asked][: len(echoes)]:
        return critical(f"mixed up: heard {echoes}")
    if heard.ambiguous:
        return critical(f"ambiguous: {heard.ambiguous}")
    return None


def echo(asked: Asked) -> str:
    return f"{asked.method} {asked.target} {len(asked.content)}"


def outcome_of(case: RequestCase, heard: Heard, asked: list[Asked]) -> str | None:
    """Which of the allowed outcomes it is; None if none."""
    before = list(case.before)
    served = len(before)
    statuses = heard.statuses[served:]
    is_over = heard.end in ("eof", "reset")
    if heard.echoes[:served] != [echo(one) for one in before]:
        return None
    if case.refuse and asked == before and statuses[:1] and statuses[0] in case.refuse and is_over:
        return f"refuse {statuses[0]}" if len(statuses) == 1 and not heard.echoes[served] else None
    if statuses[:1] and statuses[0] in case.refuse & WELL_FORMED and asked == [*before, CANARY]:
        return f"refuse {statuses[0]}" if len(statuses) == 2 else None
    if case.close and asked == before and not statuses and is_over:
        return "close"
    ways = [before + list(way) for way in case.forward]
    return "forward" if any(is_forwarded(case, heard, asked, way) for way in ways) else None


def is_forwarded(case: RequestCase, heard: Heard, asked: list[Asked], whole: list[Asked]) -> bool:
    """Whether it is this what the server read, and what the client heard."""
    if asked == whole and len(heard.answers) == len(whole):
        is_over = heard.end in ("eof", "reset")
        return is_over and (case.ends in ("must", "may") or case.tail != "canary")
    goes_on = case.ends in ("no", "may") and case.tail == "canary"
    return goes_on and asked == [*whole, CANARY] and len(heard.answers) == len(whole) + 1


def fields_of(case: RequestCase, backend: Backend) -> str:
    """What is wrong with the fields of the request that was forwarded."""
    if not case.has and not case.lacks:
        return ""
    message = backend.read[len(case.before)]
    fields = message.fields + message.trailers
    names = {name.lower().decode() for name, _ in fields}
    lines = {f"{name.lower().decode()}: {value.decode('latin-1')}" for name, value in fields}
    for wanted in case.has:
        name, _, value = wanted.partition(": ")
        if f"{name.lower()}: {value}" not in lines:
            return f"forwarded without {wanted!r}"
    for unwanted in case.lacks:
        name, colon, value = unwanted.partition(": ")
        if f"{name.lower()}: {value}" in lines if colon else name.lower() in names:
            return f"forwarded with {unwanted!r}"
    return ""


def on_response(case: ResponseCase, heard: Heard, victims: Sequence[Heard | None]) -> Verdict:
    """Of a response case."""
    for victim in victims:
        if victim is None or not victim.answers:
            return critical("crash")
        if victim.echoes[0] != echo(Asked("GET", "/victim")):
            return critical(f"mixed up: a victim heard {victim.statuses[0]} {victim.rest[:40]!r}")
    if heard.ambiguous:
        return critical(f"ambiguous: {heard.ambiguous}")
    everything = heard.rest + b"".join(one.first[1] + one.content for one in heard.answers)
    if any(word.encode() in everything for word in HIDDEN) or len(heard.answers) > 1:
        return critical("smuggled: the client heard what is no answer to it")
    return of_one_answer(case, heard)


def of_one_answer(case: ResponseCase, heard: Heard) -> Verdict:
    if not heard.answers:
        is_seen = heard.end in ("eof", "reset")
        told = f"broken, {heard.end}" if is_seen else "nothing in time"
        return Verdict(Grade.RIGHT if case.broken and is_seen else Grade.WRONG, told)
    answer, status = heard.answers[0], heard.statuses[0]
    if case.content is not None and status == case.status and answer.content == case.content:
        return Verdict(Grade.RIGHT, f"pass {status}")
    if status in OWN_ERRORS and status != case.status:
        return Verdict(Grade.RIGHT if case.bad_gateway else Grade.WRONG, f"own {status}")
    if case.cut:
        return critical(f"made whole: {status} {answer.content[:40]!r}")
    return Verdict(Grade.WRONG, f"passed as {status} {answer.content[:40]!r}")
