"""Decides which connects start when, and which connection is used.

A name has several addresses, and some of them may be dead. The naive answer is to try them one
after another: then the first dead one costs its whole time-out before the next is asked, and with
the kernel's own time-outs that is minutes. Waiting a fixed time before the next one (RFC 8305,
"Happy Eyeballs") bounds the cost of a dead address; connecting to all at once takes it away.

Ours: all at once by default (a few at least: `width`; the rest follow one each `rest_delay`), or
one each `connection_attempt_delay`. In both cases

- a failure starts the next connect at once, for the delay has nothing left to wait for;
- a connect that has been started is kept going when later ones start;
- addresses that failed a moment ago (`is_held_down`) are not part of the first burst: they start
  with the rest, so that a living address wins before they are even asked. Late, never not at all;
- the first *usable* connection wins, and every other one is closed at once.

Usable is: connected, or where there is a handshake (TLS, or CONNECT through a proxy), done with
it. A server can accept connections and be unable to do more, so TCP alone must not win. But a
handshake costs a server an operation with its private key, where a connect costs it next to
nothing, so the losers are spared it: the first one connected starts its handshake; the next one
when a handshake fails, or when `handshake_delay` has passed since the newest began.

One entrant's way, and what may happen on it:

    state         event                              next          actions
    not started   its turn                           connecting    StartConnect
    connecting    connected, no handshake needed     over          Abandon the others (LOST), Won
                  connected, handshake needed        connected
                  connect_failed                     over          next StartConnect
                  connect_timeout since the start    over          Abandon (TIMED_OUT), next StartConnect
    connected     its turn                           handshaking   StartHandshake
                  connect_timeout since the start    handshaking   StartHandshake, out of turn
    handshaking   handshake_done                     over          Abandon the others (LOST), Won
                  handshake_failed                   over          next StartHandshake, next StartConnect
                  connect_timeout since it began     over          Abandon (TIMED_OUT), and the same
    over          anything                           over          none: old news

So waiting for a turn is taken out of the time for the connect, and each connection attempt is
usable or over within 2 * connect_timeout of its start. The last start comes no later than one
delay for each entrant beyond the burst; a race that fits into the burst is decided within
2 * connect_timeout.

Left out: the order of the addresses (haclient.core.balance), and keeping the runner-up warm.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence

import msgspec

from haclient.types import ConnectFailure, Instant

__all__ = [
    "Abandon",
    "Action",
    "AllFailed",
    "Entrant",
    "Race",
    "RaceSettings",
    "StartConnect",
    "StartHandshake",
    "WakeAt",
    "Won",
]

NEVER = float("inf")

PAUSE = 0.25
"""Seconds by which an alarm may be late before it says that this process stood still (stopped, or
its machine paused) and not that it was busy. A loop that is late by that much is no fit witness
of anybody's silence."""


class RaceSettings(msgspec.Struct, frozen=True):
    """How a race is run. Durations are seconds.

    Raises:
        ValueError: `width` is not positive.
    """

    connection_attempt_delay: float = 0.0
    """0: all at once. 0.25 is what RFC 8305, section 8 recommends."""
    width: int = 8
    """Connects in the burst, where there is no delay. Few names have more addresses; of those that
    do, some have hundreds, and a SYN to each of them for each connection would be a flood."""
    connect_timeout: float = 1.0
    """For the connect, and again for the handshake. A lost SYN is sent again after 1 s (RFC 6298,
    section 2), so waiting longer helps only where a single address is asked."""
    handshake_delay: float = 0.25
    """The Connection Attempt Delay of RFC 8305, section 8, put between handshakes."""
    rest_delay: float = 0.05
    """Between the connects that did not fit into the burst: 20 a second. RFC 8305, section 8 puts
    the floor at 10 ms and advises 100 ms; a whole burst that is silent for 50 ms is far away or
    dead."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")


class Entrant(msgspec.Struct, frozen=True):
    """What the race has to know of a candidate; its index is its place in the order."""

    needs_handshake: bool = False
    """Whether connected is not yet usable."""
    is_held_down: bool = False
    """Whether it failed a moment ago; it then starts after the burst."""


class StartConnect(msgspec.Struct, frozen=True):
    """Connect to this one; report `connected` or `connect_failed`."""

    index: int


class StartHandshake(msgspec.Struct, frozen=True):
    """This one is connected and has its turn; report `handshake_done` or `handshake_failed`."""

    index: int


class Abandon(msgspec.Struct, frozen=True):
    """Stop what this one is doing and close it, at once. No report is expected."""

    index: int
    failure: ConnectFailure
    """LOST or TIMED_OUT."""


class Won(msgspec.Struct, frozen=True):
    """This one is the connection. The last action ever returned."""

    index: int


class AllFailed(msgspec.Struct, frozen=True):
    """There is nobody left to wait for. The last action ever returned."""


class WakeAt(msgspec.Struct, frozen=True):
    """Call `woke` at this instant. A newer one replaces it; a call too many does no harm."""

    instant: Instant


Action = StartConnect | StartHandshake | Abandon | Won | AllFailed | WakeAt

NOTHING: tuple[Action, ...] = ()


class _State(enum.Enum):
    """The rows of the table above."""

    NOT_STARTED = "not started"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    HANDSHAKING = "handshaking"
    OVER = "over"


_LIVE = frozenset({_State.CONNECTING, _State.CONNECTED, _State.HANDSHAKING})


class Race:
    """One race, from `begin` to `Won` or `AllFailed`. Candidates are known by their index.

    Only `woke` lets time run out, so a driver that was kept from running can first report what
    has come to pass meanwhile: a connect that is done is not taken for one that timed out.

    Raises (every event but `woke`):
        RuntimeError: the driver reports what it was not told to do. News of an entrant that is
            over already is none; it crossed the order to abandon it.
    """

    __slots__ = (
        "_alarm_at",
        "_due",
        "_entrants",
        "_gap",
        "_next_handshake_at",
        "_next_start_at",
        "_settings",
        "_started",
        "_states",
        "_waiting",
        "is_over",
    )

    def __init__(self, entrants: Sequence[Entrant], settings: RaceSettings) -> None:
        self.is_over = False
        self._entrants = tuple(entrants)
        self._settings = settings
        self._gap = settings.connection_attempt_delay or settings.rest_delay
        self._states = [_State.NOT_STARTED] * len(self._entrants)
        self._due: list[Instant] = [NEVER] * len(self._entrants)
        """When its state has lasted long enough: see the rows with connect_timeout."""
        self._waiting: list[int] = []
        """Connected, without a turn yet; the longest first."""
        self._started = 0
        self._next_start_at: Instant = NEVER
        self._next_handshake_at: Instant = -NEVER
        self._alarm_at: Instant = NEVER
        """The newest WakeAt that the driver holds."""

    def __repr__(self) -> str:
        counts = Counter(self._states)
        states = ", ".join(f"{counts[state]} {state.value}" for state in _State if counts[state])
        return f"<Race {'over' if self.is_over else 'on'}: {states or 'no entrants'}>"

    # Events

    def begin(self, now: Instant) -> tuple[Action, ...]:
        """Starts the burst: everybody fit, up to `width`, or the first one if there is a delay."""
        if self._started or self.is_over:
            raise RuntimeError("the race has begun already")
        actions: list[Action] = []
        for _ in range(self._burst()):
            self._start_next(now, actions)
        return self._settle(now, actions)

    def connected(self, index: int, now: Instant) -> tuple[Action, ...]:
        """The connect is done."""
        if not self._is_news(index, _State.CONNECTING):
            return NOTHING
        if not self._entrants[index].needs_handshake:
            return self._win(index)
        self._states[index] = _State.CONNECTED
        self._waiting.append(index)
        return self._settle(now, [])

    def connect_failed(self, index: int, now: Instant) -> tuple[Action, ...]:
        """The connect failed; the driver has nothing left to close."""
        if not self._is_news(index, _State.CONNECTING):
            return NOTHING
        actions: list[Action] = []
        self._fail(index, now, actions)
        return self._settle(now, actions)

    def handshake_done(self, index: int, now: Instant) -> tuple[Action, ...]:
        """The connection is usable."""
        if not self._is_news(index, _State.HANDSHAKING):
            return NOTHING
        return self._win(index)

    def handshake_failed(self, index: int, now: Instant) -> tuple[Action, ...]:
        """The handshake failed; the driver has closed the connection."""
        if not self._is_news(index, _State.HANDSHAKING):
            return NOTHING
        actions: list[Action] = []
        self._fail(index, now, actions)
        return self._settle(now, actions)

    def woke(self, now: Instant) -> tuple[Action, ...]:
        """Time has passed. Harmless at any moment, as often as one likes."""
        if self.is_over or not self._started:
            return NOTHING
        late_by = now - self._alarm_at
        if late_by > PAUSE:
            # This process stood still, and its time-outs with it: what came in meanwhile has not
            # been read, and a handshake takes several turns to read it.
            self._due = [max(due + late_by, now + PAUSE) for due in self._due]
        self._alarm_at = NEVER
        actions: list[Action] = []
        for index, due in enumerate(self._due):
            if due <= now and self._states[index] in {_State.CONNECTING, _State.HANDSHAKING}:
                actions.append(Abandon(index, ConnectFailure.TIMED_OUT))
                self._fail(index, now, actions)
        return self._settle(now, actions)

    # What they have in common

    def _burst(self) -> int:
        """How many start at once."""
        if self._settings.connection_attempt_delay > 0:
            return min(1, len(self._entrants))
        # The order has the held-down ones last. Where all are, none is better than another.
        fit = sum(not entrant.is_held_down for entrant in self._entrants)
        return min(self._settings.width, fit or len(self._entrants))

    def _is_news(self, index: int, expected: _State) -> bool:
        state = self._states[index]
        if self.is_over or state is _State.OVER:
            return False
        if state is not expected:
            raise RuntimeError(f"entrant {index} is {state.value}, not {expected.value}")
        return True

    def _start_next(self, now: Instant, actions: list[Action]) -> None:
        index = self._started
        self._started += 1
        self._states[index] = _State.CONNECTING
        self._due[index] = now + self._settings.connect_timeout
        self._next_start_at = now + self._gap
        actions.append(StartConnect(index))

    def _start_handshakes(self, now: Instant, actions: list[Action]) -> None:
        """Gives the turn to the longest waiting, and to whoever must wait no longer."""
        for index in tuple(self._waiting):
            if now < self._next_handshake_at and now < self._due[index]:
                continue
            self._waiting.remove(index)
            self._states[index] = _State.HANDSHAKING
            self._due[index] = now + self._settings.connect_timeout
            self._next_handshake_at = now + self._settings.handshake_delay
            actions.append(StartHandshake(index))

    def _fail(self, index: int, now: Instant, actions: list[Action]) -> None:
        """One is out; for each that is out, another one moves up."""
        if self._states[index] is _State.HANDSHAKING:
            self._next_handshake_at = now
        self._states[index] = _State.OVER
        self._start_handshakes(now, actions)
        if self._started < len(self._entrants):
            self._start_next(now, actions)

    def _win(self, winner: int) -> tuple[Action, ...]:
        self.is_over = True
        losers = [
            Abandon(index, ConnectFailure.LOST)
            for index, state in enumerate(self._states)
            if state in _LIVE and index != winner
        ]
        self._states = [_State.OVER] * len(self._entrants)
        return (*losers, Won(winner))

    def _settle(self, now: Instant, actions: list[Action]) -> tuple[Action, ...]:
        """Does what is due by the clock, sees whether anybody is left, and sets the alarm."""
        self._start_handshakes(now, actions)
        if self._started < len(self._entrants) and now >= self._next_start_at:
            self._start_next(now, actions)
        # A failure starts the next one, so nobody live means that nobody is left to start.
        if not any(state in _LIVE for state in self._states):
            self.is_over = True
            return (*actions, AllFailed())
        alarm_at = self._next_alarm()
        if alarm_at != self._alarm_at:
            self._alarm_at = alarm_at
            actions.append(WakeAt(alarm_at))
        return tuple(actions)

    def _next_alarm(self) -> Instant:
        alarm_at = min(
            due for due, state in zip(self._due, self._states, strict=True) if state in _LIVE
        )
        if self._started < len(self._entrants):
            alarm_at = min(alarm_at, self._next_start_at)
        if self._waiting:
            alarm_at = min(alarm_at, self._next_handshake_at)
        return alarm_at
