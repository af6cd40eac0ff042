"""All doors and targets of a process: they open together, change together, and close in good order.

A reload is all or nothing: whatever may fail (an address in use, for one) is tried before anything is
changed. What stays the same is not touched: a listener whose bind is the same keeps its socket and its
connections, a target whose settings are the same keeps its budget and what is known of its addresses;
and connections to servers outlive both, for the engine keeps them by origin.

The drain has three steps: no more connections are accepted (those that the kernel had taken already
are), every connection ends behind the request that it is at, and what is left at the end of
`drain_timeout` is cut.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import sys
from collections.abc import Callable, Iterable

import trio

from haclient.core.config import Bind, Config, InheritedBind, ListenerSettings, UnixBind
from haclient.core.openness import asks_in_tls, openness
from haclient.engine.checks import Checks
from haclient.engine.live import Engine, LiveTarget
from haclient.engine.replay import ReplayLedger
from haclient.engine.standby import Standby
from haclient.net import Dialer, RemembersNames, Resolver
from haclient.net.dialer import SocketDialer
from haclient.net.listening import (
    BindError,
    Inherited,
    change_mode,
    listen_on,
    place_of,
    stop_listening,
)
from haclient.net.own_doors import OwnDoors
from haclient.proxy.credentials import Checker, Guard
from haclient.proxy.door import Door
from haclient.proxy.entrance import enter
from haclient.proxy.gateway import Gateway
from haclient.proxy.listener import Listener
from haclient.proxy.record import Sink
from haclient.proxy.trust import Trust, of_listener, of_target, read_trust, renewed
from haclient.proxy.vigil import keep_vigil

__all__ = ["Sidecar"]

SETTLED_EVERY = 0.02
"""Seconds between two looks at whether a drain is over."""


class Sidecar:
    """The data plane of one process.

    Attributes:
        config: in force.
        gateway: what the connections share.
        doors: every door that is open, or drains.
        is_draining: told to end.

    Args:
        max_clients: connections at all doors together; further ones as at a full door.
    """

    def __init__(
        self,
        config: Config,
        nursery: trio.Nursery,
        resolver: Resolver,
        *,
        tell: Sink,
        tell_fault: Callable[[Exception], None],
        inherited: Inherited | None = None,
        dialer: Dialer | None = None,
        max_clients: int = sys.maxsize,
    ) -> None:
        self.config = config
        self.is_draining = False
        self._nursery = nursery
        self._max_clients = max_clients
        self._inherited = inherited if inherited is not None else {}
        self._listeners: dict[Bind, Listener] = {}
        self._closing: list[Listener] = []
        self._checker = Checker()
        self._trust = Trust({}, {})
        self._own_doors = OwnDoors(dialer or SocketDialer())
        self._private: dict[str, socket.socket] = {}
        engine = Engine(nursery, resolver, self._own_doors)
        self.gateway = Gateway(engine, ReplayLedger(config.replay_memory), tell, tell_fault)
        # No client of a forward listener pushes what is known of the targets out of memory.
        engine.health.keep(self.gateway.addresses_of_targets)

    @property
    def doors(self) -> list[Door]:
        """Every door that is open, or has somebody inside."""
        return [one.door for one in (*self._listeners.values(), *self._closing)]

    def start(self) -> None:
        """Opens every door.

        Raises:
            BindError, TrustError: none is open then.
        """
        self._trust = read_trust(self.config)
        opened = self._open(self.config.listeners)
        self.gateway.engine.start()
        self._nursery.start_soon(keep_vigil, lambda: self.doors)
        self._use_targets(self.config, self._trust)
        for settings in self.config.listeners:
            self._begin(settings, opened[settings.bind])
        self._know_own_doors()

    # --- reload ------------------------------------------------------------------------------

    def apply(self, config: Config) -> tuple[str, ...]:
        """Puts a new configuration in force, for every request from now on.

        Returns a line for each table whose users or certificates are others now.

        Raises:
            BindError, TrustError: the old one stays.
        """
        listeners, trust = self._listeners, read_trust(config)
        with contextlib.ExitStack() as undo:
            for settings in config.listeners:
                if settings.bind in listeners:
                    self._change_socket(settings, listeners[settings.bind], undo)
            opened = self._open([one for one in config.listeners if one.bind not in listeners])
            undo.pop_all()
        self._closing = [one for one in self._closing if one.door.inside or not one.has_stopped]
        self._use_targets(config, trust)
        self.gateway.ledger.limit = config.replay_memory
        self.config = config
        again = tuple(renewed(self._trust, trust))
        self._trust = trust
        wanted = {one.bind for one in config.listeners}
        for bind in [bind for bind in listeners if bind not in wanted]:
            self._retire(listeners.pop(bind))
        for settings in config.listeners:
            if settings.bind in listeners:
                door = listeners[settings.bind].door
                door.apply(settings)
                self._guard(door)
            else:
                self._begin(settings, opened[settings.bind])
        self._know_own_doors()
        return again

    def _know_own_doors(self) -> None:
        """Those of a drain stay known: who listens there next is our successor."""
        open_ones = self._listeners.values()
        doors = {of_listener(one.door.settings.name): one.sock for one in open_ones}
        self._own_doors.know(doors | self._private)

    def close_off(self, what: str, sock: socket.socket) -> None:
        """Nobody is to get there through a door: `what` listens there, in this process."""
        self._private[what] = sock
        self._know_own_doors()

    def _change_socket(
        self, settings: ListenerSettings, listener: Listener, undo: contextlib.ExitStack
    ) -> None:
        """What a socket that stays is to have otherwise, as long as it is not undone.

        Raises:
            BindError: that cannot be.
        """
        sock, bind, mode = listener.sock, settings.bind, mode_of(settings)
        check_socket(settings, sock)
        if isinstance(bind, UnixBind) and mode not in (None, mode_of(listener.door.settings)):
            undo.callback(change_mode, sock, bind.path, change_mode(sock, bind.path, mode))

    def _open(self, listeners: Iterable[ListenerSettings]) -> dict[Bind, socket.socket]:
        """Every socket, or none.

        Raises:
            BindError: one cannot be had.
        """
        with contextlib.ExitStack() as undo:
            opened = {}
            for settings in listeners:
                sock = listen_on(settings.bind, self._inherited, mode_of(settings))
                opened[settings.bind] = sock
                undo.callback(self._close_again, settings.bind, sock)
                check_socket(settings, sock)
            undo.pop_all()
        return opened

    def _close_again(self, bind: Bind, sock: socket.socket) -> None:
        """As if it had not been opened; one that was inherited is there for the next reload."""
        if isinstance(bind, InheritedBind):
            self._inherited[bind.name] = [sock]
        else:
            stop_listening(sock, bind)

    def _guard(self, door: Door) -> None:
        table = of_listener(door.settings.name)
        certificates = self._trust.certificates.get(table)
        door.tls = certificates.context if certificates is not None else None
        users = self._trust.users.get(table)
        if users is None:
            door.guard = None
        elif door.guard is None:
            door.guard = Guard(users, self._checker)
        else:
            door.guard.use(users)

    def _begin(self, settings: ListenerSettings, sock: socket.socket) -> None:
        door = Door(settings)
        self._guard(door)
        door.address = str(place_of(sock))
        serve = functools.partial(enter, self.gateway)
        tell_full = self.gateway.tell_full
        listener = Listener(door, sock, serve, self._room, lambda: self.doors, tell_full)
        self._listeners[settings.bind] = listener
        self._nursery.start_soon(listener.run, self._nursery)

    def _room(self) -> int:
        """How many more clients all doors together may take."""
        open_ones = (*self._listeners.values(), *self._closing)
        return self._max_clients - sum(one.taken for one in open_ones)

    def _use_targets(self, config: Config, trust: Trust) -> None:
        engine, before = self.gateway.engine, self.gateway.targets
        self.gateway.defaults = config.defaults
        self.gateway.forget_other_destinations([one.name for one in config.listeners])
        self.gateway.targets = {}
        for name, spec in config.targets.items():
            old = before.get(name)
            certificates = trust.certificates.get(of_target(name))
            if old is not None and old.is_like(spec, certificates):
                self.gateway.targets[name] = old
                continue
            new = LiveTarget(spec, engine, certificates=certificates)
            self.gateway.targets[name] = new
            if old is not None:
                new.take_over(old)
            if spec.standby and not spec.is_tcp:
                new.standby = Standby(new)
            if spec.health is not None and not spec.is_tcp:
                counts = old.checks.counts if old is not None and old.checks is not None else None
                Checks(new, counts).start()
        self._keep_names(config)
        now = self.gateway.targets
        replaced = [live for name, live in before.items() if now.get(name) is not live]
        _stop_checks(replaced)
        for live in replaced:
            if live.standby is not None:
                live.standby.stop()

    def _keep_names(self, config: Config) -> None:
        """No client of a forward listener pushes what is known of the targets out of memory."""
        resolver = self.gateway.engine.resolver
        if isinstance(resolver, RemembersNames):
            urls = (url for spec in config.targets.values() for url in (*spec.urls, *spec.backups))
            resolver.keep((url.origin.host, url.origin.port) for url in urls)

    def _retire(self, listener: Listener) -> None:
        listener.stop()
        listener.door.is_draining = True
        self._closing.append(listener)

    # --- the end -----------------------------------------------------------------------------

    async def drain(self) -> int:
        """Ends in good order; returns how many requests had to be cut.

        Returns when nobody is inside any more, after `drain_timeout` at the latest.
        """
        self.is_draining = True
        _stop_checks(self.gateway.targets.values())
        for listener in self._listeners.values():
            self._retire(listener)
        self._listeners.clear()
        with trio.move_on_after(self.config.drain_timeout):
            # A look now and then, only here: an event would be set for each connection that ends.
            while any(one.door.inside or not one.has_stopped for one in self._closing):  # noqa: ASYNC110
                await trio.sleep(SETTLED_EVERY)
        return self.cut()

    def cut(self) -> int:
        """Ends every connection now; returns how many requests were outstanding on them."""
        everybody = [inside for door in self.doors for inside in door.inside]
        outstanding = sum(inside.is_outstanding for inside in everybody)
        for inside in everybody:
            inside.cancel()
        return outstanding


def mode_of(settings: ListenerSettings) -> int | None:
    """Of the socket that is made for a listener; None: the umask decides."""
    return None if settings.socket_mode is None else int(settings.socket_mode, 8)


def check_socket(settings: ListenerSettings, sock: socket.socket) -> None:
    """What the file cannot know of a socket that is inherited.

    Raises:
        BindError: nobody could enter, or everybody could.
    """
    if not isinstance(settings.bind, InheritedBind):
        return
    if settings.allow_uids is not None and sock.family != socket.AF_UNIX:
        raise BindError(
            f"listener {settings.name} has allow_uids, and {settings.bind} is no Unix socket: over TCP "
            "nobody says which user connects"
        )
    place = place_of(sock)
    found = openness(
        place,
        asks=asks_in_tls(settings.tls, settings.auth),
        has_auth=settings.auth is not None,
        is_public=settings.public,
        mode=settings.mode,
        is_inherited=True,
    )
    if found is not None:
        where = f"listener {settings.name}: {settings.bind} is bound to {place}"
        raise BindError(f"{where}: {found.problem}; {found.wanted}")


def _stop_checks(targets: Iterable[LiveTarget]) -> None:
    """What is still outstanding there is waited for, and nobody new is to come."""
    for live in targets:
        if live.checks is not None:
            live.checks.stop()
