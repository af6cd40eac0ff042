"""A connection for a protocol that is not ours: dialled for one client, never pooled, and its record.

A tunnel cannot share a connection: nobody here knows where one exchange of its protocol ends and the
next one begins. What it has in common with a request is the way there: names, order, race, tiers and
holds (haclient.engine.reach), nothing sent before it has a connection, and a record of what was met. The
naive answer, `connect()` in a loop over the addresses, has none of these.

    dial = Dial(target)
    try:
        connection = await dial.connect()       # raises haclient.errors.Error, with the attempts in it
        ...                                     # the caller moves bytes
        dial.note_answer()                      # the server's first byte
    finally:
        dial.end(Verdict.ANSWERED)              # closes; harmless where nothing is open
    dial.records                                # for the log

For targets whose URLs are tcp:// (or srv+tcp://): no connection of theirs is ever idle in the pool, so
all that `connect` returns are new. They count towards the target's max_connections all the same.

Left out: any resend. What was handed to a server's connection is that server's alone.
"""

from __future__ import annotations

import trio

from haclient import events
from haclient.engine import recording
from haclient.engine.failure import error_for
from haclient.engine.holding import Holding
from haclient.engine.leasing import try_out_passed_over
from haclient.engine.live import LiveTarget
from haclient.engine.outcome import Sticky
from haclient.engine.reach import Reach
from haclient.engine.sticky import note_answer, reach_of
from haclient.net.connection import Connection
from haclient.types import AttemptRecord, Endpoint, Evidence, Instant, Phase, Verdict

__all__ = ["Dial"]


class Dial:
    """The attempts at a connection for one client, one after another; see the module's docstring.

    Attributes:
        number: of the attempt at hand, from 1 on.
        holding: its connection, once it has one.
        reach: its way there.
    """

    def __init__(
        self,
        target: LiveTarget,
        observe: events.Observer | None = None,
        sticky: Sticky | None = None,
    ) -> None:
        origins = [url.origin for tier in target.tiers for url in tier]
        if not all(origin.is_tcp for origin in origins):
            raise ValueError(f"only tcp:// targets are dialled, and this one is {origins}")
        self.target = target
        self.number = 0
        self.holding: Holding | None = None
        self.reach: Reach | None = None
        self.started_at: Instant = trio.current_time()
        self._observe = observe
        self._sticky = sticky
        self._records: tuple[AttemptRecord, ...] = ()
        self._tried: set[Endpoint] = set()
        self._is_over = True

    def __repr__(self) -> str:
        return f"<Dial {self.number} to {recording.where(self)}, {recording.phase_of(self).value}>"

    async def connect(self, reason: str = "") -> Connection:
        """Returns a new connection, the caller's until `end`.

        A second call, after `end`, is another attempt; addresses that failed this dial before are asked
        last.

        Args:
            reason: why there is another attempt, for the observer.

        Raises:
            haclient.errors.Error: no address of any tier could be connected.
        """
        reach = self._begin(reason)
        try:
            connection = await reach.connection(self._tried)
        except Exception as exc:
            # At its limit of connections for too long, mostly.
            self.end(Verdict.FAILED, str(exc))
            raise error_for(self._records, None, reach, exc) from None
        self._tried.update(reach.met.refused())
        if connection is None:
            verdict = Verdict.FAILED if reach.met.has_only_names_failed else Verdict.REFUSED
            self.end(verdict, reach.met.describe())
            # Of this attempt: what an earlier one came to is in its record.
            raise error_for(self._records, None, reach, None, self._records[-1])
        self._note_connected(connection)
        return connection

    def _begin(self, reason: str) -> Reach:
        if not self._is_over:
            raise RuntimeError("the attempt before has not been ended")
        self.number += 1
        self.holding = None
        self.started_at = trio.current_time()
        self._is_over = False
        self.reach = reach = reach_of(self.target, self.number, self._observe, self._sticky)
        if self._observe is not None:
            origins = tuple(url.origin for url in self.target.first_tier)
            self._observe(events.AttemptStarted(self.started_at, self.number, origins, reason))
        return reach

    def _note_connected(self, connection: Connection) -> None:
        self.holding = Holding(self.target, connection)
        self._tried.add(connection.endpoint)
        try_out_passed_over(self.target, self._sticky, connection)
        if self._observe is not None:
            self._observe(recording.connected(self.number, connection, reused=False))

    @property
    def records(self) -> tuple[AttemptRecord, ...]:
        """The whole result of each attempt that is over, in their order."""
        return self._records

    def note_answer(self) -> None:
        """The server has spoken: whatever it says, it serves."""
        held = self.holding
        assert held is not None
        if held.first_byte_at is None:
            now = held.first_byte_at = trio.current_time()
            held.phase = Phase.RECEIVING
            held.note_served(now)
            if self._sticky is not None:
                note_answer(self.target, self._sticky, held.connection.endpoint)

    def end(self, verdict: Verdict, detail: str = "", evidence: Evidence | None = None) -> None:
        """The attempt is over and its connection closed, at once. Harmless where it was over already.

        DEAD and CLOSED are held against the address.
        """
        if self._is_over:
            return
        self._is_over = True
        now, held = trio.current_time(), self.holding
        if held is not None:
            held.end(verdict)
        record = recording.record_of(self, now, verdict, detail, evidence, replay="")
        self._records += (record,)
        if held is not None:
            held.close(verdict, evidence, detail)
        if self._observe is not None:
            self._observe(events.AttemptEnded(now, self.number, record))
