"""A network of simulated hosts: the `Dialer` of the tests, and its faults.

Everything is switched by a plain call at any instant, and holds from that instant on:

    network = SimNetwork()
    network.path("10.0.0.1").delay = 0.05         # one way, for a host or for an endpoint
    listener = network.listen(endpoint)           # server = await listener.accept()
    client = await network.connect(endpoint)
    network.blackhole("10.0.0.1")                 # the whole host; or an endpoint, or a stream
    network.heal("10.0.0.1")

What was due before a fault is carried out first: a segment that arrives at the very instant of the
fault has arrived. Names are not answered here but by tests.sim.dns.
"""

from __future__ import annotations

import enum
import errno
import os
from collections import deque
from collections.abc import Callable
from math import inf

import trio

from haclient.types import Endpoint
from tests.sim.journal import Journal
from tests.sim.segment import Path
from tests.sim.stream import SimStream, connected_pair

__all__ = ["Admission", "Place", "SimListener", "SimNetwork"]

Place = str | Endpoint | SimStream
"""A whole host, one endpoint, or one connection (either end of it)."""

CLIENT_ADDRESS = "10.255.0.1"

SYN_GAPS = (1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 4.0)
"""Seconds between SYNs: the first four retries linear (net.ipv4.tcp_syn_linear_timeouts), then doubling, six
retries (tcp_syn_retries); measured on Linux 6.18 against a blackholed listener."""


class Admission(enum.Enum):
    """What becomes of a SYN."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    """RST: nothing listens there."""
    UNREACHABLE = "unreachable"
    """ICMP host unreachable."""
    DROPPED = "dropped"
    """Nobody answers."""


class SimListener(trio.abc.Listener[SimStream]):
    """Accepts what the kernel has connected. `backlog` as listen(2): a full queue drops SYNs."""

    def __init__(self, endpoint: Endpoint, backlog: int) -> None:
        self.endpoint = endpoint
        self.is_listening = True
        self.admit: Callable[[], Admission] = lambda: Admission.ACCEPTED
        """Asked once for each SYN that arrives."""
        self.on_connect: Callable[[SimStream], None] = lambda _stream: None
        """Told of each connection as the kernel makes it, before any byte can come in."""
        self._backlog = backlog
        self._ready: deque[tuple[float, SimStream]] = deque()
        self._arrived = trio.Event()

    def __repr__(self) -> str:
        return f"<SimListener {self.endpoint}, {len(self._ready)} not accepted>"

    def judge(self) -> Admission:
        """What becomes of a SYN that arrives now."""
        if not self.is_listening:
            return Admission.REFUSED
        return Admission.DROPPED if len(self._ready) >= self._backlog else self.admit()

    def put(self, ready_at: float, stream: SimStream) -> None:
        """A connection that may be accepted from an instant on, seconds on trio's clock."""
        self._ready.append((ready_at, stream))
        self._arrived.set()
        self._arrived = trio.Event()

    async def accept(self) -> SimStream:
        await trio.lowlevel.checkpoint()
        while True:
            ready_at = self._ready[0][0] if self._ready else inf
            if ready_at <= trio.current_time():
                return self._ready.popleft()[1]
            with trio.move_on_at(ready_at):
                await self._arrived.wait()

    async def aclose(self) -> None:
        self.is_listening = False
        await trio.lowlevel.checkpoint()


class SimNetwork:
    """Hosts, listeners, paths and connections. Implements haclient.net.Dialer.

    Args:
        journal: where connects and faults are noted.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal
        self.listeners: dict[Endpoint, SimListener] = {}
        self.connections: list[tuple[SimStream, SimStream]] = []
        """Client's and server's end of every connection ever made, in order."""
        self._paths: dict[str | Endpoint, Path] = {}
        self._admissions: dict[str | Endpoint, Admission] = {}

    def listen(self, endpoint: Endpoint, backlog: int = 128) -> SimListener:
        """Returns a listener, at once ready for connects. An endpoint's second takes over."""
        listener = self.listeners[endpoint] = SimListener(endpoint, backlog)
        return listener

    def path(self, place: str | Endpoint) -> Path:
        """The path to a host or an endpoint; its delay can be set at any time."""
        return self._paths.setdefault(place, Path())

    # -- Connecting ------------------------------------------------------------------------------

    async def connect(self, endpoint: Endpoint) -> SimStream:
        """Returns a connected transport after a round trip.

        Raises:
            OSError: refused, unreachable, or after the kernel's 11 s of unanswered SYNs.
        """
        await trio.lowlevel.checkpoint()
        sent_at = trio.current_time()
        for gap in SYN_GAPS:
            stream = await self._send_syn(endpoint, sent_at)
            if stream is not None:
                return stream
            sent_at += gap
            await trio.sleep_until(sent_at)
        self._note(f"{endpoint} connect timed out")
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    async def _send_syn(self, endpoint: Endpoint, sent_at: float) -> SimStream | None:
        paths = (self.path(endpoint.address), self.path(endpoint))
        delay = sum(path.delay for path in paths)
        await trio.sleep_until(sent_at + delay)
        if any(sent_at + delay < path.cut_until for path in paths):
            return None
        admission = self._judge(endpoint)
        if admission is Admission.DROPPED:
            return None
        await trio.sleep_until(sent_at + 2 * delay)
        match admission:
            case Admission.REFUSED:
                self._note(f"{endpoint} refused")
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            case Admission.UNREACHABLE:
                self._note(f"{endpoint} unreachable")
                raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
            case Admission.ACCEPTED:
                return self._establish(endpoint, paths, delay)

    def _judge(self, endpoint: Endpoint) -> Admission:
        for place in (endpoint, endpoint.address):
            if place in self._admissions:
                return self._admissions[place]
        if endpoint in self.listeners:
            return self.listeners[endpoint].judge()
        is_host_known = any(known.address == endpoint.address for known in self.listeners)
        return Admission.REFUSED if is_host_known else Admission.UNREACHABLE

    def _establish(self, endpoint: Endpoint, paths: tuple[Path, ...], delay: float) -> SimStream:
        local = Endpoint(CLIENT_ADDRESS, 40001 + len(self.connections))
        client, server = connected_pair(paths, local, endpoint)
        self.connections.append((client, server))
        self._note(f"{endpoint} connected, {len(self.connections)}")
        listener = self.listeners[endpoint]
        listener.on_connect(server)
        listener.put(trio.current_time() + delay, server)
        return client

    # -- Faults ----------------------------------------------------------------------------------

    def refuse(self, place: str | Endpoint) -> None:
        """New connects are refused; connections that exist live on."""
        self._switch(place, Admission.REFUSED)

    def make_unreachable(self, place: str | Endpoint) -> None:
        """New connects meet "No route to host"; connections that exist live on."""
        self._switch(place, Admission.UNREACHABLE)

    def blackhole(self, place: Place, seconds: float = inf) -> None:
        """Nothing arrives any more in either direction, SYNs included, for so many seconds."""
        self._advance(place)
        self._path_of(place).cut_until = trio.current_time() + seconds
        self._note(
            f"{self._name(place)} blackholed" + (f" for {seconds:g} s" if seconds < inf else "")
        )

    def heal(self, place: Place) -> None:
        """Takes back refuse, make_unreachable and blackhole, and what kill did to new connects.

        Only what was done to this very place: a blackholed host is healed as a host.
        """
        self._advance(place)
        self._path_of(place).cut_until = -inf
        if not isinstance(place, SimStream):
            self._admissions.pop(place, None)
            for listener in self._listeners_at(place):
                listener.is_listening = True
        self._note(f"{self._name(place)} healed")

    def reset(self, place: Place) -> None:
        """The server's kernel sends RST on every connection that exists."""
        self._note(f"{self._name(place)} reset")
        for server in self._connections_at(place):
            server.send_reset()

    def forget(self, place: Place) -> None:
        """The server comes back without its connections: the client's next segment meets RST."""
        self._note(f"{self._name(place)} forgot its connections")
        for server in self._connections_at(place):
            server.forget()

    def kill(self, place: str | Endpoint) -> None:
        """kill -9: the kernel closes every connection, and nothing listens any more."""
        self._note(f"{self._name(place)} killed")
        for listener in self._listeners_at(place):
            listener.is_listening = False
        for server in self._connections_at(place):
            server.close()

    def open_streams(self) -> tuple[SimStream, ...]:
        """The client's ends that nobody has closed; for a leak check at the end of a test."""
        return tuple(client for client, _ in self.connections if not client.is_closed)

    def _switch(self, place: str | Endpoint, admission: Admission) -> None:
        self._admissions[place] = admission
        self._note(f"{self._name(place)} answers connects with: {admission.value}")

    def _path_of(self, place: Place) -> Path:
        if isinstance(place, SimStream):
            return place.connection.own_path
        return self.path(place)

    def _advance(self, place: Place) -> None:
        """Carries out what is due, before what is to come changes."""
        for server in self._connections_at(place):
            server.connection.advance(trio.current_time())

    def _connections_at(self, place: Place) -> list[SimStream]:
        """The server's ends of all connections at a place."""
        if isinstance(place, SimStream):
            return [server for pair in self.connections if place in pair for server in pair[1:]]
        return [server for client, server in self.connections if is_at(client.endpoint, place)]

    def _listeners_at(self, place: str | Endpoint) -> list[SimListener]:
        return [lst for endpoint, lst in self.listeners.items() if is_at(endpoint, place)]

    def _name(self, place: Place) -> str:
        if isinstance(place, SimStream):
            ends = [place in pair for pair in self.connections]
            return f"connection {ends.index(True) + 1}"
        return str(place)

    def _note(self, text: str) -> None:
        if self.journal is not None:
            self.journal.note("network", text)


def is_at(endpoint: Endpoint, place: str | Endpoint) -> bool:
    """Whether an endpoint is this one, or on this host."""
    return place in (endpoint, endpoint.address)
