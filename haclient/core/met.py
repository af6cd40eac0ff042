"""What an attempt met on its way to a connection, and what that comes to.

It is added to as names are looked up and addresses are connected, for whoever tells of the attempt afterwards:
the record, the error, the observer. Nobody finds the way by it.
"""

from __future__ import annotations

import msgspec

from haclient.core.health import counts_against
from haclient.errors import ResolveError
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Instant, Phase

__all__ = ["Met"]


class Met(msgspec.Struct, eq=False):
    """Of one attempt: where it stands, and each connect and each name that failed."""

    phase: Phase = Phase.RESOLVING
    resolved_at: Instant | None = None
    attempts: list[ConnectionAttempt] = msgspec.field(default_factory=list)
    errors: list[ResolveError] = msgspec.field(default_factory=list)

    def describe(self) -> str:
        """Of each address, how its last connect ended; and what became of names that gave none."""
        last = {one.endpoint: one.failure for one in self.attempts if one.failure is not None}
        told = [f"{endpoint} {failure.value}" for endpoint, failure in last.items()]
        return ", ".join([*told, *dict.fromkeys(map(str, self.errors))])

    @property
    def has_only_names_failed(self) -> bool:
        """Whether nobody was asked, for no name gave an address."""
        return bool(self.errors) and not self.attempts

    def silent_for(self, now: Instant) -> float | None:
        """Seconds since the first connect, where every address was silent; None where one was not."""
        if {one.failure for one in self.attempts} != {ConnectFailure.TIMED_OUT}:
            return None
        # Not since the attempt began: it may have queued for a place, and nobody was silent to it.
        return now - min(one.started_at for one in self.attempts)

    def refused(self) -> set[Endpoint]:
        """The addresses that could not be connected; asking them again at once is no use."""
        return {
            one.endpoint
            for one in self.attempts
            if one.failure is not None and counts_against(one.failure)
        }
