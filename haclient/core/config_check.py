"""What is wrong with a configuration whose every value is right by itself.

A file can be read key by key and still be no daemon: two doors on one address, a route that nothing
ever gets to, a door that is open to the whole network and meant for this machine. The naive answer
is to find out at the start, one by one, from the system's own words, or in production. Here the
values are looked at together, and each fault says which key it is about, as a path into the file, and
what would do.

Left out: whether a port is in use by another process, whether a name has an address. That is true
only for the moment at which it was asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from haclient.core.allow import AllowList
from haclient.core.config import Bind, InheritedBind, Mode, Route, TcpBind, UnixBind
from haclient.core.keepalive import Plan, Refusal
from haclient.core.names import ip_literal, is_loopback
from haclient.core.openness import openness
from haclient.core.routes import covers
from haclient.core.spec import Target
from haclient.types import Origin

__all__ = [
    "Door",
    "Fault",
    "KeyPath",
    "door_faults",
    "largest_round_trip",
    "loop_faults",
    "protocol_faults",
    "unused",
    "window_plan",
]

KeyPath = tuple[str | int, ...]
"""A key of the file: ("listener", "orders", "routes", 0, "target")."""

LONGEST_ROUND_TRIP = 2.0
"""Seconds. Nobody keeps a sidecar that far from its servers (a satellite's hop is 0.6 s)."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and what would do."""

    path: KeyPath
    problem: str
    wanted: str
    nearest: Sequence[str] = ()
    """The names among which a misspelt one has to be."""
    because: KeyPath = ()
    """What else of the file makes it wrong; it is shown behind the problem, as it is written."""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to be wrong with a listener, as far as it could be read.

    Attributes:
        bind: None if it could not be read.
        target: empty if it could not be read, None if there is none.
        routes: with None for each that could not be read.
        mode: None if it could not be read.
        given: the attributes that have a value.
        asks: in TLS, whoever comes, for a password or a certificate.
        allow: None if it could not be read.
    """

    name: str
    bind: Bind | None
    target: str | None = None
    routes: tuple[Route | None, ...] = ()
    public: bool = False
    mode: Mode | None = Mode.REVERSE
    allow: AllowList | None = AllowList()
    given: frozenset[str] = frozenset()
    asks: bool = False


def door_faults(
    listeners: Sequence[Door], admin: Bind | None, targets: Collection[str]
) -> Iterator[Fault]:
    """Everything that is wrong with the doors.

    Args:
        listeners: all of them, in the order of the file.
        admin: where the admin endpoint is.
        targets: the names of all targets, also of those that could not be read.
    """
    for listener in listeners:
        if listener.mode is Mode.FORWARD:
            yield from _is_no_forward_proxy(listener, targets)
        elif listener.mode is not None:
            yield from _goes_nowhere(listener, targets)
            yield from _hidden_routes(listener)
        yield from _open_to_all(listener)
        yield from _misplaced_guards(listener)
    yield from _collisions(listeners, admin)
    if admin is not None and not admin.is_local:
        yield Fault(
            ("admin", "bind"),
            "whoever reaches it can stop the daemon, and nobody is asked who he is",
            'bind it to a Unix socket, as "unix:/run/haclient/admin.sock", or to 127.0.0.1 or ::1',
        )


def _goes_nowhere(listener: Door, targets: Collection[str]) -> Iterator[Fault]:
    here: KeyPath = ("listener", listener.name)
    if listener.allow is not None and listener.allow.rules:
        problem = "only a forward proxy has a list of whom it may be used to reach"
        yield Fault((*here, "allow"), problem, 'write mode = "forward", or remove it')
    if listener.target is None and not listener.routes:
        yield Fault(here, "it leads nowhere", 'write target = "NAME", or routes')
    for path, name in _named(listener):
        if name not in targets:
            some = ", ".join(sorted(targets)[:8]) or "none"
            yield Fault(path, f"no [target.{name}] is defined", f"there is {some}", tuple(targets))


def _named(listener: Door) -> list[tuple[KeyPath, str]]:
    """The targets that it leads to, each with where that is said."""
    here: KeyPath = ("listener", listener.name)
    named: list[tuple[KeyPath, str]] = [
        ((*here, "routes", number, "target"), route.target)
        for number, route in enumerate(listener.routes)
        if route is not None
    ]
    if listener.target:
        named.insert(0, ((*here, "target"), listener.target))
    return named


def protocol_faults(listeners: Sequence[Door], targets: Mapping[str, Target]) -> Iterator[Fault]:
    """Doors of one protocol that lead to servers of another.

    Args:
        listeners: all of them, in the order of the file.
        targets: those that could be read.
    """
    for listener in listeners:
        for path, name in _named(listener):
            if name not in targets:
                continue
            if listener.mode is Mode.REVERSE and targets[name].is_tcp:
                yield Fault(
                    path,
                    "this listener speaks HTTP, and the servers of that target (tcp://) may speak anything",
                    'write mode = "tcp", or name a target whose urls are http:// or https://',
                )
            elif listener.mode is Mode.TCP and not targets[name].is_tcp:
                yield Fault(
                    path,
                    "this listener passes bytes on as they are, and that target is for HTTP requests",
                    "name a target whose urls are tcp://HOST:PORT, or leave mode out",
                )


def _is_no_forward_proxy(listener: Door, targets: Collection[str]) -> Iterator[Fault]:
    here: KeyPath = ("listener", listener.name)
    for key, is_given in (("target", listener.target is not None), ("routes", listener.routes)):
        if is_given:
            problem = "a forward proxy goes where each request says"
            yield Fault((*here, key), problem, 'remove it, or write mode = "reverse"')
    if listener.allow is not None and not listener.allow.rules:
        what = "it refuses everything, for nothing is allowed that allow does not name"
        path = (*here, "allow") if "allow" in listener.given else here
        yield Fault(path, what, 'write allow = ["HOST:PORT"], as ["*.internal:*"]')
    if listener.name in targets:
        what = f"[target.{listener.name}] has this name too, and metrics tell what goes where by it"
        yield Fault(here, what, "rename one of the two")


def loop_faults(
    listeners: Sequence[Door], admin: Bind | None, targets: Mapping[str, Target]
) -> Iterator[Fault]:
    """Targets that are listeners of the same file, or its admin endpoint: the daemon does not dial itself.

    As far as an address says so; what a name leads to is known when it is dialled.
    """
    own = [
        (f"that is [listener.{one.name}]: what is sent there would come back", one.bind)
        for one in listeners
    ]
    own.append(("that is [admin]: nobody is to give orders through a listener", admin))
    binds = [(what, bind) for what, bind in own if isinstance(bind, TcpBind)]
    for target_name, target in targets.items():
        for key, urls in (("urls", target.urls), ("backups", target.backups)):
            for number, url in enumerate(urls):
                what = next((words for words, bind in binds if _is_at(url.origin, bind)), None)
                if what is not None:
                    path = ("target", target_name, key, number)
                    yield Fault(path, what, "name the servers themselves")


def _is_at(origin: Origin, bind: TcpBind) -> bool:
    address = ip_literal(origin.host)
    if address is None or origin.port != bind.port or not bind.port:
        return False
    if bind.is_wildcard:
        # Of any other address nobody can say from here whether it is this machine's.
        return is_loopback(address) and (":" in address) == (":" in bind.address)
    return address == bind.address


def _hidden_routes(listener: Door) -> Iterator[Fault]:
    for number, later in enumerate(listener.routes):
        here: KeyPath = ("listener", listener.name, "routes")
        before = [(n, one) for n, one in enumerate(listener.routes[:number]) if one is not None]
        first = next((n for n, one in before if later is not None and covers(one, later)), None)
        if first is not None:
            yield Fault(
                (*here, number),
                "no request gets here: the first route that matches decides, and that is",
                "put this one first, or remove it",
                because=(*here, first),
            )


def _open_to_all(listener: Door) -> Iterator[Fault]:
    """As far as the file says where the door is; an inherited socket is asked when it is there."""
    if listener.bind is None or isinstance(listener.bind, InheritedBind):
        return
    found = openness(
        listener.bind,
        asks=listener.asks,
        has_auth="auth" in listener.given,
        is_public=listener.public,
        mode=listener.mode,
    )
    if found is not None:
        yield Fault(("listener", listener.name, "bind"), found.problem, found.wanted)


def _misplaced_guards(listener: Door) -> Iterator[Fault]:
    """What would guard nothing where it stands: whoever wrote it would trust in it."""
    bind, here = listener.bind, ("listener", listener.name)
    if "allow_uids" in listener.given and isinstance(bind, TcpBind):
        yield Fault(
            (*here, "allow_uids"),
            "over TCP nobody says which user connects",
            'bind to a Unix socket, as "unix:/run/haclient/x.sock", or leave it out',
        )
    if "socket_mode" in listener.given and bind is not None and not isinstance(bind, UnixBind):
        is_inherited = isinstance(bind, InheritedBind)
        yield Fault(
            (*here, "socket_mode"),
            "the socket is made by the unit" if is_inherited else "a TCP port has no mode",
            "write SocketMode= there" if is_inherited else "leave it out",
        )


def _collisions(listeners: Sequence[Door], admin: Bind | None) -> Iterator[Fault]:
    taken: list[tuple[str, Bind]] = []
    doors: list[tuple[KeyPath, Bind | None]] = [(("listener", d.name), d.bind) for d in listeners]
    for path, bind in [*doors, (("admin",), admin)]:
        if bind is None:
            continue
        first = next((name for name, other in taken if bind.collides_with(other)), None)
        if first is not None:
            yield Fault((*path, "bind"), f"[{first}] is bound there already", "give it another one")
        taken.append((".".join(map(str, path)), bind))


def unused(listeners: Sequence[Door], targets: Collection[str]) -> list[str]:
    """The targets that no door leads to."""
    used = {listener.target for listener in listeners}
    used |= {route.target for listener in listeners for route in listener.routes if route}
    return [name for name in targets if name not in used]


# --- windows --------------------------------------------------------------------------------------


def window_plan(target: Target) -> Plan | Refusal:
    """How the target's window is kept, with a server beside us and a kernel that answers everything.

    A kernel without TCP_RTO_MAX_MS refuses fewer windows, never more: a file that is good on one
    machine must be good on the next.
    """
    return Plan.for_window(target.window, target.connect_timeout)


def largest_round_trip(target: Target) -> float:
    """Up to which round trip, in whole milliseconds, the target's window is kept; 0 for none.

    The variation is reckoned as half of it, as of a connection whose first round trip was measured
    just now (RFC 6298, section 2.2).
    """
    low, high = 0, round(LONGEST_ROUND_TRIP * 1000)
    while low < high:
        middle = (low + high + 1) // 2
        plan = Plan.for_window(target.window, target.connect_timeout, middle / 1000, middle / 2000)
        low, high = (middle, high) if isinstance(plan, Plan) else (low, middle - 1)
    return low / 1000
