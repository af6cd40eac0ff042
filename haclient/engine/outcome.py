"""What goes into an attempt and what comes out of it, as values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio

from haclient.core.affinity import Key
from haclient.core.idempotency import RequestFacts
from haclient.core.retry import Failure
from haclient.engine.replay import Content
from haclient.net.http1 import Head
from haclient.types import Evidence, Fields

__all__ = [
    "Answered",
    "BrokenOff",
    "CallerFailed",
    "ClearedUp",
    "Failed",
    "Outcome",
    "Request",
    "Sticky",
    "Suspicion",
    "Wavering",
]


class Sticky(msgspec.Struct, eq=False):
    """Of a request to a target with an affinity: whose it is, and what its attempts met."""

    key: Key | None
    """None where it bears nothing to know its client by: its answer may give it something."""
    is_displaced: bool = False
    """There is a verdict against the server that it belongs to."""
    wants_fresh: bool = False
    """Its server closed an idle connection in the very moment of its reuse: it is asked on a new one."""


class Request(msgspec.Struct, eq=False):
    """One request as the engine takes it.

    Nobody changes one, but for `turn`, and what `sticky` says, which are the exchange's.

    `target` is origin-form ("/path?query"), before the target's own path prefix; `fields` go out
    in this order, Host put first where it is missing.
    """

    method: str
    target: str
    fields: Fields
    content: Content
    facts: RequestFacts
    is_target_whole: bool = False
    """Whether the target's own path prefix is in `target` already."""
    is_whole_wanted: bool = False
    """Whether the answer is read whole within the exchange, so that it may be tried again
    elsewhere for as long as the caller has seen nothing of it."""
    max_content: int = 1 << 26
    is_upgrade: bool = False
    """Whether 101 is an answer: `fields` bear Connection: Upgrade and Upgrade then."""
    on_interim: Callable[[Head], Awaitable[None]] | None = None
    """Awaited with each 1xx head but 100 and 101, never twice at a time. What it raises ends the
    exchange and is raised there."""
    sticky: Sticky | None = None
    turn: trio.Lock | None = None
    """The exchange's own: whoever of two attempts side by side is in `on_interim` holds it."""

    @property
    def known_client(self) -> Sticky | None:
        """Whose the request is, where the target has an affinity and the request bears its key."""
        return self.sticky if self.sticky is not None and self.sticky.key is not None else None


class Answered(msgspec.Struct, frozen=True):
    """The head of the final response is here; with is_whole_wanted all of the content too."""

    head: Head


class Suspicion(msgspec.Struct, frozen=True):
    """The server may be dead; `advance` may be called again."""

    evidence: Evidence


class ClearedUp(msgspec.Struct, frozen=True):
    """The suspicion was wrong; call `advance` again."""


class Failed(msgspec.Struct, frozen=True):
    """The attempt is over. `error` is set where the caller's own part failed."""

    failure: Failure
    error: Exception | None = None


Outcome = Answered | Suspicion | ClearedUp | Failed


class CallerFailed(Exception):
    """What the caller had called failed: no server is to blame. The `__cause__` is its error."""


class Wavering(Exception):
    """The content's server is suspect; reading may go on."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(str(evidence))
        self.evidence = evidence


class BrokenOff(Exception):
    """The content broke off."""

    def __init__(self, outcome: Failed) -> None:
        super().__init__(outcome.failure.verdict.value)
        self.outcome = outcome
