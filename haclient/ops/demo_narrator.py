"""The events of one request, told for a spectator: no port, no attempt number, one line a step.

`--trace` tells more, and to somebody who looks for a fault; this is for somebody who is to see in
half a minute what happens. All servers of the show have one port, so an address says it all.
"""

from __future__ import annotations

from collections.abc import Callable

from haclient import events
from haclient.ops.demo_screen import Tone
from haclient.ops.trace import milliseconds
from haclient.types import ConnectFailure, Endpoint, EvidenceKind, Instant, Verdict

__all__ = ["Narrator"]

Tell = Callable[[Instant, str, Tone], None]

SIGNS = {
    EvidenceKind.RETRANSMITS: "retransmission",
    EvidenceKind.KEEPALIVE_PROBES: "keep-alive probe",
    EvidenceKind.WINDOW_PROBES: "window probe",
}


class Narrator:
    """An observer of one exchange at a time.

    Args:
        tell: gets an instant, a text and its tone.
        tells_name: whether the name's addresses are told, too.
    """

    def __init__(self, tell: Tell, tells_name: bool) -> None:
        self._tell = tell
        self._tells_name = tells_name
        self._racers: dict[Endpoint, Instant] = {}
        self._out: list[str] = []
        self._probed_at: Instant | None = None

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        match event:
            case events.NameResolved(at, _, host, endpoints) if self._tells_name:
                addresses = ", ".join(endpoint.address for endpoint in endpoints)
                self._tell(at, f"{host} is {addresses}", Tone.PLAIN)
            case events.AttemptStarted():
                self._racers, self._out, self._probed_at = {}, [], None
            case events.ConnectionAttemptStarted(at, _, endpoint):
                self._racers[endpoint] = at
            case events.ConnectionAttemptEnded(_, _, endpoint, ConnectFailure() as failure):
                if failure is not ConnectFailure.LOST:
                    self._out.append(f"{endpoint.address} {failure.value}")
            case events.Connected(at, attempt, _, endpoint):
                self._connected(at, attempt, endpoint)
            case events.RequestSent(at, 1, endpoint):
                self._tell(at, f"GET forwarded to {endpoint.address}", Tone.FAINT)
            case events.Probed(at, _, endpoint, silent_for):
                self._probed(at, endpoint, silent_for)
            case events.Suspected(at, _, endpoint, evidence):
                sign = SIGNS.get(evidence.kind, evidence.kind.value)
                text = f"{endpoint.address} is suspect: {evidence.count} {sign} unanswered"
                self._tell(at, text, Tone.WARNING)
            case events.Cleared(at, _, endpoint):
                self._tell(at, f"{endpoint.address} is alive after all", Tone.GOOD)
            case events.DeclaredDead(at, _, endpoint, evidence):
                self._tell(at, f"{endpoint.address} is dead: {evidence}", Tone.BAD)
            case events.AttemptEnded(at, _, record) if record.verdict is Verdict.CLOSED:
                where = record.endpoint.address if record.endpoint is not None else record.origin
                self._tell(at, f"{where}: its kernel closed the connection", Tone.WARNING)
            case _:
                pass

    def _connected(self, at: Instant, attempt: int, endpoint: Endpoint) -> None:
        took = milliseconds(at - self._racers.get(endpoint, at))
        out = f"; {', '.join(self._out)}" if self._out else ""
        if attempt > 1:
            text = f"second try to {endpoint.address}, connected in {took}{out}"
            self._tell(at, text, Tone.WARNING)
        elif len(self._racers) > 1:
            text = f"race of {len(self._racers)}: {endpoint.address} is first, in {took}{out}"
            self._tell(at, text, Tone.PLAIN)

    def _probed(self, at: Instant, endpoint: Endpoint, silent_for: float) -> None:
        """A probe that leaves after less silence than since the last one: that one was answered."""
        last, self._probed_at = self._probed_at, at
        if last is not None and at - silent_for >= last:
            text = f"{endpoint.address} answered: alive. Silent for {silent_for:.2f} s again: probe sent"
        else:
            text = f"{endpoint.address} silent for {silent_for:.2f} s: probe sent"
        self._tell(at, text, Tone.FAINT)
