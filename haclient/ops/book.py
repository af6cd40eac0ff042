"""Counts what came of the exchanges: what /metrics, /status and /events tell about the past.

The usual way is a prometheus_client Counter for each number: a lock and a look-up by label values
each, about 1 µs apiece and six of them for each request. Here a row for each listener and target has
plain numbers, an exchange finds its row by one look into a dict, and the metrics are made of the rows
when somebody asks (metrics.py). `tell` is on the hot path, which is why the common course stands in it
unfolded: 0.45 µs for a request that was answered at once, on a connection that there was (CPython 3.11;
tests/ops/test_book.py holds it below 4).

What a failover is: an exchange that was answered by a later attempt than the first. How long it took:
from the trouble's beginning to the start of the attempt that answered, for that is what the failover
window promises to bound. Trouble begins with the failed server's last sign of life, where the evidence
says when that was; with its answer or its end where it gave one that called for another server; else
(nobody was there, or it was silent for too long) with the start of the attempt.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection

import trio

from haclient.ops.feed import Feed
from haclient.ops.last_known import LastKnown
from haclient.ops.log import wall_clock
from haclient.ops.log_text import masked, visible
from haclient.ops.status_report import FailoverReport, OrderReport
from haclient.proxy.record import ExchangeRecord, Outcome
from haclient.types import AttemptRecord, Instant, Verdict

__all__ = [
    "CONNECT_BOUNDS",
    "FAILOVER_BOUNDS",
    "REQUEST_BOUNDS",
    "Book",
    "Histogram",
    "Row",
    "Tally",
]

LAST_FAILOVERS = 50
"""As many as anybody scrolls through; each has up to a kilobyte, and /status bears all of them."""

LONGEST = 500
"""Characters of a path. A client may send 32 KiB of it, and fifty of them would fill the page."""

REQUEST_BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Seconds. Prometheus's usual ones, a millisecond below and a minute above: servers on the same
network at one end, the back-stop (40 s) at the other."""

FAILOVER_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0)
"""Seconds. Close together where the detector's verdicts lie (1.1 to 1.6, and 2.5), and around the
default window (4)."""

CONNECT_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. From the same network to connect_timeout, 1 s, for connect and handshake each."""

KNOWN_SIGN = frozenset({Verdict.CLOSED, Verdict.GARBLED, Verdict.ANSWERED})
"""Its end came from the server: that is when the trouble began."""

ANSWERED, ANSWERED_BY = Outcome.ANSWERED, Verdict.ANSWERED


class Histogram:
    """How many values lie in which range; the last count is of what lies above every bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Tally:
    """What is counted of one target ("" stands for requests that no route took)."""

    __slots__ = ("answered", "connects", "durations", "failovers", "resent", "resumes", "verdicts")

    def __init__(self) -> None:
        self.answered = 0
        """Attempts with this verdict; the others are in `verdicts`."""
        self.verdicts: Counter[Verdict] = Counter()
        self.durations = Histogram(REQUEST_BOUNDS)
        self.connects = Histogram(CONNECT_BOUNDS)
        self.failovers = Histogram(FAILOVER_BOUNDS)
        self.resent = 0
        self.resumes = 0

    def add_attempt(self, attempt: AttemptRecord) -> None:
        """Counts one, and the connections that it brought about."""
        if attempt.verdict is ANSWERED_BY:
            self.answered += 1
        else:
            self.verdicts[attempt.verdict] += 1
        for one in attempt.connection_attempts:
            if one.usable_at is not None:
                self.connects.add(one.usable_at - one.started_at)


class Row:
    """What is counted of one target's requests at one listener."""

    __slots__ = ("answered", "others", "tally", "tunnel_bytes_down", "tunnel_bytes_up")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.answered = [0] * 10
        """By the first digit of the status: whole responses of servers."""
        self.others: Counter[tuple[int, Outcome]] = Counter()
        self.tunnel_bytes_up = 0
        self.tunnel_bytes_down = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.answered) + self.others.total()


class Book:
    """What is known of the past.

    Attributes:
        rows: by listener and target.
        tallies: by target.
        last_failovers: the youngest last.
        feed: where failovers and orders are told.
        known: what last happened at each address.
    """

    def __init__(self, now: Callable[[], int] = wall_clock) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.tallies: dict[str, Tally] = {}
        self.last_failovers: deque[FailoverReport] = deque(maxlen=LAST_FAILOVERS)
        self.feed = Feed(now)
        self.known = LastKnown()
        self._now = now

    def __repr__(self) -> str:
        return f"<Book of {sum(row.requests for row in self.rows.values())} requests>"

    def tell(self, record: ExchangeRecord) -> None:
        """Counts an exchange that is over."""
        row = self.rows.get((record.listener, record.target))
        if row is None:
            row = self._new_row(record.listener, record.target)
        tally = row.tally
        if record.outcome is ANSWERED:
            row.answered[record.status // 100] += 1
        else:
            row.others[record.status // 100, record.outcome] += 1
        if record.outcome is Outcome.TUNNELLED or record.is_tcp:
            row.tunnel_bytes_up += record.request_bytes
            row.tunnel_bytes_down += record.response_bytes
        else:
            durations = tally.durations
            seconds = record.ended_at - record.began_at
            durations.counts[bisect_left(REQUEST_BOUNDS, seconds)] += 1
            durations.total += seconds
        attempts = record.attempts
        if len(attempts) == 1 and attempts[0].verdict is ANSWERED_BY and attempts[0].reused:
            tally.answered += 1
            endpoint = attempts[0].endpoint
            if endpoint is not None:
                self.known.note(endpoint, is_good=True, at=attempts[0].ended_at)
        else:
            self._tell_attempts(record, tally)

    def tell_order(self, kind: str, report: OrderReport) -> None:
        """Tells that the daemon was ordered to reload or to drain, by whomever, and what came of it.

        Args:
            kind: "reload" or "drain".
            report: as it was answered, or would have been.
        """
        self.feed.publish(kind, report)

    def rows_of(
        self, listeners: Collection[str], targets: Collection[str]
    ) -> dict[tuple[str, str], Row]:
        """Without those that are of another listener or target."""
        return {
            (listener, target): row
            for (listener, target), row in self.rows.items()
            if listener in listeners and target in targets
        }

    def forget_others(self, listeners: Collection[str], targets: Collection[str]) -> None:
        """Drops what a reload has removed: names without end would cost memory without end."""
        self.rows = self.rows_of(listeners, targets)
        used = {target for _, target in self.rows}
        self.tallies = {name: each for name, each in self.tallies.items() if name in used}

    def _new_row(self, listener: str, target: str) -> Row:
        tally = self.tallies.setdefault(target, Tally())
        row = self.rows[listener, target] = Row(tally)
        return row

    def _tell_attempts(self, record: ExchangeRecord, tally: Tally) -> None:
        attempts = record.attempts
        for attempt in attempts:
            tally.add_attempt(attempt)
            self.known.note_attempt(attempt)
        if len(attempts) < 2:
            return
        tally.resent += len(attempts) - 1
        tally.resumes += sum(map(_broke_off, attempts[:-1]))
        answering = _answering(record)
        if answering is None:
            self._tell_failover(record, None)
        elif answering.number > 1:
            tally.failovers.add(answering.started_at - trouble_began(attempts[0], attempts[1]))
            self._tell_failover(record, answering)

    def _tell_failover(self, record: ExchangeRecord, answering: AttemptRecord | None) -> None:
        failed, last = record.attempts[0], answering or record.attempts[-1]
        report = FailoverReport(
            at=self._now() / 1e9 - (trio.current_time() - record.ended_at),
            target=record.target,
            method=_bounded(visible(record.method)),
            path=_bounded(visible(masked(record.path))),
            source=_where(failed),
            to="" if answering is None else _where(answering),
            verdict=failed.verdict.value,
            evidence=_why(failed),
            seconds=round(last.started_at - failed.started_at, 6),
        )
        self.last_failovers.append(report)
        self.feed.publish("failover", report)


def trouble_began(failed: AttemptRecord, following: AttemptRecord) -> Instant:
    """When what the following attempt is for began: see the module's docstring."""
    if failed.evidence is not None and failed.evidence.silent_for:
        # Suspicion and verdict are followed at once, and the evidence is of that moment; a suspect
        # may live on for long after it.
        return max(failed.started_at, following.started_at - failed.evidence.silent_for)
    if failed.verdict in KNOWN_SIGN:
        return min(failed.ended_at, following.started_at)
    return failed.started_at


def _answering(record: ExchangeRecord) -> AttemptRecord | None:
    """The attempt whose answer the client has; the others were over before that one was."""
    if record.outcome is not ANSWERED and record.outcome is not Outcome.TUNNELLED:
        return None
    answered = [each for each in record.attempts if each.verdict is ANSWERED_BY]
    return max(answered, key=lambda each: each.ended_at, default=None)


def _broke_off(attempt: AttemptRecord) -> bool:
    """In mid-response: an attempt that comes after such a one is a resume."""
    return attempt.status is not None and attempt.verdict is not ANSWERED_BY


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _why(attempt: AttemptRecord) -> str:
    if attempt.evidence is not None:
        return str(attempt.evidence)
    return f"with {attempt.status}" if attempt.verdict is ANSWERED_BY else attempt.detail


def _where(attempt: AttemptRecord) -> str:
    return str(attempt.endpoint if attempt.endpoint is not None else attempt.origin)
