"""Which better server, out of use, is tried out, and when.

While a request can have a connection to a server that works, nobody connects to another one: a server that
failed and came back would stay idle for as long as there is traffic, although it is the better one. Whether
an address is better is the target's order's to say: those of earlier tiers are, and those of earlier URLs
where the URLs are listed by preference.

A trial costs a connect and no request anything (haclient.engine.trial). The naive pace, one with each
request, would knock at a dead server's door a thousand times a second. Ours: who has just failed has a
second first, and then one trial is due in each fifth of its hold (haclient.core.health), which doubles with
each failure; so a server that accepts connections and fails requests is tried ever less often, and every
server is tried again at last. No second trial of an endpoint begins while one is under way: the failure of
the first, a moment later, would make stale news of the success of the second (haclient.core.health), and
the server would wait for another one (measured: 1.5 s after its return).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from haclient.core.balance import Candidate
from haclient.core.health import LONGEST_HOLD, hold_after
from haclient.types import Endpoint, Instant, Origin

__all__ = ["SHARE_OF_HOLD", "Trials", "better"]

SHARE_OF_HOLD = 0.2
"""Of a hold, between two trials: a second for the first one, twelve for the longest."""

MOST_REMEMBERED = 1024
"""Endpoints; beyond that those are forgotten whose trial has been due for a minute: nobody misses them. A
target has some tens of addresses, but over the weeks a name may have had thousands."""


def better(
    tiers: Sequence[Sequence[Origin]],
    known: Mapping[Origin, tuple[Endpoint, ...]],
    used: Origin,
    *,
    is_listed: bool,
) -> Iterator[Candidate]:
    """Returns the known addresses of whoever ranks before the origin in use.

    Args:
        tiers: the origins of the target's URLs, and of its backups.
        known: their addresses.
        used: whom the connection at hand is for.
        is_listed: whether the URLs of a tier are in order of preference.
    """
    for tier in tiers:
        is_last = used in tier
        for origin in tier:
            if origin == used or (is_last and not is_listed):
                return
            for endpoint in known.get(origin, ()):
                yield Candidate(origin, endpoint)


class Trials:
    """When each endpoint of a target may be tried out again."""

    __slots__ = ("_due_at", "_under_way")

    def __init__(self) -> None:
        self._due_at: dict[Endpoint, Instant] = {}
        self._under_way: set[Endpoint] = set()

    def __repr__(self) -> str:
        return f"<Trials of {len(self._due_at)} endpoints>"

    def due(
        self, candidates: Iterable[Candidate], failures: Callable[[Endpoint], int], now: Instant
    ) -> list[Candidate]:
        """Returns whom to try out now; each is under way until `ended`.

        Args:
            candidates: who is better than the one in use.
            failures: of an endpoint, its holds in a row.
            now: this moment.
        """
        found = []
        for one in candidates:
            due_at = self._due_at.get(one.endpoint)
            if one.endpoint in self._under_way or (due_at is not None and now < due_at):
                continue
            hold = hold_after(max(1, failures(one.endpoint)))
            self._due_at[one.endpoint] = now + hold * SHARE_OF_HOLD
            if due_at is not None and now < due_at + LONGEST_HOLD:
                self._under_way.add(one.endpoint)
                found.append(one)
            else:  # out of use since now, or not out of use for a while: it has a second first
                self._make_room(now)
        return found

    def ended(self, endpoint: Endpoint) -> None:
        """A trial is over, well or ill."""
        self._under_way.discard(endpoint)

    def _make_room(self, now: Instant) -> None:
        if len(self._due_at) > MOST_REMEMBERED:
            self._due_at = {
                endpoint: due_at
                for endpoint, due_at in self._due_at.items()
                if now < due_at + LONGEST_HOLD
            }
