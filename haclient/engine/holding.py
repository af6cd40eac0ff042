"""A connection that is an attempt's own, from its lease to its release, and what its end says of its server.

The attempt may have HTTP to speak (haclient.engine.talk) or bytes to move (haclient.engine.dial): either way
the connection goes back to the pool only from the clean end state, is closed otherwise, and what became of it is
reported with the generation that its server had when the attempt began (haclient.core.health).
"""

from __future__ import annotations

import trio

from haclient.core.health import end_counts_against, end_words, is_lost
from haclient.engine.live import LiveTarget
from haclient.net.connection import Connection
from haclient.types import Evidence, Instant, Phase, Verdict

__all__ = ["Holding"]


class Holding:
    """One lease. Whoever has it calls `give_back` or `close`, once.

    Attributes:
        phase: how far it has come.
        is_reused: whether it has served others before.
        sent_at: when the last byte of the request was handed to the kernel.
        first_byte_at: when the server was first heard of.
    """

    __slots__ = (
        "_bytes_before",
        "_bytes_sent",
        "_generation",
        "connection",
        "first_byte_at",
        "is_reused",
        "phase",
        "sent_at",
        "target",
    )

    def __init__(self, target: LiveTarget, connection: Connection) -> None:
        self.target = target
        self.connection = connection
        self.phase = Phase.WAITING
        # Also one that was waited for may have served others meanwhile.
        self.is_reused = connection.exchanges > 0
        self.sent_at: Instant | None = None
        self.first_byte_at: Instant | None = None
        self._generation = target.engine.health.generation(connection.endpoint)
        self._bytes_before = connection.transport.bytes_sent
        self._bytes_sent: int | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.connection!r}, {self.phase.value}>"

    @property
    def is_over(self) -> bool:
        """Whether it was ended: the connection may be somebody else's by now."""
        return self._bytes_sent is not None

    @property
    def bytes_sent(self) -> int:
        """Of this attempt, handed to the kernel."""
        if self._bytes_sent is not None:
            return self._bytes_sent
        return self.connection.transport.bytes_sent - self._bytes_before

    @property
    def status(self) -> int | None:
        """Of the answer; None where there is none, or no HTTP."""
        return None

    def heeds(self, suspicion: Evidence) -> bool:
        """Takes a suspicion down; whether it means this target."""
        return self.target.heeds(suspicion, self.connection.endpoint, self._generation)

    def note_served(self, now: Instant) -> None:
        """Whatever the server says, it serves."""
        health = self.target.engine.health
        health.report_success(self.connection.endpoint, now, self._generation)

    def end(self, verdict: Verdict) -> None:
        """Nothing more is said. The connection is ours still, until `give_back` or `close`."""
        self._bytes_sent = self.connection.transport.bytes_sent - self._bytes_before
        if verdict is Verdict.ANSWERED:
            self.phase = Phase.DONE

    async def give_back(self, *, is_whole: bool) -> None:
        """To the pool, if it may serve again.

        Args:
            is_whole: whether all of the request was sent: nothing else may follow on a part of one.
        """
        is_ready = False
        try:
            is_ready = is_whole and await self.connection.make_ready_again()
        finally:
            self.target.pool.release(self.connection, is_ready)

    def close(self, verdict: Verdict, evidence: Evidence | None, detail: str = "") -> None:
        """At once; what else is idle at a lost server would cost the next requests the same time."""
        pool, connection = self.target.pool, self.connection
        connection.close()
        if is_lost(verdict, evidence):
            pool.retire_endpoint(connection.key, connection.endpoint, connection)
        pool.release(connection, False)
        if end_counts_against(verdict, evidence, is_reused=self.is_reused):
            health, now = self.target.engine.health, trio.current_time()
            why = end_words(verdict, evidence, detail)
            health.report_failure(connection.endpoint, now, self._generation, why)
