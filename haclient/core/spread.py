"""Whose turn it is, where requests are spread over all servers (`order = "shuffled"`).

To draw for new connections alone, the naive way, leaves all requests of a quiet hour with one server: what is
idle is lent to save connects, and whoever was used last is used next. Ours draws for each request, each address
of the URLs as likely as any other; what is idle at another one is passed over.

A name that gave no address has no turn until it gives one again: its turn would be one for a new connection
to somebody else, each time.

Left out: backups, which are for when nobody of the URLs can be had, and the servers of a service, which are drawn
by their own weights with each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from haclient.core.balance import Candidate
from haclient.types import Endpoint, Origin

__all__ = ["Spread"]


class Spread:
    """One target's.

    Args:
        tier: the origins of its URLs.
    """

    __slots__ = ("_of", "_places")

    def __init__(self, tier: Sequence[Origin]) -> None:
        # In the order of the URLs, whichever name was answered first: a draw is to mean the same.
        self._of: dict[Origin, list[Candidate]] = {
            origin: [] for origin in tier if not origin.is_service
        }
        self._places: list[Candidate] = []

    def __repr__(self) -> str:
        return f"<Spread over {len(self._places)} places>"

    def learn(self, origin: Origin, endpoints: Sequence[Endpoint]) -> None:
        """Takes down where an origin is; nowhere, where its name gave no address."""
        if origin in self._of:
            self._of[origin] = [Candidate(origin, endpoint) for endpoint in endpoints]
            self._places = [place for places in self._of.values() for place in places]

    def draw(self, avoid: Container[Endpoint], chance: Callable[[], float]) -> Candidate | None:
        """Whose turn it is; None where nobody is known, or all are to be avoided.

        Args:
            avoid: addresses in trouble.
            chance: gives a number in [0, 1).
        """
        fit = [place for place in self._places if place.endpoint not in avoid]
        return fit[int(chance() * len(fit))] if fit else None
