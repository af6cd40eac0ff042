"""`--trace`: a timeline of a request, for a person.

A reader of haclient.events that decides nothing. The naive trace prints every event as it comes: a
race of three is then seven lines, and the one that matters is somewhere among them. Here a line is
one step of the request's way (name, race, connection, sent, silence, verdict, next try, answer),
each with the seconds since the trace began and the number of its attempt in a colour of its own;
the last line says what it cost.

      0.001  1 + 10.0.0.1:8080 connected in 0.9 ms, ahead of 10.0.0.2:8080
      0.001  1 > GET /orders/7 sent, 131 bytes
      1.002  1 . silent for 1.00 s: probe sent
      1.103  1 ? suspect: 1 keep-alive probe unanswered, silent for 1.10 s
      1.103  2 @ second try: attempt 1 is suspect
      ...
      1.106    + 200 from 10.0.0.2:8080 after 1.11 s, 1.11 s from the last sign of life of 10.0.0.1:8080

A trace must not harm what it watches: a stream that cannot be written to is given up in silence.
Header fields are left out, for they bear credentials: `-v` shows those. One exchange is read after
another, as the command has them; those of a library that runs many at once would mix.
"""

from __future__ import annotations

from typing import TextIO, assert_never

from haclient import events
from haclient.ops.style import Colour, Sign, Style, printable
from haclient.ops.trace_json import request_line
from haclient.types import (
    AttemptRecord,
    ConnectFailure,
    Endpoint,
    Evidence,
    EvidenceKind,
    Instant,
    Verdict,
)

__all__ = ["Timeline", "evidence_words", "milliseconds"]

ATTEMPT_COLOURS = (Colour.CYAN, Colour.MAGENTA, Colour.BLUE)

ORDINALS = {2: "second", 3: "third", 4: "fourth"}

_ONE_OF = {
    EvidenceKind.RETRANSMITS: "retransmission unanswered",
    EvidenceKind.KEEPALIVE_PROBES: "keep-alive probe unanswered",
    EvidenceKind.WINDOW_PROBES: "window probe unanswered",
}


def evidence_words(evidence: Evidence) -> str:
    """As `str(evidence)`, and in the singular where there is one."""
    one = _ONE_OF.get(evidence.kind)
    if evidence.count == 1 and one is not None:
        return f"1 {one}, silent for {evidence.silent_for:.2f} s"
    return str(evidence)


def milliseconds(seconds: float) -> str:
    """A duration for a person: "0.42 ms", "17 ms", "1.11 s"."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2g} ms"


class Timeline:
    """An observer that writes a line for each step.

    Args:
        stream: where to, stderr for one.
        style: what it can show.
    """

    def __init__(self, stream: TextIO, style: Style) -> None:
        self._stream: TextIO | None = stream
        self._style = style
        self._began_at: Instant | None = None
        self._is_line_open = False
        self._forget()

    def _forget(self) -> None:
        """What is known of one exchange."""
        self._started_at: Instant | None = None
        self._connects: dict[tuple[int, Endpoint], Instant] = {}
        self._slower: list[Endpoint] = []
        self._sent_at: dict[int, Instant] = {}
        self._probed_at: dict[int, Instant] = {}
        self._alive_until: tuple[Instant, Endpoint] | None = None
        self._declared_dead: set[int] = set()
        self._answer: events.ResponseStarted | None = None

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        if self._began_at is None:
            self._began_at = event.at
        if self._started_at is None:
            self._started_at = event.at
        self._tell(event)

    def _tell(self, event: events.Event) -> None:
        match event:
            case events.AttemptStarted(at, attempt, _, reason):
                self._attempt_started(at, attempt, reason)
            case events.NameResolved():
                self._name_resolved(event)
            case events.ConnectionAttemptStarted(at, attempt, endpoint):
                self._connecting(at, attempt, endpoint)
            case events.ConnectionAttemptEnded():
                self._connection_attempt_ended(event)
            case events.Connected():
                self._connected(event)
            case events.RequestSent(at, attempt, _, head, bytes_sent):
                self._sent_at[attempt] = at
                method, target = request_line(head)
                text = f"{method} {target} sent, {bytes_sent} bytes"
                self._line(at, attempt, Sign.SENT, printable(text))
            case events.Probed(at, attempt, _, silent_for):
                self._probed(at, attempt, silent_for)
            case events.Suspected(at, attempt, endpoint, evidence):
                self._note_trouble(at - evidence.silent_for, endpoint)
                text = f"suspect: {evidence_words(evidence)}"
                self._line(at, attempt, Sign.SUSPECT, text, Colour.YELLOW)
            case events.Cleared(at, attempt, _):
                self._alive_until = None
                self._line(at, attempt, Sign.DONE, "alive after all", Colour.GREEN)
            case events.DeclaredDead(at, attempt, endpoint, evidence):
                self._note_trouble(at - evidence.silent_for, endpoint)
                self._declared_dead.add(attempt)
                self._line(
                    at, attempt, Sign.FAILED, f"dead: {evidence_words(evidence)}", Colour.RED
                )
            case events.InterimReceived(at, attempt, status, _):
                self._line(at, attempt, Sign.RECEIVED, f"{status} (interim)", Colour.DIM)
            case events.ResponseStarted(at, attempt, _, status, reason, _, _):
                self._answer = event
                since = self._sent_at.get(attempt)
                took = f" after {milliseconds(at - since)}" if since is not None else ""
                text = f"{status} {reason.decode('latin-1')}".strip()
                self._line(at, attempt, Sign.RECEIVED, printable(text) + took)
            case events.AttemptEnded(at, _, record):
                self._attempt_ended(at, record)
            case events.ExchangeEnded():
                self._exchange_ended(event)
                self._forget()
            case _:
                assert_never(event)

    # --- the way to a connection ---------------------------------------------------------------

    def _attempt_started(self, at: Instant, attempt: int, reason: str) -> None:
        if attempt == 1:
            return  # the first line of interest is the name's, or the pooled connection's
        ordinal = ORDINALS.get(attempt, f"{attempt}th")
        # The evidence behind the colon was in the line before.
        why = f": {printable(reason.partition(':')[0])}" if reason else ""
        self._line(at, attempt, Sign.AGAIN, f"{ordinal} try{why}", Colour.BOLD)

    def _name_resolved(self, event: events.NameResolved) -> None:
        if event.source == "literal":
            return
        addresses = ", ".join(endpoint.address for endpoint in event.endpoints)
        ttl = f", TTL {event.ttl:.0f} s" if event.ttl is not None else ""
        text = f"{event.host} is {addresses} ({event.source}{ttl})"
        self._line(event.at, event.attempt, Sign.NOTE, printable(text))

    def _connecting(self, at: Instant, attempt: int, endpoint: Endpoint) -> None:
        """All that start together stand in one line, which stays open for them."""
        self._connects[attempt, endpoint] = at
        if self._is_line_open:
            self._write(f", {endpoint}")
        else:
            text = f"connecting to {endpoint}"
            self._line(at, attempt, Sign.NOTE, text, is_left_open=True)

    def _connection_attempt_ended(self, event: events.ConnectionAttemptEnded) -> None:
        match event.failure:
            case None:
                pass  # Connected tells it, with TLS
            case ConnectFailure.LOST:
                self._slower.append(event.endpoint)
            case failure:
                since = self._connects.get((event.attempt, event.endpoint), event.at)
                detail = f" ({event.detail})" if event.detail else ""
                text = f"{event.endpoint} {failure.value} after {milliseconds(event.at - since)}"
                self._line(
                    event.at, event.attempt, Sign.FAILED, printable(text + detail), Colour.RED
                )

    def _connected(self, event: events.Connected) -> None:
        tls = f", {event.tls}" if event.tls else ""
        if event.reused:
            text = f"{event.endpoint}: a pooled connection{tls}"
            self._line(event.at, event.attempt, Sign.DONE, text)
            return
        since = self._connects.get((event.attempt, event.endpoint), event.at)
        text = f"{event.endpoint} connected in {milliseconds(event.at - since)}{tls}"
        slower, self._slower = self._slower, []
        if slower:
            text += f", ahead of {', '.join(str(endpoint) for endpoint in slower)}"
        self._line(event.at, event.attempt, Sign.DONE, text, Colour.GREEN)

    def _probed(self, at: Instant, attempt: int, silent_for: float) -> None:
        """There is no event for an answered probe: that the silence began anew is its answer."""
        last = self._probed_at.get(attempt, at)
        self._probed_at[attempt] = at
        text = f"silent for {silent_for:.2f} s: probe sent"
        if at - silent_for > last:
            text = f"alive, it answered the probe; silent for {silent_for:.2f} s again: probe sent"
        self._line(at, attempt, Sign.SILENT, text, Colour.DIM)

    # --- ends ----------------------------------------------------------------------------------

    def _attempt_ended(self, at: Instant, record: AttemptRecord) -> None:
        where = str(record.endpoint or record.origin)
        match record.verdict:
            case Verdict.ANSWERED:
                return
            case Verdict.DEAD:
                if record.number in self._declared_dead:
                    return
                text = f"{where} is dead"
            case Verdict.CLOSED:
                self._note_trouble(at, record.endpoint)
                text = f"{where} closed the connection while {record.phase.value}"
            case Verdict.SUPERSEDED:
                self._line(at, record.number, Sign.NOTE, "given up: another answered", Colour.DIM)
                return
            case Verdict.REFUSED:
                text = "no address could be connected"
            case verdict:
                text = f"{where}: {verdict.value} while {record.phase.value}"
        detail = f" ({record.detail})" if record.detail else ""
        self._line(at, record.number, Sign.FAILED, printable(text + detail), Colour.RED)

    def _exchange_ended(self, event: events.ExchangeEnded) -> None:
        assert self._started_at is not None
        took = milliseconds(event.at - self._started_at)
        tries = f", {len(event.attempts)} attempts" if len(event.attempts) > 1 else ""
        if event.error is not None or self._answer is None:
            kind = type(event.error).__name__ if event.error is not None else "no answer"
            self._line(event.at, None, Sign.FAILED, f"{kind} after {took}{tries}", Colour.RED)
            return
        answer, failover = self._answer, ""
        if self._alive_until is not None:
            instant, endpoint = self._alive_until
            if endpoint != answer.endpoint:
                since = milliseconds(answer.at - instant)
                failover = f", {since} from the last sign of life of {endpoint}"
        text = f"{answer.status} from {answer.endpoint} after {took}{failover}{tries}"
        self._line(event.at, None, Sign.DONE, text, Colour.BOLD, Colour.GREEN)

    def _note_trouble(self, alive_until: Instant, endpoint: Endpoint | None) -> None:
        """The first server in trouble is the one that the failover is counted from."""
        if self._alive_until is None and endpoint is not None:
            self._alive_until = alive_until, endpoint

    # --- writing -------------------------------------------------------------------------------

    def _line(
        self,
        at: Instant,
        attempt: int | None,
        sign: Sign,
        text: str,
        *colours: Colour,
        is_left_open: bool = False,
    ) -> None:
        assert self._began_at is not None
        style = self._style
        time = style.paint(f"{at - self._began_at:9.3f}", Colour.DIM)
        number = " "
        if attempt is not None:
            colour = ATTEMPT_COLOURS[(attempt - 1) % len(ATTEMPT_COLOURS)]
            number = style.paint(str(attempt), Colour.BOLD, colour)
        told = style.paint(f"{style.sign(sign)} {text}", *colours)
        start = "\n" if self._is_line_open else ""
        self._write(f"{start}{time}  {number} {told}" + ("" if is_left_open else "\n"))
        self._is_line_open = is_left_open

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None
