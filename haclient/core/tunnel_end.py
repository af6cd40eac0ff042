"""What a tunnel came to, for the log and for its server's record.

A tunnel has no answer that says how it went. Four things are known when it is over: how much has moved,
whether the watch had found its server dead, whether the server's side ended in disorder, and whether it ended
while an answer was owed. The naive reading holds every reset against the server's address; but a server may
end its own protocol with one, and then has served. Nor is a clean end a good one: the kernel of a killed
process closes its connections like anybody, and that is told. It is not held against the address either, for
a client could bring that about by what it says.

Left out: a server that ended before anything was said, which is no tunnel yet (proxy.tcp), and a client
that broke off, which is nobody's fault.
"""

from __future__ import annotations

import msgspec

from haclient.errors import ProxyStatus
from haclient.types import Evidence, Verdict

__all__ = ["TunnelEnd", "judge_end"]


class TunnelEnd(msgspec.Struct, frozen=True):
    """How a tunnel ended.

    Attributes:
        detail: for a person, one line.
        verdict, why, evidence: of the attempt at its server.
        error: the RFC 9209 error type; empty where the server has not failed.
    """

    detail: str
    verdict: Verdict = Verdict.ANSWERED
    why: str = ""
    evidence: Evidence | None = None
    error: str = ""


def judge_end(
    up: int, down: int, dead: Evidence | None, broken: str, *, is_unanswered: bool
) -> TunnelEnd:
    """How a tunnel ended whose server is no longer spoken to.

    Args:
        up: bytes that went to the server.
        down: and to the client.
        dead: why the server is held dead, if it is.
        broken: how its side ended, where that was no clean end.
        is_unanswered: whether it was the first to end, and owed an answer.
    """
    moved, error = f"{up} bytes up, {down} down", ProxyStatus.CONNECTION_TERMINATED.token
    if dead is not None:
        detail = f"{moved}; the server is dead: {dead}"
        return TunnelEnd(detail, Verdict.DEAD, evidence=dead, error=error)
    if broken:
        detail = f"{moved}; the server broke off: {broken}"
        return TunnelEnd(detail, why=f"the tunnel broke off: {broken}", error=error)
    if is_unanswered:
        detail = f"{moved}; the server ended it and owed an answer"
        return TunnelEnd(detail, why="ended while it owed an answer", error=error)
    return TunnelEnd(moved)
