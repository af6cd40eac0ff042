"""Which server owns which client of a target: its endpoints by weight, and who moved where.

The weights of haclient.core.affinity say whose a client is as long as its server lives. When it dies, the
client's next request goes to the one that stands in for it, and a new session begins there. The naive sticky
proxy then sends the client back as soon as the first server answers again: the session is lost a second
time, for nothing.

Ours remembers who moved: only they have an entry. It lasts until its endpoint has a verdict against it too,
or leaves the target's answers. A move needs a verdict (haclient.core.health holds the endpoint down): a
server that is suspect, slow, full or says 503 has its client back with the next request.

A session that begins is remembered as well: a server that sets the cookie owns who brings it, whatever the
weights of its value say, and whoever joins later.

An endpoint that has just left the answers keeps its place for as long as the resolver remembers it: name
servers that give a part of their list, another one each time, would else move everybody, and sessions that
are drained end in peace.

Left out: a memory on disk. After a restart the weights alone speak.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from haclient.core.affinity import Key, in_order_of_weight, name_of, weight
from haclient.core.balance import Candidate, by_level
from haclient.types import Endpoint, Origin

__all__ = ["MAX_MOVED", "Owners"]

MAX_MOVED = 65536
"""Clients remembered, of one target: 9 MiB when full (137 bytes each, measured: a digest, and its place in
an ordered dict). The one that was quiet for longest goes first. One process of a servlet container has some thousand
sessions; HAProxy's manual shows stick tables of 200k to 1m for the whole of a site."""

MAX_HOMES = 4096
"""Clients whose heaviest server is at hand: half a MiB. Beyond that all are forgotten and weighed again, which
costs 0.6 us a server."""

Levels = tuple[tuple[Endpoint, ...], ...]


class Owners:
    """One target's.

    Args:
        tiers: the origins of its URLs, and of its backups.
    """

    __slots__ = ("_first", "_homes", "_known", "_moved", "_places", "_ranks", "_tiers")

    def __init__(self, tiers: Sequence[Sequence[Origin]]) -> None:
        self._tiers = tiers
        self._known: dict[Origin, Levels] = {}
        self._ranks: list[list[list[Candidate]]] = [[] for _ in tiers]
        """Of each tier the candidates of each level (a service's priority)."""
        self._first: list[tuple[bytes, Candidate]] = []
        """Whose clients all are while all is well, by name; empty where not all of them are known."""
        self._homes: dict[Key, Candidate] = {}
        """Of the last MAX_HOMES clients, so that a client's next request costs no digests."""
        self._places: dict[Endpoint, tuple[int, Candidate]] = {}
        self._moved: OrderedDict[Key, Endpoint] = OrderedDict()
        """The one that was quiet for longest stands first."""

    def __repr__(self) -> str:
        return f"<Owners of {len(self._places)} endpoints, {len(self._moved)} clients moved>"

    def learn(self, origin: Origin, levels: Sequence[Sequence[Endpoint]]) -> None:
        """Takes down where an origin is; each level is for when nobody of those before can answer."""
        known = tuple(tuple(sorted(set(level))) for level in levels)
        if self._known.get(origin) != known:
            self._known[origin] = known
            self._rank()

    def lacks(self, origin: Origin) -> None:
        """Its name gave no address. What is known of it stays: connections there may still work."""
        if origin not in self._known:
            self.learn(origin, ())

    def _rank(self) -> None:
        self._ranks = [self._levels_of(tier) for tier in self._tiers]
        is_first_known = all(origin in self._known for origin in self._tiers[0])
        first = self._ranks[0][0] if is_first_known and self._ranks[0] else []
        self._first = [(name_of(one.endpoint), one) for one in first]
        self._homes.clear()
        self._places = {}
        for number, levels in enumerate(self._ranks):
            for level in levels:
                for one in level:
                    self._places.setdefault(one.endpoint, (number, one))

    def _levels_of(self, tier: Sequence[Origin]) -> list[list[Candidate]]:
        """An endpoint of two URLs counts once: its clients could not be divided between the two."""
        found: list[dict[Endpoint, Candidate]] = []
        for pairs in by_level(tier, self._known):
            found.append({})
            for origin, endpoint in pairs:
                found[-1].setdefault(endpoint, Candidate(origin, endpoint))
        return [list(level.values()) for level in found if level]

    # --- whose ---------------------------------------------------------------------------------

    def owner(self, key: Key) -> Candidate | None:
        """Where the client moved, or else whose it is by weight; alive or not.

        None where the names of the first tier have not all been looked up, or gave nobody.
        """
        moved = self.moved_to(key)
        return self.home(key) if moved is None else moved[1]

    def home(self, key: Key) -> Candidate | None:
        """Whose the client is by weight, whatever happened."""
        home = self._homes.get(key)
        if home is None and self._first:
            if len(self._homes) >= MAX_HOMES:
                self._homes.clear()
            home = max(self._first, key=lambda named: weight(key, named[0]))[1]
            self._homes[key] = home
        return home

    def moved_to(self, key: Key) -> tuple[int, Candidate] | None:
        """Where the client moved, and in which tier that is."""
        endpoint = self._moved.get(key)
        if endpoint is None:
            return None
        place = self._places.get(endpoint)
        if place is None:
            del self._moved[key]
        return place

    def in_order(self, key: Key, tier: int) -> list[list[Candidate]]:
        """The endpoints of a tier, level after level, each in the client's own order."""
        ordered = []
        for level in self._ranks[tier]:
            by_endpoint = {one.endpoint: one for one in level}
            ordered.append([by_endpoint[each] for each in in_order_of_weight(key, by_endpoint)])
        return ordered

    # --- who moved -----------------------------------------------------------------------------

    def answered(self, key: Key, endpoint: Endpoint, *, is_displaced: bool) -> None:
        """A request of the client's was answered.

        `is_displaced` says that there is a verdict against its owner: then it is whose answer came.
        """
        if is_displaced:
            self.settle(key, endpoint)
        elif self._moved.get(key) == endpoint:
            self._moved.move_to_end(key)

    def settle(self, key: Key, endpoint: Endpoint) -> None:
        """The client is this endpoint's from now on."""
        self._moved[key] = endpoint
        self._moved.move_to_end(key)
        if len(self._moved) > MAX_MOVED:
            self._moved.popitem(last=False)

    def take_over(self, before: Owners) -> None:
        """The target has new settings; its clients stay where they are."""
        self._moved = before._moved
        ours = {origin for tier in self._tiers for origin in tier}
        # Where they are must be known as well: a place that is of no origin is nobody's.
        self._known = {one: known for one, known in before._known.items() if one in ours}
        self._rank()
