"""A TCP connection as the two kernels see it, without sockets, tasks or a clock.

The problem: the client tells a dead server from a slow one by what its kernel knows (TCP_INFO),
so a fake that only carries bytes would test nothing. The naive answer, canned TcpInfo values, would
let the detector be tested against our belief instead of against a connection. So this is a small
model of TCP: segments with a one-way delay, acknowledgements, windows, retransmissions, window
probes, keep-alive probes, FIN and RST, in virtual time.

It is a discrete-event simulation, evaluated late: nothing runs by itself. `Connection.advance(now)`
carries out, in order and each at its own instant, whatever was due until `now`; whoever looks at the
connection calls it first. A test that waits for the next thing to happen sleeps until
`next_event_at()`.

A cut path loses what arrives at the server's end and what leaves it: a dead host, or its cable.
What the server had sent before is still delivered.

The constants are those of Linux 6.18, measured on loopback unless they say otherwise. Left out:
loss of single segments, reordering, congestion control, delayed acknowledgements, selective
acknowledgement (all that is unacknowledged is sent again at each time-out), TIME_WAIT.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import replace
from math import inf

from haclient.core.detector import TcpInfo
from tests.sim.segment import MIN_RTO, Path, RoundTrip, Segment, Tripwire

__all__ = ["Connection", "End"]

SEGMENT_BYTES = 16384
"""As a network card with segmentation offload takes them; fewer events than 1460 would make."""

BUFFER_BYTES = 65536
"""Send buffer and receive buffer of each end: 128 KiB fit into a connection that nobody reads."""

RETRANSMIT_GAPS = (0.2, 0.21, 0.44, 0.82)
"""Seconds between sending, tail loss probe (RFC 8985, not counted in tcpi_retransmits), and the
first three counted retransmissions, at 0.41, 0.85 and 1.67 s. For a time-out of 200 ms; a longer one
stretches them in proportion (at 200 ms round trip: 1.23, 2.55, 5.01; measured 1.28, 2.50, 5.09)."""

CLIENT_RTO_MAX = 1.0
"""TCP_RTO_MAX_MS, which the dialer sets."""

SERVER_RTO_MAX = 120.0
"""TCP_RTO_MAX of Linux."""

MAX_RETRANSMITS = 15
"""net.ipv4.tcp_retries2; holds for window probes too. With TCP_RTO_MAX_MS=1000 the client's kernel
gives up after about 15 s; without it after about 15 minutes."""

WINDOW_PROBE_GAP = 0.21
"""Seconds before the first window probe; doubles up to the greatest retransmission time-out."""

KEEPIDLE = 1.0
KEEPINTVL = 1.0
KEEPCNT = 10
"""What the dialer and `probe` set, seconds and a count."""

PROBE_ANSWER_GAP = 0.5
"""net.ipv4.tcp_invalid_ratelimit, seconds: closer bare probes, keep-alive or window, get no answer.
Measured on a live peer that does not read: the window probe 0.42 s after the first one stays
unanswered, and the next one is sent 0.86 s later."""

RESET = "Connection reset by peer"
TIMED_OUT = "Connection timed out"


class Connection:
    """Two ends, what travels between them, and nothing that runs.

    Args:
        now: when the client's connect ended.
        paths: shared with all connections to the same host or endpoint; their delays add up, and
            one of them cut cuts the connection.
    """

    def __init__(self, now: float, paths: tuple[Path, ...] = ()) -> None:
        self.paths = paths
        self.own_path = Path()
        self.news: Callable[[], None] = lambda: None
        """Called after something happened, or something earlier than before is due."""
        self.has_news = False
        self._queue: list[tuple[float, int, End, Segment]] = []
        self._order = itertools.count()
        self._is_advancing = False
        round_trip = 2 * self.delay
        self.client = End(self, now, round_trip, is_server=False)
        self.server = End(self, now, round_trip, is_server=True)
        self.client.peer, self.server.peer = self.server, self.client
        self.client.segs_in = 1  # the SYN-ACK

    @property
    def delay(self) -> float:
        """One way, seconds."""
        return sum(path.delay for path in self.paths)

    def is_cut(self, at: float) -> bool:
        """Whether nothing passes at the server's end."""
        return at < self.own_path.cut_until or any(at < path.cut_until for path in self.paths)

    def carry(self, sender: End, segment: Segment, now: float) -> None:
        """Sends a segment on its way; it overtakes no earlier one."""
        sender.segs_out += 1
        self.has_news = True
        if sender.is_server and self.is_cut(now):
            return
        arrival = max(now + self.delay, sender.last_arrival)
        sender.last_arrival = arrival
        heapq.heappush(self._queue, (arrival, next(self._order), sender.peer, segment))

    def next_event_at(self) -> float:
        """When something will happen next if nobody does anything; inf for never."""
        arrival = self._queue[0][0] if self._queue else inf
        return min(arrival, self.client.next_timer_at(), self.server.next_timer_at())

    def advance(self, now: float) -> None:
        """Carries out everything that is due. Called from within itself it does nothing."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while (at := self.next_event_at()) <= now:
                self.has_news = True
                self._run_one(at)
        finally:
            self._is_advancing = False
        if self.has_news:
            self.has_news = False
            self.news()

    def _run_one(self, at: float) -> None:
        if self._queue and self._queue[0][0] <= at:
            _, _, receiver, segment = heapq.heappop(self._queue)
            if not (receiver.is_server and self.is_cut(at)):
                receiver.arrive(segment, at)
            return
        for end in (self.client, self.server):
            if end.next_timer_at() <= at:
                end.run_timer(at)


class End:
    """One kernel's side. Every call takes `now`, and `advance` must have been called with it."""

    peer: End

    def __init__(self, connection: Connection, now: float, rtt: float, *, is_server: bool) -> None:
        self.connection = connection
        self.is_server = is_server
        self.rto_max = SERVER_RTO_MAX if is_server else CLIENT_RTO_MAX
        # RFC 6298, 2.2: the handshake is the first measurement.
        self.round_trip = RoundTrip(rtt, rtt / 2)
        self.tripwire = Tripwire()
        # Sending: `outgoing` holds the bytes from `una` to `written`; `nxt` is the next to go out.
        self.outgoing = bytearray()
        self.una = self.nxt = self.written = 0
        self.edge = BUFFER_BYTES
        self.has_fin_queued = False
        # Receiving.
        self.incoming = bytearray()
        self.rcv_nxt = self.bytes_read = 0
        self.promised_edge = BUFFER_BYTES
        self.has_fin_arrived = False
        # Life.
        self.is_closed = False
        self.is_gone = False
        """No such connection here any more: whatever arrives is answered with RST."""
        self.unreported_error = ""
        # Timers (inf: not running) and what TCP_INFO shows.
        self.retransmit_at = self.window_probe_at = self.keepalive_at = inf
        self.timeouts = self.window_timeouts = 0
        self.probes = 0
        self.segs_in = self.segs_out = 0
        self.last_received_at = now
        self.last_answer_at = -inf
        self.last_arrival = -inf

    @property
    def is_half_closed(self) -> bool:
        """Whether nothing more may be written."""
        return self.has_fin_queued or self.is_closed

    @property
    def room(self) -> int:
        """Bytes that the send buffer takes now."""
        return BUFFER_BYTES - len(self.outgoing)

    # -- What the application asks for ----------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview, now: float) -> int:
        """Hands over what there is room for; returns how much."""
        taken = bytes(data[: self.room])
        self.outgoing += taken
        self.written += len(taken)
        self._push(now)
        return len(taken)

    def write_eof(self, now: float) -> None:
        """Closes the sending side, behind what is still to be sent."""
        if not self.has_fin_queued and not self.is_gone:
            self.has_fin_queued = True
            self._push(now)

    def read(self, max_bytes: int, now: float) -> bytes | None:
        """Takes what has come in; b"" at the end, None where there is nothing yet, or an error."""
        if not self.incoming:
            at_end = self.has_fin_arrived or (self.is_gone and not self.unreported_error)
            return b"" if at_end else None
        data = bytes(self.incoming[:max_bytes])
        del self.incoming[:max_bytes]
        self.bytes_read += len(data)
        # RFC 9293, 3.8.6.2.2: no window update for less than a segment or half the buffer.
        opened = self.bytes_read + BUFFER_BYTES - self.promised_edge
        if opened >= min(SEGMENT_BYTES, BUFFER_BYTES // 2) and not self.is_gone:
            self._send(now)
        return data

    def take_error(self) -> str:
        """The error that waits, or ""; the kernel tells each only once, and is at its end then."""
        error, self.unreported_error = self.unreported_error, ""
        return error

    def close(self, now: float) -> None:
        """Closes both sides: FIN, or RST where something was left unread, as Linux does."""
        if self.is_closed:
            return
        self.is_closed = self.connection.has_news = True
        if self.incoming:
            self.abort(now)
        else:
            self.write_eof(now)
        self.stop_probing()

    def abort(self, now: float) -> None:
        """Sends RST and forgets the connection (close with SO_LINGER 0)."""
        if not self.is_gone:
            self._send(now, is_reset=True)
            self.incoming.clear()
            self.forget(RESET)

    def forget(self, error: str) -> None:
        """Drops all state and says nothing: a host that came back without it, or our last word."""
        self.connection.has_news = True
        self.is_gone = True
        self.unreported_error = error
        self.outgoing.clear()
        self.una = self.nxt = self.written
        self.retransmit_at = self.window_probe_at = self.keepalive_at = inf

    def probe(self, now: float) -> None:
        """SO_KEEPALIVE, then TCP_KEEPIDLE of 1 s: a probe goes out once nothing came in for so long."""
        if not self.is_gone and not self.is_closed:
            self.keepalive_at = max(now, self.last_received_at + KEEPIDLE)
            self.connection.has_news = True

    def stop_probing(self) -> None:
        """SO_KEEPALIVE off."""
        self.keepalive_at = inf

    def snapshot(self, now: float) -> TcpInfo:
        """What TCP_INFO shows."""
        return TcpInfo(
            unacked=-(-(self.nxt - self.una) // SEGMENT_BYTES),
            retransmits=max(0, self.timeouts - 1),
            probes=self.probes,
            segs_in=self.segs_in,
            notsent_bytes=max(0, self.written - self.nxt),
            rtt=self.round_trip.rtt,
            rttvar=self.round_trip.rttvar,
            last_received=now - self.last_received_at,
        )

    # -- What goes out --------------------------------------------------------------------------

    def _send(
        self,
        now: float,
        *,
        seq: int = -1,
        data: bytes = b"",
        is_fin: bool = False,
        is_reset: bool = False,
        is_probe: bool = False,
    ) -> None:
        self.promised_edge = self.bytes_read + BUFFER_BYTES
        segment = Segment(
            seq=self.nxt if seq < 0 else seq,
            ack=self.rcv_nxt,
            edge=self.promised_edge,
            data=data,
            is_fin=is_fin,
            is_reset=is_reset,
            is_probe=is_probe,
        )
        self.connection.carry(self, segment, now)

    def _push(self, now: float) -> None:
        """Sends what the peer's window lets through, and sets the timer that fits."""
        self.nxt = max(self.nxt, self._send_range(self.nxt, min(self.edge, self.written), now))
        if self.has_fin_queued and self.nxt == self.written:
            self._send(now, seq=self.written, is_fin=True)
            self.nxt = self.written + 1
        if self.nxt > self.una:
            if self.retransmit_at == inf:
                self.timeouts = 0
                self.retransmit_at = now + self._retransmit_gap()
        elif self.written > self.nxt and self.window_probe_at == inf:
            self.window_timeouts = 0
            self.window_probe_at = now + WINDOW_PROBE_GAP

    def _send_range(self, start: int, stop: int, now: float) -> int:
        """Sends bytes `start` to `stop` of the stream; returns where it stopped."""
        while start < stop:
            offset = start - self.una
            data = bytes(self.outgoing[offset : min(offset + SEGMENT_BYTES, stop - self.una)])
            self._send(now, seq=start, data=data)
            start += len(data)
            self.round_trip.time_segment(start, now)
            self.window_probe_at = inf
        return start

    # -- What comes in --------------------------------------------------------------------------

    def arrive(self, segment: Segment, now: float) -> None:
        """A segment came in (RFC 9293, section 3.10.7, as far as this model goes)."""
        if self.is_gone:
            if not segment.is_reset:
                self._send(now, is_reset=True)
            return
        self.segs_in += 1
        self.last_received_at = now
        if segment.is_reset:
            self.forget(RESET)
            return
        self.probes = 0
        self._acknowledge(segment.ack, now)
        self.edge = segment.edge  # segments keep their order, and it never goes back
        if segment.is_probe:
            self._answer_probe(now)
        elif segment.data or segment.is_fin:
            self._take(segment, now)
        if not self.is_gone:
            self._push(now)

    def _acknowledge(self, ack: int, now: float) -> None:
        if ack <= self.una:
            return
        del self.outgoing[: min(ack, self.written) - self.una]
        self.una = ack
        self.timeouts = 0
        self.retransmit_at = inf
        self.round_trip.acknowledge(ack, now)

    def _answer_probe(self, now: float) -> None:
        # The small allowance: instants are floats, and the rule is for whole milliseconds.
        if now - self.last_answer_at >= PROBE_ANSWER_GAP - 1e-9:
            self.last_answer_at = now
            self._send(now)

    def _take(self, segment: Segment, now: float) -> None:
        """Takes the data that is next in order, up to the tripwire first, and acknowledges it."""
        fresh = segment.data[max(0, self.rcv_nxt - segment.seq) :]
        if segment.seq > self.rcv_nxt:
            self._send(now)  # a gap before it: the sender's time-out will fill it
            return
        if self.is_closed and fresh:
            self.abort(now)  # nobody will ever read it
            return
        trip = self.tripwire.next_at()
        if fresh and trip is not None and trip <= self.rcv_nxt + len(fresh):
            until = max(0, trip - self.rcv_nxt)
            if until:
                self.incoming += fresh[:until]
                self.rcv_nxt += until
                self._send(now)
            self.tripwire.fire(now)
            rest = replace(segment, seq=self.rcv_nxt, data=fresh[until:])
            if (rest.data or rest.is_fin) and not self.is_gone and not self.connection.is_cut(now):
                self._take(rest, now)
            return
        self.incoming += fresh
        self.rcv_nxt += len(fresh)
        if segment.is_fin and not self.has_fin_arrived:
            self.has_fin_arrived = True
            self.rcv_nxt += 1
        self._send(now)

    # -- Timers ---------------------------------------------------------------------------------

    def next_timer_at(self) -> float:
        """The earliest of the three, or inf."""
        return min(self.retransmit_at, self.window_probe_at, self.keepalive_at)

    def run_timer(self, at: float) -> None:
        """Runs one timer that is due."""
        if self.retransmit_at <= at:
            self._retransmit(at)
        elif self.window_probe_at <= at:
            self._probe_window(at)
        else:
            self._keep_alive(at)

    def _retransmit_gap(self) -> float:
        """Seconds until the next time-out; the first one is the tail loss probe."""
        known = min(self.timeouts, len(RETRANSMIT_GAPS) - 1)
        gap = RETRANSMIT_GAPS[known] * 2.0 ** (self.timeouts - known)
        return min(gap * self.round_trip.rto / MIN_RTO, self.rto_max)

    def _retransmit(self, at: float) -> None:
        self.timeouts += 1
        if self.timeouts - 1 > MAX_RETRANSMITS:
            self.forget(TIMED_OUT)
            return
        self._send_range(self.una, min(self.nxt, self.written), at)
        self.round_trip.timed_seq = -1  # Karn: nothing sent twice is timed
        if self.nxt > self.written:
            self._send(at, seq=self.written, is_fin=True)
        self.retransmit_at = at + self._retransmit_gap()

    def _probe_window(self, at: float) -> None:
        if self.probes >= MAX_RETRANSMITS:
            self.forget(TIMED_OUT)
            return
        self.probes += 1
        self.window_timeouts += 1
        self._send(at, is_probe=True)
        gap = WINDOW_PROBE_GAP * 2.0**self.window_timeouts
        self.window_probe_at = at + min(gap, self.rto_max)

    def _keep_alive(self, at: float) -> None:
        if self.nxt > self.una or self.written > self.nxt:
            self.keepalive_at = at + KEEPIDLE  # inert while anything is under way
        elif at < self.last_received_at + KEEPIDLE:
            self.keepalive_at = self.last_received_at + KEEPIDLE
        elif self.probes >= KEEPCNT:
            self.forget(TIMED_OUT)
        else:
            self.probes += 1
            self._send(at, is_probe=True)
            self.keepalive_at = at + KEEPINTVL
