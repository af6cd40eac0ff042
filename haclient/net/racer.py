"""Connects to several endpoints and hands over the first connection that is usable.

haclient.core.race decides; this file carries out. Each connect and each handshake is a child of
one nursery, and tells the machine what came of it; the machine's actions start the next child,
abandon one, or end the race. The parent keeps the time.

Who closes what: a transport is put into `owned` the moment there is one, and everything in there
is closed on any exit, whoever cancels and wherever. What the machine abandons is closed at once.
The winner is taken out last, when nothing can go wrong any more.

Left out: DNS, the order of the candidates (haclient.core.balance), the pool, and what a failure
means for the next race (haclient.core.health).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never, cast

import msgspec
import trio

from haclient import events
from haclient.core.balance import Candidate
from haclient.core.race import (
    Abandon,
    Action,
    AllFailed,
    Entrant,
    Race,
    RaceSettings,
    StartConnect,
    StartHandshake,
    WakeAt,
    Won,
)
from haclient.errors import CertificateError, ProxyCredentialsError, ProxyError, TlsError
from haclient.net import Dialer, Transport
from haclient.net.own_doors import OwnDoorError
from haclient.types import ConnectFailure, ConnectionAttempt, Endpoint, Instant, Origin

__all__ = [
    "HANDSHAKE_ERRORS",
    "Candidate",
    "Establish",
    "Opened",
    "connect_failure",
    "handshake_failure",
    "race",
    "words",
]

Establish = Callable[[Transport, Origin], Awaitable[trio.abc.Stream]]
"""Makes a connected transport usable: a TLS handshake, CONNECT through a proxy, or both.

It need not close the transport when it fails or is cancelled. It may raise
haclient.errors.CertificateError, TlsError and ProxyError, trio.BrokenResourceError and OSError;
each of them fails this one connection attempt only.
"""


class Opened(msgspec.Struct, frozen=True):
    """The winner: a usable connection, which is the caller's now."""

    origin: Origin
    endpoint: Endpoint
    transport: Transport
    stream: trio.abc.Stream
    """What HTTP is spoken on: the transport itself, or TLS over it."""
    connected_at: Instant
    usable_at: Instant


async def race(
    candidates: Sequence[Candidate],
    settings: RaceSettings,
    *,
    dialer: Dialer,
    establish: Establish,
    needs_handshake: Callable[[Origin], bool],
    observe: events.Observer | None,
    attempt: int,
) -> tuple[Opened | None, tuple[ConnectionAttempt, ...]]:
    """Returns the first usable connection, and what came of each connect that was started.

    None where every candidate failed, or there is none. It lasts no longer than the settings say
    (haclient.core.race), and whatever it opened and does not return is closed when it returns or
    raises.

    Args:
        candidates: in the order in which they are to start.
        settings: the delays and time-outs.
        dialer: connects.
        establish: called for origins that need a handshake, once their turn has come.
        needs_handshake: whether a connection for this origin is not usable when connected.
        observe: gets a ConnectionAttemptStarted and -Ended for each that was started.
        attempt: the number to put into these events.
    """
    entrants = [Entrant(needs_handshake(one.origin), one.is_held_down) for one in candidates]
    driver = _Driver(
        candidates, settings, Race(entrants, settings), dialer, establish, observe, attempt
    )
    try:
        if len(entrants) == 1 and not entrants[0].needs_handshake:
            await driver.run_alone()
        else:
            async with trio.open_nursery() as driver.nursery:
                driver.carry_out(driver.machine.begin(trio.current_time()))
                await driver.keep_time()
        if driver.opened is not None:
            driver.owned.remove(driver.opened.transport)
        return driver.opened, driver.results()
    finally:
        for transport in driver.owned:
            transport.close()


class _Racer(msgspec.Struct, eq=False):
    """One connection attempt, from its start."""

    endpoint: Endpoint
    started_at: Instant
    scope: trio.CancelScope
    """Around whatever it is doing now."""
    connected_at: Instant | None = None
    transport: Transport | None = None
    stream: trio.abc.Stream | None = None
    result: ConnectionAttempt | None = None
    """Once it is over."""


class _Driver(msgspec.Struct, eq=False):
    """What the tasks of one race share."""

    candidates: Sequence[Candidate]
    settings: RaceSettings
    machine: Race
    dialer: Dialer
    establish: Establish
    observe: events.Observer | None
    attempt: int
    nursery: trio.Nursery | None = None
    """None in a race of one."""
    alarm: trio.CancelScope = msgspec.field(default_factory=trio.CancelScope)
    racers: list[_Racer] = msgspec.field(default_factory=list)
    """By index: they start in the order of the candidates."""
    owned: set[Transport] = msgspec.field(default_factory=set)
    opened: Opened | None = None

    def results(self) -> tuple[ConnectionAttempt, ...]:
        """What came of each, in the order of their starts."""
        return tuple(racer.result for racer in self.racers if racer.result is not None)

    async def run_alone(self) -> None:
        """One plain candidate: its own scope is the alarm.

        The common case of a miss in the pool, and nobody to race against: without a nursery it
        costs 27 us of CPU, with one 70 (measured, CPython 3.11).
        """
        self.carry_out(self.machine.begin(trio.current_time()))
        racer = self.racers[0]
        racer.scope.deadline = self.alarm.deadline
        await self._connect(0)
        if racer.result is None:
            self.carry_out(self.machine.woke(trio.current_time()))

    async def keep_time(self) -> None:
        """Wakes the machine when it wants to be; the end of the race cancels this."""
        while True:
            with self.alarm:
                await trio.sleep_forever()
            # A connect that is done and one that timed out may become known at one and the same
            # moment, if this thread was kept from running. What is done has the first word.
            await trio.lowlevel.checkpoint()
            self.alarm = trio.CancelScope()
            self.carry_out(self.machine.woke(trio.current_time()))

    # Actions

    def carry_out(self, actions: tuple[Action, ...]) -> None:
        """Does what the machine says."""
        for action in actions:
            match action:
                case StartConnect(index):
                    self._start_connect(index)
                case StartHandshake(index):
                    self.racers[index].scope = trio.CancelScope()
                    self._start(self._shake_hands, index)
                case Abandon(index, failure):
                    self._abandon(index, failure)
                case Won(index):
                    self._win(index)
                    self._stop("the race is won")
                case AllFailed():
                    self._stop("everybody failed")
                case WakeAt(instant):
                    self.alarm.deadline = instant
                case _:
                    assert_never(action)

    def _start(self, child: Callable[[int], Awaitable[None]], index: int) -> None:
        if self.nursery is not None:
            self.nursery.start_soon(child, index)

    def _stop(self, reason: str) -> None:
        if self.nursery is not None:
            self.nursery.cancel_scope.cancel(reason)

    def _start_connect(self, index: int) -> None:
        now = trio.current_time()
        endpoint = self.candidates[index].endpoint
        self.racers.append(_Racer(endpoint, now, trio.CancelScope()))
        if self.observe is not None:
            self.observe(events.ConnectionAttemptStarted(now, self.attempt, endpoint))
        self._start(self._connect, index)

    def _abandon(self, index: int, failure: ConnectFailure) -> None:
        racer = self.racers[index]
        detail = ""
        if failure is ConnectFailure.TIMED_OUT:
            missing = "connection" if racer.connected_at is None else "handshake"
            detail = f"no {missing} within {self.settings.connect_timeout:g} s"
        racer.scope.cancel()
        self._end(racer, failure, detail)

    def _win(self, index: int) -> None:
        racer = self.racers[index]
        assert racer.transport is not None
        assert racer.connected_at is not None
        # A Transport is a stream by what it does, not by what it derives from.
        plain = cast("trio.abc.Stream", racer.transport)
        stream = plain if racer.stream is None else racer.stream
        usable_at = self._end(racer, None)
        origin = self.candidates[index].origin
        self.opened = Opened(
            origin, racer.endpoint, racer.transport, stream, racer.connected_at, usable_at
        )

    def _end(self, racer: _Racer, failure: ConnectFailure | None, detail: str = "") -> Instant:
        """Writes down the result; closes the transport of whoever did not win. Returns when."""
        now = trio.current_time()
        usable_at = now if failure is None else None
        racer.result = ConnectionAttempt(
            racer.endpoint, racer.started_at, now, racer.connected_at, usable_at, failure, detail
        )
        if failure is not None and racer.transport is not None:
            racer.transport.close()
            self.owned.discard(racer.transport)
        if self.observe is not None:
            self.observe(
                events.ConnectionAttemptEnded(now, self.attempt, racer.endpoint, failure, detail)
            )
        return now

    def _amend(self, racer: _Racer, error: OSError) -> None:
        """It was abandoned in the moment of its failure, which says more than that another won.

        The kernel tells of both in one and the same answer where servers are near: else a server that
        is down would go unnoticed for as long as its sibling wins.
        """
        if racer.result is not None and racer.result.failure is ConnectFailure.LOST:
            racer.result = msgspec.structs.replace(
                racer.result, failure=connect_failure(error), detail=words(error)
            )

    # Children

    async def _connect(self, index: int) -> None:
        racer = self.racers[index]
        with racer.scope:
            try:
                transport = await self.dialer.connect(racer.endpoint)
            except OSError as error:
                if racer.result is None:
                    self._end(racer, connect_failure(error), words(error))
                else:
                    self._amend(racer, error)
                self.carry_out(self.machine.connect_failed(index, trio.current_time()))
                return
            if racer.result is not None:
                # Abandoned in the moment of success.
                transport.close()
                return
            self.owned.add(transport)
            racer.transport = transport
            now = racer.connected_at = trio.current_time()
            self.carry_out(self.machine.connected(index, now))

    async def _shake_hands(self, index: int) -> None:
        racer = self.racers[index]
        origin = self.candidates[index].origin
        assert racer.transport is not None
        with racer.scope:
            try:
                racer.stream = await self.establish(racer.transport, origin)
            except HANDSHAKE_ERRORS as error:
                if racer.result is None:
                    self._end(racer, handshake_failure(error, origin), words(error))
                self.carry_out(self.machine.handshake_failed(index, trio.current_time()))
                return
            self.carry_out(self.machine.handshake_done(index, trio.current_time()))


HANDSHAKE_ERRORS = (
    OSError,
    TlsError,
    ProxyError,
    trio.BrokenResourceError,
    # The transport was closed under it, and that was noticed before the cancellation.
    trio.ClosedResourceError,
)

_FAILURES = {
    errno.ECONNREFUSED: ConnectFailure.REFUSED,
    # A load balancer with no server left, or a full backlog with tcp_abort_on_overflow.
    errno.ECONNRESET: ConnectFailure.REFUSED,
    # connect(2) to a Unix socket that is not there.
    errno.ENOENT: ConnectFailure.REFUSED,
    errno.EHOSTUNREACH: ConnectFailure.UNREACHABLE,
    errno.ENETUNREACH: ConnectFailure.UNREACHABLE,
    errno.EHOSTDOWN: ConnectFailure.UNREACHABLE,
    errno.ENETDOWN: ConnectFailure.UNREACHABLE,
    errno.ETIMEDOUT: ConnectFailure.TIMED_OUT,
    errno.EMFILE: ConnectFailure.NO_DESCRIPTOR,
    errno.ENFILE: ConnectFailure.NO_DESCRIPTOR,
}
"""What a connect reports of the other side or the way there. Everything else (EACCES, EPERM, EAFNOSUPPORT, EADDRNOTAVAIL, ...) is this machine's own."""

_OF_THE_WAY = {ConnectFailure.UNREACHABLE, ConnectFailure.TIMED_OUT}


def connect_failure(error: OSError) -> ConnectFailure:
    """What a failed connect means."""
    if isinstance(error, OwnDoorError):
        return ConnectFailure.OWN_DOOR
    return _FAILURES.get(error.errno or 0, ConnectFailure.LOCAL)


def handshake_failure(error: Exception, origin: Origin) -> ConnectFailure:
    """What a failed `establish` means.

    A connection that is reset in the middle belongs to what was being agreed on. For a plain origin
    that can only be a tunnel through a proxy.
    """
    match error:
        case CertificateError():
            return ConnectFailure.CERTIFICATE
        case TlsError():
            return ConnectFailure.TLS
        case ProxyCredentialsError():
            return ConnectFailure.PROXY_CREDENTIALS
        case ProxyError():
            return ConnectFailure.PROXY
    cause = _cause(error)
    if isinstance(cause, OSError) and (failure := connect_failure(cause)) in _OF_THE_WAY:
        return failure
    return ConnectFailure.TLS if origin.is_secure else ConnectFailure.PROXY


def words(error: Exception) -> str:
    """The system's own words ("Connection refused"), or those of whoever raised the error."""
    cause = _cause(error)
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno)
    return str(cause) or "the connection broke"


def _cause(error: Exception) -> BaseException:
    """What the system said, where trio has wrapped it up."""
    if isinstance(error, trio.BrokenResourceError) and error.__cause__ is not None:
        return error.__cause__
    return error
