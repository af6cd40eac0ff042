"""Notices what changed between two looks: the health of an address, the addresses of a name.

The engine could tell of each change where it happens, on the way of requests. Instead the two are
compared twice a second: a look at a hundred addresses takes a tenth of a millisecond. What came and went
between two looks is not told; the access log has it, and the failovers.

What a reload has removed is no longer counted for from the next look on; that does not wait for a scrape, which there
may never be, and which changes nothing.

Readers of events get each change. The log gets what an operator must know at level warning, and each of
it once: an address is in trouble from its first failure until it answers again, however often it is held
down meanwhile; a target is when every address of it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import trio

from haclient.core.health import Condition, EndpointHealth
from haclient.core.health_check import Result
from haclient.core.names import ip_literal
from haclient.engine.live import LiveTarget
from haclient.ops.book import Book
from haclient.ops.control import Control
from haclient.ops.destination_changes import DestinationChanges
from haclient.ops.health_change import IN_TROUBLE, HealthChange, change_of
from haclient.ops.log import Log
from haclient.ops.status_build import Connections, health_told, names_in_use, states_of
from haclient.types import Endpoint, Instant, Origin

__all__ = ["Changes", "NameChange", "watch_changes"]

LOOK_EVERY = 0.5
"""Seconds. Suspicion, the shortest state, lasts two."""


class NameChange(msgspec.Struct, frozen=True):
    """An origin of a target has other addresses than before; none were known where `was` is empty."""

    target: str
    origin: str
    addresses: tuple[str, ...]
    was: tuple[str, ...]


class Changes:
    """Tells what differs from the look before; the first look finds nothing to compare with."""

    def __init__(self, control: Control, book: Book, log: Log) -> None:
        self._control = control
        self._book = book
        self._log = log
        self._states: dict[Endpoint, str] = {}
        self._known: dict[tuple[str, Origin], tuple[Endpoint, ...]] = {}
        self._troubled: set[Endpoint] = set()
        self._misled: set[str] = set()
        """Targets whose health requests are answered with 4xx."""
        self._out: set[str] = set()
        """Targets without an address that is not in trouble."""
        self._destinations = DestinationChanges(book, log)
        self._has_looked = False

    def look(self, now: Instant) -> None:
        """Compares, and tells."""
        gateway = self._control.sidecar.gateway
        found = {each.endpoint: each for each in gateway.engine.health.snapshot(now)}
        for each in found.values():
            # It was tried behind no request's back: by a trial, a standby, health requests.
            if each.failures or each.condition is Condition.RECOVERED:
                self._book.known.note(
                    each.endpoint,
                    is_good=not each.failures,
                    why=each.why,
                    at=now,
                )
        for endpoint in _answering_health_requests(gateway.targets.values()) - found.keys():
            self._book.known.note(endpoint, is_good=True, at=now)
        connections = Connections(gateway.engine)
        by_target = {
            name: dict(states_of(live, found, connections, self._book.known))
            for name, live in gateway.targets.items()
        }
        self._compare_health(by_target, found, now)
        self._destinations.look(gateway, found, self._states.keys(), now)
        self._look_for_outages(by_target)
        self._compare_names(gateway.targets)
        self._look_for_wrong_paths(gateway.targets)
        self._book.forget_others(*names_in_use(self._control.sidecar))
        self._has_looked = True

    # --- addresses ---------------------------------------------------------------------------

    def _compare_health(
        self,
        by_target: dict[str, dict[Endpoint, str]],
        found: dict[Endpoint, EndpointHealth],
        now: Instant,
    ) -> None:
        before, self._states = (
            self._states,
            {one: state for states in by_target.values() for one, state in states.items()},
        )
        self._troubled &= self._states.keys()
        lives = self._control.sidecar.gateway.targets
        for endpoint, state in self._states.items():
            was = before.get(endpoint, "untried")
            # A first success is what everybody expects.
            if state == was or not self._has_looked or (was, state) == ("untried", "ok"):
                continue
            each = found.get(endpoint)
            names = tuple(name for name, states in by_target.items() if endpoint in states)
            why = (
                self._book.known.why(endpoint)
                if state in IN_TROUBLE
                else _said_by_health_requests([lives[name] for name in names], endpoint)
            )
            change = change_of(endpoint, (was, state), each, now, why, targets=names)
            self._book.feed.publish("health", change)
            self._log_health(endpoint, change)

    def _log_health(self, endpoint: Endpoint, change: HealthChange) -> None:
        targets = ",".join(change.targets)
        is_bad = change.state in IN_TROUBLE or (change.state != "ok" and bool(change.why))
        if is_bad and endpoint not in self._troubled:
            self._troubled.add(endpoint)
            self._log.warning(
                f"an address is {change.state}",
                address=change.address,
                targets=targets,
                why=change.why or None,
                held_for=change.held_for,
            )
        elif change.state == "ok" and endpoint in self._troubled:
            self._troubled.remove(endpoint)
            self._log.info("an address answers again", address=change.address, targets=targets)

    # --- targets -----------------------------------------------------------------------------

    def _look_for_outages(self, by_target: dict[str, dict[Endpoint, str]]) -> None:
        out = {
            name
            for name, states in by_target.items()
            # Where no name gives an address any more, nothing has become better.
            if (_is_out(states.values()) if states else name in self._out)
        }
        if self._has_looked:
            for name in sorted(out - self._out):
                addresses = ",".join(map(str, by_target[name]))
                self._log.error(
                    "every address of a target has failed", target=name, addresses=addresses
                )
            for name in sorted((self._out - out) & by_target.keys()):
                self._log.info("a target has an address again", target=name)
        self._out = out

    # --- health requests ---------------------------------------------------------------------

    def _look_for_wrong_paths(self, targets: dict[str, LiveTarget]) -> None:
        """4xx speaks against the path, not the servers: it is told once, as long as it lasts."""
        misled = {}
        for name, live in targets.items():
            checked = () if live.checks is None else live.checks.by_endpoint.values()
            for one in checked:
                if one.told is not None and one.told.result is Result.REJECTED:
                    misled[name] = (live, one)
        for name in sorted(misled.keys() - self._misled):
            live, one = misled[name]
            assert live.spec.health is not None
            self._log.warning(
                "health requests tell nothing: correct the path of the target's health",
                target=name,
                path=live.spec.health.path,
                address=one.endpoint,
                why=one.told and one.told.detail,
            )
        self._misled = set(misled)

    # --- names -------------------------------------------------------------------------------

    def _compare_names(self, targets: dict[str, LiveTarget]) -> None:
        before = self._known
        # A target that a reload made anew knows nothing until it is asked; that is no change.
        kept = {key: known for key, known in before.items() if key[0] in targets}
        self._known = kept | {
            (name, origin): endpoints
            for name, live in targets.items()
            for origin, endpoints in live.known.items()
            if ip_literal(origin.host) is None
        }
        for (name, origin), endpoints in self._known.items():
            was = before.get((name, origin), ())
            if set(endpoints) != set(was) and self._has_looked:
                change = NameChange(name, str(origin), _texts(endpoints), _texts(was))
                self._book.feed.publish("names", change)


async def watch_changes(control: Control, book: Book, log: Log) -> None:
    """Looks twice a second, until cancelled."""
    changes = Changes(control, book, log)
    while True:
        changes.look(trio.current_time())
        await trio.sleep(LOOK_EVERY)


def _answering_health_requests(lives: Iterable[LiveTarget]) -> set[Endpoint]:
    return {
        one.endpoint
        for live in lives
        if live.checks is not None
        for one in live.checks.by_endpoint.values()
        if one.told is not None and one.told.result is Result.OK
    }


def _said_by_health_requests(lives: list[LiveTarget], endpoint: Endpoint) -> str:
    """Why they speak against an address; empty where they do not."""
    for live in lives:
        if endpoint in live.unfit:
            return f"health request: {health_told(live, endpoint)}"
    return ""


def _is_out(states: Iterable[str]) -> bool:
    # One that is suspect may yet live, and one that is untried may be there.
    return IN_TROUBLE.issuperset(states)


def _texts(endpoints: tuple[Endpoint, ...]) -> tuple[str, ...]:
    return tuple(map(str, endpoints))
